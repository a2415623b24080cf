//! TMP105 temperature sensor on I2C (Texas Instruments, SBOS284; compatible with the LM75).
//!
//! The crates that know the LM75 family read its nine bits in half degrees, blocking; this reads the TMP105's twelve in
//! sixteenths. Range -55 to +127.9 Cel, accurate to 2 Cel from -25 to +85.

use embassy_time::Duration;
use embedded_hal_async::i2c::I2c;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Milli;

use super::{Readings, Sensor, SensorError, good};

/// Registers of the chip (data sheet, table 2).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Register {
    Temperature = 0,
    Configuration = 1,
}

/// Configuration: twelve bits, everything else as after power-up (data sheet, table 5).
const TWELVE_BITS: u8 = 0b0110_0000;
/// The bits of the configuration that read back as they were written: not one-shot, which always reads as zero.
const READS_BACK: u8 = 0b0111_1111;
/// What the chip can measure, in thousandths of a degree.
const RANGE: core::ops::RangeInclusive<i32> = -55_000..=127_938;

/// A TMP105 on a bus.
#[derive(Debug)]
pub struct Tmp105<B> {
    bus: B,
    address: u8,
    interval: Duration,
    probed: bool,
}

impl<B: I2c> Tmp105<B> {
    /// A sensor at a bus address (7 bits), to be read every `interval`. Nothing is sent yet.
    pub const fn new(bus: B, address: u8, interval: Duration) -> Self {
        Self { bus, address, interval, probed: false }
    }

    /// Sets the resolution, and sees by reading it back that a TMP105 answers.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    pub async fn probe(&mut self) -> Result<(), SensorError> {
        let mut read = [0];
        self.bus
            .write(self.address, &[Register::Configuration as u8, TWELVE_BITS])
            .await
            .map_err(|error| SensorError::from_i2c(&error))?;
        self.bus
            .write_read(self.address, &[Register::Configuration as u8], &mut read)
            .await
            .map_err(|error| SensorError::from_i2c(&error))?;
        if read[0] & READS_BACK != TWELVE_BITS {
            return Err(SensorError::WrongChip);
        }
        self.probed = true;
        Ok(())
    }
}

/// Thousandths of a degree from the temperature register: a sixteenth of a degree a step, left-aligned.
///
/// # Errors
/// [`SensorError::Implausible`] when the low four bits are not zero, as they always are, or the value is out of range.
pub fn convert(raw: [u8; 2]) -> Result<Milli, SensorError> {
    let steps = i16::from_be_bytes(raw);
    if steps & 0x000f != 0 {
        return Err(SensorError::Implausible);
    }
    // 62.5 thousandths a step of 16, rounded half away from zero.
    let twice = i32::from(steps >> 4) * 125;
    let milli = (twice + twice.signum()) / 2;
    if RANGE.contains(&milli) { Ok(Milli(milli)) } else { Err(SensorError::Implausible) }
}

impl<B: I2c> Sensor for Tmp105<B> {
    const NAME: &'static str = "tmp105";

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        if !self.probed {
            self.probe().await?;
        }
        let mut raw = [0; 2];
        if let Err(error) = self.bus.write_read(self.address, &[Register::Temperature as u8], &mut raw).await
        {
            // It may have been unplugged: whoever answers next is asked who it is.
            self.probed = false;
            return Err(SensorError::from_i2c(&error));
        }
        Ok(Readings::from_array([good(Quantity::Temperature, convert(raw)?.0)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embassy_futures::block_on;
    use embedded_hal_async::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    const ADDRESS: u8 = 0x4d;

    fn sensor(expected: &[Transaction]) -> Tmp105<Mock> {
        Tmp105::new(Mock::new(expected), ADDRESS, Duration::from_secs(1))
    }

    fn probe() -> [Transaction; 2] {
        [Transaction::write(ADDRESS, vec![1, 0x60]), Transaction::write_read(ADDRESS, vec![1], vec![0x60])]
    }

    #[test]
    fn degrees_come_out_to_the_sixteenth() {
        // Data sheet, table 4.
        assert_eq!(convert([0x7f, 0xf0]), Ok(Milli(127_938)));
        assert_eq!(convert([0x19, 0x00]), Ok(Milli(25_000)));
        assert_eq!(convert([0x00, 0x40]), Ok(Milli(250)));
        assert_eq!(convert([0xff, 0xc0]), Ok(Milli(-250)));
        assert_eq!(convert([0xc9, 0x00]), Ok(Milli(-55_000)));
    }

    #[test]
    fn what_the_chip_cannot_say_is_no_value() {
        assert_eq!(convert([0xff, 0xff]), Err(SensorError::Implausible), "a bus that floats high");
        assert_eq!(convert([0x80, 0x00]), Err(SensorError::Implausible), "-128 degrees");
    }

    #[test]
    fn a_reading_is_believed_after_the_chip_proved_itself() {
        let [write, read] = probe();
        let mut sensor = sensor(&[write, read, Transaction::write_read(ADDRESS, vec![0], vec![0x23, 0x10])]);
        let reading = block_on(sensor.read()).unwrap()[0];
        assert_eq!((reading.quantity, reading.value), (Quantity::Temperature, Milli(35_063)));
        sensor.bus.done();
    }

    #[test]
    fn an_absent_and_a_wrong_chip_are_told_apart() {
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let mut absent = sensor(&[Transaction::write(ADDRESS, vec![1, 0x60]).with_error(nobody)]);
        assert_eq!(block_on(absent.read()), Err(SensorError::Absent));
        absent.bus.done();
        let mut wrong = sensor(&[
            Transaction::write(ADDRESS, vec![1, 0x60]),
            Transaction::write_read(ADDRESS, vec![1], vec![0x00]),
        ]);
        assert_eq!(block_on(wrong.read()), Err(SensorError::WrongChip));
        wrong.bus.done();
    }

    #[test]
    fn a_sensor_that_went_away_is_probed_again() {
        let [write, read] = probe();
        let [write_again, read_again] = probe();
        let gone = Transaction::write_read(ADDRESS, vec![0], vec![0, 0]).with_error(ErrorKind::Bus);
        let back = Transaction::write_read(ADDRESS, vec![0], vec![0x19, 0x00]);
        let mut sensor = sensor(&[write, read, gone, write_again, read_again, back]);
        assert_eq!(block_on(sensor.read()), Err(SensorError::Bus));
        assert_eq!(block_on(sensor.read()).unwrap()[0].value, Milli(25_000));
        sensor.bus.done();
    }
}
