//! What goes to standard output; and an event on a terminal: when, what, whose, where, how much.

use std::fmt::Write as _;
use std::io::{Write as _, stderr, stdout};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::exit::Failure;
use crate::event::cloudevent::{CloudEvent, Data, SpoolData};

/// Prints a text that is all there is to say.
///
/// # Errors
/// When it cannot be written. That nobody reads it is no error.
pub fn all(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) => Failure::of_output(&error).map_or(Ok(()), Err),
    }
}

/// Says something beside the output; where nobody can hear it, the work goes on all the same.
pub fn aside(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// The event, or the events of a batch, whose texts can be shown: anybody who may publish there may have written them, and a
/// terminal obeys control characters.
///
/// # Errors
/// When it is no event.
pub fn harmless(payload: &[u8]) -> serde_json::Result<Vec<CloudEvent>> {
    fn clean(value: &mut Value) {
        match value {
            Value::String(text) => *text = without_controls(text),
            Value::Array(items) => items.iter_mut().for_each(clean),
            Value::Object(fields) => fields.values_mut().for_each(clean),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut value = serde_json::from_slice(payload)?;
    clean(&mut value);
    match value {
        Value::Array(events) => events.into_iter().map(serde_json::from_value).collect(),
        event => Ok(vec![serde_json::from_value(event)?]),
    }
}

/// The text with control characters written out.
#[must_use]
pub fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// How a gateway is, as it says itself: which pack runs, and which one it refused; [`None`] of what says nothing of the kind.
#[must_use]
pub fn status(payload: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(payload).ok()?;
    // A reason may have several lines.
    let on_one = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let text = |value: &Value| value.as_str().map(|text| without_controls(&on_one(text)));
    let mut line = format!("gateway {}: {}", text(&said["gateway"])?, text(&said["status"])?);
    let pack = &said["pack"];
    if let (Some(name), Some(version)) = (text(&pack["name"]), pack["version"].as_u64()) {
        let _ = write!(line, ", runs {name} version {version}");
    }
    let refused = &said["pack_refused"];
    if let (Some(from), Some(reason)) = (text(&refused["from"]), text(&refused["reason"])) {
        let version = refused["version"].as_u64().map(|version| format!(" version {version}"));
        let _ = write!(line, "; REFUSED a pack{} from the {from}: {reason}", version.unwrap_or_default());
    }
    Some(line)
}

/// What the platform received, as text for people; times are local times at the site.
#[must_use]
pub fn event(event: &CloudEvent, colours: bool) -> String {
    let data = &event.data;
    let paint = |code: &str, text: &str| {
        if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let phase = match data.phase.as_str() {
        "exceeded" => paint("1;31", "EXCEEDED"),
        "early-warning" => paint("33", "early warning"),
        "cleared" => paint("32", "cleared"),
        other => paint("36", other),
    };
    let matter = &data.matter;
    let mut text = format!(
        "{time}  {phase}  {code} {zh} · {en}\n",
        time = local(&event.time, data.site.as_ref().map_or("UTC", |site| site.time_zone.as_str())),
        code = paint("1", &matter.code),
        zh = matter.name.zh,
        en = matter.name.en,
    );
    let _ = writeln!(
        text,
        "    who    {} {} · {}, at {} level, within {} h",
        matter.department.id,
        matter.department.name.zh,
        matter.department.name.en,
        matter.level,
        matter.deadline_h
    );
    let _ = match (&data.site, &data.device) {
        (Some(site), Some(device)) => writeln!(
            text,
            "    where  {} {} · {}, cell {}, device {}",
            site.id, site.name.zh, site.name.en, site.cell, device.id
        ),
        _ => writeln!(text, "    where  the gateway {}", event.subject),
    };
    let _ = writeln!(text, "    what   {}", what(data));
    text
}

fn what(data: &Data) -> String {
    if let Some(spool) = &data.spool {
        return damaged(spool);
    }
    if let Some(evicted) = &data.evicted {
        return format!(
            "{} events from {} to {} were let go of because there was no room for them, {} in all",
            evicted.events, evicted.from, evicted.to, evicted.total
        );
    }
    if let Some(fault) = &data.fault {
        return match data.episode.as_ref().and_then(|episode| episode.cause.as_deref()) {
            Some(cause) => {
                format!("{} was {}; cleared: {}", fault.sensor, fault.kind, cause.replace('-', " "))
            }
            None => format!("{} is {}", fault.sensor, fault.kind),
        };
    }
    if let Some(m) = &data.measurement {
        let unit = if m.unit == "1" { String::new() } else { format!(" {}", unit_for_people(&m.unit)) };
        let over = if m.window_s > 0.0 { format!(" over {}", span(m.window_s)) } else { String::new() };
        let mut text =
            format!("{} {:.1}{unit}{over} against a limit of {}{unit}", m.quantity, m.value, m.limit);
        if let Some(episode) = &data.episode {
            if episode.severity > 0 {
                let _ = write!(text, ", severity {}", episode.severity);
            }
            if let Some(trend) = m.trend {
                let _ = write!(text, ", {trend:+.1}{unit} a minute");
            }
            if let Some(cause) = &episode.cause {
                let _ = write!(text, ", peak {:.1}{unit}; cleared: {}", m.peak, cause.replace('-', " "));
            }
        }
        return text;
    }
    if let Some(silence) = &data.silence {
        let of = silence.quantity.as_deref().unwrap_or("anything");
        return match data.episode.as_ref().and_then(|episode| episode.cause.as_deref()) {
            Some(cause) => format!("silent since {}; cleared: {}", silence.since, cause.replace('-', " ")),
            None => format!("nothing heard of {of} since {}, for {}", silence.since, span(silence.after_s)),
        };
    }
    if let Some(report) = &data.report {
        return format!("reported: {}", report.note);
    }
    if let Some(gap) = &data.gap {
        return format!("records {} to {} are gone", gap.first, gap.last);
    }
    String::from("-")
}

/// What became of the gateway's store.
fn damaged(spool: &SpoolData) -> String {
    let SpoolData { damage, set_aside, events, dropped, devices, complete } = spool;
    let Some(set_aside) = set_aside else {
        return format!(
            "something of the gateway's store is missing ({damage}); {events} unsent events and the places of {devices} devices are there"
        );
    };
    let mut text = format!(
        "the gateway's store was damaged ({damage}); {events} unsent events and the places of {devices} devices were brought over; "
    );
    if *dropped > 0 {
        let _ = write!(text, "{dropped} unsent events were damaged and are only in the file; ");
    }
    text.push_str(match complete {
        true => "nothing else that could be read is missing",
        false => "what could not be read is only in the file",
    });
    let _ = write!(text, ": {set_aside}");
    text
}

fn unit_for_people(ucum: &str) -> &str {
    match ucum {
        "Cel" => "°C",
        "ug/m3" => "µg/m³",
        "deg" => "°",
        "[ppm]" => "ppm",
        "[ppb]" => "ppb",
        other => other,
    }
}

fn span(seconds: f64) -> String {
    if seconds >= 60.0 && seconds % 60.0 == 0.0 {
        format!("{} min", seconds / 60.0)
    } else {
        format!("{seconds} s")
    }
}

fn local(time: &str, zone: &str) -> String {
    // The time zones of the pack are bundled; one of a later version falls back to UTC, and says so by its `Z`.
    match (time.parse::<Timestamp>(), TimeZone::get(zone)) {
        (Ok(at), Ok(zone)) => at.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateways_status_says_which_pack_runs_and_which_was_refused() {
        let online = serde_json::json!({"status": "online", "session": 1, "gateway": "gw-1", "version": "0", "pack":
            {"name": "d\u{1b}", "version": 3}, "pack_refused": {"from": "platform", "version": 2, "reason": "it is\nolder"}});
        assert_eq!(
            status(online.to_string().as_bytes()).unwrap(),
            "gateway gw-1: online, runs d\\u{1b} version 3; REFUSED a pack version 2 from the platform: it is; older"
        );
        assert_eq!(
            status(br#"{"status":"offline","gateway":"gw-1","session":1}"#).unwrap(),
            "gateway gw-1: offline"
        );
        assert_eq!(status(b"{}"), None);
        assert_eq!(status(b"\xff"), None);
    }

    #[test]
    fn what_a_damaged_store_has_lost_is_said() {
        let spool = |dropped, complete| SpoolData {
            damage: "page 7".to_owned(),
            set_aside: Some("spool.db.damaged-1".to_owned()),
            events: 12,
            dropped,
            devices: 2,
            complete,
        };
        let whole = damaged(&spool(0, true));
        assert!(
            !whole.contains("only in the file") && whole.ends_with("is missing: spool.db.damaged-1"),
            "{whole}"
        );
        let some = damaged(&spool(3, false));
        assert!(
            some.contains("; 3 unsent events were damaged")
                && some.contains("what could not be read is only in the file"),
            "{some}"
        );
        let gone = damaged(&SpoolData { set_aside: None, ..spool(0, false) });
        assert!(gone.starts_with("something of the gateway's store is missing (page 7)"), "{gone}");
    }

    #[test]
    fn what_others_published_moves_no_cursor() {
        let name = serde_json::json!({"zh": "名\u{1b}[2J", "en": "a\u{202e}b"});
        let payload = serde_json::json!({
            "specversion": "1.0", "id": "1", "source": "/", "type": "gridpost.report", "subject": "s",
            "time": "never\u{7}", "datacontenttype": "application/json", "matter": "m", "department": "d",
            "level": "city", "division": "4", "phase": "reported\u{1b}]0;x",
            "data": {
                "matter": {"code": "m", "name": name, "department": {"id": "d\u{9b}", "name": name}, "level": "city", "deadline_h": 1},
                "site": {"id": "s", "name": name, "kind": "road", "area_class": "2", "cell": "c\r", "longitude": 0.0, "latitude": 0.0, "time_zone": "UTC"},
                "device": {"id": "1", "model": "m"}, "phase": "reported\u{1b}]0;x",
                "report": {"note": "line\nand \u{1b}[31mred", "attachments": []},
                "pack": {"name": "p", "version": 1, "digest": "0"}, "quality": {"clock": "device", "record": 1}
            }
        });
        let text = event(&harmless(payload.to_string().as_bytes()).unwrap()[0], false);
        assert!(text.contains("名\\u{1b}[2J") && text.contains("line\\nand "), "{text}");
        assert!(!text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(harmless(b"{}").is_err());
    }
}
