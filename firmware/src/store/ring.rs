//! The ring: what a node that decides itself keeps of every second, for whoever asks. When it is full, the oldest goes; nothing of it
//! was promised to anybody.

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::record::RECORD_BYTES_MAX;

use super::{ITEM_BYTES_MAX, Store, StoreError, queue_in};

impl<F: MultiwriteNorFlash> Store<F> {
    /// Keeps a stored record in the ring. Without a ring this does nothing.
    ///
    /// # Errors
    /// When the record has a wrong length, or the flash fails.
    pub async fn ring_push(&mut self, record: &[u8]) -> Result<(), StoreError<F::Error>> {
        if self.ring.is_empty() {
            return Ok(());
        }
        if record.is_empty() || record.len() > RECORD_BYTES_MAX {
            return Err(StoreError::Record);
        }
        let mut ring = queue_in(&mut self.flash, &self.ring);
        if ring.push(record, true).await.is_err() {
            // Whatever made it unreadable, it is only what is nice to have.
            ring.erase_all().await?;
            ring.push(record, true).await?;
        }
        Ok(())
    }

    /// Hands out what is in the ring, oldest first, until `each` returns false.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn ring_read(
        &mut self,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), StoreError<F::Error>> {
        if self.ring.is_empty() {
            return Ok(());
        }
        let mut ring = queue_in(&mut self.flash, &self.ring);
        let mut buffer = [0; ITEM_BYTES_MAX];
        let mut items = ring.iter().await?;
        while let Some(item) = items.next(&mut buffer).await? {
            if !each(&item) {
                break;
            }
        }
        Ok(())
    }
}
