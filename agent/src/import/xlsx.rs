//! XLSX, by `calamine`, cell by cell: what counts is what is there, not how large the sheet says to be.

use std::io::Cursor;

use calamine::{DataRef, Reader, SheetVisible, Xlsx};

use super::sheet::{Cell, Row, Sheet};
use super::{Options, Unreadable, one_line, parts, short};

pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Sheet, Unreadable> {
    parts::check(bytes)?;
    let broken = |error: calamine::XlsxError| {
        Unreadable(format!("cannot be read as a workbook: {error}; open it and save it again as .xlsx"))
    };
    let mut book = Xlsx::new(Cursor::new(bytes)).map_err(broken)?;
    let name = choose(&book, options)?;
    let others = others(&book, &name);
    let merged = book.merge_cells_by_sheet_name(&name).map_err(broken)?;
    let mut reader = book.worksheet_cells_reader(&name).map_err(broken)?;
    let mut sheet = Sheet::of(format!("sheet `{}`", one_line(&name)));
    sheet.others = others;
    let mut row = Row::default();
    while let Some(cell) = reader.next_cell().map_err(broken)? {
        let (at, column) = cell.get_position();
        let number = at as usize + 1;
        let value = cell.get_value();
        if is_empty(value) {
            continue;
        }
        if number != row.number {
            if number < row.number {
                return Err(Unreadable(format!(
                    "row {number}: comes after row {}; save it again",
                    row.number
                )));
            }
            sheet.push(std::mem::replace(&mut row, Row { number, cells: Vec::new() }))?;
        }
        sheet.take(number, row.cells.len(), column as usize, told(value))?;
        row.set(column as usize, text(value));
    }
    sheet.push(row)?;
    for region in merged {
        fill(&mut sheet, region.start, region.end)?;
    }
    Ok(sheet)
}

/// A merged cell says the same in all its rows; beside its first column it says nothing.
fn fill(sheet: &mut Sheet, start: (u32, u32), end: (u32, u32)) -> Result<(), Unreadable> {
    let (first, last, column) = (start.0 as usize + 1, end.0 as usize + 1, start.1 as usize);
    let from = sheet.rows.partition_point(|row| row.number < first);
    let Some(cell) = sheet.rows.get(from).filter(|row| row.number == first) else { return Ok(()) };
    let Some(cell) = cell.cells.get(column).filter(|cell| !cell.text.is_empty()).cloned() else {
        return Ok(());
    };
    for index in from + 1..sheet.rows.len() {
        let (number, cells) = (sheet.rows[index].number, sheet.rows[index].cells.len());
        if number > last {
            break;
        }
        sheet.take(number, cells, column, &cell.text)?;
        sheet.rows[index].set(column, cell.clone());
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

/// The other sheets that a person sees.
fn others(book: &Xlsx<Cursor<&[u8]>>, name: &str) -> Vec<String> {
    let sheets = book.sheets_metadata().iter();
    sheets
        .filter(|sheet| sheet.name != name && sheet.visible == SheetVisible::Visible)
        .map(|sheet| short(&sheet.name))
        .collect()
}

fn is_empty(value: &DataRef<'_>) -> bool {
    matches!(value, DataRef::Empty)
        || matches!(value, DataRef::String(_) | DataRef::SharedString(_)) && told(value).is_empty()
}

/// The text that a cell says; numbers and dates are short.
fn told<'v>(value: &'v DataRef<'_>) -> &'v str {
    match value {
        DataRef::String(text) => text.trim(),
        DataRef::SharedString(text) => text.trim(),
        _ => "",
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
        DataRef::String(_) | DataRef::SharedString(_) => plain(told(value).to_owned()),
        // A truth value or a date: as the spreadsheet's own export would write it.
        other => plain(calamine::Data::from(other.clone()).to_string()),
    }
}
