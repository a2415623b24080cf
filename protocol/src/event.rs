//! What a rule decides: the messages of an episode.
//!
//! An episode is one continuous exceedance of one rule at one device. It is identified by the rule and by the
//! sequence number of the reading with which it began, and its messages are numbered from 0. All of this follows from
//! the records alone, so an event's id made of (device, rule id, onset, revision) is the same on every retry and
//! replay.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Seq;
use crate::reading::Milli;
use crate::time::UnixMillis;

/// What a message says about its episode. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The value is near the limit, or beyond it and not yet for long enough.
    EarlyWarning,
    /// The value has been beyond the limit for the rule's hold time, or is now beyond it by a further severity step.
    Exceeded,
    /// The episode is over; [`Cause`] says why.
    Cleared,
}

impl Phase {
    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EarlyWarning => "early-warning",
            Self::Exceeded => "exceeded",
            Self::Cleared => "cleared",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an episode was cleared. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The value stayed within the limit, less the hysteresis, for the rule's clear time. For a rule that guards
    /// against too low a value the same holds mirrored.
    BelowLimit,
    /// The period in which the rule applies ended.
    PeriodEnded,
    /// An earlier rule of the same group took over: one noise makes one event.
    Superseded,
    /// The rule is no longer in the pack, or no longer applies to the device. The engine does not say this itself;
    /// who exchanges the rules does.
    RuleWithdrawn,
    /// Another decides from here on: the device instead of its gateway, or the other way round. If it goes on, the other
    /// begins an episode of its own. The engine does not say this itself.
    HandedOver,
}

impl Cause {
    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BelowLimit => "below-limit",
            Self::PeriodEnded => "period-ended",
            Self::Superseded => "superseded",
            Self::RuleWithdrawn => "rule-withdrawn",
            Self::HandedOver => "handed-over",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which episode of a device: no rule begins two episodes at one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpisodeKey {
    /// The record with which it began.
    pub onset: Seq,
    /// The rule's index among the device's rules.
    pub rule: u16,
}

/// One message of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The rule's index among the device's rules.
    pub rule: u16,
    /// What it says.
    pub phase: Phase,
    /// Why the episode is over: set exactly when the phase is [`Phase::Cleared`].
    pub cause: Option<Cause>,
    /// The record with which the episode began: the first one beyond the early-warning threshold, or, for a rule
    /// without early warning, beyond the limit.
    pub onset: Seq,
    /// The number of this message within its episode, from 0.
    pub revision: u16,
    /// How many severity steps the value is beyond the limit by; of a `cleared`, the most that was reached.
    pub severity: u8,
    /// The rule's statistic at this moment.
    pub value: Milli,
    /// The limit in force at this moment.
    pub limit: Milli,
    /// The most extreme value of the statistic since the onset.
    pub peak: Milli,
    /// The time of the deciding reading: the newest time the device has said.
    pub at: UnixMillis,
    /// The time of the onset.
    pub from: UnixMillis,
    /// From when on readings are in `value`; `at` when it is the last reading alone.
    pub window_from: UnixMillis,
    /// How many of the readings expected in the window were there and fit to decide: 0 to 100.
    pub capture_percent: u8,
    /// The exclusions that kept the rule from deciding since its last message, or just before its first; a bit for each of
    /// its conditions.
    pub excluded: u8,
}

impl Decision {
    /// Which episode this belongs to.
    #[must_use]
    pub const fn key(&self) -> EpisodeKey {
        EpisodeKey { onset: self.onset, rule: self.rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_in_text() {
        for phase in [Phase::EarlyWarning, Phase::Exceeded, Phase::Cleared] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        for cause in [
            Cause::BelowLimit,
            Cause::PeriodEnded,
            Cause::Superseded,
            Cause::RuleWithdrawn,
            Cause::HandedOver,
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
    }
}
