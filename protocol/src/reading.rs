//! One measured value.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// A value in thousandths of its quantity's unit: 71.4 dB is `Milli(71_400)`.
///
/// A whole number, so that a sensor and a gateway compute the same to the last bit. The range, ±2,147,483 units, holds
/// every quantity in [`Quantity`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Milli(pub i32);

impl Milli {
    /// The nearest thousandth, held at the ends of the range; NaN has no value.
    #[must_use]
    pub fn from_f32(value: f32) -> Option<Self> {
        // `as` saturates, which is what is wanted at the ends of the range.
        (!value.is_nan()).then(|| Self(libm::round(f64::from(value) * 1000.0) as i32))
    }

    /// The value in whole units, for display and JSON.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Milli {
    /// All digits that matter: `71.4`, `-0.062`, `55`. A precision (`{:.1}`) is honoured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.precision() {
            Some(digits) => write!(f, "{:.digits$}", self.to_f64()),
            None => write!(f, "{}", self.to_f64()),
        }
    }
}

impl fmt::Debug for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Milli({self})")
    }
}

/// What is known against a reading. No bit set: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quality(pub u8);

impl Quality {
    /// Nothing is known against it.
    pub const GOOD: Self = Self(0);
    /// The signal went over the sensor's range while it was measured (IEC 61672-1 5.11).
    pub const OVERLOAD: Self = Self(1);
    /// The signal was below the range in which the sensor is within its limits (IEC 61672-1 5.12).
    pub const UNDER_RANGE: Self = Self(1 << 1);
    /// Made while the device was being calibrated or serviced.
    pub const CALIBRATION: Self = Self(1 << 2);
    /// The sensor failed its plausibility checks.
    pub const FAULT: Self = Self(1 << 3);
    /// Part of the measuring time is missing.
    pub const INCOMPLETE: Self = Self(1 << 4);

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether rules may decide on it. Readings made in calibration, of a faulty sensor, or with unknown bits of a
    /// later version are kept and shown, and decide nothing. Overload counts (the level was at least this high), and
    /// so does under-range (it was at most this high).
    #[must_use]
    pub const fn decides(self) -> bool {
        self.0 & !(Self::OVERLOAD.0 | Self::UNDER_RANGE.0 | Self::INCOMPLETE.0) == 0
    }
}

/// One measured value. Its time and its device stand with the record that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What was measured; names the unit too.
    pub quantity: Quantity,
    /// How much, in thousandths of the quantity's unit.
    pub value: Milli,
    /// What is known against it.
    pub quality: Quality,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_round_and_hold_at_the_ends() {
        assert_eq!(Milli::from_f32(71.4), Some(Milli(71_400)));
        assert_eq!(Milli::from_f32(-0.0625), Some(Milli(-63)));
        assert_eq!(Milli::from_f32(f32::INFINITY), Some(Milli(i32::MAX)));
        assert_eq!(Milli::from_f32(f32::NAN), None);
    }

    #[test]
    fn a_reading_of_a_faulty_sensor_decides_nothing() {
        assert!(Quality::GOOD.decides());
        assert!(Quality::OVERLOAD.with(Quality::UNDER_RANGE).decides());
        assert!(!Quality::OVERLOAD.with(Quality::FAULT).decides());
        assert!(!Quality(0x80).decides(), "a bit of a later version");
    }
}
