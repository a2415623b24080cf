//! CSV as districts have it: out of a spreadsheet, with a byte order mark, with columns in any order.

use std::cell::RefCell;
use std::str::FromStr;

use super::error::{CONTROLS, Place, Problems, did_you_mean, has_controls};
use super::lines::Lines;
use super::quoted::broken_quotation;

/// What is said of a mark that swallows rows.
const BROKEN_QUOTATION: &str = "the quotation that begins here does not end where its cell ends";

/// Which columns a table has.
pub(super) struct Columns {
    pub(super) required: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
    /// Those whose text may have several lines.
    pub(super) long: &'static [&'static str],
    /// Columns beginning with this may be there in any number.
    pub(super) prefix: Option<&'static str>,
}

impl Columns {
    fn knows(&self, name: &str) -> bool {
        self.required.contains(&name)
            || self.optional.contains(&name)
            || self.prefix.is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
    }
}

/// One row, to be asked for its cells by column name.
pub(super) struct Row<'t> {
    header: &'t [String],
    record: &'t csv::StringRecord,
    pub(super) place: Place,
    problems: &'t RefCell<&'t mut Problems>,
}

/// Reads a table and hands each row to `take`. Rows without any content are skipped. Whether the header was right: if
/// not, no row was read, and that something is not in this table means nothing.
pub(super) fn read(
    file: &'static str,
    text: &str,
    columns: &Columns,
    rows_max: usize,
    problems: &mut Problems,
    mut take: impl FnMut(&Row<'_>),
) -> bool {
    if let Some(line) = broken_quotation(text) {
        let way_out = "add the quotation mark that is missing, or take this one away";
        problems.add(Place::line(file, line), "", BROKEN_QUOTATION, way_out);
        return false;
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    if !reader.read_record(&mut record).unwrap_or(false) {
        let names = columns.required.join(",");
        problems.add(Place::file(file), "", "the file is empty", format!("begin it with the line {names}"));
        return false;
    }
    let header: Vec<String> = record.iter().map(str::to_owned).collect();
    let mut lines = Lines::new(text.as_bytes());
    let place = Place::line(file, lines.of(&record));
    let before = problems.count();
    check_header(&header, columns, place, problems);
    if problems.count() > before {
        // Every row would say it again.
        return false;
    }
    let mut rows = 0;
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return true,
            Ok(true) => {}
            Err(error) => {
                problems.add(Place::file(file), "", error.to_string(), "save it again as `CSV UTF-8`");
                return true;
            }
        }
        if record.iter().all(str::is_empty) {
            continue;
        }
        let place = Place::line(file, lines.of(&record));
        rows += 1;
        if rows > rows_max {
            problems.add(
                place,
                "",
                format!("there are more than {rows_max} rows"),
                "split the pack by district",
            );
            return true;
        }
        if record.len() != header.len() {
            let what = format!("the row has {} fields, and the header {}", record.len(), header.len());
            problems.add(place, "", what, "put text that contains a comma or a line break in double quotes");
            continue;
        }
        for (name, cell) in header.iter().zip(&record) {
            if has_controls(cell, columns.long.contains(&name.as_str())) {
                problems.add(place, name, CONTROLS, "remove them");
            }
        }
        let problems = RefCell::new(&mut *problems);
        take(&Row { header: &header, record: &record, place, problems: &problems });
    }
}

/// Full-width letters, digits and signs as their plain ones.
pub(super) fn half_width(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        c => c,
    };
    text.chars().map(plain).collect()
}

fn check_header(header: &[String], columns: &Columns, place: Place, problems: &mut Problems) {
    for (index, name) in header.iter().enumerate() {
        if has_controls(name, false) {
            problems.add(place, name, CONTROLS, "remove them");
        } else if !columns.knows(name) {
            let known = columns.required.iter().chain(columns.optional).copied();
            let absent = known.filter(|known| !header.iter().any(|have| have == known)).collect::<Vec<_>>();
            let otherwise = match absent.is_empty() {
                true => "remove it".to_owned(),
                false => format!("columns that are not there yet are {}", absent.join(", ")),
            };
            let way_out = did_you_mean(name, absent, otherwise);
            problems.add(place, name, "there is no such column", way_out);
        } else if header[..index].contains(name) {
            problems.add(place, name, "the column is there twice", "remove one");
        }
    }
    for name in columns.required.iter().filter(|name| !header.iter().any(|have| have == *name)) {
        problems.add(place, name, "the column is missing", "add it to the first line");
    }
}

impl Row<'_> {
    /// The cell, without blanks around it; empty where the table has no such column.
    pub(super) fn text(&self, column: &str) -> &str {
        let index = self.header.iter().position(|name| name == column);
        index.and_then(|index| self.record.get(index)).unwrap_or("")
    }

    /// Cells of all columns that begin with `prefix`, with the rest of the column's name; empty cells left out.
    pub(super) fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.header
            .iter()
            .zip(self.record)
            .filter_map(move |(name, cell)| Some((name.strip_prefix(prefix)?, cell)))
            .filter(|(_, cell)| !cell.is_empty())
    }

    pub(super) fn wrong(&self, column: &str, what: impl Into<String>, way_out: impl Into<String>) {
        self.problems.borrow_mut().add(self.place, column, what, way_out);
    }

    /// The cell, which must not be empty.
    pub(super) fn needed(&self, column: &str) -> Option<&str> {
        let cell = self.text(column);
        if cell.is_empty() {
            self.wrong(column, "the field is empty", "fill it in");
            return None;
        }
        Some(cell)
    }

    /// The cell as a code or id.
    pub(super) fn code<C: FromStr<Err = super::NotACode>>(&self, column: &str) -> Option<C> {
        let cell = self.needed(column)?;
        cell.parse()
            .map_err(|way_out: super::NotACode| {
                let what = format!("`{cell}` cannot stand in a topic");
                let plain = half_width(cell);
                match plain.parse::<C>() {
                    Ok(_) => self.wrong(column, what, format!("write it in half-width: {plain}")),
                    Err(_) => self.wrong(column, what, way_out.to_string()),
                }
            })
            .ok()
    }

    /// The cell as a word of a fixed vocabulary.
    pub(super) fn word<T>(
        &self,
        column: &str,
        from_word: impl Fn(&str) -> Option<T>,
        words: impl Iterator<Item = &'static str>,
    ) -> Option<T> {
        let cell = self.needed(column)?;
        let found = from_word(cell);
        if found.is_none() {
            let words: Vec<_> = words.collect();
            let otherwise = format!("use one of {}", words.join(", "));
            self.wrong(column, format!("`{cell}` is not known here"), did_you_mean(cell, words, otherwise));
        }
        found
    }
}
