//! Readings of one quantity at even distances, in few bytes: what a device keeps of every second.
//!
//! The first value's time is the record's. Values are differences, in thousandths, as postcard's zigzag varints: a level takes two or
//! three bytes. Exact: a rule that is run over them again decides the same.

use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;
use crate::reading::{Milli, Quality, Reading};
use crate::time::UnixMillis;

/// The most bytes of values in one series.
pub const SERIES_BYTES_MAX: usize = 160;
/// The longest time between two values, in milliseconds.
pub const STEP_MS_MAX: u32 = 24 * 3600 * 1000;

/// A series as it is kept and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series<'a> {
    /// What was measured.
    pub quantity: Quantity,
    /// What is known against each of the values.
    pub quality: Quality,
    /// The time between two values, in milliseconds.
    pub step_ms: u32,
    /// The differences, the first from 0.
    pub deltas: &'a [u8],
}

impl<'a> Series<'a> {
    /// The readings, when the record's time is `at`; ends at bytes that are no value.
    pub fn readings(&self, at: UnixMillis) -> impl Iterator<Item = (UnixMillis, Reading)> + use<'a> {
        let Self { quantity, quality, step_ms, deltas: mut rest } = *self;
        let (mut value, mut count) = (0_i32, 0_i64);
        core::iter::from_fn(move || {
            let (delta, after): (i32, _) = postcard::take_from_bytes(rest).ok()?;
            rest = after;
            value = value.wrapping_add(delta);
            let when = at.plus(count.saturating_mul(i64::from(step_ms)));
            count += 1;
            Some((when, Reading { quantity, value: Milli(value), quality }))
        })
    }
}

/// A series in the making.
#[derive(Clone, Debug)]
pub struct SeriesBuilder {
    quantity: Quantity,
    quality: Quality,
    from: UnixMillis,
    step_ms: u32,
    last: UnixMillis,
    value: i32,
    count: u16,
    deltas: heapless::Vec<u8, SERIES_BYTES_MAX>,
}

impl SeriesBuilder {
    /// Begins with a reading.
    #[must_use]
    pub fn new(at: UnixMillis, reading: &Reading) -> Self {
        let mut series = Self {
            quantity: reading.quantity,
            quality: reading.quality,
            from: at,
            step_ms: 0,
            last: at,
            value: 0,
            count: 0,
            deltas: heapless::Vec::new(),
        };
        // There is room for one.
        let _ = series.put(at, reading.value);
        series
    }

    fn put(&mut self, at: UnixMillis, value: Milli) -> bool {
        let mut bytes = [0; 5];
        let Ok(bytes) = postcard::to_slice(&value.0.wrapping_sub(self.value), &mut bytes) else {
            return false;
        };
        if self.deltas.extend_from_slice(bytes).is_err() {
            return false;
        }
        (self.value, self.last) = (value.0, at);
        self.count += 1;
        true
    }

    /// Adds a reading; false when it does not fit in, and begins another series: another quantity or quality, another distance, or no room.
    #[must_use]
    pub fn push(&mut self, at: UnixMillis, reading: &Reading) -> bool {
        let step = at.since(self.last);
        let step = u32::try_from(step).ok().filter(|step| (1..=STEP_MS_MAX).contains(step));
        let Some(step) = step else { return false };
        let fits = self.count == 1 || step == self.step_ms;
        if reading.quantity != self.quantity || reading.quality != self.quality || !fits {
            return false;
        }
        let pushed = self.put(at, reading.value);
        if pushed {
            self.step_ms = step;
        }
        pushed
    }

    /// What it is a series of.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The time of its first value.
    #[must_use]
    pub const fn from(&self) -> UnixMillis {
        self.from
    }

    /// As it is kept.
    #[must_use]
    pub fn series(&self) -> Series<'_> {
        Series { quantity: self.quantity, quality: self.quality, step_ms: self.step_ms, deltas: &self.deltas }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(value: i32, quality: u8) -> Reading {
        Reading { quantity: Quantity::LAeq, value: Milli(value), quality: Quality(quality) }
    }

    proptest! {
        #[test]
        fn readings_come_out_as_they_went_in(
            given in prop::collection::vec((prop::sample::select(vec![0_i64, 999, 1000, 1000, 1000, -5]), any::<i32>(), 0_u8..2), 1..300),
        ) {
            let (mut at, mut all, mut got) = (UnixMillis(0), std::vec::Vec::new(), std::vec::Vec::new());
            let mut open: Option<SeriesBuilder> = None;
            for (step, value, quality) in given {
                at = at.plus(step);
                let reading = reading(value, quality);
                all.push((at, reading));
                if !open.as_mut().is_some_and(|open| open.push(at, &reading))
                    && let Some(done) = open.replace(SeriesBuilder::new(at, &reading)) {
                    got.extend(done.series().readings(done.from()));
                }
            }
            let last = open.unwrap();
            got.extend(last.series().readings(last.from()));
            prop_assert_eq!(got, all);
        }

        #[test]
        fn any_bytes_are_read(deltas in prop::collection::vec(any::<u8>(), 0..200), step_ms: u32, at: i64) {
            let series = Series { quantity: Quantity::LAeq, quality: Quality::GOOD, step_ms, deltas: &deltas };
            prop_assert!(series.readings(UnixMillis(at)).count() <= deltas.len());
        }
    }

    #[test]
    fn a_minute_of_levels_takes_three_bytes_a_second_at_most() {
        let mut series = SeriesBuilder::new(UnixMillis(0), &reading(65_000, 0));
        let mut count = 1;
        while series.push(UnixMillis(count * 1000), &reading(65_000 + (count as i32 % 7) * 1_300, 0)) {
            count += 1;
        }
        assert!(count >= 53, "{count}");
    }
}
