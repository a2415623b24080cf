//! CSV with commas, semicolons or tabs.

use gridpost_protocol::pack::Lines;

use super::encoding::decode;
use super::sheet::{Cell, Row, Sheet};
use super::{ELEMENTS_MAX, Options, Unreadable};

pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Sheet, Unreadable> {
    let (text, encoding) = decode(bytes, options.encoding)?;
    let delimiter = delimiter(&text);
    cells(&text, delimiter)?;
    quotations(&text, delimiter)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let by = match delimiter {
        b';' => ", semicolons",
        b'\t' => ", tabs",
        _ => "",
    };
    let mut sheet = Sheet::of(format!("CSV in {encoding}{by}"));
    let mut record = csv::StringRecord::new();
    let mut lines = Lines::new(text.as_bytes());
    while reader.read_record(&mut record).map_err(|error| Unreadable(error.to_string()))? {
        let number = usize::try_from(lines.of(&record)).unwrap_or(usize::MAX);
        let mut row = Row { number, cells: Vec::new() };
        for (column, text) in record.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            sheet.take(number, row.cells.len(), column, text)?;
            row.set(column, Cell { text: text.to_owned(), ..Cell::default() });
        }
        sheet.push(row)?;
    }
    Ok(sheet)
}

/// The one of the usual delimiters that the first lines have most of.
fn delimiter(text: &str) -> u8 {
    let head: Vec<&str> = text.lines().take(20).collect();
    let count = |delimiter: char| head.iter().map(|line| line.matches(delimiter).count()).sum::<usize>();
    let (mut best, mut most) = (b',', count(','));
    for (byte, found) in [(b'\t', count('\t')), (b';', count(';'))] {
        if found > most {
            (best, most) = (byte, found);
        }
    }
    best
}

/// Refuses a file of more cells than any list's before it is split into them: each costs as much as a hundred bytes of text.
fn cells(text: &str, delimiter: u8) -> Result<(), Unreadable> {
    let mut found = 0;
    for (index, line) in text.lines().enumerate() {
        found += line.bytes().filter(|byte| *byte == delimiter).count();
        if found > ELEMENTS_MAX {
            return Err(Unreadable(format!(
                "line {}: up to here there are more than {ELEMENTS_MAX} cells, empty ones among them; clear the columns \
                 that are not needed, or split the list",
                index + 1
            )));
        }
    }
    Ok(())
}

/// Finds a quotation that does not end, or over some lines ends in the middle of a text: of two cells with quotation marks
/// one lost its own, and all between is taken for a single text.
fn quotations(text: &str, delimiter: u8) -> Result<(), Unreadable> {
    let way_out = "add the quotation mark that is missing, or take this one away";
    let bytes = text.as_bytes();
    let (mut line, mut at, mut begins) = (1, 0, true);
    while let Some(byte) = bytes.get(at) {
        if *byte != b'"' || !begins {
            line += usize::from(*byte == b'\n');
            begins = *byte == delimiter || matches!(byte, b'\n' | b'\r');
            at += 1;
            continue;
        }
        let first = line;
        at += 1;
        loop {
            match (bytes.get(at), bytes.get(at + 1)) {
                (None, _) => {
                    return Err(Unreadable(format!(
                        "line {first}: the quotation that begins here does not end; {way_out}"
                    )));
                }
                (Some(b'"'), Some(b'"')) => at += 2,
                (Some(b'"'), _) => break,
                (Some(byte), _) => {
                    line += usize::from(*byte == b'\n');
                    at += 1;
                }
            }
        }
        at += 1;
        let rest = bytes[at..].iter().find(|byte| !matches!(byte, b' ' | b'\t') || **byte == delimiter);
        if line > first && rest.is_some_and(|byte| *byte != delimiter && !matches!(byte, b'\n' | b'\r')) {
            return Err(Unreadable(format!(
                "line {first}: the quotation that begins here ends in line {line} in the middle of a text; {way_out}"
            )));
        }
        begins = false;
    }
    Ok(())
}
