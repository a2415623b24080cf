//! Threshold rules over one device's readings: readings in, episodes' messages out.
//!
//! The engine reads no clock and does no I/O; it has fixed memory and no floating point but in software (`libm`), so
//! a node and a gateway that see the same readings under the same rules say the same, to the last bit. Its time is
//! the newest time its device has said.
//!
//! Invariants, each held by a test:
//! - What it says depends only on the readings, their order and the rules. Windows hold nothing but readings; what
//!   else must be remembered is a [`RuleState`] per rule and the newest time. So a restart restores these two
//!   ([`Engine::restore`]), feeds the stored readings of the last [`Engine::replay_span_ms`] to [`Engine::replay`],
//!   in the order in which they came and not before the last clock step, and goes on as if it had never stopped.
//! - No input makes it panic: any time, any value, any quality, in any order.
//! - In a group, the first rule in file order that has an open episode, or whose value is beyond its early-warning
//!   threshold (its limit, if it has none), is the only one that may speak. A later rule's open episode is cleared as
//!   superseded when that rule is next evaluated.
//!
//! - Guards and exclusions ([`Condition`]) of a rule's own device are answered from its windows at the newest time; those
//!   of other devices by whoever knows the site ([`Periods::was_beyond`]).
//!
//! Time:
//! - A reading more than [`CLOCK_STEP_BACK_MS`] older than the newest time means that the device's clock was set
//!   back: windows, hold and clear times begin anew with it. Open episodes stay open.
//! - A reading less late than that goes where it belongs in its window; if that place has slid away, it is left out.
//! - A jump forward slides the windows empty.
//! - Two readings of a quantity further apart than [`Rule::continuity_ms`] restart hold and clear times.
//!
//! Bounds: [`RULES_MAX`] rules a device, [`SLOTS`] slots a window, [`RULES_MAX`] windows. Cost per reading: the
//! windows and rules of its quantity, and their conditions; other rules cost nothing.

use core::ops::Range;

use heapless::Vec;

use crate::event::{Cause, Decision};
use crate::id::Seq;
use crate::quantity::Quantity;
use crate::reading::{Milli, Reading};
use crate::rule::{Condition, Origin, Role, Rule, Statistic};
use crate::time::UnixMillis;

mod episode;
mod needs;
mod outcome;
mod periods;
#[cfg(test)]
mod reference;
mod sight;
mod slots;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;
mod window;

pub use episode::{Episode, RuleState};
pub use needs::{Needed, windows_and_slots_needed, windows_needed};
pub use outcome::{EngineError, Outcome, RuleSet};
pub use periods::{BOUNDARIES_MAX, Boundary, EncodedPeriods, NoPeriods, Periods, PrecomputedPeriods};
pub use slots::NODE_SLOTS_MAX;
pub use verdict::{Ruling, Verdict};
pub use window::{SLOTS, Window, energy_of, level_of_mean};

use episode::{Moment, Standing};
use needs::{needed, needs, own_conditions};
use sight::{Conditions, Sight, is_met};
use slots::Pool;
use window::Need;

/// A reading older than the newest time by more than this: the device's clock was set back. Records of one device
/// come in order, so what is less late than this is a difference between its sensors.
pub const CLOCK_STEP_BACK_MS: i64 = 60_000;

/// The most rules for one device: they fit into the bits of a [`RuleSet`].
pub const RULES_MAX: usize = 64;

/// The rules of one device at work.
///
/// Generic over where they are kept: a node has arrays, a gateway slices on the heap ([`BoxedEngine`]).
#[derive(Clone, Debug)]
pub struct Engine<R, W, S> {
    rules: R,
    windows: W,
    windows_used: usize,
    /// The windows' slots.
    slots: Pool,
    states: S,
    newest: Option<UnixMillis>,
    /// Where a quantity's rules and windows are, of as many quantities as there is room for.
    places: Vec<Place, QUANTITIES_INDEXED>,
    /// The rules that had something to say when they were last evaluated.
    speaking: RuleSet,
}

/// Of how many quantities an engine knows without searching which rules and windows are theirs: a noise node has 14. Of more it
/// searches.
const QUANTITIES_INDEXED: usize = 16;

/// What concerns one quantity.
#[derive(Clone, Copy, Debug)]
struct Place {
    quantity: Quantity,
    rules: RuleSet,
    first_window: u16,
    windows: u16,
}

/// An engine on the heap; devices with the same rules share them.
#[cfg(any(test, feature = "std"))]
pub type BoxedEngine = Engine<std::sync::Arc<[Rule]>, Box<[Window]>, Box<[RuleState]>>;

#[cfg(any(test, feature = "std"))]
impl BoxedEngine {
    /// An engine with just the room that `rules` need.
    ///
    /// # Errors
    /// A rule is out of bounds, or there are too many.
    pub fn boxed(rules: std::sync::Arc<[Rule]>) -> Result<Self, EngineError> {
        let windows = vec![Window::EMPTY; windows_needed(&rules)].into_boxed_slice();
        let states = vec![RuleState::default(); rules.len()].into_boxed_slice();
        Self::new(rules, windows, states)
    }
}

impl<R, W, S> Engine<R, W, S> {
    /// Room for an engine, which does nothing until [`Self::replace`] gives it rules; `rules` are none.
    #[must_use]
    pub const fn idle(rules: R, windows: W, states: S) -> Self {
        let places = Vec::new();
        let slots = Pool::new();
        let speaking = RuleSet::NONE;
        Self { rules, windows, windows_used: 0, slots, states, newest: None, places, speaking }
    }
}

impl<R, W, S> Engine<R, W, S>
where
    R: AsRef<[Rule]>,
    W: AsRef<[Window]> + AsMut<[Window]>,
    S: AsRef<[RuleState]> + AsMut<[RuleState]>,
{
    /// An engine that has seen nothing. What `windows` and `states` held is overwritten.
    ///
    /// # Errors
    /// A rule is out of bounds, or there is not enough room.
    pub fn new(rules: R, windows: W, states: S) -> Result<Self, EngineError> {
        let windows_used = outcome::check(rules.as_ref(), windows.as_ref().len(), states.as_ref().len())?;
        let (places, speaking) = (Vec::new(), RuleSet::default());
        let slots = Pool::new();
        let mut engine = Self { rules, windows, windows_used, slots, states, newest: None, places, speaking };
        engine.begin();
        Ok(engine)
    }

    /// Goes on with other rules, as an engine that has seen nothing: in its place, because one is large and a node's stack is not. `set`
    /// makes the rules of before those of now.
    ///
    /// # Errors
    /// A rule is out of bounds, or there is not enough room: then other rules have to be set.
    pub fn replace(&mut self, set: impl FnOnce(&mut R)) -> Result<(), EngineError> {
        set(&mut self.rules);
        let room = (self.windows.as_ref().len(), self.states.as_ref().len());
        self.windows_used = outcome::check(self.rules.as_ref(), room.0, room.1)?;
        self.begin();
        Ok(())
    }

    fn begin(&mut self) {
        self.states.as_mut().fill(RuleState::default());
        (self.newest, self.speaking) = (None, RuleSet::default());
        self.places.clear();
        self.place();
    }

    /// Gives each quantity its windows, one after the other.
    fn place(&mut self) {
        let rules = self.rules.as_ref();
        let windows = self.windows.as_mut();
        self.slots.clear();
        let mut next = 0;
        for (index, need) in needs(rules).enumerate() {
            let quantity = need.quantity;
            if needs(rules).take(index).any(|before| before.quantity == quantity) {
                continue;
            }
            let first = next;
            for need in needed(rules).filter(|need| need.quantity == quantity) {
                if let Some(window) = windows.get_mut(next) {
                    window.begin(need);
                }
                next += 1;
            }
            let mut of_quantity = RuleSet::default();
            let concerned = rules.iter().enumerate().filter(|(_, rule)| rule.quantity == quantity);
            concerned.for_each(|(index, _)| of_quantity.insert(index));
            // At most some hundreds of windows, so it fits. Without room for it the quantity is searched for.
            let (first_window, windows) = (first as u16, (next - first) as u16);
            let _ = self.places.push(Place { quantity, rules: of_quantity, first_window, windows });
        }
    }

    /// The rules of a quantity, and where its windows are.
    fn place_of(&self, quantity: Quantity) -> (RuleSet, Range<usize>) {
        match self.places.iter().find(|place| place.quantity == quantity) {
            Some(place) => {
                let first = usize::from(place.first_window);
                (place.rules, first..first + usize::from(place.windows))
            }
            None if self.places.is_full() => {
                let mut rules = RuleSet::default();
                let concerned = self.rules().iter().enumerate().filter(|(_, rule)| rule.quantity == quantity);
                concerned.for_each(|(index, _)| rules.insert(index));
                (rules, 0..self.windows_used)
            }
            None => (RuleSet::default(), 0..0),
        }
    }

    /// The window that is needed.
    fn window(&self, need: Need) -> Option<&Window> {
        let (_, windows) = self.place_of(need.quantity);
        self.windows.as_ref()[windows].iter().find(|window| window.serves(need))
    }

    /// Notes which rules have something to say, after their states were exchanged.
    fn listen(&mut self) {
        self.speaking = RuleSet::default();
        let states = self.states.as_ref().iter().take(self.rules.as_ref().len());
        for (index, _) in states.enumerate().filter(|(_, state)| state.has_a_say()) {
            self.speaking.insert(index);
        }
    }

    /// Whether a rule before this one in its group has an open episode, or had a value beyond its first threshold of late.
    fn is_blocked(&self, index: usize, now: UnixMillis) -> bool {
        let rules = self.rules();
        let Some(group) = rules[index].group else { return false };
        self.speaking.before(index).iter().any(|other| {
            let rule = &rules[other];
            rule.group == Some(group) && (self.states()[other].open().is_some() || self.is_fresh(rule, now))
        })
    }

    /// Whether the rule's quantity was read lately enough for what its value was then to matter now.
    fn is_fresh(&self, rule: &Rule, now: UnixMillis) -> bool {
        let newest = self.window(rule.into()).and_then(Window::newest);
        newest.is_some_and(|newest| now.since(newest) <= rule.continuity_ms())
    }

    /// The rules as they were given.
    #[must_use]
    pub const fn given(&self) -> &R {
        &self.rules
    }

    /// The rules, in file order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        self.rules.as_ref()
    }

    /// What each rule remembers, in the rules' order.
    #[must_use]
    pub fn states(&self) -> &[RuleState] {
        &self.states.as_ref()[..self.rules.as_ref().len()]
    }

    /// Where a rule's quantity is going at the newest reading, in thousandths of its unit per minute: the slope over the rule's window.
    /// [`None`] for a rule without a window, and where too little was measured. Nothing is decided by it; a node does not ask.
    #[must_use]
    pub fn trend(&self, index: usize) -> Option<Milli> {
        let rule = self.rules().get(index).filter(|rule| rule.statistic != Statistic::Last)?;
        self.window(rule.into())?.trend(&self.slots)
    }

    /// The newest time the device has said since its clock was last set back.
    #[must_use]
    pub const fn newest(&self) -> Option<UnixMillis> {
        self.newest
    }

    /// How far back from the newest time stored readings must be replayed after a restart, in milliseconds; readings
    /// exactly as old are included. At least [`CLOCK_STEP_BACK_MS`], within which a late reading is told from a new
    /// one.
    #[must_use]
    pub fn replay_span_ms(&self) -> i64 {
        self.rules()
            .iter()
            .flat_map(|rule| {
                let of_rule = rule.continuity_ms().max(window::reach_ms(rule.window_ms));
                let of_condition =
                    |of: &Condition| i64::from(of.within_ms).max(window::reach_ms(of.window_ms));
                core::iter::once(of_rule).chain(own_conditions(rule).map(of_condition))
            })
            .fold(CLOCK_STEP_BACK_MS, i64::max)
    }

    /// Puts back what was remembered before a restart: to be followed by [`Engine::replay`]. States of rules that are
    /// no longer there are ignored.
    pub fn restore(
        &mut self,
        newest: Option<UnixMillis>,
        states: impl IntoIterator<Item = (usize, RuleState)>,
    ) {
        self.newest = newest;
        for (index, state) in states {
            if let Some(place) = self.states.as_mut().get_mut(index) {
                *place = state;
            }
        }
        self.listen();
    }

    /// The last message of a rule's open episode that is not to go on here, for another reason than the readings'.
    pub fn withdraw(&mut self, index: usize, cause: Cause, at: UnixMillis) -> Option<Decision> {
        let rule = self.rules.as_ref().get(index)?;
        let state = self.states.as_mut().get_mut(index)?;
        // Fits: at most RULES_MAX rules.
        let said = state.withdraw(cause, index as u16, rule.limit_day, at);
        self.listen();
        said
    }

    /// Empties the windows: what comes next does not follow what was.
    pub fn forget(&mut self) {
        let _ = self.restart();
    }

    /// Puts a stored reading back into the windows; decides nothing.
    pub fn replay(&mut self, at: UnixMillis, reading: &Reading) {
        let now = self.newest.max(Some(at)).unwrap_or(at);
        self.newest = Some(now);
        if reading.quality.decides() {
            let (_, of_quantity) = self.place_of(reading.quantity);
            self.take(now, at, reading, of_quantity);
        }
    }

    /// Takes the next reading of the device, with its record's number and time, and emits what the rules say about
    /// it.
    pub fn on_reading(
        &mut self,
        seq: Seq,
        at: UnixMillis,
        reading: &Reading,
        periods: &impl Periods,
        emit: impl FnMut(Decision),
    ) -> Outcome {
        self.on_reading_explained(seq, at, reading, periods, emit, |_| ())
    }

    /// [`Engine::on_reading`], and `explain` gets what each rule of the reading's quantity made of it.
    pub fn on_reading_explained(
        &mut self,
        seq: Seq,
        at: UnixMillis,
        reading: &Reading,
        periods: &impl Periods,
        mut emit: impl FnMut(Decision),
        mut explain: impl FnMut(Verdict),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if self.newest.is_some_and(|newest| newest.since(at) > CLOCK_STEP_BACK_MS) {
            outcome.restarted = true;
            outcome.changed = self.restart();
        }
        let now = self.newest.max(Some(at)).unwrap_or(at);
        self.newest = Some(now);
        if !reading.quality.decides() {
            outcome.excluded = true;
            return outcome;
        }
        let (concerned, of_quantity) = self.place_of(reading.quantity);
        outcome.late = !self.take(now, at, reading, of_quantity.clone());

        for index in concerned.iter() {
            let rule = &self.rules.as_ref()[index];
            let windows = &self.windows.as_ref()[of_quantity.clone()];
            let Some(sight) = Sight::of(rule, windows, reading, now) else { continue };
            let conditions = self.conditions(index, periods, now);
            let blocked = self.is_blocked(index, now);
            let (rule, state) = (&self.rules.as_ref()[index], &mut self.states.as_mut()[index]);
            let before = *state;
            // Fits: at most RULES_MAX rules.
            let moment = Moment { rule_index: index as u16, seq, now };
            let (view, standing, said) = sight.judge(rule, state, blocked, conditions, periods, moment);
            match standing {
                None | Some(Standing::TooLittle) => outcome.undecided.insert(index),
                Some(Standing::Excluded(_)) => outcome.kept_out.insert(index),
                Some(Standing::Free { guarded: false }) => outcome.unguarded.insert(index),
                Some(_) => {}
            }
            if *state != before {
                outcome.changed.insert(index);
            }
            self.speaking.put(index, state.has_a_say());
            explain(Verdict {
                rule: index,
                value: view.value,
                limit: standing.map(|_| view.limit),
                window_from: view.window_from,
                capture_percent: view.capture_percent,
                ruling: Ruling::of(standing),
                met: conditions.met,
                state: *state,
                said: said.map(|decision| decision.phase),
            });
            if let Some(decision) = said {
                emit(decision);
            }
        }
        outcome
    }

    /// What a rule's conditions say at `now`, to which their windows slide.
    fn conditions(&mut self, index: usize, periods: &impl Periods, now: UnixMillis) -> Conditions {
        let mut all = Conditions { guarded: true, excluded: 0, met: 0 };
        for place in 0..self.rules()[index].conditions.len() {
            let of = &self.rules()[index].conditions[place];
            let need = Need::from(of);
            if of.origin == Origin::Device && of.statistic != Statistic::Last {
                let (_, windows) = self.place_of(need.quantity);
                let mut windows = self.windows.as_mut()[windows].iter_mut();
                if let Some(window) = windows.find(|window| window.serves(need)) {
                    window.look(&mut self.slots, now);
                }
            }
            let of = &self.rules()[index].conditions[place];
            let met = match of.origin {
                Origin::Device => self.window(need).is_some_and(|window| is_met(of, window, now)),
                Origin::Site => periods.was_beyond(of, now),
            };
            // At most CONDITIONS_MAX, so it fits.
            let bit = u8::from(met) << place;
            all.met |= bit;
            match of.role {
                Role::Guard => all.guarded &= met,
                Role::Exclusion => all.excluded |= bit,
            }
        }
        all
    }

    /// Slides and fills the quantity's windows; whether all of them had a place for the reading.
    fn take(
        &mut self,
        now: UnixMillis,
        at: UnixMillis,
        reading: &Reading,
        of_quantity: Range<usize>,
    ) -> bool {
        let mut energy = None;
        let mut all_entered = true;
        for window in &mut self.windows.as_mut()[of_quantity] {
            if window.quantity() != reading.quantity {
                continue;
            }
            window.take(&mut self.slots, now, at, reading.value, || {
                *energy.get_or_insert_with(|| window::energy_of(reading.value))
            });
            window.summarise(&self.slots);
            all_entered &= window.taken.entered;
        }
        all_entered
    }

    /// The device's clock was set back.
    fn restart(&mut self) -> RuleSet {
        let mut changed = RuleSet::default();
        for window in &mut self.windows.as_mut()[..self.windows_used] {
            window.restart(&mut self.slots);
        }
        let rules = self.rules.as_ref().len();
        for (index, state) in self.states.as_mut()[..rules].iter_mut().enumerate() {
            let before = *state;
            state.undecided();
            if *state != before {
                changed.insert(index);
            }
        }
        self.newest = None;
        self.listen();
        changed
    }
}
