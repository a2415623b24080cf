//! Which event is to be sent next, and which may be let go: the uplink's decisions, without sockets or a clock.
//!
//! The spool is the only truth. A connection forgets everything when it ends; the next one begins with the first event
//! that is not acknowledged. Only what was acknowledged on the connection that sent it is ever released; so an event may
//! arrive twice, with the same id, and is never skipped.
//!
//! Two lanes: what had gathered when the connection was made is the *backlog*, what comes after it is *live* and does not wait
//! behind it. While there is a backlog, each lane has a part of the window to itself ([`LANE_SHARE`]). Within a lane events go in the order in
//! which they were made; a live event may overtake an older one of the same device, which receivers see by its time and, within an
//! episode, by its revision.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::suspect::Suspect;
use super::window::{Unsolicited, Window};
use super::{Outbox, OutboxError, OutboxRow};

/// Rows that are read from the spool at once.
pub const READ_ROWS: usize = 256;
/// Rows that are acknowledged before the pipeline is told, while more are under way: each telling costs it a transaction.
pub const RELEASE_ROWS: i64 = 256;
/// The part of the window, as one in so many, that one lane leaves to the other.
pub const LANE_SHARE: usize = 4;
/// Stretches of live events that are acknowledged while a backlog before them is not, over several connections. Beyond it the oldest
/// is forgotten, and sent once more if the pipeline has not let it go yet.
const STRETCHES_MAX: usize = 64;

/// A stretch of the spool that is sent in order.
#[derive(Debug)]
struct Lane {
    /// The last row that belongs to it.
    end: i64,
    /// Everything in it up to here is acknowledged.
    acknowledged: i64,
    /// Everything in it up to here was reported to the pipeline; at most `acknowledged`.
    released: i64,
    /// Rows that are read and not yet submitted.
    ahead: VecDeque<OutboxRow>,
    /// The last row that was read, or that the next read begins after.
    read_up_to: i64,
    window: Window,
}

impl Lane {
    fn new(after: i64, end: i64, room: usize) -> Self {
        Self {
            end,
            acknowledged: after,
            released: after,
            ahead: VecDeque::new(),
            read_up_to: after,
            window: Window::new(room),
        }
    }

    /// Whether everything in it up to `newest` is acknowledged.
    fn is_done(&self, newest: i64) -> bool {
        self.window.is_empty() && self.ahead.is_empty() && self.read_up_to >= newest.min(self.end)
    }

    /// The next row that is not in one of `stretches`. As [`Outflow::next`].
    fn next(
        &mut self,
        outbox: &mut dyn Outbox,
        committed: &mut dyn FnMut() -> i64,
        skip: &dyn Fn(i64) -> bool,
    ) -> Result<Option<OutboxRow>, OutboxError> {
        loop {
            let Some(row) = self.ahead.pop_front() else {
                // Asked before reading: what is committed while the read is under way must be read the next time.
                let newest = committed().min(self.end);
                if self.read_up_to >= newest {
                    return Ok(None);
                }
                // Not worth another thread: a read by row id takes well under a millisecond.
                let mut rows = outbox.read_after(self.read_up_to, READ_ROWS)?;
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
            if !skip(row.id) {
                return Ok(Some(row));
            }
        }
    }

    fn take_released(&mut self, at_once: bool) -> Option<RangeInclusive<i64>> {
        let enough = at_once || self.window.is_empty() || self.acknowledged - self.released >= RELEASE_ROWS;
        if !enough || self.acknowledged <= self.released {
            return None;
        }
        let first = self.released + 1;
        self.released = self.acknowledged;
        Some(first..=self.released)
    }
}

/// Which lane something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Backlog,
    Live,
}

/// Where the uplink stands in the spool. Lives as long as the agent; what belongs to one connection begins anew with
/// [`Outflow::connecting`].
#[derive(Debug)]
pub struct Outflow {
    /// What had gathered when the connection was made, as long as not all of it is acknowledged.
    backlog: Option<Lane>,
    live: Lane,
    /// Of what was submitted and has no packet id yet: in which lane it is, oldest first.
    unnumbered: VecDeque<Which>,
    /// Where the row came from that [`Outflow::next`] handed out last.
    handed_out: Which,
    /// Stretches after the backlog's end that are acknowledged already, ascending.
    stretches: VecDeque<RangeInclusive<i64>>,
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
        Self {
            backlog: None,
            live: Lane::new(0, i64::MAX, 1),
            unnumbered: VecDeque::new(),
            handed_out: Which::Live,
            stretches: VecDeque::new(),
            set_aside: 0,
            suspect: Suspect::default(),
            room: 1,
            open: 1,
        }
    }
}

impl Outflow {
    /// A new connection, when the newest row in the spool is `committed`: nothing of an earlier one counts.
    pub fn connecting(&mut self, committed: i64) {
        let (after, released) = match &self.backlog {
            Some(backlog) => {
                if self.live.acknowledged > backlog.end {
                    self.stretches.push_back(backlog.end + 1..=self.live.acknowledged);
                }
                (backlog.acknowledged, backlog.released)
            }
            None => (self.live.acknowledged, self.live.released),
        };
        if self.stretches.len() > STRETCHES_MAX {
            self.stretches.pop_front();
        }
        // What the live lane had not told yet is told with its lane; `take_released` was asked when the connection ended.
        let committed = committed.max(after);
        self.backlog =
            (committed > after).then(|| Lane { released, ..Lane::new(after, committed, self.room) });
        self.live = Lane::new(committed, i64::MAX, self.room);
        self.unnumbered.clear();
        self.open = 1;
    }

    /// The broker takes `room` publishes at once. The window opens with the first acknowledgement (of the birth): then it
    /// is clear that what follows an event is due to it.
    pub fn connected(&mut self, room: usize) {
        self.room = room.max(1);
        self.open = 1;
        for lane in self.backlog.iter_mut().chain([&mut self.live]) {
            lane.window.set_room(self.room);
        }
    }

    fn under_way(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.window.len()) + self.live.window.len()
    }

    /// How many of the window this lane may have under way.
    fn room_of(&self, which: Which) -> usize {
        match (&self.backlog, which) {
            (Some(_), _) if self.open > 1 => self.open - (self.open / LANE_SHARE).max(1),
            // One at a time: what gathered first, so that a suspected event gets its turn.
            (Some(_), Which::Live) => 0,
            _ => self.open,
        }
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
        for which in [Which::Live, Which::Backlog] {
            let room = self.room_of(which);
            let (set_aside, stretches) = (self.set_aside, &self.stretches);
            let skip = |row| row == set_aside || stretches.iter().any(|stretch| stretch.contains(&row));
            if self.backlog.as_ref().map_or(0, |backlog| backlog.window.len()) + self.live.window.len()
                >= self.open
            {
                return Ok(None);
            }
            let lane = match which {
                Which::Live => &mut self.live,
                Which::Backlog => match &mut self.backlog {
                    Some(backlog) => backlog,
                    None => continue,
                },
            };
            if lane.window.len() >= room {
                continue;
            }
            if let Some(row) = lane.next(outbox, &mut committed, &skip)? {
                self.handed_out = which;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// All of the backlog is acknowledged: from here on there is only the live lane.
    fn backlog_done(&mut self) {
        if self.backlog.as_ref().is_some_and(|backlog| backlog.acknowledged > backlog.released) {
            // Still to be told.
            return;
        }
        self.backlog = None;
        self.stretches.clear();
    }

    /// The row that was handed out last cannot be dealt with now: it is the next one again.
    pub fn put_back(&mut self, row: OutboxRow) {
        self.lane(self.handed_out).ahead.push_front(row);
    }

    fn lane(&mut self, which: Which) -> &mut Lane {
        match (which, &mut self.backlog) {
            (Which::Backlog, Some(backlog)) => backlog,
            _ => &mut self.live,
        }
    }

    /// The row that was handed out last, or with row 0 what is no event, was handed to the client.
    pub fn submit(&mut self, row: i64, topic: String) {
        let which = if row > 0 { self.handed_out } else { Which::Live };
        self.lane(which).window.submit(row, topic);
        self.unnumbered.push_back(which);
    }

    /// The client gave the oldest row that has none yet its packet id. Which row it is.
    pub fn sent(&mut self, packet: u16) -> Option<i64> {
        let which = self.unnumbered.pop_front()?;
        self.lane(which).window.sent(packet)
    }

    /// Which row a packet carries that is not acknowledged yet, and its topic.
    #[must_use]
    pub fn row_of(&self, packet: u16) -> Option<(i64, &str)> {
        self.backlog
            .as_ref()
            .and_then(|backlog| backlog.window.row_of(packet))
            .or_else(|| self.live.window.row_of(packet))
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
        self.live.is_done(committed) && self.backlog.as_ref().is_none_or(|backlog| backlog.is_done(i64::MAX))
    }

    /// The broker acknowledged a packet.
    ///
    /// # Errors
    /// [`Unsolicited`] when no such packet is under way.
    pub fn acknowledged(&mut self, packet: u16) -> Result<(), Unsolicited> {
        let in_backlog = self.backlog.as_ref().is_some_and(|backlog| backlog.window.row_of(packet).is_some());
        let which = if in_backlog { Which::Backlog } else { Which::Live };
        let foremost = in_backlog || self.backlog.is_none();
        let lane = self.lane(which);
        let Some(row) = lane.window.acknowledged(packet)? else { return Ok(()) };
        if row > lane.acknowledged {
            lane.acknowledged = row;
            if foremost {
                self.suspect.acknowledged(row);
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
        let of_backlog = self.backlog.as_mut().and_then(|backlog| backlog.take_released(at_once));
        of_backlog.or_else(|| self.live.take_released(at_once))
    }

    /// The broker ended the connection. Returns the event, with its topic, that is to be set aside because the connection ended at
    /// it again and again. What was no event is not suspected.
    pub fn ended_by_broker(&mut self) -> Option<(i64, String)> {
        let of_backlog = self.backlog.as_ref().and_then(|backlog| backlog.window.first_sent());
        let (row, topic) =
            of_backlog.or_else(|| self.live.window.first_sent()).filter(|(row, _)| *row > 0)?;
        let topic = topic.to_owned();
        if !self.suspect.ended_at(row) {
            return None;
        }
        self.set_aside = row;
        Some((row, topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spool in which the pipeline commits a row while the uplink is reading.
    struct CommitsDuringRead {
        rows: Vec<i64>,
        committed: std::rc::Rc<std::cell::Cell<i64>>,
        /// What is committed during the next read, after it has looked.
        next: Option<i64>,
    }

    impl Outbox for CommitsDuringRead {
        fn read_after(&mut self, after: i64, max_rows: usize) -> Result<Vec<OutboxRow>, OutboxError> {
            let seen = self.rows.iter().filter(|id| **id > after).take(max_rows);
            let seen = seen.map(|id| OutboxRow { id: *id, topic: "t".to_owned(), payload: vec![] }).collect();
            if let Some(id) = self.next.take() {
                self.rows.push(id);
                self.committed.set(id);
            }
            Ok(seen)
        }
    }

    #[test]
    fn a_row_committed_while_a_read_finds_nothing_is_not_skipped() {
        // Rows 4 and 5 were set aside: the read after 3 finds nothing, and row 6 is committed in the same moment.
        let committed = std::rc::Rc::new(std::cell::Cell::new(5));
        let mut outbox = CommitsDuringRead { rows: Vec::new(), committed: committed.clone(), next: Some(6) };
        let mut outflow = Outflow { live: Lane::new(3, i64::MAX, 1), ..Outflow::default() };
        outflow.connecting(3);
        outflow.connected(10);
        assert_eq!(outflow.next(&mut outbox, || committed.get()), Ok(None));
        assert!(!outflow.is_idle(committed.get()), "row 6 is still to be sent");
        assert_eq!(outflow.next(&mut outbox, || committed.get()).unwrap().unwrap().id, 6);
    }

    fn spool(rows: impl IntoIterator<Item = i64>) -> (CommitsDuringRead, std::rc::Rc<std::cell::Cell<i64>>) {
        let rows: Vec<_> = rows.into_iter().collect();
        let committed = std::rc::Rc::new(std::cell::Cell::new(rows.last().copied().unwrap_or(0)));
        (CommitsDuringRead { rows, committed: committed.clone(), next: None }, committed)
    }

    /// Connects, and lets the broker take the birth.
    fn connect(outflow: &mut Outflow, committed: i64, room: usize) {
        outflow.connecting(committed);
        outflow.connected(room);
        outflow.submit(0, "birth".to_owned());
        outflow.sent(1);
        outflow.acknowledged(1).unwrap();
    }

    /// Sends what there is room for, with packet ids from `packet` on; which rows.
    fn send(outflow: &mut Outflow, outbox: &mut CommitsDuringRead, newest: i64, mut packet: u16) -> Vec<i64> {
        let mut rows = Vec::new();
        while let Some(row) = outflow.next(outbox, || newest).unwrap() {
            outflow.submit(row.id, row.topic);
            outflow.sent(packet);
            packet += 1;
            rows.push(row.id);
        }
        rows
    }

    #[test]
    fn a_fresh_event_does_not_wait_behind_the_backlog() {
        let (mut outbox, _) = spool(1..=100);
        let mut outflow = Outflow::default();
        connect(&mut outflow, 100, 8);
        assert_eq!(
            send(&mut outflow, &mut outbox, 100, 2),
            [1, 2, 3, 4, 5, 6],
            "a part is left for live events"
        );
        outbox.rows.extend(101..=110);
        assert_eq!(send(&mut outflow, &mut outbox, 110, 8), [101, 102]);
        outflow.acknowledged(8).unwrap();
        assert_eq!(outflow.take_released(true), Some(101..=101));
        outflow.acknowledged(2).unwrap();
        assert_eq!(
            send(&mut outflow, &mut outbox, 110, 10),
            [103, 104],
            "live first, as far as its share goes"
        );
    }

    #[test]
    fn what_is_acknowledged_of_the_live_lane_is_not_sent_again_with_the_backlog() {
        let (mut outbox, _) = spool(1..=4);
        let mut outflow = Outflow::default();
        connect(&mut outflow, 2, 8);
        assert_eq!(send(&mut outflow, &mut outbox, 4, 2), [3, 4, 1, 2]);
        outflow.acknowledged(2).unwrap();
        outflow.acknowledged(5).unwrap();
        assert_eq!(outflow.take_released(true), Some(3..=3));
        assert_eq!(outflow.take_released(true), None, "row 1 is not acknowledged");
        // The pipeline has not let row 3 go yet.
        connect(&mut outflow, 4, 8);
        assert_eq!(send(&mut outflow, &mut outbox, 4, 2), [1, 2, 4]);
        for packet in 2..5 {
            outflow.acknowledged(packet).unwrap();
        }
        assert_eq!(outflow.take_released(true), Some(1..=4));
        assert!(outflow.is_idle(4));
    }
}
