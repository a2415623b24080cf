//! A rule's bytes: those of the first version, and behind them what was added later, if the rule has any of it.
//!
//! A device of an earlier version steps over what it does not know at the end of a message. It would then run a rule that lacks
//! its guards; but the share's id covers them, so it refuses the share ([`ShareError::Id`](crate::share::ShareError::Id)) and
//! its gateway decides. A rule without any of it has the bytes, and a share the id, that it always had.

use heapless::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CONDITIONS_MAX, Condition, Direction, PeriodId, Rule, SEVERITY_STEPS_MAX, Statistic};
use crate::quantity::Quantity;
use crate::reading::Milli;

#[derive(Serialize, Deserialize)]
pub(super) struct WireRule {
    first: First,
    /// Last, for ever: its end is the message's.
    later: Later,
}

/// What the first version had.
#[derive(Serialize, Deserialize)]
struct First {
    quantity: Quantity,
    statistic: Statistic,
    window_ms: u32,
    direction: Direction,
    limit_day: Milli,
    limit_night: Milli,
    early_warning: Option<Milli>,
    hold_ms: u32,
    clear_ms: u32,
    hysteresis: Milli,
    severity: Vec<Milli, SEVERITY_STEPS_MAX>,
    period: PeriodId,
    group: Option<u8>,
    min_capture: u8,
    interval_ms: u32,
}

/// What the first version did not have.
#[derive(Default)]
struct Later {
    /// In place of the statistic above, which is then one that the first version can read.
    statistic: Option<Statistic>,
    conditions: Vec<Condition, CONDITIONS_MAX>,
}

/// The id and the rule that these bytes begin with, and how many of them they are. [`None`] when something of it is not understood: a rule
/// that lacks its guards is another one.
#[inline(never)]
pub(crate) fn read_named(bytes: &[u8]) -> Option<((&str, Rule), usize)> {
    let ((name, first), mut rest): ((&str, First), _) = postcard::take_from_bytes(bytes).ok()?;
    let mut later = Later::default();
    if !rest.is_empty() {
        ((later.statistic, later.conditions), rest) = postcard::take_from_bytes(rest).ok()?;
    }
    Some(((name, WireRule { first, later }.into()), bytes.len() - rest.len()))
}

impl Serialize for Later {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.statistic.is_none() && self.conditions.is_empty() {
            // No bytes at all.
            return serializer.serialize_unit();
        }
        (self.statistic, &self.conditions).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Where the bytes end there is none of it. Damaged bytes do not get here: frames are authentic, and the share's id is
        // held against what was read.
        let read = <(Option<Statistic>, Vec<Condition, CONDITIONS_MAX>)>::deserialize(deserializer);
        Ok(read.map(|(statistic, conditions)| Self { statistic, conditions }).unwrap_or_default())
    }
}

impl From<Rule> for WireRule {
    fn from(rule: Rule) -> Self {
        let is_first = rule.statistic.is_first();
        let first = First {
            quantity: rule.quantity,
            statistic: if is_first { rule.statistic } else { Statistic::Max },
            window_ms: rule.window_ms,
            direction: rule.direction,
            limit_day: rule.limit_day,
            limit_night: rule.limit_night,
            early_warning: rule.early_warning,
            hold_ms: rule.hold_ms,
            clear_ms: rule.clear_ms,
            hysteresis: rule.hysteresis,
            severity: rule.severity,
            period: rule.period,
            group: rule.group,
            min_capture: rule.min_capture,
            interval_ms: rule.interval_ms,
        };
        let later = Later { statistic: (!is_first).then_some(rule.statistic), conditions: rule.conditions };
        Self { first, later }
    }
}

impl From<WireRule> for Rule {
    fn from(WireRule { first, later }: WireRule) -> Self {
        Self {
            quantity: first.quantity,
            statistic: later.statistic.unwrap_or(first.statistic),
            window_ms: first.window_ms,
            direction: first.direction,
            limit_day: first.limit_day,
            limit_night: first.limit_night,
            early_warning: first.early_warning,
            hold_ms: first.hold_ms,
            clear_ms: first.clear_ms,
            hysteresis: first.hysteresis,
            severity: first.severity,
            period: first.period,
            group: first.group,
            min_capture: first.min_capture,
            interval_ms: first.interval_ms,
            conditions: later.conditions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{condition, rule};

    #[test]
    fn what_was_added_comes_back_and_an_earlier_version_reads_the_rest() {
        let new = Rule {
            statistic: Statistic::L10,
            conditions: [condition(), condition()].into_iter().collect(),
            ..rule()
        };
        let mut buffer = [0; 200];
        let bytes = postcard::to_slice(&new, &mut buffer).unwrap();
        assert_eq!(postcard::from_bytes::<Rule>(bytes).unwrap(), new);
        let old = Rule { statistic: Statistic::Max, ..rule() };
        let mut buffer = [0; 200];
        let first = postcard::to_slice(&old, &mut buffer).unwrap();
        assert!(bytes.starts_with(first), "an earlier version's bytes, and more");
        assert_eq!(postcard::from_bytes::<Rule>(first).unwrap(), old);
    }

    #[test]
    fn what_is_not_understood_is_no_rule() {
        let new = Rule { conditions: [condition()].into_iter().collect(), ..rule() };
        let bytes = postcard::to_stdvec(&("r", &new)).unwrap();
        let old = postcard::to_stdvec(&("r", rule())).unwrap();
        for (bytes, rule) in [(&bytes, &new), (&old, &rule())] {
            assert_eq!(read_named(bytes), Some((("r", rule.clone()), bytes.len())));
        }
        // A role, an origin or a statistic of a later version; then the end of a condition is missing.
        for at in old.len()..bytes.len() {
            let mut other = bytes.clone();
            other[at] = 0xff;
            let read = read_named(&other);
            assert!(read.is_none_or(|((_, rule), _)| rule.conditions.len() == 1), "byte {at}: {other:?}");
            assert_eq!(read_named(&bytes[..at]).is_none(), at > old.len(), "cut at {at}");
        }
    }
}
