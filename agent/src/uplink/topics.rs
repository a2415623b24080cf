//! The names of topics: the number of segments is fixed, so that one wildcard position always means one thing.
//!
//! ```text
//! gridpost/1/<division>/event/<department>/<level-1>/<level-2>/<matter>/<gateway>
//! gridpost/1/<division>/summary/<gateway>/<device>
//! gridpost/1/<division>/gateway/<gateway>/status
//! gridpost/1/<division>/gateway/<gateway>/pack                 to the gateway
//! gridpost/1/<division>/gateway/<gateway>/request/<name>       to the gateway
//! gridpost/1/<division>/gateway/<gateway>/reply/<name>
//! gridpost/1/<division>/disposition/<gateway>                  to the gateway, by the platform
//! gridpost/1/<division>/disposition/<gateway>/<department>     to the gateway, by a department about its own cases
//! ```
//!
//! Segments are checked where they come in (pack and configuration): letters, digits, `-` and `_`, so none can carry a separator or a
//! wildcard, nor a dot or blank, at which NATS closes the connection.

/// All events of all divisions.
pub const ALL_EVENTS: &str = "gridpost/1/+/event/#";
/// How all gateways of all divisions are.
pub const ALL_STATUSES: &str = "gridpost/1/+/gateway/+/status";

/// Where an event is published; a level that the catalogue lacks is `-`.
#[must_use]
pub fn event(division: &str, department: &str, levels: (&str, &str), matter: &str, gateway: &str) -> String {
    let (level1, level2) = levels;
    format!("gridpost/1/{division}/event/{department}/{level1}/{level2}/{matter}/{gateway}")
}

/// Where a device's hours are published.
#[must_use]
pub fn summary(division: &str, gateway: &str, device: &str) -> String {
    format!("gridpost/1/{division}/summary/{gateway}/{device}")
}

/// Where a gateway's birth and will are kept.
#[must_use]
pub fn status(division: &str, gateway: &str) -> String {
    format!("gridpost/1/{division}/gateway/{gateway}/status")
}

/// Where the platform asks a gateway.
#[must_use]
pub fn request(division: &str, gateway: &str, name: &str) -> String {
    format!("gridpost/1/{division}/gateway/{gateway}/request/{name}")
}

/// Where a gateway answers.
#[must_use]
pub fn reply(division: &str, gateway: &str, name: &str) -> String {
    format!("gridpost/1/{division}/gateway/{gateway}/reply/{name}")
}

/// Where the platform keeps the pack of a gateway.
#[must_use]
pub fn pack(division: &str, gateway: &str) -> String {
    format!("gridpost/1/{division}/gateway/{gateway}/pack")
}

/// Where the platform tells a gateway what became of its events.
#[must_use]
pub fn disposition(division: &str, gateway: &str) -> String {
    format!("gridpost/1/{division}/disposition/{gateway}")
}

/// Of what kind a message to a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToGateway<'a> {
    /// A question with this name.
    Request(&'a str),
    /// A pack.
    Pack,
    /// What became of an event: says this department, or the platform.
    Disposition(Option<&'a str>),
}

/// Reads the topic of a message to this gateway; [`None`] for any other.
#[must_use]
pub fn to_gateway<'a>(division: &str, gateway: &str, topic: &'a str) -> Option<ToGateway<'a>> {
    let rest = topic.strip_prefix("gridpost/1/")?.strip_prefix(division)?.strip_prefix('/')?;
    if let Some(to) = rest.strip_prefix("disposition/") {
        return match to.strip_prefix(gateway)? {
            "" => Some(ToGateway::Disposition(None)),
            from => from
                .strip_prefix('/')
                .filter(|from| is_segment(from))
                .map(|from| ToGateway::Disposition(Some(from))),
        };
    }
    match rest.strip_prefix("gateway/")?.strip_prefix(gateway)?.strip_prefix('/')? {
        "pack" => Some(ToGateway::Pack),
        rest => rest
            .strip_prefix("request/")
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(ToGateway::Request),
    }
}

/// Whether a gateway answers on a topic that a question names. What is outside `gridpost/` is the asker's; within it only
/// the gateway's own replies: else who may ask could make a gateway say things in its name, where he may not publish himself.
#[must_use]
pub fn is_answerable(division: &str, gateway: &str, topic: &str) -> bool {
    let own = reply(division, gateway, "");
    is_publishable(topic)
        && !topic.starts_with('$')
        && (topic.split('/').next() != Some("gridpost") || topic.starts_with(&own))
}

/// Where a gateway answers a disposition of the platform, or of a department.
#[must_use]
pub fn disposition_reply(division: &str, gateway: &str, department: Option<&str>) -> String {
    let from = department.map(|department| format!("/{department}")).unwrap_or_default();
    format!("gridpost/1/{division}/gateway/{gateway}/reply/disposition{from}")
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
    fn what_is_said_to_this_gateway_is_read_and_nothing_else() {
        fn read(topic: &str) -> Option<ToGateway<'_>> {
            to_gateway("440310", "gw-1", topic)
        }
        assert_eq!(read(&request("440310", "gw-1", "readings")), Some(ToGateway::Request("readings")));
        assert_eq!(read(&pack("440310", "gw-1")), Some(ToGateway::Pack));
        assert_eq!(read(&disposition("440310", "gw-1")), Some(ToGateway::Disposition(None)));
        let housing = ToGateway::Disposition(Some("housing"));
        assert_eq!(read("gridpost/1/440310/disposition/gw-1/housing"), Some(housing));
        for other in [
            "gridpost/1/440310/gateway/gw-10/request/status",
            "gridpost/1/440310/gateway/gw/request/status",
            "gridpost/1/4403100/gateway/gw-1/request/status",
            "gridpost/1/440310/gateway/gw-1/request/",
            "gridpost/1/440310/gateway/gw-1/request/a/b",
            "gridpost/1/440310/gateway/gw-1/reply/status",
            "gridpost/1/440310/disposition/gw-10",
            "gridpost/1/440310/disposition/gw-1/",
            "gridpost/1/440310/disposition/gw-1/housing/x",
            "gridpost/2/440310/disposition/gw-1",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn nobody_has_a_gateway_speak_where_only_gateways_may() {
        let answers = |topic| is_answerable("440310", "gw-1", topic);
        assert!(answers("platform/desk-7/replies"));
        assert!(answers("gridpost/1/440310/gateway/gw-1/reply/readings"));
        for bad in [
            "gridpost/1/440310/event/housing/01/0102/0102003/gw-1",
            "gridpost/1/440310/gateway/gw-2/reply/readings",
            "gridpost",
            "$SYS/x",
            "a/+",
            "",
        ] {
            assert!(!answers(bad), "{bad}");
        }
    }

    #[test]
    fn separators_wildcards_and_dots_do_not_get_into_a_topic() {
        for bad in ["", "a/b", "a+b", "#", "a.b", "a b", "区"] {
            assert!(!is_segment(bad), "{bad}");
        }
        assert!(is_segment("ps-gw_01"));
    }
}
