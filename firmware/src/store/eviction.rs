//! What goes when the flash is full: the least severe first, and of those the oldest.
//!
//! The records' region is three queues, one behind the other. Everything is appended to the first. When that is full, its oldest
//! sector is emptied: what passes ([`Worth::Passing`]) goes, and the rest moves to the second queue. When that is full, its early warnings go
//! and the rest moves to the third; when that is full, its oldest go.
//!
//! Because only ever the oldest of a queue moves on, all of the third is older than all of the second, and that older than all of the
//! first: read one after the other they are in the order of their numbers, and nothing has to be sorted, merged or remembered.
//! A record is moved by writing it to the next queue and then taking it out of this one. If the power goes in between it is in both,
//! and counts as being in the next.
//!
//! Each queue is a fixed part of the region ([`parts`]), so a severe record goes only when the third part is full of severe ones. Sizes that
//! follow the need would let severe records have all of the flash, and would take a store that can free sectors in any order.

use core::ops::Range;

use embedded_storage_async::nor_flash::{MultiwriteNorFlash, NorFlash};
use gridpost_protocol::event::Phase;
use gridpost_protocol::id::Seq;
use gridpost_protocol::record::{Record, RecordKind, Stored};
use sequential_storage::Error as StorageError;

use super::{ITEM_BYTES_MAX, Queue, Store, StoreError, queue_in, split, state};

/// The least sectors of each queue: one that is filled while the other is emptied.
const PART_SECTORS_MIN: usize = 2;
/// How many sectors records have at the least.
pub(super) const RECORDS_SECTORS_MIN: usize = 3 * PART_SECTORS_MIN;
/// Records that are taken out before it is tried again whether there is room.
const SHED_AT_ONCE: usize = 8;
/// What the queue's items have beside their content, in bytes.
const ITEM_OVERHEAD: usize = 8;

/// What a record is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Readings, minutes, seconds, log lines: there are many of them.
    Passing,
    /// Early warnings: nobody's limit was exceeded.
    Warning,
    /// What is said once, and decides or proves something: limits exceeded and kept again, reports, sensors' faults, calibrations, who
    /// decides, what is lost; and whatever a later version made.
    Lasting,
}

impl Worth {
    /// What a stored record is worth.
    #[must_use]
    pub fn of(record: &[u8]) -> Self {
        const PASSING: [u8; 4] = [
            RecordKind::Reading as u8,
            RecordKind::Summary as u8,
            RecordKind::Series as u8,
            RecordKind::Log as u8,
        ];
        let Ok(stored) = Stored::parse(record) else { return Self::Passing };
        if PASSING.contains(&stored.kind) {
            return Self::Passing;
        }
        match Record::decode(stored.kind, stored.body) {
            Record::Episode(told) if told.phase == Phase::EarlyWarning => Self::Warning,
            _ => Self::Lasting,
        }
    }
}

/// How many sectors the three queues have, of so many for records: the first (everything), the second (early warnings and what lasts),
/// the third (what lasts).
#[must_use]
pub const fn parts(records_sectors: usize) -> [usize; 3] {
    const fn at_least(sectors: usize) -> usize {
        if sectors > PART_SECTORS_MIN { sectors } else { PART_SECTORS_MIN }
    }
    let warnings = at_least(records_sectors / 16);
    let lasting = at_least(records_sectors / 4);
    [records_sectors.saturating_sub(warnings + lasting), warnings, lasting]
}

/// The second and the third queue.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    range: Range<u32>,
    /// The newest record that was ever moved here, as far as this start knows.
    pub(super) newest: Seq,
}

impl Kept {
    pub(super) const fn new(range: Range<u32>) -> Self {
        Self { range, newest: Seq::NONE }
    }
}

/// What was taken out.
#[derive(Default)]
struct Shed {
    /// Records that no gateway has.
    lost: u64,
    /// Bytes of flash.
    freed: usize,
}

/// Which records must not simply go.
struct Bounds {
    /// Older ones were released.
    oldest: Seq,
    /// The newest stays: the one before this.
    behind_newest: Seq,
    /// What is worth less goes.
    keeps: Option<Worth>,
}

/// Takes records out of the front of a queue. Stops before one that has to move on: it is in `buffer` then, and its length is returned.
async fn shed<F: MultiwriteNorFlash>(
    queue: &mut Queue<'_, F>,
    buffer: &mut [u8; ITEM_BYTES_MAX],
    bounds: &Bounds,
    shed: &mut Shed,
) -> Result<Option<usize>, StorageError<F::Error>> {
    let mut items = queue.iter().await?;
    for _ in 0..SHED_AT_ONCE {
        let Some(item) = items.next(buffer).await? else { return Ok(None) };
        let len = item.len();
        if let Some((seq, record)) = split(&item) {
            if seq.next() >= bounds.behind_newest {
                return Ok(None);
            }
            if seq >= bounds.oldest {
                if bounds.keeps.is_some_and(|keeps| Worth::of(record) >= keeps) {
                    return Ok(Some(len));
                }
                shed.lost += 1;
            }
        }
        shed.freed += ITEM_OVERHEAD + len.next_multiple_of(F::WRITE_SIZE);
        item.pop().await?;
    }
    Ok(None)
}

/// Takes the first record out, which was moved on.
async fn pop_first<F: MultiwriteNorFlash>(
    queue: &mut Queue<'_, F>,
    shed: &mut Shed,
) -> Result<(), StorageError<F::Error>> {
    let mut buffer = [0; ITEM_BYTES_MAX];
    if let Some(item) = queue.pop(&mut buffer).await? {
        shed.freed += ITEM_OVERHEAD + item.len().next_multiple_of(F::WRITE_SIZE);
    }
    Ok(())
}

impl<F: MultiwriteNorFlash> Store<F> {
    fn bounds(&self, keeps: Option<Worth>) -> Bounds {
        Bounds { oldest: self.oldest, behind_newest: self.behind_newest, keeps }
    }

    /// Puts an item into the first queue. When that is full, makes room.
    pub(super) async fn push(&mut self, item: &[u8]) -> Result<(), StoreError<F::Error>> {
        let mut gone = Shed::default();
        let first = queue_in(&mut self.flash, &self.records).push(item, false).await;
        if !matches!(first, Err(StorageError::FullStorage)) {
            return Ok(first?);
        }
        self.note_loss().await?;
        let pushed = loop {
            let mut buffer = [0; ITEM_BYTES_MAX];
            let bounds = self.bounds(Some(Worth::Warning));
            let before = gone.freed;
            if let Some(len) =
                shed(&mut queue_in(&mut self.flash, &self.records), &mut buffer, &bounds, &mut gone).await?
            {
                self.move_to_warnings(&buffer[..len], &mut gone.lost).await?;
                pop_first(&mut queue_in(&mut self.flash, &self.records), &mut gone).await?;
            }
            // A sector with damaged items does not count as empty though everything was taken out that could be.
            let all = gone.freed >= F::ERASE_SIZE || gone.freed == before;
            match queue_in(&mut self.flash, &self.records).push(item, all).await {
                Err(StorageError::FullStorage) if !all => {}
                pushed => break pushed,
            }
        };
        let counted = self.count_evicted(gone.lost).await;
        pushed?;
        // The record is there; a count that could not be written is written with the next eviction.
        drop(counted);
        Ok(())
    }

    /// Moves an item to the second queue.
    async fn move_to_warnings(&mut self, item: &[u8], lost: &mut u64) -> Result<(), StoreError<F::Error>> {
        let Some((seq, _)) = split(item) else { return Ok(()) };
        if seq <= self.warnings.newest {
            return Ok(());
        }
        let (mut gone, mut all) = (Shed::default(), false);
        loop {
            let bounds = self.bounds(Some(Worth::Lasting));
            let mut queue = queue_in(&mut self.flash, &self.warnings.range);
            match queue.push(item, all).await {
                Err(StorageError::FullStorage) => {}
                Ok(()) => break,
                Err(StorageError::Storage { value }) => return Err(StorageError::Storage { value }.into()),
                // What made it unreadable cannot be mended; the gateway sees what is missing.
                Err(_) => {
                    queue.erase_all().await?;
                    queue.push(item, true).await?;
                    break;
                }
            }
            let mut buffer = [0; ITEM_BYTES_MAX];
            let before = gone.freed;
            if let Some(len) = shed(&mut queue, &mut buffer, &bounds, &mut gone).await? {
                self.move_to_lasting(&buffer[..len], &mut gone.lost).await?;
                let mut queue = queue_in(&mut self.flash, &self.warnings.range);
                pop_first(&mut queue, &mut gone).await?;
            }
            all = gone.freed >= F::ERASE_SIZE || gone.freed == before;
        }
        self.warnings.newest = seq;
        *lost += gone.lost;
        Ok(())
    }

    /// Moves an item to the third queue.
    async fn move_to_lasting(&mut self, item: &[u8], lost: &mut u64) -> Result<(), StoreError<F::Error>> {
        let Some((seq, _)) = split(item) else { return Ok(()) };
        if seq <= self.lasting.newest {
            return Ok(());
        }
        let bounds = self.bounds(None);
        let (mut gone, mut all) = (Shed::default(), false);
        let mut queue = queue_in(&mut self.flash, &self.lasting.range);
        loop {
            match queue.push(item, all).await {
                Err(StorageError::FullStorage) => {}
                Ok(()) => break,
                Err(StorageError::Storage { value }) => return Err(StorageError::Storage { value }.into()),
                Err(_) => {
                    queue.erase_all().await?;
                    queue.push(item, true).await?;
                    break;
                }
            }
            let before = gone.freed;
            shed(&mut queue, &mut [0; ITEM_BYTES_MAX], &bounds, &mut gone).await?;
            all = gone.freed >= F::ERASE_SIZE || gone.freed == before;
        }
        self.lasting.newest = seq;
        *lost += gone.lost;
        Ok(())
    }

    /// Counts what went. What was the oldest may be among it.
    async fn count_evicted(&mut self, lost: u64) -> Result<(), StoreError<F::Error>> {
        if let Some(oldest) = self.first_from(self.oldest).await? {
            self.oldest = oldest;
        }
        if lost > 0 {
            self.evicted = self.evicted.saturating_add(lost);
            state::put_u64(&mut self.flash, &self.state, state::EVICTED, self.evicted).await?;
        }
        Ok(())
    }

    /// At a start: what the second and the third queue hold. One that cannot be read is emptied. Returns the oldest record.
    pub(super) async fn look_into_kept(&mut self) -> Result<Option<Seq>, StoreError<F::Error>> {
        let mut oldest: Option<Seq> = None;
        for kept in [&mut self.lasting, &mut self.warnings] {
            let mut queue = queue_in(&mut self.flash, &kept.range);
            match newest_and_oldest(&mut queue).await {
                Ok(Some((first, newest))) => {
                    kept.newest = newest;
                    oldest = Some(oldest.map_or(first, |oldest| oldest.min(first)));
                }
                Ok(None) => {}
                Err(StorageError::Storage { value }) => return Err(StorageError::Storage { value }.into()),
                Err(_) => {
                    queue.erase_all().await?;
                    self.lost_queue = true;
                }
            }
        }
        Ok(oldest)
    }

    /// Hands out what is in the second and the third queue, as [`Store::read_from`] does; false when `each` wants no more.
    pub(super) async fn read_kept(
        &mut self,
        from: Seq,
        each: &mut dyn FnMut(Seq, &[u8]) -> bool,
    ) -> Result<bool, StoreError<F::Error>> {
        // What was moved on and, because the power went, not taken out of where it was.
        let after_lasting = from.max(self.lasting.newest.next());
        for (kept, from) in [(&self.lasting, from), (&self.warnings, after_lasting)] {
            // Most of the time nothing was ever moved, or all of it is released.
            if kept.newest < from {
                continue;
            }
            let mut queue = queue_in(&mut self.flash, &kept.range);
            let mut buffer = [0; ITEM_BYTES_MAX];
            let mut items = queue.iter().await?;
            while let Some(item) = items.next(&mut buffer).await? {
                let Some((seq, record)) = split(&item) else { continue };
                if seq >= from && !each(seq, record) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Takes what is released out of the second and the third queue.
    pub(super) async fn release_kept(&mut self, up_to: Seq) -> Result<(), StoreError<F::Error>> {
        for kept in [&self.lasting, &self.warnings] {
            if kept.newest < self.oldest {
                continue;
            }
            let mut queue = queue_in(&mut self.flash, &kept.range);
            let mut buffer = [0; ITEM_BYTES_MAX];
            let mut items = queue.iter().await?;
            while let Some(item) = items.next(&mut buffer).await? {
                if split(&item).is_some_and(|(seq, _)| seq > up_to) {
                    break;
                }
                item.pop().await?;
            }
        }
        Ok(())
    }
}

/// The oldest and the newest record in a queue.
pub(super) async fn newest_and_oldest<F: NorFlash>(
    queue: &mut Queue<'_, F>,
) -> Result<Option<(Seq, Seq)>, StorageError<F::Error>> {
    let mut buffer = [0; ITEM_BYTES_MAX];
    let mut span: Option<(Seq, Seq)> = None;
    let mut items = queue.iter().await?;
    while let Some(item) = items.next(&mut buffer).await? {
        let Some((seq, _)) = split(&item) else { continue };
        span = Some(span.map_or((seq, seq), |(oldest, newest)| (oldest, newest.max(seq))));
    }
    Ok(span)
}
