//! From 16 kHz to the meter's 48 kHz, for microphones whose converter is no faster.
//!
//! A linear-phase low-pass of 96 taps (Kaiser window), in three phases: within 0.1 dB to 6.8 kHz, more than 69 dB down from 8.7 kHz on. What
//! is above 7 kHz is not there and is not made up: such a node is no class 1 instrument, however good its filters are.

/// How many samples one becomes.
pub const FACTOR: usize = 3;
const TAPS: usize = 96;
const PHASE: usize = TAPS / FACTOR;

/// The first half of the impulse response, which is symmetric; each phase sums to 1.
const HALF: [f32; TAPS / 2] = [
    -1.06474512e-4,
    1.9476704e-4,
    5.10480e-4,
    3.738959e-4,
    -3.638349e-4,
    -1.116_683_7e-3,
    -9.259779e-4,
    4.8713646e-4,
    2.0223747e-3,
    1.909_750_9e-3,
    -4.4255502e-4,
    -3.24923e-3,
    -3.4946862e-3,
    4.7746855e-5,
    4.7720064e-3,
    5.8619904e-3,
    9.458986e-4,
    -6.5012538e-3,
    -9.192_552e-3,
    -2.8580379e-3,
    8.267_236e-3,
    1.3657405e-2,
    6.0873934e-3,
    -9.804_339e-3,
    -1.9416878e-2,
    -1.11332132e-2,
    1.073_144_6e-2,
    2.6638892e-2,
    1.8652399e-2,
    -1.0515118e-2,
    -3.5556912e-2,
    -2.9604342e-2,
    8.380651e-3,
    4.6617105e-2,
    4.5623082e-2,
    -3.0696022e-3,
    -6.0862699e-2,
    -7.006785e-2,
    -7.909031e-3,
    8.111824e-2,
    1.1163603e-1,
    3.117_880_6e-2,
    -1.1699326e-1,
    -2.024566e-1,
    -9.544616e-2,
    2.257295e-1,
    6.3325198e-1,
    9.163911e-1,
];

const fn tap(index: usize) -> f32 {
    HALF[if index < TAPS / 2 { index } else { TAPS - 1 - index }]
}

/// The interpolator.
#[derive(Clone, Debug)]
pub struct Upsampler {
    /// The newest samples, twice in a row, so that a stretch of them is always in one piece.
    history: [f32; 2 * PHASE],
    at: usize,
}

impl Default for Upsampler {
    fn default() -> Self {
        Self { history: [0.0; 2 * PHASE], at: 0 }
    }
}

impl Upsampler {
    /// Takes a sample; gives the three that it stands for, some 1 ms later.
    pub fn push(&mut self, sample: f32) -> [f32; FACTOR] {
        self.at = (self.at + PHASE - 1) % PHASE;
        self.history[self.at] = sample;
        self.history[self.at + PHASE] = sample;
        // Newest first.
        let newest = &self.history[self.at..self.at + PHASE];
        core::array::from_fn(|phase| {
            newest.iter().enumerate().map(|(index, sample)| sample * tap(index * FACTOR + phase)).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gain at a frequency, in dB.
    fn gain(frequency: f32) -> f32 {
        let mut upsampler = Upsampler::default();
        let sample = |n: usize| (n as f32 / 16_000.0 * frequency * core::f32::consts::TAU).sin();
        let (mut sum, mut count) = (0.0, 0);
        for n in 0..16_000 {
            let three = upsampler.push(sample(n));
            if n > 100 {
                sum += three.iter().map(|one| one * one).sum::<f32>();
                count += FACTOR;
            }
        }
        10.0 * (2.0 * sum / count as f32).log10()
    }

    #[test]
    fn what_the_converter_hears_comes_out_as_it_was() {
        for frequency in [31.5, 250.0, 1000.0, 4000.0, 6300.0, 6800.0] {
            assert!(gain(frequency).abs() < 0.1, "{frequency} Hz: {} dB", gain(frequency));
        }
        assert!(gain(7_900.0) < -10.0);
    }
}
