//! What the devices of a site measured around it, as far as its rules' conditions ask ([`Origin::Site`]).
//!
//! Remembered are the minutes of the last day in which a reading met a condition. That depends on the readings alone, not on
//! their order, so a restart that reads the stored ones knows the same; and a device's backlog of some hours is judged by the
//! weather of its own time. Times are those of the readings: two devices' clocks may differ by what a minute forgives.
//!
//! Bounds: [`MINUTES`] of 4 bytes for each condition that a site's rules ask. A minute gives way to the same minute of a later day.

use super::SitePeriods;
use crate::engine::Periods;
use crate::reading::Reading;
use crate::rule::{Condition, Origin, PeriodId};
use crate::time::UnixMillis;

/// How many minutes are remembered: a day, the longest `within`, and the minute in which it begins.
const MINUTES: usize = 24 * 60 + 1;
const MINUTE_MS: i64 = 60_000;

/// One condition, and when it was met.
#[derive(Clone, Debug)]
struct Watched {
    condition: Condition,
    /// Minutes since 1970, each at its remainder; 0 for none.
    met: Box<[u32]>,
}

/// What was measured around the devices of one site.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    watched: Vec<Watched>,
}

/// Minutes since 1970; `None` before, and after some eight thousand years.
fn minute(at: UnixMillis) -> Option<u32> {
    u32::try_from(at.0.div_euclid(MINUTE_MS)).ok().filter(|minute| *minute > 0)
}

fn same(a: &Condition, b: &Condition) -> bool {
    a.quantity == b.quantity && a.direction == b.direction && a.limit == b.limit
}

impl Surroundings {
    /// Nothing known yet; to be asked about these conditions, of which others than those of a site are left out.
    pub fn new<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> Self {
        let mut watched: Vec<Watched> = Vec::new();
        for condition in conditions.into_iter().filter(|condition| condition.origin == Origin::Site) {
            if !watched.iter().any(|known| same(&known.condition, condition)) {
                watched.push(Watched { condition: condition.clone(), met: vec![0; MINUTES].into() });
            }
        }
        Self { watched }
    }

    /// Whether no rule of the site asks.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Forgets all readings.
    pub fn forget(&mut self) {
        self.watched.iter_mut().for_each(|watched| watched.met.fill(0));
    }

    /// Takes a reading of any device at the site.
    pub fn take(&mut self, at: UnixMillis, reading: &Reading) {
        let Some(minute) = minute(at).filter(|_| reading.quality.decides()) else { return };
        for Watched { condition, met } in &mut self.watched {
            if condition.quantity == reading.quantity && condition.is_beyond(reading.value) {
                let place = &mut met[minute as usize % MINUTES];
                *place = minute.max(*place);
            }
        }
    }

    /// Whether a reading met the condition in one of the minutes from [`Condition::within_ms`] before `at` to `at`.
    #[must_use]
    pub fn was_beyond(&self, condition: &Condition, at: UnixMillis) -> bool {
        let since = at.plus(-i64::from(condition.within_ms));
        let (Some(first), Some(last)) = (minute(since), minute(at)) else { return false };
        let watched = self.watched.iter().find(|watched| same(&watched.condition, condition));
        watched.is_some_and(|watched| {
            (first..=last).any(|minute| watched.met[minute as usize % MINUTES] == minute)
        })
    }
}

/// Periods and surroundings of one site.
#[derive(Clone, Copy, Debug)]
pub struct AtSite<'a> {
    /// When it is day there.
    pub periods: &'a SitePeriods,
    /// What is measured there.
    pub around: &'a Surroundings,
}

impl Periods for AtSite<'_> {
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool> {
        self.periods.is_active(period, at)
    }

    fn was_beyond(&self, condition: &Condition, at: UnixMillis) -> bool {
        self.around.was_beyond(condition, at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantity::Quantity;
    use crate::reading::{Milli, Quality};
    use crate::rule::{Direction, Role, Statistic};

    fn windy(within_ms: u32) -> Condition {
        Condition {
            role: Role::Exclusion,
            origin: Origin::Site,
            quantity: Quantity::WindSpeed,
            statistic: Statistic::Last,
            window_ms: 0,
            direction: Direction::Above,
            limit: Milli(4_999),
            within_ms,
        }
    }

    fn wind(value: i32) -> Reading {
        Reading { quantity: Quantity::WindSpeed, value: Milli(value), quality: Quality::GOOD }
    }

    #[test]
    fn wind_counts_for_as_long_as_the_rule_says() {
        let mut around = Surroundings::new([&windy(600_000)]);
        let at = |minute: i64| UnixMillis(1_790_000_040_000 + minute * MINUTE_MS);
        around.take(at(0), &wind(5_000));
        around.take(at(5), &wind(4_999));
        let known = |minute| around.was_beyond(&windy(600_000), at(minute));
        assert_eq!([known(-1), known(0), known(10), known(11)], [false, true, true, false]);
        around.take(at(1), &Reading { quality: Quality::FAULT, ..wind(50_000) });
        assert!(!around.was_beyond(&windy(600_000), at(11)), "a broken anemometer");
    }

    proptest! {
        /// What is known depends on the readings, not on their order: a restart that reads them again knows the same.
        #[test]
        fn the_order_of_readings_does_not_matter(
            readings in prop::collection::vec((0i64..5_000, 0i32..10_000), 1..200),
            within in 1u32..86_400_000,
        ) {
            let (mut one, mut other) = (Surroundings::new([&windy(within)]), Surroundings::new([&windy(1)]));
            let at = |minute: i64| UnixMillis((100_000 + minute) * MINUTE_MS);
            for (minute, value) in &readings {
                one.take(at(*minute), &wind(*value));
            }
            for (minute, value) in readings.iter().rev() {
                other.take(at(*minute), &wind(*value));
            }
            for minute in (0..5_000).step_by(7) {
                let known = one.was_beyond(&windy(within), at(minute));
                prop_assert_eq!(known, other.was_beyond(&windy(within), at(minute)));
            }
        }
    }
}
