//! Rules: what raises a matter, and from which value on.

use std::collections::{BTreeMap, BTreeSet};

use gridpost_protocol::pack::{Pack, PackRule};
use gridpost_protocol::reading::Milli;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{About, Change, sites_with_devices};

/// Fields that are told of in another way, or mean nothing.
const UNTOLD: [&str; 4] = ["line", "id", "limit_day", "limit_night"];

pub(super) fn rules(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let by_id = |pack| -> BTreeMap<String, &PackRule> {
        Pack::rules(pack).iter().map(|rule| (rule.id.to_string(), rule)).collect()
    };
    let (had, has) = (by_id(old), by_id(new));
    for was in old.rules().iter().filter(|was| !has.contains_key(was.id.as_str())) {
        let text =
            format!("rule {} of matter {} is withdrawn; its open episodes are cleared", was.id, was.matter);
        changes.push(change(was, text, owners(old, &[was]), sites(old, was).len()));
    }
    for is in new.rules() {
        let applies = sites(new, is);
        let Some(was) = had.get(is.id.as_str()) else {
            let text = format!("rule {} is new: it raises matter {} by {}", is.id, is.matter, is.quantity());
            changes.push(change(is, text, owners(new, &[is]), applies.len()));
            continue;
        };
        let applied = sites(old, was);
        let said = differences(was, is);
        if !said.is_empty() {
            let text = format!("rule {}: {}", is.id, said.join("; "));
            let mut departments = owners(old, &[was]);
            departments.extend(owners(new, &[is]));
            departments.sort();
            departments.dedup();
            changes.push(change(is, text, departments, applies.union(&applied).count()));
        }
        limits(old, new, was, is, &applied.intersection(&applies).cloned().collect(), changes);
    }
}

fn change(rule: &PackRule, text: String, departments: Vec<String>, sites: usize) -> Change {
    Change { about: About::Rule, id: rule.id.to_string(), text, departments, sites: Some(sites) }
}

fn owners(pack: &Pack, rules: &[&PackRule]) -> Vec<String> {
    rules.iter().filter_map(|rule| Some(pack.department_of(pack.matter_of(rule)?).id.to_string())).collect()
}

fn sites(pack: &Pack, rule: &PackRule) -> BTreeSet<String> {
    sites_with_devices(pack, |site| rule.applies_at(site))
}

/// What a rule compares against where it applied before and applies now, by limits that change in the same way.
fn limits(
    old: &Pack,
    new: &Pack,
    was: &PackRule,
    is: &PackRule,
    both: &BTreeSet<String>,
    changes: &mut Vec<Change>,
) {
    type Limits = (Milli, Milli);
    let mut by_change: BTreeMap<(Limits, Limits), usize> = BTreeMap::new();
    for id in both {
        let (Some(before), Some(after)) = (old.site(id), new.site(id)) else { continue };
        let (before, after) = (old.limits(was, before), new.limits(is, after));
        if before != after {
            *by_change.entry((before, after)).or_default() += 1;
        }
    }
    for ((before, after), sites) in by_change {
        let unit = is.quantity().unit();
        let shown = |(day, night): Limits| match day == night {
            true => format!("{day} {unit}"),
            false => format!("{day} {unit} by day and {night} by night"),
        };
        let text = format!("rule {}: its limit changes from {} to {}", is.id, shown(before), shown(after));
        changes.push(change(is, text, owners(new, &[is]), sites));
    }
}

/// Field by field, as a pack's digest sees them: a field that a later version adds is told of too.
pub(super) fn differences(was: &impl Serialize, is: &impl Serialize) -> Vec<String> {
    let (was, is) = (fields(was), fields(is));
    let none = Value::Null;
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    keys.into_iter()
        .filter(|key| !UNTOLD.contains(&key.as_str()))
        .filter_map(|key| {
            let (before, after) = (was.get(key).unwrap_or(&none), is.get(key).unwrap_or(&none));
            (before != after).then(|| {
                let name = key.strip_suffix("_ms").unwrap_or(key).replace('_', " ");
                format!("its {name} changes from {} to {}", shown(key, before), shown(key, after))
            })
        })
        .collect()
}

fn fields(rule: &impl Serialize) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(rule) else { return Map::new() };
    if let Some(Value::Object(template)) = fields.remove("template") {
        // The rule's own `group` is a name, the compiled one a number.
        fields.extend(template.into_iter().filter(|(key, _)| key != "group"));
    }
    fields
}

fn shown(key: &str, value: &Value) -> String {
    const MILLI: [&str; 3] = ["early_warning", "hysteresis", "severity"];
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(items) if items.is_empty() => match key {
            "sites" | "area_classes" => "all".to_owned(),
            _ => "none".to_owned(),
        },
        Value::Array(items) => items.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "),
        Value::Number(number) if key.ends_with("_ms") => {
            let span = jiff::SignedDuration::from_millis(number.as_i64().unwrap_or(0));
            format!("{span:#}")
        }
        Value::Number(number) if MILLI.contains(&key) => {
            Milli(number.as_i64().and_then(|milli| i32::try_from(milli).ok()).unwrap_or(0)).to_string()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
