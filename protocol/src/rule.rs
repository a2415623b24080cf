//! A rule as one device runs it: numbers only, so that it fits into a node and runs the same there as on the gateway.
//!
//! Names (rule id, matter, department) stay with the pack; a compiled rule is known by its index among its device's
//! rules. Everything in it is checked when it is put into an engine ([`Rule::check`]): bytes from elsewhere cannot
//! make an engine misbehave.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;
use crate::reading::Milli;

mod condition;
mod wire;

pub(crate) use wire::read_named;

pub use condition::{CONDITIONS_MAX, Condition, Origin, Role};

/// The longest window, hold and clear time: a day, in milliseconds. A window's accumulators are sized for it.
pub const SPAN_MS_MAX: u32 = 24 * 3600 * 1000;
/// The shortest window, in milliseconds: a slot is at least this long.
pub const WINDOW_MS_MIN: u32 = 1000;
/// How many severity steps a rule may have.
pub const SEVERITY_STEPS_MAX: usize = 4;
/// How much of a window must be there for it to decide, where the rule does not say, in percent.
pub const MIN_CAPTURE_DEFAULT_PERCENT: u8 = 50;

/// How a window's readings become one value. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// The newest reading, without a window.
    Last,
    /// The mean of the numbers.
    Mean,
    /// The mean of the energies of levels: 10 lg of the mean of 10^(L/10). Of 1 s LAeq readings this is LAeq over the
    /// window.
    EnergyMean,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// The value exceeded 5 % of the time: a percentile of the window's slots, each as the mean of its readings. A window
    /// of a minute has a slot a second, one of five minutes a slot each 5 s.
    L5,
    /// Exceeded 10 % of the time.
    L10,
    /// Exceeded half of the time.
    L50,
    /// Exceeded 90 % of the time.
    L90,
    /// Exceeded 95 % of the time.
    L95,
    /// By how much the value rose from the window's oldest slot to its newest; negative when it fell.
    Change,
}

impl Statistic {
    /// Of a percentile, what part of the time its value is exceeded, in percent.
    #[must_use]
    pub const fn exceeded_percent(self) -> Option<u8> {
        match self {
            Self::L5 => Some(5),
            Self::L10 => Some(10),
            Self::L50 => Some(50),
            Self::L90 => Some(90),
            Self::L95 => Some(95),
            Self::Last | Self::Mean | Self::EnergyMean | Self::Max | Self::Min | Self::Change => None,
        }
    }

    /// Whether firmware 0.1 knows it ([`wire`]).
    const fn is_first(self) -> bool {
        matches!(self, Self::Last | Self::Mean | Self::EnergyMean | Self::Max | Self::Min)
    }

    /// Whether a window of this length is one for it.
    const fn takes(self, window_ms: u32) -> bool {
        match self {
            Self::Last => window_ms == 0,
            _ => WINDOW_MS_MIN <= window_ms && window_ms <= SPAN_MS_MAX,
        }
    }
}

/// On which side of the limit a value is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Too high a value is wrong.
    Above,
    /// Too low a value is wrong.
    Below,
}

impl Direction {
    /// By how much `value` is beyond `limit`, in thousandths; 0 or less is within.
    #[must_use]
    pub const fn excess(self, value: Milli, limit: Milli) -> i64 {
        let difference = value.0 as i64 - limit.0 as i64;
        match self {
            Self::Above => difference,
            Self::Below => -difference,
        }
    }
}

/// When a rule applies. Periods beyond day and night are numbered per pack, in the order of their
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeriodId(pub u8);

impl PeriodId {
    /// At all times; no [`Periods`](crate::engine::Periods) is asked about it.
    pub const ALWAYS: Self = Self(0);
    /// The day period: 06:00-22:00 local time where the district does not say otherwise.
    pub const DAY: Self = Self(1);
    /// All that is not day.
    pub const NIGHT: Self = Self(2);
    /// The first of a pack's own periods.
    pub const FIRST_EXPLICIT: Self = Self(3);
}

/// How many periods there can be, the three fixed ones included: they fit into the bits of a `u16`.
pub const PERIODS_MAX: u8 = 16;

/// A threshold rule over one quantity of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::WireRule", into = "wire::WireRule")]
pub struct Rule {
    /// What is watched.
    pub quantity: Quantity,
    /// How the readings of the window become the value that is compared.
    pub statistic: Statistic,
    /// The window, in milliseconds: 0 for [`Statistic::Last`], else [`WINDOW_MS_MIN`] to [`SPAN_MS_MAX`].
    pub window_ms: u32,
    /// Which side of the limit is wrong.
    pub direction: Direction,
    /// The limit by day. A value equal to the limit is within it.
    pub limit_day: Milli,
    /// The limit by night; where it equals `limit_day`, day and night are not asked for.
    pub limit_night: Milli,
    /// How near the limit an early warning is given; `None` for no early warning.
    pub early_warning: Option<Milli>,
    /// How long the value must stay beyond the limit, in milliseconds, at most [`SPAN_MS_MAX`].
    pub hold_ms: u32,
    /// How long the value must stay within for the episode to be over, in milliseconds, at most [`SPAN_MS_MAX`].
    pub clear_ms: u32,
    /// How far within the limit the value must be for the episode to be over.
    pub hysteresis: Milli,
    /// Excesses over the limit, ascending and positive, each of which makes an episode more severe.
    pub severity: Vec<Milli, SEVERITY_STEPS_MAX>,
    /// When the rule applies.
    pub period: PeriodId,
    /// In a group the first rule that has something to say is the only one that speaks.
    pub group: Option<u8>,
    /// How much of the window must be there for it to decide, in percent of the expected readings.
    pub min_capture: u8,
    /// The time between two readings of this quantity, in milliseconds, at least 1.
    pub interval_ms: u32,
    /// What else must be so for the rule to raise an event, and what must not be so for it to decide.
    pub conditions: Vec<Condition, CONDITIONS_MAX>,
}

/// Why a rule cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// The window is not 0 for [`Statistic::Last`], or not within its bounds for another statistic.
    Window,
    /// The hold or clear time is longer than [`SPAN_MS_MAX`].
    Span,
    /// A margin or hysteresis is negative.
    Margin,
    /// The severity steps are not positive and ascending.
    Severity,
    /// The period is beyond [`PERIODS_MAX`].
    Period,
    /// The minimum capture is over 100 %.
    Capture,
    /// The interval is 0.
    Interval,
    /// A condition's window or age is out of its bounds, or it looks over a window of other devices.
    Condition,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "the window must be 1 s to 24 h (and none at all for the statistic `last`)",
            Self::Span => "hold and clear times must be at most 24 h",
            Self::Margin => "early warning and hysteresis must not be negative",
            Self::Severity => "severity steps must be positive and ascending",
            Self::Period => "there is no such period",
            Self::Capture => "the minimum capture must be 0 to 100 %",
            Self::Interval => "the interval of readings must be at least 1 ms",
            Self::Condition => "a guard's or exclusion's window and `within` must be 1 s to 24 h, and of other devices only the readings themselves can be asked",
        })
    }
}

impl core::error::Error for RuleError {}

impl Rule {
    /// Whether every number is within its bounds.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), RuleError> {
        if !self.statistic.takes(self.window_ms) {
            return Err(RuleError::Window);
        }
        if self.hold_ms > SPAN_MS_MAX || self.clear_ms > SPAN_MS_MAX {
            return Err(RuleError::Span);
        }
        if self.hysteresis.0 < 0 || self.early_warning.is_some_and(|margin| margin.0 < 0) {
            return Err(RuleError::Margin);
        }
        if self.severity.first().is_some_and(|step| step.0 <= 0) || !self.severity.is_sorted_by(|a, b| a < b)
        {
            return Err(RuleError::Severity);
        }
        if self.period.0 >= PERIODS_MAX {
            return Err(RuleError::Period);
        }
        if self.min_capture > 100 {
            return Err(RuleError::Capture);
        }
        if self.interval_ms == 0 {
            return Err(RuleError::Interval);
        }
        if !self.conditions.iter().all(Condition::fits) {
            return Err(RuleError::Condition);
        }
        Ok(())
    }

    /// Whether it looks at what other devices at its site measure, which only a gateway knows.
    #[must_use]
    pub fn needs_site(&self) -> bool {
        self.conditions.iter().any(|condition| condition.origin == Origin::Site)
    }

    /// By how much `value` is beyond `limit`, in thousandths; 0 or less is within. Wider than a value, so that no
    /// pair of values overflows.
    #[must_use]
    pub const fn excess(&self, value: Milli, limit: Milli) -> i64 {
        self.direction.excess(value, limit)
    }

    /// How many severity steps an excess reaches.
    #[must_use]
    pub fn severity_of(&self, excess: i64) -> u8 {
        // At most SEVERITY_STEPS_MAX, so it fits.
        self.severity.iter().take_while(|step| i64::from(step.0) <= excess).count() as u8
    }

    /// Two readings (or a window) further apart than this say nothing about the time between them: hold and clear
    /// times begin anew. Three intervals, so that two lost readings are forgiven; or the window.
    #[must_use]
    pub fn continuity_ms(&self) -> i64 {
        (3 * i64::from(self.interval_ms)).max(i64::from(self.window_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{condition, rule};

    #[test]
    fn a_rule_fits_into_one_record_of_a_node() {
        let mut buffer = [0; 200];
        let bytes = postcard::to_slice(&rule(), &mut buffer).unwrap();
        assert!(bytes.len() <= 48, "a rule takes {} bytes", bytes.len());
        assert_eq!(postcard::from_bytes::<Rule>(bytes).unwrap(), rule());
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let broken = |change: fn(&mut Rule)| {
            let mut rule = rule();
            change(&mut rule);
            rule.check()
        };
        assert_eq!(broken(|_| ()), Ok(()));
        assert_eq!(broken(|r| r.window_ms = 999), Err(RuleError::Window));
        assert_eq!(broken(|r| r.window_ms = SPAN_MS_MAX + 1), Err(RuleError::Window));
        assert_eq!(broken(|r| r.statistic = Statistic::Last), Err(RuleError::Window));
        assert_eq!(broken(|r| r.clear_ms = u32::MAX), Err(RuleError::Span));
        assert_eq!(broken(|r| r.hysteresis = Milli(-1)), Err(RuleError::Margin));
        assert_eq!(broken(|r| r.severity[1] = Milli(5_000)), Err(RuleError::Severity));
        assert_eq!(broken(|r| r.severity[0] = Milli(0)), Err(RuleError::Severity));
        assert_eq!(broken(|r| r.period = PeriodId(16)), Err(RuleError::Period));
        assert_eq!(broken(|r| r.min_capture = 101), Err(RuleError::Capture));
        assert_eq!(broken(|r| r.interval_ms = 0), Err(RuleError::Interval));
        assert_eq!(broken(|r| r.conditions.extend([condition()])), Ok(()));
        assert_eq!(
            broken(|r| r.conditions.extend([Condition { within_ms: 0, ..condition() }])),
            Err(RuleError::Condition)
        );
        let windowed =
            |origin| Condition { origin, statistic: Statistic::Max, window_ms: 1000, ..condition() };
        let with = |condition| Rule { conditions: [condition].into_iter().collect(), ..rule() }.check();
        assert_eq!(with(windowed(Origin::Device)), Ok(()));
        assert_eq!(with(windowed(Origin::Site)), Err(RuleError::Condition));
    }

    #[test]
    fn severity_counts_the_steps_reached() {
        let rule = rule();
        assert_eq!(rule.severity_of(4_999), 0);
        assert_eq!(rule.severity_of(5_000), 1);
        assert_eq!(rule.severity_of(i64::MAX), 2);
    }

    #[test]
    fn the_widest_values_do_not_overflow() {
        let mut rule = rule();
        assert_eq!(rule.excess(Milli(i32::MAX), Milli(i32::MIN)), i64::from(u32::MAX));
        rule.direction = Direction::Below;
        assert_eq!(rule.excess(Milli(i32::MAX), Milli(i32::MIN)), -i64::from(u32::MAX));
    }
}
