//! The gateway's end of the link to one device.

use heapless::Vec;
use serde::Serialize;

use super::node::SessionError;
use crate::calibration::Calibrate;
use crate::frame::{FRAME_BYTES_MAX, FrameBuf, HEADER_BYTES_DOWN, Header};
use crate::id::{DeviceId, Seq};
use crate::message::{
    Ack, Fetch, Hello, KIND_ACK, KIND_CALIBRATE, KIND_FETCH, KIND_HELLO, KIND_RECORDS,
    KIND_RECORDS_AFTER_GAP, KIND_REFUSED, KIND_SHARE, KIND_SHARE_RULE, KIND_SHARE_STATUS, KIND_STATUS,
    KIND_TIME, KIND_UNSUPPORTED, Malformed, Records, Refused, RefusedReason, ShareHead, ShareRule,
    ShareStatus, Status, Time, Unsupported,
};
use crate::record::Record;
use crate::replay::ReplayWindow;
use crate::seal::{self, Key, SealError, TAG_BYTES};
use crate::time::{Stamp, UnixMillis, UptimeMillis};

/// The longest body the gateway sends by this session, in bytes: what fits into a frame.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES_DOWN - TAG_BYTES;

/// What the gateway knows of a device for good, and must have committed before it acknowledges anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The last record that is durable; [`None`] for a device never heard of.
    pub cursor: Option<Seq>,
    /// The device's boot counter in its newest frame.
    pub boot: u32,
    /// Its frame counter in that frame.
    pub counter: u32,
}

/// Records that the device gave up and that will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing.
    pub first: Seq,
    /// The last that is missing.
    pub last: Seq,
}

/// What a frame from the device said.
#[derive(Debug)]
pub enum Input<'a> {
    /// The device started, or its link came back. Answer with [`GatewaySession::ack`] and [`GatewaySession::time`].
    Hello(Hello<'a>),
    /// The device numbers its records from before the cursor. Answer with [`GatewaySession::refuse`].
    Regressed(Hello<'a>),
    /// New records, in order. Commit them, then [`GatewaySession::ack`].
    Records {
        /// Those that are new.
        fresh: Fresh<'a>,
        /// The number of the last of them.
        last: Seq,
        /// Records before them that the device gave up.
        gap: Option<Gap>,
    },
    /// Nothing new: all of it was received before. If it is durable, acknowledge again.
    Duplicate {
        /// The last record in the frame.
        last: Seq,
    },
    /// Records that do not follow what was received (a frame before them was lost and will come again), or a `Hello`
    /// that later frames have overtaken: there is nothing to do.
    OutOfOrder,
    /// How the device is.
    Status(Status),
    /// Which rules it runs.
    Share(ShareStatus),
    /// A message that this gateway does not know. Answer with [`GatewaySession::unsupported`].
    Unknown(u8),
}

/// The new records of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    records: Records<'a>,
    from: Seq,
}

impl<'a> Fresh<'a> {
    /// The number of the first of them.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.from.max(self.records.first)
    }

    /// The records with their numbers and times.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, Stamp, Record<'a>)> + use<'a> {
        let from = self.from;
        self.records.iter().skip_while(move |(seq, ..)| *seq < from)
    }
}

/// The gateway's end of the link to one device.
#[derive(Debug)]
pub struct GatewaySession {
    device: DeviceId,
    key: Key,
    start: u32,
    counter: u32,
    up: ReplayWindow,
    /// The last record handed out, committed or not.
    received: Option<Seq>,
    /// Of a device never heard of: its first record that no gateway has, as its `Hello` said.
    first: Option<Seq>,
}

impl GatewaySession {
    /// A session that goes on from what is durable. `start` is the gateway's start counter: persisted, never 0, and
    /// larger than at any start before, so that no nonce is used twice.
    #[must_use]
    pub fn new(device: DeviceId, key: Key, start: u32, durable: Durable) -> Self {
        let up = match durable.cursor {
            None if durable.boot == 0 => ReplayWindow::default(),
            _ => ReplayWindow::after(durable.boot, durable.counter),
        };
        Self { device, key, start, counter: 0, up, received: durable.cursor, first: None }
    }

    /// The device's boot and frame counter in the newest authentic frame: to be committed with its effects.
    #[must_use]
    pub const fn newest_frame(&self) -> (u32, u32) {
        self.up.newest()
    }

    /// The last record handed out.
    #[must_use]
    pub const fn received(&self) -> Option<Seq> {
        self.received
    }

    /// What was handed out after `cursor` could not be committed: it will be asked for again.
    pub fn roll_back(&mut self, cursor: Option<Seq>) {
        self.received = cursor;
    }

    /// Takes a frame from the device.
    ///
    /// # Errors
    /// When the frame is not to be believed; it then changed nothing.
    pub fn on_frame<'a>(&mut self, frame: &'a mut [u8]) -> Result<Input<'a>, SessionError> {
        let header = Header::parse(frame).map_err(SealError::from)?;
        if header.device != self.device || header.is_down() {
            return Err(SessionError::NotForUs);
        }
        self.up.check(header.boot, header.counter).map_err(|_| SessionError::Replayed)?;
        let (header, body) = seal::open(&self.key, frame)?;
        let overtaken = (header.boot, header.counter) < self.up.newest();
        self.up.accept(header.boot, header.counter);
        match header.kind {
            // What it says of the queue was true before frames that are here already.
            KIND_HELLO if overtaken => Ok(Input::OutOfOrder),
            KIND_HELLO => {
                let hello: Hello<'_> = parse(body)?;
                if self.received.is_some_and(|received| hello.next <= received) {
                    return Ok(Input::Regressed(hello));
                }
                self.first = Some(hello.unacknowledged.min(hello.oldest));
                Ok(Input::Hello(hello))
            }
            KIND_RECORDS => self.on_records(Records::parse(body)),
            KIND_RECORDS_AFTER_GAP => self.on_records(Records::parse_after_gap(body)),
            KIND_STATUS => parse(body).map(Input::Status),
            KIND_SHARE_STATUS => parse(body).map(Input::Share),
            kind => Ok(Input::Unknown(kind)),
        }
    }

    fn on_records<'a>(&mut self, records: Result<Records<'a>, Malformed>) -> Result<Input<'a>, SessionError> {
        let records = records.map_err(|Malformed| SessionError::Malformed)?;
        let count = records.iter().count() as u64;
        if count == 0 {
            return Err(SessionError::Malformed);
        }
        // `parse` proved that the numbers do not overflow.
        let last = Seq(records.first.0 + count - 1);
        let expected = match self.received {
            // A device never heard of. What it gave up before is said in its `Hello`, which it repeats when nobody answers.
            None => match self.first {
                Some(first) => first.min(records.oldest),
                None => return Ok(Input::OutOfOrder),
            },
            Some(received) => received.next(),
        };
        if last < expected {
            return Ok(Input::Duplicate { last });
        }
        let mut gap = None;
        if records.first > expected {
            if expected < records.gone_from {
                return Ok(Input::OutOfOrder);
            }
            gap = Some(Gap { first: expected, last: Seq(records.first.0 - 1) });
        }
        self.received = Some(last);
        Ok(Input::Records { fresh: Fresh { records, from: expected }, last, gap })
    }

    fn message(&mut self, kind: u8, body: &impl Serialize) -> Result<FrameBuf, SessionError> {
        let mut buffer: Vec<u8, BODY_BYTES_MAX> = Vec::new();
        let _ = buffer.resize_default(BODY_BYTES_MAX);
        let body =
            postcard::to_slice(body, &mut buffer).map_err(|_| SessionError::Seal(SealError::TooLong))?;
        let counter = self.counter.checked_add(1).ok_or(SessionError::CounterExhausted)?;
        let header = Header {
            kind,
            suite: 0,
            device: self.device,
            boot: self.up.newest().0,
            counter,
            start: self.start,
        };
        let mut frame = FrameBuf::new();
        seal::seal(&self.key, header, body, &mut frame)?;
        self.counter = counter;
        Ok(frame)
    }

    /// "Everything up to here is durable." Only after the commit.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn ack(&mut self, up_to: Seq) -> Result<FrameBuf, SessionError> {
        self.message(KIND_ACK, &Ack { up_to })
    }

    /// The time, in answer to a message that the device sent at its uptime `echo`.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn time(
        &mut self,
        now: UnixMillis,
        uncertainty_ms: u16,
        echo: UptimeMillis,
    ) -> Result<FrameBuf, SessionError> {
        self.message(KIND_TIME, &Time { now, uncertainty_ms, echo })
    }

    /// "Your records are not taken."
    ///
    /// # Errors
    /// When counters are used up.
    pub fn refuse(&mut self, reason: RefusedReason) -> Result<FrameBuf, SessionError> {
        let cursor = self.received.unwrap_or(Seq::NONE);
        self.message(KIND_REFUSED, &Refused { reason, cursor })
    }

    /// "Run these rules." The rules follow ([`Self::share_rule`]), unless the device runs them already.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn share(&mut self, head: &ShareHead) -> Result<FrameBuf, SessionError> {
        self.message(KIND_SHARE, head)
    }

    /// One of the rules.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn share_rule(&mut self, rule: &ShareRule<'_>) -> Result<FrameBuf, SessionError> {
        self.message(KIND_SHARE_RULE, rule)
    }

    /// "Send what you kept of these seconds."
    ///
    /// # Errors
    /// When counters are used up.
    pub fn fetch(&mut self, fetch: &Fetch) -> Result<FrameBuf, SessionError> {
        self.message(KIND_FETCH, fetch)
    }

    /// "The calibrator is being put on."
    ///
    /// # Errors
    /// When counters are used up.
    pub fn calibrate(&mut self, calibrate: &Calibrate) -> Result<FrameBuf, SessionError> {
        self.message(KIND_CALIBRATE, calibrate)
    }

    /// "I do not know this kind of message."
    ///
    /// # Errors
    /// When counters are used up.
    pub fn unsupported(&mut self, kind: u8) -> Result<FrameBuf, SessionError> {
        self.message(KIND_UNSUPPORTED, &Unsupported { kind })
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, SessionError> {
    // Fields that a later version appends are stepped over.
    postcard::take_from_bytes(body).map(|(value, _)| value).map_err(|_| SessionError::Malformed)
}
