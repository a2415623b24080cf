//! What kind of event it is, for counting: few values, whatever an event says.

use std::borrow::Cow;

use serde::Deserialize;

use super::Event;

/// The kinds that are told apart: what stands between `gridpost.` and the phase in an event's type.
const KINDS: [&str; 8] =
    ["event", "report", "gap", "sensor-fault", "silence", "spool-damaged", "evicted", "summary"];
/// The phases that are told apart.
const PHASES: [&str; 8] =
    ["early-warning", "exceeded", "cleared", "reported", "gap", "fault", "spool-damaged", "evicted"];
/// Stands for whatever else.
const OTHER: &str = "other";

/// Kind and phase of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// Such as `event` or `gap`; `other` for one that is not known.
    pub kind: &'static str,
    /// Such as `exceeded`; `other` for one that is not known.
    pub phase: &'static str,
}

impl Event {
    /// Kind and phase, as the CloudEvent says.
    #[must_use]
    pub fn labels(&self) -> Labels {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            #[serde(borrow, default)]
            phase: Cow<'a, str>,
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(&self.payload) else {
            return Labels { kind: OTHER, phase: OTHER };
        };
        let kind = head.kind.strip_prefix("gridpost.").unwrap_or("").split('.').next().unwrap_or("");
        Labels { kind: known(&KINDS, kind), phase: known(&PHASES, &head.phase) }
    }
}

fn known(names: &[&'static str], name: &str) -> &'static str {
    names.iter().find(|known| **known == name).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(payload: &str) -> (&'static str, &'static str) {
        let event = Event {
            id: String::new(),
            topic: String::new(),
            severity: 0,
            payload: payload.as_bytes().to_vec(),
        };
        let Labels { kind, phase } = event.labels();
        (kind, phase)
    }

    #[test]
    fn what_an_event_says_does_not_make_new_labels() {
        assert_eq!(
            labels(r#"{"id":"1","type":"gridpost.event.exceeded","phase":"exceeded","data":{}}"#),
            ("event", "exceeded")
        );
        assert_eq!(labels(r#"{"type":"gridpost.gap","phase":"gap"}"#), ("gap", "gap"));
        assert_eq!(labels(r#"{"type":"gridpost.summary","data":{}}"#), ("summary", "other"));
        assert_eq!(labels(r#"{"type":"gridpost.x.y","phase":"\u0041"}"#), ("other", "other"));
        assert_eq!(labels("nonsense"), ("other", "other"));
    }
}
