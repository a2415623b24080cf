//! An earlier import of the list. Codes are in events that were published: one that was given stays with its matter, wherever
//! its row stands now, and no other matter ever gets it.
//!
//! A matter is the same when its groups and its name are: by their texts, without regard to width, case and blanks. Of groups
//! that are named otherwise now one is taken for an earlier one when most of its matters have the names of most of the
//! earlier one's. All else is left to a person, who writes the code into the row: what moved, was renamed, or is there twice.
//!
//! What is gone stays in the catalogue as a row of the kind `retired`, so that its code is known to be used.

use std::collections::{HashMap, HashSet};

use gridpost_protocol::pack::{Lines, MatterCode};

use super::rows::{Entry, Read};
use super::{HIDDEN, Problem, Unreadable, half_width, has_hidden};

/// How many names are shown in a hint.
const HINTS_MAX: usize = 3;
/// So many matters with the same names make two groups of different names the same, if they are half of each.
const ALIKE_MIN: usize = 2;

/// A group or a matter of the earlier list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its code.
    pub code: String,
    /// The code of the group that it was in.
    pub parent: String,
    /// Its Chinese name.
    pub name_zh: String,
    /// Its English name.
    pub name_en: String,
    department: String,
    is_group: bool,
    /// Whether it was gone already then.
    pub retired: bool,
}

/// An earlier `catalogue.csv`.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    all: Vec<Old>,
    by_code: HashMap<String, usize>,
}

/// What stays as it was.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Codes of groups by path.
    pub(super) groups: HashMap<Vec<String>, String>,
    /// Codes of matters by their place in the list.
    pub(super) matters: HashMap<usize, String>,
    /// What a person should look at, by place: of matters that get a new code.
    pub(super) hints: HashMap<usize, String>,
    pub(super) notes: Vec<String>,
}

/// A name, as it is compared.
fn key(name: &str) -> String {
    half_width(name).split_whitespace().collect::<String>().to_lowercase()
}

impl Earlier {
    /// Reads a `catalogue.csv`.
    ///
    /// # Errors
    /// When it is none; with the line.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let wrong = |error: csv::Error| {
            Unreadable(format!("{error}; name the catalogue.csv that an earlier import wrote"))
        };
        let headers = reader.headers().map_err(wrong)?.clone();
        let column = |name: &str| headers.iter().position(|have| have.trim_start_matches('\u{feff}') == name);
        let [Some(kind), Some(code), Some(parent), Some(name)] =
            ["kind", "code", "parent", "name_zh"].map(column)
        else {
            let what = "line 1: has no columns kind, code, parent and name_zh; name the catalogue.csv that an earlier import wrote";
            return Err(Unreadable(what.to_owned()));
        };
        let (english, department) = (column("name_en"), column("department"));
        let mut this = Self::default();
        let mut lines = Lines::new(bytes);
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let line = lines.of(&record);
            let text = |column: Option<usize>| {
                column.and_then(|column| record.get(column)).unwrap_or_default().to_owned()
            };
            let kind = text(Some(kind));
            if !["group", "matter", "retired"].contains(&kind.as_str()) {
                return Err(Unreadable(format!(
                    "line {line}: kind: `{kind}` is neither group, matter nor retired"
                )));
            }
            let old = Old {
                code: text(Some(code)),
                parent: text(Some(parent)),
                name_zh: text(Some(name)),
                name_en: text(english),
                department: text(department),
                is_group: kind == "group",
                retired: kind == "retired",
            };
            let codes = [&old.code, &old.parent].into_iter().filter(|code| !code.is_empty());
            if let Some(wrong) = codes.into_iter().find(|code| code.parse::<MatterCode>().is_err()) {
                return Err(Unreadable(format!(
                    "line {line}: `{wrong}` is no code: 1 to 32 letters A-Z a-z, digits, _ and -; correct it"
                )));
            }
            let texts = [&old.code, &old.parent, &old.name_zh, &old.name_en, &old.department];
            if texts.into_iter().any(|text| has_hidden(text)) {
                return Err(Unreadable(format!("line {line}: {HIDDEN}")));
            }
            if this.by_code.insert(old.code.to_lowercase(), this.all.len()).is_some() {
                return Err(Unreadable(format!(
                    "line {line}: code: `{}` is there already; correct one",
                    old.code
                )));
            }
            this.all.push(old);
        }
        let parents: HashSet<String> = this.all.iter().map(|old| old.parent.clone()).collect();
        for old in this.all.iter_mut().filter(|old| old.retired) {
            old.is_group = parents.contains(&old.code);
        }
        Ok(this)
    }

    fn with_code(&self, code: &str) -> Option<&Old> {
        self.by_code.get(&code.to_lowercase()).and_then(|index| self.all.get(*index))
    }

    /// Whether it has nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether this code was ever given.
    pub(super) fn has(&self, code: &str) -> bool {
        self.with_code(code).is_some()
    }

    /// The highest number that was ever given behind this stem, in so many digits.
    pub(super) fn highest(&self, stem: &str, digits: usize) -> usize {
        let numbers = self.all.iter().filter_map(|old| old.code.strip_prefix(stem));
        let numbers = numbers.filter(|rest| rest.len() == digits && rest.bytes().all(|b| b.is_ascii_digit()));
        numbers.filter_map(|rest| rest.parse().ok()).max().unwrap_or(0)
    }

    /// What is not in the list any more; `codes` are those of the list's groups and matters.
    pub(super) fn gone(&self, codes: &HashSet<String>) -> Vec<Old> {
        self.all.iter().filter(|old| !codes.contains(&old.code.to_lowercase())).cloned().collect()
    }

    /// Where it was: its groups and its name.
    #[must_use]
    pub fn place(&self, old: &Old) -> String {
        let mut names = vec![old.name_zh.as_str()];
        let mut parent = old.parent.as_str();
        // A circle in a broken file ends.
        while let Some(group) = self.with_code(parent).filter(|_| names.len() < 16) {
            names.push(&group.name_zh);
            parent = &group.parent;
        }
        names.reverse();
        names.join(" / ")
    }

    /// Finds the list's matters among the earlier ones.
    pub(super) fn keep(&self, read: &mut Read) -> Kept {
        let mut kept = Kept { groups: self.groups(&read.matters), ..Kept::default() };
        for (path, code) in &kept.groups {
            if let (Some(name), Some(old)) = (path.last(), self.with_code(code))
                && key(name) != key(&old.name_zh)
            {
                let what = "has most of its matters, and is taken for it under another name";
                kept.notes.push(format!("group {code} was `{}` before; `{name}` {what}", old.name_zh));
            }
        }
        kept.notes.sort();
        let parent_of = |entry: &Entry, kept: &Kept| match entry.path.is_empty() {
            true => Some(String::new()),
            false => kept.groups.get(&entry.path).cloned(),
        };
        let mut old_at: HashMap<(&str, String), Vec<usize>> = HashMap::new();
        for (index, old) in self.all.iter().enumerate().filter(|(_, old)| !old.is_group) {
            old_at.entry((old.parent.as_str(), key(&old.name_zh))).or_default().push(index);
        }
        let given: HashMap<String, usize> = read
            .matters
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.code.is_empty())
            .map(|(place, entry)| (entry.code.to_lowercase(), place))
            .collect();
        let mut new_at: HashMap<(String, String), Vec<usize>> = HashMap::new();
        for (place, entry) in read.matters.iter().enumerate() {
            if let Some(parent) = parent_of(entry, &kept) {
                new_at.entry((parent, key(&entry.name_zh))).or_default().push(place);
            }
        }
        let mut found: HashSet<usize> = HashSet::new();
        for ((parent, name), places) in &new_at {
            let Some(olds) = old_at.get(&(parent.as_str(), name.clone())) else { continue };
            for place in places.iter().copied().filter(|place| read.matters[*place].code.is_empty()) {
                let entry = &read.matters[place];
                let same = |old: &&usize| self.all[**old].department == entry.department;
                let one = match (olds.as_slice(), places.as_slice()) {
                    ([old], [_]) => Some(*old),
                    // There twice: the department tells them apart, or a person.
                    _ => {
                        let of_it: Vec<_> = olds.iter().filter(same).collect();
                        let rivals = places
                            .iter()
                            .filter(|p| read.matters[**p].department == entry.department)
                            .count();
                        match of_it.as_slice() {
                            [old] if rivals == 1 => Some(**old),
                            _ => None,
                        }
                    }
                };
                let Some(old) = one else {
                    let codes: Vec<_> = olds.iter().map(|old| self.all[*old].code.as_str()).collect();
                    let hint = format!(
                        "there twice, now or before, so that nobody knows which is which: {}",
                        codes.join(", ")
                    );
                    kept.hints.insert(place, hint);
                    continue;
                };
                let code = &self.all[old].code;
                if let Some(by) = given.get(&code.to_lowercase()) {
                    let what = format!(
                        "`{code}` was the code of `{}` before, which is row {} now; events with it were published",
                        self.all[old].name_zh, entry.row
                    );
                    let way_out =
                        "give this row another code, or clear it so that one is generated".to_owned();
                    read.problems.push(Problem {
                        row: read.matters[*by].row,
                        column: String::new(),
                        what,
                        way_out,
                    });
                    continue;
                }
                found.insert(old);
                kept.matters.insert(place, code.clone());
            }
        }
        for entry in read.matters.iter().filter(|entry| !entry.code.is_empty()) {
            let Some(index) = self.by_code.get(&entry.code.to_lowercase()) else { continue };
            found.insert(*index);
            let old = &self.all[*index];
            if key(&old.name_zh) != key(&entry.name_zh) {
                kept.notes.push(format!(
                    "row {}: {} was `{}` before, and is `{}` now: events with it that were published mean the former",
                    entry.row, entry.code, self.place(old), entry.name_zh
                ));
            }
        }
        self.hint(&read.matters, &found, &parent_of, &mut kept);
        kept
    }

    /// Says of new matters which of those that are gone they may be.
    fn hint(
        &self,
        matters: &[Entry],
        found: &HashSet<usize>,
        parent_of: &impl Fn(&Entry, &Kept) -> Option<String>,
        kept: &mut Kept,
    ) {
        let missing = |old: &(usize, &Old)| !old.1.is_group && !old.1.retired && !found.contains(&old.0);
        let mut by_name: HashMap<String, Vec<&Old>> = HashMap::new();
        let mut by_parent: HashMap<&str, Vec<&Old>> = HashMap::new();
        for (_, old) in self.all.iter().enumerate().filter(missing) {
            by_name.entry(key(&old.name_zh)).or_default().push(old);
            by_parent.entry(old.parent.as_str()).or_default().push(old);
        }
        for (place, entry) in matters.iter().enumerate() {
            if !entry.code.is_empty() || kept.matters.contains_key(&place) || kept.hints.contains_key(&place)
            {
                continue;
            }
            let moved =
                by_name.get(&key(&entry.name_zh)).map(|olds| ("that is gone from where it was", olds));
            let renamed = parent_of(entry, kept).and_then(|parent| {
                by_parent.get(parent.as_str()).map(|olds| ("and of its group is gone", olds))
            });
            if let Some((what, olds)) = moved.or(renamed) {
                let shown: Vec<_> = olds
                    .iter()
                    .take(HINTS_MAX)
                    .map(|old| format!("{} `{}`", old.code, self.place(old)))
                    .collect();
                let more = if olds.len() > HINTS_MAX { ", and more" } else { "" };
                let hint = format!(
                    "{what}: {}{more}; if it is the same matter, write that code into this row",
                    shown.join(", ")
                );
                kept.hints.insert(place, hint);
            }
        }
    }

    /// The codes of the list's groups that there were before, by path.
    fn groups(&self, matters: &[Entry]) -> HashMap<Vec<String>, String> {
        let mut codes: HashMap<Vec<String>, String> = HashMap::new();
        let (new, old) = (names_by_path(matters), self.names_by_group());
        let mut paths: Vec<&[String]> = matters
            .iter()
            .flat_map(|entry| (1..=entry.path.len()).map(|level| &entry.path[..level]))
            .collect();
        paths.sort_by_key(|path| path.len());
        let mut seen: HashSet<&[String]> = HashSet::new();
        paths.retain(|path| seen.insert(path));
        let mut taken: HashSet<&str> = HashSet::new();
        let deepest = paths.last().map_or(0, |path| path.len());
        for level in 1..=deepest {
            let of_level: Vec<&[String]> = paths.iter().copied().filter(|path| path.len() == level).collect();
            // First those of the same name, then those of the same matters.
            for by_name in [true, false] {
                for path in &of_level {
                    let Some((name, above)) = path.split_last() else { continue };
                    let parent =
                        if above.is_empty() { Some("") } else { codes.get(above).map(String::as_str) };
                    let (Some(parent), false) = (parent.map(str::to_owned), codes.contains_key(*path)) else {
                        continue;
                    };
                    let siblings = self.all.iter().filter(|old| {
                        old.is_group && old.parent == parent && !taken.contains(old.code.as_str())
                    });
                    let found = if by_name {
                        siblings.into_iter().find(|old| key(&old.name_zh) == key(name))
                    } else {
                        alike(siblings.filter(|old| !old.retired), new.get(*path), &old)
                    };
                    if let Some(found) = found {
                        taken.insert(&found.code);
                        codes.insert(path.to_vec(), found.code.clone());
                    }
                }
            }
        }
        codes
    }

    /// The names of the matters in each group and below, of those that are there only once.
    fn names_by_group(&self) -> HashMap<&str, HashSet<String>> {
        let matters: Vec<&Old> = self.all.iter().filter(|old| !old.is_group && !old.retired).collect();
        let once = once(matters.iter().map(|old| key(&old.name_zh)));
        let mut names: HashMap<&str, HashSet<String>> = HashMap::new();
        for old in matters {
            let (name, mut parent, mut depth) = (key(&old.name_zh), old.parent.as_str(), 0);
            while let Some(group) = self.with_code(parent).filter(|_| depth < 16 && once.contains(&name)) {
                names.entry(group.code.as_str()).or_default().insert(name.clone());
                (parent, depth) = (group.parent.as_str(), depth + 1);
            }
        }
        names
    }
}

/// The same of the list.
fn names_by_path(matters: &[Entry]) -> HashMap<&[String], HashSet<String>> {
    let once = once(matters.iter().map(|entry| key(&entry.name_zh)));
    let mut names: HashMap<&[String], HashSet<String>> = HashMap::new();
    for entry in matters {
        let name = key(&entry.name_zh);
        for level in (1..=entry.path.len()).filter(|_| once.contains(&name)) {
            names.entry(&entry.path[..level]).or_default().insert(name.clone());
        }
    }
    names
}

/// What is there once. `其他` says nothing about a group.
fn once(names: impl Iterator<Item = String>) -> HashSet<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count == 1).map(|(name, _)| name).collect()
}

/// The one of these groups that has most of the same matters.
fn alike<'o>(
    olds: impl Iterator<Item = &'o Old>,
    new: Option<&HashSet<String>>,
    names: &HashMap<&str, HashSet<String>>,
) -> Option<&'o Old> {
    let new = new?;
    olds.filter_map(|old| {
        let had = names.get(old.code.as_str())?;
        let same = had.intersection(new).count();
        (same >= ALIKE_MIN && same * 2 > had.len() && same * 2 > new.len()).then_some((same, old))
    })
    .max_by_key(|(same, _)| *same)
    .map(|(_, old)| old)
}
