//! Codes: given ones stay, and so do those of an earlier import (`earlier.rs`); others are two digits for each level and three
//! for the matter, as `0102003`, counted in the order in which the list first names them, behind all that were ever given.

use std::collections::{HashMap, HashSet};

use super::Problem;
use super::earlier::{Earlier, Kept, Old};
use super::rows::{Entry, Read};

/// A group of matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its code.
    pub code: String,
    /// The code of the group that it is in; empty at the top.
    pub parent: String,
    /// Its Chinese name.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
}

/// Gives groups and matters codes; says what it did, as far as that is worth a note.
pub(super) fn assign(read: &mut Read, earlier: Option<&Earlier>) -> (Vec<Group>, Vec<String>) {
    let kept = earlier.map(|earlier| earlier.keep(read)).unwrap_or_default();
    let was_given = |code: &str| earlier.is_some_and(|earlier| earlier.has(code));
    let given: HashSet<String> = read.matters.iter().map(|entry| entry.code.to_lowercase()).collect();
    let from_codes = prefixes(&read.matters);
    // Where the list has codes of its own kind, its groups must not look as if they were of the same kind.
    let sign = if from_codes.is_some() || given.iter().all(String::is_empty) { "" } else { "G" };
    let mut groups = Groups { codes: from_codes.unwrap_or_default(), earlier, ..Groups::default() };
    // What was before counts more than what codes look like.
    groups.codes.retain(|path, code| kept.groups.contains_key(path) || !was_given(code));
    groups.codes.extend(kept.groups.iter().map(|(path, code)| (path.clone(), code.clone())));
    groups.taken.extend(groups.codes.values().cloned());
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut generated = 0;
    let mut notes = kept.notes.clone();
    let mut usable = Vec::with_capacity(read.matters.len());
    for (place, mut entry) in std::mem::take(&mut read.matters).into_iter().enumerate() {
        match groups.of(&entry.path, sign, &read.english) {
            Ok(code) => entry.parent = code,
            Err(what) => {
                read.problems.push(full(&entry, what));
                continue;
            }
        }
        if let Some(code) = kept.matters.get(&place) {
            entry.code.clone_from(code);
        } else if entry.code.is_empty() {
            let stem = entry.parent.trim_start_matches('G');
            let number = next
                .entry(entry.parent.clone())
                .or_insert_with(|| earlier.map_or(0, |earlier| earlier.highest(stem, 3)));
            let code = loop {
                *number += 1;
                let code = format!("{stem}{number:03}");
                if !given.contains(&code) && !was_given(&code) {
                    break code;
                }
            };
            if *number > 999 {
                let what =
                    "there are more than 999 matters in one group, which generated codes have no room for";
                read.problems.push(full(&entry, what));
                continue;
            }
            entry.code = code;
            generated += 1;
            notes.extend(earlier.map(|_| is_new(&entry, kept.hints.get(&place))));
        }
        usable.push(entry);
    }
    read.matters = usable;
    notes.extend(earlier.map(|earlier| counted(earlier, &kept, generated)));
    if generated > 0 && earlier.is_none() {
        notes.push(format!(
            "{generated} matters have no code and got one: two digits a level, three for the matter, in the list's order; \
             import the list's next version with --earlier and this catalogue, so that they stay"
        ));
    }
    (groups.list, notes)
}

fn is_new(entry: &Entry, hint: Option<&String>) -> String {
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("row {}: `{}` is new and got {}{hint}", entry.row, entry.name_zh, entry.code)
}

fn counted(earlier: &Earlier, kept: &Kept, generated: usize) -> String {
    let gone = if earlier.is_empty() { " (the earlier list has no matter)" } else { "" };
    format!("{} codes stay as they were, {generated} are new{gone}", kept.matters.len())
}

/// What is gone, and notes of it.
pub(super) fn retired(earlier: &Earlier, read: &Read, groups: &[Group]) -> Vec<Old> {
    let codes = read.matters.iter().map(|entry| &entry.code).chain(groups.iter().map(|group| &group.code));
    earlier.gone(&codes.map(|code| code.to_lowercase()).collect())
}

fn full(entry: &Entry, what: &str) -> Problem {
    let way_out = "give codes in the list, or divide the group".to_owned();
    Problem { row: entry.row, column: String::new(), what: what.to_owned(), way_out }
}

/// The codes of groups by path, when all given codes are two digits a level and three more, and no two groups would share
/// a code or one have two.
fn prefixes(matters: &[Entry]) -> Option<HashMap<Vec<String>, String>> {
    let mut codes: HashMap<Vec<String>, String> = HashMap::new();
    let mut paths: HashMap<String, &[String]> = HashMap::new();
    for entry in matters.iter().filter(|entry| !entry.code.is_empty()) {
        let depth = entry.path.len();
        if entry.code.len() != 2 * depth + 3 || !entry.code.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        for level in 1..=depth {
            let (path, code) = (&entry.path[..level], &entry.code[..2 * level]);
            if *paths.entry(code.to_owned()).or_insert(path) != path {
                return None;
            }
            if codes.entry(path.to_vec()).or_insert_with(|| code.to_owned()) != code {
                return None;
            }
        }
    }
    Some(codes)
}

#[derive(Default)]
struct Groups<'e> {
    /// What was before.
    earlier: Option<&'e Earlier>,
    /// Codes by path; from given codes, some of groups that are not in the list yet.
    codes: HashMap<Vec<String>, String>,
    taken: HashSet<String>,
    listed: HashSet<String>,
    last: HashMap<String, usize>,
    list: Vec<Group>,
}

impl Groups<'_> {
    /// The code of the group with this path, with all above it put in the list; empty for no path.
    fn of(
        &mut self,
        path: &[String],
        sign: &str,
        english: &HashMap<Vec<String>, String>,
    ) -> Result<String, &'static str> {
        let mut parent = String::new();
        for level in 1..=path.len() {
            let path = &path[..level];
            let code = match self.codes.get(path) {
                Some(code) => code.clone(),
                None => self.next(&parent, sign)?,
            };
            if self.listed.insert(code.clone()) {
                self.codes.insert(path.to_vec(), code.clone());
                self.list.push(Group {
                    code: code.clone(),
                    parent,
                    name_zh: path.last().cloned().unwrap_or_default(),
                    name_en: english.get(path).cloned().unwrap_or_default(),
                });
            }
            parent = code;
        }
        Ok(parent)
    }

    fn next(&mut self, parent: &str, sign: &str) -> Result<String, &'static str> {
        let stem = if parent.is_empty() { sign } else { parent };
        let earlier = self.earlier;
        let last = self
            .last
            .entry(parent.to_owned())
            .or_insert_with(|| earlier.map_or(0, |earlier| earlier.highest(stem, 2)));
        while *last < 99 {
            *last += 1;
            let code = format!("{stem}{last:02}");
            if !earlier.is_some_and(|earlier| earlier.has(&code)) && self.taken.insert(code.clone()) {
                return Ok(code);
            }
        }
        Err("there are more than 99 groups beside each other, which generated codes have no room for")
    }
}
