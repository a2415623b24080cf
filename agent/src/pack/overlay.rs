//! An upper level's list over a district's: the city adds its codes to the district's matters, and matters of its own, and
//! cuts nothing. What the district settled stands; where the upper level says otherwise both places are named, and nothing
//! is built until the two offices agree.
//!
//! An overlay is named in the district's `pack.toml` (`overlays`), or where the pack is built. It is a folder with a
//! `catalogue.csv`, and a `departments.csv` if it brings departments. A row with a code that the district's list has need
//! only have `kind`, `code` and what it adds: `code:SYSTEM` columns, and fields that the district left empty. A row with
//! another code is a whole one.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::container::PackFiles;
use super::fold::fold;
use crate::files;

/// The files that an overlay may have, and the column that identifies a row.
const FILES: [(&str, &str); 2] = [("departments.csv", "id"), ("catalogue.csv", "code")];
/// How many conflicts are shown.
const SHOWN_MAX: usize = 100;
/// The most bytes of an overlay's file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why an overlay does not fit.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A file cannot be read.
    #[error("{path}: {what}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Both say something, and not the same.
    #[error("the overlay and the district's pack do not agree, and nothing was built:{}", List(.0))]
    Conflicts(Vec<Conflict>),
}

/// One thing on which the two do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where the district says it.
    pub district: String,
    /// Where the overlay says otherwise.
    pub overlay: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}: {}", self.district, self.overlay, self.what)
    }
}

struct List<'l>(&'l [Conflict]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for conflict in self.0.iter().take(SHOWN_MAX) {
            write!(f, "\n  {conflict}")?;
        }
        if self.0.len() > SHOWN_MAX {
            write!(f, "\n  and {} more", self.0.len() - SHOWN_MAX)?;
        }
        f.write_str("\nwhere both are to stay as they are, take the field out of the overlay; else let the offices agree on one")?;
        Ok(())
    }
}

/// What was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Rows that the district does not have.
    pub rows: usize,
    /// Fields that it left empty.
    pub fields: usize,
}

/// Where the rows that an overlay added are: the district's file and line, the overlay's file and line.
pub type Places = HashMap<(&'static str, u64), (String, u64)>;

/// A table with where its rows are.
struct Table {
    name: String,
    header: Vec<String>,
    rows: Vec<(u64, Vec<String>)>,
}

impl Table {
    fn read(name: String, text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut header = Vec::new();
        let mut rows = Vec::new();
        // Counted here: the reader's own lines are one short after Windows line ends.
        let (mut at, mut line) = (0, 1);
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let mut begins = record.position().map_or(0, |position| position.byte() as usize).min(text.len());
            while text.as_bytes().get(begins).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                begins += 1;
            }
            line += text.as_bytes()[at..begins].iter().filter(|byte| **byte == b'\n').count() as u64;
            at = begins;
            let cells: Vec<String> = record.iter().map(str::to_owned).collect();
            if header.is_empty() {
                header = cells;
            } else if cells.iter().any(|cell| !cell.is_empty()) {
                if cells.len() != header.len() {
                    return Err(format!(
                        "line {line}: the row has {} fields, and the header {}",
                        cells.len(),
                        header.len()
                    ));
                }
                rows.push((line, cells));
            }
        }
        if header.is_empty() {
            return Err("the file is empty; begin it with the line kind,code,code:SYSTEM".to_owned());
        }
        if let Some(twice) = (1..header.len()).find(|at| header[..*at].contains(&header[*at])) {
            return Err(format!("line 1: the column {} is there twice; remove one", header[twice]));
        }
        Ok(Self { name, header, rows })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|have| have == name)
    }

    /// The column's place, which is added if there is none.
    fn column_or_new(&mut self, name: &str) -> usize {
        self.column(name).unwrap_or_else(|| {
            self.header.push(name.to_owned());
            for (_, row) in &mut self.rows {
                row.push(String::new());
            }
            self.header.len() - 1
        })
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.name)
    }

    fn write(&self) -> Result<String, csv::Error> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(&self.header)?;
        for (_, row) in &self.rows {
            writer.write_record(row)?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        // Made of strings.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Puts the overlay in this folder over a district's files.
///
/// # Errors
/// When a file cannot be read, or the two do not agree.
pub fn apply(
    district: &mut PackFiles,
    district_name: &Path,
    folder: &Path,
) -> Result<(Added, Places), OverlayError> {
    let mut added = Added::default();
    let mut places = Places::new();
    let mut conflicts = Vec::new();
    for (name, key) in FILES {
        let path = folder.join(name);
        if name == "departments.csv" && !path.exists() {
            continue;
        }
        let wrong = |path: &Path, what: String| OverlayError::File { path: path.to_owned(), what };
        let text = read(&path).map_err(|what| wrong(&path, what))?;
        let over = Table::read(path.display().to_string(), &text).map_err(|what| wrong(&path, what))?;
        let own_path = district_name.join(name);
        let own_text = district.get(name).unwrap_or_default();
        let own = Table::read(own_path.display().to_string(), own_text);
        let mut own = own.map_err(|what| wrong(&own_path, what))?;
        let before = own.rows.len();
        merge(&mut own, &over, key, &mut added, &mut conflicts).map_err(|what| wrong(&path, what))?;
        let mut line = 1;
        for (index, (of_overlay, cells)) in own.rows.iter().enumerate() {
            line += 1;
            if index >= before {
                places.insert((name, line), (over.name.clone(), *of_overlay));
            }
            line += cells.iter().map(|cell| cell.matches('\n').count() as u64).sum::<u64>();
        }
        let merged = own.write().map_err(|error| wrong(&own_path, error.to_string()))?;
        district.set(name, merged);
    }
    if conflicts.is_empty() { Ok((added, places)) } else { Err(OverlayError::Conflicts(conflicts)) }
}

fn read(path: &Path) -> Result<String, String> {
    let way_out = "an upper level's list is a folder with a catalogue.csv: correct it in `overlays` of pack.toml, or in --overlay";
    files::text(path, FILE_BYTES_MAX).map_err(|error| format!("cannot be read: {error}; {way_out}"))
}

fn merge(
    own: &mut Table,
    over: &Table,
    key: &str,
    added: &mut Added,
    conflicts: &mut Vec<Conflict>,
) -> Result<(), String> {
    let over_key = over.column(key).ok_or_else(|| format!("line 1: the column {key} is missing"))?;
    let own_key = own.column_or_new(key);
    let columns: Vec<usize> = over.header.iter().map(|name| own.column_or_new(name)).collect();
    let mut index: HashMap<String, usize> = HashMap::new();
    for (at, (_, row)) in own.rows.iter().enumerate() {
        index.insert(fold(&row[own_key]), at);
    }
    let mut seen: HashMap<String, u64> = HashMap::new();
    for (line, row) in &over.rows {
        let code = &row[over_key];
        if code.is_empty() {
            return Err(format!("line {line}: {key}: the field is empty; fill it in"));
        }
        if let Some(first) = seen.insert(fold(code), *line) {
            return Err(format!(
                "line {line}: {key}: `{code}` is on line {first} already; put the two into one row"
            ));
        }
        let Some(&at) = index.get(&fold(code)) else {
            let mut whole = vec![String::new(); own.header.len()];
            for (cell, column) in row.iter().zip(&columns) {
                whole[*column].clone_from(cell);
            }
            index.insert(fold(code), own.rows.len());
            own.rows.push((*line, whole));
            added.rows += 1;
            continue;
        };
        let (own_line, own_row) = (own.rows[at].0, at);
        for (cell, (column, name)) in row.iter().zip(columns.iter().zip(&over.header)) {
            let has = &mut own.rows[own_row].1[*column];
            if cell.is_empty() || has == cell {
                continue;
            }
            if has.is_empty() {
                has.clone_from(cell);
                added.fields += 1;
                continue;
            }
            let what = format!("{key} {code}, {name}: the district says {has:?}, the overlay {cell:?}");
            conflicts.push(Conflict { district: own.place(own_line), overlay: over.place(*line), what });
        }
    }
    Ok(())
}
