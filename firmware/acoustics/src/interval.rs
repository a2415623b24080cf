//! What was measured over a stretch of time.

use super::{Flags, SAMPLE_RATE, level};

/// A tick, a second, or any window made of those by [`merge`](Interval::merge).
///
/// Fields hold what adds up (energies) or compares (maxima); methods tell levels in dB re 20 µPa, never below
/// [`level::LOWEST`] and never NaN. An interval without samples reads [`level::LOWEST`] throughout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Samples since the meter's start, missing ones included, at the interval's beginning.
    pub start: u64,
    /// Samples that were measured.
    pub samples: u64,
    /// Samples that the interval lacks.
    pub missing: u64,
    /// Sums of the A-, C- and Z-weighted squares in Pa², and of I's output.
    pub energy: Energies,
    /// The largest and smallest of F, S and I (all A-weighted) in Pa².
    pub extremes: Extremes,
    /// F and S at the interval's end in Pa².
    pub end: Exponential,
    /// The largest magnitude of C in Pa, between samples too.
    pub peak: f32,
    /// The mean of the samples that was removed, in full scales.
    pub dc: f32,
    /// Everything that was found.
    pub flags: Flags,
}

/// Sums of squared pressures: Pa² times samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energies {
    /// A-weighted.
    pub a: f64,
    /// C-weighted.
    pub c: f64,
    /// Unweighted, from 0.5 Hz.
    pub z: f64,
    /// A-weighted with time weighting I.
    pub i: f64,
}

/// Extremes of the time-weighted A levels, as mean squares in Pa².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// Largest F.
    pub fast_max: f32,
    /// Smallest F.
    pub fast_min: f32,
    /// Largest S.
    pub slow_max: f32,
    /// Smallest S.
    pub slow_min: f32,
    /// Largest I.
    pub impulse_max: f32,
}

/// F and S at one moment, as mean squares in Pa².
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exponential {
    /// F.
    pub fast: f32,
    /// S.
    pub slow: f32,
}

impl Default for Extremes {
    fn default() -> Self {
        Self { fast_max: 0.0, fast_min: f32::MAX, slow_max: 0.0, slow_min: f32::MAX, impulse_max: 0.0 }
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self {
            start: 0,
            samples: 0,
            missing: 0,
            energy: Energies::default(),
            extremes: Extremes::default(),
            end: Exponential::default(),
            peak: 0.0,
            dc: 0.0,
            flags: Flags::NONE,
        }
    }
}

impl Interval {
    /// Adds what follows this interval. Flags are latched ([`Flags::latched`]); begin a new interval to reset them.
    pub fn merge(&mut self, later: &Self) {
        if self.samples + self.missing == 0 {
            *self = *later;
            return;
        }
        let share = later.samples as f32 / (self.samples + later.samples).max(1) as f32;
        self.dc += share * (later.dc - self.dc);
        self.samples += later.samples;
        self.missing += later.missing;
        self.energy.a += later.energy.a;
        self.energy.c += later.energy.c;
        self.energy.z += later.energy.z;
        self.energy.i += later.energy.i;
        let (mine, other) = (&mut self.extremes, &later.extremes);
        mine.fast_max = mine.fast_max.max(other.fast_max);
        mine.fast_min = mine.fast_min.min(other.fast_min);
        mine.slow_max = mine.slow_max.max(other.slow_max);
        mine.slow_min = mine.slow_min.min(other.slow_min);
        mine.impulse_max = mine.impulse_max.max(other.impulse_max);
        if later.samples > 0 {
            self.end = later.end;
        }
        self.peak = self.peak.max(later.peak);
        self.flags = self.flags.latched(later.flags);
    }

    /// Its length in s, of what was measured.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }

    fn mean(&self, energy: f64) -> f32 {
        level::of_mean_square_f64(energy / self.samples.max(1) as f64)
    }

    /// LAeq,T in dB: the mean over what was measured.
    #[must_use]
    pub fn laeq(&self) -> f32 {
        self.mean(self.energy.a)
    }

    /// LCeq,T in dB.
    #[must_use]
    pub fn lceq(&self) -> f32 {
        self.mean(self.energy.c)
    }

    /// LZeq,T in dB.
    #[must_use]
    pub fn lzeq(&self) -> f32 {
        self.mean(self.energy.z)
    }

    /// LAIeq,T in dB: the energy mean of LAI.
    #[must_use]
    pub fn laieq(&self) -> f32 {
        self.mean(self.energy.i)
    }

    /// The sound exposure level LAE in dB re (20 µPa)²·s of what was measured.
    #[must_use]
    pub fn lae(&self) -> f32 {
        level::of_mean_square_f64(self.energy.a / f64::from(SAMPLE_RATE))
    }

    /// LAFmax in dB.
    #[must_use]
    pub fn lafmax(&self) -> f32 {
        level::of_mean_square(self.extremes.fast_max)
    }

    /// LAFmin in dB.
    #[must_use]
    pub fn lafmin(&self) -> f32 {
        self.if_any(self.extremes.fast_min)
    }

    /// LASmax in dB.
    #[must_use]
    pub fn lasmax(&self) -> f32 {
        level::of_mean_square(self.extremes.slow_max)
    }

    /// LASmin in dB.
    #[must_use]
    pub fn lasmin(&self) -> f32 {
        self.if_any(self.extremes.slow_min)
    }

    /// LAImax in dB.
    #[must_use]
    pub fn laimax(&self) -> f32 {
        level::of_mean_square(self.extremes.impulse_max)
    }

    /// LAF at the end, in dB.
    #[must_use]
    pub fn laf(&self) -> f32 {
        self.if_any(self.end.fast)
    }

    /// LAS at the end, in dB.
    #[must_use]
    pub fn las(&self) -> f32 {
        self.if_any(self.end.slow)
    }

    /// LCpeak in dB (IEC 61672-1 5.13).
    #[must_use]
    pub fn lcpeak(&self) -> f32 {
        level::of_peak(self.peak)
    }

    /// Of something that has a value without any sample too.
    fn if_any(&self, mean_square: f32) -> f32 {
        if self.samples == 0 { level::LOWEST } else { level::of_mean_square(mean_square) }
    }
}
