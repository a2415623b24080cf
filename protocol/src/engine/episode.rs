//! One rule's way from quiet over early warning and exceeded back to quiet.
//!
//! At each evaluation a rule says at most one thing. Jumping beyond the limit with a hold time of 0 says `exceeded`
//! and no early warning beside it. Thresholds, in excess over the limit: early warning above `-margin`, exceeded
//! above 0, an exceeded episode is over at or under `-hysteresis`, one that only warned at or under `-margin -
//! hysteresis`.

use serde::{Deserialize, Serialize};

use crate::event::{Cause, Decision, Phase};
use crate::id::Seq;
use crate::reading::Milli;
use crate::rule::{Direction, Rule};
use crate::time::UnixMillis;

/// An episode as far as it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// The record with which it began.
    pub onset: Seq,
    /// The time of the onset.
    pub from: UnixMillis,
    /// The most extreme value since.
    pub peak: Milli,
    /// The number of the next message.
    pub revision: u16,
    /// The most severity steps reached.
    pub severity: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    #[default]
    Quiet,
    /// Beyond the limit, not yet for the hold time, and nothing said about it.
    Pending(Episode),
    Warned(Episode),
    Exceeded(Episode),
}

/// Since when something has lasted, if it does: in the 8 bytes of a time, of which a node has two for each rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<UnixMillis>", into = "Option<UnixMillis>")]
struct Since(i64);

impl Since {
    /// Zero, so that a node's memory begins as zeros: 1970 and what comes after it is a millisecond later inside.
    const NEVER: Self = Self(0);

    const fn get(self) -> Option<UnixMillis> {
        match self.0 {
            0 => None,
            after @ 1.. => Some(UnixMillis(after - 1)),
            before => Some(UnixMillis(before)),
        }
    }

    /// From `now` on, unless it has lasted for longer, while `it_is`; for how long it has.
    fn lasts(&mut self, it_is: bool, now: UnixMillis) -> Option<i64> {
        *self = it_is.then(|| self.get().unwrap_or(now)).into();
        self.get().map(|since| now.since(since))
    }
}

impl From<Option<UnixMillis>> for Since {
    fn from(since: Option<UnixMillis>) -> Self {
        // The last millisecond of all time counts as the one before.
        let inside = |UnixMillis(at): UnixMillis| if at >= 0 { at.saturating_add(1) } else { at };
        Self(since.map_or(0, inside))
    }
}

impl From<Since> for Option<UnixMillis> {
    fn from(since: Since) -> Self {
        since.get()
    }
}

/// What one rule remembers from reading to reading: all that cannot be had back from the readings in its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    stage: Stage,
    /// Since when the value has been beyond the limit, without a gap.
    beyond_since: Since,
    /// Since when the value has been within far enough for the episode to be over, without a gap.
    within_since: Since,
    /// After an exceeded episode the value is still near the limit: no early warning about that.
    muted: bool,
    /// At its last evaluation the value was beyond the early-warning threshold (or the limit, without early warning).
    speaks: bool,
    /// The exclusions that kept the rule from deciding since its last message, or since it last was quiet; a bit for each
    /// condition. Not in the bytes, which nodes have in flash: a gateway keeps it beside them.
    #[serde(skip)]
    excluded: u8,
}

/// What an evaluation sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) value: Milli,
    pub(super) limit: Milli,
    pub(super) window_from: UnixMillis,
    pub(super) capture_percent: u8,
}

/// How a rule may act on what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its period is not on.
    OutOfPeriod,
    /// An earlier rule of its group owns the group; whether the rule could decide otherwise, and its guards are met.
    Blocked { enough: bool, guarded: bool },
    /// These exclusions are met, a bit for each condition.
    Excluded(u8),
    /// The window has too few readings.
    TooLittle,
    /// It decides; and may raise something when its guards are met.
    Free { guarded: bool },
}

/// Which reading an evaluation is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) rule_index: u16,
    pub(super) seq: Seq,
    pub(super) now: UnixMillis,
}

impl RuleState {
    /// Of a rule that has seen nothing.
    pub const QUIET: Self = Self {
        stage: Stage::Quiet,
        beyond_since: Since::NEVER,
        within_since: Since::NEVER,
        muted: false,
        speaks: false,
        excluded: 0,
    };

    /// The episode that is open, if one is, and the phase it is in: about which something has been said and `cleared`
    /// has not.
    #[must_use]
    pub const fn open(&self) -> Option<(Phase, &Episode)> {
        match &self.stage {
            Stage::Quiet | Stage::Pending(_) => None,
            Stage::Warned(episode) => Some((Phase::EarlyWarning, episode)),
            Stage::Exceeded(episode) => Some((Phase::Exceeded, episode)),
        }
    }

    /// The last message of an open episode whose rule is withdrawn or handed over (`cause`); `rule_index` and `limit` are the
    /// rule's last. There is no value at that moment, so the peak stands in.
    pub fn withdraw(
        &mut self,
        cause: Cause,
        rule_index: u16,
        limit: Milli,
        at: UnixMillis,
    ) -> Option<Decision> {
        let (_, episode) = self.open()?;
        let view = View { value: episode.peak, limit, window_from: episode.from, capture_percent: 0 };
        let moment = Moment { rule_index, seq: Seq::NONE, now: at };
        self.close(cause, &view, moment)
    }

    /// Since when the value has been beyond the limit, without a gap: the hold time runs from there.
    #[must_use]
    pub const fn beyond_since(&self) -> Option<UnixMillis> {
        self.beyond_since.get()
    }

    /// Since when the value has been far enough within for an open episode to be over: the clear time runs from there.
    #[must_use]
    pub const fn within_since(&self) -> Option<UnixMillis> {
        self.within_since.get()
    }

    /// Whether the value is still near the limit after an episode, so that no early warning is given.
    #[must_use]
    pub const fn is_muted(&self) -> bool {
        self.muted
    }

    /// The exclusions that kept the rule from deciding of late, a bit for each of its conditions: to be stored with the state,
    /// whose bytes lack it.
    #[must_use]
    pub const fn excluded(&self) -> u8 {
        self.excluded
    }

    /// The state with what its bytes lack.
    #[must_use]
    pub const fn with_excluded(self, excluded: u8) -> Self {
        Self { excluded, ..self }
    }

    /// Whether it may keep its group: an open episode, or a value beyond its first threshold at its last evaluation.
    pub(super) const fn has_a_say(&self) -> bool {
        self.speaks || self.open().is_some()
    }

    /// Time was lost, or nothing is known about it: what has to last begins anew. An open episode stays open.
    pub(super) fn interrupt(&mut self) {
        self.beyond_since = Since::NEVER;
        self.within_since = Since::NEVER;
        if let Stage::Pending(_) = self.stage {
            self.stage = Stage::Quiet;
        }
    }

    /// Nothing can be decided now.
    pub(super) fn undecided(&mut self) {
        self.interrupt();
        self.speaks = false;
    }

    /// Acts on one evaluation.
    pub(super) fn act(
        &mut self,
        rule: &Rule,
        view: &View,
        standing: Standing,
        moment: Moment,
    ) -> Option<Decision> {
        let excess = rule.excess(view.value, view.limit);
        let margin = rule.early_warning.map_or(0, |margin| i64::from(margin.0));
        let far_within = excess <= -margin - i64::from(rule.hysteresis.0);
        match standing {
            Standing::Free { guarded } => {
                self.speaks = guarded && excess > -margin;
                self.muted &= !far_within;
                let said = self.follow(rule, view, guarded.then_some(excess), far_within, moment);
                if said.is_some() || matches!(self.stage, Stage::Quiet) {
                    self.excluded = 0;
                }
                said
            }
            Standing::Blocked { enough, guarded } => {
                self.interrupt();
                self.excluded = 0;
                self.speaks = enough && guarded && excess > -margin;
                self.muted &= !(enough && far_within);
                let was_exceeded = matches!(self.stage, Stage::Exceeded(_));
                let said = self.close(Cause::Superseded, view, moment);
                self.muted |= was_exceeded && rule.early_warning.is_some() && !(enough && far_within);
                said
            }
            Standing::OutOfPeriod => {
                let said = self.close(Cause::PeriodEnded, view, moment);
                *self = Self::default();
                said
            }
            Standing::Excluded(by) => {
                self.undecided();
                self.excluded |= by;
                None
            }
            Standing::TooLittle => {
                self.undecided();
                None
            }
        }
    }

    /// `raising` is the excess, unless a guard keeps it from counting.
    fn follow(
        &mut self,
        rule: &Rule,
        view: &View,
        raising: Option<i64>,
        far_within: bool,
        moment: Moment,
    ) -> Option<Decision> {
        let Moment { seq, now, .. } = moment;
        let is_beyond = raising.is_some_and(|excess| excess > 0);
        let lasted = self.beyond_since.lasts(is_beyond, now);
        let held = lasted.is_some_and(|lasted| lasted >= i64::from(rule.hold_ms));
        let severity = raising.map_or(0, |excess| rule.severity_of(excess));
        let begun = Episode { onset: seq, from: now, peak: view.value, revision: 0, severity: 0 };
        match self.stage {
            Stage::Quiet | Stage::Pending(_) => {
                let mut episode = if let Stage::Pending(episode) = self.stage { episode } else { begun };
                episode.raise_peak(rule.direction, view.value);
                if held {
                    episode.severity = severity;
                    self.say(Stage::Exceeded, episode, Phase::Exceeded, view, moment)
                } else if rule.early_warning.is_some() && self.speaks && !self.muted {
                    self.say(Stage::Warned, episode, Phase::EarlyWarning, view, moment)
                } else {
                    self.stage = if is_beyond { Stage::Pending(episode) } else { Stage::Quiet };
                    None
                }
            }
            Stage::Warned(mut episode) => {
                episode.raise_peak(rule.direction, view.value);
                self.stage = Stage::Warned(episode);
                if held {
                    episode.severity = severity;
                    return self.say(Stage::Exceeded, episode, Phase::Exceeded, view, moment);
                }
                self.is_over(far_within, rule, now)
                    .then(|| self.close(Cause::BelowLimit, view, moment))
                    .flatten()
            }
            Stage::Exceeded(mut episode) => {
                episode.raise_peak(rule.direction, view.value);
                self.stage = Stage::Exceeded(episode);
                if severity > episode.severity {
                    episode.severity = severity;
                    return self.say(Stage::Exceeded, episode, Phase::Exceeded, view, moment);
                }
                let excess = rule.excess(view.value, view.limit);
                if !self.is_over(excess <= -i64::from(rule.hysteresis.0), rule, now) {
                    return None;
                }
                self.muted = rule.early_warning.is_some() && !far_within;
                self.close(Cause::BelowLimit, view, moment)
            }
        }
    }

    /// Runs the clear time; whether it has passed.
    fn is_over(&mut self, within: bool, rule: &Rule, now: UnixMillis) -> bool {
        let lasted = self.within_since.lasts(within, now);
        lasted.is_some_and(|lasted| lasted >= i64::from(rule.clear_ms))
    }

    fn say(
        &mut self,
        stage: fn(Episode) -> Stage,
        mut episode: Episode,
        phase: Phase,
        view: &View,
        moment: Moment,
    ) -> Option<Decision> {
        let decision = Decision { excluded: self.excluded, ..episode.message(phase, None, view, moment) };
        episode.revision = episode.revision.saturating_add(1);
        self.stage = stage(episode);
        self.within_since = Since::NEVER;
        Some(decision)
    }

    fn close(&mut self, cause: Cause, view: &View, moment: Moment) -> Option<Decision> {
        let said = self.open().map(|(_, episode)| Decision {
            excluded: self.excluded,
            ..episode.message(Phase::Cleared, Some(cause), view, moment)
        });
        self.stage = Stage::Quiet;
        self.beyond_since = Since::NEVER;
        self.within_since = Since::NEVER;
        said
    }
}

impl Episode {
    fn raise_peak(&mut self, direction: Direction, value: Milli) {
        self.peak = match direction {
            Direction::Above => self.peak.max(value),
            Direction::Below => self.peak.min(value),
        };
    }

    fn message(&self, phase: Phase, cause: Option<Cause>, view: &View, moment: Moment) -> Decision {
        Decision {
            rule: moment.rule_index,
            phase,
            cause,
            onset: self.onset,
            revision: self.revision,
            severity: self.severity,
            value: view.value,
            limit: view.limit,
            peak: self.peak,
            at: moment.now,
            from: self.from,
            window_from: view.window_from,
            capture_percent: view.capture_percent,
            excluded: 0,
        }
    }
}
