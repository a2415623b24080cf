//! A simulated street: what each kind of place measures, minute by minute, and how its time runs.
//!
//! The evening begins at 21:50 local time yesterday, ten minutes before the night limits, so that something happens soon:
//! an evening of ten minutes more, then the night with a pile driver, a bar, a flooded underpass and a hot container.

use embassy_time::{Duration, Instant};
use gridpost_firmware::sensors::{Readings, Sensor, SensorError};
use gridpost_firmware::wall::WallClock;
use gridpost_protocol::pack::SiteKind;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

/// How much faster time runs on the street: an hour in 15 s.
pub const COMPRESSION: u32 = 240;
/// The local time at which the street begins.
pub const BEGINS: (i8, i8) = (21, 50);
/// A script is over after so many minutes, and begins anew.
const ROUND_MINUTES: u32 = 90;

/// One quantity at one place: a value for each minute at which it changes.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// What is measured.
    pub quantity: Quantity,
    /// The time between two readings on the street, in seconds.
    pub interval_s: u32,
    /// How far readings vary around the value, in thousandths of the unit.
    pub variation: i32,
    /// From this minute on: this value, in whole units. The first is at minute 0.
    pub values: &'static [(u32, f32)],
}

/// What a device at a place of this kind measures; `noise` tells noise nodes from the others there.
#[must_use]
pub fn script(kind: SiteKind, model: &str) -> Script {
    let level = |values| Script { quantity: Quantity::LAeq, interval_s: 1, variation: 1_500, values };
    if model.contains("heat") {
        return Script {
            quantity: Quantity::Temperature,
            interval_s: 5,
            variation: 100,
            values: &[(0, 31.0), (6, 33.6), (10, 36.0), (20, 38.0), (30, 33.0), (40, 30.0)],
        };
    }
    if model.contains("dust") {
        return Script {
            quantity: Quantity::Pm10,
            interval_s: 60,
            variation: 4_000,
            values: &[(0, 60.0), (20, 130.0), (35, 190.0), (60, 90.0)],
        };
    }
    if model.contains("tilt") {
        let values: &[_] =
            if kind == SiteKind::Road { &[(0, 0.4)] } else { &[(0, 0.3), (18, 14.0), (38, 0.5)] };
        return Script { quantity: Quantity::Tilt, interval_s: 60, variation: 100, values };
    }
    if model.contains("vibration") {
        return Script {
            quantity: Quantity::Vibration,
            interval_s: 60,
            variation: 200,
            values: &[(0, 1.0), (50, 2.4), (60, 0.8)],
        };
    }
    if model.contains("VOC") {
        return Script {
            quantity: Quantity::Voc,
            interval_s: 60,
            variation: 20_000,
            values: &[(0, 180.0), (40, 700.0), (62, 210.0)],
        };
    }
    if model.contains("water") {
        let values: &[_] = if kind == SiteKind::Road {
            &[(0, 0.01), (44, 0.12), (52, 0.17), (60, 0.02)]
        } else {
            &[(0, 0.02), (8, 0.14), (11, 0.26), (26, 0.08), (34, 0.02)]
        };
        return Script { quantity: Quantity::WaterLevel, interval_s: 10, variation: 5, values };
    }
    match kind {
        SiteKind::Rail => level(&[(0, 52.0), (35, 57.0), (50, 51.0)]),
        SiteKind::School => level(&[(0, 38.0)]),
        SiteKind::Construction => level(&[(0, 49.0), (14, 71.5), (40, 48.0)]),
        SiteKind::Commercial => level(&[(0, 52.0), (12, 57.0), (30, 45.0), (55, 51.5), (70, 45.0)]),
        SiteKind::Industrial => level(&[(0, 50.0), (25, 58.0), (50, 49.0)]),
        SiteKind::Residential => level(&[(0, 46.0), (2, 58.5), (10, 41.0)]),
        SiteKind::Hospital => level(&[(0, 36.0), (45, 43.0), (60, 35.0)]),
        _ => level(&[(0, 62.0), (12, 53.0), (60, 56.5), (80, 52.0)]),
    }
}

/// A sensor that reads a script.
#[derive(Debug)]
pub struct StreetSensor {
    script: Script,
    began: Instant,
    noise: fastrand::Rng,
}

impl StreetSensor {
    /// A sensor; with the same seed it varies in the same way.
    #[must_use]
    pub fn new(script: Script, began: Instant, seed: u64) -> Self {
        Self { script, began, noise: fastrand::Rng::with_seed(seed) }
    }

    fn value(&self, street: Duration) -> f32 {
        let minute = (street.as_secs() / 60) as u32 % ROUND_MINUTES;
        self.script
            .values
            .iter()
            .take_while(|(from, _)| *from <= minute)
            .last()
            .map_or(0.0, |(_, value)| *value)
    }
}

impl Sensor for StreetSensor {
    const NAME: &'static str = "street";

    fn interval(&self) -> Duration {
        Duration::from_micros(u64::from(self.script.interval_s) * 1_000_000 / u64::from(COMPRESSION))
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let value = Milli::from_f32(self.value(self.began.elapsed() * COMPRESSION)).unwrap_or_default();
        let variation = self.noise.i32(-self.script.variation..=self.script.variation);
        Ok(Readings::from_array([Reading {
            quantity: self.script.quantity,
            value: Milli(value.0.saturating_add(variation)),
            quality: Quality::GOOD,
        }]))
    }
}

/// The street's clock: it knows the time, and the time runs faster.
#[derive(Clone, Copy, Debug)]
pub struct StreetClock {
    /// The street's time at [`StreetClock::began`].
    pub begins: UnixMillis,
    /// When the street began, on this machine.
    pub began: Instant,
}

impl WallClock for StreetClock {
    fn stamp(&self, _boot: u32, uptime: UptimeMillis) -> Stamp {
        let passed = uptime.0.saturating_sub(self.began.as_millis());
        let passed = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(i64::from(COMPRESSION));
        Stamp::Unix { at: self.begins.plus(passed), uncertainty_ms: 0 }
    }

    fn set(&mut self, _offset_ms: i64, _uncertainty_ms: u16) {
        // The gateway's time is not the street's.
    }
}
