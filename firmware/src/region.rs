//! A part of a flash, as the store wants it: from its own 0.

use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};

/// The part of a flash that is the store's. The program lies before it.
#[derive(Debug)]
pub struct Region<F> {
    flash: F,
    from: u32,
    bytes: usize,
}

impl<F: NorFlash> Region<F> {
    /// `bytes` of a flash from the offset `from` on. [`None`] unless both are whole sectors within the flash.
    pub fn new(flash: F, from: u32, bytes: usize) -> Option<Self> {
        let whole = (from as usize).is_multiple_of(F::ERASE_SIZE) && bytes.is_multiple_of(F::ERASE_SIZE);
        let within = (from as usize).checked_add(bytes).is_some_and(|end| end <= flash.capacity());
        (whole && within).then_some(Self { flash, from, bytes })
    }

    /// Where an offset of the region lies in the flash. One outside stays outside: the flash refuses it.
    fn place(&self, offset: u32, bytes: usize) -> u32 {
        match (offset as usize).checked_add(bytes) {
            Some(end) if end <= self.bytes => self.from + offset,
            _ => u32::MAX,
        }
    }
}

impl<F: ErrorType> ErrorType for Region<F> {
    type Error = F::Error;
}

impl<F: NorFlash> ReadNorFlash for Region<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.flash.read(self.place(offset, bytes.len()), bytes).await
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl<F: NorFlash> NorFlash for Region<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let bytes = to.saturating_sub(from);
        let place = self.place(from, bytes as usize);
        self.flash.erase(place, place.saturating_add(bytes)).await
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.write(self.place(offset, bytes.len()), bytes).await
    }
}

impl<F: MultiwriteNorFlash> MultiwriteNorFlash for Region<F> {}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use embassy_futures::block_on;

    use super::*;
    use crate::own_flash::Halting;
    use crate::own_flash::tests::Chip;

    fn chip(bytes: Vec<u8>) -> Halting<Chip> {
        Halting(Chip::new(bytes))
    }

    #[test]
    fn a_region_touches_nothing_outside_of_itself() {
        let mut region = Region::new(chip(vec![7; 64]), 16, 32).unwrap();
        block_on(region.erase(0, 32)).unwrap();
        block_on(region.write(28, &[1, 2, 3, 4])).unwrap();
        let mut last = [0; 4];
        block_on(region.read(28, &mut last)).unwrap();
        assert_eq!(last, [1, 2, 3, 4]);
        assert!(block_on(region.write(32, &[9; 4])).is_err() && block_on(region.write(30, &[9; 4])).is_err());
        assert!(block_on(region.erase(16, 48)).is_err() && block_on(region.read(29, &mut last)).is_err());
        let bytes = region.flash.0.bytes;
        assert_eq!((&bytes[..16], &bytes[48..]), (&[7; 16][..], &[7; 16][..]));
        assert_eq!(bytes[44..48], [1, 2, 3, 4]);
    }

    #[test]
    fn a_region_is_whole_sectors_within_the_flash() {
        for (from, bytes) in [(8, 16), (16, 8), (48, 32), (u32::MAX - 15, 16)] {
            assert!(Region::new(chip(vec![0; 64]), from, bytes).is_none(), "{from} {bytes}");
        }
    }
}
