//! What was measured, as text for a terminal and as Markdown.

use std::fmt::Write as _;

use super::check::{KINDS, Row};

/// A table per kind, and a last line with the count.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for kind in KINDS {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
        if rows.is_empty() {
            continue;
        }
        let width = rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n{kind}");
        let header = ("case", "quantity", "measured", "expected", "margin");
        let _ = writeln!(
            text,
            "  {:width$}  {:22} {:>10} {:>10} {:>8}",
            header.0, header.1, header.2, header.3, header.4
        );
        for row in rows {
            let _ = writeln!(
                text,
                "  {:width$}  {:22} {:>10} {:>10} {:>8}  {}{}",
                row.id,
                row.expected.name,
                value(row.measured),
                value(row.expected.value),
                margin(row.margin()),
                if row.passes() { "pass" } else { "FAIL" },
                if row.overload { ", overload" } else { "" },
            );
        }
    }
    let failed = rows.iter().filter(|row| !row.passes()).count();
    let mut cases: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    cases.sort_unstable();
    cases.dedup();
    let _ = writeln!(text, "\n{} values of {} cases, {failed} out of tolerance", rows.len(), cases.len());
    text
}

/// A value, or that there is none.
#[must_use]
pub fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"))
}

/// A margin, or that nothing limits it.
#[must_use]
pub fn margin(margin: f64) -> String {
    if margin == f64::INFINITY { "-".to_owned() } else { format!("{margin:.3}") }
}

/// One table of a standard.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    note: String,
    header: Vec<String>,
    rows: Vec<(Vec<String>, bool)>,
}

impl Table {
    /// Without rows.
    #[must_use]
    pub fn new(title: &str, note: &str, header: &[&str]) -> Self {
        let mut header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
        header.push("class 1".to_owned());
        Self { title: title.to_owned(), note: note.to_owned(), header, rows: Vec::new() }
    }

    /// Adds a row and whether it is within limits.
    pub fn push(&mut self, mut cells: Vec<String>, passes: bool) {
        cells.push(if passes { "pass" } else { "FAIL" }.to_owned());
        self.rows.push((cells, passes));
    }

    /// Whether all rows are within limits, and there are any.
    #[must_use]
    pub fn passes(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|(_, passes)| *passes)
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<&Vec<String>> =
            std::iter::once(&self.header).chain(self.rows.iter().map(|(cells, _)| cells)).collect();
        let width =
            |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = format!("\n{}\n", self.title);
        for line in lines {
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        text
    }

    /// As a section of a Markdown page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("## {}\n\n{}\n\n{}", self.title, self.note, line(&self.header));
        text.push_str(&line(&vec!["---:".to_owned(); self.header.len()]));
        for (cells, _) in &self.rows {
            text.push_str(&line(cells));
        }
        text
    }
}

/// The page with all tables. `bench` says what was measured.
#[must_use]
pub fn page(tables: &[Table], bench: &str) -> String {
    let mut text = format!("{PAGE}\nMeasured: {bench}.\n");
    for table in tables {
        let _ = write!(text, "\n{}", table.markdown());
    }
    text
}

const PAGE: &str = "\
# The sound level meter against its standards

Written by `cargo run --release -p gridpost-tests --bin metrology -- --markdown firmware/METROLOGY.md`; do not edit.

**What is claimed:** the digital chain, from samples to levels, is within the class 1 limits of IEC 61672-1:2013 for
frequency weighting, tone bursts, level linearity and C-weighted peak, and within the class 1 masks of IEC 61260-1:2014.

**What is not, and cannot be by software alone:** that an instrument is of class 1. That takes the microphone's own
response and its directivity, the case and the windscreen, self-noise, the influence of temperature, humidity, static
pressure, vibration and fields, and the approval of the pattern by IEC 61672-2. What the microphone and case do to the
response comes on top of the errors below, and has to fit into the margins. Limits here are those of the standard for a
whole instrument; nothing is kept back for the measurement's uncertainty, which for signals made by computation is
negligible.

Where tolerances are ours and not a standard's: percentiles and standard deviation (0.3 to 0.5 dB and 0.2 dB in the test
cases; no limit in IEC 61672), Leq of two levels (0.2 dB), Leq and features of scenes (0.5 dB), LCpeak of steady tones
(1 dB). Time weighting I is that of IEC 61672-1:2002 Annex C; the edition of 2013 has none, and the limits in the test
cases (2 to 4 dB) are not from it. Filters: the effective bandwidth (5.12), summation (5.16) and time-invariance (5.14)
of IEC 61260-1 are tested only by the cases on band edges. Samples are taken to be at exactly 48 kHz, and of 24 bits:
with 16 and a full scale of 137 dB the converter itself, without dither, is out of the linearity limits below 60 dB.
";
