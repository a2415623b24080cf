//! The section `[spool]`: how much the gateway's durable store may take. Without it the bounds of [`SpoolLimits`] hold.

use serde::Deserialize;

use crate::spool::SpoolLimits;

/// The least that events may take, in MB: some 10,000 of them.
const OUTBOX_MB_MIN: u64 = 8;
/// What everything but the events may take in the file, in MB: readings and their index, minutes, devices, open episodes.
const REST_MB: u64 = 1024;
/// What an event takes in the file for each byte of it, at the worst: two of just over half a page do not fit into one.
const EVENT_BYTES_IN_FILE: u64 = 2;

/// How much the spool may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// The events that wait, in MB of 1,000,000 bytes. Beyond it the least important and oldest go first.
    pub outbox_mb_max: Option<u64>,
    /// The whole file, in MB. Beyond it nothing more is taken from devices, which keep their records.
    pub file_mb_max: Option<u64>,
}

impl SpoolConfig {
    /// The bounds in bytes.
    #[must_use]
    pub fn limits(&self) -> SpoolLimits {
        let default = SpoolLimits::default();
        let outbox_bytes_max = self.outbox_mb_max.map_or(default.outbox_bytes_max, bytes);
        let least = least_file_bytes(outbox_bytes_max);
        let file_bytes_max = self.file_mb_max.map_or(default.file_bytes_max.max(least), bytes);
        SpoolLimits { outbox_bytes_max, file_bytes_max }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let SpoolLimits { outbox_bytes_max, file_bytes_max } = self.limits();
        if outbox_bytes_max < bytes(OUTBOX_MB_MIN) {
            return Err(format!("[spool] outbox_mb_max: is less than {OUTBOX_MB_MIN}, which is the least"));
        }
        let least = least_file_bytes(outbox_bytes_max);
        if file_bytes_max < least {
            return Err(format!(
                "[spool] file_mb_max: is less than {}, which the events of outbox_mb_max and everything else may take; \
                 leave it out, or give more",
                least / bytes(1)
            ));
        }
        Ok(())
    }
}

const fn bytes(mb: u64) -> u64 {
    mb.saturating_mul(1_000_000)
}

const fn least_file_bytes(outbox_bytes_max: u64) -> u64 {
    outbox_bytes_max.saturating_mul(EVENT_BYTES_IN_FILE).saturating_add(bytes(REST_MB))
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
        for (bad, least) in [("outbox_mb_max = 6000\nfile_mb_max = 12000", 13024), ("file_mb_max = 0", 2097)]
        {
            let said = said(bad).unwrap_err();
            assert!(said.contains(&format!("file_mb_max: is less than {least}")), "{said}");
        }
        assert!(toml::from_str::<SpoolConfig>("outbox_mb = 8").is_err());
    }
}
