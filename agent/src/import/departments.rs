//! Departments: those that a pack has already keep their ids, others get one.
//!
//! A new department's id is `dept-` and three digits, one more than the highest that is there, in the order in which the
//! list first names it. As the file is kept and read again, an id once given stays.

use std::collections::{HashMap, HashSet};

use gridpost_protocol::pack::{DepartmentId, Lines};

use super::{HIDDEN, Unreadable, has_hidden};

/// What generated ids begin with.
const PREFIX: &str = "dept-";

/// One department.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Department {
    /// Its id.
    pub id: String,
    /// Its Chinese name.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
    /// Whether the list named it first.
    pub is_new: bool,
}

/// All departments, by id and by name.
#[derive(Clone, Debug, Default)]
pub struct Departments {
    list: Vec<Department>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<String, usize>,
    last: usize,
}

impl Departments {
    /// Reads a `departments.csv`.
    ///
    /// # Errors
    /// When it is none; with the line.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let wrong = |error: csv::Error| Unreadable(format!("{error}; save it as `CSV UTF-8`"));
        let headers = reader.headers().map_err(wrong)?.clone();
        let column =
            |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
        let (Some(id), Some(name)) = (column("id"), column("name_zh")) else {
            return Err(Unreadable("line 1: begin it with the line id,name_zh,name_en".to_owned()));
        };
        let english = column("name_en");
        let mut this = Self::default();
        let mut lines = Lines::new(bytes);
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let text = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or("");
            let line = lines.of(&record);
            let (id, name) = (text(Some(id)), text(Some(name)));
            if id.parse::<DepartmentId>().is_err() || name.is_empty() {
                return Err(Unreadable(format!(
                    "line {line}: a department needs an id (letters, digits, - and _) and a name_zh"
                )));
            }
            if [name, text(english)].into_iter().any(has_hidden) {
                return Err(Unreadable(format!("line {line}: {HIDDEN}")));
            }
            if this.by_id.contains_key(id) || this.by_name.contains_key(name) {
                return Err(Unreadable(format!(
                    "line {line}: `{id}` or `{name}` is there already; remove one"
                )));
            }
            this.add(id.to_owned(), name.to_owned(), text(english).to_owned(), false);
        }
        Ok(this)
    }

    fn add(&mut self, id: String, name_zh: String, name_en: String, is_new: bool) {
        let number = id.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        self.last = self.last.max(number.unwrap_or(0));
        self.by_id.insert(id.clone(), self.list.len());
        self.by_name.insert(name_zh.clone(), self.list.len());
        self.list.push(Department { id, name_zh, name_en, is_new });
    }

    /// The id of a department that the list names, by name or by id.
    pub(super) fn id_of(&mut self, named: &str) -> String {
        let known = self.by_name.get(named).or_else(|| self.by_id.get(named));
        if let Some(department) = known.and_then(|index| self.list.get(*index)) {
            return department.id.clone();
        }
        let id = format!("{PREFIX}{:03}", self.last.saturating_add(1));
        self.add(id.clone(), named.to_owned(), String::new(), true);
        id
    }

    /// Lets go new departments that only unusable rows named.
    pub(super) fn keep_used<'u>(&mut self, used: impl Iterator<Item = &'u str>) {
        let used: HashSet<&str> = used.collect();
        self.list.retain(|department| !department.is_new || used.contains(department.id.as_str()));
    }

    /// All of them, in the file's order, the new ones last.
    #[must_use]
    pub fn list(&self) -> &[Department] {
        &self.list
    }
}
