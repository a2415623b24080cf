//! What changes from one pack to another, in words, and for whom: for the person who decides whether to roll it out.
//!
//! A matter counts as affecting those sites with devices at which a rule or a silence raises it, in either pack.

mod matters;
mod places;
mod rules;
mod silences;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use gridpost_protocol::pack::Pack;
use serde::Serialize;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// The pack as a whole.
    Pack,
    /// A department.
    Department,
    /// A matter.
    Matter,
    /// A rule, or what it compares against.
    Rule,
    /// When it is an event that nothing is heard.
    Silence,
    /// A site.
    Site,
    /// A device.
    Device,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is about.
    pub about: About,
    /// Its code or id.
    pub id: String,
    /// What changes, in words.
    pub text: String,
    /// The departments whom it concerns; none: everybody.
    pub departments: Vec<String>,
    /// How many sites it affects; absent where that means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<usize>,
}

/// A pack, by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The district.
    pub division: String,
    /// The digest of its content.
    pub content: String,
}

/// All that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The pack that runs.
    pub old: Head,
    /// The pack that is to run.
    pub new: Head,
    /// By what they are about, then in the order of the new pack; what goes first.
    pub changes: Vec<Change>,
    /// Departments' names, of both packs.
    pub departments: BTreeMap<String, String>,
}

/// Compares two packs.
#[must_use]
pub fn diff(old: &Pack, new: &Pack) -> Difference {
    let mut changes = Vec::new();
    whole(old, new, &mut changes);
    matters::departments(old, new, &mut changes);
    matters::matters(old, new, &mut changes);
    rules::rules(old, new, &mut changes);
    silences::silences(old, new, &mut changes);
    places::sites(old, new, &mut changes);
    places::devices(old, new, &mut changes);
    let names = [old, new].into_iter().flat_map(|pack| pack.departments());
    let departments = names.map(|one| (one.id.to_string(), one.name_zh.clone())).collect();
    Difference { old: head(old), new: head(new), changes, departments }
}

fn head(pack: &Pack) -> Head {
    Head {
        name: pack.name.clone(),
        version: pack.version,
        division: pack.division.to_string(),
        content: pack.digest().to_string(),
    }
}

fn whole(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let mut add = |text: String| {
        changes.push(Change {
            about: About::Pack,
            id: new.name.clone(),
            text,
            departments: Vec::new(),
            sites: None,
        });
    };
    if old.name != new.name {
        add(format!("the pack's name changes from {} to {}", old.name, new.name));
    }
    if old.division != new.division {
        add(format!(
            "the pack is for another district: {} instead of {}; gateways refuse it",
            new.division, old.division
        ));
    }
    if new.version < old.version {
        add(format!("version {} is older than {}; gateways refuse it", new.version, old.version));
    } else if new.version == old.version && new.digest() != old.digest() {
        add(format!(
            "the content changes and the version stays {}: raise it, or gateways refuse it",
            new.version
        ));
    }
    let own = |pack| {
        [Pack::lost_records_matter(pack), Pack::sensor_faults_matter(pack), Pack::calibrations_matter(pack)]
            .map(|matter| &matter.code)
    };
    let told = ["missing data is", "sensors' faults are", "calibrations are"];
    for (what, (was, is)) in told.into_iter().zip(own(old).into_iter().zip(own(new))) {
        if was != is {
            add(format!("{what} reported under matter {is} instead of {was}"));
        }
    }
}

/// The sites with devices at which a rule or a silence raises this matter.
fn sites_of(pack: &Pack, matter: &str) -> BTreeSet<String> {
    let rules: Vec<_> = pack.rules().iter().filter(|rule| rule.matter.as_str() == matter).collect();
    let mut sites = sites_with_devices(pack, |site| rules.iter().any(|rule| rule.applies_at(site)));
    for silence in pack.silences().iter().filter(|silence| silence.matter.as_str() == matter) {
        sites.extend(silences::sites(pack, silence));
    }
    sites
}

fn sites_with_devices(
    pack: &Pack,
    mut is: impl FnMut(&gridpost_protocol::pack::Site) -> bool,
) -> BTreeSet<String> {
    let with: BTreeSet<usize> = pack.devices().iter().map(|device| device.site).collect();
    with.into_iter()
        .map(|site| &pack.sites()[site])
        .filter(|site| is(site))
        .map(|site| site.id.to_string())
        .collect()
}

impl Difference {
    /// For people: what concerns everybody, then department by department.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} version {} ({}) → {} version {} ({})\n",
            self.old.name,
            self.old.version,
            short(&self.old.content),
            self.new.name,
            self.new.version,
            short(&self.new.content)
        );
        if self.changes.is_empty() {
            text.push_str("nothing changes\n");
            return text;
        }
        let mut by_department: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        let mut for_all = Vec::new();
        for change in &self.changes {
            if change.departments.is_empty() {
                for_all.push(change);
            }
            for department in &change.departments {
                by_department.entry(department).or_default().push(change);
            }
        }
        let mut part = |heading: &str, changes: &[&Change]| {
            let _ = writeln!(text, "\n{heading}");
            for change in changes {
                let affected = match change.sites {
                    None => String::new(),
                    Some(1) => "; 1 site affected".to_owned(),
                    Some(count) => format!("; {count} sites affected"),
                };
                let _ = writeln!(text, "  - {}{affected}", change.text);
            }
        };
        if !for_all.is_empty() {
            part("For everybody", &for_all);
        }
        for (department, changes) in &by_department {
            let name = self.departments.get(*department).map_or("", String::as_str);
            part(&format!("For {department} {name}"), changes);
        }
        text
    }
}

fn short(content: &str) -> &str {
    content.get(..12).unwrap_or(content)
}
