//! Which event is to be sent next, and which may be let go: the uplink's decisions, without sockets or a clock.
//!
//! The spool is the only truth. A connection forgets everything when it ends; the next one begins with the first event
//! that is not acknowledged. Only a contiguous prefix of events, each acknowledged on the connection that sent it, is
//! ever released; so an event may arrive twice, with the same id, and is never skipped.

use std::collections::VecDeque;

use super::suspect::Suspect;
use super::window::{Unsolicited, Window};
use super::{Outbox, OutboxError, OutboxRow};

/// Rows that are read from the spool at once.
pub const READ_ROWS: usize = 256;
/// Rows that are acknowledged before the pipeline is told, while more are under way: each telling costs it a transaction.
pub const RELEASE_ROWS: i64 = 256;

/// Where the uplink stands in the spool. Lives as long as the agent; what belongs to one connection begins anew with
/// [`Outflow::connecting`].
#[derive(Debug)]
pub struct Outflow {
    /// Everything up to here was acknowledged, and is never sent again.
    acknowledged: i64,
    /// Everything up to here was reported to the pipeline; at most `acknowledged`.
    released: i64,
    /// The last row at which a broker hung up for good. The pipeline may not have taken it out of the spool yet.
    set_aside: i64,
    suspect: Suspect,
    /// Rows that are read and not yet submitted.
    ahead: VecDeque<OutboxRow>,
    /// The last row that was read, or that the next read begins after.
    read_up_to: i64,
    window: Window,
    /// How many publishes this broker takes at once.
    room: usize,
}

impl Default for Outflow {
    fn default() -> Self {
        Self {
            acknowledged: 0,
            released: 0,
            set_aside: 0,
            suspect: Suspect::default(),
            ahead: VecDeque::new(),
            read_up_to: 0,
            window: Window::new(1),
            room: 1,
        }
    }
}

impl Outflow {
    /// A new connection: nothing of an earlier one counts.
    pub fn connecting(&mut self) {
        self.ahead.clear();
        self.read_up_to = self.acknowledged;
        self.window = Window::new(1);
        self.room = 1;
    }

    /// The broker takes `room` publishes at once. The window opens with the first acknowledgement (of the birth): then it
    /// is clear that what follows an event is due to it.
    pub fn connected(&mut self, room: usize) {
        self.window = Window::new(1);
        self.room = room.max(1);
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
        while self.window.has_room() {
            let Some(row) = self.ahead.pop_front() else {
                let committed = committed();
                if self.read_up_to >= committed {
                    return Ok(None);
                }
                // Not worth another thread: a read by row id takes well under a millisecond.
                let rows = outbox.read_after(self.read_up_to, READ_ROWS)?;
                // None: rows up to the newest were there once, and are gone: released or set aside.
                let found = rows.last().map(|last| last.id);
                self.read_up_to = found.unwrap_or(committed);
                self.ahead.extend(rows);
                if found.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if row.id != self.set_aside {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The row cannot be dealt with now: it is the next one again.
    pub fn put_back(&mut self, row: OutboxRow) {
        self.ahead.push_front(row);
    }

    /// A row, or with row 0 what is no event, was handed to the client. There must be room.
    pub fn submit(&mut self, row: i64, topic: String) {
        self.window.submit(row, topic);
    }

    /// The client gave the oldest row that has none yet its packet id.
    pub fn sent(&mut self, packet: u16) {
        self.window.sent(packet);
    }

    /// Which row a packet carries that is not acknowledged yet, and its topic.
    #[must_use]
    pub fn row_of(&self, packet: u16) -> Option<(i64, &str)> {
        self.window.row_of(packet)
    }

    /// Whether another row may be submitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.window.has_room()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn nothing_under_way(&self) -> bool {
        self.window.is_empty()
    }

    /// Whether everything up to `committed` is acknowledged.
    #[must_use]
    pub fn is_idle(&self, committed: i64) -> bool {
        self.window.is_empty() && self.ahead.is_empty() && self.read_up_to >= committed
    }

    /// The broker acknowledged a packet.
    ///
    /// # Errors
    /// [`Unsolicited`] when no such packet is under way.
    pub fn acknowledged(&mut self, packet: u16) -> Result<(), Unsolicited> {
        if let Some(row) = self.window.acknowledged(packet)? {
            if row > self.acknowledged {
                self.acknowledged = row;
                self.suspect.acknowledged(row);
            }
            if !self.suspect.is_to_go_alone() {
                self.window.set_room(self.room);
            }
        }
        Ok(())
    }

    /// Up to where the pipeline is to be told that it may let go; with `at_once` however little it is.
    pub fn to_release(&mut self, at_once: bool) -> Option<i64> {
        let enough = at_once || self.window.is_empty() || self.acknowledged - self.released >= RELEASE_ROWS;
        if !enough || self.acknowledged <= self.released {
            return None;
        }
        self.released = self.acknowledged;
        Some(self.released)
    }

    /// The broker ended the connection. Returns the event, with its topic, that is to be set aside because the connection ended at
    /// it again and again. What was no event is not suspected.
    pub fn ended_by_broker(&mut self) -> Option<(i64, String)> {
        let (row, topic) = self.window.first_sent().filter(|(row, _)| *row > 0)?;
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
        let mut outflow = Outflow { acknowledged: 3, ..Outflow::default() };
        outflow.connecting();
        outflow.connected(10);
        assert_eq!(outflow.next(&mut outbox, || committed.get()), Ok(None));
        assert!(!outflow.is_idle(committed.get()), "row 6 is still to be sent");
        assert_eq!(outflow.next(&mut outbox, || committed.get()).unwrap().unwrap().id, 6);
    }
}
