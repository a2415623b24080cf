//! A minute of a device that decides itself: what is sent where nothing happens.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::engine::{energy_of, level_of_mean};
use crate::quantity::Quantity;
use crate::reading::{Milli, Quality, Reading};
use crate::rule::Statistic;
use crate::time::UnixMillis;

/// The length of what a summary sums up, in milliseconds; it begins at a whole minute.
pub const SUMMARY_MS: i64 = 60_000;
/// How many quantities a device has summaries of.
pub const SUMMARY_QUANTITIES_MAX: usize = 32;
/// How many values are in one record: what its room allows.
pub const SUMMARY_VALUES_MAX: usize = 14;

/// One value of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryValue {
    /// Of what.
    pub quantity: Quantity,
    /// How the minute's readings became one value.
    pub statistic: Statistic,
    /// From how many readings.
    pub count: u16,
    /// What was found against any of them.
    pub quality: Quality,
    /// The value.
    pub value: Milli,
}

/// A minute, or a part of its values; the record's time is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The values.
    pub values: Vec<SummaryValue, SUMMARY_VALUES_MAX>,
}

/// What is told of a quantity's minute.
#[must_use]
pub const fn statistics_of(quantity: Quantity) -> &'static [Statistic] {
    use Quantity as Q;
    match quantity {
        Q::LAFmax | Q::LASmax | Q::LCpeak | Q::LAE => &[Statistic::Max],
        Q::LAFmin => &[Statistic::Min],
        // Of the minute already, or telling nothing when averaged.
        Q::L5 | Q::L10 | Q::L50 | Q::L90 | Q::L95 | Q::LevelDeviation => &[Statistic::Last],
        Q::ImpulseProminence | Q::Tonality | Q::ModulationDepth | Q::LowFrequencyShare => &[Statistic::Max],
        Q::Rain => &[Statistic::Mean],
        quantity if quantity.averages_energy() => &[Statistic::EnergyMean],
        _ => &[Statistic::Mean, Statistic::Min, Statistic::Max],
    }
}

/// The readings of one quantity in the minute that is on.
#[derive(Clone, Copy, Debug)]
struct Accumulator {
    quantity: Quantity,
    count: u16,
    quality: Quality,
    /// Of numbers, or of energies.
    sum: i64,
    min: Milli,
    max: Milli,
    last: Milli,
}

/// Sums up readings, minute by minute.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    /// Minutes since 1970.
    minute: Option<i64>,
    of: Vec<Accumulator, SUMMARY_QUANTITIES_MAX>,
    /// How many values of a minute that is over were told.
    told: usize,
}

impl Minute {
    /// Before any reading.
    #[must_use]
    pub const fn new() -> Self {
        Self { minute: None, of: Vec::new(), told: 0 }
    }

    /// What is to be told before a reading of this time is taken: the minute before, with its beginning; a record's worth each time, until
    /// there is nothing more. Without a time, as before the device stops deciding, the minute that is on.
    pub fn over(&mut self, at: Option<UnixMillis>) -> Option<(UnixMillis, Summary)> {
        let minute = self.minute?;
        if at.is_some_and(|at| minute_of(at) == minute) {
            return None;
        }
        let mut summary = Summary::default();
        for value in self.of.iter().flat_map(Accumulator::values).skip(self.told) {
            if summary.values.push(value).is_err() {
                break;
            }
        }
        if summary.values.is_empty() {
            self.clear();
            return None;
        }
        self.told += summary.values.len();
        Some((UnixMillis(minute.saturating_mul(SUMMARY_MS)), summary))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.minute, self.told) = (None, 0);
        self.of.clear();
    }

    /// Takes a reading, after [`Self::over`] was asked. A quantity beyond [`SUMMARY_QUANTITIES_MAX`] is left out.
    pub fn take(&mut self, at: UnixMillis, reading: &Reading) {
        self.minute.get_or_insert(minute_of(at));
        let energy = reading.quantity.averages_energy();
        let known = self.of.iter().position(|one| one.quantity == reading.quantity);
        let index = known.unwrap_or(self.of.len());
        if known.is_none() {
            let new = Accumulator {
                quantity: reading.quantity,
                count: 0,
                quality: Quality::GOOD,
                sum: 0,
                min: Milli(i32::MAX),
                max: Milli(i32::MIN),
                last: reading.value,
            };
            if self.of.push(new).is_err() {
                return;
            }
        }
        let one = &mut self.of[index];
        let Some(count) = one.count.checked_add(1) else { return };
        one.count = count;
        one.quality = one.quality.with(reading.quality);
        one.sum =
            one.sum.saturating_add(if energy { energy_of(reading.value) } else { reading.value.0.into() });
        one.min = one.min.min(reading.value);
        one.max = one.max.max(reading.value);
        one.last = reading.value;
    }
}

fn minute_of(at: UnixMillis) -> i64 {
    at.0.div_euclid(SUMMARY_MS)
}

impl Accumulator {
    /// What is told of it.
    fn values(&self) -> impl Iterator<Item = SummaryValue> {
        let (quantity, count, quality) = (self.quantity, self.count, self.quality);
        statistics_of(quantity).iter().map(move |statistic| SummaryValue {
            quantity,
            statistic: *statistic,
            count,
            quality,
            value: self.value(*statistic),
        })
    }

    fn value(&self, statistic: Statistic) -> Milli {
        match statistic {
            Statistic::Max => self.max,
            Statistic::Min => self.min,
            Statistic::EnergyMean => level_of_mean(self.sum.into(), self.count.max(1).into()),
            // A mean of 32-bit numbers is one too.
            Statistic::Mean => Milli((self.sum / i64::from(self.count.max(1))) as i32),
            // No other is told of a minute.
            _ => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::time::Stamp;

    fn reading(quantity: Quantity, value: i32) -> Reading {
        Reading { quantity, value: Milli(value), quality: Quality::GOOD }
    }

    #[test]
    fn a_minute_is_told_when_the_next_begins() {
        let (mut minute, mut told) = (Minute::new(), std::vec::Vec::new());
        for second in 0..=60_i64 {
            let level = if second % 2 == 0 { 80_000 } else { 20_000 };
            for one in [reading(Quantity::LAeq, level), reading(Quantity::LAFmax, level + 3_000)] {
                let at = UnixMillis(120_000 + second * 1000);
                told.extend(core::iter::from_fn(|| minute.over(Some(at))));
                minute.take(at, &one);
            }
        }
        let [(from, summary)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(*from, UnixMillis(120_000));
        let values: std::vec::Vec<_> =
            summary.values.iter().map(|v| (v.quantity, v.count, v.value.0)).collect();
        assert_eq!(values, [(Quantity::LAeq, 60, 76_990), (Quantity::LAFmax, 60, 83_000)]);
    }

    #[test]
    fn many_quantities_are_told_in_several_records_that_fit() {
        let (mut minute, mut told) = (Minute::new(), std::vec::Vec::new());
        for quantity in Quantity::NAMED {
            minute.take(UnixMillis(0), &reading(*quantity, i32::MIN));
        }
        told.extend(core::iter::from_fn(|| minute.over(None)).map(|(_, summary)| summary));
        assert!(minute.over(None).is_none(), "it is told once");
        let of: std::collections::BTreeSet<_> =
            told.iter().flat_map(|s| s.values.iter().map(|v| v.quantity)).collect();
        assert_eq!(of.len(), SUMMARY_QUANTITIES_MAX);
        let stamp = Stamp::Unix { at: UnixMillis(1_790_000_000_000), uncertainty_ms: u16::MAX };
        for summary in told {
            assert!(Record::Summary(summary).store(&stamp).is_ok());
        }
    }
}
