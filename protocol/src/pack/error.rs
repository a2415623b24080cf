//! What is wrong with a pack, for the person who has to put it right: where, what, and the way out.

use std::fmt;

/// How many errors are kept and shown; the rest are counted. A file in the wrong encoding or with the wrong columns
/// would else say the same thousands of times.
pub const ERRORS_SHOWN_MAX: usize = 200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackError {
    /// The file, by its name within the pack.
    pub file: String,
    /// The line, from 1, where that is known.
    pub line: Option<u64>,
    /// The column, in characters from 1, where that is known.
    pub column: Option<usize>,
    /// The CSV column or TOML key.
    pub field: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        f.write_str(": ")?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.what)?;
        if !self.way_out.is_empty() {
            write!(f, "; {}", self.way_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for PackError {}

/// All that is wrong with a pack, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackErrors {
    shown: Vec<PackError>,
    more: usize,
}

impl PackErrors {
    /// The errors, at most [`ERRORS_SHOWN_MAX`].
    #[must_use]
    pub fn shown(&self) -> &[PackError] {
        &self.shown
    }

    /// How many there are, those not kept included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shown.len() + self.more
    }
}

impl fmt::Display for PackErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = if self.count() == 1 { "error" } else { "errors" };
        write!(f, "the pack has {} {errors} and was not loaded:", self.count())?;
        for error in &self.shown {
            write!(f, "\n  {error}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for PackErrors {}

/// A place in a file of the pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file: &'static str,
    pub(super) line: Option<u64>,
    pub(super) column: Option<usize>,
}

impl Place {
    pub(super) const fn file(file: &'static str) -> Self {
        Self { file, line: None, column: None }
    }

    pub(super) const fn line(file: &'static str, line: u64) -> Self {
        Self { file, line: Some(line), column: None }
    }
}

/// Collects what is wrong while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Problems {
    shown: Vec<PackError>,
    more: usize,
}

impl Problems {
    pub(super) fn add(
        &mut self,
        place: Place,
        field: &str,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        if self.shown.len() == ERRORS_SHOWN_MAX {
            self.more += 1;
            return;
        }
        self.shown.push(PackError {
            file: place.file.to_owned(),
            line: place.line,
            column: place.column,
            field: (!field.is_empty()).then(|| field.to_owned()),
            what: what.into(),
            way_out: way_out.into(),
        });
    }

    pub(super) fn count(&self) -> usize {
        self.shown.len() + self.more
    }

    /// The value, if nothing was wrong.
    pub(super) fn unless_any<T>(mut self, value: Option<T>) -> Result<T, PackErrors> {
        match value {
            Some(value) if self.count() == 0 => Ok(value),
            _ => {
                self.shown.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
                Err(PackErrors { shown: self.shown, more: self.more })
            }
        }
    }
}

/// "did you mean ...?", when one of the candidates is near; else what `otherwise` says.
pub(super) fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
    otherwise: impl Into<String>,
) -> String {
    /// Below this two words have too little in common to be a slip of the keyboard.
    const NEAR: f64 = 0.6;
    let word = word.to_lowercase();
    let nearest = candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate)
        })
        .filter(|(nearness, _)| *nearness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => otherwise.into(),
    }
}
