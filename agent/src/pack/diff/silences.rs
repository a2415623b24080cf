//! Silences: when it is an event that nothing is heard, and whose.

use std::collections::BTreeSet;

use gridpost_protocol::pack::{Pack, SilenceRule};

use super::rules::differences;
use super::{About, Change};

pub(super) fn silences(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let find = |pack: &'_ Pack, id: &str| pack.silences().iter().position(|one| one.id.as_str() == id);
    for was in old.silences().iter().filter(|was| find(new, was.id.as_str()).is_none()) {
        let text = format!(
            "silence {} of matter {} is withdrawn; who is silent by it is cleared",
            was.id, was.matter
        );
        changes.push(change(was, text, owners(&[(old, was)]), sites(old, was).len()));
    }
    for is in new.silences() {
        let mut affected = sites(new, is);
        let Some(was) = find(old, is.id.as_str()).map(|index| &old.silences()[index]) else {
            let of = is.quantity.map_or_else(
                || "nothing is heard of a device".to_owned(),
                |quantity| format!("no {quantity} is heard of a device"),
            );
            let after = jiff::SignedDuration::from_millis(is.after_ms.into());
            let text =
                format!("silence {} is new: it raises matter {} when {of} for {after:#}", is.id, is.matter);
            changes.push(change(is, text, owners(&[(new, is)]), affected.len()));
            continue;
        };
        let said = differences(was, is);
        if !said.is_empty() {
            affected.extend(sites(old, was));
            let text = format!("silence {}: {}", is.id, said.join("; "));
            changes.push(change(is, text, owners(&[(old, was), (new, is)]), affected.len()));
        }
    }
}

fn change(rule: &SilenceRule, text: String, departments: Vec<String>, sites: usize) -> Change {
    Change { about: About::Silence, id: rule.id.to_string(), text, departments, sites: Some(sites) }
}

fn owners(rules: &[(&Pack, &SilenceRule)]) -> Vec<String> {
    let owners = rules.iter().filter_map(|(pack, rule)| {
        Some(pack.department_of(pack.matter(rule.matter.as_str())?).id.to_string())
    });
    owners.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The sites with a device to which it applies.
pub(super) fn sites(pack: &Pack, rule: &SilenceRule) -> BTreeSet<String> {
    let devices = pack.devices().iter().map(|device| (device, pack.site_of(device)));
    devices
        .filter(|(device, site)| rule.applies_to(device, site))
        .map(|(_, site)| site.id.to_string())
        .collect()
}
