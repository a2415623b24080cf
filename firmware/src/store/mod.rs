//! The node's store: what was appended stays until the gateway has it, whatever happens to the power.
//!
//! The flash, from its start: a sector with the identity (only read), sectors with the node's state (boot counter, reserved
//! numbers, count of evicted records, rules' memories), the ring of seconds where there is one, and the queue of records over all
//! the rest. State, ring and queue are `sequential-storage`'s map and queues, whose items carry checksums: what was being written
//! when the power went is there whole or not at all.
//!
//! Invariants, each tried by cutting the power at every single write:
//! 1. A record whose [`Store::append`] returned `Ok` is there after every restart until it is released or evicted.
//! 2. A sequence number is never given twice. The newest record is never taken out of the queue, even when it is
//!    released, so the queue itself knows the next number; if it is damaged, it still has had one ([`unreadable`]). If the whole queue
//!    is unreadable, numbering goes on after those that were reserved ([`RESERVED_AT_ONCE`] at a time) and the gateway sees a gap, which is the truth.
//! 3. The boot counter of a start is larger than that of any start before, and durable before the store is handed out. It is
//!    written twice, so that damage to one item does not bring a boot, and its nonces, back; a node that lost both
//!    does not start.
//!
//! Bound: the size of the queue's region. When it is full, a sector's worth of the least severe and oldest records goes to make room
//! ([`eviction`]); they are counted ([`Store::evicted`]), and the gateway is told which are missing.

mod calibration;
#[cfg(test)]
mod damage;
mod eviction;
mod failing;
#[cfg(test)]
mod full;
mod memory;
mod ring;
mod state;
#[cfg(test)]
mod tests;
mod unreadable;

use core::fmt;
use core::ops::Range;

use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash};
use gridpost_protocol::id::Seq;
use gridpost_protocol::record::RECORD_BYTES_MAX;
use sequential_storage::Error as StorageError;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

pub use eviction::{Worth, parts};
pub use failing::FAILING_MAX;
pub use memory::{MEMORIES, Memory};

use eviction::{Kept, RECORDS_SECTORS_MIN, newest_and_oldest};
use failing::Failing;

use crate::provision::{IDENTITY_BYTES, IDENTITY_OFFSET, Identity, NoIdentity};

/// Sectors of the state's region.
pub const STATE_SECTORS: u32 = 4;
/// How many sectors a flash has at the least: for the identity, the state and records.
pub const SECTORS_MIN: usize = 1 + STATE_SECTORS as usize + RECORDS_SECTORS_MIN;
/// Numbers that are reserved ahead at a time, in case the queue should become unreadable: one write to the state for so many
/// records.
pub const RESERVED_AT_ONCE: u64 = 4096;

/// A sequence number before each record.
const SEQ_BYTES: usize = 8;
/// A record in the queue, with its number, in whole words of any flash.
const ITEM_BYTES_MAX: usize = (SEQ_BYTES + RECORD_BYTES_MAX).next_multiple_of(32);

/// One type for all queues, so that a small image holds their code once. Nothing of them is remembered in RAM between two uses: looking at
/// two words of each sector takes less time than what follows.
type Queue<'f, F> = QueueStorage<&'f mut F, Cache<Uncached, Uncached, Uncached>>;

/// Whether a record has a length that can be appended.
const fn is_record(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= RECORD_BYTES_MAX
}

fn queue_in<'f, F: NorFlash>(flash: &'f mut F, range: &Range<u32>) -> Queue<'f, F> {
    QueueStorage::new(flash, QueueConfig::new(range.clone()), Cache::new_uncached())
}

/// Why the store does not work.
#[derive(Debug)]
pub enum StoreError<E> {
    /// The node was never provisioned, or its identity is damaged.
    NoIdentity(NoIdentity),
    /// The flash has too few sectors.
    Size,
    /// There are records and no boot counter: counting from 1 would use nonces again.
    CountersLost,
    /// The boot counter cannot go higher: provision the node anew, with a new key.
    BootsExhausted,
    /// A record is longer than [`RECORD_BYTES_MAX`] or empty.
    Record,
    /// The flash failed.
    Flash(StorageError<E>),
}

impl<E> From<StorageError<E>> for StoreError<E> {
    fn from(error: StorageError<E>) -> Self {
        Self::Flash(error)
    }
}

impl<E: fmt::Debug> fmt::Display for StoreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity(error) => error.fmt(f),
            Self::Size => {
                f.write_str("the flash has too few sectors for identity, state and records")
            }
            Self::CountersLost => f.write_str(
                "the boot counter is gone and records are left: erase the flash and provision this node with a new key",
            ),
            Self::BootsExhausted => {
                f.write_str("the boot counter is used up: provision this node with a new key")
            }
            Self::Record => f.write_str("a record must have 1 to 200 bytes"),
            Self::Flash(error) => write!(f, "the flash failed: {error:?}"),
        }
    }
}

/// The store of a node.
pub struct Store<F: NorFlash> {
    flash: F,
    /// Where records are appended.
    records: Range<u32>,
    /// What moved on from the queue, and what moved on from there.
    warnings: Kept,
    lasting: Kept,
    state: Range<u32>,
    /// Empty when there is no ring.
    ring: Range<u32>,
    identity: Identity,
    boot: u32,
    /// The oldest record that is there and not released; `next` when there is none.
    oldest: Seq,
    next: Seq,
    /// From here on nothing could be read at this start; `next` when nothing was damaged.
    unread: Seq,
    /// The number behind that of the newest record that can be read, which stays. Without damage it is `next`.
    behind_newest: Seq,
    /// Numbers below this are reserved.
    reserved: u64,
    evicted: u64,
    share: u32,
    failing: Failing,
    full_scale_upa: Option<u64>,
    /// The first record that was given up and whose loss no gateway knows of yet.
    lost_from: Option<Seq>,
    /// The queue was unreadable at this start, and is empty now.
    lost_queue: bool,
    /// An append failed, and its record may be in the queue or not.
    unsure: bool,
}

impl<F: MultiwriteNorFlash> Store<F> {
    /// Opens the store and begins a new boot.
    ///
    /// # Errors
    /// When the node has no identity or the flash fails. An unreadable queue is no error: it is erased, and
    /// [`Self::lost_queue`] says so.
    pub async fn open(flash: F) -> Result<Self, StoreError<F::Error>> {
        Self::open_with_ring(flash, 0).await
    }

    /// Opens the store of a flash of which this many sectors are the ring: 0, or at least 2.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_ring(mut flash: F, ring_sectors: u32) -> Result<Self, StoreError<F::Error>> {
        let sector = F::ERASE_SIZE as u32;
        let state = sector..sector * (1 + STATE_SECTORS);
        let sectors = flash.capacity() / F::ERASE_SIZE;
        let records_sectors = sectors.saturating_sub(1 + STATE_SECTORS as usize + ring_sectors as usize);
        let [_, warnings, lasting] = parts(records_sectors);
        if ring_sectors == 1 || records_sectors < RECORDS_SECTORS_MIN {
            return Err(StoreError::Size);
        }
        let end = flash.capacity() as u32;
        let records = end - records_sectors as u32 * sector..end - (warnings + lasting) as u32 * sector;
        let warnings = records.end..records.end + warnings as u32 * sector;
        let lasting = warnings.end..end;
        let mut bytes = [0; IDENTITY_BYTES];
        flash
            .read(IDENTITY_OFFSET, &mut bytes)
            .await
            .map_err(|value| StoreError::Flash(StorageError::Storage { value }))?;
        let identity = Identity::decode(&bytes).map_err(StoreError::NoIdentity)?;

        let last_boot = state::newest_boot(&mut flash, &state).await?;
        let boot = last_boot.unwrap_or(0).checked_add(1).ok_or(StoreError::BootsExhausted)?;
        let reserved = state::get_number(&mut flash, &state, state::RESERVED).await?;
        let evicted = state::get_number(&mut flash, &state, state::EVICTED).await?.unwrap_or(0);
        let share = state::get_number(&mut flash, &state, state::SHARE).await?.unwrap_or(0);
        let lost_from = state::get_number(&mut flash, &state, state::LOST_FROM).await?;

        let mut store = Self {
            flash,
            records,
            warnings: Kept::new(warnings),
            lasting: Kept::new(lasting),
            ring: state.end..state.end + ring_sectors * sector,
            state,
            boot,
            oldest: identity.first_seq,
            next: identity.first_seq,
            unread: identity.first_seq,
            behind_newest: identity.first_seq,
            reserved: reserved.unwrap_or(0),
            evicted,
            // It was written as four bytes.
            share: share as u32,
            failing: Failing::new(),
            full_scale_upa: None,
            lost_from: lost_from.filter(|seq| *seq != 0).map(Seq),
            lost_queue: false,
            unsure: false,
            identity,
        };
        let span = store.span().await;
        // A boot is counted before its first record: records without a boot mean that the counter is gone.
        if last_boot.is_none() && !matches!(span, Ok(None)) {
            return Err(StoreError::CountersLost);
        }
        state::put_boot(&mut store.flash, &store.state, boot).await?;
        match span {
            Ok(Some((oldest, newest))) => {
                store.oldest = oldest;
                (store.unread, store.behind_newest) = (newest.next(), newest.next());
                let unreadable = store.unreadable_after(newest).await?;
                store.next = Seq(newest.next().0.saturating_add(unreadable));
            }
            // Nothing was ever appended, or nothing that this start can know of: go on after all reserved numbers.
            Ok(None) => store.begin_after_reserved(),
            Err(_) => {
                queue_in(&mut store.flash, &store.records).erase_all().await?;
                store.lost_queue = true;
                store.begin_after_reserved();
            }
        }
        if let Some(oldest) = store.look_into_kept().await? {
            store.oldest = store.oldest.min(oldest);
        }
        store.reserve().await?;
        store.complete_memories().await?;
        store.look_up_calibration().await?;
        store.look_up_failing().await?;
        Ok(store)
    }

    fn begin_after_reserved(&mut self) {
        self.next = self.identity.first_seq.max(Seq(self.reserved));
        (self.oldest, self.unread, self.behind_newest) = (self.next, self.next, self.next);
    }

    /// The oldest and the newest record in the queue.
    async fn span(&mut self) -> Result<Option<(Seq, Seq)>, StoreError<F::Error>> {
        Ok(newest_and_oldest(&mut queue_in(&mut self.flash, &self.records)).await?)
    }

    /// The first record from this number on.
    async fn first_from(&mut self, from: Seq) -> Result<Option<Seq>, StoreError<F::Error>> {
        let mut first = None;
        self.read_from(from, |seq, _| {
            first = Some(seq);
            false
        })
        .await?;
        Ok(first)
    }

    /// Reserves numbers ahead, before the first of them is given.
    async fn reserve(&mut self) -> Result<(), StoreError<F::Error>> {
        if self.next.0 >= self.reserved {
            let reserved = self.next.0.saturating_add(RESERVED_AT_ONCE);
            state::put_u64(&mut self.flash, &self.state, state::RESERVED, reserved).await?;
            self.reserved = reserved;
        }
        Ok(())
    }

    /// Who this node is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of this boot.
    #[must_use]
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// The number that the next record gets.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.next
    }

    /// The oldest record that is not released; [`Self::next_seq`] when there is none. After a restart the newest record counts
    /// as not released, and is sent once more.
    #[must_use]
    pub const fn oldest_seq(&self) -> Seq {
        self.oldest
    }

    /// The oldest record that no gateway has acknowledged: before [`Self::oldest_seq`] when those in between were given up.
    #[must_use]
    pub fn unacknowledged_seq(&self) -> Seq {
        self.lost_from.map_or(self.oldest, |lost| lost.min(self.oldest))
    }

    /// How many records were given up because the store was full, since the node was provisioned. If the power went while some were,
    /// those may be missing in it; the gateway, which sees which numbers do not come, counts exactly.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The share of the pack that this node ran when it was last told one; 0 when its gateway decides.
    #[must_use]
    pub const fn share(&self) -> u32 {
        self.share
    }

    /// Whether the queue was unreadable at this start and its records are gone.
    #[must_use]
    pub const fn lost_queue(&self) -> bool {
        self.lost_queue
    }

    /// Appends a record. When this returns `Ok` the record survives a power cut.
    ///
    /// # Errors
    /// When the record has a wrong length, or the flash fails; then the record may be there or not, and its number is not
    /// given again if it is.
    pub async fn append(&mut self, record: &[u8]) -> Result<Seq, StoreError<F::Error>> {
        if !is_record(record) {
            return Err(StoreError::Record);
        }
        if self.unsure {
            self.look_up_next().await?;
        }
        self.reserve().await?;
        let seq = self.next;
        let mut item = [0; SEQ_BYTES + RECORD_BYTES_MAX];
        item[..SEQ_BYTES].copy_from_slice(&seq.0.to_le_bytes());
        item[SEQ_BYTES..SEQ_BYTES + record.len()].copy_from_slice(record);
        let item = &item[..SEQ_BYTES + record.len()];
        if let Err(error) = self.push(item).await {
            // The record may be there all the same: the next append finds out before it gives a number.
            self.unsure = true;
            return Err(error);
        }
        (self.next, self.behind_newest) = (seq.next(), seq.next());
        Ok(seq)
    }

    /// Records are about to go that no gateway has: writes down which is the first of them.
    async fn note_loss(&mut self) -> Result<(), StoreError<F::Error>> {
        if self.lost_from.is_none() {
            self.put_lost_from(Some(self.oldest)).await?;
        }
        Ok(())
    }

    /// After a failed append: goes on after the newest record that is really there.
    async fn look_up_next(&mut self) -> Result<(), StoreError<F::Error>> {
        if let Some((_, newest)) = self.span().await? {
            self.next = self.next.max(newest.next());
            self.behind_newest = newest.next();
        }
        self.unsure = false;
        Ok(())
    }

    /// Hands out the records from `from` on, in order, until `each` returns false.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn read_from(
        &mut self,
        from: Seq,
        mut each: impl FnMut(Seq, &[u8]) -> bool,
    ) -> Result<(), StoreError<F::Error>> {
        self.read_each(from, &mut each).await
    }

    /// [`Self::read_from`], once for all callers: it is a good part of a small image.
    async fn read_each(
        &mut self,
        from: Seq,
        each: &mut dyn FnMut(Seq, &[u8]) -> bool,
    ) -> Result<(), StoreError<F::Error>> {
        if !self.read_kept(from, each).await? {
            return Ok(());
        }
        // What was moved on and, because the power went, not taken out here.
        let from = from.max(self.warnings.newest.next());
        let mut buffer = [0; ITEM_BYTES_MAX];
        let mut queue = queue_in(&mut self.flash, &self.records);
        let mut items = queue.iter().await?;
        while let Some(item) = items.next(&mut buffer).await? {
            let Some((seq, record)) = split(&item) else { continue };
            if seq >= from && !each(seq, record) {
                break;
            }
        }
        Ok(())
    }

    /// The gateway has everything up to here: lets it go.
    ///
    /// # Errors
    /// When the flash fails; what was not let go is sent again.
    pub async fn release(&mut self, up_to: Seq) -> Result<(), StoreError<F::Error>> {
        let up_to = up_to.min(Seq(self.next.0.saturating_sub(1)));
        if up_to < self.oldest {
            return Ok(());
        }
        // The first that is left: records between were given up or became unreadable, and the gateway is to know.
        let oldest = self.first_from(up_to.next()).await?.unwrap_or(self.next);
        if oldest > up_to.next() {
            self.put_lost_from(Some(up_to.next())).await?;
        }
        self.release_kept(up_to).await?;
        let mut buffer = [0; ITEM_BYTES_MAX];
        let mut queue = queue_in(&mut self.flash, &self.records);
        let mut items = queue.iter().await?;
        while let Some(item) = items.next(&mut buffer).await? {
            // The newest stays, so that the numbering survives (invariant 2).
            if split(&item).is_some_and(|(seq, _)| seq > up_to || seq.next() >= self.behind_newest) {
                break;
            }
            item.pop().await?;
        }
        self.oldest = oldest;
        if self.lost_from.is_some_and(|lost| lost <= up_to) {
            // The gateway counts on from before them, so it knows of the gap.
            self.put_lost_from(None).await?;
        }
        Ok(())
    }

    async fn put_lost_from(&mut self, seq: Option<Seq>) -> Result<(), StoreError<F::Error>> {
        if self.lost_from != seq {
            let number = seq.map_or(0, |seq| seq.0);
            state::put_u64(&mut self.flash, &self.state, state::LOST_FROM, number).await?;
            self.lost_from = seq;
        }
        Ok(())
    }

    /// The flash, for tests that cut its power.
    #[cfg(test)]
    pub(crate) fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn close(self) -> F {
        self.flash
    }
}

/// An item's number and record; [`None`] for what this store did not write.
fn split(item: &[u8]) -> Option<(Seq, &[u8])> {
    let (seq, record) = item.split_first_chunk::<SEQ_BYTES>()?;
    Some((Seq(u64::from_le_bytes(*seq)), record))
}
