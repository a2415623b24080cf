//! What a node measures with: one thin file a sensor, over the bus traits of `embedded-hal-async`.
//!
//! Each driver proves that the right chip answers before it is believed, converts with a pure function that a test can call, and
//! returns an error rather than a value that cannot be.

pub mod calibrating;
pub mod dps310;
pub mod pms;
pub mod pulses;
#[cfg(feature = "drivers")]
pub mod scd4x;
pub mod scripted_level;
#[cfg(feature = "drivers")]
pub mod sht4x;
pub mod sound_level;
#[cfg(feature = "drivers")]
pub mod sps30;
pub mod tmp105;
pub mod waiting;
pub mod watchdog;

use core::fmt;

use embassy_time::Duration;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};

/// How many values a sensor gives at once.
pub const READINGS_MAX: usize = 6;

/// What a sensor gave at once; nothing when it has nothing new.
pub type Readings = heapless::Vec<Reading, READINGS_MAX>;

/// Why there is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorError {
    /// Nobody answers at its address.
    Absent,
    /// The bus failed.
    Bus,
    /// What answers is not this sensor.
    WrongChip,
    /// The value is outside what the sensor can measure.
    Implausible,
    /// The checksum of what it sent is wrong.
    Corrupt,
    /// It says itself that it does not work.
    Broken,
}

impl fmt::Display for SensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no answer",
            Self::Bus => "bus error",
            Self::WrongChip => "another chip answers",
            Self::Implausible => "implausible value",
            Self::Corrupt => "wrong checksum",
            Self::Broken => "the sensor reports a failure",
        })
    }
}

impl core::error::Error for SensorError {}

impl SensorError {
    /// What a bus error means for a sensor.
    pub(crate) fn from_i2c<E: embedded_hal_async::i2c::Error>(error: &E) -> Self {
        use embedded_hal_async::i2c::ErrorKind;
        match error.kind() {
            ErrorKind::NoAcknowledge(_) => Self::Absent,
            _ => Self::Bus,
        }
    }
}

/// What the helper crate for Sensirion's words says, as ours.
#[cfg(feature = "drivers")]
pub(crate) fn from_sensirion<I: embedded_hal_async::i2c::I2c>(
    error: sensirion_i2c::i2c_async::Error<I>,
) -> SensorError {
    use sensirion_i2c::i2c_async::Error;
    match error {
        Error::I2cRead(error) | Error::I2cWrite(error) => SensorError::from_i2c(&error),
        Error::Crc => SensorError::Corrupt,
    }
}

/// A reading with nothing known against it.
pub(crate) const fn good(quantity: Quantity, value: i32) -> Reading {
    Reading { quantity, value: Milli(value), quality: Quality::GOOD }
}

/// Something that gives readings again and again.
#[allow(async_fn_in_trait, reason = "a node runs on one thread; nothing needs to be Send")]
pub trait Sensor {
    /// Its name in log lines.
    const NAME: &'static str;

    /// How long after its start its values mean nothing: so long it is not asked.
    fn warm_up(&self) -> Duration {
        Duration::MIN
    }

    /// The time between two readings.
    fn interval(&self) -> Duration;

    /// For how long a read may take before it is given up as [`SensorError::Bus`]: well past the slowest chip's start.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// For how long a value of it may stay the same to the last digit before it is taken to be stuck; `None` when any time
    /// is possible.
    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        None
    }

    /// Measures. What it gives is in the same order every time; nothing means that there is nothing new yet.
    ///
    /// # Errors
    /// When there is no value that can be believed.
    async fn read(&mut self) -> Result<Readings, SensorError>;
}
