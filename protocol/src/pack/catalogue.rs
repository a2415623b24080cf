//! The responsibility list (责任清单): departments, and the matters that they answer for.

use std::collections::HashMap;

use serde::Serialize;

use super::error::{Place, Problems, did_you_mean, did_you_mean_code};
use super::name::{DepartmentId, Level, MatterCode};
use super::table::{self, Columns, Row, half_width};

/// The files' names.
pub(super) const DEPARTMENTS_FILE: &str = "departments.csv";
pub(super) const CATALOGUE_FILE: &str = "catalogue.csv";

/// The most rows of a catalogue: a hundred times a large district's.
pub const CATALOGUE_ROWS_MAX: usize = 200_000;
/// The most departments.
pub const DEPARTMENTS_MAX: usize = 10_000;
/// The longest deadline, in hours: ten years. More is a slip of the keyboard.
pub const DEADLINE_HOURS_MAX: u32 = 87_600;
/// How deep groups may be nested.
pub const GROUP_DEPTH_MAX: usize = 8;

/// What a row may be.
const KINDS: [&str; 3] = ["group", "matter", RETIRED];
/// What was a matter or a group once.
const RETIRED: &str = "retired";

/// The columns with codes of other systems begin with this.
const CROSSWALK_PREFIX: &str = "code:";

/// A department (主管部门).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Department {
    /// Its id, as in topics.
    pub id: DepartmentId,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
}

/// A matter (事项): an end-level entry of the list, with its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matter {
    /// Its code.
    pub code: MatterCode,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
    /// The codes of the groups that it is in, from the top.
    pub groups: Vec<MatterCode>,
    /// Which department of the pack is competent.
    pub department: usize,
    /// 协助部门, as the list says; may be empty.
    pub assisting_zh: String,
    /// At which level it is implemented.
    pub level: Level,
    /// Within how many hours it is to be handled.
    pub deadline_h: u32,
    /// 结案标准, as the list says; may be empty.
    pub closing_zh: String,
    /// 法律依据, as the list says; may be empty.
    pub legal_basis_zh: String,
    /// Its codes in other systems: (system, code), in the order of the file's columns.
    pub crosswalk: Vec<(String, String)>,
}

impl Matter {
    /// The code of its topmost group; `-` when it is in none.
    #[must_use]
    pub fn level_1(&self) -> &str {
        self.groups.first().map_or("-", MatterCode::as_str)
    }

    /// The code of the group below the topmost; `-` when there is none.
    #[must_use]
    pub fn level_2(&self) -> &str {
        self.groups.get(1).map_or("-", MatterCode::as_str)
    }
}

/// A group of matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its code.
    pub code: MatterCode,
    /// The code of the group that it is in.
    pub parent: Option<MatterCode>,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Catalogue {
    pub(super) departments: Vec<Department>,
    pub(super) groups: Vec<Group>,
    pub(super) matters: Vec<Matter>,
    /// Whether the tables could be read: if not, what refers to them is not said to be wrong.
    #[serde(skip)]
    pub(super) departments_readable: bool,
    #[serde(skip)]
    pub(super) readable: bool,
    #[serde(skip)]
    pub(super) department_index: HashMap<DepartmentId, usize>,
    #[serde(skip)]
    pub(super) group_index: HashMap<MatterCode, usize>,
    #[serde(skip)]
    pub(super) matter_index: HashMap<MatterCode, usize>,
    /// Codes that nothing has any more, and their lines.
    #[serde(skip)]
    pub(super) retired: HashMap<MatterCode, u64>,
}

impl Catalogue {
    /// What whoever names a matter by a code that none has is told to do.
    pub(super) fn instead_of(&self, code: &str, otherwise: &str) -> String {
        if self.group_index.contains_key(code) {
            return "that is a group: name one of its matters".to_owned();
        }
        if let Some(line) = self.retired.get(code) {
            return format!("it is retired ({CATALOGUE_FILE}:{line}): name the matter that took its place");
        }
        let codes = self
            .matters
            .iter()
            .map(|matter| (matter.code.as_str(), (matter.name_zh.as_str(), matter.name_en.as_str())));
        did_you_mean_code(code, codes, otherwise)
    }
}

pub(super) fn read_departments(text: &str, catalogue: &mut Catalogue, problems: &mut Problems) {
    let columns = Columns { required: &["id", "name_zh"], optional: &["name_en"], long: &[], prefix: None };
    let mut lines = HashMap::new();
    let readable = table::read(DEPARTMENTS_FILE, text, &columns, DEPARTMENTS_MAX, problems, |row| {
        let (id, name) = (row.code::<DepartmentId>("id"), row.needed("name_zh"));
        let (Some(id), Some(name_zh)) = (id, name) else { return };
        if is_twice(row, "id", &mut lines, &id) {
            return;
        }
        catalogue.department_index.insert(id.clone(), catalogue.departments.len());
        catalogue.departments.push(Department {
            id,
            name_zh: name_zh.to_owned(),
            name_en: row.text("name_en").to_owned(),
        });
    });
    catalogue.departments_readable = readable;
}

/// Codes that were there already, in lower case: as they were written, and where.
pub(super) type Lines = HashMap<String, (String, u64)>;

/// Says so when a code is there already, and where. Brokers' rules and files' names tell codes apart that differ by case;
/// people do not.
pub(super) fn is_twice(row: &Row<'_>, column: &str, lines: &mut Lines, key: &impl std::fmt::Display) -> bool {
    let (line, key) = (row.place.line.unwrap_or(0), key.to_string());
    if let Some((written, first)) = lines.get(&key.to_lowercase()) {
        let what = match *written == key {
            true => format!("`{key}` is on line {first} already"),
            false => format!("`{key}` differs from `{written}` on line {first} by case alone"),
        };
        row.wrong(column, what, "remove one of the two, or correct its code");
        return true;
    }
    lines.insert(key.to_lowercase(), (key, line));
    false
}

/// What a row says, before its parent is known.
struct Entry {
    line: u64,
    parent: Option<MatterCode>,
}

pub(super) fn read_catalogue(text: &str, catalogue: &mut Catalogue, problems: &mut Problems) {
    let columns = Columns {
        required: &["kind", "code", "parent", "name_zh", "department", "level", "deadline_h"],
        optional: &["name_en", "assisting_zh", "closing_zh", "legal_basis_zh"],
        long: &["assisting_zh", "closing_zh", "legal_basis_zh"],
        prefix: Some(CROSSWALK_PREFIX),
    };
    let mut lines = HashMap::new();
    let mut group_entries = Vec::new();
    let mut matter_entries = Vec::new();
    let readable = table::read(CATALOGUE_FILE, text, &columns, CATALOGUE_ROWS_MAX, problems, |row| {
        let kind =
            row.word("kind", |word| KINDS.contains(&word).then(|| word == "matter"), KINDS.into_iter());
        let code = row.code::<MatterCode>("code");
        if row.text("kind") == RETIRED {
            // A code that was once given says nothing but that no other matter may have it.
            if let Some(code) = code.filter(|code| !is_twice(row, "code", &mut lines, code)) {
                catalogue.retired.insert(code, row.place.line.unwrap_or(0));
            }
            return;
        }
        let name_zh = row.needed("name_zh");
        let parent = match row.text("parent") {
            "" => Some(None),
            _ => row.code("parent").map(Some),
        };
        let entry = |parent| Entry { line: row.place.line.unwrap_or(0), parent };
        if kind == Some(false) {
            let (Some(code), Some(name_zh), Some(parent)) = (code, name_zh, parent) else { return };
            if is_twice(row, "code", &mut lines, &code) {
                return;
            }
            catalogue.group_index.insert(code.clone(), catalogue.groups.len());
            catalogue.groups.push(Group {
                code,
                parent: parent.clone(),
                name_zh: name_zh.to_owned(),
                name_en: row.text("name_en").to_owned(),
            });
            group_entries.push(entry(parent));
            return;
        }
        let owner = read_owner(row, catalogue);
        let level = row.word("level", Level::from_word, Level::words());
        let deadline = read_deadline(row);
        let (Some(true), Some(code), Some(name_zh), Some(parent)) = (kind, code, name_zh, parent) else {
            return;
        };
        if is_twice(row, "code", &mut lines, &code) {
            return;
        }
        catalogue.matter_index.insert(code.clone(), catalogue.matters.len());
        catalogue.matters.push(Matter {
            code,
            name_zh: name_zh.to_owned(),
            name_en: row.text("name_en").to_owned(),
            groups: Vec::new(),
            // A stand-in where it is not known: that is an error by now, and the pack does not load.
            department: owner.unwrap_or(0),
            assisting_zh: row.text("assisting_zh").to_owned(),
            level: level.unwrap_or(Level::City),
            deadline_h: deadline.unwrap_or(0),
            closing_zh: row.text("closing_zh").to_owned(),
            legal_basis_zh: row.text("legal_basis_zh").to_owned(),
            crosswalk: row
                .with_prefix(CROSSWALK_PREFIX)
                .map(|(system, code)| (system.to_owned(), code.to_owned()))
                .collect(),
        });
        matter_entries.push(entry(parent));
    });
    catalogue.readable = readable;
    for (index, entry) in group_entries.iter().enumerate() {
        // Only for what is wrong with it.
        chain(catalogue, &group_entries, Some(index), entry, problems);
    }
    for (index, entry) in matter_entries.iter().enumerate() {
        catalogue.matters[index].groups = chain(catalogue, &group_entries, None, entry, problems);
    }
}

fn read_owner(row: &Row<'_>, catalogue: &Catalogue) -> Option<usize> {
    let id = row.needed("department")?;
    let found = catalogue.department_index.get(id).copied();
    if found.is_none() && catalogue.departments_readable {
        let ids = catalogue.departments.iter().map(|department| department.id.as_str());
        let way_out = did_you_mean(id, ids, format!("add it to {DEPARTMENTS_FILE}"));
        row.wrong("department", format!("there is no department `{id}`"), way_out);
    }
    found
}

fn read_deadline(row: &Row<'_>) -> Option<u32> {
    let cell = row.needed("deadline_h")?;
    let hours = cell.parse().ok().filter(|hours| (1..=DEADLINE_HOURS_MAX).contains(hours));
    if hours.is_none() {
        let plain = half_width(cell);
        let way_out = match plain != cell && plain.parse::<u32>().is_ok() {
            true => format!("write it in half-width: {plain}"),
            false => format!("write a whole number of hours from 1 to {DEADLINE_HOURS_MAX}"),
        };
        row.wrong("deadline_h", format!("`{cell}` is not a deadline"), way_out);
    }
    hours
}

/// The codes of the groups that an entry is in, from the top. Says what is wrong with the entry's own parent, or with
/// its chain if that comes back to the entry; what is wrong further up is said there.
fn chain(
    catalogue: &Catalogue,
    group_entries: &[Entry],
    own: Option<usize>,
    entry: &Entry,
    problems: &mut Problems,
) -> Vec<MatterCode> {
    let place = Place::line(CATALOGUE_FILE, entry.line);
    let mut groups: Vec<MatterCode> = Vec::new();
    let mut next = entry.parent.as_ref();
    while let Some(code) = next {
        let Some(&index) = catalogue.group_index.get(code) else {
            if groups.is_empty() {
                let way_out = if catalogue.matter_index.contains_key(code) {
                    "that is a matter; only groups have entries below them".to_owned()
                } else {
                    let codes = catalogue
                        .groups
                        .iter()
                        .map(|group| (group.code.as_str(), (group.name_zh.as_str(), group.name_en.as_str())));
                    did_you_mean_code(
                        code.as_str(),
                        codes,
                        "add a row of kind `group` with this code, or leave it empty",
                    )
                };
                problems.add(place, "parent", format!("there is no group `{code}`"), way_out);
            }
            break;
        };
        if own == Some(index) {
            let path: Vec<_> = groups.iter().map(MatterCode::as_str).collect();
            let what = match path.is_empty() {
                true => "the group is its own parent".to_owned(),
                false => format!("the group's parents come back to itself, over {}", path.join(", ")),
            };
            problems.add(place, "parent", what, "leave the topmost group's parent empty");
            break;
        }
        // A circle that this one leads into is said by those that are in it.
        if groups.contains(code) {
            break;
        }
        // One less for a group, which is the lowest of its own chain.
        if groups.len() == GROUP_DEPTH_MAX - usize::from(own.is_some()) {
            // The matters in a group that is wrong need not all say so.
            if own.is_some() {
                let what = format!("groups are nested deeper than {GROUP_DEPTH_MAX}, or in a circle");
                problems.add(place, "parent", what, "correct the parents");
            }
            break;
        }
        groups.push(code.clone());
        next = group_entries[index].parent.as_ref();
    }
    groups.reverse();
    groups
}
