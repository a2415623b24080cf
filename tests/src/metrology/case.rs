//! A file of cases, as read.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    fields::Fields,
    signal::{self, RATE},
};

/// One case of a file.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What it tests.
    pub kind: String,
    raw: Value,
}

/// What one value has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The quantity's name.
    pub name: String,
    /// The value; `None`: there must be none.
    pub value: Option<f64>,
    /// By how much the measured value may be below it; `None`: by anything.
    pub lower: Option<f64>,
    /// By how much it may be above.
    pub upper: Option<f64>,
}

/// Reads a file of cases in the format of `tests/data/acoustics_vectors.json`.
///
/// # Errors
/// The file cannot be read, or is not of that format; the error names the case and the field.
pub fn read(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    // Some editors put a byte order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let file: Value = serde_json::from_str(text).with_context(|| format!("{}: not JSON", path.display()))?;
    // A bare list will do too.
    let cases = file.get("cases").unwrap_or(&file);
    let cases = cases.as_array().with_context(|| format!("{}: has no list `cases`", path.display()))?;
    ensure!(!cases.is_empty(), "{}: the list `cases` is empty", path.display());
    for (name, ours, why) in [
        ("sample_rate_hz", RATE, "measures at"),
        ("reference_pressure_pa", signal::pressure(0.0), "tells levels re"),
    ] {
        if let Some(theirs) = file.get("meta").and_then(|meta| meta.get(name)) {
            ensure!(
                theirs.as_f64() == Some(ours),
                "{}: meta.{name}: {theirs}, and this meter {why} {ours}",
                path.display()
            );
        }
    }
    let cases = cases.iter().enumerate().map(|(index, raw)| Case::new(index, raw));
    let cases = cases.collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    for case in &cases {
        ensure!(seen.insert(&case.id), "case {}: the file has two of this id", case.id);
    }
    Ok(cases)
}

impl Case {
    fn new(index: usize, raw: &Value) -> Result<Self> {
        let unnamed = Fields::new(format!("case number {index}"), raw)?;
        let id = unnamed.text("id")?.to_owned();
        // It goes to a terminal.
        ensure!(!id.chars().any(char::is_control), "{}: has control characters", unnamed.place("id"));
        let length = id.chars().count();
        ensure!((1..=200).contains(&length), "{}: not of 1 to 200 characters", unnamed.place("id"));
        let kind = Fields::new(format!("case {id}"), raw)?.text("kind")?.to_owned();
        Ok(Self { id, kind, raw: raw.clone() })
    }

    /// Its fields.
    ///
    /// # Errors
    /// None, as it has been an object before.
    pub fn fields(&self) -> Result<Fields<'_>> {
        Fields::new(format!("case {}", self.id), &self.raw)
    }

    /// The names of the quantities that it measures.
    ///
    /// # Errors
    /// There is no such list.
    pub fn quantities(&self) -> Result<Vec<&str>> {
        let measure = self.fields()?.object("measure")?;
        let list = measure.value("quantities")?.as_array().context("not a list");
        let names: Option<Vec<&str>> =
            list.with_context(|| measure.place("quantities"))?.iter().map(Value::as_str).collect();
        names.with_context(|| format!("{}: not all texts", measure.place("quantities")))
    }

    /// What it expects, with tolerances.
    ///
    /// # Errors
    /// Nothing is expected, a value has no tolerance or one that says nothing, or the other way round.
    pub fn expected(&self) -> Result<Vec<Expected>> {
        let fields = self.fields()?;
        let (values, tolerances) = (fields.object("expected")?, fields.object("tolerance_db")?);
        ensure!(values.names().next().is_some(), "{}: nothing is expected", fields.place("expected"));
        let expected = values
            .names()
            .map(|name| {
                let value = match values.value(name)? {
                    Value::Null => None,
                    _ => Some(values.number(name)?),
                };
                let place = tolerances.place(name);
                let limits = tolerances.value(name)?.as_array().map(Vec::as_slice);
                let Some([lower, upper]) = limits else { bail!("{place}: not a pair") };
                let limit = |limit: &Value| match limit {
                    Value::Null => Ok(None),
                    limit => limit.as_f64().map(Some).with_context(|| format!("{place}: not numbers")),
                };
                let (lower, upper) = (limit(lower)?, limit(upper)?);
                ensure!(lower.is_some() || upper.is_some(), "{place}: limits nothing");
                ensure!(
                    lower.zip(upper).is_none_or(|(lower, upper)| lower <= upper),
                    "{place}: the first, which is the lower limit, is above the second"
                );
                Ok(Expected { name: name.to_owned(), value, lower, upper })
            })
            .collect::<Result<_>>()?;
        // It would be taken for a value that was checked.
        if let Some(name) = tolerances.names().find(|name| values.value(name).is_err()) {
            bail!(
                "{}: no such value is expected: add its value to expected, or take this out",
                tolerances.place(name)
            );
        }
        Ok(expected)
    }
}
