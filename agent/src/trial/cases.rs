//! Cases of rule authors: readings in, expected events out, as TOML (`gridpost rules test --help`).
//!
//! Times in a case are RFC 3339, or a length of time after its start. Readings are taken in the order of their times; of equal
//! times, in the file's order.
//!
//! Bounds: [`READINGS_MAX`] readings a case; [`EXPECTED_MAX`] expected events, and of the events that come [`SHOWN_MAX`] are compared.

use gridpost_protocol::event::Decision;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Pack, PackRule, default_interval_ms};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Trial;

/// The most readings of one case: a second's for eleven days.
pub const READINGS_MAX: usize = 1_000_000;
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
    file.case.into_iter().map(|written| case(written, pack)).collect()
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
    if written.expect.len() > EXPECTED_MAX {
        return Err(wrong(format!("it expects more than {EXPECTED_MAX} events")));
    }
    let mut expected = written.expect.clone();
    for (index, one) in expected.iter_mut().enumerate() {
        check_expected(one, start, pack)
            .map_err(|what| wrong(format!("expected event {}: {what}", index + 1)))?;
    }
    Ok(Case { name: written.name, start, zone, readings, expected })
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

fn check_expected(expected: &mut Expected, start: UnixMillis, pack: &Pack) -> Result<(), String> {
    if !["early-warning", "exceeded", "cleared"].contains(&expected.phase.as_str()) {
        return Err(format!("phase is early-warning, exceeded or cleared, and not `{}`", expected.phase));
    }
    if let Some(id) = &expected.rule
        && !pack.rules().iter().any(|rule| rule.id.as_str() == id)
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

/// An event that happened.
struct Happened<'p> {
    device: DeviceId,
    rule: &'p PackRule,
    decision: Decision,
}

impl Expected {
    fn is(&self, happened: &Happened<'_>) -> bool {
        fn same(wanted: Option<&String>, is: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let Happened { device, rule, decision } = happened;
        let (from, to) = self.window.unwrap_or((UnixMillis(i64::MIN), UnixMillis(i64::MAX)));
        self.phase == decision.phase.as_str()
            && same(self.rule.as_ref(), rule.id.as_str())
            && same(self.matter.as_ref(), rule.matter.as_str())
            && same(self.cause.as_ref(), decision.cause.map_or("", |cause| cause.as_str()))
            && same(self.device.as_ref(), &device.to_string())
            && self.severity.is_none_or(|severity| severity == decision.severity)
            && from <= decision.at
            && decision.at <= to
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

    /// Runs it.
    #[must_use]
    pub fn run(&self, pack: &Pack) -> Outcome {
        let mut trial = Trial::new(pack);
        let mut happened = Vec::new();
        let mut lines = Vec::new();
        for (at, device, reading) in &self.readings {
            match trial.take(*device, *at, reading) {
                Ok(took) => happened.extend(took.said.into_iter().map(|(rule, decision)| Happened {
                    device: *device,
                    rule,
                    decision,
                })),
                Err(error) => lines.push(format!("+ {error}")),
            }
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
                lines.push(format!("  {}", self.text(&happened[j])));
                (i, j) = (i + 1, j + 1);
            } else if i < expected.len() && (j == happened.len() || common[i][j] == common[i + 1][j]) {
                lines.push(format!("- {} (expected, did not happen)", expected[i].text()));
                i += 1;
            } else {
                lines.push(format!("+ {} (happened, not expected)", self.text(&happened[j])));
                j += 1;
            }
        }
        lines
    }

    fn text(&self, happened: &Happened<'_>) -> String {
        let Happened { device, rule, decision } = happened;
        let after = SignedDuration::from_millis(decision.at.since(self.start));
        let cause = decision.cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        let at = Timestamp::from_millisecond(decision.at.0)
            .map(|at| at.to_zoned_datetime(self.zone.clone()).strftime("%F %T").to_string())
            .unwrap_or_default();
        format!(
            "{} rule {} matter {} at {at} ({after:#}): {} against {}, severity {}, device {device}{cause}",
            decision.phase, rule.id, rule.matter, decision.value, decision.limit, decision.severity
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sample() -> (Pack, String) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
        let text = std::fs::read_to_string(folder.join("tests.toml")).unwrap();
        (Pack::load(&folder).unwrap(), text)
    }

    #[test]
    fn the_samples_cases_are_as_expected() {
        let (pack, text) = sample();
        let cases = read(&text, &pack).unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let outcome = case.run(&pack);
            assert!(outcome.is_as_expected(), "{}: {:#?}", case.name(), outcome.lines);
        }
    }

    #[test]
    fn what_is_not_as_expected_stands_beside_what_is() {
        let (pack, text) = sample();
        let other = text.replacen("severity = 2", "severity = 1", 1);
        let outcome = read(&other, &pack).unwrap()[0].run(&pack);
        assert!(!outcome.is_as_expected());
        let marks: Vec<_> = outcome.lines.iter().map(|line| &line[..2]).collect();
        assert_eq!(marks, ["  ", "  ", "- ", "+ ", "  ", "  "], "{:#?}", outcome.lines);
        assert_eq!(outcome.lines[2], "- exceeded severity 1 (expected, did not happen)");
        let happened = &outcome.lines[3];
        assert!(
            happened.contains("exceeded rule construction-noise-night matter 0102003 at 2026-11-22 23:")
                && happened.contains("severity 2")
                && happened.ends_with("(happened, not expected)"),
            "{happened}"
        );
    }

    #[test]
    fn a_case_that_is_wrong_is_named_with_the_way_out() {
        let (pack, text) = sample();
        let said = |from: &str, to: &str| {
            assert!(text.contains(from), "the test's own text: {from}");
            read(&text.replacen(from, to, 1), &pack).unwrap_err()
        };
        for (from, to, what) in [
            ("site = \"PS-0001\"", "site = \"PS-9\"", "there is no device at site `PS-9`"),
            ("site = \"PS-0001\"", "", "it needs a device or a site"),
            ("2026-11-22T23:00:00+08:00", "23:00", "start: `23:00` is no time"),
            ("\"LAeq\"", "\"LAek\"", "reading 1: `LAek` is not a known quantity"),
            ("every = \"1s\"", "every = \"0s\"", "reading 1: `every` must be at least 1ms"),
            ("to = \"10min\"", "to = \"999999h\"", "readings"),
            ("phase = \"early-warning\"", "phase = \"warning\"", "expected event 1: phase is early-warning"),
            (
                "construction-noise-night",
                "construction-noise-nite",
                "there is no rule `construction-noise-nite`",
            ),
            ("value = 48", "valeu = 48", "valeu"),
            ("value = 48", "value = nan", "out of range"),
        ] {
            let error = said(from, to);
            assert!(error.contains(what), "{what}: {error}");
        }
        assert!(read("", &pack).unwrap_err().contains("[[case]]"));
    }
}
