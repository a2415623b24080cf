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

/// Ten to the power of this, within some units of the last place; whole powers are exact. `libm::exp10` has a table of 4 KiB, which is much
/// for a node's flash.
#[must_use]
pub fn ten_to(exponent: f64) -> f64 {
    let whole = libm::floor(exponent);
    let part = libm::exp((exponent - whole) * core::f64::consts::LN_10);
    // `as` saturates, and beyond this all is infinite or nothing.
    let whole = (whole as i32).clamp(-400, 400);
    let power = (0..whole.unsigned_abs()).fold(1.0, |power, _| power * 10.0);
    if whole < 0 { part / power } else { part * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_those_of_the_library() {
        for thousandth in -30_000..30_000 {
            let exponent = f64::from(thousandth) / 1000.0;
            let (ours, theirs) = (ten_to(exponent), libm::exp10(exponent));
            assert!((ours / theirs - 1.0).abs() < 1e-14, "{exponent}: {ours} {theirs}");
        }
        assert_eq!([ten_to(0.0), ten_to(14.0), ten_to(-1.0)], [1.0, 1e14, 0.1]);
        assert_eq!([ten_to(1e9), ten_to(-1e9)], [f64::INFINITY, 0.0]);
        assert!(ten_to(f64::NAN).is_nan());
    }

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
