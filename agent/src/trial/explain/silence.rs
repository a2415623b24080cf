//! Silences in words: why an event is one, and which apply to a device.

use std::fmt::Write as _;

use gridpost_protocol::pack::{DecidesAt, Device, Pack, SilenceRule, Site};

use super::{matter_text, span};
use crate::event::cloudevent::{CloudEvent, SilenceData};

/// What an event says of a silence, and what the pack here says of its rule.
pub(super) fn of_event(silence: &SilenceData, rule: &str, event: &CloudEvent, pack: &Pack) -> String {
    let of = silence.quantity.as_deref().map_or("nothing".to_owned(), |what| format!("no reading of {what}"));
    let device = event.data.device.as_ref().map_or("-", |device| &device.id);
    let mut text = format!(
        "  this gateway heard {of} of device {device} since {}, and it is told after {} s in which it listens\n",
        silence.since, silence.after_s
    );
    if let Some(cause) = event.data.episode.as_ref().and_then(|episode| episode.cause.as_deref()) {
        let _ = writeln!(text, "  it is over: {cause}");
    }
    match pack.silences().iter().find(|one| one.id.as_str() == rule) {
        Some(rule) => {
            let _ = writeln!(text, "  here {}: {}", rule.id, words(rule));
        }
        None => {
            let _ = writeln!(text, "  silence {rule} is not in the pack here");
        }
    }
    text
}

/// Which apply to a device, and why others do not.
pub(super) fn of_device(pack: &Pack, device: &Device, site: &Site) -> String {
    let mut text = String::new();
    if pack.silences().is_empty() {
        return text;
    }
    text.push_str("\nsilence of this device\n");
    for rule in pack.silences() {
        if rule.applies_to(device, site) {
            let _ = writeln!(text, "{}: {}", rule.id, words(rule));
            if let Some(matter) = pack.matter(rule.matter.as_str()) {
                text.push_str(&matter_text(matter, pack));
            }
        } else {
            let _ = writeln!(text, "{}: does not apply: {}", rule.id, why_not(rule, device, site));
        }
    }
    text
}

fn words(rule: &SilenceRule) -> String {
    let of = rule.quantity.map_or("nothing".to_owned(), |what| format!("no reading of {what}"));
    format!("told when {of} is heard for {}, under matter {}", span(rule.after_ms), rule.matter)
}

fn why_not(rule: &SilenceRule, device: &Device, site: &Site) -> String {
    match rule.quantity {
        Some(_) if device.decides == DecidesAt::Device => {
            "the device decides itself, and sends no readings".to_owned()
        }
        Some(quantity) if !device.measures.contains(&quantity) => {
            format!("devices.csv does not say that it measures {quantity}")
        }
        _ => format!("not for a {} site of area class {}", site.kind, site.area_class),
    }
}
