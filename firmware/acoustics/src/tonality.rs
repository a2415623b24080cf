//! Tones by comparing third-octave levels with their neighbours' (ISO 1996-2:2017 Annex K, survey method): fans,
//! transformers, reversing alarms.

use super::bands::{THIRD_OCTAVE_NOMINALS, THIRD_OCTAVES};

/// A third-octave that stands above both neighbours by more than the threshold for its frequency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Its index in [`THIRD_OCTAVE_NOMINALS`].
    pub band: usize,
    /// Its level less that of its louder neighbour, in dB.
    pub prominence: f32,
}

impl Tone {
    /// The band's nominal frequency in Hz.
    #[must_use]
    pub fn frequency(&self) -> f32 {
        THIRD_OCTAVE_NOMINALS[self.band]
    }
}

/// By how many dB a band has to stand above both neighbours; `None` outside 25 Hz to 10 kHz.
#[must_use]
pub fn threshold(frequency: f32) -> Option<f32> {
    match frequency {
        25.0..=125.0 => Some(15.0),
        160.0..=400.0 => Some(8.0),
        500.0..=10_000.0 => Some(5.0),
        _ => None,
    }
}

/// The tones in levels of third-octaves from 20 Hz to 20 kHz in dB (unweighted Leq over a minute or more).
pub fn tones(levels: &[f32; THIRD_OCTAVES]) -> impl Iterator<Item = Tone> {
    levels.windows(3).enumerate().filter_map(|(below, neighbours)| {
        let band = below + 1;
        let prominence = neighbours[1] - neighbours[0].max(neighbours[2]);
        (prominence >= threshold(THIRD_OCTAVE_NOMINALS[band])?).then_some(Tone { band, prominence })
    })
}
