//! The I2C controllers, as bus masters, a byte at a time.
//!
//! The emulated controller has carried a command out by the time the register write returns, so there is nothing to
//! wait for: the asynchronous trait is the blocking one under another name, and the number of polls is bounded
//! ([`COMMAND_POLLS_MAX`]) in case a controller does not answer.

use embedded_hal::i2c::{ErrorKind, I2c, NoAcknowledgeSource, Operation};

use crate::registers::{I2C, Registers};

/// The number of I2C buses.
pub const BUSES: usize = 14;

/// How often a controller is asked whether it is done. A byte takes 9 bit times, 90 us at 100 kHz.
const COMMAND_POLLS_MAX: u32 = 100_000;

const FIRST_BUS: usize = 0x80;
const BUS_LENGTH: usize = 0x80;

const FUNCTION: usize = 0x00;
const MASTER_ON: u32 = 1 << 0;
/// Which events the controller reports at all; those not asked for are cleared unseen.
const EVENTS_WANTED: usize = 0x0c;
const EVENTS: usize = 0x10;
const COMMAND: usize = 0x14;
/// The byte to send in bits 0 to 7, the byte received in bits 8 to 15.
const BYTE: usize = 0x20;

mod command {
    pub(super) const START: u32 = 1 << 0;
    pub(super) const SEND: u32 = 1 << 1;
    pub(super) const RECEIVE: u32 = 1 << 3;
    pub(super) const RECEIVE_LAST: u32 = 1 << 4;
    pub(super) const STOP: u32 = 1 << 5;
}

mod event {
    pub(super) const ACKNOWLEDGED: u32 = 1 << 0;
    pub(super) const NOT_ACKNOWLEDGED: u32 = 1 << 1;
    pub(super) const RECEIVED: u32 = 1 << 2;
    pub(super) const ARBITRATION_LOST: u32 = 1 << 3;
    pub(super) const STOPPED: u32 = 1 << 4;
    pub(super) const ABNORMAL: u32 = 1 << 5;
    pub(super) const ALL: u32 = 0x3f;
}

/// Why a transfer did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum I2cError {
    /// Nobody answered to the address: is the device wired, powered, and at this address?
    NoDevice,
    /// The device refused a byte.
    Refused,
    /// Another master won the bus.
    ArbitrationLost,
    /// A start or stop came at a wrong moment: noise, or a device that holds the lines.
    Bus,
    /// The controller did not finish a command.
    Timeout,
}

impl embedded_hal::i2c::Error for I2cError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDevice => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Refused => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data),
            Self::ArbitrationLost => ErrorKind::ArbitrationLoss,
            Self::Bus => ErrorKind::Bus,
            Self::Timeout => ErrorKind::Other,
        }
    }
}

/// One I2C bus.
pub struct I2cBus {
    registers: Registers,
}

/// Switches all buses on. To be called once.
pub(crate) fn buses() -> [I2cBus; BUSES] {
    core::array::from_fn(|index| {
        let registers = I2C.part(FIRST_BUS + index * BUS_LENGTH, BUS_LENGTH);
        registers.write(FUNCTION, MASTER_ON);
        registers.write(EVENTS_WANTED, event::ALL);
        I2cBus { registers }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Write,
    Read,
}

impl I2cBus {
    /// Gives the controller a command and waits for one of the events that end it.
    fn execute(&mut self, command: u32, ends_with: u32) -> Result<u32, I2cError> {
        self.registers.write(EVENTS, event::ALL);
        self.registers.write(COMMAND, command);
        for _ in 0..COMMAND_POLLS_MAX {
            let events = self.registers.read(EVENTS);
            if events & event::ARBITRATION_LOST != 0 {
                return Err(I2cError::ArbitrationLost);
            }
            if events & event::ABNORMAL != 0 {
                return Err(I2cError::Bus);
            }
            if events & ends_with != 0 {
                return Ok(events);
            }
        }
        Err(I2cError::Timeout)
    }

    fn send(&mut self, byte: u8, command: u32, refused: I2cError) -> Result<(), I2cError> {
        self.registers.write(BYTE, u32::from(byte));
        let events = self.execute(command, event::ACKNOWLEDGED | event::NOT_ACKNOWLEDGED)?;
        if events & event::NOT_ACKNOWLEDGED != 0 { Err(refused) } else { Ok(()) }
    }

    fn start(&mut self, address: u8, direction: Direction) -> Result<(), I2cError> {
        let address = address << 1 | u8::from(direction == Direction::Read);
        self.send(address, command::START | command::SEND, I2cError::NoDevice)
    }

    fn receive(&mut self, last: bool) -> Result<u8, I2cError> {
        let command = if last { command::RECEIVE | command::RECEIVE_LAST } else { command::RECEIVE };
        self.execute(command, event::RECEIVED)?;
        Ok(self.registers.read(BYTE).to_le_bytes()[1])
    }

    /// The operations without the stop condition. Neighbours in one direction share one start, and only the last byte of
    /// neighbouring reads is not acknowledged.
    fn transfer(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        let mut direction = None;
        let mut rest = operations;
        while let Some((operation, following)) = rest.split_first_mut() {
            let wanted = match operation {
                Operation::Read(_) => Direction::Read,
                Operation::Write(_) => Direction::Write,
            };
            if direction != Some(wanted) {
                self.start(address, wanted)?;
                direction = Some(wanted);
            }
            match operation {
                Operation::Write(bytes) => {
                    bytes.iter().try_for_each(|&byte| self.send(byte, command::SEND, I2cError::Refused))?;
                }
                Operation::Read(buffer) => {
                    let mut left = buffer.len() + neighbouring_reads(following);
                    for byte in buffer.iter_mut() {
                        left -= 1;
                        *byte = self.receive(left == 0)?;
                    }
                }
            }
            rest = following;
        }
        Ok(())
    }
}

/// How many bytes the reads at the beginning of `operations` ask for.
fn neighbouring_reads(operations: &[Operation<'_>]) -> usize {
    operations
        .iter()
        .map_while(|operation| match operation {
            Operation::Read(buffer) => Some(buffer.len()),
            Operation::Write(_) => None,
        })
        .sum()
}

impl embedded_hal::i2c::ErrorType for I2cBus {
    type Error = I2cError;
}

impl I2c for I2cBus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        let transferred = self.transfer(address, operations);
        // The bus is let go of in any case; what went wrong first is what the caller wants to know.
        let stopped = self.execute(command::STOP, event::STOPPED).map(drop);
        transferred.and(stopped)
    }
}

impl embedded_hal_async::i2c::I2c for I2cBus {
    async fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        I2c::transaction(self, address, operations)
    }
}
