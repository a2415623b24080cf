//! The node's loop: measure, keep, talk.
//!
//! Measuring ([`Node::measure`], one future a sensor; [`Node::listen`]) and talking ([`Node::talk`]) run side by side, and beside them the one
//! that works with the store for them ([`Node::serve`]); so a link that is dead, slow or absent never keeps a reading from being stored.
//! They are thin shells that know a link and what time it is, around [`Node::observe`], [`Node::keep`], [`Node::transmit`] and
//! [`Node::receive`], which are told both; what is said is decided by the protocol's session.

mod calibrate;
mod deciding;
mod history;
mod listen;
mod measure;
mod memory;
mod observe;
#[cfg(test)]
mod own_rules;
mod serve;
#[cfg(test)]
mod tests;

use core::borrow::Borrow;
use core::cell::{Cell, RefCell};

use embassy_futures::select::{Either3, select3};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::frame::{Deframer, FrameBuf, FrameError, stream_pieces};
use gridpost_protocol::id::Seq;
use gridpost_protocol::message::{
    Fetch, Hello, KIND_RECORDS_AFTER_GAP, RecordsBuilder, ResetCause, Status, Unsupported,
};
use gridpost_protocol::record::Record;
use gridpost_protocol::session::node::{Input, Next, NodeSession, SessionError};
use gridpost_protocol::share::NO_SHARE;
use gridpost_protocol::time::{Stamp, UptimeMillis};

pub use memory::Memory;
pub use observe::{FETCHED_MAX, HELD_MAX};

use serve::{Done, Job};

use crate::store::{Store, StoreError};
use crate::wall::WallClock;

/// How often a node says how it is, and hears the time.
pub const STATUS_EVERY: Duration = Duration::from_secs(600);
/// Bytes read from the link at once.
const READ_BYTES: usize = 64;
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

/// A node: what its parts share. On a board its [`Memory`] lies elsewhere.
pub struct Node<F: MultiwriteNorFlash, W, J, M = Memory> {
    about: About,
    store: Mutex<NoopRawMutex, Store<F>>,
    session: RefCell<NodeSession>,
    wall: RefCell<W>,
    memory: M,
    journal: J,
    /// There is something new to send.
    appended: Signal<NoopRawMutex, ()>,
    sensor_errors: Cell<u32>,
    calibration: Cell<calibrate::Calibration>,
    /// Of the sensors that measure, in the order in which they began.
    kinds: RefCell<heapless::Vec<&'static str, { measure::SENSORS_MAX }>>,
    /// What the store is asked for, with a number, and what came of it.
    jobs: Channel<NoopRawMutex, (u32, Job), 1>,
    done: Signal<NoopRawMutex, (u32, Done)>,
    /// The number of the last job; whoever has it asks.
    tickets: Mutex<NoopRawMutex, u32>,
    /// A reading is on its way from the queue into the store.
    is_observing: Cell<bool>,
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
        Self::with(Memory::new(), store, about, wall, journal)
    }
}

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// A node over an open store, with its memory, which is new.
    pub fn with(memory: M, store: Store<F>, about: About, wall: W, journal: J) -> Self {
        let identity = store.identity();
        let acked = Seq(store.oldest_seq().0.saturating_sub(1));
        let session = NodeSession::new(identity.device, identity.key.clone(), store.boot(), acked);
        if store.share() != NO_SHARE {
            memory.borrow().rules.borrow_mut().hold();
        }
        Self {
            about,
            memory,
            store: Mutex::new(store),
            session: RefCell::new(session),
            wall: RefCell::new(wall),
            journal,
            appended: Signal::new(),
            sensor_errors: Cell::new(0),
            calibration: Cell::new(calibrate::Calibration::NoMeter),
            kinds: RefCell::new(heapless::Vec::new()),
            jobs: Channel::new(),
            done: Signal::new(),
            tickets: Mutex::new(0),
            is_observing: Cell::new(false),
        }
    }

    fn memory(&self) -> &Memory {
        self.memory.borrow()
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

    /// Talks over a link until it ends, beside [`Self::serve`], which works with the store for it. To be called again when there is a link
    /// again; one link at a time, because the next frame is made where the last one was.
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
        let mut buffer = [0; READ_BYTES];
        let mut status_at = Instant::now() + STATUS_EVERY;
        loop {
            let status_due = Instant::now() >= status_at;
            let wait_until = match self.ask(Job::Transmit { now: uptime(), status_due }).await {
                Done::ToSend(Ok(ToSend::Frame(kind))) => {
                    if kind == FrameKind::Status {
                        status_at = Instant::now() + STATUS_EVERY;
                    }
                    if let Err(error) = self.send(&mut writer).await {
                        return TalkError::Link(error);
                    }
                    continue;
                }
                Done::ToSend(Ok(ToSend::NothingUntil(until))) => at_uptime(until).min(status_at),
                Done::ToSend(Err(SessionError::CounterExhausted)) => return TalkError::Restart,
                Done::ToSend(Err(error)) => {
                    self.journal.trouble(format_args!("cannot send: {error}"));
                    Instant::now() + Duration::from_secs(1)
                }
                // Not what was asked.
                Done::Kept(_) => continue,
            };
            match select3(reader.read(&mut buffer), Timer::at(wait_until), self.appended.wait()).await {
                Either3::First(Ok(0)) => return TalkError::Closed,
                Either3::First(Err(error)) => return TalkError::Link(error),
                Either3::First(Ok(count)) => {
                    for byte in &buffer[..count] {
                        if self.is_frame(deframer.push(*byte)) {
                            self.ask(Job::Receive { now: uptime() }).await;
                        }
                    }
                }
                Either3::Second(()) | Either3::Third(()) => {}
            }
        }
    }

    /// Puts a frame that has come to where [`Self::serve`] takes it from; false when there is none.
    fn is_frame(&self, came: Option<Result<FrameBuf, FrameError>>) -> bool {
        // Another one is there only when somebody talked before, and left: the gateway sends this one again.
        let (Some(Ok(frame)), Ok(mut place)) = (came, self.memory().frame.try_lock()) else { return false };
        *place = frame;
        true
    }

    /// Sends the node's frame. Piece by piece: as a whole it would have to lie in memory once more.
    async fn send<T: Write>(&self, writer: &mut T) -> Result<(), T::Error> {
        let frame = self.memory().frame.lock().await;
        writer.write_all(&[0]).await?;
        for (code, bytes) in stream_pieces(&frame) {
            writer.write_all(&[code]).await?;
            writer.write_all(bytes).await?;
        }
        writer.write_all(&[0]).await?;
        writer.flush().await
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
            && let Some(status) = self.memory().rules.borrow_mut().take_status()
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
                    share: self.memory().rules.borrow().running(),
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
                let (mut batch, mut begun) = (RecordsBuilder::idle(), false);
                let read = store
                    .read_from(from, |seq, stored| {
                        if begun {
                            return batch.push(seq, stored);
                        }
                        // What lies between was given up, and older records were not.
                        begun = if seq > from && seq > oldest {
                            batch.begin_after_gap(from, seq, stored)
                        } else {
                            batch.begin(oldest, seq, stored)
                        };
                        begun
                    })
                    .await;
                if let Err(error) = read {
                    self.journal.trouble(format_args!("the store cannot be read: {error}"));
                }
                if !begun {
                    return Ok(ToSend::NothingUntil(UptimeMillis(now.0.saturating_add(READ_AGAIN_MS))));
                }
                self.session.borrow_mut().records(now, &batch, frame)?;
                Ok(ToSend::Frame(FrameKind::Records))
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

    /// Takes in what a frame says, as far as the store has no part in it. A function of its own, so that no future holds frames and shares,
    /// and they are gone from the stack when the store begins.
    #[inline(never)]
    fn hear(&self, now: UptimeMillis, next: Seq, frame: &mut FrameBuf) -> ToDo {
        match self.session.borrow_mut().on_frame(now, next, frame) {
            Ok(Input::Acked(up_to)) => return ToDo::Release(up_to),
            Ok(Input::Time { offset_ms, uncertainty_ms }) => {
                self.wall.borrow_mut().set(offset_ms, uncertainty_ms);
                return ToDo::Exchange;
            }
            Ok(Input::Share { share, rules, periods }) => {
                if self.memory().rules.borrow_mut().on_share(share, rules, periods) {
                    return ToDo::Exchange;
                }
            }
            Ok(Input::ShareRule { share, index, rule }) => {
                if self.memory().rules.borrow_mut().on_share_rule(share, index, rule) {
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
