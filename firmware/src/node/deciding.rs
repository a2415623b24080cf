//! A node's own rules at work: readings in, episodes' messages, minutes and seconds to keep out. Without I/O.

use gridpost_protocol::engine::{Engine, PrecomputedPeriods, RuleState, Window};
use gridpost_protocol::event::{Cause, Decision, Phase};
use gridpost_protocol::id::Seq;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::series::SeriesBuilder;
use gridpost_protocol::share::{
    EncodedShare, NO_SHARE, RuleName, SHARE_RULES_MAX, SHARE_WINDOWS_MAX, Share, ShareError,
};
use gridpost_protocol::summary::{Minute, Summary};
use gridpost_protocol::time::UnixMillis;
use gridpost_protocol::told::{FEATURES_MAX, Feature, ToldEpisode};
use heapless::{Deque, Vec};

use super::history::History;
use crate::store::MEMORIES;

/// How many quantities' seconds are kept at a time.
const SERIES_MAX: usize = 6;
/// How many other quantities are known when a rule decides.
const LATEST_MAX: usize = 16;
/// Features are from at most this long before the message, in milliseconds: two of the minutes over which they are told.
const FEATURE_AGE_MS: i64 = 120_000;

type NodeEngine = Engine<Share, [Window; SHARE_WINDOWS_MAX], [RuleState; SHARE_RULES_MAX]>;

/// Messages of episodes that are to be told after a reading: at most one a rule. What else is to be kept holds itself.
pub(super) type Decisions = Deque<Decision, SHARE_RULES_MAX>;

/// The series that is full, and the reading that found no room in it, if there is one. Not an [`Option`]: a node's memory begins as zeros.
#[derive(Clone, Copy)]
struct Full {
    is_there: bool,
    index: u8,
    at: UnixMillis,
    reading: Reading,
}

/// A share at work, or the room for one: it is large, and nothing of it is ever moved.
pub(super) struct Deciding {
    share: u32,
    /// Of each rule, where it is remembered.
    slots: [u8; SHARE_RULES_MAX],
    engine: NodeEngine,
    pub(super) periods: PrecomputedPeriods,
    minute: Minute,
    series: Vec<SeriesBuilder, SERIES_MAX>,
    full: Full,
    history: History,
    latest: Vec<(Quantity, Milli, UnixMillis), LATEST_MAX>,
}

/// What a rule remembered, found by its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// The rule's index in the share.
    pub(super) index: usize,
    /// Where it is remembered.
    pub(super) slot: u8,
    /// Where it stands.
    pub(super) state: RuleState,
}

impl Deciding {
    /// Room for a share.
    pub(super) const fn nothing() -> Self {
        let windows = [const { Window::EMPTY }; SHARE_WINDOWS_MAX];
        let states = [const { RuleState::QUIET }; SHARE_RULES_MAX];
        Self {
            share: NO_SHARE,
            slots: [0; SHARE_RULES_MAX],
            engine: Engine::idle(Share::new(), windows, states),
            periods: PrecomputedPeriods::UNKNOWN,
            minute: Minute::new(),
            series: Vec::new(),
            full: Full {
                is_there: false,
                index: 0,
                at: UnixMillis(0),
                reading: Reading { quantity: Quantity::LAeq, value: Milli(0), quality: Quality::GOOD },
            },
            history: History::new(),
            latest: Vec::new(),
        }
    }

    /// Begins with a share, in the place of another, with what is remembered of its rules. What was gathered stays: it does not depend on
    /// rules.
    ///
    /// # Errors
    /// When this node cannot run it: then it runs none, and takes no readings before another share has begun.
    pub(super) fn begin(
        &mut self,
        id: u32,
        share: &EncodedShare,
        remembered: &[Remembered],
    ) -> Result<(), ShareError> {
        self.share = NO_SHARE;
        // Checked before.
        self.engine.replace(|rules| rules.set(share)).map_err(|_| ShareError::TooManyWindows)?;
        self.engine.restore(None, remembered.iter().map(|one| (one.index, one.state)));
        self.share = id;
        self.slots = slots(remembered);
        Ok(())
    }

    /// Forgets what was gathered, as before the first share.
    pub(super) fn forget(&mut self) {
        self.minute.clear();
        self.series.clear();
        self.full.is_there = false;
        self.history.clear();
        self.latest.clear();
    }

    /// Its id.
    pub(super) const fn share(&self) -> u32 {
        self.share
    }

    /// Where each rule stands, with its name.
    pub(super) fn states(&self) -> impl Iterator<Item = (&RuleName, &RuleState)> {
        self.engine.given().names().iter().zip(self.engine.states())
    }

    /// Takes a reading, after [`Self::over`] and [`Self::full_series`] were asked. `next` is the number that the next record will have.
    pub(super) fn take(&mut self, next: Seq, at: UnixMillis, reading: &Reading, decisions: &mut Decisions) {
        self.minute.take(at, reading);
        self.add_to_series(at, reading);
        self.remember(at, reading);
        self.engine.on_reading(next, at, reading, &self.periods, |decision| {
            // At most one a rule.
            let _ = decisions.push_back(decision);
        });
    }

    fn add_to_series(&mut self, at: UnixMillis, reading: &Reading) {
        // What could not be kept the last time goes.
        let _ = self.full_series(|_| ());
        let of_quantity = self.series.iter().position(|series| series.quantity() == reading.quantity);
        match of_quantity {
            Some(index) => {
                if !self.series[index].push(at, reading) {
                    // At most SERIES_MAX, so it fits.
                    self.full = Full { is_there: true, index: index as u8, at, reading: *reading };
                }
            }
            // More quantities than that have minutes, and no seconds.
            None => drop(self.series.push(SeriesBuilder::new(at, reading))),
        }
    }

    /// The series that is full is kept; then it begins anew.
    pub(super) fn full_series<T>(&mut self, keep: impl FnOnce(&SeriesBuilder) -> T) -> Option<T> {
        let Full { index, at, reading, .. } =
            core::mem::take(&mut self.full.is_there).then_some(self.full)?;
        let series = self.series.get_mut(usize::from(index))?;
        let kept = keep(series);
        *series = SeriesBuilder::new(at, &reading);
        Some(kept)
    }

    /// What is to be kept of the minute before one takes a reading of this time, until there is nothing more; without a time, of the minute
    /// that is on.
    pub(super) fn over(&mut self, at: Option<UnixMillis>) -> Option<(UnixMillis, Summary)> {
        self.minute.over(at)
    }

    /// Takes seconds that are not full, when no more come.
    pub(super) fn end_series<T>(&mut self, keep: impl FnOnce(&SeriesBuilder) -> T) -> Option<T> {
        let kept = self.series.last().map(keep)?;
        self.series.truncate(self.series.len() - 1);
        Some(kept)
    }

    /// The seconds of a quantity that are not in the ring yet.
    pub(super) fn open_series(&self, quantity: Quantity) -> Option<&SeriesBuilder> {
        self.series.iter().find(|series| series.quantity() == quantity)
    }

    fn remember(&mut self, at: UnixMillis, reading: &Reading) {
        if !reading.quality.decides() {
            return;
        }
        if reading.quantity == Quantity::LAeq {
            self.history.put(at, reading.value);
        }
        let new = (reading.quantity, reading.value, at);
        match self.latest.iter_mut().find(|(quantity, ..)| *quantity == reading.quantity) {
            Some(place) => *place = new,
            None => drop(self.latest.push(new)),
        }
    }

    /// A decision as it is told, with where its rule is remembered and stands.
    pub(super) fn told(&self, decision: &Decision) -> Option<(u8, RuleState, ToldEpisode<'_>)> {
        let index = usize::from(decision.rule);
        let (name, rule) = (self.engine.given().names().get(index)?, self.engine.rules().get(index)?);
        let mut told = ToldEpisode::new(name, rule, self.share, decision);
        let fresh = self.latest.iter().filter(|(quantity, _, at)| {
            *quantity != rule.quantity && (0..=FEATURE_AGE_MS).contains(&decision.at.since(*at))
        });
        told.features =
            fresh.take(FEATURES_MAX).map(|&(quantity, value, _)| Feature { quantity, value }).collect();
        if decision.phase != Phase::Cleared && rule.quantity.unit() == "dB" {
            told.profile = self.history.profile(decision.from, decision.at);
        }
        Some((*self.slots.get(index)?, *self.engine.states().get(index)?, told))
    }
}

/// Where each rule is remembered: where it was, or else where no other rule is.
fn slots(remembered: &[Remembered]) -> [u8; SHARE_RULES_MAX] {
    const { assert!(MEMORIES >= SHARE_RULES_MAX && MEMORIES < 256) };
    let mut free = (0..MEMORIES as u8).filter(|slot| !remembered.iter().any(|one| one.slot == *slot));
    core::array::from_fn(|index| {
        let known = remembered.iter().find(|one| one.index == index);
        // There are as many as rules.
        known.map_or_else(|| free.next().unwrap_or(0), |one| one.slot)
    })
}

/// The end of an episode whose rule this node no longer runs, made of its last message.
pub(super) fn ended<'a>(
    last: &ToldEpisode<'a>,
    cause: Cause,
    state: &mut RuleState,
    at: UnixMillis,
) -> Option<ToldEpisode<'a>> {
    let decision = state.withdraw(cause, 0, last.limit, at)?;
    let before = |then: UnixMillis| u64::try_from(at.since(then)).unwrap_or(0);
    Some(ToldEpisode {
        phase: decision.phase,
        cause: decision.cause,
        revision: decision.revision,
        severity: decision.severity,
        value: decision.value,
        peak: decision.peak,
        began_before_ms: before(decision.from),
        window_before_ms: before(decision.window_from),
        capture_percent: 0,
        features: Vec::new(),
        profile: None,
        ..last.clone()
    })
}
