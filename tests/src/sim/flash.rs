//! A node's flash that outlives the node: what was in it when the power went is what the next start finds.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};
use gridpost_firmware::testing::flash::{RamFlash, RamFlashError, SECTOR_BYTES, WORD_BYTES};

/// A flash that is soldered in: shared by every start of its node.
#[derive(Clone, Debug)]
pub struct SolderedFlash(Rc<RefCell<RamFlash>>);

impl SolderedFlash {
    /// A flash with this content.
    #[must_use]
    pub fn new(flash: RamFlash) -> Self {
        Self(Rc::new(RefCell::new(flash)))
    }

    /// Cuts the power in the middle of the operation after `operations` more.
    pub fn cut_after(&self, operations: u64) {
        self.0.borrow_mut().cut_after(operations);
    }

    /// Power is back, and stays.
    pub fn power_on(&self) {
        self.0.borrow_mut().power_on();
    }
}

impl ErrorType for SolderedFlash {
    type Error = RamFlashError;
}

// The borrows below never overlap: a `RamFlash` never waits, so each operation ends before the next begins.

impl ReadNorFlash for SolderedFlash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), RamFlashError> {
        embassy_futures::block_on(self.0.borrow_mut().read(offset, bytes))
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl NorFlash for SolderedFlash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), RamFlashError> {
        embassy_futures::block_on(self.0.borrow_mut().erase(from, to))
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), RamFlashError> {
        embassy_futures::block_on(self.0.borrow_mut().write(offset, bytes))
    }
}

impl MultiwriteNorFlash for SolderedFlash {}
