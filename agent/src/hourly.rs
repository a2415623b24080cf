//! A device's hour: its readings, or the minutes of one that decides itself, summed up by quantity, with how much of the hour they cover.
//!
//! An hour ends with the first reading or minute of a later one: by the records alone, so late backlogs are told hour by hour, a restart
//! changes nothing, and the hour in which a device fell silent is told when it speaks again. What is older than the hour that is on, by a
//! minute at most, is left out; what is older still says that the clock was set back, and begins anew.
//!
//! It is off unless the configuration asks for it (`[summaries] hourly`), and costs nothing then.
//! Bounds: [`QUANTITIES_MAX`] quantities a device; of others nothing is told.

use gridpost_protocol::engine::{CLOCK_STEP_BACK_MS, energy_of, level_of_mean};
use gridpost_protocol::id::Seq;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::rule::Statistic;
use gridpost_protocol::summary::statistics_of;
use gridpost_protocol::time::UnixMillis;

/// Quantities of a device that are summed up.
pub const QUANTITIES_MAX: usize = 32;
/// An hour, in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// The hour of a device that is on.
#[derive(Clone, Debug, Default)]
pub struct Hour {
    on: Option<Begun>,
    of: Vec<OfQuantity>,
}

/// Where an hour begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its beginning.
    pub from: UnixMillis,
    /// The first record in it.
    pub first: Seq,
}

/// An hour that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub begun: Begun,
    /// What was measured, in the order in which quantities came.
    pub of: Vec<OfQuantity>,
}

/// What a record's time means for the hour.
#[derive(Debug)]
pub enum Turn {
    /// It belongs to the hour that is on.
    On,
    /// It belongs to an hour that is told: it is left out.
    Late,
    /// It is the first of another hour. The one before is over, if there was one.
    Begins(Begun, Option<Ended>),
}

/// One quantity in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfQuantity {
    /// Which.
    pub quantity: Quantity,
    /// How many readings.
    pub readings: u64,
    /// Readings that decide nothing (a fault, a calibration), and are not in the values.
    pub left_out: u64,
    /// What was found against any of those that are.
    pub quality: Quality,
    /// A bit for each minute in which there was a reading.
    minutes: u64,
    /// Of numbers, or of energies, each as often as `weight` counts it.
    sum: i128,
    weight: u64,
    min: Option<Milli>,
    max: Option<Milli>,
}

impl Hour {
    /// The hour as a restart finds it: what was read in it is to be taken again.
    #[must_use]
    pub const fn begun(begun: Option<Begun>) -> Self {
        Self { on: begun, of: Vec::new() }
    }

    /// To be asked for each record before what it says is taken.
    pub fn turn(&mut self, at: UnixMillis, seq: Seq) -> Turn {
        let from = UnixMillis(at.0.div_euclid(HOUR_MS).saturating_mul(HOUR_MS));
        if let Some(on) = self.on {
            if on.from == from {
                return Turn::On;
            }
            if at.0 < on.from.0 && at.0 >= on.from.0.saturating_sub(CLOCK_STEP_BACK_MS) {
                return Turn::Late;
            }
        }
        let begun = Begun { from, first: seq };
        let before = self.on.replace(begun);
        let of = std::mem::take(&mut self.of);
        Turn::Begins(begun, before.map(|begun| Ended { begun, of }))
    }

    /// Takes a reading of this hour.
    pub fn take(&mut self, at: UnixMillis, reading: &Reading) {
        let Some(one) = self.of(at, reading.quantity) else { return };
        if !reading.quality.decides() {
            one.left_out += 1;
            return;
        }
        one.count(at, 1, reading.quality);
        let energy = reading.quantity.averages_energy();
        one.sum += i128::from(if energy { energy_of(reading.value) } else { reading.value.0.into() });
        one.weight += 1;
        one.reach(reading.value);
    }

    /// Takes one value of a minute that begins at `at`, from so many readings.
    pub fn take_minute(
        &mut self,
        at: UnixMillis,
        quantity: Quantity,
        statistic: Statistic,
        readings: u32,
        quality: Quality,
        value: Milli,
    ) {
        let Some(one) = self.of(at, quantity) else { return };
        // A quantity's minute comes as several values; its readings are counted with the first.
        let is_first = statistics_of(quantity).first() == Some(&statistic);
        if !quality.decides() {
            one.left_out += if is_first { readings.into() } else { 0 };
            return;
        }
        one.count(at, if is_first { readings } else { 0 }, quality);
        let (times, value_sum) = match statistic {
            Statistic::EnergyMean => (readings, energy_of(value)),
            Statistic::Mean => (readings, value.0.into()),
            Statistic::Last => (1, value.0.into()),
            _ => (0, 0),
        };
        one.sum += i128::from(value_sum) * i128::from(times);
        one.weight += u64::from(times);
        if statistic != Statistic::Mean {
            one.reach(value);
        }
    }

    fn of(&mut self, at: UnixMillis, quantity: Quantity) -> Option<&mut OfQuantity> {
        let on = self.on?;
        if !(on.from.0..on.from.0.saturating_add(HOUR_MS)).contains(&at.0) {
            return None;
        }
        let known = self.of.iter().position(|one| one.quantity == quantity);
        if known.is_none() {
            if self.of.len() == QUANTITIES_MAX {
                return None;
            }
            self.of.push(OfQuantity {
                quantity,
                readings: 0,
                left_out: 0,
                quality: Quality::GOOD,
                minutes: 0,
                sum: 0,
                weight: 0,
                min: None,
                max: None,
            });
        }
        let index = known.unwrap_or(self.of.len() - 1);
        self.of.get_mut(index)
    }
}

impl OfQuantity {
    fn count(&mut self, at: UnixMillis, readings: u32, quality: Quality) {
        self.readings += u64::from(readings);
        self.quality = self.quality.with(quality);
        self.minutes |= 1 << at.0.rem_euclid(HOUR_MS).div_euclid(MINUTE_MS);
    }

    fn reach(&mut self, value: Milli) {
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    /// In how many of the hour's minutes something was measured, in percent.
    #[must_use]
    pub fn capture_percent(&self) -> u32 {
        self.minutes.count_ones() * 100 / 60
    }

    /// The statistics that say something of this quantity, as of a minute. Of percentiles, each of its minute, the mean and the extremes.
    pub fn values(&self) -> impl Iterator<Item = (Statistic, Milli)> {
        let statistics = match statistics_of(self.quantity) {
            [Statistic::Last] => &[Statistic::Mean, Statistic::Min, Statistic::Max],
            statistics => statistics,
        };
        statistics.iter().filter_map(|statistic| {
            let value = match statistic {
                Statistic::Min => self.min?,
                Statistic::Max => self.max?,
                _ if self.weight == 0 => return None,
                Statistic::EnergyMean => level_of_mean(self.sum, self.weight),
                // A mean of 32-bit numbers is one too.
                _ => Milli((self.sum / i128::from(self.weight)) as i32),
            };
            Some((*statistic, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_795_485_600_000;

    fn reading(quantity: Quantity, value: i32) -> Reading {
        Reading { quantity, value: Milli(value), quality: Quality::GOOD }
    }

    /// Takes one, and gives the hour that it ends.
    fn take(hour: &mut Hour, at: i64, seq: u64, reading: &Reading) -> Option<Ended> {
        let at = UnixMillis(at);
        let ended = match hour.turn(at, Seq(seq)) {
            Turn::Begins(_, ended) => ended,
            Turn::On => None,
            Turn::Late => return None,
        };
        hour.take(at, reading);
        ended
    }

    fn values(one: &OfQuantity) -> Vec<(Statistic, i32)> {
        one.values().map(|(statistic, value)| (statistic, value.0)).collect()
    }

    #[test]
    fn an_hour_is_told_with_what_was_measured_and_how_much_of_it() {
        let mut hour = Hour::default();
        for minute in 0..45 {
            let level = if minute % 2 == 0 { 80_000 } else { 20_000 };
            let at = BEGAN + minute * MINUTE_MS;
            assert!(take(&mut hour, at, 1, &reading(Quantity::LAeq, level)).is_none());
            take(&mut hour, at, 1, &reading(Quantity::Temperature, 20_000 + i32::try_from(minute).unwrap()));
        }
        let broken = Reading { quality: Quality::FAULT, ..reading(Quantity::LAeq, 140_000) };
        take(&mut hour, BEGAN + 50 * MINUTE_MS, 2, &broken);
        let ended = take(&mut hour, BEGAN + 2 * HOUR_MS, 3, &reading(Quantity::LAeq, 0)).unwrap();
        assert_eq!(ended.begun, Begun { from: UnixMillis(BEGAN), first: Seq(1) });
        let [noise, warmth] = &ended.of[..] else { panic!("{ended:?}") };
        assert_eq!((noise.capture_percent(), noise.readings, noise.left_out), (75, 45, 1));
        assert_eq!(values(noise), [(Statistic::EnergyMean, 77_085)]);
        assert_eq!(
            values(warmth),
            [(Statistic::Mean, 20_022), (Statistic::Min, 20_000), (Statistic::Max, 20_044)]
        );
    }

    #[test]
    fn minutes_make_the_hour_that_their_readings_would_have_made() {
        let mut hour = Hour::default();
        let (at, good) = (UnixMillis(BEGAN), Quality::GOOD);
        hour.turn(at, Seq(1));
        for (minute, level) in [(0, 80_000), (1, 20_000)] {
            let at = at.plus(minute * MINUTE_MS);
            hour.take_minute(at, Quantity::LAeq, Statistic::EnergyMean, 60, good, Milli(level));
            hour.take_minute(at, Quantity::L90, Statistic::Last, 60, good, Milli(level / 2));
            for (statistic, value) in [(Statistic::Mean, 5), (Statistic::Min, 3), (Statistic::Max, 8)] {
                hour.take_minute(at, Quantity::Temperature, statistic, 10, good, Milli(value));
            }
        }
        let Turn::Begins(_, Some(ended)) = hour.turn(at.plus(HOUR_MS), Seq(9)) else { panic!() };
        assert_eq!(
            (ended.of[0].readings, values(&ended.of[0])),
            (120, vec![(Statistic::EnergyMean, 76_990)])
        );
        assert_eq!(values(&ended.of[1])[0], (Statistic::Mean, 25_000));
        assert_eq!(
            (ended.of[2].readings, values(&ended.of[2])),
            (20, vec![(Statistic::Mean, 5), (Statistic::Min, 3), (Statistic::Max, 8)])
        );
        assert!(ended.of.iter().all(|one| one.capture_percent() == 3));
    }

    #[test]
    fn a_straggler_is_left_out_and_a_clock_that_was_set_back_begins_anew() {
        let mut hour = Hour::default();
        let one = reading(Quantity::Temperature, 1);
        take(&mut hour, BEGAN, 1, &one);
        assert!(take(&mut hour, BEGAN - 1, 2, &one).is_none());
        assert!(matches!(hour.turn(UnixMillis(BEGAN - 60_000), Seq(3)), Turn::Late));
        let ended = take(&mut hour, BEGAN - 60_001, 4, &one).unwrap();
        assert_eq!((ended.begun.from.0, ended.of[0].readings), (BEGAN, 1));
        let again = take(&mut hour, BEGAN, 5, &one).unwrap();
        assert_eq!(again.begun, Begun { from: UnixMillis(BEGAN - HOUR_MS), first: Seq(4) });
    }
}
