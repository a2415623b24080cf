//! The names of topics: the number of segments is fixed, so that one wildcard position always means one thing.
//!
//! ```text
//! gridpost/1/<division>/event/<department>/<level-1>/<level-2>/<matter>/<gateway>
//! gridpost/1/<division>/gateway/<gateway>/status
//! ```
//!
//! Segments are checked where they come in (pack and configuration): letters, digits, `-` and `_`, so none can carry a separator or a
//! wildcard, nor a dot or blank, at which NATS closes the connection.

/// All events of all divisions.
pub const ALL_EVENTS: &str = "gridpost/1/+/event/#";

/// Where an event is published; a level that the catalogue lacks is `-`.
#[must_use]
pub fn event(division: &str, department: &str, levels: (&str, &str), matter: &str, gateway: &str) -> String {
    let (level1, level2) = levels;
    format!("gridpost/1/{division}/event/{department}/{level1}/{level2}/{matter}/{gateway}")
}

/// Where a gateway's birth and will are kept.
#[must_use]
pub fn status(division: &str, gateway: &str) -> String {
    format!("gridpost/1/{division}/gateway/{gateway}/status")
}

/// Whether a name may stand in a topic: 1 to 64 letters, digits, `-` or `_`.
#[must_use]
pub fn is_segment(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The longest topic, in bytes (MQTT 5, 1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Whether a broker can be asked to publish to a topic (MQTT 5, 4.7): not empty, not too long, and without wildcards or the
/// null character, for which a broker ends the connection.
#[must_use]
pub fn is_publishable(topic: &str) -> bool {
    (1..=TOPIC_BYTES_MAX).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_topic_has_the_same_number_of_segments() {
        let full = event("440310", "housing", ("01", "0102"), "0102003", "gw-1");
        assert_eq!(full, "gridpost/1/440310/event/housing/01/0102/0102003/gw-1");
        let flat = event("440310", "housing", ("-", "-"), "0102003", "gw-1");
        assert_eq!(flat.matches('/').count(), full.matches('/').count());
    }

    #[test]
    fn separators_wildcards_and_dots_do_not_get_into_a_topic() {
        for bad in ["", "a/b", "a+b", "#", "a.b", "a b", "区"] {
            assert!(!is_segment(bad), "{bad}");
        }
        assert!(is_segment("ps-gw_01"));
    }
}
