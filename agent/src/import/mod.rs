//! A district's own spreadsheet becomes the `catalogue.csv` and `departments.csv` of a pack.
//!
//! What a cell means is never guessed in silence: the report says which column was taken for what, every row that is not
//! usable is a [`Problem`] with its row, column and way out, and what a pack has no place for is named.
//!
//! | step | file |
//! | --- | --- |
//! | XLSX or CSV, in any of their encodings, becomes rows of texts | `sheet.rs`, `xlsx.rs`, `parts.rs`; `table.rs`, `encoding.rs` |
//! | one row is the header; each of its cells names a field, by synonyms | `header.rs` |
//! | each row becomes an entry; levels are filled down | `rows.rs`, `words.rs` |
//! | departments get ids, groups and matters codes | `departments.rs`, `codes.rs`; `earlier.rs` what they were before |
//! | the pack's files are written | `write.rs` |
//!
//! Bounds of a list: [`FILE_BYTES_MAX`], [`ROWS_MAX`], [`COLUMNS_MAX`], [`CELL_CHARS_MAX`], [`CELLS_MAX`],
//! [`TEXT_BYTES_MAX`], [`NAME_CHARS_MAX`]. Of a workbook, besides: [`INFLATED_BYTES_MAX`], [`PARTS_MAX`], [`ELEMENTS_MAX`],
//! [`FEW_MAX`]. A text counts as often as cells say it, however often the file holds it; a merged cell in each of its rows.

use std::fmt;

pub mod codes;
pub mod departments;
pub mod earlier;
#[cfg(test)]
mod earlier_tests;
mod encoding;
pub mod header;
#[cfg(test)]
mod hostile;
mod parts;
pub mod rows;
pub mod sheet;
mod table;
#[cfg(test)]
mod tests;
pub mod words;
pub mod write;
mod xlsx;

pub use departments::Departments;
pub use earlier::Earlier;
pub use header::{Field, Header};
pub use rows::Entry;
pub use sheet::{Encoding, Sheet};

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// The most that a workbook may unpack to, in bytes: some fifty times a large city's list, and no zip bomb.
pub const INFLATED_BYTES_MAX: u64 = 512 << 20;
/// The most rows with anything in them.
pub const ROWS_MAX: usize = 200_000;
/// The most columns.
pub const COLUMNS_MAX: usize = 256;
/// The longest text in a cell, in characters; what Excel allows.
pub const CELL_CHARS_MAX: usize = 32_767;
/// The most cells, with the empty ones before the last of a row and those that a merged cell fills: 20 in each row.
pub const CELLS_MAX: usize = 4_000_000;
/// The most text in all cells, in bytes: ten times a large city's list.
pub const TEXT_BYTES_MAX: usize = 128 << 20;
/// The longest name of a matter or group, in characters. Groups' names are filled down into every row.
pub const NAME_CHARS_MAX: usize = 200;
/// The most parts in a workbook; it has some ten, and one for each picture.
pub const PARTS_MAX: usize = 10_000;
/// The most XML elements in a workbook: a full list has two a cell. The most delimiters in a CSV file.
pub const ELEMENTS_MAX: usize = 2 * CELLS_MAX;
/// The most merged regions, styles and names in a workbook: one for each row.
pub const FEW_MAX: usize = ROWS_MAX;
/// The last row that there is in a workbook.
const ROWS_OF_EXCEL: u32 = 1 << 20;
/// The last column.
const COLUMNS_OF_EXCEL: u32 = 1 << 14;
/// How much of a text that is wrong is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// What a row says that cannot be used, for the person who keeps the spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The row, as the spreadsheet numbers it.
    pub row: usize,
    /// The column's header.
    pub column: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        if !self.column.is_empty() {
            write!(f, ", {}", self.column)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.way_out.is_empty() {
            write!(f, "; {}", self.way_out)?;
        }
        Ok(())
    }
}

/// The file as a whole cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What the person who imports has to say where a spreadsheet does not.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The sheet's name; the first visible one otherwise.
    pub sheet: Option<String>,
    /// The encoding of a CSV file; found out otherwise.
    pub encoding: Option<Encoding>,
    /// Headers that the person names, and what they are.
    pub columns: Vec<(String, Field)>,
    /// How many hours a deadline's bare number counts, where its header does not say.
    pub deadline_hours: Option<u32>,
    /// How many digits codes have that a spreadsheet keeps as numbers, which have no leading zeros.
    pub code_digits: Option<usize>,
    /// An earlier import of the list: codes that it gave stay.
    pub earlier: Option<Earlier>,
}

/// A list, understood.
#[derive(Debug)]
pub struct Imported {
    /// The sheet's name and where it came from: for the report.
    pub source: String,
    /// What the columns are.
    pub header: Header,
    /// The groups, parents first.
    pub groups: Vec<codes::Group>,
    /// The usable rows.
    pub matters: Vec<Entry>,
    /// What the earlier list had, and this one does not: its codes are not given again.
    pub retired: Vec<earlier::Old>,
    /// All departments: those that were there, and those that were new.
    pub departments: Departments,
    /// What could not be used, by row.
    pub problems: Vec<Problem>,
    /// How many rows are not usable.
    pub bad_rows: usize,
    /// What was taken otherwise than it stands there, or probably not meant.
    pub notes: Vec<String>,
}

/// Reads a list.
///
/// # Errors
/// When the file cannot be read at all, or has no header that names matters and departments.
pub fn import(bytes: &[u8], departments: Departments, options: &Options) -> Result<Imported, Unreadable> {
    let sheet = sheet::read(bytes, options)?;
    let header = Header::find(&sheet, options)?;
    let mut departments = departments;
    let mut read = rows::read(&sheet, &header, &mut departments, options);
    let (groups, code_notes) = codes::assign(&mut read, options.earlier.as_ref());
    let retired = options.earlier.as_ref().map(|earlier| codes::retired(earlier, &read, &groups));
    read.problems.sort_by_key(|problem| problem.row);
    let mut bad: Vec<usize> = read.problems.iter().map(|problem| problem.row).collect();
    bad.dedup();
    let mut notes = read.notes;
    notes.extend(code_notes);
    departments.keep_used(read.matters.iter().map(|entry| entry.department.as_str()));
    Ok(Imported {
        source: sheet.source,
        header,
        groups,
        matters: read.matters,
        retired: retired.unwrap_or_default(),
        departments,
        problems: read.problems,
        bad_rows: bad.len(),
        notes,
    })
}

/// A text as it is meant: full-width letters, digits and signs become half-width ones, runs of blanks one blank.
#[must_use]
pub fn half_width(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{ff01}'..='\u{ff5e}' => shown.extend(char::from_u32(c as u32 - 0xfee0)),
            '\u{3000}' | '\u{a0}' | '\u{feff}' | '\u{200b}' => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

/// A text for a single line: only digits and letters become half-width, as Chinese punctuation is right in a name.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split(|c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{feff}' | '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }) {
        if word.is_empty() {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.extend(word.chars().map(half_width_letter));
    }
    shown
}

/// What is said of a text with [`has_hidden`] characters.
const HIDDEN: &str = "a text has control characters, which terminals would obey; remove them";

/// Whether a text of a pack's file has characters that a pack does not take in a name.
fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

fn half_width_letter(c: char) -> char {
    match c {
        '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => {
            char::from_u32(c as u32 - 0xfee0).unwrap_or(c)
        }
        c => c,
    }
}

/// A text in an error: on one line, and no longer than one can read.
#[must_use]
pub fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => one_line(&text[..end]) + "…",
        None => one_line(text),
    }
}

/// A text that may have several lines; what would move a terminal's cursor is taken out.
#[must_use]
pub fn many_lines(text: &str) -> String {
    text.lines().map(one_line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
