//! The node's loop: measure, keep, talk.
//!
//! Measuring ([`Node::measure`], one future a sensor) and talking ([`Node::talk`]) run side by side and share the store, so a link that is
//! dead, slow or absent never keeps a reading from being stored. Both are thin shells that know a link and what time it is, around
//! [`Node::keep`], [`Node::transmit`] and [`Node::receive`], which are told both; what is said is decided by the
//! protocol's session.

mod calibrate;
mod deciding;
mod history;
mod listen;
mod measure;
mod observe;
#[cfg(test)]
mod own_rules;
#[cfg(test)]
mod tests;

use core::cell::{Cell, RefCell};

use embassy_futures::select::{Either3, select3};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use gridpost_protocol::id::Seq;
use gridpost_protocol::message::{
    Fetch, Hello, KIND_RECORDS_AFTER_GAP, RecordsBuilder, ResetCause, Status, Unsupported,
};
use gridpost_protocol::record::Record;
use gridpost_protocol::session::node::{Input, Next, NodeSession, SessionError};
use gridpost_protocol::share::NO_SHARE;
use gridpost_protocol::time::{Stamp, UptimeMillis};

pub use observe::{FETCHED_MAX, HELD_MAX};

use observe::Rules;

use crate::store::{Store, StoreError};
use crate::wall::WallClock;

/// How often a node says how it is, and hears the time.
pub const STATUS_EVERY: Duration = Duration::from_secs(600);
/// Bytes read from the link at once.
const READ_BYTES: usize = 256;
/// When the store could not be read: how long until it is tried again, in milliseconds.
const READ_AGAIN_MS: u64 = 1_000;

/// What a board wants to know of what its node does.
pub trait Journal {
    /// A record is in the store and survives from here on.
    fn appended(&self, seq: Seq);

    /// Something that a technician should see.
    fn trouble(&self, what: core::fmt::Arguments<'_>);
}

/// What a node is made of.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The firmware's version.
    pub firmware: &'static str,
    /// The board's name.
    pub board: &'static str,
    /// Why it started.
    pub reset_cause: ResetCause,
}

/// Why talking ended.
#[derive(Debug, PartialEq, Eq)]
pub enum TalkError<E> {
    /// The link is closed.
    Closed,
    /// The link failed.
    Link(E),
    /// This boot's frame counters are used up: restart the node.
    Restart,
}

/// What there is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToSend {
    /// A frame, ready.
    Frame(FrameKind),
    /// Nothing until this time, or until a frame or a record comes.
    NothingUntil(UptimeMillis),
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Who is there.
    Hello,
    /// Records.
    Records,
    /// How the node is.
    Status,
    /// Which rules it runs.
    Share,
}

/// What the store has to do with a frame.
enum ToDo {
    Nothing,
    /// The gateway has everything up to here.
    Release(Seq),
    /// A share may be complete, or the time known.
    Exchange,
    Fetch(Fetch),
    Calibrate(Calibrate),
}

/// A node: what its parts share.
pub struct Node<F: MultiwriteNorFlash, W, J> {
    about: About,
    store: Mutex<NoopRawMutex, Store<F>>,
    session: RefCell<NodeSession>,
    wall: RefCell<W>,
    /// Borrowed only while the store is locked, and not across an await.
    rules: RefCell<Rules>,
    journal: J,
    /// There is something new to send.
    appended: Signal<NoopRawMutex, ()>,
    sensor_errors: Cell<u32>,
    calibration: Cell<calibrate::Calibration>,
    /// Of the sensors that measure, in the order in which they began.
    kinds: RefCell<heapless::Vec<&'static str, { measure::SENSORS_MAX }>>,
}

/// An uptime as the executor's time; one that never comes is a long way off.
fn at_uptime(uptime: UptimeMillis) -> Instant {
    Instant::from_ticks(0) + Duration::from_millis(uptime.0.min(u64::from(u32::MAX)))
}

fn uptime() -> UptimeMillis {
    UptimeMillis(Instant::now().as_millis())
}

impl<F, W, J> Node<F, W, J>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
{
    /// A node over an open store.
    pub fn new(store: Store<F>, about: About, wall: W, journal: J) -> Self {
        let identity = store.identity();
        let acked = Seq(store.oldest_seq().0.saturating_sub(1));
        let session = NodeSession::new(identity.device, identity.key.clone(), store.boot(), acked);
        let rules = RefCell::new(Rules::new(store.share() != NO_SHARE));
        Self {
            about,
            rules,
            store: Mutex::new(store),
            session: RefCell::new(session),
            wall: RefCell::new(wall),
            journal,
            appended: Signal::new(),
            sensor_errors: Cell::new(0),
            calibration: Cell::new(calibrate::Calibration::NoMeter),
            kinds: RefCell::new(heapless::Vec::new()),
        }
    }

    /// The store, for whoever looks into it from outside.
    pub const fn store(&self) -> &Mutex<NoopRawMutex, Store<F>> {
        &self.store
    }

    /// Puts a record into the store, stamped with what the time is at this uptime.
    ///
    /// # Errors
    /// When it is too long, or the flash fails.
    pub async fn keep(&self, now: UptimeMillis, record: &Record<'_>) -> Result<Seq, StoreError<F::Error>> {
        let mut store = self.store.lock().await;
        let stamp = self.wall.borrow().stamp(store.boot(), now);
        self.append(&mut store, &stamp, record).await
    }

    async fn append(
        &self,
        store: &mut Store<F>,
        stamp: &Stamp,
        record: &Record<'_>,
    ) -> Result<Seq, StoreError<F::Error>> {
        let stored = record.store(stamp).map_err(|_| StoreError::Record)?;
        let seq = store.append(&stored).await?;
        self.appended(seq);
        Ok(seq)
    }

    fn appended(&self, seq: Seq) {
        self.journal.appended(seq);
        self.appended.signal(());
    }

    /// Talks over a link until it ends. To be called again when there is a link again.
    ///
    /// # Errors
    /// Always, in the end: says why it ended.
    pub async fn talk<R, T>(&self, mut reader: R, mut writer: T) -> TalkError<R::Error>
    where
        R: Read,
        T: Write<Error = R::Error>,
    {
        self.link_up();
        let mut deframer = Deframer::new();
        let (mut buffer, mut frame) = ([0; READ_BYTES], FrameBuf::new());
        let mut status_at = Instant::now() + STATUS_EVERY;
        loop {
            let status_due = Instant::now() >= status_at;
            let wait_until = match self.transmit(uptime(), status_due, &mut frame).await {
                Ok(ToSend::Frame(kind)) => {
                    if kind == FrameKind::Status {
                        status_at = Instant::now() + STATUS_EVERY;
                    }
                    let sent = async {
                        writer.write_all(&to_stream(&frame)).await?;
                        writer.flush().await
                    };
                    if let Err(error) = sent.await {
                        return TalkError::Link(error);
                    }
                    continue;
                }
                Ok(ToSend::NothingUntil(until)) => at_uptime(until).min(status_at),
                Err(SessionError::CounterExhausted) => return TalkError::Restart,
                Err(error) => {
                    self.journal.trouble(format_args!("cannot send: {error}"));
                    Instant::now() + Duration::from_secs(1)
                }
            };
            match select3(reader.read(&mut buffer), Timer::at(wait_until), self.appended.wait()).await {
                Either3::First(Ok(0)) => return TalkError::Closed,
                Either3::First(Err(error)) => return TalkError::Link(error),
                Either3::First(Ok(count)) => {
                    for byte in &buffer[..count] {
                        if let Some(Ok(mut frame)) = deframer.push(*byte) {
                            self.receive(uptime(), &mut frame).await;
                        }
                    }
                }
                Either3::Second(()) | Either3::Third(()) => {}
            }
        }
    }

    /// The link was opened anew.
    pub fn link_up(&self) {
        self.session.borrow_mut().link_up();
    }

    /// Fills `frame` with what is to be sent now, or says until when there is nothing.
    ///
    /// # Errors
    /// When a frame cannot be made; after [`SessionError::CounterExhausted`] the node must restart.
    pub async fn transmit(
        &self,
        now: UptimeMillis,
        status_due: bool,
        frame: &mut FrameBuf,
    ) -> Result<ToSend, SessionError> {
        let mut store = self.store.lock().await;
        let next = store.next_seq();
        let wanted = self.session.borrow_mut().next(now, next);
        if wanted != Next::Hello
            && let Some(status) = self.rules.borrow_mut().take_status()
        {
            self.session.borrow_mut().share_status(&status, frame)?;
            return Ok(ToSend::Frame(FrameKind::Share));
        }
        match wanted {
            Next::Hello => {
                let hello = Hello {
                    firmware: self.about.firmware,
                    board: self.about.board,
                    reset_cause: self.about.reset_cause,
                    share: self.rules.borrow().running(),
                    uptime: now,
                    oldest: store.oldest_seq(),
                    next,
                    unacknowledged: store.unacknowledged_seq(),
                };
                self.session.borrow_mut().hello(now, &hello, frame)?;
                Ok(ToSend::Frame(FrameKind::Hello))
            }
            Next::Records(from) => {
                let oldest = store.oldest_seq();
                let mut batch: Option<RecordsBuilder> = None;
                let read = store
                    .read_from(from, |seq, stored| match &mut batch {
                        None => {
                            // What lies between was given up, and older records were not.
                            let gap = seq > from && seq > oldest;
                            batch = if gap {
                                RecordsBuilder::after_gap(from, seq, stored)
                            } else {
                                RecordsBuilder::new(oldest, seq, stored)
                            };
                            batch.is_some()
                        }
                        Some(batch) => batch.push(seq, stored),
                    })
                    .await;
                if let Err(error) = read {
                    self.journal.trouble(format_args!("the store cannot be read: {error}"));
                }
                match batch {
                    Some(batch) => {
                        self.session.borrow_mut().records(now, &batch, frame)?;
                        Ok(ToSend::Frame(FrameKind::Records))
                    }
                    None => Ok(ToSend::NothingUntil(UptimeMillis(now.0.saturating_add(READ_AGAIN_MS)))),
                }
            }
            Next::Wait(until) => {
                if status_due {
                    let status = Status {
                        uptime: now,
                        oldest: store.oldest_seq(),
                        next,
                        evicted: store.evicted(),
                        sensor_errors: self.sensor_errors.get(),
                    };
                    self.session.borrow_mut().status(&status, frame)?;
                    return Ok(ToSend::Frame(FrameKind::Status));
                }
                Ok(ToSend::NothingUntil(until))
            }
        }
    }

    /// Takes a frame from the gateway; what is left of it is of no use.
    pub async fn receive(&self, now: UptimeMillis, frame: &mut FrameBuf) {
        let mut store = self.store.lock().await;
        match self.hear(now, store.next_seq(), frame) {
            ToDo::Nothing => {}
            ToDo::Release(up_to) => {
                if let Err(error) = store.release(up_to).await {
                    self.journal.trouble(format_args!("the store cannot let go: {error}"));
                }
            }
            ToDo::Exchange => self.exchange(&mut store, now).await,
            ToDo::Fetch(fetch) => self.on_fetch(&mut store, &fetch).await,
            ToDo::Calibrate(calibrate) => self.on_calibrate(&mut store, now, calibrate).await,
        }
    }

    /// Takes in what a frame says, as far as the store has no part in it. A function of its own, so that no future holds frames and shares.
    fn hear(&self, now: UptimeMillis, next: Seq, frame: &mut FrameBuf) -> ToDo {
        match self.session.borrow_mut().on_frame(now, next, frame) {
            Ok(Input::Acked(up_to)) => return ToDo::Release(up_to),
            Ok(Input::Time { offset_ms, uncertainty_ms }) => {
                self.wall.borrow_mut().set(offset_ms, uncertainty_ms);
                return ToDo::Exchange;
            }
            Ok(Input::Share(head)) => {
                if self.rules.borrow_mut().on_share(head) {
                    return ToDo::Exchange;
                }
            }
            Ok(Input::ShareRule(rule)) => {
                if self.rules.borrow_mut().on_share_rule(rule) {
                    return ToDo::Exchange;
                }
            }
            Ok(Input::Fetch(fetch)) => return ToDo::Fetch(fetch),
            Ok(Input::Calibrate(calibrate)) => return ToDo::Calibrate(calibrate),
            Ok(Input::Refused(refused)) => {
                self.journal.trouble(format_args!(
                    "the gateway has records up to {} of this device and takes none from before: provision it anew",
                    refused.cursor
                ));
            }
            Ok(Input::Unsupported(Unsupported { kind: KIND_RECORDS_AFTER_GAP })) => {
                self.journal.trouble(format_args!(
                    "the gateway does not understand that records are missing here: it has to be brought up to date, and records wait for that"
                ));
            }
            Ok(Input::Unsupported(_) | Input::Unknown(_)) => {}
            Err(error) => self.journal.trouble(format_args!("frame dropped: {error}")),
        }
        ToDo::Nothing
    }
}
