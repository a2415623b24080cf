//! The connection on which the platform speaks: sockets and time, nothing else.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::long::{Cost, Manner, RETAINED_WITHIN};
use super::{
    Inbound, Message, QUEUED_MAX, Receipt, SESSION_KEPT_S, Sorted, TooLong, UNACKNOWLEDGED_MAX, sort,
};
use crate::counters::Counters;
use crate::links::backoff::Backoff;
use crate::requests::{Reply, Request, reply};
use crate::uplink::client::{self, Delivery, Receiving, Requests, Step};
use crate::uplink::config::{Broker, Connection};
use crate::uplink::topics;

/// What this connection's client id has after that of the uplink.
pub const CLIENT_ID_SUFFIX: &str = "-in";
/// How long the goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What the listener is connected to.
#[derive(Debug)]
pub struct Ends {
    /// What is to become durable.
    pub pipeline: mpsc::Sender<Inbound>,
    /// What is to be answered.
    pub desk: mpsc::Sender<Request>,
    /// What the desk answered.
    pub replies: mpsc::Receiver<Reply>,
    /// That what the broker keeps on the topic of packs is wanted again.
    pub look_again: Arc<Notify>,
}

/// Whom the platform speaks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The division's code.
    pub division: String,
    /// The gateway's id.
    pub gateway: String,
}

/// Listens until `shutdown`; reconnects for ever.
pub async fn run(
    mut connection: Connection,
    address: Address,
    ends: Ends,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    connection.client_id.push_str(CLIENT_ID_SUFFIX);
    let (receipts, given) = mpsc::channel(2 * (QUEUED_MAX + usize::from(UNACKNOWLEDGED_MAX)));
    let manner = Manner::default();
    let mut listener = Listener { connection, address, ends, counters, receipts, given, number: 0, manner };
    let mut backoff = Backoff::default();
    let mut turn = 0;
    while !shutdown.is_cancelled() {
        let at = turn % listener.connection.brokers.len();
        let broker = listener.connection.brokers[at].clone();
        if listener.manner.forget_at == Some(at) {
            tokio::select! {
                gone = listener.forget(&broker) => match gone {
                    Ok(()) => listener.manner.forgotten(),
                    Err(reason) => tracing::warn!(%broker, reason, "what the broker kept is not given up yet"),
                },
                () = shutdown.cancelled() => break,
            }
        }
        let Err(reason) = listener.serve(&broker, &mut backoff, &shutdown).await else { break };
        if client::is_too_large(&reason) {
            let packet_bytes_max = listener.manner.packet_bytes_max;
            let cost = listener.manner.too_long(at);
            if cost != Cost::Nothing {
                Counters::count(&listener.counters.inbound_dropped);
            }
            let then = match cost {
                Cost::Nothing => "nothing is given up: it is taken on the next connection, to be refused",
                Cost::Session => "what the broker kept for this gateway is given up",
                Cost::Packs => {
                    "this gateway takes packs as files only; remove what is retained on its pack topic, and send it SIGHUP"
                }
            };
            tracing::error!(%broker, reason, packet_bytes_max, "a message for this gateway is longer than this connection takes; {then}");
        } else {
            turn += 1;
        }
        let wait = backoff.failed(Instant::now());
        tracing::warn!(%broker, reason, "the platform cannot reach this gateway; events are not concerned. Trying again in {wait:.1?}");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

struct Listener {
    connection: Connection,
    address: Address,
    ends: Ends,
    counters: Arc<Counters>,
    receipts: mpsc::Sender<Receipt>,
    given: mpsc::Receiver<Receipt>,
    /// Of the connection: a packet id means nothing on another one.
    number: u64,
    manner: Manner,
}

impl Listener {
    fn receiving(&self, resume: bool) -> Receiving {
        Receiving {
            resume,
            keep_s: SESSION_KEPT_S,
            by_hand: true,
            packet_bytes_max: self.manner.packet_bytes_max as u32,
            unacknowledged_max: UNACKNOWLEDGED_MAX,
        }
    }

    /// Has the broker forget its session with this gateway: a connection without one, and without subscriptions.
    async fn forget(&self, broker: &Broker) -> Result<(), String> {
        let (requests, mut driver) = client::open_to_receive(&self.connection, broker, self.receiving(false));
        let mut connected = false;
        loop {
            match driver.poll().await {
                Ok(Step::Connected { .. }) => {
                    connected = true;
                    requests.disconnect().map_err(|_| "the client takes no more requests")?;
                }
                Ok(Step::SaidGoodbye) => return Ok(()),
                Ok(_) => {}
                Err(_) if connected => return Ok(()),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// One connection: `Ok` after shutdown, else why it ended.
    async fn serve(
        &mut self,
        broker: &Broker,
        backoff: &mut Backoff,
        shutdown: &CancellationToken,
    ) -> Result<(), String> {
        self.number += 1;
        let (requests, mut driver) = client::open_to_receive(&self.connection, broker, self.receiving(true));
        let mut retained_until = None;
        let mut packet_max = None;
        let mut asked: VecDeque<String> = VecDeque::new();
        let mut leaving = None;
        loop {
            // One poll of the client is carried through to its end: it must not be dropped half-way.
            let step = {
                let mut poll = pin!(driver.poll());
                loop {
                    let deadline = leaving.unwrap_or_else(|| tokio::time::Instant::now() + GOODBYE_MAX);
                    tokio::select! {
                        step = &mut poll => break step?,
                        Some(receipt) = self.given.recv() => {
                            if receipt.connection == self.number {
                                requests.acknowledge(receipt.packet).map_err(|_| "the client takes no more requests")?;
                            }
                        }
                        Some(reply) = self.ends.replies.recv(), if packet_max.is_some() => {
                            self.publish(&requests, reply, packet_max.unwrap_or_default());
                        }
                        () = self.ends.look_again.notified(), if packet_max.is_some() => {
                            self.manner.packs = true;
                            let pack = topics::pack(&self.address.division, &self.address.gateway);
                            requests.subscribe(&pack).map_err(|_| "the client takes no more requests")?;
                            asked.push_back(pack);
                        }
                        () = shutdown.cancelled(), if leaving.is_none() => {
                            if packet_max.is_none() || requests.disconnect().is_err() {
                                return Ok(());
                            }
                            leaving = Some(tokio::time::Instant::now() + GOODBYE_MAX);
                        }
                        () = tokio::time::sleep_until(deadline), if leaving.is_some() => return Ok(()),
                        () = tokio::time::sleep_until(retained_until.unwrap_or(deadline)), if retained_until.is_some() => {
                            self.manner.stands();
                            retained_until = None;
                        }
                    }
                }
            };
            match step {
                Step::Connected { packet_max: theirs, .. } => {
                    backoff.works(Instant::now());
                    packet_max = Some(theirs.min(client::PACKET_BYTES_MAX) as usize);
                    asked = self.subscribe(&requests).map_err(|_| "the client takes no more requests")?;
                }
                Step::Subscribed => {
                    if let Some(filter) = asked.pop_front() {
                        tracing::info!(%broker, filter, "listening to the platform");
                    }
                    if asked.is_empty() {
                        retained_until = Some(tokio::time::Instant::now() + RETAINED_WITHIN);
                    }
                }
                // The others stand all the same.
                Step::NotSubscribed(reason) => {
                    Counters::count(&self.counters.subscriptions_refused);
                    let filter = asked.pop_front().unwrap_or_default();
                    tracing::error!(%broker, filter, reason, "the broker refuses this subscription, and the platform is not heard on it. Look at the broker's access list");
                }
                Step::Message { topic, payload, delivery } => {
                    let taken = self.take(&requests, &topic, payload, delivery);
                    tokio::select! {
                        taken = taken => taken?,
                        () = shutdown.cancelled() => return Ok(()),
                    }
                }
                Step::SaidGoodbye => return Ok(()),
                _ => {}
            }
        }
    }

    fn subscribe(&self, requests: &Requests) -> Result<VecDeque<String>, client::Full> {
        let Address { division, gateway } = &self.address;
        let question = topics::request(division, gateway, "+");
        requests.subscribe_unkept(&question)?;
        let mut asked = VecDeque::from([question]);
        let pack = self.manner.packs.then(|| topics::pack(division, gateway));
        for filter in [format!("{}/#", topics::disposition(division, gateway))].into_iter().chain(pack) {
            requests.subscribe(&filter)?;
            asked.push_back(filter);
        }
        Ok(asked)
    }

    /// Hands a message on. Waits as long as the pipeline has no room.
    async fn take(
        &mut self,
        requests: &Requests,
        topic: &str,
        payload: bytes::Bytes,
        delivery: Delivery,
    ) -> Result<(), String> {
        let packet = delivery.packet;
        let Address { division, gateway } = &self.address;
        Counters::count(&self.counters.inbound_received);
        let inbound = match sort(division, gateway, topic, payload, delivery) {
            Sorted::Request(request) => {
                if let Err(refused) = self.ends.desk.try_send(request) {
                    let request = refused.into_inner();
                    Counters::count(&self.counters.requests_dropped);
                    let reply = reply::busy(division, gateway, request);
                    self.publish_reply(requests, reply);
                }
                return acknowledge(requests, packet);
            }
            Sorted::RequestTooLarge(request) => {
                Counters::count(&self.counters.requests_dropped);
                let reply = reply::too_large(division, gateway, request);
                self.publish_reply(requests, reply);
                return acknowledge(requests, packet);
            }
            Sorted::Dropped(why) => {
                Counters::count(&self.counters.inbound_dropped);
                tracing::warn!(topic, why, "a message to this gateway is dropped");
                return acknowledge(requests, packet);
            }
            Sorted::Disposition(payload, department) => {
                Inbound::Disposition(Message { department, ..self.message(payload, packet) })
            }
            Sorted::Pack(payload) => Inbound::Pack(self.message(payload, packet)),
        };
        // Fails only when the pipeline is gone, and with it the gateway.
        let _ = self.ends.pipeline.send(inbound).await;
        Ok(())
    }

    fn message(&self, payload: Result<bytes::Bytes, TooLong>, packet: u16) -> Message {
        Message {
            payload,
            department: None,
            receipt: Receipt { connection: self.number, packet, to: self.receipts.clone() },
        }
    }

    fn publish(&self, requests: &Requests, reply: Reply, packet_max: usize) {
        let fits = client::publish_bytes(&reply.topic, &reply.payload) <= packet_max;
        let reply = if fits { reply } else { reply.too_long_for_broker(packet_max) };
        self.publish_reply(requests, reply);
    }

    fn publish_reply(&self, requests: &Requests, reply: Reply) {
        let Reply { topic, payload, correlation, .. } = reply;
        if requests.answer(topic, payload, correlation, "application/json").is_err() {
            Counters::count(&self.counters.replies_dropped);
        }
    }
}

/// A message with QoS 0 needs no acknowledgement.
fn acknowledge(requests: &Requests, packet: u16) -> Result<(), String> {
    if packet == 0 {
        return Ok(());
    }
    requests.acknowledge(packet).map_err(|_| "the client takes no more requests".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_refused_subscription_is_counted_and_the_others_stand() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker = Broker { host: "127.0.0.1".to_owned(), port, tls: false };
        let (to_pipeline, mut pipeline) = mpsc::channel(QUEUED_MAX);
        let (desk, _requests) = mpsc::channel(1);
        let (_replies, replies) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(
            Connection::plain(broker, "gw".to_owned()),
            Address { division: "440310".to_owned(), gateway: "gw-1".to_owned() },
            Ends { pipeline: to_pipeline, desk, replies, look_again: Arc::default() },
            counters.clone(),
            stop.clone(),
        ));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = [0; 1024];
        let count = stream.read(&mut heard).await.unwrap();
        assert!(heard[..count].windows(5).any(|id| id == b"gw-in"), "a client id of its own");
        assert_eq!(heard[9] & 0b10, 0, "the session goes on: clean start is not asked for");
        // CONNACK; of three subscriptions the one to dispositions is granted (MQTT 5, 3.2 and 3.9).
        stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        stream
            .write_all(&[0x90, 4, 0, 1, 0, 0x87, 0x90, 4, 0, 2, 0, 1, 0x90, 4, 0, 3, 0, 0x87])
            .await
            .unwrap();
        // A disposition with packet id 9 (3.3).
        let topic = topics::disposition("440310", "gw-1");
        let mut publish = vec![0x32, (2 + topic.len() + 2 + 1 + 2) as u8, 0, topic.len() as u8];
        publish.extend_from_slice(topic.as_bytes());
        publish.extend_from_slice(&[0, 9, 0, b'{', b'}']);
        stream.write_all(&publish).await.unwrap();
        let Some(Inbound::Disposition(message)) = pipeline.recv().await else { panic!("a disposition") };
        assert_eq!(message.payload.as_deref(), Ok(b"{}".as_slice()));
        assert_eq!(counters.subscriptions_refused.load(Ordering::Relaxed), 2);
        // Acknowledged when it is durable, and not before: all that was written until now is subscriptions.
        message.receipt.durable();
        let mut said = Vec::new();
        while !said.ends_with(&[0x40, 2, 0, 9]) {
            let count = stream.read(&mut heard).await.unwrap();
            assert!(count > 0, "the connection ended: {said:?}");
            said.extend_from_slice(&heard[..count]);
        }
        assert_eq!(said.iter().filter(|byte| **byte == 0x40).count(), 1, "{said:?}");
        stop.cancel();
        running.await.unwrap();
    }
}
