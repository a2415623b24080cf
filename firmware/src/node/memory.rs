//! What a node takes most of its memory for, in a place of its own: a board puts it into a static cell, where it needs no way over the stack
//! and, because it begins as zeros, none of the image.

use core::cell::RefCell;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::mutex::Mutex;
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UptimeMillis;

use super::observe::Rules;

/// Readings that wait for the store: some ten seconds' and a minute's of a sound level meter.
pub(super) const WAITING_MAX: usize = 48;

/// The rules at work, the readings that wait, and the frame that is sent or was received.
pub struct Memory {
    /// Borrowed only while the store is locked, and not across an await.
    pub(super) rules: RefCell<Rules>,
    pub(super) waiting: Channel<NoopRawMutex, Waiting, WAITING_MAX>,
    pub(super) frame: Mutex<NoopRawMutex, FrameBuf>,
}

impl Memory {
    /// Of a node before its start.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rules: RefCell::new(Rules::new()),
            waiting: Channel::new(),
            frame: Mutex::new(FrameBuf::new()),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// A reading that waits, with the uptime at which it was made: in 14 bytes, where both of them take 24.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Nine thousand years of it.
    at: [u16; 3],
    value: [u16; 2],
    quantity: u16,
    quality: Quality,
}

impl Waiting {
    pub(super) fn new(UptimeMillis(at): UptimeMillis, reading: &Reading) -> Self {
        let value = reading.value.0.cast_unsigned();
        // Each takes its sixteen bits.
        Self {
            at: [at as u16, (at >> 16) as u16, (at >> 32) as u16],
            value: [value as u16, (value >> 16) as u16],
            quantity: reading.quantity.code(),
            quality: reading.quality,
        }
    }

    pub(super) fn get(&self) -> (UptimeMillis, Reading) {
        let [low, middle, high] = self.at.map(u64::from);
        let [value, above] = self.value.map(u32::from);
        let reading = Reading {
            quantity: Quantity::from_code(self.quantity),
            value: Milli((value | above << 16).cast_signed()),
            quality: self.quality,
        };
        (UptimeMillis(low | middle << 16 | high << 32), reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_waits_comes_out_as_it_went_in() {
        assert_eq!(size_of::<Waiting>(), 14);
        for (at, value) in [(0, 0), (1, -1), (u64::from(u32::MAX) + 77, i32::MIN), ((1 << 48) - 1, i32::MAX)]
        {
            for quantity in [Quantity::LAeq, Quantity::Custom(9), Quantity::Unknown(60_000)] {
                let quality = Quality::OVERLOAD.with(Quality::FAULT);
                let reading = Reading { quantity, value: Milli(value), quality };
                assert_eq!(Waiting::new(UptimeMillis(at), &reading).get(), (UptimeMillis(at), reading));
            }
        }
    }
}
