//! Each row becomes an entry, or a problem.

use std::collections::HashMap;

use gridpost_protocol::pack::{Level, MatterCode};

use super::header::{Field, Header, LEVELS};
use super::sheet::{Row, Sheet};
use super::words::{self, Wrong};
use super::{Departments, NAME_CHARS_MAX, Options, Problem, half_width, many_lines, one_line, short};

/// A matter as a row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The row's number.
    pub row: usize,
    /// Its code; empty until it gets one.
    pub code: String,
    /// The names of its groups, from the top.
    pub path: Vec<String>,
    /// The code of the group that it is in; empty for none.
    pub parent: String,
    /// Its Chinese name.
    pub name_zh: String,
    /// Its English name.
    pub name_en: String,
    /// Its department's id.
    pub department: String,
    /// Who assists.
    pub assisting_zh: String,
    /// Its level of implementation.
    pub level: Level,
    /// Its deadline.
    pub deadline_h: u32,
    /// When a case may be closed.
    pub closing_zh: String,
    /// Its legal basis.
    pub legal_basis_zh: String,
    /// Its codes in other systems, in the order of [`Header::crosswalk`].
    pub crosswalk: Vec<String>,
}

/// All rows, read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) matters: Vec<Entry>,
    /// English names of groups, by path.
    pub(super) english: HashMap<Vec<String>, String>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

pub(super) fn read(sheet: &Sheet, header: &Header, departments: &mut Departments, options: &Options) -> Read {
    let mut read = Read::default();
    let mut reader =
        Reader { header, options, departments, groups: header.groups(), above: Vec::new(), numbers: None };
    let mut codes: HashMap<String, usize> = HashMap::new();
    for row in sheet.rows.iter().filter(|row| row.number > header.row) {
        let before = read.problems.len();
        let entry = reader.entry(row, &mut read);
        let Some(entry) = entry.filter(|_| read.problems.len() == before) else { continue };
        if !entry.code.is_empty() {
            // Brokers' rules tell codes apart that differ by case; people do not.
            if let Some(first) = codes.get(&entry.code.to_lowercase()) {
                let what = format!("`{}` is the code of row {first} already", entry.code);
                let way_out = "correct one of the two, or clear it so that one is generated";
                read.problems.push(reader.problem(row, &Field::Code, what, way_out));
                continue;
            }
            codes.insert(entry.code.to_lowercase(), row.number);
        }
        read.matters.push(entry);
    }
    if let Some((row, code)) = reader.numbers {
        read.notes.push(format!(
            "row {row}: code {code} is kept as a number, so that leading zeros would be gone; format the column as text, or say how many digits codes have with --code-digits"
        ));
    }
    read
}

struct Reader<'r> {
    header: &'r Header,
    options: &'r Options,
    departments: &'r mut Departments,
    groups: Vec<usize>,
    /// The group cells of the row above, filled down.
    above: Vec<String>,
    /// The first code that is kept as a number.
    numbers: Option<(usize, String)>,
}

impl Reader<'_> {
    fn problem(
        &self,
        row: &Row,
        field: &Field,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Problem {
        let column = self.header.of(field).map(|index| self.header.columns[index].header.clone());
        let (what, way_out) = (short(&what.into()), way_out.into());
        Problem { row: row.number, column: column.unwrap_or_default(), what, way_out }
    }

    fn cell<'c>(&self, row: &'c Row, field: &Field) -> &'c str {
        self.header.of(field).map_or("", |index| row.text(index))
    }

    fn entry(&mut self, row: &Row, read: &mut Read) -> Option<Entry> {
        let mut problems = Vec::new();
        for (column, cell) in self.header.columns.iter().zip(&row.cells) {
            if cell.is_error && column.field.as_ref().is_some_and(|field| *field != Field::Ignored) {
                let what = format!("the cell's formula gives {}", cell.text);
                let way_out = "correct the formula, or write the value".to_owned();
                problems.push(Problem { row: row.number, column: column.header.clone(), what, way_out });
            }
        }
        let own: Vec<String> = self.groups.iter().map(|index| name(row.text(*index))).collect();
        let full = self.filled(&own);
        let mut path: Vec<String> = full.into_iter().filter(|name| !name.is_empty()).collect();
        let mut name = name(self.cell(row, &Field::Name));
        if self.header.of(&Field::Name).is_none() && own.iter().any(|name| !name.is_empty()) {
            // Without a column for the matter it is what stands deepest.
            name = path.pop().unwrap_or_default();
        }
        if name.is_empty() {
            let field = if self.header.of(&Field::Name).is_some() {
                Field::Name
            } else {
                Field::Group(self.groups.len().saturating_sub(1))
            };
            problems.push(self.problem(
                row,
                &field,
                "the matter has no name",
                "fill it in, or clear the row",
            ));
        }
        for long in path.iter().chain([&name]).filter(|name| name.chars().count() > NAME_CHARS_MAX) {
            let what = format!("a name has more than {NAME_CHARS_MAX} characters: {long}");
            let way_out = format!("shorten it to {NAME_CHARS_MAX}, in the row that it stands in");
            problems.push(self.problem(row, &Field::Name, what, way_out));
        }
        self.english(row, &path, read);
        let code = self.code(row).map_err(|wrong| problems.push(self.of(row, &Field::Code, wrong)));
        let department =
            self.department(row).map_err(|wrong| problems.push(self.of(row, &Field::Department, wrong)));
        let level = match self.cell(row, &Field::Level) {
            "" => Err(empty()),
            cell => words::level(cell),
        }
        .map_err(|wrong| problems.push(self.of(row, &Field::Level, wrong)));
        let (column, unit) = self.header.deadline()?;
        let deadline = match row.text(column) {
            "" => Err(empty()),
            cell => words::deadline(cell, unit.or(self.options.deadline_hours)),
        }
        .map_err(|wrong| problems.push(self.of(row, &Field::Deadline(unit), wrong)));
        read.problems.append(&mut problems);
        let (Ok(code), Ok(department), Ok(level), Ok(deadline_h)) = (code, department, level, deadline)
        else {
            return None;
        };
        let crosswalk = self.header.crosswalk();
        Some(Entry {
            row: row.number,
            code,
            path,
            parent: String::new(),
            name_zh: name,
            name_en: one_line(self.cell(row, &Field::NameEn)),
            department,
            assisting_zh: many_lines(self.cell(row, &Field::Assisting)),
            level,
            deadline_h,
            closing_zh: many_lines(self.cell(row, &Field::Closing)),
            legal_basis_zh: many_lines(self.cell(row, &Field::LegalBasis)),
            crosswalk: crosswalk.iter().map(|(index, _)| one_line(&half_width(row.text(*index)))).collect(),
        })
    }

    fn of(&self, row: &Row, field: &Field, (what, way_out): Wrong) -> Problem {
        self.problem(row, field, what, way_out)
    }

    /// The groups with those of the row above where cells are blank, down to the first that is another.
    fn filled(&mut self, own: &[String]) -> Vec<String> {
        let deepest_is_matter = self.header.of(&Field::Name).is_none();
        let mut full = own.to_vec();
        for level in 0..full.len() {
            if !full[level].is_empty() {
                if self.above.get(level) != Some(&full[level]) {
                    break;
                }
                continue;
            }
            // Below the row's own deepest cell, which is the matter, there is nothing to fill.
            if deepest_is_matter && own[level..].iter().all(String::is_empty) {
                break;
            }
            full[level] = self.above.get(level).cloned().unwrap_or_default();
        }
        self.above.clone_from(&full);
        full
    }

    fn english(&self, row: &Row, path: &[String], read: &mut Read) {
        for level in 0..path.len().min(LEVELS) {
            let text = one_line(self.cell(row, &Field::GroupEn(level)));
            if !text.is_empty() {
                read.english.entry(path[..=level].to_vec()).or_insert(text);
            }
        }
    }

    fn code(&mut self, row: &Row) -> Result<String, Wrong> {
        let Some(index) = self.header.of(&Field::Code) else { return Ok(String::new()) };
        let mut code: String = half_width(row.text(index)).chars().filter(|c| !c.is_whitespace()).collect();
        let is_number = row.cells.get(index).is_some_and(|cell| cell.is_number);
        if let (true, Some(digits)) = (is_number, self.options.code_digits) {
            code = format!("{code:0>digits$}");
        } else if is_number && self.numbers.is_none() {
            self.numbers = Some((row.number, code.clone()));
        }
        match code.is_empty() || code.parse::<MatterCode>().is_ok() {
            true => Ok(code),
            false => {
                let way_out =
                    "use 1 to 32 letters A-Z a-z, digits, `_` and `-`, or clear it so that one is generated";
                Err((format!("`{code}` cannot be a code"), way_out.to_owned()))
            }
        }
    }

    fn department(&mut self, row: &Row) -> Result<String, Wrong> {
        let cell = self.cell(row, &Field::Department);
        let named: Vec<String> = cell
            .split(['、', ';', '\u{ff1b}', '\n', ',', '\u{ff0c}'])
            .map(one_line)
            .filter(|name| !name.is_empty())
            .collect();
        match named.as_slice() {
            [] => Err(empty()),
            [one] => Ok(self.departments.id_of(one)),
            several => Err((
                format!(
                    "{} departments are named, and one is competent: {}",
                    several.len(),
                    several.join(", ")
                ),
                "leave the one that answers for it, and move the others to 配合部门".to_owned(),
            )),
        }
    }
}

/// A name on one line; of one that is too long as much as shows it, since it is filled down into many rows.
fn name(cell: &str) -> String {
    let name = one_line(cell);
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, c)) => name[..end + c.len_utf8()].to_owned(),
        None => name,
    }
}

fn empty() -> Wrong {
    (
        "the cell is empty".to_owned(),
        "fill it in; only the levels may be left out where they repeat".to_owned(),
    )
}
