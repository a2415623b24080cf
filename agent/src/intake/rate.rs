//! How much of one device is taken: a bucket of records that fills at a steady rate, so that a node that babbles cannot starve
//! the others, and a backlog after an outage still goes through at once.
//!
//! What is over the bound is treated as if it had never come: it is not acknowledged, so the device keeps it and sends it again.
//! Only what is taken costs anything; repetitions of what is not taken therefore do not put off the moment at which it is. The
//! device waits a second after the last acknowledgement, then longer (`protocol::session`), and in that second the bucket gets
//! what goes through next: a device that has more than its rate gets just about its rate.
//!
//! Frames without new records cost one, and may use a reserve that records cannot: a device that floods still says how it is, and
//! is told the time.

use gridpost_protocol::session::gateway::Input;
use gridpost_protocol::time::UnixMillis;

/// Frames without records that are taken although the bucket is empty.
const RESERVE: i64 = 100;
/// A record, in thousandths: what one per second brings in a millisecond.
const RECORD: i64 = 1_000;
/// While a device is over its bound it is named in the log once in this time, in milliseconds.
const SAID_EVERY_MS: i64 = 10 * 60 * 1000;

/// What is taken of each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Records in a second, for as long as it likes.
    pub per_second: u32,
    /// Records at once, after it was quiet for long. More than any frame holds.
    pub burst: u32,
}

impl RateLimit {
    /// The least burst: no frame holds more records.
    pub const BURST_MIN: u32 = 1_000;
    /// The highest rate and burst that can be set.
    pub const MAX: u32 = 10_000_000;
}

impl Default for RateLimit {
    /// Several times what a node with all sensors makes, and the flash of a day's outage at once.
    fn default() -> Self {
        Self { per_second: 100, burst: 100_000 }
    }
}

/// What may still be taken of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    /// In thousandths of a record.
    level: i64,
    /// When it was last filled; [`None`] before the first frame.
    filled: Option<UnixMillis>,
    /// What was taken and is not committed yet, in thousandths of a record.
    uncommitted: i64,
    /// Frames that were not taken since the start.
    held_back: u64,
    said: Option<UnixMillis>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(limit: RateLimit) -> Self {
        let level = i64::from(limit.burst) * RECORD;
        Self { limit, level, filled: None, uncommitted: 0, held_back: 0, said: None }
    }

    /// Whether what a frame says may be taken now; then it has been paid for.
    pub(super) fn takes(&mut self, input: &Input<'_>, now: UnixMillis) -> bool {
        let (records, cost) = match input {
            Input::Records { fresh, last, .. } => {
                (true, i64::try_from((last.0 + 1).saturating_sub(fresh.first().0)).unwrap_or(i64::MAX))
            }
            // Nothing is done with it, and the device hears nothing.
            Input::OutOfOrder => return true,
            _ => (false, 1),
        };
        self.pays(records, cost, now)
    }

    fn pays(&mut self, records: bool, cost: i64, now: UnixMillis) -> bool {
        // The wall clock may be set meanwhile: back brings nothing, and forward at most a full bucket.
        let elapsed = self.filled.map_or(0, |filled| now.0.saturating_sub(filled.0).max(0));
        self.filled = Some(now);
        let brought = elapsed.saturating_mul(i64::from(self.limit.per_second));
        self.level = self.level.saturating_add(brought).min(i64::from(self.limit.burst) * RECORD);
        let left = self.level.saturating_sub(cost.saturating_mul(RECORD));
        let least = if records { 0 } else { -RESERVE * RECORD };
        if left < least {
            self.held_back += 1;
            return false;
        }
        self.uncommitted = self.uncommitted.saturating_add(self.level - left);
        self.level = left;
        true
    }

    /// What was taken is durable.
    pub(super) fn committed(&mut self) {
        self.uncommitted = 0;
    }

    /// What was taken is not: it will come again, and is not to be paid for twice.
    pub(super) fn rolled_back(&mut self) {
        self.level += std::mem::take(&mut self.uncommitted);
    }

    /// Frames that were not taken since the start.
    pub(super) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Whether it is time to name the device in the log.
    pub(super) fn is_to_be_said(&mut self, now: UnixMillis) -> bool {
        let due = self.said.is_none_or(|said| now.0.abs_diff(said.0) >= SAID_EVERY_MS.unsigned_abs());
        if due {
            self.said = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use gridpost_protocol::frame::FrameBuf;
    use gridpost_protocol::id::{DeviceId, Seq};
    use gridpost_protocol::message::{Hello, RecordsBuilder, ResetCause};
    use gridpost_protocol::quantity::Quantity;
    use gridpost_protocol::reading::{Milli, Quality, Reading};
    use gridpost_protocol::record::Record;
    use gridpost_protocol::seal::Key;
    use gridpost_protocol::session::gateway::{Durable, GatewaySession};
    use gridpost_protocol::session::node::{Next, NodeSession};
    use gridpost_protocol::time::{Stamp, UptimeMillis};

    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 10, burst: 1_000 };

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    #[test]
    fn a_burst_goes_through_at_once_and_then_the_rate() {
        let mut bucket = Bucket::new(LIMIT);
        assert!(bucket.pays(true, 1_000, at(100)));
        assert!(!bucket.pays(true, 1, at(100)));
        // What is not taken costs nothing, however often it is tried.
        for _ in 0..1_000 {
            assert!(!bucket.pays(true, 47, at(104)));
        }
        assert!(
            bucket.pays(true, 47, at(105)) && !bucket.pays(true, 4, at(105)) && bucket.pays(true, 3, at(105))
        );
        assert_eq!(bucket.held_back(), 1_002);
        // However long it is quiet: not more than the burst.
        assert!(!bucket.pays(true, 1_001, at(1_000_000)) && bucket.pays(true, 1_000, at(1_000_000)));
    }

    #[test]
    fn a_device_that_floods_still_says_how_it_is_but_not_without_end() {
        let mut bucket = Bucket::new(LIMIT);
        assert!(bucket.pays(true, 1_000, at(0)));
        let said = (0..1_000).filter(|_| bucket.pays(false, 1, at(0))).count();
        assert_eq!(said, 100);
        assert!(!bucket.pays(true, 1, at(10)), "the reserve is filled first");
        assert!(bucket.pays(true, 10, at(11)));
    }

    #[test]
    fn a_clock_that_is_set_neither_stops_a_device_nor_opens_the_gates() {
        let mut bucket = Bucket::new(LIMIT);
        assert!(bucket.pays(true, 1_000, at(86_400)));
        assert!(!bucket.pays(true, 10, at(0)));
        assert!(bucket.pays(true, 10, at(1)), "it fills from the new time on");
        assert!(
            bucket.pays(true, 1_000, UnixMillis(i64::MAX)) && !bucket.pays(true, 1, UnixMillis(i64::MIN))
        );
    }

    const DEVICE: DeviceId = DeviceId(1);

    /// A node with a backlog, and its gateway, without a link between them that loses anything. Returns the seconds until the node
    /// is rid of it, and how many frames of records that took.
    fn drain(backlog: u64, limit: RateLimit) -> (u64, u64) {
        let mut node = NodeSession::new(DEVICE, Key([1; 32]), 1, Seq::NONE);
        let mut gateway = GatewaySession::new(DEVICE, Key([1; 32]), 1, Durable::default());
        let mut bucket = Bucket::new(limit);
        let (next, mut now, mut frames) = (Seq(backlog + 1), 1_000, 0);
        let stored = |seq: u64| {
            let reading =
                Reading { quantity: Quantity::LAeq, value: Milli(seq as i32), quality: Quality::GOOD };
            let stamp = Stamp::Unix { at: UnixMillis(seq as i64 * 1000), uncertainty_ms: 1 };
            Record::Reading(reading).store(&stamp).unwrap()
        };
        let mut frame = FrameBuf::new();
        while node.acked().next() < next {
            let uptime = UptimeMillis(now);
            match node.next(uptime, next) {
                Next::Wait(until) => {
                    now = until.0;
                    continue;
                }
                Next::Hello => {
                    let hello = Hello {
                        firmware: "t",
                        board: "t",
                        reset_cause: ResetCause::PowerOn,
                        share: 0,
                        uptime,
                        oldest: node.acked().next(),
                        next,
                        unacknowledged: node.acked().next(),
                    };
                    node.hello(uptime, &hello, &mut frame).unwrap();
                }
                Next::Records(from) => {
                    frames += 1;
                    let mut batch = RecordsBuilder::new(node.acked().next(), from, &stored(from.0)).unwrap();
                    let mut seq = from.next();
                    while seq < next && batch.push(seq, &stored(seq.0)) {
                        seq = seq.next();
                    }
                    node.records(uptime, &batch, &mut frame).unwrap();
                }
            }
            let received = gateway.received();
            let input = gateway.on_frame(&mut frame).unwrap();
            if !bucket.takes(&input, UnixMillis(now as i64)) {
                gateway.roll_back(received);
            } else if !matches!(input, Input::OutOfOrder) {
                let mut ack = gateway.ack(gateway.received().unwrap_or(Seq::NONE)).unwrap();
                assert!(node.on_frame(uptime, next, &mut ack).is_ok());
            }
        }
        (now / 1000, frames)
    }

    #[test]
    fn a_node_with_a_backlog_gets_rid_of_it_at_its_rate_and_does_not_send_without_end() {
        // All of it at once: 47 or so in a frame.
        let (seconds, at_once) = drain(20_000, RateLimit { per_second: 100, burst: 100_000 });
        assert!(seconds <= 1 && at_once < 500, "{seconds} s, {at_once} frames");
        // 19,000 records at 100/s.
        let (seconds, frames) = drain(20_000, RateLimit { per_second: 100, burst: 1_000 });
        assert!((190..260).contains(&seconds), "{seconds} s");
        assert!(frames < 3 * at_once, "{frames} frames instead of {at_once}");
        // Less than a frame in a second: it waits as it does for a gateway that is away, and still comes through.
        let (seconds, frames) = drain(1_500, RateLimit { per_second: 1, burst: 1_000 });
        assert!((500..700).contains(&seconds), "{seconds} s");
        assert!(frames < 1_000, "{frames} frames");
    }

    #[test]
    fn what_could_not_be_committed_is_not_paid_for_twice() {
        let mut bucket = Bucket::new(LIMIT);
        assert!(bucket.pays(true, 600, at(0)));
        bucket.rolled_back();
        assert!(bucket.pays(true, 1_000, at(0)));
        bucket.committed();
        bucket.rolled_back();
        assert!(!bucket.pays(true, 1, at(0)));
    }
}
