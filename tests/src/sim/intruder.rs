//! Somebody at the link who is no device, and says that they are one.

use anyhow::{Context, Result};
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::{Hello, RecordsBuilder, ResetCause};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::node::NodeSession;
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

/// No node measures this, so it is known again.
const VALUE: Milli = Milli(99_000);
/// A boot that no device comes to.
const BOOT: u32 = 1 << 30;

/// A hello and a reading, as the device would say them that is at `cursor`, sealed with `key`.
pub(super) fn frames(device: DeviceId, key: Key, cursor: Seq, now: i64) -> Result<[FrameBuf; 2]> {
    let next = cursor.next();
    let uptime = UptimeMillis(1);
    let mut session = NodeSession::new(device, key, BOOT, cursor);
    let hello = Hello {
        firmware: "intruder",
        board: "none",
        reset_cause: ResetCause::PowerOn,
        share: 0,
        uptime,
        oldest: next,
        next: next.next(),
        unacknowledged: next,
    };
    let mut frames = [FrameBuf::new(), FrameBuf::new()];
    session.hello(uptime, &hello, &mut frames[0])?;
    let reading = Reading { quantity: Quantity::Temperature, value: VALUE, quality: Quality::GOOD };
    let stamp = Stamp::Unix { at: UnixMillis(now), uncertainty_ms: 0 };
    let record = Record::Reading(reading).store(&stamp).map_err(|_| anyhow::anyhow!("too long"))?;
    let batch = RecordsBuilder::new(next, next, &record).context("a batch")?;
    session.records(uptime, &batch, &mut frames[1])?;
    Ok(frames)
}
