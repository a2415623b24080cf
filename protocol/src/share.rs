//! A device's share of a pack: the rules that it runs itself, as near to the sensor as can be.
//!
//! A gateway sends it rule by rule whenever the device says by its `Hello` that it runs another; the device begins with it between two
//! readings, when it has all of it and it is what its id says. Nothing of it is kept over a restart of the device: a device without
//! a clock cannot decide before a gateway has told it the time, and that gateway tells it its share too.
//!
//! Bounds: [`SHARE_RULES_MAX`] rules over [`SHARE_WINDOWS_MAX`] windows. A device of which more rules hold leaves deciding to its gateway.

use core::fmt;

use crc::{CRC_32_ISCSI, Crc};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::engine::windows_needed;
use crate::rule::{Rule, RuleError};

/// The most rules that a device runs itself.
pub const SHARE_RULES_MAX: usize = 12;
/// The most windows that they may need; some 850 bytes each.
pub const SHARE_WINDOWS_MAX: usize = 6;
/// The longest id of a rule, in bytes.
pub const RULE_NAME_BYTES_MAX: usize = 32;
/// "None": the id of no share.
pub const NO_SHARE: u32 = 0;

/// The id of a rule, as the pack has it.
pub type RuleName = String<RULE_NAME_BYTES_MAX>;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why a device does not run a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareError {
    /// More than [`SHARE_RULES_MAX`] rules.
    TooManyRules,
    /// The rules need more than [`SHARE_WINDOWS_MAX`] windows.
    TooManyWindows,
    /// A rule's id is longer than [`RULE_NAME_BYTES_MAX`] bytes.
    LongName,
    /// The rule with this index is out of its bounds.
    Rule(u8),
    /// What arrived is not what its id says.
    Id,
    /// The device's store failed.
    Store,
    /// The rule with this index looks at other devices of the site.
    OtherDevices(u8),
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRules => write!(f, "more than {SHARE_RULES_MAX} rules"),
            Self::TooManyWindows => write!(f, "the rules need more than {SHARE_WINDOWS_MAX} windows"),
            Self::LongName => write!(f, "a rule's id is longer than {RULE_NAME_BYTES_MAX} bytes"),
            Self::Rule(index) => write!(f, "rule {index} is out of its bounds"),
            Self::Id => f.write_str("it is not what its id says"),
            Self::Store => f.write_str("the device's store failed"),
            Self::OtherDevices(index) => {
                write!(f, "rule {index} looks at what other devices at the site measure")
            }
        }
    }
}

impl core::error::Error for ShareError {}

/// The rules that a device runs, in file order, with their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    names: Vec<RuleName, SHARE_RULES_MAX>,
    rules: Vec<Rule, SHARE_RULES_MAX>,
}

impl Share {
    /// Without rules.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: Vec::new(), rules: Vec::new() }
    }

    /// Adds the rule that follows in file order.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn push(&mut self, name: &str, rule: Rule) -> Result<(), ShareError> {
        let name = RuleName::try_from(name).map_err(|_| ShareError::LongName)?;
        self.rules.push(rule).map_err(|_| ShareError::TooManyRules)?;
        self.names.push(name).map_err(|_| ShareError::TooManyRules)
    }

    /// Takes all rules out.
    pub fn clear(&mut self) {
        self.names.clear();
        self.rules.clear();
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Their ids.
    #[must_use]
    pub fn names(&self) -> &[RuleName] {
        &self.names
    }

    /// What a device and a gateway know it by: never [`NO_SHARE`], and another one for other rules.
    #[must_use]
    pub fn id(&self) -> u32 {
        let mut digest = CRC.digest();
        for (name, rule) in self.names.iter().zip(&self.rules) {
            let mut bytes = [0; 256];
            // A rule has some 50 bytes, a condition some 20, and a name at most 32; a test holds the room.
            let bytes = postcard::to_slice(&(name, rule), &mut bytes).map_or(&[][..], |used| &*used);
            digest.update(bytes);
        }
        digest.finalize().max(1)
    }

    /// Whether a device can run it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), ShareError> {
        let broken = |rule: &Rule| rule.check().is_err_and(|_: RuleError| true);
        if let Some(index) = self.rules.iter().position(broken) {
            // At most SHARE_RULES_MAX.
            return Err(ShareError::Rule(index as u8));
        }
        if let Some(index) = self.rules.iter().position(Rule::needs_site) {
            // At most SHARE_RULES_MAX.
            return Err(ShareError::OtherDevices(index as u8));
        }
        if windows_needed(&self.rules) > SHARE_WINDOWS_MAX {
            return Err(ShareError::TooManyWindows);
        }
        Ok(())
    }
}

impl AsRef<[Rule]> for Share {
    fn as_ref(&self) -> &[Rule] {
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{condition, rule};
    use crate::rule::{CONDITIONS_MAX, Condition, Origin, Statistic};

    #[test]
    fn another_rule_another_name_or_another_order_is_another_share() {
        let share = |rules: &[(&str, Rule)]| {
            let mut share = Share::new();
            for (name, rule) in rules {
                share.push(name, rule.clone()).unwrap();
            }
            share.id()
        };
        let other = Rule { hold_ms: rule().hold_ms + 1, ..rule() };
        let ids = [
            share(&[]),
            share(&[("a", rule())]),
            share(&[("b", rule())]),
            share(&[("a", other.clone())]),
            share(&[("a", rule()), ("b", other.clone())]),
            share(&[("b", other), ("a", rule())]),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_ne!(*id, NO_SHARE);
            assert!(!ids[..index].contains(id), "{index}");
        }
    }

    #[test]
    fn the_longest_rule_counts_with_all_its_bytes() {
        let longest = Rule {
            window_ms: u32::MAX,
            hold_ms: u32::MAX,
            clear_ms: u32::MAX,
            interval_ms: u32::MAX,
            early_warning: Some(crate::reading::Milli(i32::MIN)),
            hysteresis: crate::reading::Milli(i32::MIN),
            limit_day: crate::reading::Milli(i32::MIN),
            limit_night: crate::reading::Milli(i32::MIN),
            severity: [crate::reading::Milli(i32::MIN); 4].into_iter().collect(),
            group: Some(u8::MAX),
            conditions: core::iter::repeat_n(
                Condition {
                    quantity: crate::quantity::Quantity::Unknown(u16::MAX),
                    window_ms: u32::MAX,
                    limit: crate::reading::Milli(i32::MIN),
                    within_ms: u32::MAX,
                    ..condition()
                },
                CONDITIONS_MAX,
            )
            .collect(),
            statistic: Statistic::Change,
            ..rule()
        };
        let name = RuleName::try_from("01234567890123456789012345678901").unwrap();
        assert!(postcard::to_slice(&(&name, &longest), &mut [0; 256]).is_ok());
    }

    #[test]
    fn what_a_device_cannot_run_is_named() {
        let mut share = Share::new();
        assert_eq!(share.push("012345678901234567890123456789012", rule()), Err(ShareError::LongName));
        for window in 0..SHARE_RULES_MAX as u32 {
            let rule = Rule { statistic: Statistic::Max, window_ms: 60_000 + window * 1000, ..rule() };
            share.push("r", rule).unwrap();
        }
        assert_eq!(share.check(), Err(ShareError::TooManyWindows));
        assert_eq!(share.push("r", rule()), Err(ShareError::TooManyRules));
        let mut share = Share::new();
        share.push("r", Rule { interval_ms: 0, ..rule() }).unwrap();
        assert_eq!(share.check(), Err(ShareError::Rule(0)));
        let around = Condition { origin: Origin::Site, ..condition() };
        let mut share = Share::new();
        share.push("r", Rule { conditions: [around].into_iter().collect(), ..rule() }).unwrap();
        assert_eq!(share.check(), Err(ShareError::OtherDevices(0)));
    }

    #[test]
    fn a_typical_posts_share_has_less_than_two_kibibytes() {
        let mut share = Share::new();
        let windy = Condition { quantity: crate::quantity::Quantity::WindSpeed, ..condition() };
        for _ in 0..SHARE_RULES_MAX {
            let conditions = [condition(), windy.clone()].into_iter().collect();
            share.push("construction-noise-night-piling", Rule { conditions, ..rule() }).unwrap();
        }
        let bytes: usize = share
            .names()
            .iter()
            .zip(share.rules())
            .map(|of| postcard::to_slice(&of, &mut [0; 256]).unwrap().len())
            .sum();
        assert!(bytes < 2048, "{bytes} bytes");
    }
}
