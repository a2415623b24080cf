//! Cases as they are written, and what is wrong with them: every value is known by its place in the file.

use std::fmt;
use std::ops::Range;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Pack, default_interval_ms, did_you_mean};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use toml::Spanned;

use super::{Case, EXPECTED_MAX, Expected, FILE_READINGS_MAX, LISTEN_MS_MAX, READINGS_MAX};
use crate::cli::print::without_controls;
use crate::config::toml_error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    start: Spanned<String>,
    device: Option<Spanned<String>>,
    site: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    readings: Vec<Spanned<WrittenReading>>,
    expect: Vec<Spanned<WrittenExpected>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReading {
    quantity: Spanned<String>,
    device: Option<Spanned<String>>,
    at: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    value: Spanned<f64>,
    to_value: Option<Spanned<f64>>,
    quality: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpected {
    phase: Spanned<String>,
    rule: Option<Spanned<String>>,
    matter: Option<Spanned<String>>,
    cause: Option<String>,
    severity: Option<u8>,
    device: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
}

/// What is wrong with a file of cases: line, column, where need be the case and the field, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CasesError {
    line: usize,
    column: usize,
    what: String,
}

impl fmt::Display for CasesError {
    /// To be put behind the file's name and a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for CasesError {}

impl CasesError {
    fn new(text: &str, at: usize, what: String) -> Self {
        let before = text.get(..at).unwrap_or("");
        let begins = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(begins..).unwrap_or("").chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column, what: without_controls(&what) }
    }
}

/// What is wrong with a value, and where that stands.
struct Wrong {
    span: Range<usize>,
    what: String,
}

/// What is wrong with the value of a field.
fn wrong<T>(field: &str, value: &Spanned<T>, what: impl fmt::Display) -> Wrong {
    Wrong { span: value.span(), what: format!("{field}: {what}") }
}

/// Reads a file of cases for this pack.
///
/// # Errors
/// What is wrong, with line and column.
pub fn read(text: &str, pack: &Pack) -> Result<Vec<Case>, CasesError> {
    let file: File = toml::from_str(text).map_err(|error| {
        CasesError::new(text, error.span().map_or(0, |span| span.start), toml_error::reason(&error))
    })?;
    if file.case.is_empty() {
        return Err(CasesError::new(
            text,
            0,
            "there is no case: write each under its own [[case]]".to_owned(),
        ));
    }
    let (mut cases, mut readings) = (Vec::new(), 0);
    for written in &file.case {
        let name = &written.name;
        let located = |wrong: Wrong| {
            CasesError::new(text, wrong.span.start, format!("case `{}`: {}", name.get_ref(), wrong.what))
        };
        let case = case(written, pack).map_err(located)?;
        readings += case.readings();
        if readings > FILE_READINGS_MAX {
            let what = format!(
                "with it the cases of this file have more than {FILE_READINGS_MAX} readings; write it into a file of its own"
            );
            return Err(located(Wrong { span: name.span(), what }));
        }
        cases.push(case);
    }
    Ok(cases)
}

fn case(written: &Written, pack: &Pack) -> Result<Case, Wrong> {
    let start: Timestamp = written.start.get_ref().parse().map_err(|_| {
        let what = format!("`{}` is no time; write it as 2026-11-22T23:10:00+08:00", written.start.get_ref());
        wrong("start", &written.start, what)
    })?;
    let start = UnixMillis(start.as_millisecond());
    let device = match (&written.device, &written.site) {
        (Some(id), None) => device_of(id, pack)?,
        (None, Some(site)) => at_site(site, pack)?,
        (Some(_), Some(site)) => {
            return Err(wrong("site", site, "there is a device too; remove one of the two"));
        }
        (None, None) => {
            let what = "it needs a device or a site: add device = \"...\", or site = \"...\"".to_owned();
            return Err(Wrong { span: written.name.span(), what });
        }
    };
    let placed = pack.device(device).map(|placed| pack.site_of(placed));
    let zone = placed.and_then(|site| TimeZone::get(&site.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let mut readings = Vec::new();
    for (index, reading) in written.readings.iter().enumerate() {
        generate(reading, device, start, pack, &mut readings)
            .map_err(|Wrong { span, what }| Wrong { span, what: format!("reading {}: {what}", index + 1) })?;
        if readings.len() > READINGS_MAX {
            let what =
                format!("it has more than {READINGS_MAX} readings; make it shorter, or `every` longer");
            return Err(Wrong { span: reading.span(), what });
        }
    }
    // Stable: what has the same time stays in the file's order.
    readings.sort_by_key(|(at, ..)| *at);
    let listen = written.listen.as_ref().map(|text| listen(text, start, readings.last())).transpose()?;
    if let Some(more) = written.expect.get(EXPECTED_MAX) {
        let what = format!("it expects more than {EXPECTED_MAX} events; make two cases of it");
        return Err(Wrong { span: more.span(), what });
    }
    let mut expected = Vec::new();
    for (index, one) in written.expect.iter().enumerate() {
        let one = expect(one, start, listen.is_some(), pack).map_err(|Wrong { span, what }| Wrong {
            span,
            what: format!("expected event {}: {what}", index + 1),
        })?;
        expected.push(one);
    }
    Ok(Case { name: written.name.get_ref().clone(), start, zone, device, listen, readings, expected })
}

/// Until when the gateway listens.
fn listen(
    text: &Spanned<String>,
    start: UnixMillis,
    last: Option<&(UnixMillis, DeviceId, Reading)>,
) -> Result<UnixMillis, Wrong> {
    let until = time("listen", text, start)?;
    if !(0..=LISTEN_MS_MAX).contains(&until.since(start)) {
        let what =
            "it must not end before the start, and not last longer than 32 days; write it as \"45min\"";
        return Err(wrong("listen", text, what));
    }
    if last.is_some_and(|(at, ..)| *at > until) {
        let what = format!("there are readings after its end; say more than `{}`", text.get_ref());
        return Err(wrong("listen", text, what));
    }
    Ok(until)
}

fn device_of(id: &Spanned<String>, pack: &Pack) -> Result<DeviceId, Wrong> {
    let device: DeviceId = id.get_ref().parse().map_err(|way_out| {
        wrong("device", id, format!("`{}` is not a device id: {way_out}", id.get_ref()))
    })?;
    if pack.device(device).is_none() {
        let what = format!("device {device} is not in the pack's devices.csv; name one that is there");
        return Err(wrong("device", id, what));
    }
    Ok(device)
}

/// The first device at a site.
fn at_site(site: &Spanned<String>, pack: &Pack) -> Result<DeviceId, Wrong> {
    let name = site.get_ref();
    let found = pack.devices().iter().find(|device| pack.site_of(device).id.as_str() == name);
    found.map(|device| device.id).ok_or_else(|| {
        let sites = pack.devices().iter().map(|device| pack.site_of(device).id.as_str());
        let way_out = did_you_mean(name, sites, "name a site of the pack's devices.csv");
        wrong("site", site, format!("there is no device at site `{name}`; {way_out}"))
    })
}

/// A time, or a length of time after the start.
fn time(field: &str, text: &Spanned<String>, start: UnixMillis) -> Result<UnixMillis, Wrong> {
    if let Ok(at) = text.get_ref().parse::<Timestamp>() {
        return Ok(UnixMillis(at.as_millisecond()));
    }
    Ok(start.plus(length(field, text)?))
}

/// A length of time in milliseconds.
fn length(field: &str, text: &Spanned<String>) -> Result<i64, Wrong> {
    let length = text.get_ref().parse::<SignedDuration>().ok();
    let ms = length.and_then(|length| i64::try_from(length.as_millis()).ok());
    ms.ok_or_else(|| {
        let text_is = text.get_ref();
        let what =
            format!("`{text_is}` is neither a time (2026-11-22T23:10:00+08:00) nor a length of time (5min)");
        wrong(field, text, what)
    })
}

fn milli(field: &str, value: &Spanned<f64>) -> Result<Milli, Wrong> {
    let thousandths = (value.get_ref() * 1000.0).round();
    // Within bounds, so it fits; NaN is not.
    if thousandths.abs() <= f64::from(i32::MAX) {
        return Ok(Milli(thousandths as i32));
    }
    Err(wrong(field, value, format!("{} is out of range: values go to 2147483", value.get_ref())))
}

fn quantity(name: &Spanned<String>) -> Result<Quantity, Wrong> {
    name.get_ref().parse().map_err(|error| {
        let names: Vec<String> = Quantity::NAMED.iter().map(Quantity::to_string).collect();
        let otherwise = format!("use one of {}, or custom0 to custom16383", names.join(", "));
        let way_out = did_you_mean(name.get_ref(), names.iter().map(String::as_str), otherwise);
        wrong("quantity", name, format!("`{}` is {error}; {way_out}", name.get_ref()))
    })
}

fn generate(
    reading: &Spanned<WrittenReading>,
    device: DeviceId,
    start: UnixMillis,
    pack: &Pack,
    readings: &mut Vec<(UnixMillis, DeviceId, Reading)>,
) -> Result<(), Wrong> {
    let written = reading.get_ref();
    let device = written.device.as_ref().map_or(Ok(device), |id| device_of(id, pack))?;
    let quantity = quantity(&written.quantity)?;
    let quality = match &written.quality {
        None => Quality::GOOD,
        Some(word) => match word.get_ref().as_str() {
            "good" => Quality::GOOD,
            "calibration" => Quality::CALIBRATION,
            "fault" => Quality::FAULT,
            "overload" => Quality::OVERLOAD,
            other => {
                let what = format!("it is good, calibration, fault or overload, and not `{other}`");
                return Err(wrong("quality", word, what));
            }
        },
    };
    let first = milli("value", &written.value)?;
    let last = written.to_value.as_ref().map_or(Ok(first), |value| milli("to_value", value))?;
    let mut push = |at, value| readings.push((at, device, Reading { quantity, value, quality }));
    match (&written.at, &written.from, &written.to) {
        (Some(at), None, None) => push(time("at", at, start)?, first),
        (None, Some(from), Some(to)) => {
            let (begins, ends) = (time("from", from, start)?, time("to", to, start)?);
            let every = match &written.every {
                Some(text) => match length("every", text)? {
                    ..1 => return Err(wrong("every", text, "it must be at least 1ms; write it as \"1s\"")),
                    every => every,
                },
                None => default_interval_ms(quantity).into(),
            };
            let span = ends.since(begins);
            if span < 0 {
                return Err(wrong("to", to, "it is before `from`; exchange the two"));
            }
            if span / every > READINGS_MAX as i64 {
                let what = format!("these are more than {READINGS_MAX} readings; make `every` longer");
                return Err(wrong("to", to, what));
            }
            for step in 0..span / every {
                let passed = step * every;
                let rise = (i64::from(last.0) - i64::from(first.0)) as f64 * passed as f64 / span as f64;
                // Between two values, so it fits.
                push(begins.plus(passed), Milli((f64::from(first.0) + rise).round() as i32));
            }
        }
        _ => {
            let what = "it needs `at`, or `from` and `to`".to_owned();
            return Err(Wrong { span: reading.span(), what });
        }
    }
    Ok(())
}

fn expect(
    one: &Spanned<WrittenExpected>,
    start: UnixMillis,
    listens: bool,
    pack: &Pack,
) -> Result<Expected, Wrong> {
    let written = one.get_ref();
    let phase = written.phase.get_ref();
    if !["early-warning", "exceeded", "cleared", "fault"].contains(&phase.as_str()) {
        let what =
            format!("it is early-warning, exceeded or cleared, or fault for a silence, and not `{phase}`");
        return Err(wrong("phase", &written.phase, what));
    }
    if phase == "fault" && !listens {
        let what =
            "a silence is noticed while the gateway listens: say for how long, as `listen = \"45min\"`";
        return Err(wrong("phase", &written.phase, what));
    }
    if let Some(id) = &written.rule {
        let rules = pack.rules().iter().map(|rule| rule.id.as_str());
        let mut ids = rules.chain(pack.silences().iter().map(|rule| rule.id.as_str()));
        if !ids.clone().any(|known| known == id.get_ref()) {
            let way_out = did_you_mean(id.get_ref(), &mut ids, "the pack's rules.toml has their ids");
            return Err(wrong("rule", id, format!("there is no rule `{}`; {way_out}", id.get_ref())));
        }
    }
    if let Some(code) = &written.matter
        && pack.matter(code.get_ref()).is_none()
    {
        let way_out = pack.instead_of_matter(code.get_ref(), "the pack's catalogue.csv has their codes");
        return Err(wrong("matter", code, format!("there is no matter `{}`; {way_out}", code.get_ref())));
    }
    let device = written.device.as_ref().map(|id| device_of(id, pack)).transpose()?;
    let bound = |field, text: &Option<Spanned<String>>, otherwise| {
        text.as_ref().map_or(Ok(otherwise), |text| time(field, text, start))
    };
    let window = (
        bound("from", &written.from, UnixMillis(i64::MIN))?,
        bound("to", &written.to, UnixMillis(i64::MAX))?,
    );
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    Ok(Expected {
        phase: phase.clone(),
        rule: text(&written.rule),
        matter: text(&written.matter),
        cause: written.cause.clone(),
        severity: written.severity,
        device: device.map(|device| device.to_string()),
        from: text(&written.from),
        to: text(&written.to),
        window,
    })
}
