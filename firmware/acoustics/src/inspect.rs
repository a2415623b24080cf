//! Looks at the samples of a chunk before anything is computed of them.

use super::{CHUNK, Flags};

/// So many samples without any change mean that nothing is connected: half a second. The noise of every microphone
/// moves a 16-bit converter more often.
pub(crate) const STUCK_SAMPLES: u32 = 24_000;
/// Samples beyond this many full scales are held there. None comes from a converter; an f32 of 1e30 would swamp sums.
const HELD_AT: f32 = 8.0;
/// From here on a sample is taken to be at the end of the converter's range: 16 bits with rounding.
const CLIPPED_AT: f32 = 0.999_96;

/// What is remembered from one chunk to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inspect {
    last: f32,
    unchanged: u32,
}

impl Inspect {
    /// Flags a chunk. On return every sample is finite and at most [`HELD_AT`]; `upper` is the overload limit.
    #[inline(never)]
    pub(crate) fn run(&mut self, chunk: &mut [f32; CHUNK], upper: f32) -> Flags {
        // Magnitudes of floats order like the integers of their bits; infinity and NaN are above all.
        let first = self.last.to_bits();
        let (mut top, mut changed) = (0, 0);
        for sample in chunk.iter() {
            let bits = sample.to_bits();
            changed |= bits ^ first;
            top = (bits & 0x7fff_ffff).max(top);
        }
        let mut flags = Flags::NONE;
        if top > upper.to_bits() {
            flags = self.hold(chunk, upper);
        }
        if changed == 0 {
            self.unchanged = self.unchanged.saturating_add(CHUNK as u32);
            if self.unchanged >= STUCK_SAMPLES {
                flags.insert(Flags::STUCK);
            }
        } else {
            self.unchanged = 0;
        }
        self.last = chunk[CHUNK - 1];
        flags
    }

    /// The last sample that was taken.
    pub(crate) fn last(&self) -> f32 {
        self.last
    }

    #[cold]
    fn hold(&self, chunk: &mut [f32; CHUNK], upper: f32) -> Flags {
        let mut flags = Flags::NONE;
        let mut last = self.last;
        for sample in chunk {
            if !sample.is_finite() {
                flags.insert(Flags::NOT_FINITE);
                *sample = last;
            } else if sample.abs() > upper {
                flags.insert(Flags::OVERLOAD);
                *sample = sample.clamp(-HELD_AT, HELD_AT);
            }
            if sample.abs() >= CLIPPED_AT {
                flags.insert(Flags::CLIPPED);
            }
            last = *sample;
        }
        flags
    }
}
