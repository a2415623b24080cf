//! A field calibration while the meter runs: the calibrator is asked for, waited for, heard and judged.
//!
//! Whoever asks has a minute to put the calibrator on: the tone is judged every six seconds, until it is accepted or has drifted too far, or
//! there were [`ATTEMPTS_MAX`]. Readings are marked from the beginning until [`AFTER_SECONDS`] after the end, in which the calibrator
//! is taken off again: no rule decides on it.

use gridpost_protocol::calibration::{CalibrationOutcome, CalibrationRefusal};
use gridpost_protocol::reading::Milli;

use crate::acoustics::calibration::{
    Calibration, CalibrationLimits, CalibrationRefused, Calibrator, FieldCalibration,
};
use crate::acoustics::{Interval, Sensitivity, TICKS_PER_SECOND};

/// How often the tone is judged before it is given up: a minute.
pub const ATTEMPTS_MAX: u8 = 10;
/// How long readings are marked after the end, in seconds.
pub const AFTER_SECONDS: u32 = 30;
/// A second for the filters, and the five that are judged.
const ATTEMPT_TICKS: u32 = 6 * TICKS_PER_SECOND as u32;

/// A calibration under way.
#[derive(Clone, Debug)]
pub struct Calibrating {
    calibrator: Calibrator,
    limits: CalibrationLimits,
    tone: FieldCalibration,
    ticks: u32,
    attempts: u8,
}

impl Calibrating {
    /// Begins one.
    #[must_use]
    pub fn new(calibrator: Calibrator, limits: CalibrationLimits) -> Self {
        Self { calibrator, limits, tone: FieldCalibration::new(calibrator, limits), ticks: 0, attempts: 0 }
    }

    /// Takes a tick of the meter.
    pub(super) fn add(&mut self, tick: &Interval) {
        self.tone.add(tick);
        self.ticks += 1;
    }

    /// What came of it, when that is certain; `in_use` is the meter's sensitivity.
    pub(super) fn judge(&mut self, in_use: Sensitivity) -> Option<Result<Calibration, CalibrationRefused>> {
        if self.ticks < ATTEMPT_TICKS {
            return None;
        }
        let judged = self.tone.finish(in_use);
        self.attempts += 1;
        // A drift is of a good tone: it will be the same in the next six seconds.
        let certain = matches!(judged, Ok(_) | Err(CalibrationRefused::Drift(_)));
        if certain || self.attempts >= ATTEMPTS_MAX {
            return Some(judged);
        }
        self.tone = FieldCalibration::new(self.calibrator, self.limits);
        self.ticks = 0;
        None
    }
}

/// The calibrator of this level, in thousandths of a decibel.
#[must_use]
pub fn calibrator(nominal: Milli) -> Option<Calibrator> {
    match nominal {
        Milli(94_000) => Some(Calibrator::Db94),
        Milli(114_000) => Some(Calibrator::Db114),
        _ => None,
    }
}

/// How far a level may be off: after the first calibration as far as is usual between two, and before it, or when a person has looked into
/// it, as far as microphones of one type differ.
#[must_use]
pub fn limits(calibrated_before: bool, accept_drift: bool) -> CalibrationLimits {
    let usual = CalibrationLimits::default();
    let drift = if calibrated_before && !accept_drift { usual.drift } else { usual.range };
    CalibrationLimits { drift, ..usual }
}

/// As it is told, when the sensitivity was `in_use` before.
#[must_use]
pub fn outcome(
    nominal: Milli,
    judged: &Result<Calibration, CalibrationRefused>,
    in_use: Sensitivity,
) -> CalibrationOutcome {
    use CalibrationRefusal as Refusal;
    let (measured, refused) = match *judged {
        Ok(calibration) => (Some(calibration.measured), None),
        Err(CalibrationRefused::TooShort) => (None, Some(Refusal::TooShort)),
        Err(CalibrationRefused::Fault(_)) => (None, Some(Refusal::Fault)),
        Err(CalibrationRefused::Unsteady(_)) => (None, Some(Refusal::Unsteady)),
        Err(CalibrationRefused::NotOneKilohertz(_)) => (None, Some(Refusal::NotOneKilohertz)),
        Err(CalibrationRefused::OutOfRange(level)) => (Some(level), Some(Refusal::OutOfRange)),
        Err(CalibrationRefused::Drift(drift)) => {
            (Some(nominal.to_f64() as f32 + drift), Some(Refusal::Drift))
        }
    };
    let sensitivity = judged.map_or(in_use, |calibration| calibration.sensitivity);
    CalibrationOutcome {
        nominal,
        measured: measured.and_then(Milli::from_f32),
        full_scale_upa: micropascals(sensitivity),
        refused,
    }
}

/// A sensitivity as it is told and kept.
#[must_use]
pub fn micropascals(sensitivity: Sensitivity) -> u64 {
    // Positive and at most 1e11.
    libm::round(f64::from(sensitivity.pascals()) * 1e6) as u64
}

/// The sensitivity that was kept; [`None`] when it is none.
#[must_use]
pub fn sensitivity(micropascals: u64) -> Option<Sensitivity> {
    Sensitivity::from_pascals((micropascals as f64 / 1e6) as f32)
}
