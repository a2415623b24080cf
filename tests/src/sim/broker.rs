//! The broker of the simulation, and the platform's session at it. What it acknowledges waits there until the platform takes it, at its
//! leisure; what it had only received when it went down is gone. A broker that comes back without sessions has forgotten what
//! waited: that is its fault and not the chain's, and it is counted.

use std::collections::VecDeque;

use anyhow::Result;
use fastrand::Rng;

use super::ledger::Ledger;

/// Messages that the platform took last and whose acknowledgement may not have come to the broker.
const UNSURE: usize = 4;

/// The broker.
#[derive(Debug, Default)]
pub(super) struct Broker {
    /// For the platform.
    queue: VecDeque<Vec<u8>>,
    last: VecDeque<Vec<u8>>,
}

impl Broker {
    /// The platform takes up to so many messages.
    pub(super) fn hand_on(&mut self, count: usize, ledger: &mut Ledger) -> Result<bool> {
        let count = count.min(self.queue.len());
        for message in self.queue.drain(..count) {
            ledger.published(&message)?;
            self.last.push_back(message);
        }
        let surplus = self.last.len().saturating_sub(UNSURE);
        self.last.drain(..surplus);
        Ok(count > 0)
    }

    /// It comes back, with what it had saved: what was not acknowledged for sure goes out again.
    pub(super) fn comes_back(&mut self) {
        while let Some(message) = self.last.pop_back() {
            self.queue.push_front(message);
        }
    }

    /// It comes back, and knows nothing of the platform.
    pub(super) fn comes_back_without_sessions(&mut self, ledger: &mut Ledger) -> Result<()> {
        self.last.clear();
        self.queue.drain(..).try_for_each(|message| ledger.forgotten(&message))
    }
}

/// A connection of the gateway, as both ends see it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    next_packet: u16,
    /// Sent, not yet processed by the broker: packet, and the events; none in a status.
    sent: Vec<(u16, Vec<Vec<u8>>)>,
    /// Processed, acknowledgements under way.
    acknowledgements: Vec<u16>,
}

impl Connection {
    /// Sends a publish, of a status or of events; returns its packet id.
    pub(super) fn publish(&mut self, events: Vec<Vec<u8>>) -> u16 {
        self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
        self.sent.push((self.next_packet, events));
        self.next_packet
    }

    /// The broker deals with the oldest publish that it has; whether there was one.
    pub(super) fn process(&mut self, broker: &mut Broker, ledger: &mut Ledger) -> Result<bool> {
        if self.sent.is_empty() {
            return Ok(false);
        }
        let (packet, events) = self.sent.remove(0);
        for event in events {
            ledger.taken(&event)?;
            broker.queue.push_back(event);
        }
        self.acknowledgements.push(packet);
        Ok(true)
    }

    /// An acknowledgement arrives, in any order.
    pub(super) fn acknowledgement(&mut self, rng: &mut Rng) -> Option<u16> {
        if self.acknowledgements.is_empty() {
            return None;
        }
        Some(self.acknowledgements.swap_remove(rng.usize(..self.acknowledgements.len())))
    }

    /// Everything that is under way.
    pub(super) fn under_way(&self) -> Vec<u16> {
        self.sent.iter().map(|(packet, _)| *packet).chain(self.acknowledgements.iter().copied()).collect()
    }
}
