//! What a node measures with: one thin file a sensor, over the bus traits of `embedded-hal-async`.
//!
//! Each driver proves that the right chip answers before it is believed, converts with a pure function that a test can call, and
//! returns an error rather than a value that cannot be.

pub mod scripted_level;
pub mod sound_level;
pub mod tmp105;

use core::fmt;

use embassy_time::Duration;
use gridpost_protocol::reading::Reading;

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
}

impl fmt::Display for SensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no answer",
            Self::Bus => "bus error",
            Self::WrongChip => "another chip answers",
            Self::Implausible => "implausible value",
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

/// Something that gives a reading again and again.
#[allow(async_fn_in_trait, reason = "a node runs on one thread; nothing needs to be Send")]
pub trait Sensor {
    /// Its name in log lines.
    const NAME: &'static str;

    /// The time between two readings.
    fn interval(&self) -> Duration;

    /// Measures.
    ///
    /// # Errors
    /// When there is no value that can be believed.
    async fn read(&mut self) -> Result<Reading, SensorError>;
}
