//! What a node that runs its rules itself must not forget: of each rule the state and the last message of an episode.
//!
//! State and message are written before the message is appended, in one item of the state's map, with the number that the message will
//! have. A start that finds a number which was not given yet appends the message: so neither is there without the other, wherever the
//! power went.

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::engine::RuleState;
use gridpost_protocol::id::Seq;
use gridpost_protocol::record::{RECORD_BYTES_MAX, RecordBuf};
use gridpost_protocol::share::SHARE_RULES_MAX;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, is_record, state};

/// As many as there can be rules.
pub const MEMORIES: usize = SHARE_RULES_MAX;
/// Number, state and record: postcard's longest numbers and a record.
const BYTES_MAX: usize = 120 + RECORD_BYTES_MAX;

/// What is remembered of one rule.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Where it stands.
    pub state: RuleState,
    /// Its last message, as it was appended.
    pub record: RecordBuf,
}

#[derive(Serialize, Deserialize)]
struct Item<'a> {
    seq: Seq,
    state: RuleState,
    #[serde(borrow)]
    record: &'a [u8],
}

impl<F: MultiwriteNorFlash> Store<F> {
    /// Appends the message of a rule and remembers where the rule stands now. `slot` is the rule's, below [`MEMORIES`].
    ///
    /// # Errors
    /// As [`Store::append`]. When it failed, the next start appends the message, unless other records came before it.
    pub async fn append_remembering(
        &mut self,
        slot: usize,
        state: &RuleState,
        record: &[u8],
    ) -> Result<Seq, StoreError<F::Error>> {
        if self.unsure {
            self.look_up_next().await?;
        }
        let seq = self.next;
        self.put_memory(key(slot), &Item { seq, state: *state, record }).await?;
        match self.append(record).await {
            Ok(seq) => Ok(seq),
            // Once more: what was half written is looked for first.
            Err(_) if self.unsure => {
                self.look_up_next().await?;
                if self.next > seq { Ok(seq) } else { self.append(record).await }
            }
            Err(error) => Err(error),
        }
    }

    /// A future of its own, so that its bytes are gone when the message is appended.
    async fn put_memory(&mut self, key: u8, item: &Item<'_>) -> Result<(), StoreError<F::Error>> {
        let mut bytes = [0; BYTES_MAX];
        let bytes = postcard::to_slice(item, &mut bytes).map_err(|_| StoreError::Record)?;
        Ok(state::put_bytes(&mut self.flash, &self.state, key, bytes).await?)
    }

    /// What is remembered in a slot.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn memory(&mut self, slot: usize) -> Result<Option<Memory>, StoreError<F::Error>> {
        let mut buffer = [0; state::ITEM_BYTES_MAX];
        let bytes = state::get_bytes(&mut self.flash, &self.state, key(slot), &mut buffer).await?;
        // What another version wrote is not understood, and forgotten.
        Ok(bytes.and_then(|bytes| {
            let item: Item<'_> = postcard::from_bytes(bytes).ok()?;
            Some(Memory { state: item.state, record: RecordBuf::from_slice(item.record).ok()? })
        }))
    }

    /// At a start: appends the message that was to come next when the power went.
    pub(super) async fn complete_memories(&mut self) -> Result<(), StoreError<F::Error>> {
        for slot in 0..MEMORIES {
            // Not in the condition: what is asked for there stays until the end of its block.
            let pending = self.pending_message(slot).await?;
            if let Some(record) = &pending {
                self.append(record).await?;
                // The others' numbers were given before this one.
                break;
            }
        }
        Ok(())
    }

    /// The message of a slot that was not appended. A future of its own, so that its bytes are gone when the message is.
    async fn pending_message(&mut self, slot: usize) -> Result<Option<RecordBuf>, StoreError<F::Error>> {
        let mut buffer = [0; state::ITEM_BYTES_MAX];
        let bytes = state::get_bytes(&mut self.flash, &self.state, key(slot), &mut buffer).await?;
        Ok(bytes.and_then(|bytes| {
            let item: Item<'_> = postcard::from_bytes(bytes).ok()?;
            let is_pending = item.seq >= self.unread && is_record(item.record);
            is_pending.then(|| RecordBuf::from_slice(item.record).ok()).flatten()
        }))
    }

    /// Remembers which share this node runs.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn set_share(&mut self, share: u32) -> Result<(), StoreError<F::Error>> {
        if self.share != share {
            state::put_u32(&mut self.flash, &self.state, state::SHARE, share).await?;
            self.share = share;
        }
        Ok(())
    }
}

/// Slots are below MEMORIES, so keys stay below 256.
const fn key(slot: usize) -> u8 {
    state::MEMORY_FIRST + (slot % MEMORIES) as u8
}
