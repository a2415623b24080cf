//! XLSX, by `calamine`, cell by cell: what counts is what is there, not how large the sheet says to be.

use std::io::{Cursor, Read, copy, sink};

use calamine::{DataRef, Reader, SheetVisible, Xlsx};

use super::sheet::{Cell, Row, Sheet, check_columns};
use super::{INFLATED_BYTES_MAX, Options, Unreadable, one_line};

pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Sheet, Unreadable> {
    check_size(bytes)?;
    let broken = |error: calamine::XlsxError| {
        Unreadable(format!("cannot be read as a workbook: {error}; open it and save it again as .xlsx"))
    };
    let mut book = Xlsx::new(Cursor::new(bytes)).map_err(broken)?;
    let name = choose(&book, options)?;
    let merged = book.merge_cells_by_sheet_name(&name).map_err(broken)?;
    let mut reader = book.worksheet_cells_reader(&name).map_err(broken)?;
    let mut sheet = Sheet { source: format!("sheet `{}`", one_line(&name)), rows: Vec::new() };
    let mut row = Row::default();
    while let Some(cell) = reader.next_cell().map_err(broken)? {
        let (at, column) = cell.get_position();
        let number = at as usize + 1;
        let cell = text(cell.get_value());
        if cell.text.is_empty() {
            continue;
        }
        check_columns(number, column as usize + 1)?;
        if number != row.number {
            if number < row.number {
                return Err(Unreadable(format!(
                    "row {number}: comes after row {}; save it again",
                    row.number
                )));
            }
            sheet.push(std::mem::replace(&mut row, Row { number, cells: Vec::new() }))?;
        }
        row.set(column as usize, cell);
    }
    sheet.push(row)?;
    for region in merged {
        fill(&mut sheet, region.start, region.end);
    }
    Ok(sheet)
}

/// A merged cell says the same in all its rows; beside its first column it says nothing.
fn fill(sheet: &mut Sheet, start: (u32, u32), end: (u32, u32)) {
    let (first, last, column) = (start.0 as usize + 1, end.0 as usize + 1, start.1 as usize);
    let from = sheet.rows.partition_point(|row| row.number < first);
    let Some(cell) = sheet.rows.get(from).filter(|row| row.number == first) else { return };
    let Some(cell) = cell.cells.get(column).cloned() else { return };
    for row in sheet.rows[from..].iter_mut().skip(1).take_while(|row| row.number <= last) {
        row.set(column, cell.clone());
    }
}

/// Unpacks all of it once to nowhere, and counts: what the archive says about sizes is not to be believed.
fn check_size(bytes: &[u8]) -> Result<(), Unreadable> {
    let broken =
        |what: String| Unreadable(format!("cannot be read as a workbook: {what}; save it again as .xlsx"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(error.to_string()))?;
    let mut left = INFLATED_BYTES_MAX;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
        let read = copy(&mut file.take(left + 1), &mut sink()).map_err(|error| broken(error.to_string()))?;
        left = left.checked_sub(read).ok_or_else(|| {
            let what = "unpacks to more than 512 MiB, which no list does; copy the list into a new workbook";
            Unreadable(what.to_owned())
        })?;
    }
    Ok(())
}

fn choose(book: &Xlsx<Cursor<&[u8]>>, options: &Options) -> Result<String, Unreadable> {
    let sheets = book.sheets_metadata();
    let names = || sheets.iter().map(|sheet| one_line(&sheet.name)).collect::<Vec<_>>().join(", ");
    match &options.sheet {
        Some(name) => sheets
            .iter()
            .find(|sheet| sheet.name == *name)
            .map(|sheet| sheet.name.clone())
            .ok_or_else(|| Unreadable(format!("has no sheet `{name}`; its sheets are {}", names()))),
        None => sheets
            .iter()
            .find(|sheet| sheet.visible == SheetVisible::Visible)
            .map(|sheet| sheet.name.clone())
            .ok_or_else(|| Unreadable("has no visible sheet; name one with --sheet".to_owned())),
    }
}

fn text(value: &DataRef<'_>) -> Cell {
    let plain = |text: String| Cell { text, ..Cell::default() };
    match value {
        DataRef::Int(number) => Cell { text: number.to_string(), is_number: true, is_error: false },
        // `Display` writes whole numbers without a point, and all others as short as they are exact.
        DataRef::Float(number) => Cell { text: number.to_string(), is_number: true, is_error: false },
        DataRef::Error(error) => Cell { text: error.to_string(), is_number: false, is_error: true },
        DataRef::Empty => Cell::default(),
        DataRef::String(text) => plain(text.trim().to_owned()),
        DataRef::SharedString(text) => plain(text.trim().to_owned()),
        // A truth value or a date: as the spreadsheet's own export would write it.
        other => plain(calamine::Data::from(other.clone()).to_string()),
    }
}
