//! Octave and third-octave levels by filters of class 1 of IEC 61260-1:2014.
//!
//! Butterworth band-passes of order 4 (eight poles) on the base-ten edges of 5.4, designed at compile time. Every octave
//! works at half the sampling rate of the one above it, so that each costs half and its poles are as well placed as the
//! others'. Filters of order 3 would not do: by the bilinear transform they fall too slowly below the 16 kHz octave.
//!
//! Mid-band gain is 1 at the exact mid-band frequency. What the decimating filters let through where they should not is
//! more than 90 dB down.

mod bank;
mod design;
mod spectrum;

pub use bank::Bank;
pub use spectrum::Spectrum;

/// Octave bands: 31.5 Hz to 16 kHz.
pub const OCTAVES: usize = 10;
/// Third-octave bands: 20 Hz to 20 kHz.
pub const THIRD_OCTAVES: usize = 31;

/// Nominal mid-band frequencies of the octaves in Hz (IEC 61260-1 Annex E).
pub const OCTAVE_NOMINALS: [f32; OCTAVES] =
    [31.5, 63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0];
/// Nominal mid-band frequencies of the third-octaves in Hz.
pub const THIRD_OCTAVE_NOMINALS: [f32; THIRD_OCTAVES] = [
    20.0, 25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0,
    800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0, 10_000.0,
    12_500.0, 16_000.0, 20_000.0,
];

/// The filters of the octaves.
pub type Octaves = Bank<OCTAVES>;

impl Octaves {
    /// At rest.
    #[must_use]
    pub fn new() -> Self {
        static DESIGNS: [design::Band; OCTAVES] = design::octaves();
        Self::of(&DESIGNS)
    }
}

impl Default for Octaves {
    fn default() -> Self {
        Self::new()
    }
}

/// The filters of the third-octaves.
#[cfg(feature = "third-octaves")]
pub type ThirdOctaves = Bank<THIRD_OCTAVES>;

#[cfg(feature = "third-octaves")]
impl ThirdOctaves {
    /// At rest.
    #[must_use]
    pub fn new() -> Self {
        static DESIGNS: [design::Band; THIRD_OCTAVES] = design::third_octaves();
        Self::of(&DESIGNS)
    }
}

#[cfg(feature = "third-octaves")]
impl Default for ThirdOctaves {
    fn default() -> Self {
        Self::new()
    }
}
