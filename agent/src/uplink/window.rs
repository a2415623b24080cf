//! What is under way to the broker, as a plain state machine: publishes go in in order, get their packet ids in the same order, and are
//! acknowledged in any order. A publish carries one row, or several of the same topic.
//!
//! A window lives as long as one connection. What it holds when the connection ends is simply sent again on the next one:
//! the spool still has it.

use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
struct Entry {
    row: i64,
    /// The rows that go with it.
    more: Vec<i64>,
    topic: String,
    packet: Option<u16>,
    acknowledged: bool,
}

/// The publish window of one connection.
#[derive(Debug)]
pub struct Window {
    entries: VecDeque<Entry>,
    /// The rows that are not acknowledged.
    rows: BTreeSet<i64>,
    room: usize,
}

/// The broker acknowledged a packet that was never sent on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsolicited(pub u16);

/// What one publish carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried<'a> {
    /// Its first row; 0 when it is no event.
    pub row: i64,
    /// How many rows.
    pub rows: usize,
    /// Its topic.
    pub topic: &'a str,
}

impl Entry {
    fn carried(&self) -> Carried<'_> {
        Carried { row: self.row, rows: 1 + self.more.len(), topic: &self.topic }
    }
}

impl Window {
    /// A window of at most `room` publishes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { entries: VecDeque::with_capacity(room), rows: BTreeSet::new(), room }
    }

    /// Changes how many publishes may be under way, at most to what the client's ring of packet ids holds.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The first publish that was sent and is not acknowledged.
    #[must_use]
    pub fn first_sent(&self) -> Option<Carried<'_>> {
        self.entries.iter().find(|e| e.packet.is_some() && !e.acknowledged).map(Entry::carried)
    }

    /// Whether the first that is not acknowledged was passed over: one that was sent after it is.
    #[must_use]
    pub fn is_first_passed_over(&self) -> bool {
        self.entries.iter().skip_while(|e| e.acknowledged).any(|e| e.acknowledged)
    }

    /// Whether another publish may be submitted. A hole in the acknowledgements takes up room until it is filled, so packet
    /// ids, which are used in a ring, never meet one that is still under way.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() < self.room
    }

    /// How many publishes are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many rows are under way.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first row that was submitted and is not acknowledged.
    #[must_use]
    pub fn first_row(&self) -> Option<i64> {
        self.rows.first().copied()
    }

    /// A row was handed to the client, and `more` with it, all greater; row 0 is what is no event.
    pub fn submit(&mut self, row: i64, more: Vec<i64>, topic: String) {
        debug_assert!(self.has_room());
        self.rows.extend(more.iter().copied().chain([row]).filter(|row| *row > 0));
        self.entries.push_back(Entry { row, more, topic, packet: None, acknowledged: false });
    }

    /// The client gave the oldest publish that has none yet its packet id. What it carries.
    pub fn sent(&mut self, packet: u16) -> Option<Carried<'_>> {
        let entry = self.entries.iter_mut().find(|entry| entry.packet.is_none())?;
        entry.packet = Some(packet);
        Some(entry.carried())
    }

    /// What a packet carries that is not acknowledged yet.
    #[must_use]
    pub fn carried_by(&self, packet: u16) -> Option<Carried<'_>> {
        self.entries.iter().find(|e| e.packet == Some(packet) && !e.acknowledged).map(Entry::carried)
    }

    /// The broker acknowledged a packet.
    ///
    /// # Errors
    /// [`Unsolicited`] when no such packet is under way.
    pub fn acknowledged(&mut self, packet: u16) -> Result<(), Unsolicited> {
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.packet == Some(packet) && !e.acknowledged)
            .ok_or(Unsolicited(packet))?;
        entry.acknowledged = true;
        for row in entry.more.iter().chain([&entry.row]) {
            self.rows.remove(row);
        }
        while self.entries.front().is_some_and(|entry| entry.acknowledged) {
            self.entries.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_first_is_what_is_not_acknowledged_whatever_order_acknowledgements_come_in() {
        let mut window = Window::new(4);
        for (row, more, packet) in [(5, vec![8, 9], 1), (6, vec![], 2), (7, vec![10], 3), (0, vec![], 4)] {
            window.submit(row, more, String::new());
            window.sent(packet);
        }
        assert!(!window.has_room());
        assert_eq!(window.carried_by(1).map(|carried| carried.rows), Some(3));
        // A status stands behind events and is acknowledged before them.
        window.acknowledged(4).unwrap();
        window.acknowledged(2).unwrap();
        assert_eq!(window.first_row(), Some(5));
        assert!(!window.has_room(), "a hole takes up room until it is filled");
        window.acknowledged(1).unwrap();
        assert_eq!((window.first_row(), window.len()), (Some(7), 2));
        assert_eq!(window.acknowledged(1), Err(Unsolicited(1)), "once");
        window.acknowledged(3).unwrap();
        assert_eq!((window.first_row(), window.is_empty()), (None, true));
    }

    #[test]
    fn an_acknowledgement_of_what_is_not_sent_yet_is_refused() {
        let mut window = Window::new(3);
        window.submit(1, Vec::new(), String::new());
        assert_eq!(window.acknowledged(1), Err(Unsolicited(1)));
    }
}
