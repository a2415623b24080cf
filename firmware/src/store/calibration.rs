//! The sensitivity that the last accepted calibration found. As a rule's memory it lies in flash with the calibration's record, written
//! before the record is appended: neither is there without the other, wherever the power went.

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::id::Seq;
use gridpost_protocol::record::{RECORD_BYTES_MAX, RecordBuf};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, is_record, state};

/// Number, sensitivity and record.
const BYTES_MAX: usize = 24 + RECORD_BYTES_MAX;

#[derive(Serialize, Deserialize)]
struct Item<'a> {
    seq: Seq,
    full_scale_upa: u64,
    #[serde(borrow)]
    record: &'a [u8],
}

impl<F: MultiwriteNorFlash> Store<F> {
    /// What a sample at full scale is by the last calibration, in micropascals; [`None`] before the first.
    #[must_use]
    pub const fn full_scale_upa(&self) -> Option<u64> {
        self.full_scale_upa
    }

    /// Appends the record of an accepted calibration, and keeps what it found.
    ///
    /// # Errors
    /// As [`Store::append`]. Then it may be kept all the same, with its record, from the next start on.
    pub async fn append_calibration(
        &mut self,
        full_scale_upa: u64,
        record: &[u8],
    ) -> Result<Seq, StoreError<F::Error>> {
        if self.unsure {
            self.look_up_next().await?;
        }
        {
            // Gone when the record is appended.
            let item = Item { seq: self.next, full_scale_upa, record };
            let mut bytes = [0; BYTES_MAX];
            let bytes = postcard::to_slice(&item, &mut bytes).map_err(|_| StoreError::Record)?;
            state::put_bytes(&mut self.flash, &self.state, state::CALIBRATION, bytes).await?;
        }
        let seq = self.append(record).await?;
        self.full_scale_upa = Some(full_scale_upa);
        Ok(seq)
    }

    /// At a start: what the last calibration found; appends its record when the power went before that.
    pub(super) async fn look_up_calibration(&mut self) -> Result<(), StoreError<F::Error>> {
        let pending = self.look_up_found().await?;
        if let Some(record) = &pending {
            self.append(record).await?;
        }
        Ok(())
    }

    /// Takes up what was found; its record, when it was not appended. A future of its own, so that its bytes are gone when that is done.
    async fn look_up_found(&mut self) -> Result<Option<RecordBuf>, StoreError<F::Error>> {
        let mut buffer = [0; state::ITEM_BYTES_MAX];
        let bytes = state::get_bytes(&mut self.flash, &self.state, state::CALIBRATION, &mut buffer).await?;
        // What another version wrote is not understood, and forgotten.
        let Some(item) = bytes.and_then(|bytes| postcard::from_bytes::<Item<'_>>(bytes).ok()) else {
            return Ok(None);
        };
        self.full_scale_upa = Some(item.full_scale_upa);
        let is_pending = item.seq >= self.unread && is_record(item.record);
        Ok(is_pending.then(|| RecordBuf::from_slice(item.record).ok()).flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use embassy_futures::block_on;

    use super::super::tests::{TestStore, flash, open};
    use super::*;
    use crate::testing::flash::RamFlash;

    const RECORD: &[u8] = &[10, 1, 1, 5, 9, 9];

    fn records(store: &mut TestStore) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        block_on(store.read_from(Seq(0), |_, record| {
            all.push(record.to_vec());
            true
        }))
        .unwrap();
        all
    }

    #[test]
    fn sensitivity_and_record_are_there_together_wherever_the_power_goes() {
        let (mut with, mut without) = (0, 0);
        for cut in 0.. {
            let mut store = open(flash());
            block_on(store.append_calibration(20_000_000, RECORD)).unwrap();
            store.flash_mut().cut_after(cut);
            let done = block_on(store.append_calibration(21_000_000, &[RECORD, &[1]].concat())).is_ok();
            let mut flash: RamFlash = store.close();
            flash.power_on();
            let mut store = open(flash);
            match store.full_scale_upa() {
                Some(20_000_000) => {
                    assert!(!done && records(&mut store) == [RECORD], "cut {cut}");
                    without += 1;
                }
                Some(21_000_000) => {
                    assert_eq!(records(&mut store), [RECORD, &[RECORD, &[1]].concat()], "cut {cut}");
                    with += 1;
                }
                other => panic!("cut {cut}: {other:?}"),
            }
            // Once more is not twice.
            let mut store = open(store.close());
            assert!(records(&mut store).len() <= 2);
            if done {
                break;
            }
        }
        assert!(with > 1 && without > 1, "{with} {without}");
    }
}
