//! The end of an episode whose rule is gone. The pack that knew its matter is gone too, so this event is made of the
//! episode's last one: who was told that it began is told that it is over.

use gridpost_protocol::engine::RuleState;
use gridpost_protocol::event::{Cause, Phase};
use gridpost_protocol::reading::Milli;
use gridpost_protocol::time::UnixMillis;

use super::cloudevent::{CloudEvent, MeasurementData};
use super::make::rfc3339;
use super::{Event, rank};

/// The `cleared` event of an episode that is open, made of its last event. [`None`] when the episode is not open, or the
/// last event cannot be read.
#[must_use]
pub fn cleared(state: &mut RuleState, topic: &str, last: &[u8], at: UnixMillis) -> Option<Event> {
    let event: CloudEvent = serde_json::from_slice(last).ok()?;
    let limit = event.data.measurement.as_ref()?.limit;
    // The rule's index means nothing any more.
    let decision = state.withdraw(Cause::RuleWithdrawn, 0, Milli((limit * 1000.0).round() as i32), at)?;
    let end =
        End { revision: decision.revision.into(), severity: decision.severity, peak: decision.peak.to_f64() };
    ended(event, topic, &end, at)
}

/// Whether this is the event of a device that decides itself.
#[must_use]
pub fn is_of_device(last: &[u8]) -> bool {
    serde_json::from_slice::<CloudEvent>(last).is_ok_and(|event| event.data.pack.share.is_some())
}

/// The `cleared` event of an episode of a device that decided itself and is gone, made of its last event.
#[must_use]
pub fn cleared_for_device(topic: &str, last: &[u8], at: UnixMillis) -> Option<Event> {
    let event: CloudEvent = serde_json::from_slice(last).ok()?;
    let (episode, measurement) = (event.data.episode.as_ref()?, event.data.measurement.as_ref()?);
    let end = End { revision: episode.revision + 1, severity: episode.severity, peak: measurement.peak };
    ended(event, topic, &end, at)
}

/// How an episode ended.
struct End {
    revision: u32,
    severity: u8,
    peak: f64,
}

fn ended(mut event: CloudEvent, topic: &str, end: &End, at: UnixMillis) -> Option<Event> {
    let (measurement, episode) = (event.data.measurement.as_mut()?, event.data.episode.as_mut()?);
    let limit = measurement.limit;
    let excess = if is_above(measurement) { end.peak - limit } else { limit - end.peak };
    measurement.value = end.peak;
    measurement.trend = None;
    measurement.peak = end.peak;
    measurement.excess = (excess * 1000.0).round() / 1000.0;
    measurement.from.clone_from(&episode.since);
    measurement.to = rfc3339(at);

    episode.revision = end.revision;
    episode.severity = end.severity;
    episode.cause = Some(Cause::RuleWithdrawn.as_str().to_owned());
    event.id = format!("{}-{}", episode.id, end.revision);

    let phase = Phase::Cleared.as_str();
    event.kind = format!("gridpost.event.{phase}");
    event.phase = phase.to_owned();
    event.data.phase = phase.to_owned();
    event.time = rfc3339(at);
    // No reading decided, and the time is the gateway's.
    event.data.quality.record = 0;
    event.data.quality.clock = "arrival".to_owned();
    event.data.quality.capture_percent = None;
    event.data.quality.exclusions.clear();
    let severity = rank::of(&event);
    let payload = serde_json::to_vec(&event).ok()?;
    Some(Event { id: event.id, topic: topic.to_owned(), severity, payload })
}

/// Which way the rule looked: an event does not say, and its numbers do.
fn is_above(last: &MeasurementData) -> bool {
    if last.value == last.limit {
        return last.peak >= last.value;
    }
    (last.value > last.limit) == (last.excess > 0.0)
}
