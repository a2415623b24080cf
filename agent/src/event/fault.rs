//! The next event of a sensor's fault, made of its last one: it stays with the matter and the department that were told of it.

use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::id::Seq;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use super::Event;
use super::cloudevent::CloudEvent;
use super::make::{clock_quality, rfc3339};

/// Stands for a sensor where an open episode's rule stands: no rule's id has a colon.
const PREFIX: &str = "sensor:";

/// The key under which a sensor's open fault is kept.
#[must_use]
pub fn key(sensor: &str) -> String {
    format!("{PREFIX}{sensor}")
}

/// Whether an open episode's key is a sensor's.
#[must_use]
pub fn is_key(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// The event that follows: another fault, or with [`None`] that the sensor works again. [`None`] when there is nothing new to say, or
/// the last event cannot be read.
#[must_use]
pub fn next(
    topic: &str,
    last: &[u8],
    fault: Option<FaultKind>,
    record: Seq,
    at: UnixMillis,
    clock: ClockQuality,
) -> Option<Event> {
    let mut event: CloudEvent = serde_json::from_slice(last).ok()?;
    let (data, episode) = (event.data.fault.as_mut()?, event.data.episode.as_mut()?);
    match fault {
        Some(kind) if data.kind == kind.as_str() => return None,
        Some(kind) => kind.as_str().clone_into(&mut data.kind),
        None => {
            "cleared".clone_into(&mut event.phase);
            "cleared".clone_into(&mut event.data.phase);
            episode.cause = Some("works-again".to_owned());
        }
    }
    episode.revision += 1;
    event.id = format!("{}-{}", episode.id, episode.revision);
    event.time = rfc3339(at);
    event.data.quality.record = record.0;
    clock_quality(clock).clone_into(&mut event.data.quality.clock);
    let payload = serde_json::to_vec(&event).ok()?;
    Some(Event { id: event.id, topic: topic.to_owned(), severity: 0, payload })
}
