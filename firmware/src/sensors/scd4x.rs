//! SCD40, SCD41: carbon dioxide on I2C (Sensirion, data sheet "SCD4x", version 1.7).
//!
//! Over the crate `scd4x`. A new value every 5 s; 0 to 40 000 ppm are put out, 400 to 5000 ppm (SCD40: 2000) are specified.
//! Its temperature and humidity are those inside its own warm case and are not passed on.

use embassy_time::Duration;
use embedded_hal_async::delay::DelayNs;
use embedded_hal_async::i2c::I2c;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use scd4x::{Error, Scd4xAsync};

use super::{Readings, Sensor, SensorError};

/// What can be, in ppm: no air on earth has less than 300 (data sheet, table 1: put out up to 40 000).
const PLAUSIBLE: core::ops::RangeInclusive<u16> = 300..=40_000;
/// Where the accuracy is specified (data sheet, table 1).
const SPECIFIED: core::ops::RangeInclusive<u16> = 400..=5_000;
/// Its noise is some ppm: the same for so long is none.
const STUCK_AFTER: Duration = Duration::from_secs(3600);

/// An SCD4x on a bus; it has one address, 0x62.
#[derive(Debug)]
pub struct Scd4x<B, D> {
    chip: Scd4xAsync<B, D>,
    interval: Duration,
    started: bool,
}

impl<B: I2c, D: DelayNs> Scd4x<B, D> {
    /// A sensor on a bus, to be read every `interval`, at least 5 s. Nothing is sent yet.
    pub fn new(bus: B, delay: D, interval: Duration) -> Self {
        Self { chip: Scd4xAsync::new(bus, delay), interval, started: false }
    }

    async fn measure(&mut self) -> Result<Readings, SensorError> {
        if !self.started {
            // It may still measure from before a restart of the node, and then obeys nothing but this.
            self.chip.stop_periodic_measurement().await.map_err(said)?;
            self.chip.serial_number().await.map_err(said)?;
            self.chip.start_periodic_measurement().await.map_err(said)?;
            self.started = true;
            return Ok(Readings::new());
        }
        if !self.chip.data_ready_status().await.map_err(said)? {
            return Ok(Readings::new());
        }
        convert(self.chip.sensor_output().await.map_err(said)?.co2)
    }
}

fn said<E: embedded_hal_async::i2c::Error>(error: Error<E>) -> SensorError {
    match error {
        Error::I2c(error) => SensorError::from_i2c(&error),
        Error::Crc => SensorError::Corrupt,
        Error::SelfTest | Error::NotAllowed | Error::Internal => SensorError::Broken,
    }
}

/// A reading of the chip's word, which is in ppm (data sheet, section 3.6.2). Beyond what is specified it says so.
///
/// # Errors
/// [`SensorError::Implausible`] below 300 ppm and above 40 000.
pub fn convert(co2: u16) -> Result<Readings, SensorError> {
    if !PLAUSIBLE.contains(&co2) {
        return Err(SensorError::Implausible);
    }
    let quality = match co2 {
        _ if SPECIFIED.contains(&co2) => Quality::GOOD,
        _ if co2 < *SPECIFIED.start() => Quality::UNDER_RANGE,
        _ => Quality::OVERLOAD,
    };
    let value = Milli(i32::from(co2) * 1_000);
    Ok(Readings::from_array([Reading { quantity: Quantity::Co2, value, quality }]))
}

impl<B: I2c, D: DelayNs> Sensor for Scd4x<B, D> {
    const NAME: &'static str = "scd4x";

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        Some(STUCK_AFTER)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let result = self.measure().await;
        self.started &= result.is_ok();
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

    const ADDRESS: u8 = 0x62;

    fn read(times: usize, expected: &[Vec<Transaction>]) -> Result<Readings, SensorError> {
        let mut bus = Mock::new(&expected.concat());
        let mut sensor = Scd4x::new(bus.clone(), NoopDelay::new(), Duration::from_secs(60));
        for _ in 1..times {
            assert_eq!(block_on(sensor.read()), Ok(Readings::new()), "nothing yet");
        }
        let result = block_on(sensor.read());
        bus.done();
        result
    }

    fn asked(command: u16, answer: &[u8]) -> Vec<Transaction> {
        let write = Transaction::write(ADDRESS, command.to_be_bytes().to_vec());
        vec![write, Transaction::read(ADDRESS, answer.to_vec())]
    }

    /// With the data sheet's serial number (section 3.9.2).
    fn start() -> Vec<Transaction> {
        let stop = vec![Transaction::write(ADDRESS, vec![0x3f, 0x86])];
        let serial = asked(0x3682, &[0xf8, 0x96, 0x31, 0x9f, 0x07, 0xc2, 0x3b, 0xbe, 0x89]);
        [stop, serial, vec![Transaction::write(ADDRESS, vec![0x21, 0xb1])]].concat()
    }

    fn ready() -> Vec<Transaction> {
        let word = [0x80, 0x06];
        asked(0xe4b8, &[word[0], word[1], sensirion_i2c::crc8::calculate(&word)])
    }

    #[test]
    fn the_example_of_the_data_sheet_is_500_ppm() {
        let waiting = asked(0xe4b8, &[0x80, 0x00, 0xa2]);
        let measured = asked(0xec05, &[0x01, 0xf4, 0x33, 0x66, 0x67, 0xa2, 0x5e, 0xb9, 0x3c]);
        let readings = read(3, &[start(), waiting, ready(), measured]).unwrap();
        assert_eq!(readings[..], [super::super::good(Quantity::Co2, 500_000)]);
    }

    #[test]
    fn a_wrong_checksum_is_no_value() {
        let measured = asked(0xec05, &[0x01, 0xf5, 0x33, 0x66, 0x67, 0xa2, 0x5e, 0xb9, 0x3c]);
        assert_eq!(read(2, &[start(), ready(), measured]), Err(SensorError::Corrupt));
    }

    #[test]
    fn an_absent_sensor_is_told() {
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let stop = Transaction::write(ADDRESS, vec![0x3f, 0x86]).with_error(nobody);
        assert_eq!(read(1, &[vec![stop]]), Err(SensorError::Absent));
    }

    #[test]
    fn beyond_what_is_specified_it_says_so() {
        assert_eq!(convert(0), Err(SensorError::Implausible), "what it says before its first measurement");
        assert_eq!(convert(299), Err(SensorError::Implausible));
        assert_eq!(convert(399).unwrap()[0].quality, Quality::UNDER_RANGE);
        assert_eq!(convert(5_000).unwrap()[0].quality, Quality::GOOD);
        assert_eq!(convert(5_001).unwrap()[0].quality, Quality::OVERLOAD);
        assert_eq!(convert(u16::MAX), Err(SensorError::Implausible));
    }
}
