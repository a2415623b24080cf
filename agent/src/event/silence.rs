//! The end of a silence, made of its last event: it stays with the matter and the department that were told of it.

use gridpost_protocol::pack::RuleId;
use gridpost_protocol::time::UnixMillis;

use super::cloudevent::CloudEvent;
use super::make::rfc3339;
use super::{Event, rank};

/// Stands before a silence's rule where an open episode's rule stands: no rule's id has a colon.
const PREFIX: &str = "silence:";
/// Why it is over: something was heard.
pub const HEARD_AGAIN: &str = "heard-again";
/// Why it is over: the pack has no such rule any more.
pub const WITHDRAWN: &str = "rule-withdrawn";

/// The key under which an open silence is kept.
#[must_use]
pub fn key(rule: &RuleId) -> String {
    format!("{PREFIX}{rule}")
}

/// The rule's id, if an open episode's key is a silence's.
#[must_use]
pub fn rule_of(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX)
}

/// The event that says that it is over. [`None`] when the last event cannot be read.
#[must_use]
pub fn over(topic: &str, last: &[u8], cause: &str, now: UnixMillis) -> Option<Event> {
    let mut event: CloudEvent = serde_json::from_slice(last).ok()?;
    let episode = event.data.episode.as_mut()?;
    episode.cause = Some(cause.to_owned());
    episode.revision += 1;
    event.id = format!("{}-{}", episode.id, episode.revision);
    "cleared".clone_into(&mut event.phase);
    "cleared".clone_into(&mut event.data.phase);
    event.time = rfc3339(now);
    let severity = rank::of(&event);
    let payload = serde_json::to_vec(&event).ok()?;
    Some(Event { id: event.id, topic: topic.to_owned(), severity, payload })
}
