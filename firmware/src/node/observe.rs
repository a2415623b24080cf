//! Readings on their way into the store: as they are, or through the node's own rules.
//!
//! Who decides: the gateway, until it has told the node a share of the pack and the time; then the node. After a restart a node that
//! decided before holds its readings for a while ([`HELD_MAX`]), because the gateway that tells it the time is usually there at once;
//! if none is, it sends what it held and what follows as readings, and its gateway decides on them.

use core::borrow::Borrow;

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::engine::{EncodedPeriods, PrecomputedPeriods, RuleState};
use gridpost_protocol::event::{Cause, Decision};
use gridpost_protocol::id::Seq;
use gridpost_protocol::message::{Fetch, ShareStatus};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::record::{Record, RecordBuf, RecordTooLong, Stored};
use gridpost_protocol::series::SeriesBuilder;
use gridpost_protocol::share::{EncodedRule, EncodedShare, NO_SHARE, ShareError};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};
use gridpost_protocol::told::{Decides, ToldEpisode};
use heapless::{Deque, Vec};

use super::deciding::{Deciding, Decisions, Remembered, ended};
use super::memory::Waiting;
use super::{Journal, Memory, Node};
use crate::store::{MEMORIES, Memory as RuleMemory, Store, StoreError};
use crate::wall::WallClock;

/// How many readings a node holds after a restart while it waits for the time.
pub const HELD_MAX: usize = 64;
/// How many records answer one [`Fetch`]: an hour of seconds. Who wants more asks again from where they end.
pub const FETCHED_MAX: usize = 72;
/// How many of them are read at a time.
const FETCHED_AT_ONCE: usize = 3;

/// Who decides on readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The gateway.
    Sending,
    /// Nobody yet.
    Holding,
    /// This node.
    Deciding,
}

/// A share that is being received, if there is one, as it comes. It has its place for good: on the way to there it would lie on the stack.
struct Staged {
    is_there: bool,
    id: u32,
    rules: usize,
    share: EncodedShare,
    periods: PrecomputedPeriods,
}

/// The node's rules and who runs them: all zeros at first ([`Memory`]). What is to be kept waits here, not in the futures that keep it: there are several of those.
pub(super) struct Rules {
    mode: Mode,
    deciding: Deciding,
    /// Readings that were held.
    held: Deque<Waiting, HELD_MAX>,
    /// What is to be kept of the last reading.
    decisions: Decisions,
    staged: Staged,
    /// The share that was refused last, if [`Self::has_refused`].
    refused: (u32, ShareError),
    has_refused: bool,
    /// The gateway is to be told.
    tell: bool,
}

/// What a record that is to be kept is.
enum ToKeep {
    /// A rule's message, with where the rule is remembered and stands.
    Message(u8, RuleState),
    /// Another record.
    Record,
    /// Something for the ring.
    Seconds,
}

impl Rules {
    /// As after the first start.
    pub(super) const fn new() -> Self {
        Self {
            mode: Mode::Sending,
            deciding: Deciding::nothing(),
            held: Deque::new(),
            decisions: Decisions::new(),
            staged: Staged {
                is_there: false,
                id: NO_SHARE,
                rules: 0,
                share: EncodedShare::new(),
                periods: PrecomputedPeriods::UNKNOWN,
            },
            refused: (NO_SHARE, ShareError::TooManyRules),
            has_refused: false,
            tell: false,
        }
    }

    /// As after a restart of a node that ran a share before it.
    pub(super) fn hold(&mut self) {
        self.mode = Mode::Holding;
    }

    /// The time at which this node decides on a reading; [`None`] when that is not for it to do.
    fn decides(&self, stamp: &Stamp) -> Option<UnixMillis> {
        let (at, _) = unix(stamp)?;
        (self.mode == Mode::Deciding).then_some(at)
    }

    /// Puts what is to be kept next into `record`: messages of the last reading first, then the minute that is over at `at` ([`None`]: the
    /// one that is on), then seconds. Each in a function of its own, because the stack is as deep as the deepest of them.
    fn next_to_keep(
        &mut self,
        at: Option<UnixMillis>,
        uncertainty_ms: u16,
        record: &mut RecordBuf,
    ) -> Option<Result<ToKeep, RecordTooLong>> {
        while let Some(decision) = self.decisions.pop_front() {
            if let Some(message) = self.message(&decision, uncertainty_ms, record) {
                return Some(message.map(|(slot, state)| ToKeep::Message(slot, state)));
            }
        }
        if let Some(minute) = self.minute(at, uncertainty_ms, record) {
            return Some(minute.map(|()| ToKeep::Record));
        }
        self.seconds(at.is_none(), uncertainty_ms, record).map(|kept| kept.map(|()| ToKeep::Seconds))
    }

    #[inline(never)]
    fn message(
        &self,
        decision: &Decision,
        uncertainty_ms: u16,
        record: &mut RecordBuf,
    ) -> Option<Result<(u8, RuleState), RecordTooLong>> {
        let (slot, state, told) = self.deciding.told(decision)?;
        let stamp = Stamp::Unix { at: decision.at, uncertainty_ms };
        Some(store_told(told, &stamp, record).map(|()| (slot, state)))
    }

    #[inline(never)]
    fn minute(
        &mut self,
        at: Option<UnixMillis>,
        uncertainty_ms: u16,
        record: &mut RecordBuf,
    ) -> Option<Result<(), RecordTooLong>> {
        let (at, summary) = self.deciding.over(at)?;
        Some(Record::Summary(summary).store_in(&Stamp::Unix { at, uncertainty_ms }, record))
    }

    /// A series that is full; when nothing more comes, one of the others.
    #[inline(never)]
    fn seconds(
        &mut self,
        ends: bool,
        uncertainty_ms: u16,
        record: &mut RecordBuf,
    ) -> Option<Result<(), RecordTooLong>> {
        let mut keep = |series: &SeriesBuilder| store_series(series, uncertainty_ms, record);
        let full = self.deciding.full_series(&mut keep);
        full.or_else(|| if ends { self.deciding.end_series(keep) } else { None })
    }

    /// Decides on a reading. What of the minute before could not be kept is gone; the reading counts all the same.
    #[inline(never)]
    fn take(&mut self, next: Seq, at: UnixMillis, reading: &Reading) {
        while self.deciding.over(Some(at)).is_some() {}
        self.deciding.take(next, at, reading, &mut self.decisions);
    }

    /// The share that runs.
    pub(super) fn running(&self) -> u32 {
        match self.mode {
            Mode::Deciding => self.deciding.share(),
            Mode::Sending | Mode::Holding => NO_SHARE,
        }
    }

    /// What the gateway is to be told, once.
    pub(super) fn take_status(&mut self) -> Option<ShareStatus> {
        core::mem::take(&mut self.tell).then(|| ShareStatus {
            running: self.running(),
            refused: self.has_refused.then_some(self.refused),
        })
    }
}

fn unix(stamp: &Stamp) -> Option<(UnixMillis, u16)> {
    match *stamp {
        Stamp::Unix { at, uncertainty_ms } => Some((at, uncertainty_ms)),
        Stamp::Uptime { .. } => None,
    }
}

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// Takes a reading that was made at this uptime: it is kept, or decided on.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn observe(&self, at: UptimeMillis, reading: &Reading) -> Result<(), StoreError<F::Error>> {
        let mut store = self.store.lock().await;
        {
            let mut rules = self.memory().rules.borrow_mut();
            if rules.mode == Mode::Holding {
                if rules.held.push_back(Waiting::new(at, reading)).is_ok() {
                    return Ok(());
                }
                rules.mode = Mode::Sending;
            }
        }
        self.let_go_of_held(&mut store).await?;
        self.take(&mut store, at, reading).await
    }

    /// Decides on a reading and keeps what comes of it, or keeps the reading.
    async fn take(
        &self,
        store: &mut Store<F>,
        at: UptimeMillis,
        reading: &Reading,
    ) -> Result<(), StoreError<F::Error>> {
        let stamp = self.wall.borrow().stamp(store.boot(), at);
        let decides = self.memory().rules.borrow().decides(&stamp);
        if decides.is_some() {
            return self.decide(store, &stamp, Some(reading)).await;
        }
        self.append(store, &stamp, &Record::Reading(*reading)).await?;
        Ok(())
    }

    /// What was held has its turn.
    async fn let_go_of_held(&self, store: &mut Store<F>) -> Result<(), StoreError<F::Error>> {
        loop {
            let held = self.memory().rules.borrow_mut().held.pop_front();
            let Some((at, reading)) = held.map(|held| held.get()) else { return Ok(()) };
            self.take(store, at, &reading).await?;
        }
    }

    /// Keeps what there is of before, decides on a reading, and keeps what comes of that. Without a reading: the minute and the seconds that
    /// are on, because the node decides no longer.
    async fn decide(
        &self,
        store: &mut Store<F>,
        stamp: &Stamp,
        mut reading: Option<&Reading>,
    ) -> Result<(), StoreError<F::Error>> {
        let time = unix(stamp);
        let at = reading.and(time).map(|(at, _)| at);
        let uncertainty_ms = time.map_or(u16::MAX, |(_, uncertainty_ms)| uncertainty_ms);
        let (mut done, mut record) = (Ok(()), RecordBuf::new());
        loop {
            let to_keep = self.memory().rules.borrow_mut().next_to_keep(at, uncertainty_ms, &mut record);
            // By reference: what is bound by value lies in the future once more.
            let kept = match &to_keep {
                None => None,
                Some(Err(RecordTooLong)) => Some(Err(StoreError::Record)),
                Some(Ok(ToKeep::Message(slot, state))) => {
                    Some(self.append_remembering(store, *slot, state, &record).await)
                }
                Some(Ok(ToKeep::Record)) => Some(store.append(&record).await.map(|seq| self.appended(seq))),
                Some(Ok(ToKeep::Seconds)) => Some(store.ring_push(&record).await),
            };
            match kept {
                Some(Ok(())) => continue,
                Some(Err(error)) => done = Err(error),
                None => {}
            }
            let (Some(reading), Some(at)) = (reading.take(), at) else { return done };
            self.memory().rules.borrow_mut().take(store.next_seq(), at, reading);
        }
    }

    async fn append_remembering(
        &self,
        store: &mut Store<F>,
        slot: u8,
        state: &RuleState,
        record: &[u8],
    ) -> Result<(), StoreError<F::Error>> {
        let seq = store.append_remembering(slot.into(), state, record).await?;
        self.appended(seq);
        Ok(())
    }

    /// Begins with the share that was told, if all of it is here and the time is known: between two readings.
    pub(super) async fn exchange(&self, store: &mut Store<F>, now: UptimeMillis) {
        let stamp = self.wall.borrow().stamp(store.boot(), now);
        let ready = {
            let rules = self.memory().rules.borrow();
            let Staged { is_there, id, rules: announced, ref share, .. } = rules.staged;
            (is_there && share.rules() >= announced).then_some(id)
        };
        let (Some(id), Some((at, _))) = (ready, unix(&stamp)) else { return };
        let checked = self.memory().rules.borrow().check_staged();
        if let Err(error) = checked {
            self.memory().rules.borrow_mut().refuse(error);
            return;
        }
        if let Err(error) = self.begin(store, id, at, &stamp).await {
            self.journal.trouble(format_args!("a share cannot be taken: {error}"));
            self.memory().rules.borrow_mut().refuse(ShareError::Store);
        }
    }

    /// Begins with the staged share, or ends deciding when it is [`NO_SHARE`].
    async fn begin(
        &self,
        store: &mut Store<F>,
        id: u32,
        at: UnixMillis,
        stamp: &Stamp,
    ) -> Result<(), StoreError<F::Error>> {
        self.end_others(store, id, (at, stamp)).await?;
        store.set_share(id).await?;
        if id == NO_SHARE {
            self.memory().rules.borrow_mut().end();
            self.decide(store, stamp, None).await?;
        } else {
            self.append(store, stamp, &Record::Decides(Decides { share: id })).await?;
            self.begin_remembering(store).await?;
        }
        self.let_go_of_held(store).await
    }

    /// Ends the episodes of rules that the staged share does not have.
    async fn end_others(
        &self,
        store: &mut Store<F>,
        id: u32,
        (at, stamp): (UnixMillis, &Stamp),
    ) -> Result<(), StoreError<F::Error>> {
        let cause = if id == NO_SHARE { Cause::HandedOver } else { Cause::RuleWithdrawn };
        for slot in 0..MEMORIES {
            let Some(memory) = store.memory(slot).await? else { continue };
            let mut record = RecordBuf::new();
            let ended = self.memory().rules.borrow().end_other(memory, cause, (at, stamp), &mut record);
            if let Some(state) = &ended {
                let state = state.as_ref().map_err(|_| StoreError::Record)?;
                // Slots are below 256.
                self.append_remembering(store, slot as u8, state, &record).await?;
            }
        }
        Ok(())
    }

    /// Begins with the staged share and what is remembered of its rules. That is large, and in memory for no longer than this.
    async fn begin_remembering(&self, store: &mut Store<F>) -> Result<(), StoreError<F::Error>> {
        let mut remembered = Vec::<_, MEMORIES>::new();
        for slot in 0..MEMORIES {
            let Some(memory) = store.memory(slot).await? else { continue };
            let Some(last) = last_message(&memory.record) else { continue };
            if let (Some(index), state) = self.memory().rules.borrow().look_up(last.rule) {
                // What the rules know is newer than what is in flash, which is from their last message.
                let state = state.unwrap_or(memory.state);
                // Slots are below 256, and each rule is in one of them.
                let _ = remembered.push(Remembered { index, slot: slot as u8, state });
            }
        }
        self.memory().rules.borrow_mut().begin(&remembered);
        Ok(())
    }

    /// The gateway asks for seconds.
    pub(super) async fn on_fetch(&self, store: &mut Store<F>, fetch: &Fetch) {
        if let Err(error) = self.answer_fetch(store, fetch).await {
            self.journal.trouble(format_args!("seconds cannot be fetched: {error}"));
        }
    }

    async fn answer_fetch(&self, store: &mut Store<F>, fetch: &Fetch) -> Result<(), StoreError<F::Error>> {
        self.fetch_kept(store, fetch).await?;
        let mut record = RecordBuf::new();
        let open = self.memory().rules.borrow().open_record(fetch, &mut record);
        if let Some(kept) = open {
            kept.map_err(|_| StoreError::Record)?;
            let seq = store.append(&record).await?;
            self.appended(seq);
        }
        Ok(())
    }

    /// Fetches what lies in the ring.
    async fn fetch_kept(&self, store: &mut Store<F>, fetch: &Fetch) -> Result<(), StoreError<F::Error>> {
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
        Ok(())
    }
}

impl Rules {
    /// The gateway says which rules to run; whether they may be all here.
    #[inline(never)]
    pub(super) fn on_share(&mut self, share: u32, rules: u8, periods: EncodedPeriods<'_>) -> bool {
        self.has_refused = false;
        if self.mode == Mode::Deciding && self.deciding.share() == share {
            self.deciding.periods.set(periods);
            self.staged.is_there = false;
            self.tell = true;
            return false;
        }
        let staged = &mut self.staged;
        (staged.is_there, staged.id, staged.rules) = (true, share, rules.into());
        staged.share.clear();
        staged.periods.set(periods);
        true
    }

    /// The gateway tells one of the rules; whether they may be all here.
    #[inline(never)]
    pub(super) fn on_share_rule(&mut self, share: u32, index: u8, rule: Option<EncodedRule<'_>>) -> bool {
        let staged = &mut self.staged;
        // One that was told twice, or after one that was lost; the gateway begins again when the share does not come to run.
        if !staged.is_there || staged.id != share || usize::from(index) != staged.share.rules() {
            return false;
        }
        // A rule that is not understood is not what the share's id says either.
        if let Err(error) = rule.ok_or(ShareError::Id).and_then(|rule| staged.share.push(rule)) {
            self.refuse(error);
            return false;
        }
        true
    }

    /// Whether the staged share can be run; no share always can.
    #[inline(never)]
    fn check_staged(&self) -> Result<(), ShareError> {
        let Staged { is_there, id, ref share, .. } = self.staged;
        match is_there {
            true if id != NO_SHARE && share.id() != id => Err(ShareError::Id),
            true => share.check(),
            false => Ok(()),
        }
    }

    /// The index of a rule in the staged share, and where it stands in the one that runs.
    fn look_up(&self, rule: &str) -> (Option<usize>, Option<RuleState>) {
        let mut names = self.staged.share.iter().map(|(name, _)| name);
        let index = names.position(|name| name == rule).filter(|_| self.staged.is_there);
        let mut running = self.deciding.states().filter(|_| self.mode == Mode::Deciding);
        let state = running.find(|(name, _)| name.as_str() == rule).map(|(_, state)| *state);
        (index, state)
    }

    /// Puts the end of an episode into `record`, and says where its rule then stands; [`None`] when the staged share has the rule, or it is
    /// over.
    #[inline(never)]
    fn end_other(
        &self,
        memory: RuleMemory,
        cause: Cause,
        (at, stamp): (UnixMillis, &Stamp),
        record: &mut RecordBuf,
    ) -> Option<Result<RuleState, RecordTooLong>> {
        let last = last_message(&memory.record)?;
        let (index, state) = self.look_up(last.rule);
        // As what is remembered: what the rules know is newer.
        let mut state = state.unwrap_or(memory.state);
        let told = if index.is_none() { ended(&last, cause, &mut state, at) } else { None };
        told.map(|told| store_told(told, stamp, record).map(|()| state))
    }

    /// Puts the seconds that are not in the ring yet into `record`, if any of them are asked for.
    #[inline(never)]
    fn open_record(&self, fetch: &Fetch, record: &mut RecordBuf) -> Option<Result<(), RecordTooLong>> {
        if self.mode != Mode::Deciding {
            return None;
        }
        let kept = store_series(self.deciding.open_series(fetch.quantity)?, u16::MAX, record);
        let asked = kept.is_err() || span(record, fetch).is_some();
        asked.then_some(kept)
    }

    /// Begins with the staged share, which was checked.
    #[inline(never)]
    fn begin(&mut self, remembered: &[Remembered]) {
        self.tell = true;
        if self.mode != Mode::Deciding {
            self.deciding.forget();
        }
        let staged = &mut self.staged;
        if !staged.is_there {
            return;
        }
        if let Err(error) = self.deciding.begin(staged.id, &staged.share, remembered) {
            // It was checked. Should it not run all the same, the gateway decides.
            self.mode = Mode::Sending;
            self.refuse(error);
            return;
        }
        core::mem::swap(&mut self.deciding.periods, &mut staged.periods);
        // Of what could not be kept, what names a rule by its place means another one now.
        self.decisions.clear();
        self.mode = Mode::Deciding;
        self.staged.is_there = false;
    }

    /// Leaves deciding to the gateway; what was gathered is to be kept.
    fn end(&mut self) {
        self.tell = true;
        self.staged.is_there = false;
        self.mode = Mode::Sending;
        // What could not be kept is of an episode whose end has been told.
        self.decisions.clear();
    }

    fn refuse(&mut self, error: ShareError) {
        if core::mem::take(&mut self.staged.is_there) {
            self.refuse_share(self.staged.id, error);
        }
    }

    fn refuse_share(&mut self, share: u32, error: ShareError) {
        (self.refused, self.has_refused) = ((share, error), true);
        self.tell = true;
    }
}

/// The episode's message that is remembered of a rule.
fn last_message(record: &[u8]) -> Option<ToldEpisode<'_>> {
    let before = Stored::parse(record).ok()?;
    match Record::decode(before.kind, before.body) {
        Record::Episode(last) => Some(last),
        _ => None,
    }
}

/// Puts a message into `record`: without its profile if it does not fit with it, and then without features.
fn store_told(told: ToldEpisode<'_>, stamp: &Stamp, record: &mut RecordBuf) -> Result<(), RecordTooLong> {
    let mut told = Record::Episode(told);
    let leave_out: [fn(&mut ToldEpisode<'_>); 2] = [|told| told.profile = None, |told| told.features.clear()];
    for leave_out in leave_out {
        if told.store_in(stamp, record).is_ok() {
            return Ok(());
        }
        if let Record::Episode(told) = &mut told {
            leave_out(told);
        }
    }
    told.store_in(stamp, record)
}

fn store_series(
    series: &SeriesBuilder,
    uncertainty_ms: u16,
    record: &mut RecordBuf,
) -> Result<(), RecordTooLong> {
    let stamp = Stamp::Unix { at: series.from(), uncertainty_ms };
    Record::Series(series.series()).store_in(&stamp, record)
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
