//! What time a node says it is.

use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

/// Stamps records.
pub trait WallClock {
    /// The stamp of something that happens at this uptime.
    fn stamp(&self, boot: u32, uptime: UptimeMillis) -> Stamp;

    /// The gateway said the time: `unix = uptime + offset`.
    fn set(&mut self, offset_ms: i64, uncertainty_ms: u16);
}

/// The clock of a node without a clock: stamps uptime until a gateway said the time, and that time from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncedClock(Option<(i64, u16)>);

/// Two answers that differ by less than this say the same; the stamps of records then go on without a step, and batches of
/// records on one clock. In milliseconds.
const SAME_MS: i64 = 250;

impl WallClock for SyncedClock {
    fn stamp(&self, boot: u32, uptime: UptimeMillis) -> Stamp {
        match self.0 {
            None => Stamp::Uptime { boot, at: uptime },
            Some((offset_ms, uncertainty_ms)) => {
                let uptime = i64::try_from(uptime.0).unwrap_or(i64::MAX);
                Stamp::Unix { at: UnixMillis(uptime.saturating_add(offset_ms)), uncertainty_ms }
            }
        }
    }

    fn set(&mut self, offset_ms: i64, uncertainty_ms: u16) {
        match self.0 {
            Some((known, _)) if known.abs_diff(offset_ms) < SAME_MS.unsigned_abs() => {}
            _ => self.0 = Some((offset_ms, uncertainty_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_stamped_with_uptime_until_the_time_is_known() {
        let mut clock = SyncedClock::default();
        assert_eq!(clock.stamp(3, UptimeMillis(500)), Stamp::Uptime { boot: 3, at: UptimeMillis(500) });
        clock.set(1_000_000, 40);
        let stamp = Stamp::Unix { at: UnixMillis(1_000_500), uncertainty_ms: 40 };
        assert_eq!(clock.stamp(3, UptimeMillis(500)), stamp);
        clock.set(1_000_100, 30);
        assert_eq!(clock.stamp(3, UptimeMillis(500)), stamp, "no step for a small difference");
        clock.set(2_000_000, 30);
        assert_ne!(clock.stamp(3, UptimeMillis(500)), stamp);
    }
}
