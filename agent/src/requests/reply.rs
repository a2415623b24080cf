//! Answers: JSON objects with `id`, `name`, `gateway`, and either `result` or `error`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Request;
use crate::inbound::REQUEST_BYTES_MAX;
use crate::uplink::topics;

/// An answer on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// What the question asked to go with it.
    pub correlation: Option<Bytes>,
    /// What the asker calls the question; null when he does not.
    id: Value,
    name: String,
    gateway: String,
}

/// Why a question is not answered as asked, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A word for programs.
    pub kind: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub way_out: String,
}

impl Refusal {
    /// The question is not what it should be.
    pub(super) fn bad(what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { kind: "bad-request", what: what.into(), way_out: way_out.into() }
    }

    /// The gateway cannot answer now.
    pub(super) fn failed(what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { kind: "failed", what: what.into(), way_out: way_out.into() }
    }

    /// The device cannot be asked now, or says nothing.
    pub(super) fn away(what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { kind: "device-away", what: what.into(), way_out: way_out.into() }
    }

    /// Too much is asked at once.
    pub(super) fn busy() -> Self {
        Self {
            kind: "busy",
            what: "this gateway is busy with other requests".to_owned(),
            way_out: "ask again in some seconds".to_owned(),
        }
    }
}

/// Who answers, and where.
pub(super) struct To {
    topic: String,
    correlation: Option<Bytes>,
    id: Value,
    name: String,
    gateway: String,
}

impl To {
    /// Where the answer to a question goes. `id` is what the asker calls it.
    pub(super) fn new(division: &str, gateway: &str, request: &Request, id: Value) -> Self {
        // A name that cannot stand in a topic has no topic of its own.
        let name = if topics::is_segment(&request.name) { request.name.as_str() } else { "unknown" };
        let own = topics::reply(division, gateway, name);
        let (topic, correlation) = match &request.respond {
            Some(respond) if topics::is_answerable(division, gateway, &respond.topic) => {
                (respond.topic.clone(), respond.correlation.clone())
            }
            Some(respond) => (own, respond.correlation.clone()),
            None => (own, None),
        };
        Self { topic, correlation, id, name: request.name.clone(), gateway: gateway.to_owned() }
    }

    pub(super) fn reply(self, result: Result<Value, Refusal>) -> Reply {
        let Self { topic, correlation, id, name, gateway } = self;
        let payload = payload(&id, &name, &gateway, result);
        Reply { topic, payload, correlation, id, name, gateway }
    }
}

fn payload(id: &Value, name: &str, gateway: &str, result: Result<Value, Refusal>) -> Vec<u8> {
    let mut reply = json!({ "id": id, "name": name, "gateway": gateway });
    match result {
        Ok(result) => reply["result"] = result,
        Err(Refusal { kind, what, way_out }) => {
            reply["error"] = json!({ "kind": kind, "what": what, "way_out": way_out });
        }
    }
    reply.to_string().into_bytes()
}

/// The answer when there is no room for the question.
pub(crate) fn busy(division: &str, gateway: &str, request: Request) -> Reply {
    // Not looked into: that is work too. Who wants to know which question it was, asks with correlation data.
    To::new(division, gateway, &request, Value::Null).reply(Err(Refusal::busy()))
}

/// The answer to a question that was too long to be looked into.
pub(crate) fn too_large(division: &str, gateway: &str, request: Request) -> Reply {
    let refusal = Refusal::bad(
        format!("the request is longer than {REQUEST_BYTES_MAX} bytes"),
        "send a JSON object with `id` and the request's own keys",
    );
    To::new(division, gateway, &request, Value::Null).reply(Err(refusal))
}

impl Reply {
    /// The answer instead of one that the broker does not take.
    pub(crate) fn too_long_for_broker(self, packet_max: usize) -> Self {
        let refusal = Refusal::failed(
            format!(
                "the answer has {} bytes, and the broker takes packets of at most {packet_max}",
                self.payload.len()
            ),
            "ask with a smaller `limit`",
        );
        let payload = payload(&self.id, &self.name, &self.gateway, Err(refusal));
        Self { payload, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::client::Respond;

    fn request(name: &str, topic: Option<&str>) -> Request {
        let respond = topic.map(|topic| Respond { topic: topic.to_owned(), correlation: Some("7".into()) });
        Request { name: name.to_owned(), payload: Bytes::new(), respond }
    }

    #[test]
    fn an_answer_goes_where_it_is_wanted_unless_only_gateways_speak_there() {
        let to = |topic| To::new("440310", "gw-1", &request("status", topic), Value::Null).topic;
        assert_eq!(to(None), "gridpost/1/440310/gateway/gw-1/reply/status");
        assert_eq!(to(Some("desk/7")), "desk/7");
        assert_eq!(to(Some("gridpost/1/440310/event/a/-/-/b/gw-1")), to(None), "no event is forged");
        let odd = To::new("440310", "gw-1", &request("a.b", None), Value::Null);
        assert_eq!(odd.topic, "gridpost/1/440310/gateway/gw-1/reply/unknown");
    }

    #[test]
    fn an_error_says_what_and_the_way_out_and_keeps_the_id() {
        let to = To::new("440310", "gw-1", &request("status", Some("desk/7")), json!("q-1"));
        let reply = to.reply(Err(Refusal::bad("this", "that"))).too_long_for_broker(100);
        let said: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(
            (&said["id"], &said["name"], &said["gateway"]),
            (&json!("q-1"), &json!("status"), &json!("gw-1"))
        );
        assert!(said["error"]["what"].as_str().unwrap().contains("at most 100"), "{said}");
        assert!(said["error"]["way_out"].as_str().unwrap().contains("limit"), "{said}");
        assert_eq!(reply.correlation.as_deref(), Some(b"7".as_slice()));
    }
}
