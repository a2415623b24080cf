//! The C-weighted peak (IEC 61672-1 5.13).
//!
//! The largest sample of one 8 kHz cycle can be 1 dB below the curve's peak. So beside every local maximum that could
//! matter, the curve is computed a quarter and half a sample further towards the larger neighbour. What is left is at
//! most 0.07 dB at 8 kHz.

use super::CHUNK;

/// The curve between two samples comes from six on either side.
const SIDE: usize = 6;
const HISTORY: usize = 2 * SIDE;
const BUFFER: usize = HISTORY + CHUNK;

/// sinc(1/4 - k) for k = -5..=6 in a Kaiser window (β = 4): within 0.03 dB to 16 kHz.
pub(crate) const QUARTER: [f32; 2 * SIDE] = [
    -0.008_275_233,
    0.019_848_306,
    -0.040_290_107,
    0.077_881_93,
    -0.166_945_73,
    0.897_619_94,
    0.292_089_9,
    -0.110_747_606,
    0.055_971_89,
    -0.028_639_637,
    0.013_215_159,
    -0.004_689_601_4,
];
/// The same for 1/2, of which the second half mirrors the first.
pub(crate) const HALF: [f32; SIDE] =
    [-0.008_953_532, 0.023_044_45, -0.048_153_154, 0.093_256_39, -0.190_222_88, 0.629_019_4];

/// A sample that is below this part of the largest so far hides no larger peak: 12 kHz at its worst phase.
const WORTH_A_LOOK: f32 = 0.7;

/// Looks for the largest magnitude.
#[derive(Clone, Debug)]
pub(crate) struct Peak {
    /// The last samples, oldest first.
    buffer: [f32; BUFFER],
    largest: f32,
}

impl Default for Peak {
    fn default() -> Self {
        Self { buffer: [0.0; BUFFER], largest: 0.0 }
    }
}

impl Peak {
    /// Takes a chunk. A peak is found [`SIDE`] samples after it was.
    pub(crate) fn run(&mut self, samples: &[f32; CHUNK]) {
        self.buffer.copy_within(CHUNK.., 0);
        self.buffer[HISTORY..].copy_from_slice(samples);
        // Magnitudes of finite floats order like the integers of their bits, which compare in fewer instructions.
        let magnitude = |sample: f32| sample.to_bits() & 0x7fff_ffff;
        let examined = &self.buffer[SIDE..SIDE + CHUNK];
        let top = examined.iter().fold(0, |top, &sample| magnitude(sample).max(top));
        if f32::from_bits(top) <= WORTH_A_LOOK * self.largest {
            return;
        }
        self.largest = self.largest.max(f32::from_bits(top));
        for at in SIDE..SIDE + CHUNK {
            let here = self.buffer[at].abs();
            let (before, after) = (self.buffer[at - 1].abs(), self.buffer[at + 1].abs());
            if here <= WORTH_A_LOOK * self.largest || here < before || here < after {
                continue;
            }
            let beside = self.beside(at, after > before, here);
            self.largest = self.largest.max(beside);
        }
    }

    /// The larger magnitude of the curve a quarter and half a sample from `at`, where it is `here`. If it falls to the first it falls
    /// to the second.
    fn beside(&self, at: usize, forward: bool, here: f32) -> f32 {
        // Forward: sample k is at + k for k = -5..=6; backward it is at - k.
        let sample = |tap: usize| {
            if forward { self.buffer[at + tap + 1 - SIDE] } else { self.buffer[at + SIDE - 1 - tap] }
        };
        let quarter = (0..2 * SIDE).map(|tap| QUARTER[tap] * sample(tap)).sum::<f32>().abs();
        if quarter < here {
            return quarter;
        }
        let half =
            (0..SIDE).map(|tap| HALF[tap] * (sample(tap) + sample(2 * SIDE - 1 - tap))).sum::<f32>().abs();
        quarter.max(half)
    }

    /// The largest magnitude since the last call, and begins again.
    pub(crate) fn take(&mut self) -> f32 {
        core::mem::take(&mut self.largest)
    }
}
