//! What goes to standard output; and an event on a terminal: when, what, whose, where, how much.

use std::fmt::Write as _;
use std::io::{Write as _, stderr, stdout};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::exit::Failure;
use crate::event::cloudevent::{CloudEvent, Data};

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
        time = local(&event.time, &data.site.time_zone),
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
    let site = &data.site;
    let _ = writeln!(
        text,
        "    where  {} {} · {}, cell {}, device {}",
        site.id, site.name.zh, site.name.en, site.cell, data.device.id
    );
    let _ = writeln!(text, "    what   {}", what(data));
    text
}

fn what(data: &Data) -> String {
    if let Some(m) = &data.measurement {
        let unit = if m.unit == "1" { String::new() } else { format!(" {}", unit_for_people(&m.unit)) };
        let over = if m.window_s > 0.0 { format!(" over {}", span(m.window_s)) } else { String::new() };
        let mut text =
            format!("{} {:.1}{unit}{over} against a limit of {}{unit}", m.quantity, m.value, m.limit);
        if let Some(episode) = &data.episode {
            if episode.severity > 0 {
                let _ = write!(text, ", severity {}", episode.severity);
            }
            if let Some(cause) = &episode.cause {
                let _ = write!(text, ", peak {:.1}{unit}; cleared: {}", m.peak, cause.replace('-', " "));
            }
        }
        return text;
    }
    if let Some(report) = &data.report {
        return format!("reported: {}", report.note);
    }
    if let Some(gap) = &data.gap {
        return format!("records {} to {} are gone", gap.first, gap.last);
    }
    String::from("-")
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
