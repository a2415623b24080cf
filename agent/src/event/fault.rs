//! The next event of a sensor's fault, made of its last one: it stays with the matter and the department that were told of it.

use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::id::Seq;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use super::cloudevent::CloudEvent;
use super::make::{clock_quality, rfc3339};
use super::{Event, rank};

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
    let severity = rank::of(&event);
    let payload = serde_json::to_vec(&event).ok()?;
    Some(Event { id: event.id, topic: topic.to_owned(), severity, payload })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gridpost_protocol::id::DeviceId;
    use gridpost_protocol::pack::Pack;

    use super::*;
    use crate::event::make::District;

    #[test]
    fn a_fault_has_a_rank_of_its_own_and_its_end_that_of_an_end() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
        let district = District { pack: Pack::load(&folder).unwrap(), gateway: "gw-1".to_owned() };
        let (at, clock) = (UnixMillis(1_790_000_000_000), ClockQuality::Device);
        let device = DeviceId(0x6770_0000_0000_000a);
        let began = district.fault(device, "sht4x", FaultKind::Bus, Seq(7), at, clock).unwrap();
        let over = next(&began.topic, &began.payload, None, Seq(9), at, clock).unwrap();
        assert_eq!((began.severity, over.severity), (rank::FAULT, rank::CLEARED));
        assert_eq!(
            (began.id.as_str(), over.id.as_str()),
            ("677000000000000a-sensor-sht4x-7-0", "677000000000000a-sensor-sht4x-7-1")
        );
    }
}
