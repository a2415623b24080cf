//! SPS30: particulate matter on I2C (Sensirion, data sheet "SPS30", version 1.0).
//!
//! The crates for it block, or lag behind; six commands by hand over Sensirion's own `sensirion-i2c`. A new value every
//! second; specified to 1000 ug/m3, for PM1 and PM2.5 to 10 ug/m3 or 10 %.

use embassy_time::Duration;
use embedded_hal_async::delay::DelayNs;
use embedded_hal_async::i2c::I2c;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use sensirion_i2c::i2c_async::{read_words_with_crc, write_command_u16};

use super::{Readings, Sensor, SensorError, from_sensirion};

const ADDRESS: u8 = 0x69;
/// Commands (data sheet, table 6).
const START: [u8; 5] = [0x00, 0x10, 0x03, 0x00, 0xac];
const STOP: u16 = 0x0104;
const DATA_READY: u16 = 0x0202;
const VALUES: u16 = 0x0300;
const PRODUCT_TYPE: u16 = 0xd002;
const VERSION: u16 = 0xd100;
const STATUS: u16 = 0xd206;
/// "00080000", with checksums.
const IS_SPS30: [u8; 12] = [0x30, 0x30, 0xf6, 0x30, 0x38, 0x4f, 0x30, 0x30, 0xf6, 0x30, 0x30, 0xf6];
/// From this firmware on there is a status register.
const HAS_STATUS: [u8; 2] = [2, 2];
/// Fan blocked, laser failed, fan speed out of range (data sheet, section 4.4).
const FAILED: u32 = 1 << 4 | 1 << 5 | 1 << 21;
/// How long the chip takes for its commands (data sheet, table 6: 20 ms at most).
const COMMAND_MS: u32 = 20;
/// The most that is specified, in ug/m3.
const SPECIFIED: f32 = 1_000.0;
/// More than that no counter of single particles tells apart, in ug/m3.
const PLAUSIBLE: f32 = 20_000.0;
/// Its floats jitter in the last digits as long as air passes.
const STUCK_AFTER: Duration = Duration::from_secs(600);

/// An SPS30 on a bus; it has one address, 0x69.
#[derive(Debug)]
pub struct Sps30<B, D> {
    bus: B,
    delay: D,
    interval: Duration,
    started: bool,
    has_status: bool,
}

impl<B: I2c, D: DelayNs> Sps30<B, D> {
    /// A sensor on a bus, to be read every `interval`, at least a second. Nothing is sent yet.
    pub const fn new(bus: B, delay: D, interval: Duration) -> Self {
        Self { bus, delay, interval, started: false, has_status: false }
    }

    async fn command(&mut self, command: u16) -> Result<(), SensorError> {
        write_command_u16(&mut self.bus, ADDRESS, command)
            .await
            .map_err(|error| SensorError::from_i2c(&error))
    }

    /// Words with their checksums: `N` is a multiple of 3.
    async fn ask<const N: usize>(&mut self, command: u16) -> Result<[u8; N], SensorError> {
        const { assert!(N.is_multiple_of(3)) };
        self.command(command).await?;
        let mut answer = [0; N];
        read_words_with_crc(&mut self.bus, ADDRESS, &mut answer).await.map_err(from_sensirion)?;
        Ok(answer)
    }

    async fn start(&mut self) -> Result<(), SensorError> {
        if self.ask::<12>(PRODUCT_TYPE).await? != IS_SPS30 {
            return Err(SensorError::WrongChip);
        }
        let [major, minor, _] = self.ask::<3>(VERSION).await?;
        self.has_status = [major, minor] >= HAS_STATUS;
        // It may measure since before a restart of the node, perhaps in its other format.
        self.command(STOP).await?;
        self.delay.delay_ms(COMMAND_MS).await;
        self.bus.write(ADDRESS, &START).await.map_err(|error| SensorError::from_i2c(&error))?;
        self.delay.delay_ms(COMMAND_MS).await;
        self.started = true;
        Ok(())
    }

    async fn measure(&mut self) -> Result<Readings, SensorError> {
        if !self.started {
            self.start().await?;
            return Ok(Readings::new());
        }
        if self.has_status {
            let [a, b, _, c, d, _] = self.ask::<6>(STATUS).await?;
            if u32::from_be_bytes([a, b, c, d]) & FAILED != 0 {
                return Err(SensorError::Broken);
            }
        }
        if self.ask::<3>(DATA_READY).await?[1] == 0 {
            return Ok(Readings::new());
        }
        // Of ten floats the first four: PM1, PM2.5, PM4, PM10. Reading may stop anywhere (data sheet, section 6.3).
        convert(&self.ask::<24>(VALUES).await?)
    }
}

/// PM1, PM2.5 and PM10 of the first four floats, with their checksums, which are not looked at (data sheet, section 4.3).
///
/// # Errors
/// [`SensorError::Implausible`] when one is negative, no number, or above 20 000 ug/m3, or less than that of smaller
/// particles, which it takes in.
pub fn convert(words: &[u8; 24]) -> Result<Readings, SensorError> {
    let at =
        |n: usize| f32::from_be_bytes([words[6 * n], words[6 * n + 1], words[6 * n + 3], words[6 * n + 4]]);
    let (pm1, pm25, pm4, pm10) = (at(0), at(1), at(2), at(3));
    // NaN is in no order.
    if !(0.0 <= pm1 && pm1 <= pm25 && pm25 <= pm4 && pm4 <= pm10 && pm10 <= PLAUSIBLE) {
        return Err(SensorError::Implausible);
    }
    let mut readings = Readings::new();
    for (quantity, value) in [(Quantity::Pm1, pm1), (Quantity::Pm25, pm25), (Quantity::Pm10, pm10)] {
        let quality = if value > SPECIFIED { Quality::OVERLOAD } else { Quality::GOOD };
        let value = Milli::from_f32(value).ok_or(SensorError::Implausible)?;
        // There is room for three.
        let _ = readings.push(Reading { quantity, value, quality });
    }
    Ok(readings)
}

impl<B: I2c, D: DelayNs> Sensor for Sps30<B, D> {
    const NAME: &'static str = "sps30";

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        Some(STUCK_AFTER.max(self.interval * 5))
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

    fn asked(command: u16, answer: &[u8]) -> Vec<Transaction> {
        let write = Transaction::write(ADDRESS, command.to_be_bytes().to_vec());
        vec![write, Transaction::read(ADDRESS, answer.to_vec())]
    }

    fn with_checksums(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks(2).flat_map(|w| [w[0], w[1], sensirion_i2c::crc8::calculate(w)]).collect()
    }

    fn values(of: [f32; 4]) -> Vec<u8> {
        with_checksums(&of.map(f32::to_be_bytes).concat())
    }

    fn start() -> Vec<Transaction> {
        let stop = Transaction::write(ADDRESS, vec![0x01, 0x04]);
        let start = Transaction::write(ADDRESS, START.to_vec());
        [asked(PRODUCT_TYPE, &IS_SPS30), asked(VERSION, &with_checksums(&[2, 2])), vec![stop, start]].concat()
    }

    fn status(bits: u32) -> Vec<Transaction> {
        asked(STATUS, &with_checksums(&bits.to_be_bytes()))
    }

    fn read(expected: &[Vec<Transaction>]) -> Result<Readings, SensorError> {
        let mut bus = Mock::new(&expected.concat());
        let mut sensor = Sps30::new(bus.clone(), NoopDelay::new(), Duration::from_secs(60));
        let mut result = block_on(sensor.read());
        if result == Ok(Readings::new()) {
            result = block_on(sensor.read());
        }
        bus.done();
        result
    }

    #[test]
    fn concentrations_come_out() {
        let ready = asked(DATA_READY, &[0x00, 0x01, 0xb0]);
        let measured = asked(VALUES, &values([8.5, 12.25, 15.0, 1_016.5]));
        let readings = read(&[start(), status(0), ready, measured]).unwrap();
        let told: Vec<_> = readings.iter().map(|r| (r.quantity, r.value.0, r.quality)).collect();
        assert_eq!(
            told,
            [
                (Quantity::Pm1, 8_500, Quality::GOOD),
                (Quantity::Pm25, 12_250, Quality::GOOD),
                (Quantity::Pm10, 1_016_500, Quality::OVERLOAD),
            ]
        );
    }

    #[test]
    fn a_blocked_fan_is_a_failure() {
        for bit in [4, 5, 21] {
            assert_eq!(read(&[start(), status(1 << bit)]), Err(SensorError::Broken));
        }
    }

    #[test]
    fn a_wrong_checksum_is_no_value() {
        let mut wrong = values([8.5, 12.25, 15.0, 16.5]);
        wrong[7] ^= 1;
        let ready = asked(DATA_READY, &[0x00, 0x01, 0xb0]);
        assert_eq!(read(&[start(), status(0), ready, asked(VALUES, &wrong)]), Err(SensorError::Corrupt));
    }

    #[test]
    fn absent_and_wrong_chips_are_told_apart() {
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let absent = Transaction::write(ADDRESS, vec![0xd0, 0x02]).with_error(nobody);
        assert_eq!(read(&[vec![absent]]), Err(SensorError::Absent));
        let other = asked(PRODUCT_TYPE, &with_checksums(b"SEN55\0\0\0"));
        assert_eq!(read(&[other]), Err(SensorError::WrongChip));
    }

    #[test]
    fn what_cannot_be_is_no_value() {
        let convert = |of| convert(values(of).as_slice().try_into().unwrap());
        assert!(convert([0.0; 4]).is_ok());
        for wrong in [
            [-1.0, 1.0, 1.0, 1.0],
            [f32::NAN, 1.0, 1.0, 1.0],
            [1.0, 1.0, f32::NAN, 1.0],
            [1.0, 1.0, 1.0, f32::INFINITY],
            [5.0, 4.0, 6.0, 7.0],
            [5.0, 6.0, 7.0, 20_001.0],
        ] {
            assert_eq!(convert(wrong), Err(SensorError::Implausible), "{wrong:?}");
        }
    }
}
