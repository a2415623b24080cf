//! Where a window's quantity is going: the slope of the straight line that fits its slots best (least squares), in whole numbers.
//!
//! It depends on the slots alone, so it is the same after a restart. Nothing is decided by it: it goes with an early warning, for whoever
//! has to judge how much time there is.

use super::{NO_SLOT, Pool, SLOTS, Slot, Window, level_of_mean};
use crate::reading::Milli;
use crate::rule::Statistic;

/// Through fewer slots with readings than this no line is drawn: of two, it would be the difference between two readings.
const SLOTS_MIN: i128 = 3;
const MINUTE_MS: i128 = 60_000;

impl Window {
    /// The slope over the window, in thousandths of the quantity's unit per minute, to the nearest; [`None`] with readings in fewer than three
    /// slots.
    pub(in crate::engine) fn trend(&self, pool: &Pool) -> Option<Milli> {
        if self.head == NO_SLOT {
            return None;
        }
        let (mut n, mut x, mut y, mut xx, mut xy) = (0i128, 0i128, 0i128, 0i128, 0i128);
        for place in 0..self.slots.used() {
            // Oldest first. A window has few slots, so it fits.
            let back = (self.slots.used() - 1 - place) as i64;
            let slot = self.slots.get(pool, self.index_of(self.head.saturating_sub(back)));
            let Some(value) = self.value_of(&slot) else { continue };
            let (at, value) = (place as i128, i128::from(value));
            n += 1;
            x += at;
            y += value;
            xx += at * at;
            xy += at * value;
        }
        if n < SLOTS_MIN {
            return None;
        }
        // Greater than 0: the slots' places differ. At most 60 places and 32-bit values, so nothing overflows.
        let over = (n * xx - x * x) * i128::from(self.slot_ms);
        let slope = (n * xy - x * y) * MINUTE_MS;
        let rounded = (2 * slope.abs() + over) / (2 * over) * slope.signum();
        let within = rounded.clamp(i32::MIN.into(), i32::MAX.into());
        i32::try_from(within).ok().map(Milli)
    }

    /// What a slot with readings stands for, in thousandths of the unit.
    fn value_of(&self, slot: &Slot) -> Option<i64> {
        if slot.count == 0 {
            return None;
        }
        Some(match self.statistic {
            Statistic::EnergyMean => level_of_mean(slot.content.into(), slot.count.into()).0.into(),
            Statistic::Last | Statistic::Max | Statistic::Min => slot.content,
            Statistic::Mean
            | Statistic::Change
            | Statistic::L5
            | Statistic::L10
            | Statistic::L50
            | Statistic::L90
            | Statistic::L95 => slot.mean(),
        })
    }
}

const _: () = assert!(SLOTS < 1 << 16, "sums of squares of places and products with values fit");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::tests::rule;
    use crate::engine::window::{Need, energy_of};
    use crate::rule::Rule;
    use crate::time::UnixMillis;

    fn filled(statistic: Statistic, readings: impl IntoIterator<Item = (i64, i32)>) -> Option<Milli> {
        let (mut window, mut pool) = (Window::EMPTY, Pool::new());
        window.begin(Need::from(&Rule { statistic, window_ms: 300_000, ..rule() }));
        let mut newest = i64::MIN;
        for (second, value) in readings {
            newest = newest.max(second);
            let (now, at) = (UnixMillis(newest * 1000), UnixMillis(second * 1000));
            window.take(&mut pool, now, at, Milli(value), || energy_of(Milli(value)));
        }
        window.trend(&pool)
    }

    #[test]
    fn what_rises_by_two_a_minute_has_that_trend_whatever_is_made_of_its_readings() {
        // 100 readings a slot would hide nothing: one each 5 s is one a slot.
        let readings = |by: i32| (0..60).map(move |n| (i64::from(n) * 5, 50_000 + n * by));
        for statistic in [Statistic::Mean, Statistic::Max, Statistic::Min, Statistic::Change, Statistic::L50]
        {
            assert_eq!(filled(statistic, readings(1_000 / 6)), Some(Milli(1_992)), "{statistic:?}");
            assert_eq!(filled(statistic, readings(-1_000 / 6)), Some(Milli(-1_992)), "{statistic:?}");
            assert_eq!(filled(statistic, readings(0)), Some(Milli(0)), "{statistic:?}");
        }
        let level = filled(Statistic::EnergyMean, readings(166)).unwrap();
        assert!((level.0 - 1_992).abs() <= 2, "{level}");
    }

    #[test]
    fn two_slots_are_no_trend_and_gaps_are_left_out() {
        assert_eq!(filled(Statistic::Mean, [(0, 1), (5, 1_000)]), None);
        let rises = [(0, 0), (5, 1_000), (200, 40_000), (205, 41_000)];
        assert_eq!(filled(Statistic::Mean, rises), Some(Milli(12_000)));
        assert_eq!(filled(Statistic::Mean, []), None);
    }

    proptest! {
        /// A restart fills the window with the same readings, in an order that may differ between sensors.
        #[test]
        fn the_order_within_a_window_does_not_matter(
            readings in prop::collection::vec((0i64..290, i32::MIN..i32::MAX), 1..100),
        ) {
            let first = (295, 0);
            let one = filled(Statistic::Mean, std::iter::once(first).chain(readings.iter().copied()));
            let other = filled(Statistic::Mean, std::iter::once(first).chain(readings.iter().rev().copied()));
            prop_assert_eq!(one, other);
        }
    }
}
