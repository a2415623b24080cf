//! The section `[spool]`: how much the gateway's durable store may take, and how long it keeps evidence. Without it the bounds of
//! [`SpoolLimits`] hold.

use serde::Deserialize;

use crate::spool::{READING_BYTES, SpoolLimits};

/// The least that events may take, in MB: some 10,000 of them.
const OUTBOX_MB_MIN: u64 = 8;
/// The least that readings and minutes may take, in MB: 100,000 of them.
const READINGS_MB_MIN: u64 = 8;
/// The most: what has a number in a file of a size that SQLite allows.
const READINGS_MB_MAX: u64 = 1_000_000;
/// The longest that they can be kept, in days.
const READINGS_DAYS_MAX: u32 = 366;
/// What everything but events, readings and minutes may take in the file, in MB: devices, open episodes, cases.
const REST_MB: u64 = 464;
/// What an event takes in the file for each byte of it, at the worst: two of just over half a page do not fit into one.
const EVENT_BYTES_IN_FILE: u64 = 2;

/// How much the spool may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// The events that wait, in MB of 1,000,000 bytes. Beyond it the least important and oldest go first.
    pub outbox_mb_max: Option<u64>,
    /// What is kept as evidence, in MB: readings, and the minutes of devices that decide themselves. Beyond it the device with most of
    /// one of them gives its oldest.
    pub readings_mb_max: Option<u64>,
    /// For how many days that is kept.
    pub readings_days_max: Option<u32>,
    /// The whole file, in MB. Beyond it nothing more is taken from devices, which keep their records.
    pub file_mb_max: Option<u64>,
}

impl SpoolConfig {
    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> SpoolLimits {
        let default = SpoolLimits::default();
        let outbox_bytes_max = self.outbox_mb_max.map_or(default.outbox_bytes_max, bytes);
        let readings = |mb| i64::try_from(bytes(mb) / READING_BYTES).unwrap_or(i64::MAX);
        let readings_max = self.readings_mb_max.map_or(default.readings_max, readings);
        let readings_days_max = self.readings_days_max.unwrap_or(default.readings_days_max);
        let least = least_file_bytes(outbox_bytes_max, readings_max);
        let file_bytes_max = self.file_mb_max.map_or(default.file_bytes_max.max(least), bytes);
        SpoolLimits { outbox_bytes_max, file_bytes_max, readings_max, readings_days_max }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let SpoolLimits { outbox_bytes_max, file_bytes_max, readings_max, readings_days_max } = self.limits();
        if outbox_bytes_max < bytes(OUTBOX_MB_MIN) {
            return Err(format!("[spool] outbox_mb_max: is less than {OUTBOX_MB_MIN}, which is the least"));
        }
        if let Some(mb) = self.readings_mb_max
            && !(READINGS_MB_MIN..=READINGS_MB_MAX).contains(&mb)
        {
            return Err(format!(
                "[spool] readings_mb_max: {mb} is not between {READINGS_MB_MIN} and {READINGS_MB_MAX}; rules' windows are \
                 filled with these readings at a start, so some have to be kept"
            ));
        }
        if !(1..=READINGS_DAYS_MAX).contains(&readings_days_max) {
            return Err(format!(
                "[spool] readings_days_max: {readings_days_max} is not between 1 and {READINGS_DAYS_MAX}; to keep fewer readings \
                 give readings_mb_max"
            ));
        }
        let least = least_file_bytes(outbox_bytes_max, readings_max);
        if file_bytes_max < least {
            return Err(format!(
                "[spool] file_mb_max: is less than {}, which the events of outbox_mb_max, the readings and minutes of readings_mb_max and \
                 everything else may take; leave it out, or give more",
                least / bytes(1)
            ));
        }
        Ok(())
    }
}

const fn bytes(mb: u64) -> u64 {
    mb.saturating_mul(1_000_000)
}

const fn least_file_bytes(outbox_bytes_max: u64, readings_max: i64) -> u64 {
    outbox_bytes_max
        .saturating_mul(EVENT_BYTES_IN_FILE)
        .saturating_add(readings_max.unsigned_abs().saturating_mul(READING_BYTES))
        .saturating_add(bytes(REST_MB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_room_for_all_that_the_other_bounds_allow() {
        let said = |text: &str| toml::from_str::<SpoolConfig>(text).unwrap().check();
        assert_eq!(SpoolConfig::default().limits(), SpoolLimits::default());
        for good in ["", "outbox_mb_max = 8", "outbox_mb_max = 6000", "file_mb_max = 2200"] {
            assert_eq!(said(good), Ok(()), "{good}");
        }
        let small = said("outbox_mb_max = 7").unwrap_err();
        assert!(small.contains("outbox_mb_max: is less than 8"), "{small}");
        for (bad, least) in [
            ("outbox_mb_max = 6000\nfile_mb_max = 12000", 13024),
            ("file_mb_max = 0", 2097),
            ("readings_mb_max = 4400\nfile_mb_max = 5900", 5937),
        ] {
            let said = said(bad).unwrap_err();
            assert!(said.contains(&format!("file_mb_max: is less than {least}")), "{said}");
        }
        assert!(toml::from_str::<SpoolConfig>("outbox_mb = 8").is_err());
    }

    #[test]
    fn readings_are_kept_for_a_week_or_as_long_and_as_many_as_it_says() {
        let config = |text: &str| toml::from_str::<SpoolConfig>(text).unwrap();
        let said = |text: &str| config(text).check();
        assert_eq!(config("").limits().readings_days_max, 7);
        let longer = config("readings_days_max = 30\nreadings_mb_max = 800");
        assert_eq!(longer.check(), Ok(()));
        assert_eq!((longer.limits().readings_days_max, longer.limits().readings_max), (30, 10_000_000));
        for (bad, key) in [
            ("readings_days_max = 0", "readings_days_max: 0 is not between 1 and 366"),
            ("readings_days_max = 367", "readings_days_max: 367"),
            ("readings_mb_max = 7", "readings_mb_max: 7 is not between 8"),
            ("readings_mb_max = 9000000000000000", "readings_mb_max: "),
        ] {
            let said = said(bad).unwrap_err();
            assert!(said.starts_with("[spool] ") && said.contains(key), "{said}");
        }
    }
}
