//! The SPI NOR flash (W25Q32, 4 MiB) that the records live in.
//!
//! Erasing sets a sector to ones, writing only ever clears bits (so a word may be written again to clear more), and a
//! page takes one write command. A power cut leaves a sector half erased or a page half written: that is what the store
//! above is built for. Every command waits until the flash is ready, in a bounded number of polls.

use embassy_time::Instant;
use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use crate::registers::{SPI1, SPI1_DATA};

/// Bytes in the flash.
pub const CAPACITY: usize = 4 * 1024 * 1024;
/// Bytes that are erased at once.
pub const SECTOR_BYTES: usize = 4096;
/// Bytes that one write command takes, at most; they must lie in one page.
pub const PAGE_BYTES: usize = 256;
/// Writes are of whole words, as on most flash inside microcontrollers, so that a store made here fits there.
pub const WORD_BYTES: usize = 4;

/// The longest that the data sheet allows a sector erase to take is 400 ms; this is well past it.
const READY_MAX_MS: u64 = 1000;

const CONFIGURATION: usize = 0x00;
const ALLOW_WRITING: u32 = 1 << 16;
const CONTROL: usize = 0x10;
/// User mode: what is written to the data window is clocked out as it is.
const USER_MODE: u32 = 0b011;
const DESELECT: u32 = 1 << 2;

mod command {
    pub(super) const WRITE_ENABLE: u8 = 0x06;
    pub(super) const READ_STATUS: u8 = 0x05;
    pub(super) const READ: u8 = 0x03;
    pub(super) const PROGRAM_PAGE: u8 = 0x02;
    pub(super) const ERASE_SECTOR: u8 = 0x20;
    pub(super) const READ_ID: u8 = 0x9f;
}

/// Write in progress.
const STATUS_BUSY: u8 = 1 << 0;

/// Why the flash did not do as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// The caller asked for something that this flash does not have: outside of it, or not on a word or sector.
    Request(NorFlashErrorKind),
    /// The flash stayed busy: unplugged, unpowered, or worn out.
    Timeout,
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        Self::Request(kind)
    }
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Request(kind) => *kind,
            Self::Timeout => NorFlashErrorKind::Other,
        }
    }
}

/// The flash.
pub struct Flash(());

/// The chip is selected from the making of this to its end.
struct Selected;

impl Selected {
    fn new() -> Self {
        SPI1.write(CONTROL, USER_MODE);
        Self
    }

    fn send(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        words.iter().for_each(|word| SPI1_DATA.write(0, u32::from_le_bytes(*word)));
        rest.iter().for_each(|&byte| SPI1_DATA.write_byte(0, byte));
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        let (words, rest) = buffer.as_chunks_mut::<4>();
        words.iter_mut().for_each(|word| *word = SPI1_DATA.read(0).to_le_bytes());
        rest.iter_mut().for_each(|byte| *byte = SPI1_DATA.read_byte(0));
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        SPI1.write(CONTROL, USER_MODE | DESELECT);
    }
}

/// A command with the address it works at: three bytes, highest first.
fn addressed(command: u8, offset: u32) -> [u8; 4] {
    let [_, high, middle, low] = offset.to_be_bytes();
    [command, high, middle, low]
}

/// What is asked for lies in the flash and begins and ends at whole units.
fn check(offset: u32, length: usize, unit: usize) -> Result<(), NorFlashErrorKind> {
    let offset = offset as usize;
    if !offset.is_multiple_of(unit) || !length.is_multiple_of(unit) {
        return Err(NorFlashErrorKind::NotAligned);
    }
    if length > CAPACITY || offset > CAPACITY - length {
        return Err(NorFlashErrorKind::OutOfBounds);
    }
    Ok(())
}

impl Flash {
    /// Switches the SPI controller on. To be called once.
    pub(crate) fn new() -> Self {
        SPI1.write(CONFIGURATION, SPI1.read(CONFIGURATION) | ALLOW_WRITING);
        SPI1.write(CONTROL, USER_MODE | DESELECT);
        Self(())
    }

    /// Maker, type and size as the chip says them: `[0xef, 0x40, 0x16]` for a W25Q32. All zeros or ones: no chip.
    pub fn id(&mut self) -> [u8; 3] {
        let mut id = [0; 3];
        let mut selected = Selected::new();
        selected.send(&[command::READ_ID]);
        selected.receive(&mut id);
        id
    }

    fn wait_until_ready(&mut self) -> Result<(), FlashError> {
        let started = Instant::now();
        loop {
            let mut status = [0];
            let mut selected = Selected::new();
            selected.send(&[command::READ_STATUS]);
            selected.receive(&mut status);
            drop(selected);
            if status[0] & STATUS_BUSY == 0 {
                return Ok(());
            }
            if started.elapsed().as_millis() > READY_MAX_MS {
                return Err(FlashError::Timeout);
            }
        }
    }

    /// One command that changes the flash, and waiting for its end.
    fn change(&mut self, command: [u8; 4], bytes: &[u8]) -> Result<(), FlashError> {
        Selected::new().send(&[command::WRITE_ENABLE]);
        let mut selected = Selected::new();
        selected.send(&command);
        selected.send(bytes);
        drop(selected);
        self.wait_until_ready()
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check(offset, bytes.len(), Self::READ_SIZE)?;
        let mut selected = Selected::new();
        selected.send(&addressed(command::READ, offset));
        selected.receive(bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let length = to.checked_sub(from).ok_or(NorFlashErrorKind::OutOfBounds)?;
        check(from, length as usize, SECTOR_BYTES)?;
        for sector in (from..to).step_by(SECTOR_BYTES) {
            self.change(addressed(command::ERASE_SECTOR, sector), &[])?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check(offset, bytes.len(), WORD_BYTES)?;
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let left_in_page = PAGE_BYTES - offset as usize % PAGE_BYTES;
            let (now, later) = rest.split_at(rest.len().min(left_in_page));
            self.change(addressed(command::PROGRAM_PAGE, offset), now)?;
            offset += now.len() as u32;
            rest = later;
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for Flash {}
