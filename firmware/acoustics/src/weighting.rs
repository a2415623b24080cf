//! Frequency weightings Z, C and A (IEC 61672-1 5.5, Annex E).
//!
//! The analytic C has a double zero at 0 and double poles at 20.6 Hz and 12194 Hz; A is C followed by high-passes at
//! 107.7 Hz and 737.9 Hz. So A costs two first-order sections on top of C. Digitally:
//!
//! - A high-pass is `y = x - low; low += k·y`: a zero at 0 Hz and one pole. The bilinear transform, prewarped at the pole,
//!   gives the same but for a constant gain. Its state is what it takes away, not what it passes, so in f32 a strong low
//!   tone leaves no noise where A listens; and the two at 20.6 Hz come first, so the others never see it.
//! - The double pole at 12194 Hz is too near to half the sampling rate for any transform (bilinear: -2.7 dB at 12.5 kHz).
//!   One section was fitted to the analytic curves instead: the largest error of C and A from 10 Hz to 20 kHz is 0.05 dB.
//!   The fit needs the curves, not a formula: the tests compare the result with Annex E at every frequency.
//! - Nothing is scaled on the way. [`GAIN_C`] and [`GAIN_A`], applied to sums of squares, bring 1 kHz to 0 dB.

use super::CHUNK;

/// The poles of IEC 61672-1 Annex E, in Hz.
#[cfg(test)]
pub(crate) const POLES_HZ: [f64; 4] = [20.598_997, 107.652_65, 737.862_23, 12_194.217];

/// `k` of the high-passes at 20.598997, 107.65265 and 737.86223 Hz: 1 - (1 - tan)/(1 + tan) with tan(π·f/48 kHz).
pub(crate) const HIGH_PASS: [f32; 3] = [0.002_692_773_6, 0.013_993_336, 0.092_204_79];
/// Takes DC off Z (and everything else): a pole at 0.5 Hz, -0.01 dB at 10 Hz.
const DC_BLOCK: f32 = 6.544_985e-5;
/// The fitted section: `(1 + b1·z⁻¹ + b2·z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`.
const B1: f32 = -0.340_812;
const B2: f32 = -0.272_370_73;
const A1: f32 = -1.035_133_5;
const A2: f32 = 0.228_572_9;

/// What C's sum of squares is to be multiplied by, so that C is 0 dB at 1 kHz.
pub(crate) const GAIN_C: f32 = 0.251_700_17;
/// The same for A.
pub(crate) const GAIN_A: f32 = 0.352_655_27;

/// The sums of squares of a chunk, before the gains.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) z: f32,
    pub(crate) c: f32,
    pub(crate) a: f32,
}

/// The filters' states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weighting {
    /// The mean that is taken off, and what the blocker found since it was last moved here: so the small difference is
    /// computed exactly however large the offset is.
    dc: f32,
    dc_rest: f32,
    /// Of the high-passes: twice 20.6 Hz, 107.7 Hz, 737.9 Hz.
    low: [f32; 4],
    section: [f32; 2],
}

impl Weighting {
    /// Filters a chunk; `c` becomes the C-weighted samples (before [`GAIN_C`]).
    pub(crate) fn run(&mut self, samples: &[f32; CHUNK], c: &mut [f32; CHUNK]) -> Sums {
        let mut sums = Sums::default();
        // In registers during the loop.
        let dc = self.dc;
        let mut dc_rest = self.dc_rest;
        let [mut low0, mut low1, mut low2, mut low3] = self.low;
        let [mut s1, mut s2] = self.section;
        for (x, c) in samples.iter().zip(c) {
            let z = (x - dc) - dc_rest;
            dc_rest += DC_BLOCK * z;
            sums.z += z * z;
            let y = z - low0;
            low0 += HIGH_PASS[0] * y;
            let x = y - low1;
            low1 += HIGH_PASS[0] * x;
            let y = x + s1;
            s1 = B1 * x - A1 * y + s2;
            s2 = B2 * x - A2 * y;
            *c = y;
            sums.c += y * y;
            let x = y - low2;
            low2 += HIGH_PASS[1] * x;
            let y = x - low3;
            low3 += HIGH_PASS[2] * y;
            sums.a += y * y;
        }
        self.dc_rest = dc_rest;
        self.low = [low0, low1, low2, low3];
        self.section = [s1, s2];
        sums
    }

    /// Moves what the blocker found into the offset, which changes nothing in what comes out; gives the offset.
    pub(crate) fn settle_dc(&mut self) -> f32 {
        self.dc += self.dc_rest;
        self.dc_rest = 0.0;
        self.dc
    }
}
