//! Cases of rule authors: readings in, expected events out, as TOML (`gridpost rules test --help`).
//!
//! Times in a case are RFC 3339, or a length of time after its start. Readings are taken in the order of their times; of equal
//! times, in the file's order. With `listen` the gateway listens from the start for so long, and tells who is silent: the case's own
//! device and those of its readings, which all spoke before.
//!
//! Bounds: [`READINGS_MAX`] readings a case, [`FILE_READINGS_MAX`] a file, and [`LISTEN_MS_MAX`]; [`EXPECTED_MAX`] expected events, and of the events that come
//! [`SHOWN_MAX`] are compared.

mod happened;
mod written;

use std::collections::HashSet;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::Pack;
use gridpost_protocol::reading::Reading;
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;

use super::Trial;
use super::listening::Listening;
use happened::{Happened, What};

pub use written::{CasesError, read};

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

/// An event that is to come.
#[derive(Clone, Debug)]
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
    window: (UnixMillis, UnixMillis),
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

impl Expected {
    fn is(&self, happened: &Happened<'_>) -> bool {
        fn same(wanted: Option<&String>, is: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let (from, to) = self.window;
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
