//! Readings on their way into the store: as they are, or through the node's own rules.
//!
//! Who decides: the gateway, until it has told the node a share of the pack and the time; then the node. After a restart a node that
//! decided before holds its readings for a while ([`HELD_MAX`]), because the gateway that tells it the time is usually there at once;
//! if none is, it sends what it held and what follows as readings, and its gateway decides on them.

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::engine::PrecomputedPeriods;
use gridpost_protocol::event::Cause;
use gridpost_protocol::message::{Fetch, ShareHead, ShareRule, ShareStatus};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::record::{Record, RecordBuf, Stored};
use gridpost_protocol::series::SeriesBuilder;
use gridpost_protocol::share::{NO_SHARE, Share, ShareError};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};
use gridpost_protocol::told::Decides;
use heapless::Vec;

use super::deciding::{Deciding, Remembered, Took, ended};
use super::{Journal, Node};
use crate::store::{MEMORIES, Store, StoreError};
use crate::wall::WallClock;

/// How many readings a node holds after a restart while it waits for the time.
pub const HELD_MAX: usize = 64;
/// How many records answer one [`Fetch`]: an hour of seconds. Who wants more asks again from where they end.
pub const FETCHED_MAX: usize = 72;
/// How many of them are read at a time.
const FETCHED_AT_ONCE: usize = 8;

/// Who decides on readings.
#[expect(clippy::large_enum_variant, reason = "a node has one, and no heap")]
enum Mode {
    /// The gateway.
    Sending,
    /// Nobody yet.
    Holding(Vec<(UptimeMillis, Reading), HELD_MAX>),
    /// This node.
    Deciding(Deciding),
}

/// A share that is being received.
struct Staged {
    id: u32,
    rules: usize,
    share: Share,
    periods: PrecomputedPeriods,
}

/// The node's rules and who runs them.
pub(super) struct Rules {
    mode: Mode,
    staged: Option<Staged>,
    refused: Option<(u32, ShareError)>,
    /// The gateway is to be told.
    tell: bool,
}

impl Rules {
    /// As after a restart; `decided` when the node ran a share before it.
    pub(super) fn new(decided: bool) -> Self {
        let mode = if decided { Mode::Holding(Vec::new()) } else { Mode::Sending };
        Self { mode, staged: None, refused: None, tell: false }
    }

    /// The share that runs.
    pub(super) fn running(&self) -> u32 {
        match &self.mode {
            Mode::Deciding(deciding) => deciding.share(),
            _ => NO_SHARE,
        }
    }

    /// What the gateway is to be told, once.
    pub(super) fn take_status(&mut self) -> Option<ShareStatus> {
        core::mem::take(&mut self.tell)
            .then(|| ShareStatus { running: self.running(), refused: self.refused })
    }
}

fn unix(stamp: &Stamp) -> Option<(UnixMillis, u16)> {
    match *stamp {
        Stamp::Unix { at, uncertainty_ms } => Some((at, uncertainty_ms)),
        Stamp::Uptime { .. } => None,
    }
}

impl<F, const SECTORS: usize, W, J> Node<F, SECTORS, W, J>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
{
    /// Takes a reading that was made at this uptime: it is kept, or decided on.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn observe(&self, at: UptimeMillis, reading: &Reading) -> Result<(), StoreError<F::Error>> {
        let mut store = self.store.lock().await;
        let stamp = self.wall.borrow().stamp(store.boot(), at);
        let mut overflow = None;
        let took = {
            let mut rules = self.rules.borrow_mut();
            match &mut rules.mode {
                Mode::Sending => None,
                Mode::Holding(held) => {
                    if held.push((at, *reading)).is_ok() {
                        return Ok(());
                    }
                    overflow = Some(core::mem::take(held));
                    rules.mode = Mode::Sending;
                    None
                }
                Mode::Deciding(deciding) => unix(&stamp)
                    .map(|(unix, uncertainty)| (deciding.take(store.next_seq(), unix, reading), uncertainty)),
            }
        };
        if let Some((took, uncertainty)) = took {
            return self.keep_took(&mut store, uncertainty, &took).await;
        }
        for (at, reading) in overflow.into_iter().flatten() {
            let stamp = self.wall.borrow().stamp(store.boot(), at);
            self.append(&mut store, &stamp, &Record::Reading(reading)).await?;
        }
        self.append(&mut store, &stamp, &Record::Reading(*reading)).await?;
        Ok(())
    }

    /// Keeps what the node's rules made of a reading.
    async fn keep_took(
        &self,
        store: &mut Store<F, SECTORS>,
        uncertainty_ms: u16,
        took: &Took,
    ) -> Result<(), StoreError<F::Error>> {
        for decision in &took.decisions {
            let stamp = Stamp::Unix { at: decision.at, uncertainty_ms };
            let message = {
                let rules = self.rules.borrow();
                let Mode::Deciding(deciding) = &rules.mode else { break };
                deciding.told(decision).map(|(slot, state, told)| (slot, state, store_told(told, &stamp)))
            };
            if let Some((slot, state, record)) = message {
                self.append_remembering(store, slot, &state, &record?).await?;
            }
        }
        for (at, summary) in &took.summaries {
            let stamp = Stamp::Unix { at: *at, uncertainty_ms };
            self.append(store, &stamp, &Record::Summary(summary.clone())).await?;
        }
        match &took.series {
            Some(series) => store.ring_push(&stored(series, uncertainty_ms)?).await,
            None => Ok(()),
        }
    }

    async fn append_remembering(
        &self,
        store: &mut Store<F, SECTORS>,
        slot: u8,
        state: &gridpost_protocol::engine::RuleState,
        record: &[u8],
    ) -> Result<(), StoreError<F::Error>> {
        let seq = store.append_remembering(slot.into(), state, record).await?;
        self.appended(seq);
        Ok(())
    }

    /// The gateway says which rules to run.
    pub(super) async fn on_share(&self, store: &mut Store<F, SECTORS>, now: UptimeMillis, head: ShareHead) {
        {
            let mut rules = self.rules.borrow_mut();
            rules.refused = None;
            match &mut rules.mode {
                Mode::Deciding(deciding) if deciding.share() == head.share => {
                    deciding.periods = head.periods;
                    rules.staged = None;
                    rules.tell = true;
                    return;
                }
                _ => {
                    rules.staged = Some(Staged {
                        id: head.share,
                        rules: head.rules.into(),
                        share: Share::new(),
                        periods: head.periods,
                    });
                }
            }
        }
        self.exchange(store, now).await;
    }

    /// The gateway tells one of the rules.
    pub(super) async fn on_share_rule(
        &self,
        store: &mut Store<F, SECTORS>,
        now: UptimeMillis,
        rule: ShareRule<'_>,
    ) {
        {
            let mut rules = self.rules.borrow_mut();
            let Some(staged) = &mut rules.staged else { return };
            // One that was told twice, or after one that was lost; the gateway begins again when the share does not come to run.
            if staged.id != rule.share || usize::from(rule.index) != staged.share.rules().len() {
                return;
            }
            if let Err(error) = staged.share.push(rule.name, rule.rule) {
                rules.refuse(error);
                return;
            }
        }
        self.exchange(store, now).await;
    }

    /// Begins with the share that was told, if all of it is here and the time is known: between two readings.
    pub(super) async fn exchange(&self, store: &mut Store<F, SECTORS>, now: UptimeMillis) {
        let stamp = self.wall.borrow().stamp(store.boot(), now);
        let Some((at, uncertainty_ms)) = unix(&stamp) else { return };
        let staged = {
            let mut rules = self.rules.borrow_mut();
            let complete = |staged: &Staged| staged.share.rules().len() >= staged.rules;
            if !rules.staged.as_ref().is_some_and(complete) {
                return;
            }
            rules.staged.take()
        };
        let Some(staged) = staged else { return };
        let id = staged.id;
        let done = match self.end_others(store, &staged, at, uncertainty_ms).await {
            Ok(_) if id == NO_SHARE => self.stop_deciding(store, uncertainty_ms).await,
            Ok(remembered) => self.begin(store, staged, &remembered, &stamp).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.journal.trouble(format_args!("a share cannot be taken: {error}"));
            self.rules.borrow_mut().refuse_share(id, ShareError::Store);
        }
    }

    /// Ends the episodes of rules that the share does not have; returns what is remembered of those that it has.
    async fn end_others(
        &self,
        store: &mut Store<F, SECTORS>,
        staged: &Staged,
        at: UnixMillis,
        uncertainty_ms: u16,
    ) -> Result<Vec<Remembered, MEMORIES>, StoreError<F::Error>> {
        let cause = if staged.id == NO_SHARE { Cause::HandedOver } else { Cause::RuleWithdrawn };
        let stamp = Stamp::Unix { at, uncertainty_ms };
        let mut kept = Vec::new();
        for slot in 0..MEMORIES {
            let Some(memory) = store.memory(slot).await? else { continue };
            let Ok(stored) = Stored::parse(&memory.record) else { continue };
            let Record::Episode(last) = Record::decode(stored.kind, stored.body) else { continue };
            // What the rules know is newer than what is in flash, which is from their last message.
            let mut state = self.state_of(last.rule).unwrap_or(memory.state);
            if let Some(index) = staged.share.names().iter().position(|name| name == last.rule) {
                // Slots are below 256, and each rule is in one of them.
                let _ = kept.push(Remembered { index, slot: slot as u8, state });
                continue;
            }
            if let Some(told) = ended(&last, cause, &mut state, at) {
                let record = store_told(told, &stamp)?;
                self.append_remembering(store, slot as u8, &state, &record).await?;
            }
        }
        Ok(kept)
    }

    fn state_of(&self, rule: &str) -> Option<gridpost_protocol::engine::RuleState> {
        let rules = self.rules.borrow();
        let Mode::Deciding(deciding) = &rules.mode else { return None };
        deciding.states().find(|(name, _)| name.as_str() == rule).map(|(_, state)| *state)
    }

    async fn begin(
        &self,
        store: &mut Store<F, SECTORS>,
        staged: Staged,
        remembered: &[Remembered],
        stamp: &Stamp,
    ) -> Result<(), StoreError<F::Error>> {
        let Staged { id, share, periods, .. } = staged;
        let new =
            if share.id() == id { Deciding::new(share, periods, remembered) } else { Err(ShareError::Id) };
        let mut new = match new {
            Ok(new) => new,
            Err(error) => {
                self.rules.borrow_mut().refuse_share(id, error);
                return Ok(());
            }
        };
        store.set_share(id).await?;
        self.append(store, stamp, &Record::Decides(Decides { share: id })).await?;
        let held = {
            let mut rules = self.rules.borrow_mut();
            let held = match core::mem::replace(&mut rules.mode, Mode::Sending) {
                Mode::Holding(held) => held,
                Mode::Deciding(before) => {
                    new.inherit(before);
                    Vec::new()
                }
                Mode::Sending => Vec::new(),
            };
            rules.mode = Mode::Deciding(new);
            rules.tell = true;
            held
        };
        for (at, reading) in held {
            let stamp = self.wall.borrow().stamp(store.boot(), at);
            let took = {
                let mut rules = self.rules.borrow_mut();
                let Mode::Deciding(deciding) = &mut rules.mode else { break };
                unix(&stamp)
                    .map(|(unix, uncertainty)| (deciding.take(store.next_seq(), unix, &reading), uncertainty))
            };
            if let Some((took, uncertainty)) = took {
                self.keep_took(store, uncertainty, &took).await?;
            }
        }
        Ok(())
    }

    async fn stop_deciding(
        &self,
        store: &mut Store<F, SECTORS>,
        uncertainty_ms: u16,
    ) -> Result<(), StoreError<F::Error>> {
        store.set_share(NO_SHARE).await?;
        let before = {
            let mut rules = self.rules.borrow_mut();
            rules.tell = true;
            core::mem::replace(&mut rules.mode, Mode::Sending)
        };
        match before {
            Mode::Sending => {}
            Mode::Holding(held) => {
                for (at, reading) in held {
                    let stamp = self.wall.borrow().stamp(store.boot(), at);
                    self.append(store, &stamp, &Record::Reading(reading)).await?;
                }
            }
            Mode::Deciding(mut deciding) => {
                let mut took = Took::default();
                deciding.end_minute(&mut took);
                self.keep_took(store, uncertainty_ms, &took).await?;
                for series in deciding.all_series() {
                    store.ring_push(&stored(series, uncertainty_ms)?).await?;
                }
            }
        }
        Ok(())
    }

    /// The gateway asks for seconds.
    pub(super) async fn on_fetch(&self, store: &mut Store<F, SECTORS>, fetch: &Fetch) {
        if let Err(error) = self.answer_fetch(store, fetch).await {
            self.journal.trouble(format_args!("seconds cannot be fetched: {error}"));
        }
    }

    async fn answer_fetch(
        &self,
        store: &mut Store<F, SECTORS>,
        fetch: &Fetch,
    ) -> Result<(), StoreError<F::Error>> {
        let mut after = fetch.from;
        for _ in 0..FETCHED_MAX / FETCHED_AT_ONCE {
            let mut found: Vec<RecordBuf, FETCHED_AT_ONCE> = Vec::new();
            store
                .ring_read(|record| {
                    if span(record, fetch).is_some_and(|(_, last)| last >= after)
                        && let Ok(record) = RecordBuf::from_slice(record)
                    {
                        // There is room, or the loop ends.
                        let _ = found.push(record);
                    }
                    !found.is_full()
                })
                .await?;
            for record in &found {
                let seq = store.append(record).await?;
                self.appended(seq);
                if let Some((_, last)) = span(record, fetch) {
                    after = after.max(last.plus(1));
                }
            }
            if !found.is_full() {
                break;
            }
        }
        let open = {
            let rules = self.rules.borrow();
            let Mode::Deciding(deciding) = &rules.mode else { return Ok(()) };
            deciding.open_series(fetch.quantity).map(|series| stored(series, u16::MAX))
        };
        if let Some(record) = open {
            let record = record?;
            if span(&record, fetch).is_some() {
                let seq = store.append(&record).await?;
                self.appended(seq);
            }
        }
        Ok(())
    }
}

impl Rules {
    fn refuse(&mut self, error: ShareError) {
        if let Some(staged) = self.staged.take() {
            self.refuse_share(staged.id, error);
        }
    }

    fn refuse_share(&mut self, share: u32, error: ShareError) {
        self.refused = Some((share, error));
        self.tell = true;
    }
}

/// A message as it is stored: without its profile if it does not fit with it, and then without features.
fn store_told<E>(
    mut told: gridpost_protocol::told::ToldEpisode<'_>,
    stamp: &Stamp,
) -> Result<RecordBuf, StoreError<E>> {
    if let Ok(record) = Record::Episode(told.clone()).store(stamp) {
        return Ok(record);
    }
    told.profile = None;
    if let Ok(record) = Record::Episode(told.clone()).store(stamp) {
        return Ok(record);
    }
    told.features.clear();
    Record::Episode(told).store(stamp).map_err(|_| StoreError::Record)
}

fn stored<E>(series: &SeriesBuilder, uncertainty_ms: u16) -> Result<RecordBuf, StoreError<E>> {
    let stamp = Stamp::Unix { at: series.from(), uncertainty_ms };
    Record::Series(series.series()).store(&stamp).map_err(|_| StoreError::Record)
}

/// From when to when a record of the ring is, if any of it was asked for.
fn span(record: &[u8], fetch: &Fetch) -> Option<(UnixMillis, UnixMillis)> {
    let stored = Stored::parse(record).ok()?;
    let (from, _) = unix(&stored.stamp)?;
    let Record::Series(series) = Record::decode(stored.kind, stored.body) else { return None };
    if series.quantity != fetch.quantity {
        return None;
    }
    let (last, _) = series.readings(from).last()?;
    (from < fetch.until && last >= fetch.from).then_some((from, last))
}
