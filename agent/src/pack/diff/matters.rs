//! Departments and matters: who answers for what.

use std::collections::BTreeMap;

use gridpost_protocol::pack::{Matter, MatterCode, Pack};

use super::{About, Change, sites_of};

pub(super) fn departments(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let mut add = |id: &str, text: String| {
        let departments = vec![id.to_owned()];
        changes.push(Change { about: About::Department, id: id.to_owned(), text, departments, sites: None });
    };
    for was in old.departments().iter().filter(|was| new.department(was.id.as_str()).is_none()) {
        add(was.id.as_str(), format!("department {} ({}) is no longer in the list", was.id, was.name_zh));
    }
    for is in new.departments() {
        match old.department(is.id.as_str()) {
            None => add(is.id.as_str(), format!("department {} ({}) is new", is.id, is.name_zh)),
            Some(was) if (&was.name_zh, &was.name_en) != (&is.name_zh, &is.name_en) => {
                let from = named(&was.name_zh, &was.name_en);
                let to = named(&is.name_zh, &is.name_en);
                add(is.id.as_str(), format!("department {} is renamed from {from} to {to}", is.id));
            }
            Some(_) => {}
        }
    }
}

fn named(zh: &str, en: &str) -> String {
    if en.is_empty() { zh.to_owned() } else { format!("{zh} · {en}") }
}

pub(super) fn matters(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    for was in old.matters().iter().filter(|was| new.matter(was.code.as_str()).is_none()) {
        let owner = &old.department_of(was).id;
        let sites = sites_of(old, was.code.as_str()).len();
        let text = format!("matter {} {} is no longer in the list; {owner} had it", was.code, was.name_zh);
        changes.push(change(was, text, vec![owner.to_string()], sites));
    }
    for is in new.matters() {
        let owner = new.department_of(is);
        let mut sites = sites_of(new, is.code.as_str());
        let Some(was) = old.matter(is.code.as_str()) else {
            let text = format!(
                "matter {} {} is new: {}, at {} level, within {} h",
                is.code, is.name_zh, owner.id, is.level, is.deadline_h
            );
            changes.push(change(is, text, vec![owner.id.to_string()], sites.len()));
            continue;
        };
        sites.extend(sites_of(old, is.code.as_str()));
        let had = old.department_of(was);
        if had.id != owner.id {
            let text = format!(
                "matter {} {} moves from {} ({}) to {} ({})",
                is.code, is.name_zh, had.id, had.name_zh, owner.id, owner.name_zh
            );
            changes.push(change(is, text, vec![had.id.to_string(), owner.id.to_string()], sites.len()));
        }
        let said = differences(was, is);
        if !said.is_empty() {
            let text = format!("matter {} {}: {}", is.code, is.name_zh, said.join("; "));
            changes.push(change(is, text, vec![owner.id.to_string()], sites.len()));
        }
    }
}

fn change(matter: &Matter, text: String, departments: Vec<String>, sites: usize) -> Change {
    Change { about: About::Matter, id: matter.code.to_string(), text, departments, sites: Some(sites) }
}

/// All but the department.
fn differences(was: &Matter, is: &Matter) -> Vec<String> {
    let mut said = Vec::new();
    let mut compare = |what: &str, was: &str, is: &str| {
        if was == is {
            return;
        }
        said.push(match (was.is_empty(), is.is_empty()) {
            (true, _) => format!("{what} is now {is}"),
            (_, true) => format!("{what} {was} is gone"),
            _ => format!("{what} changes from {was} to {is}"),
        });
    };
    compare("its level", was.level.as_str(), is.level.as_str());
    compare("its deadline", &format!("{} h", was.deadline_h), &format!("{} h", is.deadline_h));
    compare("its name", &was.name_zh, &is.name_zh);
    compare("its English name", &was.name_en, &is.name_en);
    compare("its group", &path(&was.groups), &path(&is.groups));
    compare("who assists", &was.assisting_zh, &is.assisting_zh);
    compare("its closing criterion", &was.closing_zh, &is.closing_zh);
    compare("its legal basis", &was.legal_basis_zh, &is.legal_basis_zh);
    let codes = |matter: &Matter| matter.crosswalk.iter().cloned().collect::<BTreeMap<_, _>>();
    let (old, new) = (codes(was), codes(is));
    let none = String::new();
    for system in old.keys().chain(new.keys().filter(|system| !old.contains_key(*system))) {
        let code = |codes: &BTreeMap<String, String>| codes.get(system).unwrap_or(&none).clone();
        compare(&format!("its code in {system}"), &code(&old), &code(&new));
    }
    said
}

fn path(groups: &[MatterCode]) -> String {
    groups.iter().map(MatterCode::as_str).collect::<Vec<_>>().join("/")
}
