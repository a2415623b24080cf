//! PMS7003 and PMSA003I: particulate matter (Plantower, data manuals "PMS7003" V2.5 and "PMSA003I" V2.6).
//!
//! Both tell the same 32 bytes: the one on a UART at 9600 baud when asked (passive mode), the other on I2C. By hand: the crates for them
//! block. Values are those "under atmospheric environment"; specified to 500 ug/m3 for PM2.5, to 1000 at the most.

use embassy_time::{Duration, with_timeout};
use embedded_hal_async::i2c::I2c;
use embedded_io_async::{Read, Write};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};

use super::{Readings, Sensor, SensorError};

/// Bytes of a frame: two to begin, two for the length, thirteen words, two for the sum.
pub const FRAME_BYTES: usize = 32;
/// What a frame begins with: its mark, and the number of bytes that follow.
const BEGIN: [u8; 4] = [0x42, 0x4d, 0x00, 0x1c];
/// Until its fan has brought a steady stream of air (data manual: "stable data should be got at least 30 seconds after wakeup").
const WARM_UP: Duration = Duration::from_secs(30);
/// "Speak when asked", with its sum.
const PASSIVE: [u8; 7] = [0x42, 0x4d, 0xe1, 0x00, 0x00, 0x01, 0x70];
/// "Speak", with its sum.
const READ: [u8; 7] = [0x42, 0x4d, 0xe2, 0x00, 0x00, 0x01, 0x71];
/// It answers within a second; its answer takes 34 ms.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// More bytes than this without a frame in them are no frame: another device, or another baud rate.
const NOISE_BYTES_MAX: usize = 4 * FRAME_BYTES;
/// Reads until nothing is left of what came unasked; more than any UART's buffer holds.
const DRAINS_MAX: usize = 4096;
const ADDRESS: u8 = 0x12;
/// The effective range for PM2.5, in ug/m3; beyond it is told with its quality.
const SPECIFIED: u16 = 500;
/// Values are whole ug/m3, so clean air is the same for hours; half a day is not.
const STUCK_AFTER: Duration = Duration::from_secs(12 * 3600);

/// PM1, PM2.5 and PM10 of a frame.
///
/// # Errors
/// [`SensorError::Corrupt`] when it is no frame or its sum is wrong; [`SensorError::Implausible`] when larger particles weigh less than
/// the smaller ones that they take in.
pub fn convert(frame: &[u8; FRAME_BYTES]) -> Result<Readings, SensorError> {
    let word = |index: usize| u16::from_be_bytes([frame[index], frame[index + 1]]);
    let sum: u16 = frame[..FRAME_BYTES - 2].iter().map(|byte| u16::from(*byte)).sum();
    if frame[..4] != BEGIN || word(FRAME_BYTES - 2) != sum {
        return Err(SensorError::Corrupt);
    }
    // Words 4 to 6 of the data.
    let (pm1, pm25, pm10) = (word(10), word(12), word(14));
    if pm1 > pm25 || pm25 > pm10 {
        return Err(SensorError::Implausible);
    }
    let reading = |quantity, value: u16| {
        let quality = if value > SPECIFIED { Quality::OVERLOAD } else { Quality::GOOD };
        Reading { quantity, value: Milli(i32::from(value) * 1_000), quality }
    };
    let three = [(Quantity::Pm1, pm1), (Quantity::Pm25, pm25), (Quantity::Pm10, pm10)];
    Ok(three.into_iter().map(|(quantity, value)| reading(quantity, value)).collect())
}

/// A PMS7003 on a UART.
#[derive(Debug)]
pub struct Pms7003<U> {
    uart: U,
    interval: Duration,
    passive: bool,
}

impl<U: Read + Write> Pms7003<U> {
    /// A sensor on a UART at 9600 baud, 8N1, to be read every `interval`, at least a second. Nothing is sent yet.
    pub const fn new(uart: U, interval: Duration) -> Self {
        Self { uart, interval, passive: false }
    }

    /// Takes what came unasked: a frame of before would pass for the answer, and each answer for the next one.
    async fn drain(&mut self) -> Result<(), SensorError> {
        let mut left = [0; FRAME_BYTES];
        for _ in 0..DRAINS_MAX {
            match with_timeout(Duration::MIN, self.uart.read(&mut left)).await {
                Err(_) => return Ok(()),
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(SensorError::Bus),
            }
        }
        Err(SensorError::Corrupt)
    }

    async fn ask(&mut self) -> Result<[u8; FRAME_BYTES], SensorError> {
        if !self.passive {
            self.uart.write_all(&PASSIVE).await.map_err(|_| SensorError::Bus)?;
            self.passive = true;
        }
        self.drain().await?;
        self.uart.write_all(&READ).await.map_err(|_| SensorError::Bus)?;
        let mut frame = [0; FRAME_BYTES];
        let mut filled = 0;
        for _ in 0..NOISE_BYTES_MAX {
            let mut byte = [0];
            if self.uart.read(&mut byte).await.map_err(|_| SensorError::Bus)? == 0 {
                return Err(SensorError::Bus);
            }
            frame[filled] = byte[0];
            filled += 1;
            if filled <= BEGIN.len() && frame[..filled] != BEGIN[..filled] {
                // What came may be a beginning all the same.
                filled = usize::from(byte[0] == BEGIN[0]);
                frame[0] = byte[0];
            }
            if filled == FRAME_BYTES {
                return Ok(frame);
            }
        }
        Err(SensorError::Corrupt)
    }
}

impl<U: Read + Write> Sensor for Pms7003<U> {
    const NAME: &'static str = "pms7003";

    fn warm_up(&self) -> Duration {
        WARM_UP
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        Some(STUCK_AFTER)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let asked = with_timeout(PATIENCE, self.ask()).await.unwrap_or(Err(SensorError::Absent));
        let read = asked.and_then(|frame| convert(&frame));
        self.passive &= read.is_ok();
        read
    }
}

/// A PMSA003I on I2C; it has one address, 0x12.
#[derive(Debug)]
pub struct Pmsa003i<B> {
    bus: B,
    interval: Duration,
}

impl<B: I2c> Pmsa003i<B> {
    /// A sensor on a bus, to be read every `interval`, at least a second.
    pub const fn new(bus: B, interval: Duration) -> Self {
        Self { bus, interval }
    }
}

impl<B: I2c> Sensor for Pmsa003i<B> {
    const NAME: &'static str = "pmsa003i";

    fn warm_up(&self) -> Duration {
        WARM_UP
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        Some(STUCK_AFTER)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let mut frame = [0; FRAME_BYTES];
        self.bus.read(ADDRESS, &mut frame).await.map_err(|error| SensorError::from_i2c(&error))?;
        convert(&frame)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use embassy_futures::block_on;
    use embedded_hal_async::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
    use embedded_io_async::ErrorType;

    use super::*;

    fn frame(pm1: u16, pm25: u16, pm10: u16) -> [u8; FRAME_BYTES] {
        let mut frame = [0; FRAME_BYTES];
        frame[..4].copy_from_slice(&BEGIN);
        for (index, word) in [7, 11, 13, pm1, pm25, pm10, 1200, 300, 60, 8, 2, 1].into_iter().enumerate() {
            frame[4 + 2 * index..6 + 2 * index].copy_from_slice(&u16::to_be_bytes(word));
        }
        let sum: u16 = frame[..30].iter().map(|byte| u16::from(*byte)).sum();
        frame[30..].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn values(readings: &Readings) -> Vec<(Quantity, i32, Quality)> {
        readings.iter().map(|reading| (reading.quantity, reading.value.0, reading.quality)).collect()
    }

    /// A line on which somebody answers.
    struct Line {
        /// There since before it was asked.
        left: Vec<u8>,
        /// Its answer.
        says: Vec<u8>,
        heard: Vec<u8>,
    }

    impl ErrorType for Line {
        type Error = core::convert::Infallible;
    }

    impl Read for Line {
        async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
            let asked = self.heard.ends_with(&READ);
            let from = if self.left.is_empty() && asked { &mut self.says } else { &mut self.left };
            if from.is_empty() {
                core::future::pending::<()>().await;
            }
            buffer[0] = from.remove(0);
            Ok(1)
        }
    }

    impl Write for Line {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
            self.heard.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    fn pms7003(says: &[u8]) -> (Result<Readings, SensorError>, Vec<u8>) {
        pms7003_after(&[], says)
    }

    fn pms7003_after(left: &[u8], says: &[u8]) -> (Result<Readings, SensorError>, Vec<u8>) {
        let line = Line { left: left.to_vec(), says: says.to_vec(), heard: Vec::new() };
        let mut sensor = Pms7003::new(line, Duration::from_secs(1));
        let read = block_on(sensor.read());
        (read, sensor.uart.heard)
    }

    #[test]
    fn a_frame_is_found_behind_what_is_none() {
        let mut says = std::vec![0x00, 0x42, 0x42, 0x4d, 0x01];
        says.extend(frame(6, 9, 501));
        let (read, heard) = pms7003(&says);
        let expected = [
            (Quantity::Pm1, 6_000, Quality::GOOD),
            (Quantity::Pm25, 9_000, Quality::GOOD),
            (Quantity::Pm10, 501_000, Quality::OVERLOAD),
        ];
        assert_eq!(values(&read.unwrap()), expected);
        assert_eq!(heard, [PASSIVE, READ].concat());
    }

    #[test]
    fn a_frame_of_before_is_not_the_answer() {
        let left = [frame(90, 91, 92), frame(93, 94, 95)].concat();
        let (read, _) = pms7003_after(&left, &frame(6, 9, 10));
        assert_eq!(values(&read.unwrap())[0], (Quantity::Pm1, 6_000, Quality::GOOD));
    }

    #[test]
    fn silence_noise_and_damage_are_told_apart() {
        assert_eq!(pms7003(&[]).0, Err(SensorError::Absent));
        assert_eq!(pms7003(&[0x42; 200]).0, Err(SensorError::Corrupt));
        let mut damaged = frame(6, 9, 10);
        damaged[12] ^= 1;
        assert_eq!(pms7003(&damaged).0, Err(SensorError::Corrupt));
        assert_eq!(pms7003(&frame(6, 5, 10)).0, Err(SensorError::Implausible));
    }

    #[test]
    fn the_same_bytes_come_over_i2c() {
        let read = |transaction| {
            let mut bus = Mock::new(&[transaction]);
            let read = block_on(Pmsa003i::new(bus.clone(), Duration::from_secs(1)).read());
            bus.done();
            read
        };
        let good = read(Transaction::read(ADDRESS, frame(1, 2, 3).to_vec()));
        assert_eq!(values(&good.unwrap())[1], (Quantity::Pm25, 2_000, Quality::GOOD));
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let absent = read(Transaction::read(ADDRESS, std::vec![0; FRAME_BYTES]).with_error(nobody));
        assert_eq!(absent, Err(SensorError::Absent));
        assert_eq!(read(Transaction::read(ADDRESS, std::vec![0xff; FRAME_BYTES])), Err(SensorError::Corrupt));
    }
}
