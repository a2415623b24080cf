//! A device's share of a pack: the rules that it runs itself, as near to the sensor as can be.
//!
//! A gateway sends it rule by rule whenever the device says by its `Hello` that it runs another; the device begins with it between two
//! readings, when it has all of it and it is what its id says. Nothing of it is kept over a restart of the device: a device without
//! a clock cannot decide before a gateway has told it the time, and that gateway tells it its share too.
//!
//! Bounds: [`SHARE_RULES_MAX`] rules in [`SHARE_BYTES_MAX`] bytes over [`SHARE_WINDOWS_MAX`] windows with [`SHARE_SLOTS_MAX`] slots. A device of which more rules hold leaves deciding to its gateway.

use core::borrow::Borrow;
use core::fmt;

use crc::{CRC_32_ISCSI, Crc};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::engine::{NODE_SLOTS_MAX, Needed, SLOTS};
use crate::rule::{Rule, RuleError, read_named};

/// The most rules that a device runs itself.
pub const SHARE_RULES_MAX: usize = 12;
/// The most windows that they may need.
pub const SHARE_WINDOWS_MAX: usize = 6;
/// The most slots that these may have together: sixty each for four windows of a minute or more.
pub const SHARE_SLOTS_MAX: usize = NODE_SLOTS_MAX;
/// The most bytes that the rules may have together, as they come to a device, with one each for their length: it keeps them so until all
/// are there.
pub const SHARE_BYTES_MAX: usize = 1_280;
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
    /// More than [`SHARE_RULES_MAX`] rules, or [`SHARE_BYTES_MAX`] bytes of them.
    TooManyRules,
    /// The rules need more than [`SHARE_WINDOWS_MAX`] windows, or more than [`SHARE_SLOTS_MAX`] slots for them.
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
            Self::TooManyRules => {
                write!(f, "more than {SHARE_RULES_MAX} rules, or {SHARE_BYTES_MAX} bytes of them")
            }
            Self::TooManyWindows => write!(
                f,
                "the rules need more than {SHARE_WINDOWS_MAX} windows, or windows of more than {SHARE_SLOTS_MAX} parts together (one \
                 a second, and at most {SLOTS} a window)"
            ),
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
        self.each_encoded(|bytes| digest.update(bytes));
        digest.finalize().max(1)
    }

    fn each_encoded(&self, mut take: impl FnMut(&[u8])) {
        for (name, rule) in self.names.iter().zip(&self.rules) {
            let mut bytes = [0; 256];
            // A rule has some 50 bytes, a condition some 20, and a name at most 32; a test holds the room.
            take(postcard::to_slice(&(name, rule), &mut bytes).map_or(&[][..], |used| &*used));
        }
    }

    /// Whether a device can run it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), ShareError> {
        let mut bytes = 0;
        self.each_encoded(|rule| bytes += 1 + rule.len());
        if bytes > SHARE_BYTES_MAX {
            return Err(ShareError::TooManyRules);
        }
        check(self.rules.iter())
    }

    /// Becomes what came. Of more rules than there is room for, those that fit; there are none, because nothing comes to be of them.
    pub fn set(&mut self, came: &EncodedShare) {
        self.clear();
        for (name, rule) in came.iter() {
            let _ = self.push(name, rule);
        }
    }
}

/// Whether a device can run these rules.
fn check<R: Borrow<Rule>>(rules: impl Iterator<Item = R>) -> Result<(), ShareError> {
    let mut needed = Needed::default();
    for (index, rule) in rules.enumerate() {
        let rule = rule.borrow();
        // At most SHARE_RULES_MAX.
        let index = index as u8;
        rule.check().map_err(|_: RuleError| ShareError::Rule(index))?;
        if rule.needs_site() {
            return Err(ShareError::OtherDevices(index));
        }
        needed.add(rule);
    }
    match needed.windows_and_slots() {
        Some((..=SHARE_WINDOWS_MAX, ..=SHARE_SLOTS_MAX)) => Ok(()),
        _ => Err(ShareError::TooManyWindows),
    }
}

impl AsRef<[Rule]> for Share {
    fn as_ref(&self) -> &[Rule] {
        &self.rules
    }
}

/// A rule and its id as they came, checked: what a device keeps of a share until all of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedRule<'a> {
    /// Its id.
    pub name: &'a str,
    bytes: &'a [u8],
}

impl<'a> EncodedRule<'a> {
    /// What begins with one; [`None`] when not all of it is understood. What follows it is of a later version, and not of a share that is
    /// understood.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ((name, _), length) = read_named(bytes)?;
        Some(Self { name, bytes: bytes.get(..length)? })
    }
}

/// A [`Share`] in the bytes in which it came, of which [`SHARE_BYTES_MAX`] take half of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedShare {
    rules: usize,
    /// Of each rule how many bytes it has, and these.
    bytes: Vec<u8, SHARE_BYTES_MAX>,
}

impl EncodedShare {
    /// Without rules.
    #[must_use]
    pub const fn new() -> Self {
        Self { rules: 0, bytes: Vec::new() }
    }

    /// Takes all rules out.
    pub fn clear(&mut self) {
        self.rules = 0;
        self.bytes.clear();
    }

    /// How many rules it has.
    #[must_use]
    pub const fn rules(&self) -> usize {
        self.rules
    }

    /// Adds the rule that follows in file order.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn push(&mut self, rule: EncodedRule<'_>) -> Result<(), ShareError> {
        if rule.name.len() > RULE_NAME_BYTES_MAX {
            return Err(ShareError::LongName);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        match u8::try_from(rule.bytes.len()) {
            Ok(length) if self.rules < SHARE_RULES_MAX && rule.bytes.len() < room => {
                // There is room for both.
                let _ = self.bytes.push(length);
                let _ = self.bytes.extend_from_slice(rule.bytes);
                self.rules += 1;
                Ok(())
            }
            _ => Err(ShareError::TooManyRules),
        }
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        core::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let rule;
            (rule, rest) = behind.split_at_checked(usize::from(*length))?;
            Some(rule)
        })
    }

    /// [`Share::id`].
    #[must_use]
    pub fn id(&self) -> u32 {
        let mut digest = CRC.digest();
        self.each().for_each(|rule| digest.update(rule));
        digest.finalize().max(1)
    }

    /// The rules with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Rule)> {
        // They were read once when they came.
        self.each().filter_map(|rule| read_named(rule).map(|(of, _)| of))
    }

    /// [`Share::check`].
    ///
    /// # Errors
    /// Why a device cannot run it.
    pub fn check(&self) -> Result<(), ShareError> {
        check(self.iter().map(|(_, rule)| rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{condition, rule};
    use crate::engine::windows_and_slots_needed;
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
        // Four windows of an hour, one of ten seconds, and the newest of another quantity.
        let hours = (1..=4).map(|n| (Statistic::Max, n * 3_600_000));
        for (last, fits) in [(0, true), (10_000, false)] {
            let mut share = Share::new();
            for (statistic, window_ms) in hours.clone().chain([(Statistic::Last, 0), (Statistic::Min, last)])
            {
                if last == 0 && statistic != Statistic::Max {
                    continue;
                }
                share.push("r", Rule { statistic, window_ms, ..rule() }).unwrap();
            }
            assert_eq!(share.check(), if fits { Ok(()) } else { Err(ShareError::TooManyWindows) });
        }
        let mut share = Share::new();
        share.push("r", Rule { interval_ms: 0, ..rule() }).unwrap();
        assert_eq!(share.check(), Err(ShareError::Rule(0)));
        let around = Condition { origin: Origin::Site, ..condition() };
        let mut share = Share::new();
        share.push("r", Rule { conditions: [around].into_iter().collect(), ..rule() }).unwrap();
        assert_eq!(share.check(), Err(ShareError::OtherDevices(0)));
    }

    /// What comes to a device of a share.
    fn encoded(share: &Share) -> Result<EncodedShare, ShareError> {
        let mut encoded = EncodedShare::new();
        for of in share.names().iter().zip(share.rules()) {
            let bytes = postcard::to_stdvec(&of).unwrap();
            encoded.push(EncodedRule::parse(&bytes).unwrap())?;
        }
        Ok(encoded)
    }

    #[test]
    fn what_came_is_the_share_that_was_sent() {
        let mut share = Share::new();
        for n in 0..5_u32 {
            let conditions = [condition()].into_iter().take(n as usize % 2).collect();
            share.push("a-rule", Rule { conditions, hold_ms: n, ..rule() }).unwrap();
        }
        let came = encoded(&share).unwrap();
        assert_eq!((came.rules(), came.id(), came.check()), (5, share.id(), share.check()));
        let mut again = Share::new();
        again.push("before", rule()).unwrap();
        again.set(&came);
        assert_eq!(again, share);
    }

    #[test]
    fn what_a_later_version_appends_makes_another_share() {
        let mut share = Share::new();
        share.push("r", rule()).unwrap();
        let mut bytes = postcard::to_stdvec(&("r", rule())).unwrap();
        bytes.extend([0, 0, 7]);
        let mut came = EncodedShare::new();
        came.push(EncodedRule::parse(&bytes).unwrap()).unwrap();
        assert_eq!(came.iter().next(), Some(("r", rule())));
        assert_ne!(came.id(), share.id());
        assert_eq!(EncodedRule::parse(&bytes[..9]), None);
        let long = postcard::to_stdvec(&("012345678901234567890123456789012", rule())).unwrap();
        assert_eq!(came.push(EncodedRule::parse(&long).unwrap()), Err(ShareError::LongName));
    }

    #[test]
    fn a_device_and_its_gateway_agree_on_what_fits() {
        let (mut fit, mut windows) = (0, 0);
        for seed in 0_u32..2_000 {
            let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
            let mut next = |n: u32| {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                random % n
            };
            let mut share = Share::new();
            for _ in 0..1 + next(12) {
                let quantity = [crate::quantity::Quantity::LAeq, crate::quantity::Quantity::WindSpeed];
                let conditions = (0..next(4)).map(|_| condition()).collect();
                let last = next(2) == 0;
                let rule = Rule {
                    quantity: quantity[next(2) as usize],
                    statistic: if last {
                        Statistic::Last
                    } else {
                        [Statistic::Max, Statistic::Min][next(2) as usize]
                    },
                    window_ms: if last { 0 } else { (1 + next(9)) * 10_000 },
                    conditions,
                    ..rule()
                };
                share.push(&"a-rule-with-a-name-of-some-length"[..next(32) as usize], rule).unwrap();
            }
            let needed = windows_and_slots_needed(share.rules());
            let fits = needed.0 <= SHARE_WINDOWS_MAX && needed.1 <= SHARE_SLOTS_MAX;
            let (came, checked) = (encoded(&share).unwrap(), share.check());
            assert_eq!((came.check(), checked.is_ok()), (checked, fits), "seed {seed}: {needed:?}");
            if fits { fit += 1 } else { windows += 1 }
        }
        assert!(fit > 100 && windows > 100, "{fit} {windows}");
        // All that a rule can have, of all rules: more bytes than there is room for.
        let mut share = Share::new();
        for _ in 0..SHARE_RULES_MAX {
            let conditions = core::iter::repeat_n(condition(), CONDITIONS_MAX).collect();
            let name = "a-rule-with-a-name-of-32-letters";
            share.push(name, Rule { conditions, ..rule() }).unwrap();
        }
        assert_eq!(
            (encoded(&share), share.check()),
            (Err(ShareError::TooManyRules), Err(ShareError::TooManyRules))
        );
    }

    #[test]
    fn a_post_with_all_its_rules_and_conditions_fits() {
        let mut share = Share::new();
        let windy = Condition { quantity: crate::quantity::Quantity::WindSpeed, ..condition() };
        for _ in 0..SHARE_RULES_MAX {
            let conditions = [condition(), windy.clone()].into_iter().collect();
            share.push("construction-noise-night", Rule { conditions, ..rule() }).unwrap();
        }
        assert_eq!(share.check(), Ok(()));
        assert_eq!(encoded(&share).map(|came| came.rules()), Ok(SHARE_RULES_MAX));
    }
}
