//! What a device that runs its rules itself tells: an episode's message with its evidence.
//!
//! It says all that an event needs, so that it can be understood whatever pack the gateway has by then. Times are counted back from
//! the record's own, which is that of the deciding reading: what is known of that clock holds for all of them.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::event::{Cause, Decision, Phase};
use crate::id::Seq;
use crate::quantity::Quantity;
use crate::reading::Milli;
use crate::rule::{Direction, Rule, Statistic};
use crate::time::UnixMillis;

/// How many features a message carries.
pub const FEATURES_MAX: usize = 8;
/// How many seconds' levels a message carries.
pub const PROFILE_SECONDS_MAX: usize = 40;
/// In a profile: nothing is known of that second.
pub const PROFILE_UNKNOWN: u8 = u8::MAX;

/// Another quantity, as it was when the rule decided: what tells one noise from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Which.
    pub quantity: Quantity,
    /// Its newest value.
    pub value: Milli,
}

/// LAeq of the seconds around the onset, to half a decibel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// How long before the record's time the first of these seconds began, in milliseconds.
    pub begins_before_ms: u32,
    /// Half decibels, from 0 dB; [`PROFILE_UNKNOWN`] where nothing was measured.
    pub half_decibels: Vec<u8, PROFILE_SECONDS_MAX>,
}

/// One message of an episode, as the device decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldEpisode<'a> {
    /// The rule's id in the pack.
    pub rule: &'a str,
    /// The share that the device ran.
    pub share: u32,
    /// What the rule watches.
    pub quantity: Quantity,
    /// How readings became the value.
    pub statistic: Statistic,
    /// Over how many milliseconds.
    pub window_ms: u32,
    /// Which side of the limit is wrong.
    pub direction: Direction,
    /// What the message says.
    pub phase: Phase,
    /// Why the episode is over.
    pub cause: Option<Cause>,
    /// The number that the device's next record had when the episode began: with device and rule it names the episode.
    pub onset: Seq,
    /// The number of this message within its episode.
    pub revision: u16,
    /// How many severity steps.
    pub severity: u8,
    /// The rule's statistic.
    pub value: Milli,
    /// The limit in force.
    pub limit: Milli,
    /// The most extreme value since the onset.
    pub peak: Milli,
    /// How long ago the episode began, in milliseconds.
    pub began_before_ms: u64,
    /// How long ago the window began, in milliseconds.
    pub window_before_ms: u64,
    /// How much of the window was there, in percent.
    pub capture_percent: u8,
    /// What else was measured.
    pub features: Vec<Feature, FEATURES_MAX>,
    /// How the noise began.
    pub profile: Option<Profile>,
}

impl<'a> ToldEpisode<'a> {
    /// A decision of this rule, to be kept with the decision's time, without evidence.
    #[must_use]
    pub fn new(name: &'a str, rule: &Rule, share: u32, decision: &Decision) -> Self {
        let before = |then: UnixMillis| u64::try_from(decision.at.since(then)).unwrap_or(0);
        Self {
            rule: name,
            share,
            quantity: rule.quantity,
            statistic: rule.statistic,
            window_ms: rule.window_ms,
            direction: rule.direction,
            phase: decision.phase,
            cause: decision.cause,
            onset: decision.onset,
            revision: decision.revision,
            severity: decision.severity,
            value: decision.value,
            limit: decision.limit,
            peak: decision.peak,
            began_before_ms: before(decision.from),
            window_before_ms: before(decision.window_from),
            capture_percent: decision.capture_percent,
            features: Vec::new(),
            profile: None,
        }
    }

    /// The decision, when the record's time is `at`. Its rule's index means nothing here.
    #[must_use]
    pub fn decision(&self, at: UnixMillis) -> Decision {
        let before = |ms: u64| at.plus(-i64::try_from(ms).unwrap_or(i64::MAX));
        Decision {
            rule: 0,
            phase: self.phase,
            cause: self.cause,
            onset: self.onset,
            revision: self.revision,
            severity: self.severity,
            value: self.value,
            limit: self.limit,
            peak: self.peak,
            at,
            from: before(self.began_before_ms),
            window_from: before(self.window_before_ms),
            capture_percent: self.capture_percent,
            excluded: 0,
        }
    }
}

/// From here on the device decides itself: its readings stay with it, and what its gateway had begun about them is its own to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decides {
    /// The share that it runs.
    pub share: u32,
}
