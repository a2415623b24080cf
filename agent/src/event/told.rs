//! The next event of an episode that a device decides itself, made of the episode's last one: it stays with the matter, the department
//! and the pack under which it began, whatever pack the gateway has by now.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::time::UnixMillis;
use gridpost_protocol::told::ToldEpisode;

use super::cloudevent::CloudEvent;
use super::make::{
    Measured, Provenance, clock_quality, episode_data, evidence_data, measurement_data, rfc3339,
};
use super::{Event, rank};

/// The event, with the topic of the last one. [`None`] when the last event is not of this episode, or cannot be read.
#[must_use]
pub fn next(
    topic: &str,
    last: &[u8],
    device: DeviceId,
    told: &ToldEpisode<'_>,
    record: Seq,
    at: UnixMillis,
    provenance: Provenance,
) -> Option<Event> {
    let mut event: CloudEvent = serde_json::from_slice(last).ok()?;
    let decision = told.decision(at);
    let episode = episode_data(device, told.rule, &decision);
    if event.data.episode.as_ref()?.id != episode.id {
        return None;
    }
    let phase = decision.phase.as_str();
    event.id = format!("{}-{}", episode.id, decision.revision);
    event.kind = format!("gridpost.event.{phase}");
    phase.clone_into(&mut event.phase);
    phase.clone_into(&mut event.data.phase);
    event.time = rfc3339(at);
    event.data.episode = Some(episode);
    event.data.measurement = Some(measurement_data(&Measured::of(told), &decision));
    event.data.evidence = evidence_data(told, at);
    event.data.pack.share = Some(format!("{:08x}", told.share));
    event.data.quality.record = record.0;
    clock_quality(provenance.clock).clone_into(&mut event.data.quality.clock);
    event.data.quality.capture_percent = Some(decision.capture_percent);
    event.data.quality.calibration = provenance.calibrated(told.quantity);
    let severity = rank::of(&event);
    let payload = serde_json::to_vec(&event).ok()?;
    Some(Event { id: event.id, topic: topic.to_owned(), severity, payload })
}
