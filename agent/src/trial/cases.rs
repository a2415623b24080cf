//! Cases of rule authors: readings in, expected events out, as TOML (`gridpost rules test --help`).
//!
//! Times in a case are RFC 3339, or a length of time after its start. Readings are taken in the order of their times; of equal
//! times, in the file's order. With `listen` the gateway listens from the start for so long, and tells who is silent: the case's own
//! device and those of its readings, which all spoke before.
//!
//! Bounds: [`READINGS_MAX`] readings a case, [`FILE_READINGS_MAX`] a file, and [`LISTEN_MS_MAX`]; [`EXPECTED_MAX`] expected events, and of the events that come
//! [`SHOWN_MAX`] are compared.

mod happened;

use std::collections::HashSet;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Pack, default_interval_ms};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Trial;
use super::listening::Listening;
use happened::{Happened, What};

/// The most readings of one case: a second's for eleven days.
pub const READINGS_MAX: usize = 1_000_000;
/// The most readings of all cases of a file: some 130 MB while they are tried.
pub const FILE_READINGS_MAX: usize = 4 * READINGS_MAX;
/// The longest that a case listens, in milliseconds: 32 days.
pub const LISTEN_MS_MAX: i64 = 32 * 24 * 3_600_000;
/// The most events that a case expects.
pub const EXPECTED_MAX: usize = 500;
/// The most events that are compared; more are not as expected anyhow.
pub const SHOWN_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    start: String,
    device: Option<String>,
    site: Option<String>,
    listen: Option<String>,
    readings: Vec<WrittenReading>,
    expect: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReading {
    quantity: String,
    device: Option<String>,
    at: Option<String>,
    from: Option<String>,
    to: Option<String>,
    every: Option<String>,
    value: f64,
    to_value: Option<f64>,
    quality: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    phase: String,
    rule: Option<String>,
    matter: Option<String>,
    cause: Option<String>,
    severity: Option<u8>,
    device: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// From `from` and `to`.
    #[serde(skip)]
    window: Option<(UnixMillis, UnixMillis)>,
}

/// A case, ready to be run.
#[derive(Debug)]
pub struct Case {
    name: String,
    start: UnixMillis,
    zone: TimeZone,
    /// Its own device.
    device: DeviceId,
    /// Until when the gateway listens; [`None`]: nothing is told of silence.
    listen: Option<UnixMillis>,
    readings: Vec<(UnixMillis, DeviceId, Reading)>,
    expected: Vec<Expected>,
}

/// How a case went.
#[derive(Debug)]
pub struct Outcome {
    /// Expected and happened, side by side: `  ` as expected, `+ ` happened and was not expected, `- ` expected and did not happen.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Whether everything happened that was expected, and nothing else.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.lines.iter().all(|line| line.starts_with("  "))
    }
}

/// Reads a file of cases for this pack.
///
/// # Errors
/// What is wrong, with line, or case and reading.
pub fn read(text: &str, pack: &Pack) -> Result<Vec<Case>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if file.case.is_empty() {
        return Err("there is no case: write each under its own [[case]]".to_owned());
    }
    let (mut cases, mut readings) = (Vec::new(), 0);
    for written in file.case {
        let case = case(written, pack)?;
        readings += case.readings();
        if readings > FILE_READINGS_MAX {
            return Err(format!(
                "case `{}`: with it the cases of this file have more than {FILE_READINGS_MAX} readings; write it into a file of its own",
                case.name
            ));
        }
        cases.push(case);
    }
    Ok(cases)
}

fn case(written: Written, pack: &Pack) -> Result<Case, String> {
    let wrong = |what: String| format!("case `{}`: {what}", written.name);
    let start: Timestamp = written.start.parse().map_err(|_| {
        wrong(format!("start: `{}` is no time; write it as 2026-11-22T23:10:00+08:00", written.start))
    })?;
    let start = UnixMillis(start.as_millisecond());
    let device = match (&written.device, &written.site) {
        (Some(id), None) => device_of(id, pack).map_err(wrong)?,
        (None, Some(site)) => {
            let found = pack.devices().iter().find(|device| pack.site_of(device).id.as_str() == site);
            found.ok_or_else(|| wrong(format!("there is no device at site `{site}`")))?.id
        }
        _ => return Err(wrong("it needs a device or a site, and one of the two only".to_owned())),
    };
    let placed = pack.device(device).map(|placed| pack.site_of(placed));
    let zone = placed.and_then(|site| TimeZone::get(&site.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let mut readings = Vec::new();
    for (index, reading) in written.readings.iter().enumerate() {
        generate(reading, device, start, pack, &mut readings)
            .map_err(|what| wrong(format!("reading {}: {what}", index + 1)))?;
        if readings.len() > READINGS_MAX {
            return Err(wrong(format!("it has more than {READINGS_MAX} readings")));
        }
    }
    // Stable: what has the same time stays in the file's order.
    readings.sort_by_key(|(at, ..)| *at);
    let listen = written.listen.as_deref().map(|text| listen(text, start, readings.last())).transpose();
    let listen = listen.map_err(wrong)?;
    if written.expect.len() > EXPECTED_MAX {
        return Err(wrong(format!("it expects more than {EXPECTED_MAX} events")));
    }
    let mut expected = written.expect.clone();
    for (index, one) in expected.iter_mut().enumerate() {
        check_expected(one, start, listen.is_some(), pack)
            .map_err(|what| wrong(format!("expected event {}: {what}", index + 1)))?;
    }
    Ok(Case { name: written.name, start, zone, device, listen, readings, expected })
}

/// Until when the gateway listens.
fn listen(
    text: &str,
    start: UnixMillis,
    last: Option<&(UnixMillis, DeviceId, Reading)>,
) -> Result<UnixMillis, String> {
    let until = time(text, start).map_err(|error| format!("listen: {error}"))?;
    if !(0..=LISTEN_MS_MAX).contains(&until.since(start)) {
        return Err("listen: it must not end before the start, and not last longer than 32 days".to_owned());
    }
    if last.is_some_and(|(at, ..)| *at > until) {
        return Err(format!("listen: there are readings after its end; say more than `{text}`"));
    }
    Ok(until)
}

fn device_of(id: &str, pack: &Pack) -> Result<DeviceId, String> {
    let device: DeviceId = id.parse().map_err(|way_out| format!("`{id}` is not a device id: {way_out}"))?;
    if pack.device(device).is_none() {
        return Err(format!("device {device} is not in the pack's devices.csv"));
    }
    Ok(device)
}

/// A time, or a length of time after the start.
fn time(text: &str, start: UnixMillis) -> Result<UnixMillis, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(UnixMillis(at.as_millisecond()));
    }
    Ok(start.plus(length(text)?))
}

/// A length of time in milliseconds.
fn length(text: &str) -> Result<i64, String> {
    let length = text.parse::<SignedDuration>().ok();
    let ms = length.and_then(|length| i64::try_from(length.as_millis()).ok());
    ms.ok_or_else(|| {
        format!("`{text}` is neither a time (2026-11-22T23:10:00+08:00) nor a length of time (5min)")
    })
}

fn milli(value: f64) -> Result<Milli, String> {
    let thousandths = (value * 1000.0).round();
    // Within bounds, so it fits; NaN is not.
    if thousandths.abs() <= f64::from(i32::MAX) {
        return Ok(Milli(thousandths as i32));
    }
    Err(format!("{value} is out of range: values go to 2147483"))
}

fn generate(
    written: &WrittenReading,
    device: DeviceId,
    start: UnixMillis,
    pack: &Pack,
    readings: &mut Vec<(UnixMillis, DeviceId, Reading)>,
) -> Result<(), String> {
    let device = written.device.as_deref().map_or(Ok(device), |id| device_of(id, pack))?;
    let quantity: Quantity =
        written.quantity.parse().map_err(|error| format!("`{}` is {error}", written.quantity))?;
    let quality = match written.quality.as_deref() {
        None | Some("good") => Quality::GOOD,
        Some("calibration") => Quality::CALIBRATION,
        Some("fault") => Quality::FAULT,
        Some("overload") => Quality::OVERLOAD,
        Some(other) => {
            return Err(format!("quality is good, calibration, fault or overload, and not `{other}`"));
        }
    };
    let (first, last) = (milli(written.value)?, milli(written.to_value.unwrap_or(written.value))?);
    let mut push = |at, value| readings.push((at, device, Reading { quantity, value, quality }));
    match (&written.at, &written.from, &written.to) {
        (Some(at), None, None) => push(time(at, start)?, first),
        (None, Some(from), Some(to)) => {
            let (from, to) = (time(from, start)?, time(to, start)?);
            let every = match &written.every {
                Some(every) => length(every)?,
                None => default_interval_ms(quantity).into(),
            };
            if every < 1 || to < from {
                return Err("`every` must be at least 1ms, and `to` not before `from`".to_owned());
            }
            let span = to.since(from);
            if span / every > READINGS_MAX as i64 {
                return Err(format!("these are more than {READINGS_MAX} readings"));
            }
            for step in 0..span / every {
                let passed = step * every;
                let rise = (i64::from(last.0) - i64::from(first.0)) as f64 * passed as f64 / span as f64;
                // Between two values, so it fits.
                push(from.plus(passed), Milli((f64::from(first.0) + rise).round() as i32));
            }
        }
        _ => return Err("it needs `at`, or `from` and `to`".to_owned()),
    }
    Ok(())
}

fn check_expected(
    expected: &mut Expected,
    start: UnixMillis,
    listens: bool,
    pack: &Pack,
) -> Result<(), String> {
    if !["early-warning", "exceeded", "cleared", "fault"].contains(&expected.phase.as_str()) {
        return Err(format!(
            "phase is early-warning, exceeded or cleared, or fault for a silence, and not `{}`",
            expected.phase
        ));
    }
    if expected.phase == "fault" && !listens {
        return Err(
            "a silence is noticed while the gateway listens: say for how long, as `listen = \"45min\"`"
                .to_owned(),
        );
    }
    if let Some(id) = &expected.rule
        && !pack.rules().iter().any(|rule| rule.id.as_str() == id)
        && !pack.silences().iter().any(|rule| rule.id.as_str() == id)
    {
        return Err(format!("there is no rule `{id}`"));
    }
    if let Some(code) = &expected.matter
        && pack.matter(code).is_none()
    {
        return Err(format!("there is no matter `{code}`"));
    }
    if let Some(id) = &expected.device {
        expected.device = Some(device_of(id, pack)?.to_string());
    }
    let bound = |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), |t| time(t, start));
    expected.window =
        Some((bound(&expected.from, UnixMillis(i64::MIN))?, bound(&expected.to, UnixMillis(i64::MAX))?));
    Ok(())
}

impl Expected {
    fn is(&self, happened: &Happened<'_>) -> bool {
        fn same(wanted: Option<&String>, is: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let (from, to) = self.window.unwrap_or((UnixMillis(i64::MIN), UnixMillis(i64::MAX)));
        self.phase == happened.phase()
            && same(self.rule.as_ref(), happened.rule())
            && same(self.matter.as_ref(), happened.matter())
            && same(self.cause.as_ref(), happened.cause())
            && same(self.device.as_ref(), &happened.device.to_string())
            && self.severity.is_none_or(|severity| severity == happened.severity())
            && from <= happened.at()
            && happened.at() <= to
    }

    fn text(&self) -> String {
        let mut text = self.phase.clone();
        for (key, value) in [
            ("rule", &self.rule),
            ("matter", &self.matter),
            ("cause", &self.cause),
            ("device", &self.device),
            ("from", &self.from),
            ("to", &self.to),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(" {key} {value}"));
            }
        }
        if let Some(severity) = self.severity {
            text.push_str(&format!(" severity {severity}"));
        }
        text
    }
}

impl Case {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many readings it has.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.readings.len()
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self, pack: &Pack) -> Outcome {
        let mut trial = Trial::new(pack);
        let mut happened = Vec::new();
        let mut lines = Vec::new();
        let mut listening = self.listen.map(|until| {
            let devices: HashSet<_> = self.readings.iter().map(|(_, device, _)| *device).collect();
            Listening::new(pack, self.start, until, &(&devices | &HashSet::from([self.device])))
        });
        for (at, device, reading) in &self.readings {
            if let Some(listening) = &mut listening {
                listening.read(*device, reading.quantity, *at, |silent| happened.push(silent.into()));
            }
            match trial.take(*device, *at, reading) {
                Ok(took) => happened.extend(took.said.into_iter().map(|(rule, decision)| Happened {
                    device: *device,
                    what: What::Decided(rule, decision),
                })),
                Err(error) => lines.push(format!("+ {error}")),
            }
        }
        if let Some(listening) = listening {
            listening.finish(|silent| happened.push(silent.into()));
        }
        let left_out = happened.len().saturating_sub(SHOWN_MAX);
        happened.truncate(SHOWN_MAX);
        lines.extend(self.compare(&happened));
        if left_out > 0 {
            lines.push(format!("+ and {left_out} more events"));
        }
        Outcome { lines }
    }

    /// Expected and happened side by side, with as many as can be in common, in order.
    fn compare(&self, happened: &[Happened<'_>]) -> Vec<String> {
        let expected = &self.expected;
        // common[i][j]: how many of expected[i..] and happened[j..] are in common.
        let mut common = vec![vec![0u32; happened.len() + 1]; expected.len() + 1];
        for i in (0..expected.len()).rev() {
            for j in (0..happened.len()).rev() {
                let both = if expected[i].is(&happened[j]) { common[i + 1][j + 1] + 1 } else { 0 };
                common[i][j] = both.max(common[i + 1][j]).max(common[i][j + 1]);
            }
        }
        let (mut i, mut j) = (0, 0);
        let mut lines = Vec::new();
        while i < expected.len() || j < happened.len() {
            let meets = i < expected.len()
                && j < happened.len()
                && expected[i].is(&happened[j])
                && common[i][j] == common[i + 1][j + 1] + 1;
            if meets {
                lines.push(format!("  {}", happened[j].text(self.start, &self.zone)));
                (i, j) = (i + 1, j + 1);
            } else if i < expected.len() && (j == happened.len() || common[i][j] == common[i + 1][j]) {
                lines.push(format!("- {} (expected, did not happen)", expected[i].text()));
                i += 1;
            } else {
                lines
                    .push(format!("+ {} (happened, not expected)", happened[j].text(self.start, &self.zone)));
                j += 1;
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests;
