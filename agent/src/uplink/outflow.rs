//! Which event is to be sent next, and which may be let go: the uplink's decisions, without sockets or a clock.
//!
//! The spool is the only truth. A connection forgets everything when it ends; the next one begins with the first event
//! that is not acknowledged. Only what was acknowledged on the connection that sent it is ever released; so an event may
//! arrive twice, with the same id, and is never skipped.
//!
//! Three lanes: what had gathered when the connection was made is the *backlog*; what comes after it does not wait behind it. Of a long
//! backlog the newest rows ([`FRESH_ROWS`]) count as fresh too: what a platform needs first is how things are now. Of what is fresh,
//! what is *urgent* ([`rank::URGENT`]: an `exceeded`, a report, a fault, a loss) does not wait behind what is not: it takes the next
//! place in the window. While there is a backlog, it and what is fresh each have a part of the window to itself ([`LANE_SHARE`]).
//! Within a lane events go in the order in which they were made, so the order of a device's events is kept within a lane; an event may
//! overtake an older one of the same device that is in another lane, which receivers see by its time and, within an episode, by its
//! revision.
//!
//! What is fresh is let go up to where both of its lanes are acknowledged.
//!
//! Of a backlog, events of one topic may go together ([`Outflow::more`]), if the platform agreed to that. They overtake others that were read
//! with them, but none of their own device.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::suspect::Suspect;
use super::window::{Carried, Unsolicited, Window};
use super::{Outbox, OutboxError, OutboxRow};
use crate::event::rank;

/// Rows that are read from the spool at once.
pub const READ_ROWS: usize = 256;
/// Rows that are acknowledged before the pipeline is told, while more are under way: each telling costs it a transaction.
pub const RELEASE_ROWS: i64 = 256;
/// The part of the window, as one in so many, that one lane leaves to the other.
pub const LANE_SHARE: usize = 4;
/// Rows of a backlog under way in batches, beyond which no further batch is sent: what is fresh waits in the broker behind them.
pub const BATCHED_ROWS_MAX: usize = 1000;
/// The newest rows of a long backlog that do not wait behind the older ones: half a second's worth of a fast broker, and of a gateway with
/// one event a second its last hour.
pub const FRESH_ROWS: i64 = 4096;
/// A backlog is long when it is so many times as long as that; a shorter one is over in a second or two, and keeps its order.
const LONG_BACKLOG: i64 = 4;
/// Stretches of live events that are acknowledged while a backlog before them is not, over several connections. Beyond it the oldest
/// is forgotten, and sent once more if the pipeline has not let it go yet.
const STRETCHES_MAX: usize = 128;

/// What is sent before fresh events of lower rank.
const URGENT: RangeInclusive<u8> = rank::URGENT..=u8::MAX;
/// The others.
const NOT_URGENT: RangeInclusive<u8> = 0..=rank::URGENT - 1;

/// What of the spool is sent in order.
#[derive(Debug)]
struct Lane {
    /// The last row that belongs to it.
    end: i64,
    /// Which rows up to there belong to it.
    ranks: RangeInclusive<u8>,
    /// Everything in it up to here is acknowledged.
    acknowledged: i64,
    /// Rows that are read and not yet submitted.
    ahead: VecDeque<OutboxRow>,
    /// The last row that was read, or that the next read begins after.
    read_up_to: i64,
    /// The row that was handed out, and of which nothing was said yet.
    handed_out: Option<i64>,
    window: Window,
}

impl Lane {
    fn new(after: i64, end: i64, ranks: RangeInclusive<u8>, room: usize) -> Self {
        Self {
            end,
            ranks,
            acknowledged: after,
            ahead: VecDeque::new(),
            read_up_to: after,
            handed_out: None,
            window: Window::new(room),
        }
    }

    /// Whether everything in it up to `newest` is acknowledged.
    fn is_done(&self, newest: i64) -> bool {
        self.window.is_empty() && self.ahead.is_empty() && self.read_up_to >= newest.min(self.end)
    }

    /// Everything in it up to here is acknowledged, also where there is nothing of it.
    fn done_up_to(&self) -> i64 {
        let ahead = self.ahead.front().map(|row| row.id);
        let first = [self.window.first_row(), ahead, self.handed_out].into_iter().flatten().min();
        first.map_or(self.read_up_to, |row| (row - 1).max(self.acknowledged))
    }

    /// The next row that is not to be skipped. As [`Outflow::next`].
    fn next(
        &mut self,
        outbox: &mut dyn Outbox,
        committed: &mut dyn FnMut() -> i64,
        read_rows: usize,
        skip: &dyn Fn(&OutboxRow) -> bool,
    ) -> Result<Option<OutboxRow>, OutboxError> {
        // Who asks for the next one has dealt with that before.
        self.handed_out = None;
        loop {
            let Some(row) = self.ahead.pop_front() else {
                // Asked before reading: what is committed while the read is under way must be read the next time.
                let newest = committed().min(self.end);
                if self.read_up_to >= newest {
                    return Ok(None);
                }
                // Not worth another thread: a read by row id takes well under a millisecond.
                let mut rows = outbox.read(self.read_up_to, read_rows, &self.ranks)?;
                rows.retain(|row| row.id <= self.end);
                // None: rows up to the newest were there once, and are gone: released or set aside.
                let found = rows.last().map(|last| last.id);
                self.read_up_to = found.unwrap_or(newest);
                self.ahead.extend(rows);
                if found.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if !skip(&row) {
                self.handed_out = Some(row.id);
                return Ok(Some(row));
            }
        }
    }
}

/// Which lane something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Backlog,
    Urgent,
    Live,
}

/// Where the uplink stands in the spool. Lives as long as the agent; what belongs to one connection begins anew with
/// [`Outflow::connecting`].
#[derive(Debug)]
pub struct Outflow {
    /// What had gathered when the connection was made, as long as not all of it is acknowledged.
    backlog: Option<Lane>,
    /// Whether the end of the backlog is known: where its newest rows begin, when it is long.
    is_parted: bool,
    /// How many of the newest rows of a long backlog are fresh.
    fresh_rows: i64,
    /// Rows that are read from the spool at once.
    read_rows: usize,
    /// What came after it and is urgent.
    urgent: Lane,
    /// What came after it and is not.
    live: Lane,
    /// Everything up to here was reported to the pipeline, but for what `stretches` say.
    released: i64,
    /// What came after the backlog was reported up to here.
    released_live: i64,
    /// Of what was submitted and has no packet id yet: in which lane it is, oldest first.
    unnumbered: VecDeque<Which>,
    /// Where the row came from that [`Outflow::next`] handed out last.
    handed_out: Which,
    /// Stretches after the backlog's beginning of which these ranks are acknowledged already.
    stretches: VecDeque<Stretch>,
    /// The last row at which a broker hung up for good. The pipeline may not have taken it out of the spool yet.
    set_aside: i64,
    suspect: Suspect,
    /// How many publishes this broker takes at once.
    room: usize,
    /// How many may be under way now: 1 until the first acknowledgement, and when a suspected event goes alone.
    open: usize,
}

impl Default for Outflow {
    fn default() -> Self {
        Self::with_fresh(FRESH_ROWS)
    }
}

impl Outflow {
    /// As [`Outflow::default`], with another number of rows of a long backlog that are fresh.
    #[must_use]
    pub fn with_fresh(fresh_rows: i64) -> Self {
        Self {
            backlog: None,
            is_parted: false,
            fresh_rows,
            read_rows: READ_ROWS,
            urgent: Lane::new(0, i64::MAX, URGENT, 1),
            live: Lane::new(0, i64::MAX, NOT_URGENT, 1),
            released: 0,
            released_live: 0,
            unnumbered: VecDeque::new(),
            handed_out: Which::Live,
            stretches: VecDeque::new(),
            set_aside: 0,
            suspect: Suspect::default(),
            room: 1,
            open: 1,
        }
    }

    /// As it is, with so many rows read at once: more of one topic are among them then.
    #[must_use]
    pub fn reading(mut self, rows: usize) -> Self {
        self.read_rows = rows.max(1);
        self
    }

    /// A new connection, when the newest row in the spool is `committed`: nothing of an earlier one counts.
    pub fn connecting(&mut self, committed: i64) {
        // What the lanes had not told yet is told with the backlog; `take_released` was asked when the connection ended.
        let (after, begun) = match &self.backlog {
            Some(backlog) => (backlog.done_up_to().min(backlog.end), backlog.end),
            None => {
                self.released = self.released_live;
                (self.done_live(), self.done_live())
            }
        };
        for lane in [&self.urgent, &self.live] {
            if lane.done_up_to() > begun {
                self.stretches.push_back((begun + 1..=lane.done_up_to(), lane.ranks.clone()));
            }
        }
        while self.stretches.len() > STRETCHES_MAX {
            self.stretches.pop_front();
        }
        let committed = committed.max(after);
        self.backlog = (committed > after).then(|| Lane::new(after, committed, 0..=u8::MAX, self.room));
        self.urgent = Lane::new(committed, i64::MAX, URGENT, self.room);
        self.live = Lane::new(committed, i64::MAX, NOT_URGENT, self.room);
        if self.backlog.is_none() {
            self.stretches.clear();
        }
        self.released_live = if self.backlog.is_some() { committed } else { self.released };
        self.is_parted = false;
        self.unnumbered.clear();
        self.open = 1;
    }

    /// Before anything of a backlog is sent: when it is long, its newest rows go to the lanes of what is fresh. Row numbers alone do
    /// not tell, as most of what is below the newest one was let go long ago.
    fn part(&mut self, outbox: &mut dyn Outbox) -> Result<(), OutboxError> {
        let Some(backlog) = self.backlog.as_mut().filter(|_| !self.is_parted) else { return Ok(()) };
        let oldest = outbox.read(backlog.read_up_to, 1, &backlog.ranks)?.first().map(|row| row.id);
        self.is_parted = true;
        if oldest.is_some_and(|oldest| backlog.end - oldest >= LONG_BACKLOG * self.fresh_rows) {
            backlog.end -= self.fresh_rows;
            for lane in [&mut self.urgent, &mut self.live] {
                (lane.acknowledged, lane.read_up_to) = (backlog.end, backlog.end);
            }
            self.released_live = backlog.end;
        }
        Ok(())
    }

    /// Of what came after the backlog, everything up to here is acknowledged.
    fn done_live(&self) -> i64 {
        self.urgent.done_up_to().min(self.live.done_up_to())
    }

    /// The broker takes `room` publishes at once. The window opens with the first acknowledgement (of the birth): then it
    /// is clear that what follows an event is due to it.
    pub fn connected(&mut self, room: usize) {
        self.room = room.max(1);
        self.open = 1;
        for lane in self.backlog.iter_mut().chain([&mut self.urgent, &mut self.live]) {
            lane.window.set_room(self.room);
        }
    }

    fn under_way(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.window.len()) + self.live_under_way()
    }

    fn live_under_way(&self) -> usize {
        self.urgent.window.len() + self.live.window.len()
    }

    /// Whether there is room in the window for another row of this lane.
    fn has_room_for(&self, which: Which) -> bool {
        let (under_way, most) = match (&self.backlog, which) {
            (None, _) => (0, self.open),
            (Some(backlog), Which::Backlog) if backlog.window.rows() >= BATCHED_ROWS_MAX => (0, 0),
            (Some(backlog), Which::Backlog) => (backlog.window.len(), self.open - self.share()),
            // One at a time: what gathered first, so that a suspected event gets its turn.
            (Some(_), _) if self.open == 1 => (0, 0),
            (Some(_), _) => (self.live_under_way(), self.open - self.share()),
        };
        under_way < most && self.has_room()
    }

    /// The part of the window that the backlog and what is fresh leave to each other.
    fn share(&self) -> usize {
        if self.open > 1 { (self.open / LANE_SHARE).max(1) } else { 0 }
    }

    /// The next row to send, when there is room for one. `committed` says the newest row that is in the spool; it is asked before
    /// each read, so that what is committed while a read is under way is read the next time.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn next(
        &mut self,
        outbox: &mut dyn Outbox,
        mut committed: impl FnMut() -> i64,
    ) -> Result<Option<OutboxRow>, OutboxError> {
        if self.backlog.as_ref().is_some_and(|backlog| backlog.is_done(i64::MAX)) {
            self.backlog_done();
        }
        self.part(outbox)?;
        for which in [Which::Urgent, Which::Live, Which::Backlog] {
            if !self.has_room_for(which) {
                continue;
            }
            let (set_aside, stretches) = (self.set_aside, &self.stretches);
            let skip = |row: &OutboxRow| is_skipped(row, set_aside, stretches);
            let lane = match which {
                Which::Urgent => &mut self.urgent,
                Which::Live => &mut self.live,
                Which::Backlog => match &mut self.backlog {
                    Some(backlog) => backlog,
                    None => continue,
                },
            };
            if let Some(row) = lane.next(outbox, &mut committed, self.read_rows, &skip)? {
                self.handed_out = which;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Further events of the backlog that may go with the one that [`Outflow::next`] handed out last: of the same topic, at most
    /// `rows_max`, whose payloads have at most `bytes_max` bytes together, and that overtake none of their own source. None with what
    /// is fresh, or with one that goes alone.
    pub fn more(&mut self, first: &OutboxRow, rows_max: usize, bytes_max: usize) -> Vec<OutboxRow> {
        let mut more = Vec::new();
        let may_have = self.handed_out == Which::Backlog && self.open > 1 && rows_max > 0;
        let Some(backlog) = self.backlog.as_mut().filter(|_| may_have) else { return more };
        let (set_aside, stretches) = (self.set_aside, &self.stretches);
        let mut left = bytes_max;
        let mut others: VecDeque<OutboxRow> = VecDeque::with_capacity(backlog.ahead.len());
        let mut passed = std::collections::BTreeSet::new();
        for row in backlog.ahead.drain(..) {
            let fits = more.len() < rows_max && row.topic == first.topic && row.payload.len() <= left;
            if fits && !passed.contains(&row.source) && !is_skipped(&row, set_aside, stretches) {
                left -= row.payload.len();
                more.push(row);
            } else {
                if more.len() < rows_max && !passed.contains(&row.source) {
                    passed.insert(row.source.clone());
                }
                others.push_back(row);
            }
        }
        backlog.ahead = others;
        more
    }

    /// All of the backlog is acknowledged: from here on there is only the live lane.
    fn backlog_done(&mut self) {
        if self.backlog.as_ref().is_some_and(|backlog| backlog.end > self.released) {
            // Still to be told.
            return;
        }
        self.backlog = None;
        self.stretches.clear();
    }

    /// The row that was handed out last cannot be dealt with now: it is the next one again.
    pub fn put_back(&mut self, row: OutboxRow) {
        let lane = self.lane(self.handed_out);
        lane.ahead.push_front(row);
        lane.handed_out = None;
    }

    fn lane(&mut self, which: Which) -> &mut Lane {
        match (which, &mut self.backlog) {
            (Which::Backlog, Some(backlog)) => backlog,
            (Which::Urgent, _) => &mut self.urgent,
            _ => &mut self.live,
        }
    }

    /// The row that was handed out last, or with row 0 what is no event, was handed to the client.
    pub fn submit(&mut self, row: i64, topic: String) {
        self.submit_with(row, Vec::new(), topic);
    }

    /// As [`Outflow::submit`], with those that [`Outflow::more`] gave.
    pub fn submit_with(&mut self, row: i64, more: Vec<i64>, topic: String) {
        let which = if row > 0 { self.handed_out } else { Which::Live };
        let lane = self.lane(which);
        lane.window.submit(row, more, topic);
        if row > 0 {
            lane.handed_out = None;
        }
        self.unnumbered.push_back(which);
    }

    /// The client gave the oldest publish that has none yet its packet id. What it carries.
    pub fn sent(&mut self, packet: u16) -> Option<Carried<'_>> {
        let which = self.unnumbered.pop_front()?;
        self.lane(which).window.sent(packet)
    }

    /// What a packet carries that is not acknowledged yet.
    #[must_use]
    pub fn carried_by(&self, packet: u16) -> Option<Carried<'_>> {
        self.backlog
            .as_ref()
            .and_then(|backlog| backlog.window.carried_by(packet))
            .or_else(|| self.urgent.window.carried_by(packet))
            .or_else(|| self.live.window.carried_by(packet))
    }

    /// Whether another row may be submitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.under_way() < self.open
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn nothing_under_way(&self) -> bool {
        self.under_way() == 0
    }

    /// Whether everything up to `committed` is acknowledged.
    #[must_use]
    pub fn is_idle(&self, committed: i64) -> bool {
        self.urgent.is_done(committed)
            && self.live.is_done(committed)
            && self.backlog.as_ref().is_none_or(|backlog| backlog.is_done(i64::MAX))
    }

    /// The broker acknowledged a packet.
    ///
    /// # Errors
    /// [`Unsolicited`] when no such packet is under way.
    pub fn acknowledged(&mut self, packet: u16) -> Result<(), Unsolicited> {
        let carried = self.carried_by(packet).ok_or(Unsolicited(packet))?;
        let is_event = carried.row > 0;
        let in_backlog =
            self.backlog.as_ref().is_some_and(|backlog| backlog.window.carried_by(packet).is_some());
        let which = match in_backlog {
            true => Which::Backlog,
            false if self.urgent.window.carried_by(packet).is_some() => Which::Urgent,
            false => Which::Live,
        };
        let foremost = in_backlog || self.backlog.is_none();
        let lane = self.lane(which);
        lane.window.acknowledged(packet)?;
        let up_to = lane.done_up_to().min(lane.end);
        if is_event && up_to > lane.acknowledged {
            lane.acknowledged = up_to;
            if foremost {
                self.suspect.acknowledged(up_to);
            } else {
                self.suspect.broker_takes_events();
            }
        }
        if !self.suspect.is_to_go_alone() {
            self.open = self.room;
        }
        Ok(())
    }

    /// The next stretch of rows that the pipeline is to be told it may let go; with `at_once` however small it is.
    pub fn take_released(&mut self, at_once: bool) -> Option<RangeInclusive<i64>> {
        if let Some(backlog) = &self.backlog {
            let up_to = backlog.done_up_to().min(backlog.end);
            let at_once = at_once || backlog.window.is_empty();
            if let Some(rows) = stretch(&mut self.released, up_to, at_once) {
                return Some(rows);
            }
        }
        let (up_to, at_once) = (self.done_live(), at_once || self.live_under_way() == 0);
        stretch(&mut self.released_live, up_to, at_once)
    }

    /// Whether it is due to an event that the broker acknowledges nothing more: it acknowledged what was sent after it, or takes it alone and
    /// says nothing. A broker that merely does not answer is not meant.
    #[must_use]
    pub fn is_event_passed_over(&self) -> bool {
        let mut lanes = self.backlog.iter().chain([&self.urgent, &self.live]);
        lanes.any(|lane| lane.window.is_first_passed_over()) || self.suspect.is_to_go_alone()
    }

    /// The broker ended the connection. Returns the event, with its topic, that is to be set aside because the connection ended at
    /// it again and again. What was no event is not suspected.
    pub fn ended_by_broker(&mut self) -> Option<(i64, String)> {
        let of_backlog = self.backlog.as_ref().and_then(|backlog| backlog.window.first_sent());
        let first = of_backlog.or_else(|| self.first_live_sent()).filter(|first| first.row > 0)?;
        let (row, topic) = (first.row, first.topic.to_owned());
        if !self.suspect.ended_at(row) {
            return None;
        }
        self.set_aside = row;
        Some((row, topic))
    }

    /// Of what came after the backlog, the first that was sent and is not acknowledged.
    fn first_live_sent(&self) -> Option<Carried<'_>> {
        let sent = [self.urgent.window.first_sent(), self.live.window.first_sent()];
        sent.into_iter().flatten().min_by_key(|first| first.row)
    }
}

/// Rows after a backlog's beginning of which these ranks are done.
type Stretch = (RangeInclusive<i64>, RangeInclusive<u8>);

/// Whether a row is not to be sent: it was set aside, or is acknowledged already.
fn is_skipped(row: &OutboxRow, set_aside: i64, stretches: &VecDeque<Stretch>) -> bool {
    let is_done = |(rows, ranks): &Stretch| rows.contains(&row.id) && ranks.contains(&row.rank);
    row.id == set_aside || stretches.iter().any(is_done)
}

/// What comes after `released` up to `up_to`, when it is enough to be told; it counts as released then.
fn stretch(released: &mut i64, up_to: i64, at_once: bool) -> Option<RangeInclusive<i64>> {
    if up_to <= *released || !at_once && up_to - *released < RELEASE_ROWS {
        return None;
    }
    let first = *released + 1;
    *released = up_to;
    Some(first..=up_to)
}

#[cfg(test)]
mod tests;
