//! What comes down from the platform: dispositions, packs, and requests.
//!
//! A connection of its own ([`listen`]) receives it, with a client id of its own, so that whatever happens here (a flood, a
//! refused subscription, a broker that hangs up at it) does not hold up events. It is in a *session*: what the platform publishes
//! with QoS 1 while this gateway is away, the broker keeps for it, for [`SESSION_KEPT_S`]. Events go without a session,
//! because the spool knows better than a broker what is to be sent again.
//!
//! - **Dispositions and packs** (QoS 1) go to the pipeline's thread, the only writer of the spool, and are acknowledged when
//!   their effect is durable there ([`Receipt`]). A gateway that is killed in between gets them again: handlers take a
//!   message twice without harm. When the pipeline is behind, the broker waits.
//! - **Requests** (QoS 0) go to the [desk](crate::requests). Nobody keeps them for a gateway that is away: whoever asked has long
//!   given up, and in the broker's bounded queue they would take the room of dispositions. When the desk is busy, a request is
//!   answered with just that, and counted.
//!
//! Bounds: [`REQUEST_BYTES_MAX`], [`DISPOSITION_BYTES_MAX`], [`PACK_BYTES_MAX`] a message, [`QUEUED_MAX`] messages that wait for the
//! pipeline, [`UNACKNOWLEDGED_MAX`] that a broker sends ahead. Of what is longer only that is kept ([`TooLong`]): it is refused,
//! with an answer, counted and acknowledged, else it would come for ever. What is longer than any packet that is taken: [`long`].

pub mod listen;
mod long;
mod pack;

use bytes::Bytes;
use gridpost_protocol::time::UnixMillis;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::intake::Intake;
use crate::pack::rollout::Policy;
use crate::requests::{Ask, Request};
use crate::spool::Transaction;
use crate::uplink::client::Delivery;
use crate::uplink::topics::{self, ToGateway};

/// The longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The longest disposition, in bytes.
pub const DISPOSITION_BYTES_MAX: usize = 64 * 1024;
/// The longest pack, in bytes: the catalogue, sites and devices of a district of 2,000 devices are below 1 MiB as text.
pub const PACK_BYTES_MAX: usize = 4 << 20;
/// Messages that wait for the pipeline. Few, because each may be a pack.
pub const QUEUED_MAX: usize = 4;
/// Messages that the broker sends without having their acknowledgement, on MQTT 5.
pub const UNACKNOWLEDGED_MAX: u16 = 8;
/// For how many seconds the broker is asked to keep what it has for a gateway that is away: 14 days.
pub const SESSION_KEPT_S: u32 = 14 * 24 * 3600;

/// What the pipeline takes from the platform.
#[derive(Debug)]
pub enum Inbound {
    /// What became of an event.
    Disposition(Message),
    /// A pack.
    Pack(Message),
    /// Somebody on this machine says that the pack at the configured path is another one, or that other packs are to be taken.
    PackFile(Option<Policy>),
    /// A question of the desk, which only the pipeline can answer.
    Ask(Ask),
}

/// A message that is to become durable.
#[derive(Debug)]
pub struct Message {
    /// What the platform published.
    pub payload: Result<Bytes, TooLong>,
    /// Which department it is by; [`None`] for the platform.
    pub department: Option<String>,
    /// To be given when its effect is durable.
    pub receipt: Receipt,
}

/// A message that is longer than such messages may be. It is not kept while it waits to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long it is, in bytes.
    pub bytes: usize,
    /// How long it may be.
    pub most: usize,
    /// What it calls itself.
    pub id: Option<String>,
}

/// The longest `id` that is given back, in bytes.
const ID_BYTES_MAX: usize = 1_000;

/// What a JSON message calls itself, if it says so.
pub(crate) fn id_of(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Called {
        id: String,
    }
    let called: Called = serde_json::from_slice(payload).ok()?;
    Some(called.id).filter(|id| id.len() <= ID_BYTES_MAX)
}

fn within(payload: Bytes, most: usize) -> Result<Bytes, TooLong> {
    if payload.len() <= most {
        return Ok(payload);
    }
    Err(TooLong { bytes: payload.len(), most, id: id_of(&payload) })
}

impl Message {
    /// A message that came from no broker: nobody waits for its receipt.
    #[must_use]
    pub fn of_nobody(payload: Bytes, department: Option<String>) -> Self {
        let receipt = Receipt { connection: 0, packet: 0, to: mpsc::channel(1).0 };
        Self { payload: Ok(payload), department, receipt }
    }
}

/// The way back to the broker. One that is dropped is no acknowledgement: the broker sends the message again, on the next connection.
#[derive(Debug)]
pub struct Receipt {
    connection: u64,
    packet: u16,
    to: mpsc::Sender<Receipt>,
}

impl Receipt {
    /// The effect is durable: the broker may forget the message.
    pub fn durable(self) {
        let to = self.to.clone();
        // No room, or nobody there any more: the message comes again.
        let _ = to.try_send(self);
    }
}

/// Puts the effect of a message into a transaction.
///
/// # Errors
/// When the transaction fails; then the message is tried again.
pub(crate) fn take(
    inbound: &Inbound,
    intake: &mut Intake,
    now: UnixMillis,
    transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    match inbound {
        Inbound::Disposition(message) => {
            let payload = message.payload.as_deref();
            intake.take_disposition(payload, message.department.as_deref(), now, transaction)
        }
        Inbound::Pack(message) => pack::take(message.payload.as_deref(), intake),
        // Changes nothing in the spool.
        Inbound::Ask(_) | Inbound::PackFile(_) => Ok(()),
    }
}

/// What a message that was received is.
#[derive(Debug, PartialEq, Eq)]
enum Sorted {
    Request(Request),
    Disposition(Result<Bytes, TooLong>, Option<String>),
    Pack(Result<Bytes, TooLong>),
    /// A request that is too long to be looked at: its name, and where the answer is wanted.
    RequestTooLarge(Request),
    /// Not to be taken, and why.
    Dropped(String),
}

/// Says what a message is, by its topic and size.
fn sort(division: &str, gateway: &str, topic: &str, payload: Bytes, delivery: Delivery) -> Sorted {
    match topics::to_gateway(division, gateway, topic) {
        Some(ToGateway::Request(_)) if delivery.retained => {
            Sorted::Dropped("a retained request: publish requests without the retain flag".to_owned())
        }
        Some(ToGateway::Request(name)) => {
            let name = name.to_owned();
            if payload.len() > REQUEST_BYTES_MAX {
                return Sorted::RequestTooLarge(Request {
                    name,
                    payload: Bytes::new(),
                    respond: delivery.respond,
                });
            }
            Sorted::Request(Request { name, payload, respond: delivery.respond })
        }
        Some(ToGateway::Disposition(from)) => {
            Sorted::Disposition(within(payload, DISPOSITION_BYTES_MAX), from.map(str::to_owned))
        }
        Some(ToGateway::Pack) => Sorted::Pack(within(payload, PACK_BYTES_MAX)),
        None => Sorted::Dropped("nothing that this gateway listens to".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(topic: &str, bytes: usize, retained: bool) -> Sorted {
        let delivery = Delivery { packet: 1, retained, respond: None };
        sort("440310", "gw-1", topic, vec![b' '; bytes].into(), delivery)
    }

    #[test]
    fn a_message_is_known_by_its_topic_and_what_is_too_long_is_not_handed_on() {
        let request = topics::request("440310", "gw-1", "status");
        let disposition = topics::disposition("440310", "gw-1");
        let pack = topics::pack("440310", "gw-1");
        assert!(
            matches!(sorted(&request, REQUEST_BYTES_MAX, false), Sorted::Request(r) if r.name == "status")
        );
        assert!(matches!(sorted(&request, REQUEST_BYTES_MAX + 1, false), Sorted::RequestTooLarge(_)));
        assert!(matches!(sorted(&request, 1, true), Sorted::Dropped(why) if why.contains("retain")));
        assert!(matches!(
            sorted(&disposition, DISPOSITION_BYTES_MAX, true),
            Sorted::Disposition(Ok(_), None)
        ));
        assert!(matches!(
            sorted(&disposition, DISPOSITION_BYTES_MAX + 1, false),
            Sorted::Disposition(Err(TooLong { bytes: 65_537, most: DISPOSITION_BYTES_MAX, id: None }), None)
        ));
        assert!(matches!(sorted(&pack, PACK_BYTES_MAX, true), Sorted::Pack(Ok(_))));
        assert!(matches!(sorted(&pack, PACK_BYTES_MAX + 1, true), Sorted::Pack(Err(_))));
        assert!(matches!(sorted("gridpost/1/440310/event/x", 1, false), Sorted::Dropped(_)));
    }

    #[test]
    fn what_is_too_long_still_says_what_it_calls_itself() {
        let long = format!("{{\"reason\": \"{}\", \"id\": \"d-7\"}}", "x".repeat(DISPOSITION_BYTES_MAX));
        let too_long = within(long.into(), DISPOSITION_BYTES_MAX).unwrap_err();
        assert_eq!(too_long.id.as_deref(), Some("d-7"));
        assert_eq!(id_of(format!("{{\"id\": \"{}\"}}", "x".repeat(ID_BYTES_MAX + 1)).as_bytes()), None);
    }
}
