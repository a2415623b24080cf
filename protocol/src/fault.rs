//! What is wrong with a device's sensor: the device tells when it begins and when it is over.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a sensor, in bytes.
pub const SENSOR_NAME_BYTES_MAX: usize = 24;

/// What is wrong. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Nobody answers at its address.
    Absent,
    /// The bus fails.
    Bus,
    /// Another chip answers.
    WrongChip,
    /// Its values cannot be.
    Implausible,
    /// What it sends is damaged.
    Corrupt,
    /// It says itself that it does not work.
    Broken,
    /// Its value does not change any more.
    Stuck,
    /// It answers and has nothing new.
    Stale,
}

impl FaultKind {
    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Bus => "bus",
            Self::WrongChip => "wrong-chip",
            Self::Implausible => "implausible",
            Self::Corrupt => "corrupt",
            Self::Broken => "broken",
            Self::Stuck => "stuck",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a sensor is: told when it changes, and once after each start of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorState<'a> {
    /// The sensor's name: lower-case letters, digits and `-`, at most [`SENSOR_NAME_BYTES_MAX`] bytes.
    pub sensor: &'a str,
    /// What is wrong; [`None`] when it works.
    pub fault: Option<FaultKind>,
}

impl SensorState<'_> {
    /// Whether the name may stand in an event's id.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=SENSOR_NAME_BYTES_MAX).contains(&self.sensor.len()) && self.sensor.bytes().all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        use FaultKind as K;
        for kind in
            [K::Absent, K::Bus, K::WrongChip, K::Implausible, K::Corrupt, K::Broken, K::Stuck, K::Stale]
        {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn a_name_that_would_break_an_id_is_noticed() {
        let named = |sensor| SensorState { sensor, fault: None }.is_named();
        assert!(named("sht4x") && named("tipping-bucket"));
        assert!(!named("") && !named("SHT") && !named("a/b") && !named("0123456789012345678901234"));
    }
}
