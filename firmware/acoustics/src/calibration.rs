//! Field calibration with an acoustic calibrator (IEC 60942): 94 or 114 dB at 1 kHz on the microphone.
//!
//! Refused unless it really was the calibrator that was heard: steady, at 1 kHz, without faults, near the level expected;
//! and unless the drift since the last calibration is small, for else what was measured in between is in doubt and a person
//! has to decide (GB 12348-2008 wants at most 0.5 dB between before and after).

use core::fmt;

use super::{Flags, Interval, Sensitivity, TICKS_PER_SECOND, level};

/// The calibrator's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibrator {
    /// 94 dB, 1 Pa.
    Db94,
    /// 114 dB, 10 Pa.
    Db114,
}

impl Calibrator {
    /// Its level in dB.
    #[must_use]
    pub fn level(self) -> f32 {
        match self {
            Self::Db94 => 94.0,
            Self::Db114 => 114.0,
        }
    }
}

/// What is asked of a calibration. All in dB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationLimits {
    /// Largest less smallest level of the tenths of a second.
    pub spread: f32,
    /// How far the level may be from the calibrator's with the sensitivity in use: a wrong microphone, or no calibrator.
    pub range: f32,
    /// How far it may have drifted since the last calibration.
    pub drift: f32,
}

impl Default for CalibrationLimits {
    /// 0.2 dB as a calibrator of class 1 keeps within 0.1; 3 dB as microphones of one type do; 0.5 dB by GB 12348.
    fn default() -> Self {
        Self { spread: 0.2, range: 3.0, drift: 0.5 }
    }
}

/// A calibration that succeeded: fit to be kept as a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The calibrator's level in dB.
    pub nominal: f32,
    /// The level in dB that was measured with the sensitivity in use before.
    pub measured: f32,
    /// `measured - nominal`, the drift since the last calibration, in dB.
    pub drift: f32,
    /// Largest less smallest level of the tenths of a second, in dB.
    pub spread: f32,
    /// Samples over which it was measured.
    pub samples: u64,
    /// The sensitivity from now on.
    pub sensitivity: Sensitivity,
}

/// Why a calibration was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CalibrationRefused {
    /// Fewer than five seconds were heard after the first.
    TooShort,
    /// Something was wrong with the samples.
    Fault(Flags),
    /// The level varied by so many dB.
    Unsteady(f32),
    /// The tone is not at 1 kHz, or not alone: A, C and Z, which agree there, differ by so many dB.
    NotOneKilohertz(f32),
    /// The level in dB is too far from the calibrator's.
    OutOfRange(f32),
    /// The drift in dB since the last calibration is too large.
    Drift(f32),
}

impl fmt::Display for CalibrationRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("less than five seconds of tone"),
            Self::Fault(flags) => write!(f, "the samples are not good: {flags}"),
            Self::Unsteady(spread) => write!(f, "the level varied by {spread:.2} dB"),
            Self::NotOneKilohertz(difference) => {
                write!(f, "not a pure tone of 1 kHz: the weightings differ by {difference:.2} dB")
            }
            Self::OutOfRange(level) => write!(f, "{level:.1} dB is not the calibrator's level"),
            Self::Drift(drift) => write!(f, "{drift:+.2} dB of drift since the last calibration"),
        }
    }
}

/// Left out at the beginning: the calibrator is being put on, filters swing.
const SKIPPED_TICKS: u32 = TICKS_PER_SECOND as u32;
const TICKS_PER_BLOCK: u32 = 10;
const BLOCKS_NEEDED: u32 = 50;
/// A is 0.3 dB from C at about 920 and 1090 Hz.
const WEIGHTINGS_AGREE: f32 = 0.3;
/// What spoils a calibration.
const FAULTS: [Flags; 5] = [Flags::OVERLOAD, Flags::CLIPPED, Flags::STUCK, Flags::GAP, Flags::NOT_FINITE];

/// A calibration in progress.
#[derive(Clone, Debug)]
pub struct FieldCalibration {
    calibrator: Calibrator,
    limits: CalibrationLimits,
    skipped: u32,
    block: Interval,
    ticks: u32,
    blocks: u32,
    all: Interval,
    /// Mean squares of the blocks' C levels in Pa².
    smallest: f32,
    largest: f32,
}

impl FieldCalibration {
    /// Begins one.
    #[must_use]
    pub fn new(calibrator: Calibrator, limits: CalibrationLimits) -> Self {
        Self {
            calibrator,
            limits,
            skipped: 0,
            block: Interval::default(),
            ticks: 0,
            blocks: 0,
            all: Interval::default(),
            smallest: f32::MAX,
            largest: 0.0,
        }
    }

    /// Takes a tick of the [`Meter`](super::Meter).
    pub fn add(&mut self, tick: &Interval) {
        if self.skipped < SKIPPED_TICKS {
            self.skipped += 1;
            return;
        }
        self.block.merge(tick);
        self.ticks += 1;
        if self.ticks == TICKS_PER_BLOCK {
            let block = core::mem::take(&mut self.block);
            self.ticks = 0;
            self.blocks = self.blocks.saturating_add(1);
            let mean_square = (block.energy.c / block.samples.max(1) as f64) as f32;
            self.smallest = self.smallest.min(mean_square);
            self.largest = self.largest.max(mean_square);
            self.all.merge(&block);
        }
    }

    /// Judges what was heard; `in_use` is the sensitivity of the meter, from the last calibration.
    ///
    /// # Errors
    /// Why it is no calibration. The sensitivity in use stays as it is.
    pub fn finish(&self, in_use: Sensitivity) -> Result<Calibration, CalibrationRefused> {
        if self.blocks < BLOCKS_NEEDED {
            return Err(CalibrationRefused::TooShort);
        }
        let mut faults = Flags::NONE;
        for fault in FAULTS {
            if self.all.flags.contains(fault) {
                faults.insert(fault);
            }
        }
        if !faults.is_empty() {
            return Err(CalibrationRefused::Fault(faults));
        }
        let spread = level::of_mean_square(self.largest) - level::of_mean_square(self.smallest);
        if spread > self.limits.spread {
            return Err(CalibrationRefused::Unsteady(spread));
        }
        let measured = self.all.lceq();
        let difference = (self.all.laeq() - measured).abs().max((self.all.lzeq() - measured).abs());
        if difference > WEIGHTINGS_AGREE {
            return Err(CalibrationRefused::NotOneKilohertz(difference));
        }
        let nominal = self.calibrator.level();
        let drift = measured - nominal;
        if drift.abs() > self.limits.range {
            return Err(CalibrationRefused::OutOfRange(measured));
        }
        if drift.abs() > self.limits.drift {
            return Err(CalibrationRefused::Drift(drift));
        }
        let sensitivity = in_use.corrected(drift).ok_or(CalibrationRefused::OutOfRange(measured))?;
        Ok(Calibration { nominal, measured, drift, spread, samples: self.all.samples, sensitivity })
    }
}
