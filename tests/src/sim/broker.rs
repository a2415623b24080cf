//! The broker of the simulation, and the platform behind it. What it acknowledges is at the platform for good; what it had only
//! received when it went down is gone.

use anyhow::Result;
use fastrand::Rng;

use super::ledger::Ledger;

/// A connection of the gateway, as both ends see it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    next_packet: u16,
    /// Sent, not yet processed by the broker: packet, and the event unless it is a status.
    sent: Vec<(u16, Option<Vec<u8>>)>,
    /// Processed, acknowledgements under way.
    acknowledgements: Vec<u16>,
}

impl Connection {
    /// Sends a publish; returns its packet id.
    pub(super) fn publish(&mut self, event: Option<Vec<u8>>) -> u16 {
        self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
        self.sent.push((self.next_packet, event));
        self.next_packet
    }

    /// The broker deals with the oldest publish that it has; whether there was one.
    pub(super) fn process(&mut self, ledger: &mut Ledger) -> Result<bool> {
        if self.sent.is_empty() {
            return Ok(false);
        }
        let (packet, event) = self.sent.remove(0);
        if let Some(event) = event {
            ledger.published(&event)?;
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
