//! SHT40, SHT41, SHT45: temperature and relative humidity on I2C (Sensirion, data sheet "SHT4x", version 6).
//!
//! Over the crate `sht4x`. Range -40 to +125 Cel, accurate to 0.2 Cel; 0 to 100 %, accurate to 1.8 %.

use embassy_time::Duration;
use embedded_hal_async::delay::DelayNs;
use embedded_hal_async::i2c::I2c;
use gridpost_protocol::quantity::Quantity;
use sht4x::{Address, Error, Precision, SensorData, Sht4xAsync};

use super::{Readings, Sensor, SensorError, good};

/// What the chip is specified for, in thousandths of a degree (data sheet, table 3).
const TEMPERATURE: core::ops::RangeInclusive<i32> = -40_000..=125_000;
/// A temperature that stays the same to 0.003 Cel for so long is none.
const STUCK_AFTER: Duration = Duration::from_secs(6 * 3600);

/// An SHT4x on a bus.
#[derive(Debug)]
pub struct Sht4x<B, D> {
    chip: Sht4xAsync<B, D>,
    delay: D,
    interval: Duration,
    probed: bool,
}

impl<B: I2c, D: DelayNs> Sht4x<B, D> {
    /// A sensor at a bus address, to be read every `interval`. Nothing is sent yet.
    pub fn new(bus: B, address: Address, delay: D, interval: Duration) -> Self {
        Self { chip: Sht4xAsync::new_with_address(bus, address), delay, interval, probed: false }
    }

    async fn measure(&mut self) -> Result<Readings, SensorError> {
        if !self.probed {
            // There is no register that names the chip: an answer with right checksums to "serial number" does.
            self.chip.serial_number(&mut self.delay).await.map_err(said)?;
            self.probed = true;
        }
        convert(self.chip.measure_raw(Precision::High, &mut self.delay).await.map_err(said)?)
    }
}

fn said<E: embedded_hal_async::i2c::Error>(error: Error<E>) -> SensorError {
    match error {
        Error::I2c(error) => SensorError::from_i2c(&error),
        Error::Crc => SensorError::Corrupt,
        _ => SensorError::Bus,
    }
}

/// Temperature and humidity of the chip's two words (data sheet, section 4.6): -45 + 175·S/65535 Cel and
/// -6 + 125·S/65535 %, of which what is beyond 0 and 100 is held there, as the data sheet says.
///
/// # Errors
/// [`SensorError::Implausible`] when the temperature is out of range, or a word is at an end, as on a dead bus.
pub fn convert(raw: SensorData) -> Result<Readings, SensorError> {
    let temperature = scaled(raw.temperature, 175) - 45_000;
    let humidity = (scaled(raw.humidity, 125) - 6_000).clamp(0, 100_000);
    let dead = [0, u16::MAX].iter().any(|end| raw.temperature == *end || raw.humidity == *end);
    if dead || !TEMPERATURE.contains(&temperature) {
        return Err(SensorError::Implausible);
    }
    Ok(Readings::from_array([good(Quantity::Temperature, temperature), good(Quantity::Humidity, humidity)]))
}

/// `span · raw / 65535` in thousandths, rounded.
fn scaled(raw: u16, span: u32) -> i32 {
    // 175_000 · 65_535 is beyond u32; the result is at most 175_000.
    ((u64::from(raw) * u64::from(span) * 1_000 + 32_767) / 65_535) as i32
}

impl<B: I2c, D: DelayNs> Sensor for Sht4x<B, D> {
    const NAME: &'static str = "sht4x";

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, quantity: Quantity) -> Option<Duration> {
        // In fog the humidity is at 100 % for days.
        (quantity == Quantity::Temperature).then_some(STUCK_AFTER)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let result = self.measure().await;
        self.probed &= result.is_ok();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embassy_futures::block_on;
    use embedded_hal_async::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::delay::NoopDelay;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
    use gridpost_protocol::reading::Milli;

    const ADDRESS: u8 = 0x44;

    fn read(expected: &[Transaction]) -> Result<Readings, SensorError> {
        let mut bus = Mock::new(expected);
        let every = Duration::from_secs(60);
        let mut sensor = Sht4x::new(bus.clone(), Address::Address0x44, NoopDelay::new(), every);
        let result = block_on(sensor.read());
        bus.done();
        result
    }

    fn probe() -> [Transaction; 2] {
        // The data sheet's example of a checksum: 0xbeef has 0x92.
        [
            Transaction::write(ADDRESS, vec![0x89]),
            Transaction::read(ADDRESS, vec![0xbe, 0xef, 0x92, 0xbe, 0xef, 0x92]),
        ]
    }

    fn measured(answer: [u8; 6]) -> [Transaction; 2] {
        [Transaction::write(ADDRESS, vec![0xfd]), Transaction::read(ADDRESS, answer.to_vec())]
    }

    #[test]
    fn both_values_come_from_one_measurement() {
        // 0x6667 is 25.003 Cel; 0xbeef is 87.2 %.
        let readings = read(&[probe(), measured([0x66, 0x67, 0xa2, 0xbe, 0xef, 0x92])].concat()).unwrap();
        assert_eq!(readings[0], good(Quantity::Temperature, 25_003));
        assert_eq!(readings[1], good(Quantity::Humidity, 87_231));
    }

    #[test]
    fn a_wrong_checksum_is_no_value() {
        let wrong = measured([0x66, 0x67, 0xa3, 0xbe, 0xef, 0x92]);
        assert_eq!(read(&[probe(), wrong].concat()), Err(SensorError::Corrupt));
        let wrong = measured([0x66, 0x67, 0xa2, 0xbe, 0xee, 0x92]);
        assert_eq!(read(&[probe(), wrong].concat()), Err(SensorError::Corrupt));
    }

    #[test]
    fn an_absent_sensor_is_told() {
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let expected = [Transaction::write(ADDRESS, vec![0x89]).with_error(nobody)];
        assert_eq!(read(&expected), Err(SensorError::Absent));
    }

    #[test]
    fn what_is_out_of_range_is_no_value_and_humidity_is_held() {
        let convert = |temperature, humidity| convert(SensorData { temperature, humidity });
        assert_eq!(convert(0x0000, 0x8000), Err(SensorError::Implausible));
        assert_eq!(convert(0xffff, 0x8000), Err(SensorError::Implausible));
        assert_eq!(convert(0x8000, 0xffff), Err(SensorError::Implausible));
        assert_eq!(convert(1_000, 0x8000), Err(SensorError::Implausible), "-42.3 Cel");
        assert_eq!(convert(64_000, 0x8000), Err(SensorError::Implausible), "125.9 Cel");
        assert_eq!(convert(0x8000, 0x0400).unwrap()[1].value, Milli(0), "-4 %");
        assert_eq!(convert(0x8000, 0xf000).unwrap()[1].value, Milli(100_000), "111 %");
    }
}
