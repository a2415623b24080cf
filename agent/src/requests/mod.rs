//! The desk: answers what the platform asks ([`names`](NAMES)), beside the pipeline and never in its way.
//!
//! A request is a JSON object on `gridpost/1/<division>/gateway/<gateway>/request/<name>`; its `id` comes back with the answer.
//! Nothing that is asked is fatal: what cannot be answered is answered with why, and what to do.
//!
//! What is in the spool is read on a connection of the desk's own. What only the pipeline knows it is asked for
//! ([`Ask`]); it answers between two transactions.
//!
//! Bounds: [`REQUESTS_QUEUED_MAX`] requests wait, [`ANSWERED_AT_ONCE`] are being answered, of which one reads; [`REPLY_BYTES_MAX`].

mod calibrate;
mod evidence;
pub mod reply;
mod seconds;
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::message::Fetch;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::inbound::Inbound;
use crate::inbound::listen::Address;
use crate::intake::{CannotFetch, NotTold, Overview};
use crate::pack::admit::PackStatus;
use crate::spool::{SpoolError, SpoolReader};
use crate::uplink::UplinkStatus;
use crate::uplink::client::Respond;
pub use reply::Reply;
use reply::{Refusal, To};

/// Requests that wait for the desk.
pub const REQUESTS_QUEUED_MAX: usize = 16;
/// Requests that are being answered: a device that takes its time does not hold up the others.
pub const ANSWERED_AT_ONCE: usize = 4;
/// Answers that wait for the connection.
pub const REPLIES_QUEUED_MAX: usize = 16;
/// The longest answer, in bytes: below what brokers take by default (256 KiB, [`crate::uplink::client::PACKET_BYTES_MAX`]).
pub const REPLY_BYTES_MAX: usize = 128 * 1024;
/// How long the pipeline may take to answer. It is reached when transactions fail, because the disk is full.
const PIPELINE_PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
pub const NAMES: [&str; 5] = ["status", "readings", "summaries", "seconds", "calibrate"];

/// A question of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub name: String,
    /// The question itself.
    pub payload: Bytes,
    /// Where the answer is wanted, if elsewhere than on the gateway's own topic.
    pub respond: Option<Respond>,
}

/// A question that only the pipeline can answer. Whoever asked may be gone by then.
#[derive(Debug)]
pub enum Ask {
    /// What is loaded, and who was heard.
    Overview(oneshot::Sender<Overview>),
    /// Has a device calibrate its meter.
    Calibrate {
        /// Which.
        device: DeviceId,
        /// With what.
        calibrate: Calibrate,
        /// Whether the device could be told.
        answer: oneshot::Sender<Result<(), NotTold>>,
    },
    /// A device is to send what it kept.
    Fetch {
        /// Which device.
        device: DeviceId,
        /// What.
        fetch: Fetch,
        /// Whether it was asked.
        answer: oneshot::Sender<Result<(), CannotFetch>>,
    },
}

/// What the desk works with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Whose desk it is.
    pub address: Address,
    /// This start's number.
    pub session: u32,
    /// The spool, to read.
    pub spool: Arc<Mutex<SpoolReader>>,
    /// To the pipeline.
    pub pipeline: mpsc::Sender<Inbound>,
    /// What happened so far.
    pub counters: Arc<Counters>,
    /// How the way out is doing.
    pub uplink: Arc<UplinkStatus>,
    /// Which pack was refused last; without it, none can be.
    pub pack: Option<watch::Receiver<PackStatus>>,
}

/// Answers until shutdown.
pub async fn run(
    desk: Desk,
    mut requests: mpsc::Receiver<Request>,
    replies: mpsc::Sender<Reply>,
    shutdown: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        // What is being answered is dropped with the set.
        tokio::select! {
            request = requests.recv(), if answering.len() < ANSWERED_AT_ONCE => {
                let Some(request) = request else { return };
                let mut desk = desk.clone();
                answering.spawn(async move { desk.answer(&request).await });
            }
            Some(reply) = answering.join_next() => {
                Counters::count(&desk.counters.requests_answered);
                // No room: nobody has taken the answers before it, because there is no connection.
                if reply.is_ok_and(|reply| replies.try_send(reply).is_err()) {
                    Counters::count(&desk.counters.replies_dropped);
                }
            }
            () = shutdown.cancelled() => return,
        }
    }
}

impl Desk {
    async fn answer(&mut self, request: &Request) -> Reply {
        let (id, question) = match parse(&request.payload) {
            Ok((id, question)) => (id, Ok(question)),
            Err(refusal) => (Value::Null, Err(refusal)),
        };
        let to = To::new(&self.address.division, &self.address.gateway, request, id);
        let result = match question {
            Ok(question) => self.result(&request.name, question).await,
            Err(refusal) => Err(refusal),
        };
        tracing::debug!(name = request.name, error = ?result.as_ref().err(), "a request of the platform is answered");
        to.reply(result)
    }

    async fn result(&mut self, name: &str, question: Value) -> Result<Value, Refusal> {
        match name {
            "status" => self.status(keys(question)?).await,
            "calibrate" => self.calibrate(keys(question)?).await,
            "readings" => self.readings(keys(question)?).await,
            "summaries" => self.summaries(keys(question)?).await,
            "seconds" => self.seconds(keys(question)?).await,
            _ => Err(Refusal::bad(
                format!("there is no request {name:?}"),
                format!("the requests are: {}", NAMES.join(", ")),
            )),
        }
    }

    /// Reads the spool, on a thread where that may take time.
    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&SpoolReader) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let spool = self.spool.clone();
        let reading =
            tokio::task::spawn_blocking(move || read(&spool.lock().unwrap_or_else(PoisonError::into_inner)));
        match reading.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => Err(status::unreadable(&error)),
            Err(_) => Err(Refusal::failed("the gateway is stopping", "ask again")),
        }
    }

    /// Asks the pipeline, and waits for its answer.
    async fn ask<T>(&mut self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.pipeline.send(Inbound::Ask(ask(answer))).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(PIPELINE_PATIENCE, asking).await {
            Ok(Some(answer)) => Ok(answer),
            _ => Err(Refusal::failed(
                "the gateway does not get to answering: it cannot write its spool, or is stopping",
                "ask again; look at the gateway's log and disk",
            )),
        }
    }
}

/// The asker's id, and the question as an object. An empty payload asks with nothing particular.
fn parse(payload: &[u8]) -> Result<(Value, Value), Refusal> {
    const WANTED: &str = "send a JSON object, such as {\"id\": 1}";
    if payload.is_empty() {
        return Ok((Value::Null, json!({})));
    }
    let mut question: Value = serde_json::from_slice(payload)
        .map_err(|error| Refusal::bad(format!("the request is not JSON: {error}"), WANTED))?;
    let Some(object) = question.as_object_mut() else {
        return Err(Refusal::bad("the request is JSON, but no object", WANTED));
    };
    let id = object.remove("id").unwrap_or_default();
    Ok((id, question))
}

/// The question's keys. A key that is not known is an error: it would be a wish that is not heard.
fn keys<T: DeserializeOwned>(question: Value) -> Result<T, Refusal> {
    serde_json::from_value(question).map_err(|error| {
        Refusal::bad(error.to_string(), "see \"For the platform\" in README.md for the request's keys")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_json_object_with_an_id_of_the_askers() {
        assert_eq!(parse(b"").unwrap(), (Value::Null, json!({})));
        assert_eq!(parse(br#"{"id": "q", "limit": 3}"#).unwrap(), (json!("q"), json!({"limit": 3})));
        for bad in ["\u{0}\u{1}", "[1]", "7", "{\"id\":", "{'id': 1}"] {
            let refusal = parse(bad.as_bytes()).unwrap_err();
            assert!(refusal.way_out.contains("JSON object"), "{refusal:?}");
        }
        // As deep as the parser goes, and no deeper: no stack is used up.
        assert!(parse("[".repeat(16_000).as_bytes()).is_err());
    }
}
