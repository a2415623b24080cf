//! A gateway that listens, on trial: who falls silent by the pack's `[[silence]]` rules, told by the gateway's own [`Silences`].
//!
//! It ticks each second, as the gateway does. What comes in the second of a tick is heard before it.

use std::collections::HashSet;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Pack, SilenceRule};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;

use crate::silence::Silences;

const TICK_MS: i64 = 1000;

/// A gateway that listens for a time.
#[derive(Debug)]
pub struct Listening<'p> {
    pack: &'p Pack,
    silences: Silences,
    /// The next tick.
    next: UnixMillis,
    until: UnixMillis,
}

/// A device, or one of its sensors, is silent, or is heard again.
#[derive(Clone, Copy, Debug)]
pub struct Silent<'p> {
    /// Which.
    pub device: DeviceId,
    /// By which rule.
    pub rule: &'p SilenceRule,
    /// When it was told.
    pub at: UnixMillis,
    /// Since when nothing had been heard.
    pub since: UnixMillis,
    /// It is silent, or not any more.
    pub is_silent: bool,
}

impl<'p> Listening<'p> {
    /// A gateway that starts, and knows these devices from before.
    #[must_use]
    pub fn new(pack: &'p Pack, from: UnixMillis, until: UnixMillis, devices: &HashSet<DeviceId>) -> Self {
        let mut silences = Silences::default();
        silences.begin(pack, from, |device| devices.contains(&device), |_| true, |_, _| false);
        Self { pack, silences, next: from, until }
    }

    /// A reading comes.
    pub fn read(
        &mut self,
        device: DeviceId,
        quantity: Quantity,
        at: UnixMillis,
        said: impl FnMut(Silent<'p>),
    ) {
        self.pass(at.plus(-1), said);
        self.silences.heard(self.pack, device, at);
        self.silences.read(self.pack, device, quantity, at);
    }

    /// It listens to its end.
    pub fn finish(mut self, said: impl FnMut(Silent<'p>)) {
        self.pass(self.until, said);
    }

    /// All ticks up to a time.
    fn pass(&mut self, to: UnixMillis, mut said: impl FnMut(Silent<'p>)) {
        while self.next <= to {
            let at = self.next;
            let changes = self.silences.pass(self.pack, at);
            for change in &changes {
                if let Some((device, rule, since)) = self.silences.about(*change, self.pack) {
                    said(Silent { device, rule, at, since, is_silent: change.is_silent });
                }
            }
            self.silences.told(&changes);
            self.next = at.plus(TICK_MS);
        }
    }
}
