//! A microcontroller's own flash as the store wants it, asynchronous though the chip stands still: it runs from the flash that it writes.

use embassy_futures::yield_now;
use embassy_time::{Duration, Instant, Timer};
use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash as Multiwrite, NorFlash as Blocking, ReadNorFlash as BlockingRead,
};
use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash, ReadNorFlash};

/// A flash as its driver works with it: nothing else runs until it is done.
#[derive(Debug)]
pub struct Halting<F>(pub F);

impl<F: ErrorType> ErrorType for Halting<F> {
    type Error = F::Error;
}

impl<F: BlockingRead> ReadNorFlash for Halting<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: Blocking> NorFlash for Halting<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.0.write(offset, bytes)
    }
}

impl<F: Multiwrite> MultiwriteNorFlash for Halting<F> {}

/// How a page is erased in slices, on a chip that can.
#[derive(Debug)]
pub struct Slices<F> {
    /// Slices until a page is erased.
    pub count: u32,
    /// One slice of a page's erase.
    pub erase: fn(flash: &mut F, page: u32),
    /// Between two slices; also how long the others may wait while much is written.
    pub rest: Duration,
}

/// A flash whose pages are erased in slices, so that the other tasks, above all the one that listens, wait for a slice at most.
///
/// Power that goes between two slices leaves what it leaves in the middle of an erase as a whole: bits that are neither old nor new. So does a
/// future that is dropped. Nobody else has the flash meanwhile.
#[derive(Debug)]
pub struct Sliced<F> {
    flash: F,
    slices: Slices<F>,
    /// When the others ran last.
    gave_way: Instant,
}

impl<F: Blocking> Sliced<F> {
    /// A flash with the way in which it is erased.
    pub const fn new(flash: F, slices: Slices<F>) -> Self {
        Self { flash, slices, gave_way: Instant::MIN }
    }

    /// Records are moved many at a time, and no single write takes long.
    async fn give_way(&mut self) {
        if self.gave_way.elapsed() >= self.slices.rest {
            yield_now().await;
            self.gave_way = Instant::now();
        }
    }

    /// Whether there is nothing but ones.
    fn is_blank(&mut self, from: u32, to: u32) -> Result<bool, F::Error> {
        let mut bytes = [0; 64];
        for at in (from..to).step_by(bytes.len()) {
            let bytes = &mut bytes[..((to - at) as usize).min(64)];
            self.flash.read(at, bytes)?;
            if bytes.iter().any(|byte| *byte != 0xff) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<F: ErrorType> ErrorType for Sliced<F> {
    type Error = F::Error;
}

impl<F: Blocking> ReadNorFlash for Sliced<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.flash.read(offset, bytes)?;
        self.give_way().await;
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: Blocking> NorFlash for Sliced<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let page_bytes = Self::ERASE_SIZE as u32;
        let whole = from.is_multiple_of(page_bytes) && to.is_multiple_of(page_bytes);
        if !whole || from > to || to as usize > self.flash.capacity() {
            // Refused, with the driver's own reason.
            return self.flash.erase(from, to);
        }
        for page in (from..to).step_by(Self::ERASE_SIZE) {
            for _ in 0..self.slices.count {
                (self.slices.erase)(&mut self.flash, page);
                Timer::after(self.slices.rest).await;
            }
            // A chip that slices do not suffice for loses some samples, and no records.
            if !self.is_blank(page, page + page_bytes)? {
                self.flash.erase(page, page + page_bytes)?;
            }
        }
        self.gave_way = Instant::now();
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.write(offset, bytes)?;
        self.give_way().await;
        Ok(())
    }
}

impl<F: Multiwrite> MultiwriteNorFlash for Sliced<F> {}

#[cfg(test)]
pub(crate) mod tests {
    use std::rc::Rc;
    use std::vec;
    use std::vec::Vec;

    use core::cell::Cell;
    use embassy_futures::block_on;
    use embassy_futures::select::select;
    use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

    use super::*;

    /// A chip with pages of 16 bytes.
    pub(crate) struct Chip {
        pub(crate) bytes: Vec<u8>,
        /// Slices of erases so far, and erases as a whole.
        slices: Rc<Cell<u32>>,
        wholes: u32,
    }

    impl Chip {
        pub(crate) fn new(bytes: Vec<u8>) -> Self {
            Self { bytes, slices: Rc::default(), wholes: 0 }
        }
    }

    #[derive(Debug)]
    pub(crate) struct Outside;

    impl NorFlashError for Outside {
        fn kind(&self) -> NorFlashErrorKind {
            NorFlashErrorKind::OutOfBounds
        }
    }

    impl ErrorType for Chip {
        type Error = Outside;
    }

    impl BlockingRead for Chip {
        const READ_SIZE: usize = 1;

        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Outside> {
            let from = offset as usize;
            bytes.copy_from_slice(self.bytes.get(from..from + bytes.len()).ok_or(Outside)?);
            Ok(())
        }

        fn capacity(&self) -> usize {
            self.bytes.len()
        }
    }

    impl Blocking for Chip {
        const WRITE_SIZE: usize = 4;
        const ERASE_SIZE: usize = 16;

        fn erase(&mut self, from: u32, to: u32) -> Result<(), Outside> {
            self.bytes.get_mut(from as usize..to as usize).ok_or(Outside)?.fill(0xff);
            self.wholes += 1;
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Outside> {
            let from = offset as usize;
            self.bytes.get_mut(from..from + bytes.len()).ok_or(Outside)?.copy_from_slice(bytes);
            Ok(())
        }
    }

    /// Each slice erases four bytes of a page.
    fn sliced(count: u32) -> Sliced<Chip> {
        let erase = |chip: &mut Chip, page: u32| {
            let from = page as usize + 4 * (chip.slices.get() % 4) as usize;
            chip.bytes[from..from + 4].fill(0xff);
            chip.slices.set(chip.slices.get() + 1);
        };
        let rest = Duration::from_micros(100);
        Sliced::new(Chip::new(vec![0; 64]), Slices { count, erase, rest })
    }

    #[test]
    fn the_others_run_after_each_slice_of_an_erase() {
        let mut flash = sliced(4);
        let slices = flash.flash.slices.clone();
        let mut seen = Vec::new();
        let others = async {
            loop {
                if seen.last() != Some(&slices.get()) {
                    seen.push(slices.get());
                }
                yield_now().await;
            }
        };
        block_on(select(flash.erase(16, 48), others));
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(flash.flash.bytes, [[0; 16], [0xff; 16], [0xff; 16], [0; 16]].concat());
        assert_eq!(flash.flash.wholes, 0);
    }

    #[test]
    fn a_page_that_slices_leave_half_erased_is_erased_as_a_whole() {
        let mut flash = sliced(3);
        block_on(flash.erase(16, 32)).unwrap();
        assert_eq!(flash.flash.bytes[..48], [[0; 16], [0xff; 16], [0; 16]].concat());
        assert_eq!(flash.flash.wholes, 1);
    }

    #[test]
    fn what_is_no_page_of_the_flash_is_not_erased() {
        for (from, to) in [(0, 8), (8, 16), (48, 80)] {
            let mut flash = sliced(4);
            // The driver's refusal; a real one refuses those within a page, too.
            let _ = block_on(flash.erase(from, to));
            assert_eq!(flash.flash.slices.get(), 0, "{from} {to}");
        }
    }

    #[test]
    fn the_others_run_while_much_is_written() {
        let mut flash = sliced(4);
        flash.slices.rest = Duration::from_ticks(0);
        let turns = Cell::new(0);
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
        };
        let writes = async {
            for at in (0..64).step_by(4) {
                flash.write(at, &[1; 4]).await.unwrap();
            }
        };
        block_on(select(writes, others));
        assert_eq!(turns.get(), 16);
    }
}
