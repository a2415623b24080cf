//! The readings of the last minutes, as one value.
//!
//! Time is cut into at most [`SLOTS`] slots per window, aligned to 1970-01-01T00:00:00Z, each at least a second long.
//! A slot keeps a count and a whole-number accumulator, so the order in which readings come does not matter, nothing
//! drifts, and a window's content depends only on the readings in it: a window rebuilt from stored readings equals
//! one that never stopped. The window covers the current slot, as far as it has gone, and the full slots before it.
//!
//! Levels are summed as energies in 64ths of the reference energy. That is exact enough (a 24 h mean of 20 dB
//! readings is off by less than 0.001 dB) and has room for a day of 140 dB at one reading a second; beyond that a
//! slot saturates. Levels under -18 dB count as -18 dB.

mod trend;

use super::slots::{Pool, Slots};
use crate::quantity::Quantity;
use crate::reading::{Milli, ten_to};
use crate::rule::{Condition, Rule, SPAN_MS_MAX, Statistic, WINDOW_MS_MIN};
use crate::time::UnixMillis;

/// The most slots in a window: what fits a node's memory, and cuts 5 minutes to 5 s.
pub const SLOTS: usize = 60;

/// Energies are kept in this many parts of the reference energy (0 dB).
const ENERGY_PARTS: f64 = 64.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) count: u32,
    /// The sum, or the greatest or least value: whatever the statistic needs.
    pub(super) content: i64,
}

impl Slot {
    pub(super) const EMPTY: Self = Self { count: 0, content: 0 };

    /// Of a slot that sums numbers and is not empty.
    fn mean(&self) -> i64 {
        mean(self.content.into(), self.count.into())
    }
}

/// Which window something is decided with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) quantity: Quantity,
    pub(super) statistic: Statistic,
    pub(super) window_ms: u32,
}

impl From<&Rule> for Need {
    fn from(rule: &Rule) -> Self {
        Self { quantity: rule.quantity, statistic: rule.statistic, window_ms: rule.window_ms }
    }
}

impl From<&Condition> for Need {
    fn from(of: &Condition) -> Self {
        Self { quantity: of.quantity, statistic: of.statistic, window_ms: of.window_ms }
    }
}

/// What a window says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) value: Milli,
    /// The start of the oldest slot.
    pub(super) from: UnixMillis,
    pub(super) count: u64,
}

/// The newest reading's way into the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Its time was within the window.
    pub(super) entered: bool,
    /// No reading of this quantity before it was newer.
    pub(super) newest: bool,
    /// The newest time of this quantity before it.
    pub(super) before: Option<UnixMillis>,
}

/// A sliding window over one quantity, shared by all rules with the same quantity, statistic and length.
#[derive(Clone, Debug)]
pub struct Window {
    quantity: Quantity,
    statistic: Statistic,
    window_ms: u32,
    slot_ms: u32,
    /// The number of the newest slot since the epoch, or [`NO_SLOT`].
    head: i64,
    /// The newest time of a reading of this quantity since the last restart, in or out of the window.
    newest: Option<UnixMillis>,
    /// The value of that reading.
    newest_value: Milli,
    /// The sum of all slots' contents; means only.
    total: i128,
    count: u64,
    slots: Slots,
    pub(super) taken: Taken,
    /// As it was last looked at.
    value: Option<Milli>,
}

/// Of a window without readings. No slot has this number: each is a second long at the least.
const NO_SLOT: i64 = i64::MIN;

impl Window {
    /// A window of nothing, to fill arrays with: all zeros, so that it takes no room in an image.
    pub const EMPTY: Self = Self {
        quantity: Quantity::LAeq,
        statistic: Statistic::Last,
        window_ms: 0,
        slot_ms: 0,
        head: 0,
        newest: None,
        newest_value: Milli(0),
        total: 0,
        count: 0,
        slots: Slots::NONE,
        taken: Taken { entered: false, newest: false, before: None },
        value: None,
    };

    /// Becomes an empty window as a rule or a condition needs it, in a pool that was cleared.
    pub(super) fn begin(&mut self, need: Need) {
        let Need { quantity, statistic, window_ms } = need;
        (self.quantity, self.statistic, self.window_ms) = (quantity, statistic, window_ms);
        self.slot_ms = slot_ms(window_ms);
        self.slots = Slots::begin(slots(window_ms));
        self.newest_value = Milli(0);
        self.taken = Taken { entered: false, newest: false, before: None };
        self.empty();
    }

    /// Whether this window is the one that is needed. The newest reading alone can be had from any of its quantity.
    pub(super) fn serves(&self, need: impl Into<Need>) -> bool {
        let need = need.into();
        self.quantity == need.quantity
            && (need.statistic == Statistic::Last
                || (self.statistic == need.statistic && self.window_ms == need.window_ms))
    }

    /// Slides to `now` without a reading, for what a condition sees then.
    pub(super) fn look(&mut self, pool: &mut Pool, now: UnixMillis) {
        self.slide(pool, now);
        self.summarise(pool);
    }

    /// What a condition sees: the newest reading or the window's value as it was last looked at, and the newest reading's
    /// time.
    pub(super) fn seen(&self, statistic: Statistic) -> Option<(Milli, UnixMillis)> {
        let value = match statistic {
            Statistic::Last => self.newest_value,
            _ => self.value?,
        };
        Some((value, self.newest?))
    }

    pub(super) const fn quantity(&self) -> Quantity {
        self.quantity
    }

    pub(super) const fn newest(&self) -> Option<UnixMillis> {
        self.newest
    }

    /// Back to nothing, as after a clock step.
    pub(super) fn restart(&mut self, pool: &mut Pool) {
        self.slots.clear(pool);
        self.empty();
    }

    fn empty(&mut self) {
        self.head = NO_SLOT;
        self.newest = None;
        self.total = 0;
        self.count = 0;
        self.value = None;
    }

    /// Slides to `now` and puts one reading in where it belongs, if that is still within the window.
    pub(super) fn take(
        &mut self,
        pool: &mut Pool,
        now: UnixMillis,
        at: UnixMillis,
        value: Milli,
        energy: impl FnOnce() -> i64,
    ) {
        self.slide(pool, now);
        let before = self.newest;
        self.taken = Taken {
            entered: self.enter(pool, at, value, energy),
            newest: before.is_none_or(|newest| at >= newest),
            before,
        };
        if self.taken.newest {
            self.newest_value = value;
        }
        self.newest = before.max(Some(at));
    }

    /// The value over the window, computed once for all rules that share it.
    pub(super) fn summarise(&mut self, pool: &Pool) {
        self.value = self.value(pool);
    }

    /// What the window says, as it was last looked at: whatever changes it looks at it.
    pub(super) fn summary(&self) -> Option<Summary> {
        self.value.map(|value| Summary { value, from: self.covered_from(), count: self.count })
    }

    /// The number of the slot in which a time lies.
    fn slot_at(&self, at: UnixMillis) -> i64 {
        at.0.div_euclid(self.slot_ms.into())
    }

    fn slide(&mut self, pool: &mut Pool, now: UnixMillis) {
        let slot = self.slot_at(now);
        if self.head == NO_SLOT {
            self.head = slot;
            return;
        }
        let steps = slot.saturating_sub(self.head);
        if steps <= 0 {
            return;
        }
        for step in 1..=steps.min(self.slots.used() as i64) {
            // Counted back from the new head, so that a jump of any length empties the slots it passes.
            let index = self.index_of(slot - (step - 1));
            let gone = self.slots.take(pool, index);
            self.count -= u64::from(gone.count);
            if self.sums() {
                self.total -= i128::from(gone.content);
            }
        }
        self.head = slot;
    }

    fn enter(&mut self, pool: &mut Pool, at: UnixMillis, value: Milli, energy: impl FnOnce() -> i64) -> bool {
        let slot = self.slot_at(at);
        if slot > self.head || self.head.saturating_sub(slot) >= self.slots.used() as i64 {
            return false;
        }
        let index = self.index_of(slot);
        let Slot { count, content } = self.slots.get(pool, index);
        // None come so fast that a slot is full.
        if count == Slots::COUNT_MAX {
            return false;
        }
        let number = i64::from(value.0);
        let grown = match self.statistic {
            Statistic::Mean | Statistic::Change => content.saturating_add(number),
            _ if self.statistic.exceeded_percent().is_some() => content.saturating_add(number),
            Statistic::EnergyMean => content.saturating_add(energy()),
            Statistic::Max if count > 0 => content.max(number),
            Statistic::Min if count > 0 => content.min(number),
            _ => number,
        };
        if self.sums() {
            self.total += i128::from(grown) - i128::from(content);
        }
        self.count += 1;
        self.slots.set(pool, index, Slot { count: count + 1, content: grown });
        true
    }

    fn value(&self, pool: &Pool) -> Option<Milli> {
        if self.count == 0 {
            return None;
        }
        let filled = || self.slots.filled(pool).map(|slot| slot.content);
        let milli = match self.statistic {
            Statistic::Mean => mean(self.total, self.count),
            Statistic::EnergyMean => return Some(level_of_mean(self.total, self.count)),
            Statistic::Max => filled().max()?,
            Statistic::Min => filled().min()?,
            Statistic::Change => {
                let oldest_first = (0..self.slots.used() as i64).rev();
                let slots = oldest_first.map(|back| self.slots.get(pool, self.index_of(self.head - back)));
                let mut means = slots.filter(|slot| slot.count > 0).map(|slot| slot.mean());
                let first = means.next()?;
                let rise = means.next_back().unwrap_or(first) - first;
                rise.clamp(i32::MIN.into(), i32::MAX.into())
            }
            Statistic::L5 | Statistic::L10 | Statistic::L50 | Statistic::L90 | Statistic::L95 => {
                self.exceeded(pool, self.statistic.exceeded_percent()?)?
            }
            Statistic::Last => return None,
        };
        i32::try_from(milli).ok().map(Milli)
    }

    /// The greatest slot's mean that is reached or exceeded by at least `percent` of the filled slots.
    fn exceeded(&self, pool: &Pool, percent: u8) -> Option<i64> {
        // Sorted as they are put in, greatest first: there are few, and the library's selection takes 1.5 KB of a node's flash.
        let mut means = [0; SLOTS];
        let mut filled = 0;
        for slot in self.slots.filled(pool) {
            let mean = slot.mean();
            let mut place = filled;
            while place > 0 && means[place - 1] < mean {
                means[place] = means[place - 1];
                place -= 1;
            }
            means[place] = mean;
            filled += 1;
        }
        let rank = (filled * usize::from(percent)).div_ceil(100).checked_sub(1)?;
        means.get(rank).copied()
    }

    /// The start of the oldest slot in the window.
    fn covered_from(&self) -> UnixMillis {
        let oldest = self.head.saturating_sub(self.slots.used() as i64 - 1);
        UnixMillis(oldest.saturating_mul(self.slot_ms.into()))
    }

    fn sums(&self) -> bool {
        matches!(self.statistic, Statistic::Mean | Statistic::EnergyMean)
    }

    fn index_of(&self, slot: i64) -> usize {
        // Within 0..used by the remainder.
        slot.rem_euclid(self.slots.used() as i64) as usize
    }
}

/// The length of a slot of a window of this length, in milliseconds.
const fn slot_ms(window_ms: u32) -> u32 {
    let slot = window_ms.div_ceil(SLOTS as u32);
    if slot < WINDOW_MS_MIN { WINDOW_MS_MIN } else { slot }
}

/// How many slots a window of this length has: at most [`SLOTS`], by the choice of their length.
pub(super) const fn slots(window_ms: u32) -> u16 {
    let slots = window_ms.div_ceil(slot_ms(window_ms));
    if slots == 0 { 1 } else { slots as u16 }
}

/// How far back from the newest time a window of this length can hold readings, in milliseconds.
pub(super) fn reach_ms(window_ms: u32) -> i64 {
    let slot = slot_ms(window_ms);
    i64::from(window_ms.div_ceil(slot)) * i64::from(slot)
}

const _: () = assert!(SPAN_MS_MAX.div_ceil(slot_ms(SPAN_MS_MAX)) as usize <= SLOTS);

/// The energy of a level, in [`ENERGY_PARTS`]; at least one part.
#[must_use]
pub fn energy_of(level: Milli) -> i64 {
    let parts = libm::round(ten_to(f64::from(level.0) / 10_000.0) * ENERGY_PARTS);
    // `as` saturates: infinity becomes the greatest energy.
    (parts as i64).max(1)
}

/// The level of the mean of `count` energies, to the nearest thousandth.
#[must_use]
pub fn level_of_mean(total: i128, count: u64) -> Milli {
    let mean = total as f64 / (count as f64 * ENERGY_PARTS);
    Milli(libm::round(10_000.0 * libm::log10(mean)) as i32)
}

/// The mean, to the nearest whole number, halves away from zero.
fn mean(total: i128, count: u64) -> i64 {
    let count = i128::from(count);
    let rounded = (2 * total.abs() + count) / (2 * count);
    // A mean of 32-bit numbers is one too.
    (if total < 0 { -rounded } else { rounded }) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::rule;

    /// A window and its slots.
    type Alone = (Window, Pool);

    fn window(statistic: Statistic, window_ms: u32) -> Alone {
        let mut window = Window::EMPTY;
        window.begin(Need::from(&Rule { statistic, window_ms, ..rule() }));
        (window, Pool::new())
    }

    fn feed((window, pool): &mut Alone, at: i64, value: i32) -> Option<Summary> {
        window.take(pool, UnixMillis(at), UnixMillis(at), Milli(value), || energy_of(Milli(value)));
        window.summarise(pool);
        window.summary()
    }

    #[test]
    fn a_steady_level_is_its_own_mean_from_silence_to_pain() {
        for level in (10..=140).step_by(5) {
            let mut window = window(Statistic::EnergyMean, 60_000);
            let mut last = None;
            for second in 0..120 {
                last = feed(&mut window, second * 1000, level * 1000);
            }
            let value = last.unwrap().value.0;
            let off = (value - level * 1000).abs();
            assert!(off <= if level < 20 { 4 } else { 1 }, "{level} dB reads {value}");
        }
    }

    #[test]
    fn half_a_minute_of_silence_halves_the_energy() {
        let mut window = window(Statistic::EnergyMean, 60_000);
        let mut last = None;
        for second in 0..60 {
            last = feed(&mut window, second * 1000, if second < 30 { 80_000 } else { 20_000 });
        }
        assert_eq!(last.unwrap().value, Milli(76_990));
    }

    #[test]
    fn a_day_at_140_db_does_not_overflow() {
        let (mut window, mut pool) = window(Statistic::EnergyMean, SPAN_MS_MAX);
        for second in 0..86_400 {
            window.take(
                &mut pool,
                UnixMillis(second * 1000),
                UnixMillis(second * 1000),
                Milli(140_000),
                || energy_of(Milli(140_000)),
            );
        }
        window.summarise(&pool);
        let summary = window.summary().unwrap();
        assert_eq!((summary.value, summary.count), (Milli(140_000), 86_400));
    }

    #[test]
    fn readings_leave_with_their_slot() {
        let mut window = window(Statistic::Max, 10_000);
        assert_eq!(feed(&mut window, 500, 90).unwrap().value, Milli(90));
        assert_eq!(feed(&mut window, 9_999, 1).unwrap().value, Milli(90));
        let after = feed(&mut window, 10_000, 2).unwrap();
        assert_eq!((after.value, after.count, after.from), (Milli(2), 2, UnixMillis(1_000)));
    }

    #[test]
    fn means_round_halves_away_from_zero() {
        assert_eq!((mean(3, 2), mean(-3, 2), mean(4, 3), mean(-4, 3)), (2, -2, 1, -1));
    }

    /// Gateways and nodes of different versions must agree: these numbers never change.
    #[test]
    fn energies_and_levels_are_pinned() {
        let mut sum = 0u64;
        for milli in (-20_000..160_000).step_by(7) {
            let energy = energy_of(Milli(milli));
            let level = level_of_mean(i128::from(energy) * 3 + 1, 3);
            sum = sum.rotate_left(5) ^ energy.unsigned_abs() ^ u64::from(level.0.unsigned_abs()) << 40;
        }
        assert_eq!(sum, 14_785_510_222_461_594_766);
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        for statistic in [Statistic::Mean, Statistic::EnergyMean, Statistic::Min] {
            let mut window = window(statistic, 300_000);
            for at in [0, i64::MAX, i64::MIN, -1, i64::MAX - 1, i64::MIN + 1] {
                for value in [i32::MIN, i32::MAX, 0] {
                    feed(&mut window, at, value);
                }
            }
        }
    }
}
