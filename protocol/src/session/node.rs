//! The device's end of the link.

use core::fmt;

use heapless::Deque;
use serde::Serialize;

use super::{SILENCE_MS, SILENCE_MS_MAX, SILENCES_BEFORE_HELLO, WINDOW_FRAMES};
use crate::calibration::Calibrate;
use crate::engine::EncodedPeriods;
use crate::frame::{FrameBuf, Header};
use crate::id::{DeviceId, Seq};
use crate::message::{
    Ack, BODY_BYTES_MAX, Fetch, Hello, KIND_ACK, KIND_CALIBRATE, KIND_FETCH, KIND_HELLO, KIND_REFUSED,
    KIND_SHARE, KIND_SHARE_RULE, KIND_SHARE_STATUS, KIND_STATUS, KIND_TIME, KIND_UNSUPPORTED, RecordsBuilder,
    Refused, ShareStatus, Status, Time, Unsupported,
};
use crate::replay::ReplayWindow;
use crate::seal::{self, Key, SealError};
use crate::share::EncodedRule;
use crate::time::{UnixMillis, UptimeMillis};

/// What the session wants to do now. Ask again after doing it, after a frame came in, and after a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send a `Hello`: call [`NodeSession::hello`].
    Hello,
    /// Send records from this number on: build a batch and call [`NodeSession::records`].
    Records(Seq),
    /// Nothing until this time (or until a frame or a record comes).
    Wait(UptimeMillis),
}

/// What a frame from the gateway said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Everything up to here is durable at the gateway and may be released.
    Acked(Seq),
    /// The time: `unix = uptime + offset_ms`, with how far off it may be.
    Time {
        /// What to add to the uptime.
        offset_ms: i64,
        /// The gateway's uncertainty plus half the delay of the answer, in milliseconds.
        uncertainty_ms: u16,
    },
    /// The gateway does not take this device's records; nothing may be released.
    Refused(Refused),
    /// The gateway does not know a message that this device sent.
    Unsupported(Unsupported),
    /// Which rules to run: a [`ShareHead`](crate::message::ShareHead), whose periods are still in the frame.
    Share {
        /// The share.
        share: u32,
        /// How many rules it has.
        rules: u8,
        /// When it is day where the device is.
        periods: EncodedPeriods<'a>,
    },
    /// One of them: the how many-th of which share ([`ShareRule`](crate::message::ShareRule)).
    ShareRule {
        /// Of which share.
        share: u32,
        /// The how many-th, from 0.
        index: u8,
        /// The rule; [`None`] for one of which something is not understood.
        rule: Option<EncodedRule<'a>>,
    },
    /// Send what you kept of these seconds.
    Fetch(Fetch),
    /// The calibrator is being put on.
    Calibrate(Calibrate),
    /// A message that this device does not know: count it.
    Unknown(u8),
}

/// Why a frame was not taken, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// Not a frame, not authentic, or too long.
    Seal(SealError),
    /// For another device, or from a device.
    NotForUs,
    /// Of an earlier boot, or seen before.
    Replayed,
    /// Authentic, and not what its kind says.
    Malformed,
    /// An acknowledgement of records that this device never made: its store was replaced. Nothing is released.
    AckBeyondQueue {
        /// What the gateway has.
        acked: Seq,
        /// What this device would number next.
        next: Seq,
    },
    /// 2^32 frames in one boot: restart, so that no nonce is used twice.
    CounterExhausted,
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal(error) => error.fmt(f),
            Self::NotForUs => f.write_str("the frame is for another device"),
            Self::Replayed => f.write_str("the frame was seen before, or is of an earlier boot"),
            Self::Malformed => f.write_str("the message is authentic and malformed"),
            Self::AckBeyondQueue { acked, next } => {
                write!(
                    f,
                    "the gateway has records up to {acked}, this device is only at {next}: provision it anew"
                )
            }
            Self::CounterExhausted => f.write_str("all frame counters of this boot are used: restart"),
        }
    }
}

impl core::error::Error for SessionError {}

/// The device's end of the link. It holds no records: the store does.
#[derive(Debug)]
pub struct NodeSession {
    device: DeviceId,
    key: Key,
    boot: u32,
    counter: u32,
    down: ReplayWindow,
    /// Said hello, and heard an answer.
    known: bool,
    /// The last record of each frame under way, oldest first.
    in_flight: Deque<Seq, WINDOW_FRAMES>,
    acked: Seq,
    /// When to give up waiting for an answer; [`None`] when nothing is awaited.
    deadline: Option<UptimeMillis>,
    /// Whether the answer that is awaited did not come in time, and everything is to be sent again.
    silences: u32,
    jitter: u32,
}

impl NodeSession {
    /// A session of this boot. `boot` must be larger than in any boot before, and persisted as such. `acked` is the
    /// number before the oldest record that the store holds.
    #[must_use]
    pub fn new(device: DeviceId, key: Key, boot: u32, acked: Seq) -> Self {
        // Spreads the retries of many devices that lost the same gateway; any odd start serves.
        let jitter = (device.0 as u32 ^ (device.0 >> 32) as u32 ^ boot) | 1;
        Self {
            device,
            key,
            boot,
            counter: 0,
            down: ReplayWindow::default(),
            known: false,
            in_flight: Deque::new(),
            acked,
            deadline: None,
            silences: 0,
            jitter,
        }
    }

    /// The link was opened anew: whatever was under way is gone, and the other end may be somebody else.
    pub fn link_up(&mut self) {
        self.known = false;
        self.in_flight.clear();
        self.deadline = None;
        self.silences = 0;
    }

    /// The last record known to be durable at the gateway.
    #[must_use]
    pub const fn acked(&self) -> Seq {
        self.acked
    }

    /// What to do now, when the store's next record will be `next`.
    pub fn next(&mut self, now: UptimeMillis, next: Seq) -> Next {
        if let Some(deadline) = self.deadline {
            if now < deadline && (!self.known || self.in_flight.is_full()) {
                return Next::Wait(deadline);
            }
            if now >= deadline {
                self.deadline = None;
                self.in_flight.clear();
                self.silences = self.silences.saturating_add(1);
                if self.silences >= SILENCES_BEFORE_HELLO {
                    self.known = false;
                }
            }
        }
        if !self.known {
            return Next::Hello;
        }
        let from = self.in_flight.back().map_or(self.acked, |last| *last).next();
        if from < next {
            return Next::Records(from);
        }
        Next::Wait(self.deadline.unwrap_or(UptimeMillis(u64::MAX)))
    }

    /// How long to wait for an answer: doubled with each silence, and up to an eighth longer, so that devices that
    /// lost the same gateway do not come back at one moment.
    fn wait_ms(&mut self) -> u64 {
        let base = SILENCE_MS.saturating_mul(1 << self.silences.min(10)).min(SILENCE_MS_MAX);
        // xorshift32 (Marsaglia 2003)
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 17;
        self.jitter ^= self.jitter << 5;
        base + u64::from(self.jitter) % (base / 8)
    }

    fn frame(&mut self, kind: u8, body: &[u8], out: &mut FrameBuf) -> Result<(), SessionError> {
        let counter = self.counter.checked_add(1).ok_or(SessionError::CounterExhausted)?;
        let header = Header { kind, suite: 0, device: self.device, boot: self.boot, counter, start: 0 };
        seal::seal(&self.key, header, body, out)?;
        // Only now: a counter is used up by sealing with it, and never used again.
        self.counter = counter;
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &impl Serialize, out: &mut FrameBuf) -> Result<(), SessionError> {
        let mut buffer = [0; BODY_BYTES_MAX];
        let body =
            postcard::to_slice(body, &mut buffer).map_err(|_| SessionError::Seal(SealError::TooLong))?;
        self.frame(kind, body, out)
    }

    /// Makes the `Hello` frame.
    ///
    /// # Errors
    /// When it does not fit into a frame, or counters are used up.
    pub fn hello(
        &mut self,
        now: UptimeMillis,
        hello: &Hello<'_>,
        out: &mut FrameBuf,
    ) -> Result<(), SessionError> {
        self.message(KIND_HELLO, hello, out)?;
        self.deadline = Some(UptimeMillis(now.0.saturating_add(self.wait_ms())));
        Ok(())
    }

    /// Makes a `Status` frame; nothing is awaited for it.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn status(&mut self, status: &Status, out: &mut FrameBuf) -> Result<(), SessionError> {
        self.message(KIND_STATUS, status, out)
    }

    /// Makes a `ShareStatus` frame; nothing is awaited for it.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn share_status(&mut self, status: &ShareStatus, out: &mut FrameBuf) -> Result<(), SessionError> {
        self.message(KIND_SHARE_STATUS, status, out)
    }

    /// Makes a `Records` frame of a batch that begins where [`Next::Records`] said.
    ///
    /// # Errors
    /// When counters are used up.
    pub fn records(
        &mut self,
        now: UptimeMillis,
        batch: &RecordsBuilder,
        out: &mut FrameBuf,
    ) -> Result<(), SessionError> {
        self.frame(batch.kind(), batch.body(), out)?;
        if self.in_flight.push_back(batch.last()).is_err() {
            // The caller did not ask `next` first; the frame is good, and will be sent again at the latest after silence.
            debug_assert!(false, "records sent beyond the window");
        }
        if self.deadline.is_none() {
            self.deadline = Some(UptimeMillis(now.0.saturating_add(self.wait_ms())));
        }
        Ok(())
    }

    /// Takes a frame from the gateway. `next` is the number of the store's next record.
    ///
    /// # Errors
    /// When the frame is not to be believed; it then changed nothing.
    pub fn on_frame<'a>(
        &mut self,
        now: UptimeMillis,
        next: Seq,
        frame: &'a mut [u8],
    ) -> Result<Input<'a>, SessionError> {
        let header = Header::parse(frame).map_err(SealError::from)?;
        if header.device != self.device || !header.is_down() {
            return Err(SessionError::NotForUs);
        }
        if header.boot != self.boot {
            return Err(SessionError::Replayed);
        }
        self.down.check(header.start, header.counter).map_err(|_| SessionError::Replayed)?;
        let (header, body) = seal::open(&self.key, frame)?;
        self.down.accept(header.start, header.counter);
        match header.kind {
            KIND_ACK => {
                let ack: Ack = parse(body)?;
                self.on_ack(now, ack.up_to, next)
            }
            KIND_TIME => {
                let time: Time = parse(body)?;
                Ok(on_time(now, &time))
            }
            KIND_REFUSED => {
                // Stay unknown: say hello again, ever more slowly, until somebody sets it right.
                let refused = parse(body)?;
                self.known = false;
                self.in_flight.clear();
                self.silences = self.silences.saturating_add(1);
                self.deadline = Some(UptimeMillis(now.0.saturating_add(self.wait_ms())));
                Ok(Input::Refused(refused))
            }
            KIND_UNSUPPORTED => parse(body).map(Input::Unsupported),
            KIND_SHARE => {
                let ((share, rules), rest) =
                    postcard::take_from_bytes(body).map_err(|_| SessionError::Malformed)?;
                let periods = EncodedPeriods::parse(rest).ok_or(SessionError::Malformed)?;
                Ok(Input::Share { share, rules, periods })
            }
            KIND_SHARE_RULE => {
                let ((share, index), rest) =
                    postcard::take_from_bytes(body).map_err(|_| SessionError::Malformed)?;
                Ok(Input::ShareRule { share, index, rule: EncodedRule::parse(rest) })
            }
            KIND_FETCH => parse(body).map(Input::Fetch),
            KIND_CALIBRATE => parse(body).map(Input::Calibrate),
            kind => Ok(Input::Unknown(kind)),
        }
    }

    fn on_ack(&mut self, now: UptimeMillis, up_to: Seq, next: Seq) -> Result<Input<'static>, SessionError> {
        if up_to >= next {
            return Err(SessionError::AckBeyondQueue { acked: up_to, next });
        }
        let answered_hello = !self.known;
        self.known = true;
        let progress = up_to > self.acked;
        self.acked = self.acked.max(up_to);
        while self.in_flight.front().is_some_and(|last| *last <= self.acked) {
            self.in_flight.pop_front();
        }
        if progress || answered_hello {
            self.silences = 0;
            self.deadline = None;
            if !self.in_flight.is_empty() {
                self.deadline = Some(UptimeMillis(now.0.saturating_add(self.wait_ms())));
            }
        }
        Ok(Input::Acked(self.acked))
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, SessionError> {
    // Fields that a later version appends are stepped over.
    postcard::take_from_bytes(body).map(|(value, _)| value).map_err(|_| SessionError::Malformed)
}

fn on_time(now: UptimeMillis, time: &Time) -> Input<'static> {
    // The answer took at most this long, both ways; the gateway's "now" lies somewhere in it.
    let delay = now.0.saturating_sub(time.echo.0);
    let UnixMillis(unix) = time.now;
    let offset_ms = unix
        .saturating_add(i64::try_from(delay / 2).unwrap_or(i64::MAX))
        .saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX));
    let uncertainty = u64::from(time.uncertainty_ms).saturating_add(delay.div_ceil(2));
    Input::Time { offset_ms, uncertainty_ms: u16::try_from(uncertainty).unwrap_or(u16::MAX) }
}
