//! When a record was made, for a device that could only say how long it had been up.
//!
//! Every message in which a device states its uptime tells the gateway the offset of that boot: `unix = uptime + offset`.
//! The answer's delay only ever makes the offset too large, so of several the smallest is the best; one that is smaller by
//! more than [`STEP_MS`] or larger by more than that means that one of the two clocks was set, and the new one holds.

use gridpost_protocol::time::{ClockQuality, Stamp, UnixMillis, UptimeMillis};

/// Boots of a device whose offsets are remembered: records of earlier ones have no time any more.
pub const BOOTS_MAX: usize = 8;
/// A difference between two offsets of one boot that delays on the link do not explain, in milliseconds.
const STEP_MS: i64 = 10_000;

/// What is known of one device's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceClock {
    /// (boot, offset), newest boot last.
    offsets: Vec<(u32, i64)>,
}

impl DeviceClock {
    /// A clock from what was stored: (boot, offset in milliseconds).
    #[must_use]
    pub fn from_stored(mut offsets: Vec<(u32, i64)>) -> Self {
        offsets.sort_unstable();
        let surplus = offsets.len().saturating_sub(BOOTS_MAX);
        offsets.drain(..surplus);
        Self { offsets }
    }

    /// The device said its uptime. Returns the offset when it is news, to be stored.
    pub fn learn(&mut self, boot: u32, uptime: UptimeMillis, now: UnixMillis) -> Option<i64> {
        let offset = now.0.saturating_sub(i64::try_from(uptime.0).unwrap_or(i64::MAX));
        if let Some((_, known)) = self.offsets.iter_mut().find(|(b, _)| *b == boot) {
            let difference = offset.saturating_sub(*known);
            if (0..=STEP_MS).contains(&difference) {
                return None;
            }
            *known = offset;
            return Some(offset);
        }
        self.offsets.push((boot, offset));
        self.offsets.sort_unstable();
        if self.offsets.len() > BOOTS_MAX {
            self.offsets.remove(0);
        }
        Some(offset)
    }

    /// The time of a stamp, and how it is known; `now` stands in for what nobody knows.
    #[must_use]
    pub fn resolve(&self, stamp: Stamp, now: UnixMillis) -> (UnixMillis, ClockQuality) {
        match stamp {
            Stamp::Unix { at, .. } => (at, ClockQuality::Device),
            Stamp::Uptime { boot, at } => match self.offsets.iter().find(|(b, _)| *b == boot) {
                Some((_, offset)) => {
                    let uptime = i64::try_from(at.0).unwrap_or(i64::MAX);
                    (UnixMillis(uptime.saturating_add(*offset)), ClockQuality::Resolved)
                }
                None => (now, ClockQuality::Arrival),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn uptime(boot: u32, at: u64) -> Stamp {
        Stamp::Uptime { boot, at: UptimeMillis(at) }
    }

    #[test]
    fn a_record_of_a_known_boot_gets_its_true_time() {
        let mut clock = DeviceClock::default();
        assert!(clock.learn(3, UptimeMillis(60_000), NOW).is_some());
        assert_eq!(clock.resolve(uptime(3, 10_000), NOW), (NOW.plus(-50_000), ClockQuality::Resolved));
        assert_eq!(clock.resolve(uptime(2, 10_000), NOW), (NOW, ClockQuality::Arrival));
    }

    #[test]
    fn a_quicker_answer_is_a_better_one_and_a_slower_one_is_not() {
        let mut clock = DeviceClock::default();
        let first = clock.learn(3, UptimeMillis(0), NOW.plus(900)).unwrap();
        assert_eq!(clock.learn(3, UptimeMillis(0), NOW.plus(2_000)), None);
        assert_eq!(clock.learn(3, UptimeMillis(0), NOW), Some(first - 900));
        assert_eq!(clock.learn(3, UptimeMillis(0), NOW.plus(3_600_000)), Some(NOW.0 + 3_600_000), "set");
    }

    #[test]
    fn the_oldest_boots_are_forgotten() {
        let mut clock = DeviceClock::default();
        for boot in 0..20 {
            clock.learn(boot, UptimeMillis(0), NOW);
        }
        assert_eq!(clock.resolve(uptime(0, 0), NOW).1, ClockQuality::Arrival);
        assert_eq!(clock.resolve(uptime(19, 0), NOW).1, ClockQuality::Resolved);
        assert_eq!(clock.offsets.len(), BOOTS_MAX);
    }
}
