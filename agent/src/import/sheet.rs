//! A spreadsheet as rows of texts, wherever it comes from.

use super::{
    CELL_CHARS_MAX, CELLS_MAX, COLUMNS_MAX, Options, ROWS_MAX, TEXT_BYTES_MAX, Unreadable, table, xlsx,
};

/// How a CSV file's text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// UTF-8
    Utf8,
    /// GB18030, and GBK and GB2312, which are parts of it
    Gb18030,
}

/// One row that has anything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its number, as the spreadsheet counts (from 1).
    pub number: usize,
    /// Its cells from the first column on, without blanks around them.
    pub cells: Vec<Cell>,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// Whether the spreadsheet keeps it as a number, so that leading zeros are gone.
    pub is_number: bool,
    /// Whether it is a formula's error, such as `#REF!`.
    pub is_error: bool,
}

impl Row {
    /// A cell's text; empty where there is none.
    #[must_use]
    pub fn text(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", |cell| cell.text.as_str())
    }

    /// Puts a cell at its place.
    pub(super) fn set(&mut self, column: usize, cell: Cell) {
        if self.cells.len() <= column {
            self.cells.resize(column + 1, Cell::default());
        }
        self.cells[column] = cell;
    }
}

/// A sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// What it is, for a person: its name, or the encoding.
    pub source: String,
    /// The workbook's other sheets that are to be seen.
    pub others: Vec<String>,
    /// Its rows that are not empty, in order.
    pub rows: Vec<Row>,
    /// How many cells there are, with the empty ones between.
    cells: usize,
    /// How much text is in them.
    bytes: usize,
}

impl Sheet {
    pub(super) fn of(source: String) -> Self {
        Self { source, ..Self::default() }
    }

    /// Takes the room for a text in a row that has so many cells, before the text is copied to there.
    pub(super) fn take(
        &mut self,
        row: usize,
        cells: usize,
        column: usize,
        text: &str,
    ) -> Result<(), Unreadable> {
        check_columns(row, column + 1)?;
        // A character has four bytes at most: few texts have to be counted.
        if text.len() > CELL_CHARS_MAX && text.chars().count() > CELL_CHARS_MAX {
            return Err(Unreadable(format!(
                "row {row}, column {}: has a text of more than {CELL_CHARS_MAX} characters; shorten it, or clear the cell",
                letters(column)
            )));
        }
        self.cells += 1 + column.saturating_sub(cells);
        if self.cells > CELLS_MAX {
            return Err(Unreadable(format!(
                "row {row}: up to here there are more than {CELLS_MAX} cells, with merged and empty ones; \
                 clear columns that are not needed, or split the list"
            )));
        }
        self.bytes += text.len();
        if self.bytes > TEXT_BYTES_MAX {
            return Err(Unreadable(format!(
                "row {row}: up to here there are more than {} MiB of text, as often as cells repeat it; \
                 clear columns that are not needed, or split the list",
                TEXT_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// Takes a row, unless it is empty.
    pub(super) fn push(&mut self, row: Row) -> Result<(), Unreadable> {
        if row.cells.iter().all(|cell| cell.text.is_empty()) {
            return Ok(());
        }
        if self.rows.len() == ROWS_MAX {
            let what = format!("row {}: there are more than {ROWS_MAX} rows; split the list", row.number);
            return Err(Unreadable(what));
        }
        self.rows.push(row);
        Ok(())
    }
}

pub(super) fn check_columns(row: usize, columns: usize) -> Result<(), Unreadable> {
    if columns > COLUMNS_MAX {
        let what = format!("row {row}: there is something beyond column {COLUMNS_MAX}; clear those columns");
        return Err(Unreadable(what));
    }
    Ok(())
}

/// A column as a spreadsheet names it.
fn letters(column: usize) -> String {
    let (first, last) = (column / 26, (b'A' + (column % 26) as u8) as char);
    if first == 0 { last.to_string() } else { format!("{}{last}", letters(first - 1)) }
}

/// Reads a file by what it is, whatever its name.
pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Sheet, Unreadable> {
    if bytes.starts_with(b"PK") {
        return xlsx::read(bytes, options);
    }
    if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        let what =
            "is an Excel 97-2003 file (.xls), or an encrypted one; save it as .xlsx without a password";
        return Err(Unreadable(what.to_owned()));
    }
    // Systems of offices export web pages and print files under a workbook's name.
    for (sign, what) in [("%pdf-", "a PDF"), ("<!doctype", "a web page"), ("<html", "a web page")] {
        let head = bytes.trim_ascii_start();
        if head.get(..sign.len()).is_some_and(|head| head.eq_ignore_ascii_case(sign.as_bytes())) {
            return Err(Unreadable(format!(
                "is {what}, whatever its name says; open it in a spreadsheet program and save it as .xlsx, or ask for the list as one"
            )));
        }
    }
    if options.sheet.is_some() {
        return Err(Unreadable("is no workbook, so that it has no sheets; leave --sheet away".to_owned()));
    }
    table::read(bytes, options)
}
