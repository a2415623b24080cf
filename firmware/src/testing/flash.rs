//! A NOR flash in memory, as hard to its user as a real one: writing only clears bits, erasing goes by sectors, and the
//! power can be cut in the middle of either.

use std::vec;
use std::vec::Vec;

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes in a sector.
pub const SECTOR_BYTES: usize = 4096;
/// Bytes in a word: what is written at once.
pub const WORD_BYTES: usize = 4;

/// A flash in memory.
#[derive(Clone, Debug)]
pub struct RamFlash {
    bytes: Vec<u8>,
    /// Words that may still be written, or sectors erased, before the power goes.
    budget: Option<u64>,
    /// Words written and sectors erased so far.
    pub operations: u64,
}

/// What goes wrong with a [`RamFlash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RamFlashError {
    /// The power is gone.
    PowerCut,
    /// Outside, or not on a boundary.
    Bounds,
}

impl NorFlashError for RamFlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::PowerCut => NorFlashErrorKind::Other,
            Self::Bounds => NorFlashErrorKind::OutOfBounds,
        }
    }
}

impl RamFlash {
    /// A flash as it leaves the factory: all ones.
    #[must_use]
    pub fn new(sectors: usize) -> Self {
        Self { bytes: vec![0xff; sectors * SECTOR_BYTES], budget: None, operations: 0 }
    }

    /// Cuts the power in the middle of the operation after `operations` more. From then on nothing works until
    /// [`Self::power_on`].
    pub fn cut_after(&mut self, operations: u64) {
        self.budget = Some(operations);
    }

    /// Power is back, and stays.
    pub fn power_on(&mut self) {
        self.budget = None;
    }

    /// Writes bytes as a programmer does, past all rules: an identity, or damage.
    pub fn program(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Whether the operation happens; `Err(true)` when it is the one in whose middle the power goes.
    fn spend(&mut self) -> Result<(), bool> {
        self.operations += 1;
        match &mut self.budget {
            None => Ok(()),
            Some(0) => {
                // Below zero: off for good.
                self.budget = Some(u64::MAX);
                Err(true)
            }
            Some(u64::MAX) => Err(false),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn range(&self, offset: u32, len: usize, unit: usize) -> Result<core::ops::Range<usize>, RamFlashError> {
        let start = offset as usize;
        let end = start.checked_add(len).ok_or(RamFlashError::Bounds)?;
        if end > self.bytes.len() || !start.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(RamFlashError::Bounds);
        }
        Ok(start..end)
    }
}

impl ErrorType for RamFlash {
    type Error = RamFlashError;
}

impl ReadNorFlash for RamFlash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), RamFlashError> {
        let range = self.range(offset, bytes.len(), 1)?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for RamFlash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), RamFlashError> {
        let range = self.range(from, (to - from) as usize, SECTOR_BYTES)?;
        for sector in range.step_by(SECTOR_BYTES) {
            // Whoever else there is runs meanwhile.
            embassy_futures::yield_now().await;
            match self.spend() {
                Ok(()) => self.bytes[sector..sector + SECTOR_BYTES].fill(0xff),
                Err(now) => {
                    if now {
                        self.bytes[sector..sector + SECTOR_BYTES / 2].fill(0xff);
                    }
                    return Err(RamFlashError::PowerCut);
                }
            }
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), RamFlashError> {
        let range = self.range(offset, bytes.len(), WORD_BYTES)?;
        for (at, word) in range.step_by(WORD_BYTES).zip(bytes.chunks(WORD_BYTES)) {
            let spent = self.spend();
            let written = match spent {
                Ok(()) => word,
                Err(true) => &word[..WORD_BYTES / 2],
                Err(false) => &[],
            };
            for (old, new) in self.bytes[at..].iter_mut().zip(written) {
                *old &= *new;
            }
            if spent.is_err() {
                return Err(RamFlashError::PowerCut);
            }
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for RamFlash {}
