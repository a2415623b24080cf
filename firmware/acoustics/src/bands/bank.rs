//! Runs band-passes, halving the sampling rate on the way down.

use super::{
    Spectrum,
    design::{Band, ORDER, Section},
};
use crate::{CHUNK, Sensitivity};

/// Stages in which the rate is halved: 48 kHz to 187.5 Hz.
const HALVINGS: usize = 8;

/// `BANDS` band-passes and what came through them.
#[derive(Clone, Debug)]
pub struct Bank<const BANDS: usize> {
    designs: &'static [Band; BANDS],
    states: [[[f32; 2]; ORDER]; BANDS],
    halvers: [Halver; HALVINGS],
    /// Sums of squares since the last [`take`](Self::take), each as if its band had not been decimated.
    sums: [f32; BANDS],
    samples: u32,
}

impl<const BANDS: usize> Bank<BANDS> {
    pub(super) fn of(designs: &'static [Band; BANDS]) -> Self {
        Self {
            designs,
            states: [[[0.0; 2]; ORDER]; BANDS],
            halvers: [Halver::default(); HALVINGS],
            sums: [0.0; BANDS],
            samples: 0,
        }
    }

    /// Takes the samples that [`Sink::chunk`](crate::Sink::chunk) gets.
    pub fn run(&mut self, chunk: &[f32; CHUNK]) {
        self.samples = self.samples.saturating_add(CHUNK as u32);
        let mut buffer = *chunk;
        let mut samples = &mut buffer[..];
        let mut stage = 0;
        for (band, (state, sum)) in self.designs.iter().zip(self.states.iter_mut().zip(&mut self.sums)) {
            while stage < usize::from(band.stage) {
                let left = self.halvers[stage].run(samples);
                samples = &mut samples[..left];
                stage += 1;
            }
            if samples.is_empty() {
                return;
            }
            *sum += pass(band, state, samples) * (1u32 << stage) as f32;
        }
    }

    /// What came through since the last call; to be called every second or so, as sums in f32 lose precision.
    pub fn take(&mut self, sensitivity: Sensitivity) -> Spectrum<BANDS> {
        let square = sensitivity.pascals() * sensitivity.pascals();
        let mut energies = [0.0; BANDS];
        // Designs have the highest band first, spectra the lowest.
        for (energy, (band, sum)) in energies.iter_mut().rev().zip(self.designs.iter().zip(&mut self.sums)) {
            *energy = f64::from(core::mem::take(sum) * band.gain) * f64::from(square);
        }
        Spectrum::new(energies, u64::from(core::mem::take(&mut self.samples)))
    }
}

/// Filters up to a chunk of samples; gives the sum of the squares of what comes out.
///
/// All sections of a sample before the next sample: their coefficients and states fit the registers of a Cortex-M4F.
#[inline(never)]
fn pass(band: &Band, state: &mut [[f32; 2]; ORDER], samples: &[f32]) -> f32 {
    let [mut s0, mut s1, mut s2, mut s3] = *state;
    let [c0, c1, c2, c3] = band.sections;
    let mut sum = 0.0;
    for sample in samples {
        let y = c3.run(&mut s3, c2.run(&mut s2, c1.run(&mut s1, c0.run(&mut s0, *sample))));
        sum += y * y;
    }
    *state = [s0, s1, s2, s3];
    sum
}

impl Section {
    /// Transposed direct form II.
    #[inline(always)]
    fn run(self, state: &mut [f32; 2], x: f32) -> f32 {
        let y = x + state[0];
        *state = [state[1] - self.a1 * y, -x - self.a2 * y];
        y
    }
}

/// Halves a sampling rate: an elliptic half-band filter of order 7 as two chains of all-passes (Valenzuela and
/// Constantinides, 1983). Flat to 0.118 of the rate it is given, 93 dB down from 0.382.
#[derive(Clone, Copy, Debug, Default)]
struct Halver {
    /// The first of a pair whose second has not come.
    first: Option<f32>,
    early: [AllPass; 2],
    late: AllPass,
}

impl Halver {
    const EARLY: [f32; 2] = [0.067_821_23, 0.678_712_07];
    const LATE: f32 = 0.278_319_98;

    /// Puts half as many samples at the front; says how many.
    #[inline(never)]
    fn run(&mut self, samples: &mut [f32]) -> usize {
        let mut written = 0;
        for read in 0..samples.len() {
            let sample = samples[read];
            match self.first.take() {
                None => self.first = Some(sample),
                Some(first) => {
                    let [one, two] = &mut self.early;
                    let newer = two.run(Self::EARLY[1], one.run(Self::EARLY[0], sample));
                    let older = self.late.run(Self::LATE, first);
                    samples[written] = 0.5 * (newer + older);
                    written += 1;
                }
            }
        }
        written
    }
}

/// `(c + z⁻¹) / (1 + c·z⁻¹)`.
#[derive(Clone, Copy, Debug, Default)]
struct AllPass {
    x: f32,
    y: f32,
}

impl AllPass {
    fn run(&mut self, c: f32, x: f32) -> f32 {
        let y = c * (x - self.y) + self.x;
        *self = Self { x, y };
        y
    }
}
