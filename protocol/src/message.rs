//! What one frame's body says. Kinds are append-only; a kind that is not known is counted and answered, never fatal.
//!
//! All bodies are postcard. [`Records`] is a postcard head followed by records, each as `kind, length, body`, where a reading's
//! time is the head's time plus the milliseconds at the start of its body: an old gateway steps over a new record.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::engine::PrecomputedPeriods;
use crate::frame::{FRAME_BYTES_MAX, HEADER_BYTES_UP, KIND_DOWN};
use crate::id::Seq;
use crate::quantity::Quantity;
use crate::record::{Record, Stored};
use crate::rule::Rule;
use crate::seal::TAG_BYTES;
use crate::share::ShareError;
use crate::time::{Stamp, UnixMillis, UptimeMillis};

/// The longest body of a frame from a device, in bytes.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES_UP - TAG_BYTES;

/// A message's body while it is being built.
pub type BodyBuf = Vec<u8, BODY_BYTES_MAX>;

/// [`Hello`].
pub const KIND_HELLO: u8 = 1;
/// [`Records`].
pub const KIND_RECORDS: u8 = 2;
/// [`Status`].
pub const KIND_STATUS: u8 = 3;
/// [`ShareStatus`].
pub const KIND_SHARE_STATUS: u8 = 4;
/// [`Records`] after such as were given up: [`RecordsBuilder::after_gap`].
pub const KIND_RECORDS_AFTER_GAP: u8 = 5;
/// [`Ack`].
pub const KIND_ACK: u8 = KIND_DOWN | 1;
/// [`Time`].
pub const KIND_TIME: u8 = KIND_DOWN | 2;
/// [`Refused`].
pub const KIND_REFUSED: u8 = KIND_DOWN | 3;
/// [`Unsupported`].
pub const KIND_UNSUPPORTED: u8 = KIND_DOWN | 4;
/// [`ShareHead`].
pub const KIND_SHARE: u8 = KIND_DOWN | 5;
/// [`ShareRule`].
pub const KIND_SHARE_RULE: u8 = KIND_DOWN | 6;
/// [`Fetch`].
pub const KIND_FETCH: u8 = KIND_DOWN | 7;
/// [`Calibrate`](crate::calibration::Calibrate).
pub const KIND_CALIBRATE: u8 = KIND_DOWN | 8;

/// Why a device started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetCause {
    /// Not known on this board.
    Unknown,
    /// Power came.
    PowerOn,
    /// The reset pin.
    Pin,
    /// The watchdog.
    Watchdog,
    /// The supply voltage dipped.
    BrownOut,
    /// The firmware asked for it, or failed.
    Software,
}

/// Device to gateway: who speaks, at its start and whenever the link came back. Answered with [`Ack`] and [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The firmware's version.
    pub firmware: &'a str,
    /// The board's name.
    pub board: &'a str,
    /// Why it started.
    pub reset_cause: ResetCause,
    /// The share of the pack that it runs; [`NO_SHARE`](crate::share::NO_SHARE) when its gateway decides.
    pub share: u32,
    /// Its uptime when it said this.
    pub uptime: UptimeMillis,
    /// The oldest record that it still holds; equal to `next` when it holds none.
    pub oldest: Seq,
    /// The number that its next record will have.
    pub next: Seq,
    /// The oldest record that no gateway has acknowledged: before `oldest` when those in between had to be given up. A gateway that
    /// never heard of the device learns from it what it will never get.
    pub unacknowledged: Seq,
}

/// Device to gateway: how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its uptime when it said this.
    pub uptime: UptimeMillis,
    /// The oldest record that it still holds; equal to `next` when it holds none.
    pub oldest: Seq,
    /// The number that its next record will have.
    pub next: Seq,
    /// Records given up since the device was provisioned, because its store was full.
    pub evicted: u64,
    /// Sensor readings that failed since its start.
    pub sensor_errors: u32,
}

/// Gateway to device: everything up to here is durable at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The last durable record; [`Seq::NONE`] when the gateway has none of this device.
    pub up_to: Seq,
}

/// Gateway to device: what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// The gateway's time when it said this.
    pub now: UnixMillis,
    /// How far off that may be, in milliseconds; `u16::MAX` for "unknown".
    pub uncertainty_ms: u16,
    /// The device's uptime from the message that this answers: it tells the device the delay.
    pub echo: UptimeMillis,
}

/// Why a gateway does not take a device's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedReason {
    /// The device numbers its records from before where the gateway is: its store was replaced without provisioning.
    /// Taking them would drop them as duplicates.
    SequenceRegressed,
}

/// Gateway to device: your records are not taken, and nothing of them may be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// The last record that the gateway has.
    pub cursor: Seq,
}

/// Gateway to device: a message of this kind is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The kind's byte.
    pub kind: u8,
}

/// Gateway to device: which rules to run. What a device runs already only gets its periods anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareHead {
    /// [`Share::id`](crate::share::Share::id); [`NO_SHARE`](crate::share::NO_SHARE) for "your gateway decides".
    pub share: u32,
    /// How many rules it has; each follows in a [`ShareRule`].
    pub rules: u8,
    /// When it is day where the device is.
    pub periods: PrecomputedPeriods,
}

/// Gateway to device: one rule of the share that a [`ShareHead`] announced. They come in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRule<'a> {
    /// Of which share.
    pub share: u32,
    /// The how many-th rule, from 0.
    pub index: u8,
    /// The rule's id in the pack.
    pub name: &'a str,
    /// The rule.
    pub rule: Rule,
}

/// Device to gateway: what it runs, after it was told what to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStatus {
    /// The share that it runs.
    pub running: u32,
    /// The share that it does not run, and why not.
    pub refused: Option<(u32, ShareError)>,
}

/// Gateway to device: send what you kept of these seconds. The answer are records with [`Series`](crate::series::Series).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Of what.
    pub quantity: Quantity,
    /// From when on.
    pub from: UnixMillis,
    /// To when, not included.
    pub until: UnixMillis,
}

/// The head of a batch of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordsHead {
    first: Seq,
    /// `first` minus the oldest record that the device holds: small, where the oldest number itself is long.
    behind: u64,
    base: Stamp,
}

/// The head of a batch that comes after records which were given up though older ones are there: those went by their severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AfterGapHead {
    first: Seq,
    /// How many records directly before `first` are gone for good. Of those before them nothing is said.
    gone: u64,
    base: Stamp,
}

/// Builds the body of a `Records` message from stored records.
#[derive(Debug)]
pub struct RecordsBuilder {
    kind: u8,
    body: BodyBuf,
    base: Stamp,
    first: Seq,
    next: Seq,
}

/// Milliseconds from `base` to `stamp`, when both are on the same clock.
fn delta_ms(base: &Stamp, stamp: &Stamp) -> Option<i32> {
    let delta = match (base, stamp) {
        (Stamp::Unix { at: base, uncertainty_ms: a }, Stamp::Unix { at, uncertainty_ms: b }) if a == b => {
            at.0.checked_sub(base.0)?
        }
        (Stamp::Uptime { boot: a, at: base }, Stamp::Uptime { boot: b, at }) if a == b => {
            i64::try_from(at.0).ok()?.checked_sub(i64::try_from(base.0).ok()?)?
        }
        _ => return None,
    };
    i32::try_from(delta).ok()
}

impl RecordsBuilder {
    /// Room for a batch that has not begun: large, and filled in its place.
    #[must_use]
    pub const fn idle() -> Self {
        let base = Stamp::Unix { at: UnixMillis(0), uncertainty_ms: 0 };
        Self { kind: KIND_RECORDS, body: BodyBuf::new(), base, first: Seq::NONE, next: Seq::NONE }
    }

    /// A batch that begins with `first`, of a device whose oldest record is `oldest`. Its clock is that of the first
    /// record, `stored`. [`None`] when the record is not one, which a store that checks what it reads never gives.
    #[must_use]
    pub fn new(oldest: Seq, first: Seq, stored: &[u8]) -> Option<Self> {
        let mut batch = Self::idle();
        batch.begin(oldest, first, stored).then_some(batch)
    }

    /// [`Self::new`] in the place of another batch; whether it has begun.
    #[must_use]
    pub fn begin(&mut self, oldest: Seq, first: Seq, stored: &[u8]) -> bool {
        let Ok(Stored { stamp: base, .. }) = Stored::parse(stored) else { return false };
        let head = RecordsHead { first, behind: first.0.saturating_sub(oldest.0), base };
        self.begin_with(KIND_RECORDS, &head, first, base, stored)
    }

    /// A batch that begins with `first`, when all from `gone_from` on to it is gone for good, and older records are there or under way.
    /// [`None`] as for [`Self::new`].
    #[must_use]
    pub fn after_gap(gone_from: Seq, first: Seq, stored: &[u8]) -> Option<Self> {
        let mut batch = Self::idle();
        batch.begin_after_gap(gone_from, first, stored).then_some(batch)
    }

    /// [`Self::after_gap`] in the place of another batch; whether it has begun.
    #[must_use]
    pub fn begin_after_gap(&mut self, gone_from: Seq, first: Seq, stored: &[u8]) -> bool {
        let Ok(Stored { stamp: base, .. }) = Stored::parse(stored) else { return false };
        let head = AfterGapHead { first, gone: first.0.saturating_sub(gone_from.0), base };
        self.begin_with(KIND_RECORDS_AFTER_GAP, &head, first, base, stored)
    }

    fn begin_with(
        &mut self,
        kind: u8,
        head: &impl Serialize,
        first: Seq,
        base: Stamp,
        stored: &[u8],
    ) -> bool {
        (self.kind, self.base, self.first, self.next) = (kind, base, first, first);
        if self.body.resize_default(BODY_BYTES_MAX).is_err() {
            return false;
        }
        let used = postcard::to_slice(head, &mut self.body).map_or(0, |used| used.len());
        self.body.truncate(used);
        // A head has some bytes.
        used > 0 && self.push(first, stored)
    }

    /// Adds the record that follows; false when it does not fit, is not the next in number, or is on another clock:
    /// then it belongs into the next batch.
    #[must_use]
    pub fn push(&mut self, seq: Seq, stored: &[u8]) -> bool {
        let Ok(record) = Stored::parse(stored) else { return false };
        let Some(delta) = delta_ms(&self.base, &record.stamp) else { return false };
        if seq != self.next {
            return false;
        }
        let mut scratch = [0; 5];
        let Ok(delta) = postcard::to_slice(&delta, &mut scratch) else { return false };
        let Ok(len) = u8::try_from(delta.len() + record.body.len()) else { return false };
        if self.body.len() + 2 + usize::from(len) > BODY_BYTES_MAX {
            return false;
        }
        let _ = self.body.extend_from_slice(&[record.kind, len]);
        let _ = self.body.extend_from_slice(delta);
        let _ = self.body.extend_from_slice(record.body);
        self.next = seq.next();
        true
    }

    /// The number of the last record in the batch.
    #[must_use]
    pub const fn last(&self) -> Seq {
        Seq(self.next.0 - 1)
    }

    /// The number of the first record in the batch.
    #[must_use]
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The message's kind: [`KIND_RECORDS`] or [`KIND_RECORDS_AFTER_GAP`].
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// The message's body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Device to gateway: a run of records.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The number of the first.
    pub first: Seq,
    /// All from here to `first` is gone for good: `first` itself when nothing is known to be, and [`Seq::NONE`] when the device holds
    /// nothing older.
    pub gone_from: Seq,
    /// The oldest record that the device still holds, as far as the batch says.
    pub oldest: Seq,
    base: Stamp,
    rest: &'a [u8],
}

/// A body that is not what its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the message is authentic and malformed: a fault of the device's firmware")
    }
}

impl core::error::Error for Malformed {}

impl<'a> Records<'a> {
    /// Reads a batch and checks that it is whole: after this, [`Self::iter`] yields every record.
    ///
    /// # Errors
    /// [`Malformed`] when a record is cut, or numbers overflow.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest): (RecordsHead, _) = postcard::take_from_bytes(body).map_err(|_| Malformed)?;
        let oldest = Seq(head.first.0.checked_sub(head.behind).ok_or(Malformed)?);
        let gone_from = if oldest == head.first { Seq::NONE } else { head.first };
        Self::whole(head.first, gone_from, oldest, head.base, rest)
    }

    /// Reads a batch of the kind [`KIND_RECORDS_AFTER_GAP`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_after_gap(body: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest): (AfterGapHead, _) = postcard::take_from_bytes(body).map_err(|_| Malformed)?;
        let gone_from = Seq(head.first.0.checked_sub(head.gone).ok_or(Malformed)?);
        Self::whole(head.first, gone_from, Seq(u64::MAX), head.base, rest)
    }

    /// Checks that all records are whole.
    fn whole(
        first: Seq,
        gone_from: Seq,
        oldest: Seq,
        base: Stamp,
        rest: &'a [u8],
    ) -> Result<Self, Malformed> {
        if first == Seq::NONE {
            return Err(Malformed);
        }
        let mut after = rest;
        let mut count: u64 = 0;
        while !after.is_empty() {
            let (&[_, len], tail) = after.split_first_chunk::<2>().ok_or(Malformed)?;
            let (record, tail) = tail.split_at_checked(usize::from(len)).ok_or(Malformed)?;
            postcard::take_from_bytes::<i32>(record).map_err(|_| Malformed)?;
            after = tail;
            count += 1;
        }
        first.0.checked_add(count).ok_or(Malformed)?;
        Ok(Self { first, gone_from, oldest, base, rest })
    }

    /// The records with their numbers and times.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, Stamp, Record<'a>)> + use<'a> {
        let (base, mut rest, mut seq) = (self.base, self.rest, self.first);
        core::iter::from_fn(move || {
            let (&[kind, len], tail) = rest.split_first_chunk::<2>()?;
            let (record, tail) = tail.split_at_checked(usize::from(len))?;
            let (delta, body): (i32, _) = postcard::take_from_bytes(record).ok()?;
            let item = (seq, moved(base, delta), Record::decode(kind, body));
            rest = tail;
            seq = seq.next();
            Some(item)
        })
    }
}

fn moved(stamp: Stamp, ms: i32) -> Stamp {
    match stamp {
        Stamp::Unix { at, uncertainty_ms } => Stamp::Unix { at: at.plus(i64::from(ms)), uncertainty_ms },
        Stamp::Uptime { boot, at } => {
            Stamp::Uptime { boot, at: UptimeMillis(at.0.saturating_add_signed(i64::from(ms))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Milli, Quality, Reading};
    use proptest::prelude::*;

    fn level(value: i32) -> Record<'static> {
        Record::Reading(Reading { quantity: Quantity::LAeq, value: Milli(value), quality: Quality::GOOD })
    }

    #[test]
    fn records_come_out_with_their_numbers_and_times() {
        let stamp = |ms| Stamp::Uptime { boot: 4, at: UptimeMillis(ms) };
        let stored: std::vec::Vec<_> =
            (0..3).map(|n| level(60_000 + n).store(&stamp(10_000 - n as u64 * 500)).unwrap()).collect();
        let mut batch = RecordsBuilder::new(Seq(5), Seq(7), &stored[0]).unwrap();
        assert!(batch.push(Seq(8), &stored[1]));
        assert!(!batch.push(Seq(10), &stored[2]), "a number is missing");
        assert!(batch.push(Seq(9), &stored[2]));
        assert_eq!(batch.last(), Seq(9));
        let records = Records::parse(batch.body()).unwrap();
        assert_eq!((records.first, records.gone_from, records.oldest), (Seq(7), Seq(7), Seq(5)));
        let got: std::vec::Vec<_> = records.iter().collect();
        assert_eq!(
            got,
            [
                (Seq(7), stamp(10_000), level(60_000)),
                (Seq(8), stamp(9_500), level(60_001)),
                (Seq(9), stamp(9_000), level(60_002)),
            ]
        );
    }

    #[test]
    fn a_batch_holds_one_clock() {
        let first = level(1).store(&Stamp::Uptime { boot: 4, at: UptimeMillis(0) }).unwrap();
        let other = level(1).store(&Stamp::Uptime { boot: 5, at: UptimeMillis(0) }).unwrap();
        let mut batch = RecordsBuilder::new(Seq(1), Seq(1), &first).unwrap();
        assert!(!batch.push(Seq(2), &other));
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_malformed(body in prop::collection::vec(any::<u8>(), 0..500)) {
            for parse in [Records::parse, Records::parse_after_gap] {
                if let Ok(records) = parse(&body) {
                    records.iter().count();
                }
            }
        }
    }
}
