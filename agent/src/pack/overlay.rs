//! An upper level's list over a district's: the city adds its codes to the district's matters, and matters of its own, and
//! cuts nothing. What the district settled stands; where the upper level says otherwise both places are named, and nothing
//! is built until the two offices agree.
//!
//! An overlay is named in the district's `pack.toml` (`overlays`), or where the pack is built. It is a folder with a
//! `catalogue.csv`, and a `departments.csv` if it brings departments. A row with a code that the district's list has need
//! only have `kind`, `code` and what it adds: `code:SYSTEM` columns, and fields that the district left empty. A row with
//! another code is a whole one. A city's folder may have a `pack.toml` that names lists over its own ([`super::above`]).

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use gridpost_protocol::pack::{Lines, broken_quotation};

use super::container::PackFiles;
use super::fold::fold;
use crate::cli::print::without_controls;
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
    #[error("{path}: {}", without_controls(what), path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The lists over a list cannot be followed.
    #[error("{path}{what}", path = path.display())]
    Above {
        /// The `pack.toml` that names them.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
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
        write!(f, "{} and {}: {}", self.district, self.overlay, without_controls(&self.what))
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

/// A row, with where it is and where what was added to it is.
#[derive(Debug)]
struct Row {
    /// Which of the table's files, and the line.
    at: (usize, u64),
    cells: Vec<String>,
    /// The columns that an upper level filled in.
    filled: Vec<(usize, (usize, u64))>,
}

impl Row {
    fn place_of(&self, column: Option<usize>) -> (usize, u64) {
        self.filled.iter().find(|(filled, _)| Some(*filled) == column).map_or(self.at, |(_, at)| *at)
    }
}

/// A table, and the files that it was made of, the district's first.
#[derive(Debug)]
struct Table {
    files: Vec<String>,
    header: Vec<String>,
    /// Which file brought a column.
    brought_by: Vec<usize>,
    rows: Vec<Row>,
}

impl Table {
    fn read(name: String, text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(line) = broken_quotation(text) {
            return Err(format!(
                "line {line}: the quotation that begins here does not end where its cell ends; add the quotation mark that is missing, or take this one away"
            ));
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut header = Vec::new();
        let mut rows = Vec::new();
        let mut lines = Lines::new(text.as_bytes());
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let line = lines.of(&record);
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
                rows.push(Row { at: (0, line), cells, filled: Vec::new() });
            }
        }
        if header.is_empty() {
            return Err("the file is empty; begin it with the line kind,code,code:SYSTEM".to_owned());
        }
        if let Some(twice) = (1..header.len()).find(|at| header[..*at].contains(&header[*at])) {
            return Err(format!("line 1: the column {} is there twice; remove one", header[twice]));
        }
        let brought_by = vec![0; header.len()];
        Ok(Self { files: vec![name], header, brought_by, rows })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|have| have == name)
    }

    /// The column's place, which is added if there is none.
    fn column_or_new(&mut self, name: &str, file: usize) -> usize {
        self.column(name).unwrap_or_else(|| {
            self.header.push(name.to_owned());
            self.brought_by.push(file);
            for row in &mut self.rows {
                row.cells.push(String::new());
            }
            self.header.len() - 1
        })
    }

    fn name(&self, (file, line): (usize, u64)) -> String {
        format!("{}:{line}", self.files[file])
    }

    /// Which row begins on a line of what [`Self::write`] gives.
    fn written_at(&self, line: u64) -> Option<&Row> {
        let mut begins = 2;
        self.rows.iter().find(|row| {
            let here = begins == line;
            begins += 1 + row.cells.iter().map(|cell| cell.matches('\n').count() as u64).sum::<u64>();
            here
        })
    }

    fn write(&self) -> Result<String, csv::Error> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(&self.header)?;
        for row in &self.rows {
            writer.write_record(&row.cells)?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        // Made of strings.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Puts another table over this one.
    fn put_over(&mut self, over: &Table, key: &str) -> Result<(Added, Vec<Conflict>), String> {
        let over_key = over.column(key).ok_or_else(|| format!("line 1: the column {key} is missing"))?;
        let file = self.files.len();
        self.files.extend(over.files.iter().cloned());
        let own_key = self.column_or_new(key, file);
        let columns: Vec<usize> = over.header.iter().map(|name| self.column_or_new(name, file)).collect();
        let mut index: HashMap<String, usize> = HashMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            index.insert(fold(&row.cells[own_key]), at);
        }
        let (mut added, mut conflicts) = (Added::default(), Vec::new());
        let mut seen: HashMap<String, u64> = HashMap::new();
        for row in &over.rows {
            let (code, place) = (&row.cells[over_key], (file, row.at.1));
            if code.is_empty() {
                return Err(format!("line {}: {key}: the field is empty; fill it in", place.1));
            }
            if let Some(first) = seen.insert(fold(code), place.1) {
                return Err(format!(
                    "line {}: {key}: `{code}` is on line {first} already; put the two into one row",
                    place.1
                ));
            }
            let Some(&at) = index.get(&fold(code)) else {
                let mut cells = vec![String::new(); self.header.len()];
                for (cell, column) in row.cells.iter().zip(&columns) {
                    cells[*column].clone_from(cell);
                }
                index.insert(fold(code), self.rows.len());
                self.rows.push(Row { at: place, cells, filled: Vec::new() });
                added.rows += 1;
                continue;
            };
            for (cell, (column, name)) in row.cells.iter().zip(columns.iter().zip(&over.header)) {
                let has = &self.rows[at].cells[*column];
                if cell.is_empty() || has == cell {
                    continue;
                }
                if !has.is_empty() {
                    let lower = self.rows[at].place_of(Some(*column));
                    let who = if lower.0 == 0 { "the district" } else { "the lower list" };
                    let what = format!("{key} {code}, {name}: {who} says {has:?}, the overlay {cell:?}");
                    let (district, overlay) = (self.name(lower), self.name(place));
                    conflicts.push(Conflict { district, overlay, what });
                    continue;
                }
                let own = &mut self.rows[at];
                own.cells[*column].clone_from(cell);
                own.filled.push((*column, place));
                added.fields += 1;
            }
        }
        Ok((added, conflicts))
    }
}

/// A district's tables as far as something was put over them.
#[derive(Debug, Default)]
pub struct Layers {
    tables: Vec<(&'static str, Table)>,
}

impl Layers {
    /// Puts the overlay in this folder over a district's files.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not agree.
    pub fn put(
        &mut self,
        district: &mut PackFiles,
        district_folder: &Path,
        folder: &Path,
    ) -> Result<Added, OverlayError> {
        let mut sum = Added::default();
        let mut all = Vec::new();
        for (name, key) in FILES {
            let path = folder.join(name);
            if name == "departments.csv" && !path.exists() {
                continue;
            }
            let wrong = |path: &Path, what: String| OverlayError::File { path: path.to_owned(), what };
            let text = read(&path).map_err(|what| wrong(&path, what))?;
            let over = Table::read(path.display().to_string(), &text).map_err(|what| wrong(&path, what))?;
            let own_path = district_folder.join(name);
            if !self.tables.iter().any(|(have, _)| *have == name) {
                let own_text = district.get(name).unwrap_or_default();
                let own = Table::read(own_path.display().to_string(), own_text);
                self.tables.push((name, own.map_err(|what| wrong(&own_path, what))?));
            }
            let Some((_, own)) = self.tables.iter_mut().find(|(have, _)| *have == name) else { continue };
            let (added, conflicts) = own.put_over(&over, key).map_err(|what| wrong(&path, what))?;
            (sum.rows, sum.fields) = (sum.rows + added.rows, sum.fields + added.fields);
            all.extend(conflicts);
            let merged = own.write().map_err(|error| wrong(&own_path, error.to_string()))?;
            district.set(name, merged);
        }
        if all.is_empty() { Ok(sum) } else { Err(OverlayError::Conflicts(all)) }
    }

    /// Where a line of the files that came of it, or one field of that line, is for those who wrote it.
    #[must_use]
    pub fn place(&self, file: &str, line: u64, field: Option<&str>) -> Option<(String, u64)> {
        let (_, table) = self.tables.iter().find(|(name, _)| *name == file)?;
        let column = field.and_then(|field| table.column(field));
        let (file, line) = match line {
            1 => (column.map_or(0, |column| table.brought_by[column]), 1),
            line => table.written_at(line)?.place_of(column),
        };
        Some((table.files[file].clone(), line))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let way_out = "an upper level's list is a folder with a catalogue.csv: correct it in `overlays` of pack.toml, or in --overlay";
    files::text(path, FILE_BYTES_MAX).map_err(|error| format!("cannot be read: {error}; {way_out}"))
}
