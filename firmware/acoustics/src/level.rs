//! Levels in dB, and what they are made of.

use gridpost_protocol::reading::ten_to;

/// 20 µPa squared, in Pa²: 0 dB.
pub const REFERENCE: f64 = 4e-10;

/// The lowest level that is ever told, in dB: what silence reads. No microphone gets near it.
pub const LOWEST: f32 = -20.0;

/// Mean square at [`LOWEST`], in Pa².
const LOWEST_MEAN_SQUARE: f64 = 4e-12;

/// The level of a mean square sound pressure in Pa², in dB re 20 µPa; at least [`LOWEST`], also for silence.
#[must_use]
pub fn of_mean_square(mean_square: f32) -> f32 {
    // Written so that NaN, which no caller has, would read as silence too.
    if mean_square > LOWEST_MEAN_SQUARE as f32 {
        10.0 * libm::log10f(mean_square / REFERENCE as f32)
    } else {
        LOWEST
    }
}

/// The level of an f64 mean square in Pa², in dB; at least [`LOWEST`].
#[must_use]
pub fn of_mean_square_f64(mean_square: f64) -> f32 {
    // Held inside f32's range before it is one.
    of_mean_square(mean_square.clamp(0.0, 1e30) as f32)
}

/// The level of a peak pressure in Pa, in dB.
#[must_use]
pub fn of_peak(pressure: f32) -> f32 {
    of_mean_square(pressure * pressure)
}

/// The mean square in Pa² of a level in dB. Levels beyond ±300 dB are held there.
#[must_use]
pub fn to_mean_square(level: f32) -> f64 {
    REFERENCE * ten_to(f64::from(level.clamp(-300.0, 300.0)) / 10.0)
}

/// What a sample at full scale is in pascals: the microphone, its amplifier and converter in one number.
///
/// A digital microphone of -26 dBFS at 94 dB has its full scale (a sine of that peak) at 120 dB, which is 28.3 Pa.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity(f32);

impl Sensitivity {
    /// 1 Pa at full scale: a place to start from before anything is calibrated.
    pub const ONE_PASCAL: Self = Self(1.0);

    /// Pascals at full scale; `None` unless within 1e-3 to 1e5 Pa (34 to 194 dB), which takes in every microphone.
    #[must_use]
    pub fn from_pascals(full_scale: f32) -> Option<Self> {
        (1e-3..=1e5).contains(&full_scale).then_some(Self(full_scale))
    }

    /// Of a data sheet's "dBFS at 94 dB SPL, 1 kHz", where 0 dBFS is a sine whose peaks reach full scale.
    #[must_use]
    pub fn from_dbfs_at_94(dbfs: f32) -> Option<Self> {
        // A NaN fails the range check of `from_pascals`.
        Self::from_pascals(ten_to(f64::from((94.0 - dbfs) / 20.0)) as f32 * 20e-6 * core::f32::consts::SQRT_2)
    }

    /// Pascals at full scale.
    #[must_use]
    pub fn pascals(self) -> f32 {
        self.0
    }

    /// The level of a sine whose peaks reach full scale, in dB.
    #[must_use]
    pub fn full_scale_level(self) -> f32 {
        of_mean_square(self.0 * self.0 / 2.0)
    }

    /// This sensitivity after everything is found to read `error` dB too high; `None` if that leaves the range.
    #[must_use]
    pub fn corrected(self, error: f32) -> Option<Self> {
        Self::from_pascals(self.0 * ten_to(f64::from(-error / 20.0)) as f32)
    }
}
