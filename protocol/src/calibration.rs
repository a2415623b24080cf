//! A field calibration of a device's sound level meter: the calibrator is put on, and what was heard becomes a record.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::reading::Milli;

/// Why a calibration was refused. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalibrationRefusal {
    /// The device's calibrators have other levels.
    UnknownLevel,
    /// The device has no sound level meter, or it does not run.
    NoMeter,
    /// Another calibration is under way.
    Busy,
    /// There was no tone for long enough.
    TooShort,
    /// Something was wrong with the samples.
    Fault,
    /// The level varied.
    Unsteady,
    /// The tone was not at 1 kHz, or not alone.
    NotOneKilohertz,
    /// The level is too far from the calibrator's: a wrong microphone, or no calibrator.
    OutOfRange,
    /// The level has drifted too far since the last calibration; what was measured in between is in doubt, and a person has to decide.
    Drift,
    /// It could not be written down.
    Store,
}

impl CalibrationRefusal {
    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownLevel => "unknown-level",
            Self::NoMeter => "no-meter",
            Self::Busy => "busy",
            Self::TooShort => "too-short",
            Self::Fault => "fault",
            Self::Unsteady => "unsteady",
            Self::NotOneKilohertz => "not-one-kilohertz",
            Self::OutOfRange => "out-of-range",
            Self::Drift => "drift",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for CalibrationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationOutcome {
    /// The calibrator's level in dB.
    pub nominal: Milli,
    /// The level in dB that was measured with the sensitivity in use before; [`None`] when nothing was measured.
    pub measured: Option<Milli>,
    /// What a sample at full scale is from here on, in micropascals: what it was before when the calibration was refused, and 0 without a
    /// meter.
    pub full_scale_upa: u64,
    /// Why it was refused; [`None`] when it was not.
    pub refused: Option<CalibrationRefusal>,
}

impl CalibrationOutcome {
    /// How far the level was from the calibrator's, in dB: the drift since the last calibration.
    #[must_use]
    pub fn drift(&self) -> Option<Milli> {
        Some(Milli(self.measured?.0.saturating_sub(self.nominal.0)))
    }
}

/// Gateway to device: the calibrator is being put on; find out what the meter makes of it. The answer is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibrate {
    /// The calibrator's level in dB.
    pub nominal: Milli,
    /// A person has looked into a drift that was refused, and takes the new sensitivity.
    pub accept_drift: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        use CalibrationRefusal as R;
        for refusal in [
            R::UnknownLevel,
            R::NoMeter,
            R::Busy,
            R::TooShort,
            R::Fault,
            R::Unsteady,
            R::NotOneKilohertz,
            R::OutOfRange,
            R::Drift,
            R::Store,
        ] {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.as_str());
        }
    }

    #[test]
    fn the_drift_is_what_was_measured_beyond_the_calibrators_level() {
        let outcome = |measured| CalibrationOutcome {
            nominal: Milli(94_000),
            measured,
            full_scale_upa: 20_000_000,
            refused: None,
        };
        assert_eq!(outcome(Some(Milli(93_700))).drift(), Some(Milli(-300)));
        assert_eq!(outcome(None).drift(), None);
    }
}
