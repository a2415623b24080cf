//! Time weightings F and S (IEC 61672-1 5.8) and I (IEC 61672-1:2002 Annex C; not in the 2013 edition).
//!
//! Exponential means of the A-weighted square, moved on once per chunk by the chunk's mean.

use super::CHUNK;

/// 1 - exp(-16/(48000·τ)) for F: τ = 125 ms.
const FAST: f32 = 0.002_663_114_3;
/// The same for S: τ = 1 s.
const SLOW: f32 = 0.000_333_277_78;
/// The same for I's mean: τ = 35 ms.
const IMPULSE: f32 = 0.009_478_602;
/// What I's peak hold keeps per chunk: τ = 1.5 s, 2.9 dB/s.
const IMPULSE_HOLD: f32 = 0.999_777_8;

/// The detectors: mean squares, in the units of what they are given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detectors {
    pub(crate) fast: f32,
    pub(crate) slow: f32,
    impulse_mean: f32,
    pub(crate) impulse: f32,
}

impl Detectors {
    /// Moves on by a chunk whose squares sum to `sum`.
    pub(crate) fn run(&mut self, sum: f32) {
        const PER_SAMPLE: f32 = 1.0 / CHUNK as f32;
        let square = sum * PER_SAMPLE;
        self.fast += FAST * (square - self.fast);
        self.slow += SLOW * (square - self.slow);
        self.impulse_mean += IMPULSE * (square - self.impulse_mean);
        let held = self.impulse * IMPULSE_HOLD;
        self.impulse = if self.impulse_mean > held { self.impulse_mean } else { held };
    }
}

/// What the constants above must be, for the test.
#[cfg(test)]
pub(crate) fn expected_constants() -> [(f32, f64); 4] {
    let kept = [0.125, 1.0, 0.035, 1.5]
        .map(|tau: f64| (-(CHUNK as f64) / f64::from(super::SAMPLE_RATE) / tau).exp());
    [(FAST, 1.0 - kept[0]), (SLOW, 1.0 - kept[1]), (IMPULSE, 1.0 - kept[2]), (IMPULSE_HOLD, kept[3])]
}
