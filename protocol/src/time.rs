//! Points in time. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This instant moved by `ms` milliseconds, held at the ends of the range.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; negative when `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since a device's last start; never steps, and starts anew at every boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UptimeMillis(pub u64);

/// On which clock a device stamped its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    /// The device knew the time.
    Unix {
        /// The instant.
        at: UnixMillis,
        /// How far off the device's clock may be, in milliseconds; `u16::MAX` for "unknown".
        uncertainty_ms: u16,
    },
    /// The device did not know the time yet: the gateway resolves it with the offset it learned for that boot.
    Uptime {
        /// The boot in which the records were made.
        boot: u32,
        /// Time since that boot.
        at: UptimeMillis,
    },
}

/// How the time of a reading is known, as the gateway states it to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockQuality {
    /// The device knew the time and stamped the reading itself.
    Device,
    /// The device stamped uptime; the gateway added the offset that it learned in the same boot.
    Resolved,
    /// Nobody knew: the time of arrival stands in.
    Arrival,
}
