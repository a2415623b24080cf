//! What is wrong with a pack, for the person who has to put it right: where, what, and the way out.

use std::fmt;
use std::path::Path;

use super::table::half_width;

/// How many errors are kept and shown; the rest are counted. A file in the wrong encoding or with the wrong columns
/// would else say the same thousands of times.
pub const ERRORS_SHOWN_MAX: usize = 200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackError {
    /// The file, by its name within the pack; the folder, when it is the folder.
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
        write!(f, "{}{}", self.head(), self.what)?;
        if !self.way_out.is_empty() {
            write!(f, "; {}", self.way_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for PackError {}

impl PackError {
    /// Where it is: file, line, column and field.
    fn head(&self) -> String {
        let mut head = self.file.clone();
        if let Some(line) = self.line {
            head.push_str(&format!(":{line}"));
            if let Some(column) = self.column {
                head.push_str(&format!(":{column}"));
            }
        }
        head.push_str(": ");
        if let Some(field) = &self.field {
            head.push_str(&format!("{field}: "));
        }
        head
    }

    pub(super) fn new(place: Place, field: &str, what: String, way_out: String) -> Self {
        Self {
            file: place.file.to_owned(),
            line: place.line,
            column: place.column,
            field: (!field.is_empty()).then(|| without_controls(field.to_owned())),
            what: without_controls(what),
            way_out: without_controls(way_out),
        }
    }
}

/// What is allowed, and probably not meant. In Chinese too: who answers for a pack reads it in the review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it is, and what it is in English.
    pub english: PackError,
    /// What is odd, in Chinese.
    pub what_zh: String,
    /// What to do about it, in Chinese.
    pub way_out_zh: String,
}

/// What is odd, and what to do about it, in one language.
pub(super) type Words<'w> = (&'w str, &'w str);

impl Note {
    pub(super) fn new(place: Place, field: &str, english: Words<'_>, chinese: Words<'_>) -> Self {
        Self {
            english: PackError::new(place, field, english.0.to_owned(), english.1.to_owned()),
            what_zh: without_controls(chinese.0.to_owned()),
            way_out_zh: without_controls(chinese.1.to_owned()),
        }
    }

    /// The note in Chinese, with the same place.
    #[must_use]
    pub fn chinese(&self) -> String {
        format!("{}{}；{}", self.english.head(), self.what_zh, self.way_out_zh)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.english.fmt(f)
    }
}

/// All that is wrong with a pack, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackErrors {
    shown: Vec<PackError>,
    more: usize,
}

impl PackErrors {
    /// One error that is of no file of the pack.
    pub(super) fn of_folder(folder: &Path, what: String, way_out: String) -> Self {
        let (line, column, field) = (None, None, None);
        let error = PackError { file: folder.display().to_string(), line, column, field, what, way_out };
        Self { shown: vec![error], more: 0 }
    }

    /// The errors, at most [`ERRORS_SHOWN_MAX`].
    #[must_use]
    pub fn shown(&self) -> &[PackError] {
        &self.shown
    }

    /// Says where lines are that the reader of the errors has in another file: an upper level's, of which the pack was made.
    /// Asked with file, line and field.
    pub fn relocate(&mut self, place: impl Fn(&str, u64, Option<&str>) -> Option<(String, u64)>) {
        for error in &mut self.shown {
            let field = error.field.as_deref();
            if let Some((file, line)) = error.line.and_then(|line| place(&error.file, line, field)) {
                (error.file, error.line) = (file, Some(line));
            }
        }
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

/// What is said of texts that would do something to a terminal.
pub(super) const CONTROLS: &str = "the text has control characters, which terminals would obey";

/// Whether a text would do something to a terminal that shows it, such as erase a line or turn the direction of writing.
/// A `long` text may have several lines.
pub(super) fn has_controls(text: &str, long: bool) -> bool {
    text.chars().any(|c| is_control(c) && !(long && matches!(c, '\n' | '\r' | '\t')))
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same, to be shown: what a file says is quoted in errors, and these reach terminals too.
fn without_controls(text: String) -> String {
    if !has_controls(&text, false) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

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

/// Collects what is wrong while reading goes on, and what is merely odd.
#[derive(Debug, Default)]
pub(super) struct Problems {
    shown: Vec<PackError>,
    more: usize,
    notes: Vec<Note>,
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
        self.shown.push(PackError::new(place, field, what.into(), way_out.into()));
    }

    /// Notes what is allowed, and probably not meant.
    pub(super) fn note(&mut self, place: Place, field: &str, english: Words<'_>, chinese: Words<'_>) {
        if self.notes.len() < ERRORS_SHOWN_MAX {
            self.notes.push(Note::new(place, field, english, chinese));
        }
    }

    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
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
pub fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
    otherwise: impl Into<String>,
) -> String {
    match nearest(word, candidates.into_iter().map(|candidate| (candidate, ()))) {
        Some((candidate, ())) => format!("did you mean `{candidate}`?"),
        None => otherwise.into(),
    }
}

/// The same of codes, which say nothing by themselves: each candidate with its names in Chinese and English.
pub(super) fn did_you_mean_code<'c>(
    code: &str,
    candidates: impl IntoIterator<Item = (&'c str, (&'c str, &'c str))>,
    otherwise: impl Into<String>,
) -> String {
    match nearest(code, candidates) {
        Some((code, (zh, ""))) => format!("did you mean `{code}` ({zh})?"),
        Some((code, (zh, en))) => format!("did you mean `{code}` ({zh} · {en})?"),
        None => otherwise.into(),
    }
}

/// The candidate that is most like the word, whatever its case and width, if one is like it at all.
fn nearest<'c, T>(word: &str, candidates: impl IntoIterator<Item = (&'c str, T)>) -> Option<(&'c str, T)> {
    /// Below this two words have too little in common to be a slip of the keyboard.
    const NEAR: f64 = 0.6;
    let word = half_width(word).to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&word, &candidate.0.to_lowercase()), candidate)
        })
        .filter(|(nearness, _)| *nearness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
