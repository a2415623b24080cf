//! The section `[devices]`: how much of one device is taken. Without it the bounds of [`RateLimit`] hold.

use serde::Deserialize;

use crate::intake::RateLimit;

/// How much of one device is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicesConfig {
    /// Records of one device in a second. What is over it stays with the device, and comes later.
    pub records_per_second_max: Option<u32>,
    /// Records of one device at once, such as a backlog after an outage.
    pub records_burst_max: Option<u32>,
}

impl DevicesConfig {
    /// The bounds.
    #[must_use]
    pub fn rate(&self) -> RateLimit {
        let default = RateLimit::default();
        RateLimit {
            per_second: self.records_per_second_max.unwrap_or(default.per_second),
            burst: self.records_burst_max.unwrap_or(default.burst),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let RateLimit { per_second, burst } = self.rate();
        let max = RateLimit::MAX;
        if !(1..=max).contains(&per_second) {
            return Err(format!(
                "[devices] records_per_second_max: {per_second} is not between 1 and {max}; a device that is to send nothing \
                 is taken out of the pack's devices.csv"
            ));
        }
        let min = RateLimit::BURST_MIN;
        if !(min..=max).contains(&burst) {
            return Err(format!(
                "[devices] records_burst_max: {burst} is not between {min}, so that any frame fits, and {max}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_under_which_nothing_would_pass_is_refused() {
        let said = |text: &str| toml::from_str::<DevicesConfig>(text).unwrap().check();
        assert_eq!(DevicesConfig::default().rate(), RateLimit::default());
        for good in
            ["", "records_per_second_max = 1", "records_burst_max = 1000", "records_burst_max = 10000000"]
        {
            assert_eq!(said(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("records_per_second_max = 0", "records_per_second_max: 0 is not between 1 and"),
            ("records_burst_max = 999", "records_burst_max: 999 is not between 1000"),
            ("records_burst_max = 10000001", "and 10000000"),
        ] {
            assert!(said(bad).unwrap_err().contains(words), "{bad}");
        }
        assert!(toml::from_str::<DevicesConfig>("records_per_second_max = -1").is_err());
    }
}
