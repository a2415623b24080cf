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
//! pipeline, [`UNACKNOWLEDGED_MAX`] that a broker sends ahead. What is larger is dropped, counted and acknowledged: it would
//! come for ever.

pub mod listen;
mod pack;

use bytes::Bytes;
use gridpost_protocol::time::UnixMillis;
use tokio::sync::mpsc;

use crate::intake::Intake;
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
    /// Somebody on this machine says that the pack at the configured path is another one.
    PackFile,
    /// A question of the desk, which only the pipeline can answer.
    Ask(Ask),
}

/// A message that is to become durable.
#[derive(Debug)]
pub struct Message {
    /// What the platform published.
    pub payload: Bytes,
    /// Which department it is by; [`None`] for the platform.
    pub department: Option<String>,
    /// To be given when its effect is durable.
    pub receipt: Receipt,
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
            intake.take_disposition(&message.payload, message.department.as_deref(), now, transaction)
        }
        Inbound::Pack(message) => pack::take(&message.payload, intake, now, transaction),
        // Changes nothing in the spool.
        Inbound::Ask(_) | Inbound::PackFile => Ok(()),
    }
}

/// What a message that was received is.
#[derive(Debug, PartialEq, Eq)]
enum Sorted {
    Request(Request),
    Disposition(Bytes, Option<String>),
    Pack(Bytes),
    /// A request that is too long to be looked at: its name, and where the answer is wanted.
    RequestTooLarge(Request),
    /// Not to be taken, and why.
    Dropped(String),
}

/// Says what a message is, by its topic and size.
fn sort(division: &str, gateway: &str, topic: &str, payload: Bytes, delivery: Delivery) -> Sorted {
    let bytes = payload.len();
    let too_large =
        |what, max| Sorted::Dropped(format!("a {what} of {bytes} bytes; at most {max} are taken"));
    match topics::to_gateway(division, gateway, topic) {
        Some(ToGateway::Request(_)) if delivery.retained => {
            Sorted::Dropped("a retained request: publish requests without the retain flag".to_owned())
        }
        Some(ToGateway::Request(name)) => {
            let name = name.to_owned();
            if bytes > REQUEST_BYTES_MAX {
                return Sorted::RequestTooLarge(Request {
                    name,
                    payload: Bytes::new(),
                    respond: delivery.respond,
                });
            }
            Sorted::Request(Request { name, payload, respond: delivery.respond })
        }
        Some(ToGateway::Disposition(_)) if bytes > DISPOSITION_BYTES_MAX => {
            too_large("disposition", DISPOSITION_BYTES_MAX)
        }
        Some(ToGateway::Disposition(from)) => Sorted::Disposition(payload, from.map(str::to_owned)),
        Some(ToGateway::Pack) if bytes > PACK_BYTES_MAX => too_large("pack", PACK_BYTES_MAX),
        Some(ToGateway::Pack) => Sorted::Pack(payload),
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
        assert!(matches!(sorted(&disposition, DISPOSITION_BYTES_MAX, true), Sorted::Disposition(..)));
        assert!(matches!(sorted(&disposition, DISPOSITION_BYTES_MAX + 1, false), Sorted::Dropped(_)));
        assert!(matches!(sorted(&pack, PACK_BYTES_MAX, true), Sorted::Pack(_)));
        assert!(matches!(sorted(&pack, PACK_BYTES_MAX + 1, true), Sorted::Dropped(_)));
        assert!(matches!(sorted("gridpost/1/440310/event/x", 1, false), Sorted::Dropped(_)));
    }
}
