//! CSV in UTF-8, UTF-16 or GB18030, with commas, semicolons or tabs.

use std::borrow::Cow;

use encoding_rs::{GB18030, UTF_8, UTF_16BE, UTF_16LE};

use super::sheet::{Cell, Encoding, Row, Sheet};
use super::{Options, Unreadable};

pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Sheet, Unreadable> {
    let (text, encoding) = decode(bytes, options.encoding)?;
    let delimiter = delimiter(&text);
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
    let mut sheet = Sheet { source: format!("CSV in {encoding}{by}"), rows: Vec::new() };
    let mut record = csv::StringRecord::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    while reader.read_record(&mut record).map_err(|error| Unreadable(error.to_string()))? {
        let number = lines.of(&record);
        let cells = record.iter().map(|text| Cell { text: text.to_owned(), ..Cell::default() }).collect();
        sheet.push(Row { number, cells })?;
    }
    Ok(sheet)
}

/// On which line of the file a record begins, as an editor shows it. The reader's own numbers are one short after `\r\n`.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, record: &csv::StringRecord) -> usize {
        let position = record.position().map_or(0, |position| position.byte() as usize);
        let mut begins = position.clamp(self.at, self.text.len());
        while self.text.get(begins).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            begins += 1;
        }
        self.line += self.text[self.at..begins].iter().filter(|byte| **byte == b'\n').count();
        self.at = begins;
        self.line
    }
}

fn decode(bytes: &[u8], told: Option<Encoding>) -> Result<(Cow<'_, str>, &'static str), Unreadable> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, wrong) = encoding.decode_without_bom_handling(&bytes[mark..]);
        if wrong {
            return Err(Unreadable(format!("begins as {} and is not; save it again", encoding.name())));
        }
        debug_assert!(encoding == UTF_8 || encoding == UTF_16LE || encoding == UTF_16BE);
        return Ok((text, encoding.name()));
    }
    let utf_8 = match std::str::from_utf8(bytes) {
        Ok(text) if told != Some(Encoding::Gb18030) => return Ok((Cow::Borrowed(text), "UTF-8")),
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    let line = bytes[..utf_8].iter().filter(|byte| **byte == b'\n').count() + 1;
    if told == Some(Encoding::Utf8) {
        let what =
            format!("line {line}: the text is not UTF-8; leave --encoding away, or save it as `CSV UTF-8`");
        return Err(Unreadable(what));
    }
    let text = GB18030
        .decode_without_bom_handling_and_without_replacement(bytes)
        // GB18030 has a character for every byte but these; a picture or a program has many.
        .filter(|text| !text.contains('\0'));
    match text {
        Some(text) => Ok((text, "GB18030")),
        None => {
            let what = format!(
                "line {line}: the text is neither UTF-8 nor GB18030; save it as `CSV UTF-8` or as .xlsx"
            );
            Err(Unreadable(what))
        }
    }
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
