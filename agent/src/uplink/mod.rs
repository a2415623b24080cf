//! From the spool to the platform: publishes events with QoS 1 and says which may be let go.
//!
//! This is the shell that knows sockets and time; which event is sent and which is let go is decided in [`outflow`]. A
//! connection has a client of its own.
//!
//! Bounds: `inflight` publishes under way, [`outflow::READ_ROWS`] rows read ahead. A broker that acknowledges nothing for `ack_timeout_s` is left
//! and the next one is tried. What a broker refuses for good, or hangs up at or passes over again and again ([`suspect`]), is handed to
//! the spool to be set aside, and holds up nobody.

pub mod batch;
pub mod client;
pub mod config;
pub mod denied;
pub mod outflow;
pub mod subscriber;
pub mod suspect;
pub mod topics;
pub mod window;

use std::fmt;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::event::cloudevent;
use crate::links::backoff::Backoff;
use crate::observe::heartbeat::{BEAT_EVERY, Heartbeat};
use crate::pack::admit::PackStatus;
use client::{Requests, Retained, Step};
use config::{Broker, Connection, Version};
use denied::Denied;
use outflow::Outflow;
use window::Carried;

/// How often it is looked whether the broker still acknowledges.
const LOOK_EVERY: Duration = BEAT_EVERY;
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
    /// How much it matters ([`crate::event::rank`]).
    pub rank: u8,
    /// Whose it is, as its id begins: the events of one device keep their order.
    pub source: String,
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
pub trait Outbox {
    /// The events of these ranks with a row after `after`, ascending, at most `max_rows`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(
        &mut self,
        after: i64,
        max_rows: usize,
        ranks: &RangeInclusive<u8>,
    ) -> Result<Vec<OutboxRow>, OutboxError>;

    /// The events with a row after `after`, ascending, at most `max_rows`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_after(&mut self, after: i64, max_rows: usize) -> Result<Vec<OutboxRow>, OutboxError> {
        self.read(after, max_rows, &(0..=u8::MAX))
    }
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
    /// Events written, repetitions included.
    pub published: AtomicU64,
    /// Events acknowledged.
    pub acknowledged: AtomicU64,
    /// Events that a broker refused for good.
    pub refused: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
    /// Beaten while the uplink gets round, connected or not; not while it cannot read the spool.
    pub heartbeat: Heartbeat,
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
    fn status(&self, status: &str, pack: Option<&PackStatus>) -> Retained {
        let mut payload = serde_json::json!({
            "status": status,
            "session": self.session,
            "gateway": self.id,
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(Ok(serde_json::Value::Object(pack))) = pack.map(serde_json::to_value)
            && let Some(fields) = payload.as_object_mut()
        {
            fields.extend(pack);
        }
        Retained {
            topic: topics::status(&self.division, &self.id),
            payload: payload.to_string().into_bytes(),
        }
    }
}

/// What the uplink is connected to.
pub struct Ends {
    /// Where events wait.
    pub outbox: Box<dyn Outbox + Send>,
    /// From the pipeline: the newest committed event. Closed at shutdown, when no more will come.
    pub committed: watch::Receiver<i64>,
    /// To the pipeline: these rows are with the platform.
    pub released: mpsc::Sender<RangeInclusive<i64>>,
    /// To the pipeline: what a broker refused for good.
    pub refused: mpsc::Sender<Refused>,
    /// Which pack runs, to be said in the status.
    pub pack: Option<watch::Receiver<PackStatus>>,
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
    let mut uplink = Uplink::new(connection, gateway, ends, status);
    if uplink.connection.version == Version::V311 {
        tracing::warn!(
            "protocol = \"3.1.1\": a broker that denies a topic to this gateway acknowledges its events all the same, and \
             they are gone. Use \"5\" where the broker can"
        );
    }
    let mut backoff = Backoff::default();
    let mut turn = 0;
    while !shutdown.is_cancelled() {
        let broker = uplink.connection.brokers[turn % uplink.connection.brokers.len()].clone();
        let end = uplink.serve(&broker, &mut backoff, &shutdown).await;
        uplink.status.connected.store(false, Ordering::Relaxed);
        uplink.release(true).await;
        let Err(Ended { reason, by_broker }) = end else { break };
        turn += 1;
        if by_broker {
            uplink.suspect(&reason).await;
        }
        let wait = backoff.failed(Instant::now());
        tracing::warn!(%broker, reason, "no connection to the broker; events wait in the spool. Trying again in {wait:.1?}");
        *uplink.status.last_error.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        let again_at = Instant::now() + wait;
        while !shutdown.is_cancelled() && Instant::now() < again_at {
            uplink.beat();
            let left = again_at.saturating_duration_since(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(left.min(BEAT_EVERY)) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

struct Uplink {
    connection: Connection,
    gateway: Gateway,
    ends: Ends,
    status: Arc<UplinkStatus>,
    outflow: Outflow,
    /// Events of a backlog that go in one publish. 1 once a broker refused such a publish.
    batch_events_max: usize,
    denied: Denied,
    packet_max: u32,
    /// When something was last acknowledged, or nothing was under way.
    progress: Instant,
    /// Whether the last read of the spool succeeded.
    can_read: bool,
}

/// Why a connection is over.
struct Ended {
    reason: String,
    /// Whether the other end, or the network, ended it, or does not acknowledge one event. Else this end gave it up.
    by_broker: bool,
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self { reason, by_broker: false }
    }
}

impl Uplink {
    fn new(connection: Connection, gateway: Gateway, ends: Ends, status: Arc<UplinkStatus>) -> Self {
        let batch_events_max = usize::from(connection.batch_events_max);
        let read_rows = if batch_events_max > 1 { batch::READ_ROWS } else { outflow::READ_ROWS };
        Self {
            connection,
            batch_events_max,
            gateway,
            ends,
            status,
            outflow: Outflow::default().reading(read_rows),
            denied: Denied::default(),
            packet_max: client::PACKET_BYTES_MAX,
            progress: Instant::now(),
            can_read: true,
        }
    }

    /// One connection: `Ok` when all is said and done after shutdown, else why it ended.
    async fn serve(
        &mut self,
        broker: &Broker,
        backoff: &mut Backoff,
        shutdown: &CancellationToken,
    ) -> Result<(), Ended> {
        let committed = *self.ends.committed.borrow();
        self.outflow.connecting(committed);
        let (requests, mut driver) =
            client::open(&self.connection, broker, Some(self.gateway.status("offline", None)));
        let mut connected = false;
        let mut leaving: Option<Instant> = None;
        let mut said_goodbye = false;
        let ack_timeout = Duration::from_secs(u64::from(self.connection.ack_timeout_s));
        // Outlives each poll: with events coming all the time, a sleep begun anew for each would never end.
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // One poll of the client is carried through to its end: it must not be dropped half-way.
            let step = {
                let mut poll = pin!(driver.poll());
                loop {
                    if connected && !said_goodbye {
                        self.fill(&requests)?;
                        // Looking for more may have shown that there is none of the other lane before what is acknowledged.
                        self.release(false).await;
                        if let Some(deadline) = leaving
                            && (self.is_idle() || Instant::now() >= deadline)
                        {
                            self.say_goodbye(&requests)?;
                            said_goodbye = true;
                        }
                    }
                    tokio::select! {
                        step = &mut poll => break step.map_err(|reason| Ended { reason, by_broker: true }),
                        changed = self.ends.committed.changed(), if leaving.is_none() => {
                            if changed.is_err() {
                                leaving = Some(Instant::now() + DRAIN_MAX);
                            }
                        }
                        _ = look.tick() => {
                            self.beat();
                            if connected && leaving.is_none() && self.has_another_pack() && self.outflow.has_room() {
                                self.say_online(&requests)?;
                            }
                            if self.outflow.nothing_under_way() {
                                self.progress = Instant::now();
                            } else if self.progress.elapsed() > ack_timeout {
                                let by_broker = self.outflow.is_event_passed_over();
                                let reason = format!("the broker acknowledged nothing for {ack_timeout:?}");
                                return Err(Ended { reason, by_broker });
                            }
                            if leaving.is_some_and(|deadline| Instant::now() > deadline + DRAIN_MAX) {
                                return Err("the broker did not take our goodbye".to_owned().into());
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
                    self.outflow.connected(usize::from(self.connection.inflight.min(receive_max)));
                    self.packet_max = packet_max.min(client::PACKET_BYTES_MAX);
                    self.status.connected.store(true, Ordering::Relaxed);
                    self.status.connections.fetch_add(1, Ordering::Relaxed);
                    self.say_online(&requests)?;
                }
                Step::Sent(packet) => {
                    let events = self.outflow.sent(packet).map_or(0, events_in);
                    self.status.published.fetch_add(events, Ordering::Relaxed);
                }
                Step::Acknowledged(packet) => self.acknowledged(packet).await?,
                Step::Refused(packet, reason) => self.refused(packet, &reason).await?,
                Step::NotNow(reason) => {
                    let reason = format!("the broker takes no events now ({reason})");
                    return Err(Ended { reason, by_broker: true });
                }
                Step::SaidGoodbye => return Ok(()),
                Step::Subscribed | Step::NotSubscribed(_) | Step::Message { .. } | Step::Other => {}
            }
        }
    }

    /// Whether another pack runs, or was refused, than the status says.
    fn has_another_pack(&self) -> bool {
        self.ends.pack.as_ref().is_some_and(|pack| pack.has_changed().unwrap_or(false))
    }

    /// Publishes the retained status, with the pack that runs now.
    fn say_online(&mut self, requests: &Requests) -> Result<(), Ended> {
        let pack = self.ends.pack.as_mut().map(|pack| pack.borrow_and_update().clone());
        let birth = self.gateway.status("online", pack.as_ref());
        self.outflow.submit(BIRTH_ROW, birth.topic.clone());
        publish_status(requests, birth)?;
        Ok(())
    }

    /// Whether everything that was committed is acknowledged.
    fn is_idle(&self) -> bool {
        self.outflow.is_idle(*self.ends.committed.borrow())
    }

    /// Submits what there is room for.
    fn fill(&mut self, requests: &Requests) -> Result<(), String> {
        while let Some(row) = self.next_row()? {
            if let Some(reason) = self.why_not_to_send(&row) {
                // The pipeline is behind: go on when it is not.
                let Ok(place) = self.ends.refused.try_reserve() else {
                    self.outflow.put_back(row);
                    return Ok(());
                };
                place.send(Refused { id: row.id, reason: reason.clone() });
                self.note_refusal(row.id, &row.topic, &reason);
                continue;
            }
            let bytes_max = batch::bytes_max(&row, self.packet_max);
            let more = self.outflow.more(&row, self.batch_events_max - 1, bytes_max);
            let ids = more.iter().map(|row| row.id).collect();
            let (id, topic) = (row.id, row.topic);
            let (payload, content_type) = match more.is_empty() {
                true => (row.payload, cloudevent::CONTENT_TYPE),
                false => (batch::payload(&row.payload, &more), batch::CONTENT_TYPE),
            };
            // There is room: the client's queue is longer than the window.
            requests
                .publish(topic.clone(), payload, false, content_type)
                .map_err(|_| "the client takes no more requests".to_owned())?;
            self.outflow.submit_with(id, ids, topic);
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<OutboxRow>, String> {
        let Ends { outbox, committed, .. } = &mut self.ends;
        let next = self.outflow.next(outbox.as_mut(), || *committed.borrow_and_update());
        self.can_read = next.is_ok();
        next.map_err(|error| error.to_string())
    }

    /// The uplink got round.
    fn beat(&self) {
        if self.can_read {
            self.status.heartbeat.beat();
        }
    }

    /// Why a row would be refused in any case.
    fn why_not_to_send(&self, row: &OutboxRow) -> Option<String> {
        if !topics::is_publishable(&row.topic) {
            return Some("its topic cannot be published to".to_owned());
        }
        if client::publish_bytes(&row.topic, &row.payload) > self.packet_max as usize {
            return Some(format!("the broker takes packets of at most {} bytes", self.packet_max));
        }
        self.denied
            .contains(&row.topic, Instant::now())
            .then(|| "NotAuthorized, as an event on this topic was lately".to_owned())
    }

    /// The broker will never take what this packet carries.
    async fn refused(&mut self, packet: u16, reason: &str) -> Result<(), Ended> {
        let carried = self.outflow.carried_by(packet).map(|c| (c.row, c.rows, c.topic.to_owned()));
        match carried {
            Some((BIRTH_ROW, _, topic)) => tracing::error!(
                reason,
                topic,
                "the broker refuses this gateway's status: the platform cannot see whether it is there. Look at \
                 the broker's access list"
            ),
            Some((row, 1, topic)) => {
                self.denied.insert(&topic, Instant::now());
                self.refuse(row, &topic, reason).await;
            }
            Some((_, rows, topic)) => {
                // It is not known at which of them: the next connection sends each alone.
                self.batch_events_max = 1;
                let reason = format!(
                    "the broker refuses a batch of {rows} events on {topic} ({reason}); until the next start events go one by one"
                );
                return Err(reason.into());
            }
            None => {}
        }
        Ok(self.acknowledged(packet).await?)
    }

    async fn acknowledged(&mut self, packet: u16) -> Result<(), String> {
        let events = self.outflow.carried_by(packet).map_or(0, events_in);
        self.outflow
            .acknowledged(packet)
            .map_err(|_| format!("the broker acknowledged packet {packet}, which is not under way"))?;
        self.progress = Instant::now();
        self.status.acknowledged.fetch_add(events, Ordering::Relaxed);
        self.release(false).await;
        Ok(())
    }

    /// Tells the pipeline what it may let go.
    async fn release(&mut self, at_once: bool) {
        while let Some(rows) = self.outflow.take_released(at_once) {
            // The pipeline writes it with its next transaction; when it is gone, so is the need.
            let _ = self.ends.released.send(rows).await;
        }
    }

    /// The broker ended the connection: was it because of an event?
    async fn suspect(&mut self, reason: &str) {
        if let Some((row, topic)) = self.outflow.ended_by_broker() {
            let reason = format!("the connection ended at this event again and again: {reason}");
            self.refuse(row, &topic, &reason).await;
        }
    }

    async fn refuse(&mut self, row: i64, topic: &str, reason: &str) {
        self.note_refusal(row, topic, reason);
        let _ = self.ends.refused.send(Refused { id: row, reason: reason.to_owned() }).await;
    }

    fn note_refusal(&self, row: i64, topic: &str, reason: &str) {
        self.status.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            row,
            topic,
            reason,
            "this event is refused for good; it is set aside in the spool's table `refused`. \
             Look at the broker's access list: gateways must be allowed to publish to gridpost/1/<division>/event/#. \
             After a restart the gateway sends it again"
        );
    }

    fn say_goodbye(&mut self, requests: &Requests) -> Result<(), String> {
        let death = self.gateway.status("offline", None);
        if self.outflow.has_room() {
            self.outflow.submit(BIRTH_ROW, death.topic.clone());
        }
        publish_status(requests, death)?;
        requests.disconnect().map_err(|_| "the client takes no more requests".to_owned())
    }
}

/// How many events a publish carries.
fn events_in(carried: Carried<'_>) -> u64 {
    if carried.row == BIRTH_ROW { 0 } else { carried.rows as u64 }
}

fn publish_status(requests: &Requests, status: Retained) -> Result<(), String> {
    requests
        .publish(status.topic, status.payload, true, "application/json")
        .map_err(|_| "the client takes no more requests".to_owned())
}

#[cfg(test)]
mod tests;
