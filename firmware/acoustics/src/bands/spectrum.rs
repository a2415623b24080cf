//! Band levels.

use crate::level;

/// Energies in bands over a stretch of time, lowest band first. The levels are unweighted (Z), in dB re 20 µPa.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spectrum<const BANDS: usize> {
    /// Pa² times samples.
    energies: [f64; BANDS],
    samples: u64,
}

impl<const BANDS: usize> Spectrum<BANDS> {
    pub(super) fn new(energies: [f64; BANDS], samples: u64) -> Self {
        Self { energies, samples }
    }

    /// Of no time at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::new([0.0; BANDS], 0)
    }

    /// Adds what was measured later.
    pub fn merge(&mut self, later: &Self) {
        self.samples += later.samples;
        for (energy, later) in self.energies.iter_mut().zip(&later.energies) {
            *energy += later;
        }
    }

    /// The Leq of every band in dB, lowest band first; at least [`level::LOWEST`].
    #[must_use]
    pub fn levels(&self) -> [f32; BANDS] {
        let samples = self.samples.max(1) as f64;
        self.energies.map(|energy| level::of_mean_square_f64(energy / samples))
    }
}
