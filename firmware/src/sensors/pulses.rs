//! Instruments that tell by pulses: a cup anemometer and a tipping bucket.
//!
//! The board counts edges, debounced ([`Debounce`]), in a counter that wraps; here counts become values.

use embassy_time::{Duration, Instant};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Milli;

use super::{Readings, Sensor, SensorError, good};

/// A counter of pulses that goes on by itself and wraps at 2^32.
pub trait PulseCounter {
    /// How many pulses there were, since whenever.
    fn count(&mut self) -> u32;
}

/// Tells pulses from the bouncing of a reed contact: for whoever counts edges in an interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    dead_us: u64,
    last_us: Option<u64>,
}

impl Debounce {
    /// Edges within this many microseconds of the last pulse are its bouncing.
    #[must_use]
    pub const fn new(dead_us: u64) -> Self {
        Self { dead_us, last_us: None }
    }

    /// Whether an edge at this time is a pulse.
    pub fn edge(&mut self, now_us: u64) -> bool {
        let is_pulse = self.last_us.is_none_or(|last| now_us.saturating_sub(last) >= self.dead_us);
        if is_pulse {
            self.last_us = Some(now_us);
        }
        is_pulse
    }
}

/// The gust of WMO No. 8: a mean over three seconds. An anemometer is read as often, so that a window's greatest value is its gust.
pub const GUST: Duration = Duration::from_secs(3);
/// More wind than this no cup anemometer outlives, in mm/s (75 m/s).
const WIND_MAX: i64 = 75_000;
/// More rain than this never fell, in thousandths of a millimetre a minute (38 mm in one minute, Barot 1970; WMO).
const RAIN_MAX_A_MINUTE: i64 = 40_000;

/// Wind speed, in thousandths of m/s, of so many pulses in so many milliseconds, at `mm_per_pulse` mm of wind run a pulse.
///
/// # Errors
/// [`SensorError::Implausible`] above 75 m/s: a broken cable counts the mains.
pub fn wind(pulses: u32, over_ms: u64, mm_per_pulse: u32) -> Result<Milli, SensorError> {
    let run = i64::from(pulses).saturating_mul(i64::from(mm_per_pulse)).saturating_mul(1000);
    let speed = run / i64::try_from(over_ms).unwrap_or(i64::MAX).max(1);
    if speed > WIND_MAX {
        return Err(SensorError::Implausible);
    }
    // Below WIND_MAX.
    Ok(Milli(speed as i32))
}

/// Rain, in thousandths of mm, of so many tips in so many milliseconds, of a bucket that tips at `um_per_tip` thousandths of mm.
///
/// # Errors
/// [`SensorError::Implausible`] above 40 mm a minute: somebody cleans the funnel, or the contact is broken.
pub fn rain(tips: u32, over_ms: u64, um_per_tip: u32) -> Result<Milli, SensorError> {
    let fell = i64::from(tips).saturating_mul(i64::from(um_per_tip));
    let minutes = i64::try_from(over_ms.div_ceil(60_000)).unwrap_or(i64::MAX).max(1);
    if fell / minutes > RAIN_MAX_A_MINUTE {
        return Err(SensorError::Implausible);
    }
    Ok(Milli(i32::try_from(fell).unwrap_or(i32::MAX)))
}

/// Pulses since the last read, and the time that they really took: a node that was busy reads late, and the pulses of four
/// seconds are no gust of three.
#[derive(Debug)]
struct Counted<C> {
    counter: C,
    last: Option<(u32, Instant)>,
}

impl<C: PulseCounter> Counted<C> {
    /// [`None`] at the first read, which only begins, and sooner than `shortest` after the last one: then a single pulse would be a
    /// storm, and it counts at the next read.
    fn since(&mut self, now: Instant, shortest: Duration) -> Option<(u32, u64)> {
        let count = self.counter.count();
        let Some((last, at)) = self.last else {
            self.last = Some((count, now));
            return None;
        };
        let took = now.saturating_duration_since(at);
        if took < shortest {
            return None;
        }
        self.last = Some((count, now));
        Some((count.wrapping_sub(last), took.as_millis()))
    }
}

/// A cup anemometer.
#[derive(Debug)]
pub struct Anemometer<C> {
    pulses: Counted<C>,
    mm_per_pulse: u32,
}

impl<C: PulseCounter> Anemometer<C> {
    /// With its data sheet's wind run, in mm a pulse: 2.4 km/h a pulse each second are 667.
    pub const fn new(counter: C, mm_per_pulse: u32) -> Self {
        Self { pulses: Counted { counter, last: None }, mm_per_pulse }
    }
}

impl<C: PulseCounter> Anemometer<C> {
    fn read_at(&mut self, now: Instant) -> Result<Readings, SensorError> {
        let Some((pulses, over_ms)) = self.pulses.since(now, GUST / 2) else { return Ok(Readings::new()) };
        let speed = wind(pulses, over_ms, self.mm_per_pulse)?;
        Ok(Readings::from_array([good(Quantity::WindSpeed, speed.0)]))
    }
}

impl<C: PulseCounter> Sensor for Anemometer<C> {
    const NAME: &'static str = "anemometer";

    fn interval(&self) -> Duration {
        GUST
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        self.read_at(Instant::now())
    }
}

/// A tipping bucket.
#[derive(Debug)]
pub struct TippingBucket<C> {
    pulses: Counted<C>,
    um_per_tip: u32,
    interval: Duration,
}

impl<C: PulseCounter> TippingBucket<C> {
    /// With its data sheet's rain a tip, in thousandths of mm (200 is common), to be read every `interval`.
    pub const fn new(counter: C, um_per_tip: u32, interval: Duration) -> Self {
        Self { pulses: Counted { counter, last: None }, um_per_tip, interval }
    }
}

impl<C: PulseCounter> TippingBucket<C> {
    fn read_at(&mut self, now: Instant) -> Result<Readings, SensorError> {
        let Some((tips, over_ms)) = self.pulses.since(now, Duration::MIN) else { return Ok(Readings::new()) };
        let fell = rain(tips, over_ms, self.um_per_tip)?;
        Ok(Readings::from_array([good(Quantity::Rain, fell.0)]))
    }
}

impl<C: PulseCounter> Sensor for TippingBucket<C> {
    const NAME: &'static str = "tipping-bucket";

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        self.read_at(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts(std::vec::Vec<u32>);

    impl PulseCounter for Counts {
        fn count(&mut self) -> u32 {
            self.0.remove(0)
        }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    #[test]
    fn a_pulse_each_second_is_the_data_sheets_wind() {
        let mut sensor = Anemometer::new(Counts(std::vec![u32::MAX - 1, 1, 1, 400]), 667);
        assert_eq!(sensor.read_at(at(0)), Ok(Readings::new()), "the first read begins");
        let wind = |value| Ok(Readings::from_array([good(Quantity::WindSpeed, value)]));
        assert_eq!(sensor.read_at(at(3_000)), wind(667), "over the counter's end");
        assert_eq!(sensor.read_at(at(6_000)), wind(0), "a calm");
        assert_eq!(sensor.read_at(at(9_000)), Err(SensorError::Implausible), "89 m/s");
    }

    #[test]
    fn a_read_that_comes_late_or_early_makes_no_gust() {
        // Ten pulses a second all the time: 6.67 m/s.
        let mut sensor = Anemometer::new(Counts(std::vec![0, 80, 81, 120]), 667);
        let wind = Ok(Readings::from_array([good(Quantity::WindSpeed, 6_670)]));
        assert_eq!(sensor.read_at(at(0)), Ok(Readings::new()));
        assert_eq!(sensor.read_at(at(8_000)), wind, "five seconds late");
        assert_eq!(
            sensor.read_at(at(8_010)),
            Ok(Readings::new()),
            "catching up; a pulse in 10 ms is no storm"
        );
        assert_eq!(sensor.read_at(at(12_000)), wind, "and that pulse is not lost");
    }

    #[test]
    fn tips_are_rain() {
        let mut sensor = TippingBucket::new(Counts(std::vec![5, 8, 8, 300]), 200, Duration::from_secs(60));
        let rain = |value| Ok(Readings::from_array([good(Quantity::Rain, value)]));
        assert_eq!(sensor.read_at(at(0)), Ok(Readings::new()));
        assert_eq!(sensor.read_at(at(60_000)), rain(600));
        assert_eq!(sensor.read_at(at(120_000)), rain(0));
        assert_eq!(sensor.read_at(at(180_000)), Err(SensorError::Implausible), "58 mm in a minute");
    }

    #[test]
    fn a_contact_bounces_and_counts_once() {
        let mut contact = Debounce::new(20_000);
        let edges = [0, 100, 900, 19_999, 20_000, 20_300, 500_000, 400_000];
        let pulses = edges.into_iter().filter(|at| contact.edge(*at)).count();
        assert_eq!(pulses, 3);
    }

    #[test]
    fn the_ends_of_numbers_are_survived() {
        for (count, ms) in [(u32::MAX, 0), (u32::MAX, u64::MAX), (0, 0)] {
            let _ = (wind(count, ms, u32::MAX), rain(count, ms, u32::MAX));
        }
    }
}
