//! What is under way to the broker, as a plain state machine: rows go in in order, get their packet ids in the same order, are
//! acknowledged in any order, and come out as a contiguous prefix that may be released.
//!
//! A window lives as long as one connection. What it holds when the connection ends is simply sent again on the next one:
//! the spool still has it.

use std::collections::VecDeque;

#[derive(Debug)]
struct Entry {
    row: i64,
    topic: String,
    packet: Option<u16>,
    acknowledged: bool,
}

/// The publish window of one connection.
#[derive(Debug)]
pub struct Window {
    entries: VecDeque<Entry>,
    room: usize,
}

/// The broker acknowledged a packet that was never sent on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsolicited(pub u16);

impl Window {
    /// A window of at most `room` publishes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { entries: VecDeque::with_capacity(room), room }
    }

    /// Changes how many publishes may be under way, at most to what the client's ring of packet ids holds.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The first row that was sent and is not acknowledged.
    #[must_use]
    pub fn first_sent(&self) -> Option<(i64, &str)> {
        self.entries.iter().find(|e| e.packet.is_some() && !e.acknowledged).map(|e| (e.row, e.topic.as_str()))
    }

    /// Whether another row may be submitted. A hole in the acknowledgements takes up room until it is filled, so packet
    /// ids, which are used in a ring, never meet one that is still under way.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() < self.room
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A row was handed to the client. Row ids ascend, but for the 0 of what is no event.
    pub fn submit(&mut self, row: i64, topic: String) {
        debug_assert!(self.has_room());
        self.entries.push_back(Entry { row, topic, packet: None, acknowledged: false });
    }

    /// The client gave the oldest row that has none yet its packet id. Which row it is.
    pub fn sent(&mut self, packet: u16) -> Option<i64> {
        let entry = self.entries.iter_mut().find(|entry| entry.packet.is_none())?;
        entry.packet = Some(packet);
        Some(entry.row)
    }

    /// Which row a packet carries that is not acknowledged yet, and its topic.
    #[must_use]
    pub fn row_of(&self, packet: u16) -> Option<(i64, &str)> {
        self.entries
            .iter()
            .find(|e| e.packet == Some(packet) && !e.acknowledged)
            .map(|e| (e.row, e.topic.as_str()))
    }

    /// The broker acknowledged a packet. Returns the last row of the contiguous prefix that is done, when it grew.
    ///
    /// # Errors
    /// [`Unsolicited`] when no such packet is under way.
    pub fn acknowledged(&mut self, packet: u16) -> Result<Option<i64>, Unsolicited> {
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.packet == Some(packet) && !e.acknowledged)
            .ok_or(Unsolicited(packet))?;
        entry.acknowledged = true;
        let mut prefix = None;
        while self.entries.front().is_some_and(|entry| entry.acknowledged) {
            // Not simply the last one: a status has row 0 and may stand behind events.
            prefix = prefix.max(self.entries.pop_front().map(|entry| entry.row));
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_a_prefix_that_is_acknowledged_comes_out(
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..200), room in 1usize..20
        ) {
            let mut window = Window::new(room);
            let (mut next_row, mut next_packet, mut under_way, mut released) = (1i64, 1u16, Vec::new(), 0);
            let mut acknowledged = std::collections::BTreeSet::new();
            for pick in order {
                while window.has_room() {
                    window.submit(next_row, String::new());
                    window.sent(next_packet);
                    under_way.push((next_packet, next_row));
                    next_row += 1;
                    next_packet += 1;
                }
                let (packet, row) = under_way.remove(pick.index(under_way.len()));
                acknowledged.insert(row);
                if let Some(prefix) = window.acknowledged(packet).unwrap() {
                    prop_assert!(prefix > released);
                    released = prefix;
                }
                prop_assert!((1..=released).all(|row| acknowledged.contains(&row)));
                prop_assert!(!acknowledged.contains(&(released + 1)), "the prefix is as long as it can be");
                prop_assert_eq!(window.acknowledged(packet), Err(Unsolicited(packet)), "once");
            }
        }
    }

    #[test]
    fn a_status_behind_events_does_not_hide_how_far_they_are_done() {
        // Row 0 is the goodbye, submitted while events are still under way, and acknowledged before them.
        let mut window = Window::new(3);
        for (row, packet) in [(5, 1), (6, 2), (0, 3)] {
            window.submit(row, String::new());
            window.sent(packet);
        }
        assert_eq!(window.acknowledged(3), Ok(None));
        assert_eq!(window.acknowledged(2), Ok(None));
        assert_eq!(window.acknowledged(1), Ok(Some(6)));
    }

    #[test]
    fn an_acknowledgement_of_what_is_not_sent_yet_is_refused() {
        let mut window = Window::new(3);
        window.submit(1, String::new());
        assert_eq!(window.acknowledged(1), Err(Unsolicited(1)));
    }
}
