//! Prints what was measured, kind by kind.

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
                "  {:width$}  {:22} {:>10} {:>10} {:>8}  {}",
                row.id,
                row.expected.name,
                value(row.measured),
                value(row.expected.value),
                margin(row.margin()),
                if row.passes() { "pass" } else { "FAIL" },
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
