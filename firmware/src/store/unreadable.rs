//! Records behind the newest that can be read: they were there, and are damaged. Their numbers were given, so they are not given again.
//!
//! `sequential-storage` steps over what fails its checksum, so this walks over its items itself: checksum of the data (four bytes, 0 when the
//! item was taken out), length and its checksum (two each), data; each part in whole words. A test holds that layout.
//!
//! What was being written when the power went looks much the same, and its number may be given again: nobody was told that it was there. It
//! is told by its end, which is still erased. If the power goes in the very last word, a number is left out; its gateway is told of a gap.

use core::ops::Range;

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::id::Seq;
use sequential_storage::Error as StorageError;

use super::{SEQ_BYTES, Store, StoreError};

/// An item's checksum, its length, and that one's checksum.
const HEADER_BYTES: u32 = 8;
/// The least that a record takes: of a damaged length, so many may have been there.
const ITEM_BYTES_MIN: u32 = HEADER_BYTES + SEQ_BYTES as u32 + 1;
const ERASED: u8 = 0xff;

/// What was found in a sector.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// The newest record that can be read is there.
    newest: bool,
    /// So many damaged ones lie behind it, or behind the sector's beginning.
    damaged: u64,
}

impl<F: MultiwriteNorFlash> Store<F> {
    /// How many records lie behind the newest that can be read.
    pub(super) async fn unreadable_after(&mut self, newest: Seq) -> Result<u64, StoreError<F::Error>> {
        let sector = F::ERASE_SIZE as u32;
        let Range { start, end } = self.records;
        for from in (start..end).step_by(F::ERASE_SIZE) {
            let found = self.look_into(from, newest).await?;
            if !found.newest {
                continue;
            }
            // The next sector may have been begun with records of which none can be read.
            let next = if from + sector < end { from + sector } else { start };
            let begun = self.is_written(next).await? && !self.is_written(next + sector - Self::WORD).await?;
            let there = if begun { self.look_into(next, newest).await?.damaged } else { 0 };
            return Ok(found.damaged + there);
        }
        Ok(0)
    }

    const WORD: u32 = if F::WRITE_SIZE > F::READ_SIZE { F::WRITE_SIZE } else { F::READ_SIZE } as u32;

    /// Whether a sector's first or last word was written: it is begun, or full.
    async fn is_written(&mut self, place: u32) -> Result<bool, StoreError<F::Error>> {
        Ok(self.bytes_at::<1>(place).await? != [ERASED])
    }

    async fn bytes_at<const N: usize>(&mut self, place: u32) -> Result<[u8; N], StoreError<F::Error>> {
        // Whole words of any flash.
        let mut bytes = [ERASED; 32];
        let whole = N.next_multiple_of(F::READ_SIZE).min(bytes.len());
        let read = self.flash.read(place, &mut bytes[..whole]).await;
        read.map_err(|value| StoreError::Flash(StorageError::Storage { value }))?;
        Ok(core::array::from_fn(|index| bytes[index]))
    }

    /// Walks over a sector's items.
    async fn look_into(&mut self, sector: u32, newest: Seq) -> Result<Found, StoreError<F::Error>> {
        let header_bytes = HEADER_BYTES.next_multiple_of(Self::WORD);
        let end = sector + F::ERASE_SIZE as u32 - Self::WORD;
        let (mut place, mut astray, mut found) = (sector + Self::WORD, 0, Found::default());
        while place + header_bytes <= end {
            let header = self.bytes_at::<{ HEADER_BYTES as usize }>(place).await?;
            if header == [ERASED; HEADER_BYTES as usize] {
                break;
            }
            let [c0, c1, c2, c3, l0, l1, k0, k1] = header;
            let length = u32::from(u16::from_le_bytes([l0, l1]));
            let (data, next) =
                (place + header_bytes, place + header_bytes + length.next_multiple_of(Self::WORD));
            if crc16([l0, l1]) != u16::from_le_bytes([k0, k1]) || next > end {
                // A length that is damaged, or was being written: then nothing follows.
                (place, astray) = (place + Self::WORD, astray + Self::WORD);
                continue;
            }
            found.damaged += damaged_within(astray);
            (place, astray) = (next, 0);
            if [c0, c1, c2, c3] == [0; 4] || length < ITEM_BYTES_MIN - HEADER_BYTES {
                continue;
            }
            // Its end was not reached when the power went: its number was given again, to a record behind it.
            if self.bytes_at::<4>(next - 4u32.next_multiple_of(Self::WORD)).await? == [ERASED; 4] {
                continue;
            }
            // A number that is damaged may be any, that of the newest too: the first counts, so that rather too many are left out than too few.
            if !found.newest && Seq(u64::from_le_bytes(self.bytes_at(data).await?)) == newest {
                found = Found { newest: true, damaged: 0 };
            } else {
                found.damaged += 1;
            }
        }
        found.damaged += damaged_within(astray);
        Ok(found)
    }
}

/// How many records may have been where no item begins. The beginning of one, before the power went, is no more than a header.
fn damaged_within(bytes: u32) -> u64 {
    if bytes <= HEADER_BYTES { 0 } else { u64::from(bytes.div_ceil(ITEM_BYTES_MIN)) }
}

/// The checksum of an item's length.
fn crc16(bytes: [u8; 2]) -> u16 {
    const LENGTHS: crc::Algorithm<u16> = crc::Algorithm {
        width: 16,
        // 0x1a2e, reflected.
        poly: 0x7458,
        init: 0xffff,
        refin: true,
        refout: true,
        xorout: 0xffff,
        check: 0,
        residue: 0,
    };
    // Never that of an erased word.
    crc::Crc::<u16, crc::NoTable>::new(&LENGTHS).checksum(&bytes).min(0xfffe)
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use embassy_futures::block_on;
    use embedded_storage_async::nor_flash::ReadNorFlash;

    use super::super::STATE_SECTORS;
    use super::super::tests::{TestStore, flash, open};
    use super::*;
    use crate::testing::flash::{RamFlash, SECTOR_BYTES};

    const QUEUE: usize = SECTOR_BYTES * (1 + STATE_SECTORS as usize);
    const FIRST: u64 = 100;

    fn append(store: &mut TestStore, records: u64) {
        for number in 0..records {
            // Of different lengths.
            let record = vec![0x41; 20 + (number % 30) as usize];
            block_on(store.append(&record)).unwrap();
        }
    }

    fn readable(store: &mut TestStore) -> Vec<u64> {
        let mut all = Vec::new();
        block_on(store.read_from(Seq(0), |seq, _| {
            all.push(seq.0);
            true
        }))
        .unwrap();
        all
    }

    /// A flash with so many records, and where in it the newest lies.
    fn with_records(records: u64) -> (RamFlash, Range<usize>) {
        let mut before = open(flash());
        append(&mut before, records - 1);
        let mut flash = before.close();
        let mut old = vec![0; flash.capacity()];
        block_on(flash.read(0, &mut old)).unwrap();
        let mut store = open(flash);
        append(&mut store, 1);
        let mut flash = store.close();
        let mut new = vec![0; flash.capacity()];
        block_on(flash.read(0, &mut new)).unwrap();
        let number = (FIRST + records - 1).to_le_bytes();
        let at = (QUEUE..new.len() - 8).find(|at| new[*at..at + 8] == number && old[*at] == ERASED).unwrap();
        // Its header, its number, and what was appended.
        (flash, at - HEADER_BYTES as usize..at + 8 + 20)
    }

    #[test]
    fn the_number_of_a_damaged_newest_record_is_not_given_again() {
        // Within a sector, and at the beginning of others.
        let mut begins_a_sector = 0;
        for records in [2, 3, 50].into_iter().chain(74..=90) {
            let (flash, newest) = with_records(records);
            begins_a_sector += usize::from(newest.start % SECTOR_BYTES < 8);
            for bit in newest.start * 8..newest.end * 8 {
                let mut damaged = flash.clone();
                let mut byte = [0];
                block_on(damaged.read((bit / 8) as u32, &mut byte)).unwrap();
                damaged.program(bit / 8, &[byte[0] ^ 1 << (bit % 8)]);
                let mut store = open(damaged);
                let given = FIRST + records;
                assert!(store.next_seq().0 >= given, "{records} records, bit {bit}: {}", store.next_seq());
                let in_length = (4..8).contains(&(bit / 8 - newest.start));
                assert!(in_length || store.next_seq().0 == given, "no more are left out than were there");
                // What comes next is there, and where it stands is told: as a gap.
                append(&mut store, 1);
                let next = store.next_seq();
                let mut store = open(store.close());
                // A damaged number may happen to be that of the record behind it: then one more is left out.
                assert!((0..=1).contains(&(store.next_seq().0 - next.0)), "bit {bit}: {}", store.next_seq());
                let all = readable(&mut store);
                assert_eq!(all[..all.len() - 1], (FIRST..given - 1).collect::<Vec<_>>(), "bit {bit}");
                assert_eq!(*all.last().unwrap(), next.0 - 1);
            }
        }
        assert!(begins_a_sector > 0, "one of them is the first of its sector");
    }

    #[test]
    fn of_several_damaged_records_each_has_had_its_number() {
        let (mut flash, newest) = with_records(40);
        // The last three: some 40 bytes each, of which the numbers are damaged.
        for number in [137_u64, 138, 139] {
            let mut bytes = vec![0; newest.end - QUEUE];
            block_on(flash.read(QUEUE as u32, &mut bytes)).unwrap();
            let at = bytes.windows(8).position(|window| window == number.to_le_bytes()).unwrap();
            flash.program(QUEUE + at, &[0]);
        }
        let store = open(flash);
        assert_eq!(store.next_seq(), Seq(140));
    }

    #[test]
    fn a_node_with_a_damaged_newest_record_lets_go_of_all_of_it_and_goes_on_with_the_next_number() {
        let (mut flash, newest) = with_records(40);
        flash.program(newest.start + HEADER_BYTES as usize, &[0]);
        let mut store = open(flash);
        let last = Seq(FIRST + 38);
        for oldest in [Seq(FIRST), last, last] {
            // The gateway has all that can be read, and is to know what is missing.
            assert_eq!((store.oldest_seq(), store.next_seq()), (oldest, Seq(140)));
            block_on(store.release(last)).unwrap();
            assert_eq!((store.oldest_seq(), store.next_seq()), (Seq(140), Seq(140)));
            assert_eq!(store.unacknowledged_seq(), Seq(139));
            // The newest that can be read stays, or the next start would leave out all numbers that are reserved.
            store = open(store.close());
        }
        assert_eq!(block_on(store.append(&[0x41; 20])).unwrap(), Seq(140));
        block_on(store.release(Seq(140))).unwrap();
        let store = open(store.close());
        assert_eq!((store.oldest_seq(), store.next_seq()), (Seq(140), Seq(141)));
        assert_eq!(store.unacknowledged_seq(), Seq(140));
    }

    #[test]
    fn a_record_that_was_cut_off_leaves_no_number_out_when_another_has_taken_its_own() {
        let (full, _) = with_records(40);
        let mut left_out = 0;
        let mut cuts = 0;
        for cut in 0.. {
            let mut store = open(full.clone());
            store.flash_mut().cut_after(cut);
            if block_on(store.append(&[0x41; 60])).is_ok() {
                break;
            }
            let mut flash = store.close();
            flash.power_on();
            let mut store = open(flash);
            let next = store.next_seq();
            // Only when the power went in its last word.
            left_out += next.0 - (FIRST + 40);
            block_on(store.append(&[0x42; 60])).unwrap();
            let store = open(store.close());
            assert_eq!(store.next_seq(), next.next(), "cut {cut}");
            cuts += 1;
        }
        assert!(cuts > 2 && left_out <= 1, "{cuts} cuts, {left_out} left out");
    }
}
