//! From the spool to the platform: publishes events with QoS 1 and says which may be let go.
//!
//! The spool is the only truth. A connection has a client of its own and forgets everything when it ends; the next one begins
//! with the first event that is not acknowledged. Only a contiguous prefix of events, each acknowledged on the
//! connection that sent it, is ever released; so an event may arrive twice, with the same id, and is never skipped.
//!
//! Bounds: `inflight` publishes under way, [`READ_ROWS`] rows read ahead. A broker that acknowledges nothing for [`STALL`] is left and the
//! next one is tried. What a broker refuses for good is handed to the spool to be set aside, and holds up nobody.

pub mod client;
pub mod config;
pub mod subscriber;
pub mod topics;
pub mod window;

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::event::cloudevent;
use crate::links::backoff::Backoff;
use client::{Requests, Retained, Step};
use config::{Broker, Connection};
use window::Window;

/// Rows that are read from the spool at once.
pub const READ_ROWS: usize = 256;
/// How long a broker may leave publishes unacknowledged. A cluster that elects a new leader takes up to 10 s.
pub const STALL: Duration = Duration::from_secs(20);
/// How long the uplink goes on publishing after shutdown was asked for.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// An event that waits in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its row: ascending, never used twice.
    pub id: i64,
    /// Where it is to be published.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
}

/// The spool could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxError(String);

impl From<String> for OutboxError {
    fn from(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OutboxError {}

/// Where events wait: the spool.
pub trait Outbox: Send + 'static {
    /// The events with a row after `after`, ascending, at most `max_rows`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_after(&mut self, after: i64, max_rows: usize) -> Result<Vec<OutboxRow>, OutboxError>;
}

/// An event that the broker refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its row.
    pub id: i64,
    /// What the broker said.
    pub reason: String,
}

/// How the uplink is doing, for whoever asks.
#[derive(Debug, Default)]
pub struct UplinkStatus {
    /// Whether there is a connection now.
    pub connected: AtomicBool,
    /// Publishes written, repetitions included.
    pub published: AtomicU64,
    /// Events acknowledged.
    pub acknowledged: AtomicU64,
    /// Events that a broker refused for good.
    pub refused: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
    last_error: Mutex<String>,
}

impl UplinkStatus {
    /// Why there is no connection, or why the last one ended.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who this gateway is to the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The division's code.
    pub division: String,
    /// The gateway's id.
    pub id: String,
    /// This start's number: the same in birth and will, so that a late will is told from a new birth.
    pub session: u32,
}

impl Gateway {
    fn status(&self, status: &str) -> Retained {
        let payload = serde_json::json!({
            "status": status,
            "session": self.session,
            "gateway": self.id,
            "version": env!("CARGO_PKG_VERSION"),
        });
        Retained {
            topic: topics::status(&self.division, &self.id),
            payload: payload.to_string().into_bytes(),
        }
    }
}

/// What the uplink is connected to.
pub struct Ends {
    /// Where events wait.
    pub outbox: Box<dyn Outbox>,
    /// From the pipeline: the newest committed event. Closed at shutdown, when no more will come.
    pub committed: watch::Receiver<i64>,
    /// To the pipeline: everything up to this event is with the platform.
    pub released: mpsc::Sender<i64>,
    /// To the pipeline: what a broker refused for good.
    pub refused: mpsc::Sender<Refused>,
}

/// Row of the retained birth, which is no event. Events' rows begin at 1.
const BIRTH_ROW: i64 = 0;

/// Publishes until `shutdown` and until what is there then is published, or [`DRAIN_MAX`] is over.
pub async fn run(
    connection: Connection,
    gateway: Gateway,
    ends: Ends,
    status: Arc<UplinkStatus>,
    shutdown: CancellationToken,
) {
    let mut uplink = Uplink {
        connection,
        gateway,
        ends,
        status,
        released: 0,
        ahead: VecDeque::new(),
        read_up_to: 0,
        window: Window::new(1),
        packet_max: client::PACKET_BYTES_MAX,
        progress: Instant::now(),
    };
    let mut backoff = Backoff::default();
    let mut turn = 0;
    while !shutdown.is_cancelled() {
        let broker = uplink.connection.brokers[turn % uplink.connection.brokers.len()].clone();
        let end = uplink.serve(&broker, &mut backoff, &shutdown).await;
        uplink.status.connected.store(false, Ordering::Relaxed);
        let Err(reason) = end else { break };
        turn += 1;
        let wait = backoff.failed(Instant::now());
        tracing::warn!(%broker, reason, "no connection to the broker; events wait in the spool. Trying again in {wait:.1?}");
        *uplink.status.last_error.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

struct Uplink {
    connection: Connection,
    gateway: Gateway,
    ends: Ends,
    status: Arc<UplinkStatus>,
    /// Everything up to here was reported to the pipeline as released.
    released: i64,
    /// Rows that are read and not yet submitted.
    ahead: VecDeque<OutboxRow>,
    /// The last row that was read, or that the next read begins after.
    read_up_to: i64,
    window: Window,
    packet_max: u32,
    /// When something was last acknowledged, or nothing was under way.
    progress: Instant,
}

impl Uplink {
    /// One connection: `Ok` when all is said and done after shutdown, else why it ended.
    async fn serve(
        &mut self,
        broker: &Broker,
        backoff: &mut Backoff,
        shutdown: &CancellationToken,
    ) -> Result<(), String> {
        // Nothing of an earlier connection counts.
        self.ahead.clear();
        self.read_up_to = self.released;
        self.window = Window::new(usize::from(self.connection.inflight));
        let (requests, mut driver) =
            client::open(&self.connection, broker, Some(self.gateway.status("offline")));
        let mut connected = false;
        let mut leaving: Option<Instant> = None;
        let mut said_goodbye = false;
        loop {
            // One poll of the client is carried through to its end: it must not be dropped half-way.
            let step = {
                let mut poll = pin!(driver.poll());
                loop {
                    if connected && !said_goodbye {
                        self.fill(&requests)?;
                        if let Some(deadline) = leaving
                            && (self.is_idle() || Instant::now() >= deadline)
                        {
                            self.say_goodbye(&requests)?;
                            said_goodbye = true;
                        }
                    }
                    tokio::select! {
                        step = &mut poll => break step,
                        changed = self.ends.committed.changed(), if leaving.is_none() => {
                            if changed.is_err() {
                                leaving = Some(Instant::now() + DRAIN_MAX);
                            }
                        }
                        () = tokio::time::sleep(Duration::from_secs(1)) => {
                            if self.window.is_empty() {
                                self.progress = Instant::now();
                            } else if self.progress.elapsed() > STALL {
                                return Err(format!("the broker acknowledged nothing for {STALL:?}"));
                            }
                            if leaving.is_some_and(|deadline| Instant::now() > deadline + DRAIN_MAX) {
                                return Err("the broker did not take our goodbye".to_owned());
                            }
                        }
                        // Nothing to drain to: there is no connection yet.
                        () = shutdown.cancelled(), if !connected => return Ok(()),
                    }
                }
            }?;
            match step {
                Step::Connected { receive_max, packet_max } => {
                    tracing::info!(%broker, "connected to the broker");
                    connected = true;
                    backoff.works(Instant::now());
                    self.progress = Instant::now();
                    self.window = Window::new(usize::from(self.connection.inflight.min(receive_max)).max(1));
                    self.packet_max = packet_max.min(client::PACKET_BYTES_MAX);
                    self.status.connected.store(true, Ordering::Relaxed);
                    self.status.connections.fetch_add(1, Ordering::Relaxed);
                    let birth = self.gateway.status("online");
                    publish_status(&requests, birth)?;
                    self.window.submit(BIRTH_ROW);
                }
                Step::Sent(packet) => {
                    self.window.sent(packet);
                    self.status.published.fetch_add(1, Ordering::Relaxed);
                }
                Step::Acknowledged(packet) => self.acknowledged(packet).await?,
                Step::Refused(packet, reason) => {
                    if let Some(row) = self.window.row_of(packet).filter(|row| *row != BIRTH_ROW) {
                        self.refuse(row, &reason).await;
                    }
                    self.acknowledged(packet).await?;
                }
                Step::SaidGoodbye => return Ok(()),
                Step::Subscribed | Step::Message { .. } | Step::Other => {}
            }
        }
    }

    /// Whether everything that was committed is acknowledged.
    fn is_idle(&self) -> bool {
        self.window.is_empty() && self.ahead.is_empty() && self.read_up_to >= *self.ends.committed.borrow()
    }

    /// Submits what there is room for.
    fn fill(&mut self, requests: &Requests) -> Result<(), String> {
        while self.window.has_room() {
            let Some(row) = self.ahead.pop_front() else {
                if self.read_up_to >= *self.ends.committed.borrow_and_update() || !self.read_ahead()? {
                    return Ok(());
                }
                continue;
            };
            if client::publish_bytes(&row.topic, &row.payload) > self.packet_max as usize {
                let reason = format!("the broker takes packets of at most {} bytes", self.packet_max);
                self.refuse_now(row.id, &reason)?;
                continue;
            }
            let (id, topic, payload) = (row.id, row.topic, row.payload);
            // There is room: the client's queue is longer than the window.
            requests
                .publish(topic, payload, false, cloudevent::CONTENT_TYPE)
                .map_err(|_| "the client takes no more requests".to_owned())?;
            self.window.submit(id);
        }
        Ok(())
    }

    /// Reads the next rows; whether there were any.
    fn read_ahead(&mut self) -> Result<bool, String> {
        // Not worth another thread: a read by row id takes well under a millisecond.
        let rows =
            self.ends.outbox.read_after(self.read_up_to, READ_ROWS).map_err(|error| error.to_string())?;
        match rows.last() {
            Some(last) => self.read_up_to = last.id,
            // Rows up to the newest were there once, and are gone: released or set aside.
            None => self.read_up_to = *self.ends.committed.borrow(),
        }
        self.ahead.extend(rows);
        Ok(!self.ahead.is_empty())
    }

    async fn acknowledged(&mut self, packet: u16) -> Result<(), String> {
        let prefix = self
            .window
            .acknowledged(packet)
            .map_err(|_| format!("the broker acknowledged packet {packet}, which is not under way"))?;
        self.progress = Instant::now();
        self.status.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(row) = prefix
            && row > self.released
        {
            self.released = row;
            // The pipeline writes it with its next transaction; when it is gone, so is the need.
            let _ = self.ends.released.send(row).await;
        }
        Ok(())
    }

    async fn refuse(&mut self, row: i64, reason: &str) {
        self.note_refusal(row, reason);
        let _ = self.ends.refused.send(Refused { id: row, reason: reason.to_owned() }).await;
    }

    /// As [`Self::refuse`], where there is no waiting.
    fn refuse_now(&mut self, row: i64, reason: &str) -> Result<(), String> {
        self.note_refusal(row, reason);
        self.ends
            .refused
            .try_send(Refused { id: row, reason: reason.to_owned() })
            .map_err(|_| "the spool does not take refused events".to_owned())
    }

    fn note_refusal(&self, row: i64, reason: &str) {
        self.status.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            row,
            reason,
            "the broker refuses an event for good; it is set aside in the spool's table `refused`. \
             Look at the broker's access list: gateways must be allowed to publish to gridpost/1/<division>/event/#"
        );
    }

    fn say_goodbye(&mut self, requests: &Requests) -> Result<(), String> {
        publish_status(requests, self.gateway.status("offline"))?;
        if self.window.has_room() {
            self.window.submit(BIRTH_ROW);
        }
        requests.disconnect().map_err(|_| "the client takes no more requests".to_owned())
    }
}

fn publish_status(requests: &Requests, status: Retained) -> Result<(), String> {
    requests
        .publish(status.topic, status.payload, true, "application/json")
        .map_err(|_| "the client takes no more requests".to_owned())
}
