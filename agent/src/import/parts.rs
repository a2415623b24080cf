//! A workbook's parts, looked over once before `calamine` reads them: what it believes without a check is checked here.
//!
//! It subtracts the corners of a region from each other, makes room for as many shared texts as a file says it has, and
//! takes a text's number that is none for 0. So every part is unpacked to nowhere, counted, and read as XML by the reader
//! that `calamine` uses, with the same settings: what that reader stops at, `calamine` stops at too.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read, copy, sink};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{
    COLUMNS_OF_EXCEL, ELEMENTS_MAX, FEW_MAX, INFLATED_BYTES_MAX, PARTS_MAX, ROWS_OF_EXCEL, Unreadable, short,
};

/// Elements of which a workbook has few, and of each of which memory is taken that is never given back.
const FEW: [&str; 10] =
    ["xf", "font", "fill", "border", "numFmt", "dxf", "sheet", "definedName", "Relationship", "mergeCell"];

/// Looks over all parts.
pub(super) fn check(bytes: &[u8]) -> Result<(), Unreadable> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > PARTS_MAX {
        return Err(Unreadable(format!(
            "holds more than {PARTS_MAX} parts, which no workbook does; copy the list into a new workbook"
        )));
    }
    let mut left = INFLATED_BYTES_MAX;
    let mut found = Found::default();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(broken)?;
        let part = file.name().map_or_else(|_| format!("part {}", index + 1), Cow::into_owned);
        // What the archive says about sizes is not to be believed.
        let mut unpacked = BufReader::new(file.take(left + 1));
        let scanned = Scan {
            part: &part,
            found: &mut found,
            cell: String::new(),
            index: Index::None,
            value: Value::None,
            texts: 0,
        }
        .all(&mut unpacked);
        copy(&mut unpacked, &mut sink()).map_err(broken)?;
        // Before what was found: a part that is cut off here is broken for that reason alone.
        let read = left + 1 - unpacked.into_inner().limit();
        left = left.checked_sub(read).ok_or_else(|| {
            let what = "unpacks to more than 512 MiB, which no list does; copy the list into a new workbook";
            Unreadable(what.to_owned())
        })?;
        scanned?;
    }
    match found.highest {
        Some((number, place)) if number >= found.texts => Err(Unreadable(format!(
            "{place}: names the shared text {number}, and there are {}; {AGAIN}",
            found.texts
        ))),
        _ => Ok(()),
    }
}

const AGAIN: &str = "open it in the program that made it and save it again as .xlsx";

fn broken(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(format!("cannot be read as a workbook: {error}; save it again as .xlsx"))
}

/// What was found in all parts.
#[derive(Default)]
struct Found {
    elements: usize,
    few: usize,
    /// How many shared texts there are.
    texts: u64,
    /// The highest number of a shared text that a cell names, and where.
    highest: Option<(u64, String)>,
}

/// Whether what comes next is the number of a shared text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    None,
    /// In a cell that has one.
    InCell,
    /// It comes next.
    Next,
}

/// What is known of the value of a cell. A program that does not calculate writes formulas without: to a reader such a cell
/// is empty, and an empty one takes a level from above, or gets a code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// No number is expected.
    None,
    /// It is a number or nothing.
    OfNumber,
    /// It is to come of a formula.
    OfFormula,
    /// The formula's comes next.
    Next,
}

/// The longest piece of a part, in bytes: a text, or an element with its attributes. It is held in memory as a whole; that of a cell
/// has at most 32,767 characters.
const PIECE_BYTES_MAX: usize = 16 << 20;

/// A part, of which no piece is longer than that.
struct InPieces<R> {
    part: R,
    left: usize,
}

impl<R: BufRead> Read for InPieces<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let count = have.len().min(into.len());
        into[..count].copy_from_slice(&have[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for InPieces<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let have = self.part.fill_buf()?;
        Ok(&have[..have.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.left -= count;
        self.part.consume(count);
    }
}

struct Scan<'s> {
    part: &'s str,
    found: &'s mut Found,
    /// The last cell's reference.
    cell: String,
    index: Index,
    value: Value,
    texts: u64,
}

impl Scan<'_> {
    fn all(mut self, part: impl BufRead) -> Result<(), Unreadable> {
        let mut xml = Reader::from_reader(InPieces { part, left: PIECE_BYTES_MAX });
        let config = xml.config_mut();
        config.check_end_names = false;
        config.expand_empty_elements = true;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            xml.get_mut().left = PIECE_BYTES_MAX;
            match xml.read_event_into(&mut buffer) {
                Ok(Event::Start(element)) => self.element(&element)?,
                Ok(Event::End(element))
                    if self.value != Value::None && element.local_name().as_ref() == "c" =>
                {
                    self.calculated()?;
                }
                Ok(Event::Text(_)) if self.value == Value::Next => self.value = Value::None,
                Ok(Event::Text(text)) if self.index == Index::Next => {
                    self.number(&text)?;
                    self.index = Index::InCell;
                }
                Err(_) if xml.get_ref().left == 0 => {
                    return Err(self.wrong(
                        "has a text that is longer than any list; copy the list's texts into a new workbook",
                    ));
                }
                // No XML, such as a picture; or broken, which is said when it is read as part of the list.
                Ok(Event::Eof) | Err(_) => break,
                Ok(_) if self.index == Index::Next => self.index = Index::InCell,
                Ok(_) => {}
            }
        }
        self.found.texts = self.found.texts.max(self.texts);
        Ok(())
    }

    fn element(&mut self, element: &BytesStart<'_>) -> Result<(), Unreadable> {
        let name = element.local_name();
        let name: &str = name.as_ref();
        self.found.elements += 1;
        self.found.few += usize::from(FEW.contains(&name));
        if self.found.elements > ELEMENTS_MAX || self.found.few > FEW_MAX {
            return Err(self.wrong(
                "has more cells, styles or merged regions than any list; copy the list's texts into a new workbook",
            ));
        }
        match name {
            "si" => self.texts += 1,
            "v" if self.index != Index::None => self.index = Index::Next,
            "v" if self.value == Value::OfFormula => self.value = Value::Next,
            "f" if self.value == Value::OfNumber => self.value = Value::OfFormula,
            "sst" => self.attributes(element, |scan, key, value| match key {
                "uniqueCount" => scan.count(value),
                _ => Ok(()),
            })?,
            "dimension" | "mergeCell" => self.attributes(element, |scan, key, value| match key {
                "ref" if !is_region(value) => {
                    Err(scan.wrong(format!("the region `{}` is none; {AGAIN}", short(value))))
                }
                _ => Ok(()),
            })?,
            "row" => self.attributes(element, |scan, key, value| match key {
                "r" if !is_row(value) => {
                    Err(scan.wrong(format!("there is no row `{}`; {AGAIN}", short(value))))
                }
                _ => Ok(()),
            })?,
            "c" => {
                self.cell.clear();
                self.index = Index::None;
                self.value = Value::OfNumber;
                self.attributes(element, |scan, key, value| {
                    match key {
                        "r" if corner(value).is_none() => {
                            return Err(scan.wrong(format!("there is no cell `{}`; {AGAIN}", short(value))));
                        }
                        "r" => value.clone_into(&mut scan.cell),
                        "t" if value == "s" => (scan.index, scan.value) = (Index::InCell, Value::None),
                        // A formula's text may be empty.
                        "t" if value != "n" => scan.value = Value::None,
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// At a cell's end: whether the value of its formula is there.
    fn calculated(&mut self) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.value, Value::None) {
            Value::OfFormula | Value::Next => Err(self.wrong(
                "is a formula whose value is not in the file; open it in a spreadsheet program, which calculates it, and save it again",
            )),
            Value::None | Value::OfNumber => Ok(()),
        }
    }

    fn attributes(
        &mut self,
        element: &BytesStart<'_>,
        mut each: impl FnMut(&mut Self, &str, &str) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for attribute in element.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.wrong(format!("is broken: {error}; {AGAIN}")))?;
            each(self, attribute.key.as_ref(), &attribute.value)?;
        }
        Ok(())
    }

    /// How many shared texts the file says that there are: room is made for them.
    fn count(&self, value: &str) -> Result<(), Unreadable> {
        match value.parse::<usize>() {
            Ok(count) if count > ELEMENTS_MAX => {
                Err(self.wrong(format!("says that it holds {count} texts, which no list does; {AGAIN}")))
            }
            Ok(_) => Ok(()),
            // No number that `calamine` could take for one.
            Err(_) => Err(self.wrong(format!("the count `{}` is none; {AGAIN}", short(value)))),
        }
    }

    fn number(&mut self, text: &str) -> Result<(), Unreadable> {
        if text.is_empty() {
            return Ok(());
        }
        let number = text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = number else {
            let what = format!("names the shared text `{}`, which is no number; {AGAIN}", short(text));
            return Err(self.wrong(what));
        };
        if self.found.highest.as_ref().is_none_or(|(highest, _)| *highest < number) {
            self.found.highest = Some((number, self.place()));
        }
        Ok(())
    }

    fn place(&self) -> String {
        match self.cell.as_str() {
            "" => short(self.part),
            cell => format!("{}, cell {cell}", short(self.part)),
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Unreadable {
        Unreadable(format!("{}: {what}", self.place()))
    }
}

/// The row and column of a reference such as `B12`, from 1.
fn corner(text: &str) -> Option<(u32, u32)> {
    let digits = text.find(|c: char| c.is_ascii_digit())?;
    let (letters, row) = text.split_at(digits);
    let column = match letters.len() {
        1..=3 => letters.bytes().try_fold(0, |column, letter| match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => Some(column * 26 + u32::from(letter - b'A') + 1),
            _ => None,
        })?,
        _ => return None,
    };
    let row = row.parse().ok().filter(|_| is_row(row))?;
    (column <= COLUMNS_OF_EXCEL).then_some((row, column))
}

fn is_row(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u32>().is_ok_and(|row| (1..=ROWS_OF_EXCEL).contains(&row))
}

/// Whether it is a cell, or two of which the second is not before the first.
fn is_region(text: &str) -> bool {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (corner(first), corner(last)) {
        (Some(first), Some(last)) => first.0 <= last.0 && first.1 <= last.1,
        _ => false,
    }
}
