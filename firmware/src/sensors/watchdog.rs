//! Watches one sensor: what it says is believed, left out, or a fault that the district is told about.
//!
//! - [`FAILURES_BEFORE_FAULT`] failures in a row are a fault of their kind, and so is failing more than a third of the time;
//!   [`READS_BEFORE_WORKING`] good reads in a row end it: a loose plug does not make an event each second.
//! - A sensor that answers and has nothing new for [`STALE_INTERVALS`] intervals is stale.
//! - A value that stays the same to the last digit for longer than the sensor can is stuck, and is no reading.
//! - What a good sensor says passes; after a start the first good read of a sensor that failed before it is told.
//!
//! No I/O, and no clock: time comes with what was read.

use embassy_time::Duration;
use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality};
use gridpost_protocol::time::UptimeMillis;
use heapless::Vec;

use super::{READINGS_MAX, Readings, SensorError};

/// So many failures in a row are a fault.
pub const FAILURES_BEFORE_FAULT: u8 = 3;
/// A good read makes up for half a failure, so that a bus that works every other time does not pass for a good one.
const FAILURE_WEIGHT: u8 = 2;
/// So many good reads in a row end it.
pub const READS_BEFORE_WORKING: u8 = 5;
/// A sensor is to have something new within so many of its intervals.
pub const STALE_INTERVALS: u32 = 10;

/// What to do with what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What may be believed.
    pub readings: Readings,
    /// What the gateway is to be told, again and again until [`Watchdog::told`].
    pub tell: Option<State>,
}

/// How a sensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Works,
    /// It does not.
    Fails(FaultKind),
}

/// The value that a quantity has had, and since when.
type Same = (Quantity, Milli, UptimeMillis);

/// Watches one sensor.
#[derive(Clone, Debug)]
pub struct Watchdog {
    stale_after: Duration,
    /// What was told; nothing of this start yet, when it failed before.
    told: Option<State>,
    /// [`FAILURE_WEIGHT`] for each failure, less one for each good read.
    failures: u8,
    good: u8,
    newest: Option<UptimeMillis>,
    same: Vec<Same, READINGS_MAX>,
}

fn since(then: UptimeMillis, now: UptimeMillis) -> Duration {
    Duration::from_millis(now.0.saturating_sub(then.0))
}

impl Watchdog {
    /// For a sensor that is read at this interval; `failed` when it was told to fail before the start.
    #[must_use]
    pub const fn new(interval: Duration, failed: bool) -> Self {
        let stale_after = Duration::from_ticks(interval.as_ticks().saturating_mul(STALE_INTERVALS as u64));
        let told = if failed { None } else { Some(State::Works) };
        Self { stale_after, told, failures: 0, good: 0, newest: None, same: Vec::new() }
    }

    /// Judges what was read. `stuck_after` says for how long a quantity may stay the same.
    pub fn judge(
        &mut self,
        now: UptimeMillis,
        read: Result<Readings, SensorError>,
        stuck_after: impl Fn(Quantity) -> Option<Duration>,
    ) -> Verdict {
        let mut readings = match read {
            Ok(readings) => readings,
            Err(error) => return Verdict { tell: self.failed(error.into()), ..Verdict::default() },
        };
        if readings.is_empty() {
            let newest = *self.newest.get_or_insert(now);
            let stale = since(newest, now) > self.stale_after;
            let tell = if stale { self.fault(FaultKind::Stale) } else { None };
            return Verdict { tell, ..Verdict::default() };
        }
        self.newest = Some(now);
        if readings.iter().any(|reading| reading.quality.has(Quality::FAULT)) {
            // It says so itself; what it said is kept, and decides nothing.
            let tell = self.failed(FaultKind::Broken);
            return Verdict { readings, tell };
        }
        let mut stuck = false;
        readings.retain(|reading| {
            let held = self.hold(now, reading.quantity, reading.value);
            let is_stuck = stuck_after(reading.quantity).is_some_and(|longest| held > longest);
            stuck |= is_stuck;
            !is_stuck
        });
        let tell = if stuck { self.fault(FaultKind::Stuck) } else { self.worked() };
        Verdict { readings, tell }
    }

    /// For how long the quantity has had this value.
    fn hold(&mut self, now: UptimeMillis, quantity: Quantity, value: Milli) -> Duration {
        match self.same.iter_mut().find(|(of, ..)| *of == quantity) {
            Some((_, before, at)) if *before == value => since(*at, now),
            Some(place) => {
                *place = (quantity, value, now);
                Duration::MIN
            }
            None => {
                // As many as a sensor gives.
                let _ = self.same.push((quantity, value, now));
                Duration::MIN
            }
        }
    }

    /// What was to be told is kept.
    pub const fn told(&mut self, state: State) {
        self.told = Some(state);
    }

    fn failed(&mut self, kind: FaultKind) -> Option<State> {
        const FAULT: u8 = FAILURES_BEFORE_FAULT * FAILURE_WEIGHT;
        self.failures = self.failures.saturating_add(FAILURE_WEIGHT).min(FAULT);
        self.good = 0;
        if self.failures < FAULT {
            return None;
        }
        self.fault(kind)
    }

    fn fault(&mut self, kind: FaultKind) -> Option<State> {
        self.good = 0;
        self.tell(State::Fails(kind))
    }

    fn worked(&mut self) -> Option<State> {
        self.failures = self.failures.saturating_sub(1);
        self.good = self.good.saturating_add(1);
        match self.told {
            Some(State::Fails(_)) if self.good < READS_BEFORE_WORKING => None,
            Some(State::Fails(_)) => {
                self.failures = 0;
                self.tell(State::Works)
            }
            _ => self.tell(State::Works),
        }
    }

    fn tell(&self, state: State) -> Option<State> {
        (self.told != Some(state)).then_some(state)
    }
}

impl From<SensorError> for FaultKind {
    fn from(error: SensorError) -> Self {
        match error {
            SensorError::Absent => Self::Absent,
            SensorError::Bus => Self::Bus,
            SensorError::WrongChip => Self::WrongChip,
            SensorError::Implausible => Self::Implausible,
            SensorError::Corrupt => Self::Corrupt,
            SensorError::Broken => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::good;

    const MINUTE: Duration = Duration::from_secs(60);

    fn degrees(value: i32) -> Result<Readings, SensorError> {
        Ok(Readings::from_array([good(Quantity::Temperature, value)]))
    }

    struct Bench {
        dog: Watchdog,
        now: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self { dog: Watchdog::new(Duration::from_secs(1), false), now: 0 }
        }

        /// A second later.
        fn judge(&mut self, read: Result<Readings, SensorError>) -> Verdict {
            self.now += 1;
            self.dog.judge(UptimeMillis(self.now * 1000), read, |_| Some(MINUTE))
        }

        /// A second later, and what is to be told is kept.
        fn read(&mut self, read: Result<Readings, SensorError>) -> (usize, Option<State>) {
            let verdict = self.judge(read);
            if let Some(state) = verdict.tell {
                self.dog.told(state);
            }
            (verdict.readings.len(), verdict.tell)
        }
    }

    #[test]
    fn failures_in_a_row_are_a_fault_and_good_reads_in_a_row_end_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.read(degrees(2)), (1, None), "nobody thinks that it does not work");
        assert_eq!(bench.read(Err(SensorError::Bus)), (0, None));
        assert_eq!(bench.read(Err(SensorError::Bus)), (0, None));
        assert_eq!(bench.read(Err(SensorError::Absent)), (0, Some(State::Fails(FaultKind::Absent))));
        assert_eq!(bench.read(Err(SensorError::Absent)), (0, None), "said once");
        for value in 1..i32::from(READS_BEFORE_WORKING) {
            assert_eq!(bench.read(degrees(value)), (1, None), "believed, and not yet over");
        }
        assert_eq!(bench.read(degrees(99)), (1, Some(State::Works)));
    }

    #[test]
    fn a_sensor_that_failed_before_a_start_is_told_to_work() {
        let mut bench = Bench { dog: Watchdog::new(Duration::from_secs(1), true), now: 0 };
        assert_eq!(bench.read(Err(SensorError::Bus)), (0, None));
        assert_eq!(bench.read(degrees(1)), (1, Some(State::Works)));
        assert_eq!(bench.read(degrees(2)), (1, None));
    }

    #[test]
    fn a_loose_plug_does_not_make_an_event_each_second() {
        let mut bench = Bench::new();
        let mut told = 0;
        for second in 0..1000 {
            let read = if second % 4 == 3 { degrees(second) } else { Err(SensorError::Bus) };
            told += usize::from(bench.read(read).1.is_some());
        }
        assert_eq!(told, 1);
    }

    #[test]
    fn what_could_not_be_kept_is_told_again() {
        let mut bench = Bench::new();
        for _ in 1..FAILURES_BEFORE_FAULT {
            bench.read(Err(SensorError::Bus));
        }
        let fails = Some(State::Fails(FaultKind::Bus));
        assert_eq!(bench.judge(Err(SensorError::Bus)).tell, fails);
        assert_eq!(bench.read(Err(SensorError::Bus)).1, fails, "the flash failed");
        assert_eq!(bench.read(Err(SensorError::Bus)).1, None);
        for value in 1..i32::from(READS_BEFORE_WORKING) {
            bench.read(degrees(value));
        }
        assert_eq!(bench.judge(degrees(5)).tell, Some(State::Works));
        assert_eq!(bench.read(degrees(6)).1, Some(State::Works));
    }

    #[test]
    fn a_bus_that_fails_every_other_time_is_a_fault() {
        let mut bench = Bench::new();
        let mut told = Vec::<_, 8>::new();
        for second in 0..60 {
            let read = if second % 2 == 1 { degrees(second) } else { Err(SensorError::Bus) };
            told.extend(bench.read(read).1);
        }
        assert_eq!(told, [State::Fails(FaultKind::Bus)]);
    }

    #[test]
    fn a_seldom_failure_is_none() {
        let mut bench = Bench::new();
        for second in 0..1000 {
            let read = if second % 4 == 0 { Err(SensorError::Corrupt) } else { degrees(second) };
            assert_eq!(bench.read(read).1, None);
        }
    }

    #[test]
    fn a_value_that_stays_the_same_for_too_long_is_no_reading() {
        let mut bench = Bench::new();
        for _ in 0..61 {
            assert_eq!(bench.read(degrees(20_000)).0, 1);
        }
        assert_eq!(bench.read(degrees(20_000)), (0, Some(State::Fails(FaultKind::Stuck))));
        assert_eq!(bench.read(degrees(20_000)), (0, None));
        for value in 1..i32::from(READS_BEFORE_WORKING) {
            assert_eq!(bench.read(degrees(value)), (1, None));
        }
        assert_eq!(bench.read(degrees(77)).1, Some(State::Works));
    }

    #[test]
    fn a_sensor_that_never_has_anything_new_is_stale() {
        let mut bench = Bench::new();
        for _ in 0..=STALE_INTERVALS {
            assert_eq!(bench.read(Ok(Readings::new())), (0, None));
        }
        assert_eq!(bench.read(Ok(Readings::new())), (0, Some(State::Fails(FaultKind::Stale))));
    }

    #[test]
    fn what_a_sensor_says_against_itself_is_kept_and_told() {
        let mut bench = Bench::new();
        let mut reading = good(Quantity::LAeq, 1);
        reading.quality = Quality::FAULT;
        for _ in 1..FAILURES_BEFORE_FAULT {
            assert_eq!(bench.read(Ok(Readings::from_array([reading]))), (1, None));
        }
        let told = bench.read(Ok(Readings::from_array([reading])));
        assert_eq!(told, (1, Some(State::Fails(FaultKind::Broken))));
    }
}
