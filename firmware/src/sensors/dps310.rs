//! DPS310: air pressure on I2C (Infineon, data sheet "DPS310", version 1.2).
//!
//! By hand: the crates for it block. One measurement of temperature and one of pressure a read, each on command, with 16-fold
//! oversampling; 300 to 1200 hPa.

use embassy_time::Duration;
use embedded_hal_async::delay::DelayNs;
use embedded_hal_async::i2c::I2c;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Milli;

use super::{Readings, Sensor, SensorError, good};

/// Registers (data sheet, section 8).
mod register {
    pub(super) const PRESSURE: u8 = 0x00;
    pub(super) const TEMPERATURE: u8 = 0x03;
    pub(super) const PRESSURE_CONFIG: u8 = 0x06;
    pub(super) const TEMPERATURE_CONFIG: u8 = 0x07;
    pub(super) const MEASURE: u8 = 0x08;
    pub(super) const CONFIG: u8 = 0x09;
    pub(super) const PRODUCT: u8 = 0x0d;
    pub(super) const COEFFICIENTS: u8 = 0x10;
    pub(super) const COEFFICIENT_SOURCE: u8 = 0x28;
}

/// Product and revision.
const IS_DPS310: u8 = 0x10;
/// 16-fold, of the sensor whose coefficients these are (bit 7 of the source register).
const OVERSAMPLE_16: u8 = 0x04;
/// Results of more than 8-fold oversampling are shifted (section 8.6).
const SHIFT_BOTH: u8 = 0x0c;
const MEASURE_PRESSURE: u8 = 0x01;
const MEASURE_TEMPERATURE: u8 = 0x02;
const TEMPERATURE_READY: u8 = 1 << 5;
const PRESSURE_READY: u8 = 1 << 4;
/// The scale factor of 16-fold oversampling (table 9).
const SCALE: f64 = 253_952.0;
/// 16-fold takes 27.6 ms (table 16).
const MEASURE_MS: u32 = 30;
/// What it can measure, in hundredths of hPa.
const RANGE_PA: core::ops::RangeInclusive<f64> = 30_000.0..=120_000.0;
/// It resolves 0.5 Pa, and no air is so still.
const STUCK_AFTER: Duration = Duration::from_secs(1800);

/// The coefficients of one chip (section 8.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coefficients {
    c0: i32,
    c1: i32,
    c00: i32,
    c10: i32,
    c01: i32,
    c11: i32,
    c20: i32,
    c21: i32,
    c30: i32,
}

/// A number of so many bits, in two's complement.
const fn signed(raw: u32, bits: u32) -> i32 {
    (raw << (32 - bits)).cast_signed() >> (32 - bits)
}

impl Coefficients {
    /// Of the eighteen registers from 0x10 on.
    #[must_use]
    pub fn decode(raw: &[u8; 18]) -> Self {
        let b = |index: usize| u32::from(raw[index]);
        let word = |index: usize| signed(b(index) << 8 | b(index + 1), 16);
        Self {
            c0: signed(b(0) << 4 | b(1) >> 4, 12),
            c1: signed((b(1) & 0x0f) << 8 | b(2), 12),
            c00: signed(b(3) << 12 | b(4) << 4 | b(5) >> 4, 20),
            c10: signed((b(5) & 0x0f) << 16 | b(6) << 8 | b(7), 20),
            c01: word(8),
            c11: word(10),
            c20: word(12),
            c21: word(14),
            c30: word(16),
        }
    }

    /// The pressure, in thousandths of hPa, of two results of 24 bits (section 4.9.1).
    ///
    /// # Errors
    /// [`SensorError::Implausible`] outside of 300 to 1200 hPa.
    pub fn pressure(&self, pressure: [u8; 3], temperature: [u8; 3]) -> Result<Milli, SensorError> {
        let raw = |[a, b, c]: [u8; 3]| {
            f64::from(signed(u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c), 24)) / SCALE
        };
        let (p, t) = (raw(pressure), raw(temperature));
        let c = |coefficient: i32| f64::from(coefficient);
        let pascal = c(self.c00)
            + p * (c(self.c10) + p * (c(self.c20) + p * c(self.c30)))
            + t * c(self.c01)
            + t * p * (c(self.c11) + p * c(self.c21));
        if !RANGE_PA.contains(&pascal) {
            return Err(SensorError::Implausible);
        }
        // Thousandths of hPa are tenths of Pa; within an i32.
        Ok(Milli(libm::round(pascal * 10.0) as i32))
    }
}

/// A DPS310 on a bus, at 0x77 or 0x76.
#[derive(Debug)]
pub struct Dps310<B, D> {
    bus: B,
    delay: D,
    address: u8,
    interval: Duration,
    coefficients: Option<Coefficients>,
}

impl<B: I2c, D: DelayNs> Dps310<B, D> {
    /// A sensor on a bus, to be read every `interval`. Nothing is sent yet.
    pub const fn new(bus: B, delay: D, address: u8, interval: Duration) -> Self {
        Self { bus, delay, address, interval, coefficients: None }
    }

    async fn get<const N: usize>(&mut self, register: u8) -> Result<[u8; N], SensorError> {
        let mut bytes = [0; N];
        self.bus
            .write_read(self.address, &[register], &mut bytes)
            .await
            .map_err(|error| SensorError::from_i2c(&error))?;
        Ok(bytes)
    }

    async fn set(&mut self, register: u8, value: u8) -> Result<(), SensorError> {
        self.bus.write(self.address, &[register, value]).await.map_err(|error| SensorError::from_i2c(&error))
    }

    async fn begin(&mut self) -> Result<Coefficients, SensorError> {
        if self.get::<1>(register::PRODUCT).await? != [IS_DPS310] {
            return Err(SensorError::WrongChip);
        }
        let coefficients = Coefficients::decode(&self.get(register::COEFFICIENTS).await?);
        let [source] = self.get(register::COEFFICIENT_SOURCE).await?;
        self.set(register::PRESSURE_CONFIG, OVERSAMPLE_16).await?;
        self.set(register::TEMPERATURE_CONFIG, OVERSAMPLE_16 | source & 0x80).await?;
        self.set(register::CONFIG, SHIFT_BOTH).await?;
        Ok(coefficients)
    }

    async fn measure(&mut self, what: u8, ready: u8, result: u8) -> Result<[u8; 3], SensorError> {
        self.set(register::MEASURE, what).await?;
        self.delay.delay_ms(MEASURE_MS).await;
        let [status] = self.get(register::MEASURE).await?;
        if status & ready == 0 {
            return Err(SensorError::Broken);
        }
        self.get(result).await
    }

    async fn pressure(&mut self) -> Result<Milli, SensorError> {
        let coefficients = match self.coefficients {
            Some(known) => known,
            None => {
                let begun = self.begin().await?;
                *self.coefficients.insert(begun)
            }
        };
        let temperature = self.measure(MEASURE_TEMPERATURE, TEMPERATURE_READY, register::TEMPERATURE).await?;
        let pressure = self.measure(MEASURE_PRESSURE, PRESSURE_READY, register::PRESSURE).await?;
        coefficients.pressure(pressure, temperature)
    }
}

impl<B: I2c, D: DelayNs> Sensor for Dps310<B, D> {
    const NAME: &'static str = "dps310";

    fn interval(&self) -> Duration {
        self.interval
    }

    fn stuck_after(&self, _: Quantity) -> Option<Duration> {
        Some(STUCK_AFTER.max(self.interval * 5))
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        let read = self.pressure().await;
        if read.is_err() {
            // It may have been unplugged: begin again.
            self.coefficients = None;
        }
        read.map(|value| Readings::from_array([good(Quantity::Pressure, value.0)]))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use embassy_futures::block_on;
    use embedded_hal_async::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::delay::NoopDelay;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    const ADDRESS: u8 = 0x77;
    /// Of the size that chips have: c0 205, c1 -258, c00 80469, c10 -52839, c01 -2747, c11 1196, c20 -9246, c21 121, c30 -1412.
    const COEFFICIENTS: [u8; 18] = [
        0x0c, 0xde, 0xfe, 0x13, 0xa5, 0x5f, 0x31, 0x99, 0xf5, 0x45, 0x04, 0xac, 0xdb, 0xe2, 0x00, 0x79, 0xfa,
        0x7c,
    ];

    fn get(register: u8, answer: &[u8]) -> Transaction {
        Transaction::write_read(ADDRESS, std::vec![register], answer.to_vec())
    }

    fn set(register: u8, value: u8) -> Transaction {
        Transaction::write(ADDRESS, std::vec![register, value])
    }

    fn begin() -> Vec<Transaction> {
        std::vec![
            get(0x0d, &[0x10]),
            get(0x10, &COEFFICIENTS),
            get(0x28, &[0x80]),
            set(0x06, 0x04),
            set(0x07, 0x84),
            set(0x09, 0x0c),
        ]
    }

    fn read(expected: &[Vec<Transaction>]) -> Result<Readings, SensorError> {
        let mut bus = Mock::new(&expected.concat());
        let read =
            block_on(Dps310::new(bus.clone(), NoopDelay::new(), ADDRESS, Duration::from_secs(60)).read());
        bus.done();
        read
    }

    #[test]
    fn coefficients_come_out_of_their_bits() {
        let decoded = Coefficients::decode(&COEFFICIENTS);
        let expected = Coefficients {
            c0: 205,
            c1: -258,
            c00: 80_469,
            c10: -52_839,
            c01: -2_747,
            c11: 1_196,
            c20: -9_246,
            c21: 121,
            c30: -1_412,
        };
        assert_eq!(decoded, expected);
    }

    #[test]
    fn a_pressure_is_compensated() {
        // p = -100000 / 253952, t = 80000 / 253952; computed apart from this code, with 30 digits: 98920.42 Pa.
        let measured = std::vec![
            set(0x08, 0x02),
            get(0x08, &[0xe0]),
            get(0x03, &[0x01, 0x38, 0x80]),
            set(0x08, 0x01),
            get(0x08, &[0xd0]),
            get(0x00, &[0xfe, 0x79, 0x60]),
        ];
        let readings = read(&[begin(), measured]).unwrap();
        assert_eq!(readings[0].quantity, Quantity::Pressure);
        assert!((readings[0].value.0 - EXPECTED).abs() <= 1, "{:?}", readings[0].value);
    }

    /// Thousandths of hPa.
    const EXPECTED: i32 = 989204;

    #[test]
    fn another_chip_an_absent_one_and_one_that_never_gets_ready_are_told_apart() {
        assert_eq!(read(&[std::vec![get(0x0d, &[0x58])]]), Err(SensorError::WrongChip));
        let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        assert_eq!(read(&[std::vec![get(0x0d, &[0]).with_error(nobody)]]), Err(SensorError::Absent));
        let busy = std::vec![set(0x08, 0x02), get(0x08, &[0xc0])];
        assert_eq!(read(&[begin(), busy]), Err(SensorError::Broken));
    }

    #[test]
    fn what_cannot_be_is_no_value() {
        let coefficients = Coefficients::decode(&COEFFICIENTS);
        for raw in [[0x7f, 0xff, 0xff], [0x80, 0, 0]] {
            assert_eq!(coefficients.pressure(raw, [0; 3]), Err(SensorError::Implausible));
        }
    }
}
