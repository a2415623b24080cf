//! The responsibility review: what a pack settles, and what it leaves open, for the person who signs for it.
//!
//! An error is no finding: a pack with errors is none. A *gap* is a question of responsibility that is not settled; a *note*
//! is for information. What is said is said in Chinese and in English.
//!
//! Cost: each rule is held against each site once; the rest goes by groups of sites at which the same rules apply.

mod coverage;
pub mod html;
mod owners;
pub mod text;
mod words;

use std::collections::BTreeMap;

use gridpost_protocol::pack::{Matter, Pack};
use serde::Serialize;

use coverage::Reach;

/// How many sites or codes a sentence names; of more it says how many.
const NAMED_MAX: usize = 8;

/// A sentence in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// 中文.
    pub zh: String,
    /// English.
    pub en: String,
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A device measures a quantity over which no rule at its site decides, or not at all times.
    Coverage,
    /// One happening, and two departments.
    TwoDepartments,
    /// A rule that no device can make speak.
    RuleWithoutSite,
    /// A code of another system is missing.
    Crosswalk,
    /// A code of another system stands for matters of several departments.
    CoarseCode,
    /// What loading the pack noted.
    Oddity,
    /// Devices do not say what they measure.
    Unmeasured,
    /// No rule raises a matter.
    MatterWithoutRule,
}

impl Kind {
    /// All, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Coverage,
        Self::TwoDepartments,
        Self::RuleWithoutSite,
        Self::Crosswalk,
        Self::CoarseCode,
        Self::Oddity,
        Self::Unmeasured,
        Self::MatterWithoutRule,
    ];

    /// Whether it is a question of responsibility that is not settled.
    #[must_use]
    pub const fn is_gap(self) -> bool {
        matches!(self, Self::Coverage | Self::TwoDepartments | Self::RuleWithoutSite | Self::Crosswalk)
    }

    /// The heading.
    #[must_use]
    pub fn title(self) -> Sentence {
        let (zh, en) = match self {
            Self::Coverage => ("可能超标而无事项可立", "What could exceed with no matter to raise"),
            Self::TwoDepartments => ("一事两主管", "Two departments for one happening"),
            Self::RuleWithoutSite => ("没有点位的规则", "Rules that no site can reach"),
            Self::Crosswalk => ("编码对照缺口", "Crosswalk gaps"),
            Self::CoarseCode => (
                "一个外部编码对应多个主管部门",
                "Codes of other systems that cover several departments' matters",
            ),
            Self::Oddity => ("装载提示", "Noted when the pack was loaded"),
            Self::Unmeasured => ("设备未说明监测量", "Devices that do not say what they measure"),
            Self::MatterWithoutRule => ("没有规则能立的事项", "Matters that no rule can raise"),
        };
        Sentence { zh: zh.to_owned(), en: en.to_owned() }
    }
}

/// One thing that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of which kind.
    pub kind: Kind,
    /// Whether it is a gap; else a note.
    pub gap: bool,
    /// What it says.
    #[serde(flatten)]
    pub text: Sentence,
    /// The codes and ids that it is about: matters, rules, sites, departments.
    pub about: Vec<String>,
}

/// A department and what it answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DepartmentLine {
    /// Its id.
    pub id: String,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
    /// How many matters it is competent for.
    pub matters: usize,
    /// How many of them a rule can raise somewhere.
    pub raised: usize,
}

/// A matter and its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatterLine {
    /// Its code.
    pub code: String,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
    /// The competent department's id.
    pub department: String,
    /// Its name.
    pub department_zh: String,
    /// Its English name; may be empty.
    pub department_en: String,
    /// At which level it is implemented.
    pub level: &'static str,
    /// Within how many hours it is to be handled.
    pub deadline_h: u32,
    /// The rules that raise it.
    pub rules: Vec<String>,
    /// The silences that raise it.
    pub silences: Vec<String>,
    /// At how many sites with devices these rules and silences apply.
    pub sites: usize,
    /// Whether the gateway itself raises it: missing data, sensors' faults, calibrations.
    pub by_gateway: bool,
    /// Its codes in other systems.
    pub codes: BTreeMap<String, String>,
}

/// The whole review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// The pack's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The district.
    pub division: String,
    /// The digest of its content.
    pub content: String,
    /// Whether it is a sample.
    pub sample: bool,
    /// How many sites.
    pub sites: usize,
    /// How many devices.
    pub devices: usize,
    /// How many rules.
    pub rules: usize,
    /// How many rules about silence.
    pub silences: usize,
    /// How many gaps.
    pub gaps: usize,
    /// How many notes.
    pub notes: usize,
    /// What is open, the gravest first.
    pub findings: Vec<Finding>,
    /// By number of matters.
    pub departments: Vec<DepartmentLine>,
    /// In file order.
    pub matters: Vec<MatterLine>,
}

/// Reviews a pack.
#[must_use]
pub fn review(pack: &Pack) -> Review {
    let reach = Reach::of(pack);
    let matters = matters(pack, &reach);
    let departments = departments(pack, &matters);
    let mut findings = Vec::new();
    coverage::gaps(pack, &reach, &mut findings);
    owners::two_departments(pack, &reach, &mut findings);
    coverage::unreached(pack, &reach, &mut findings);
    coverage::never_silent(pack, &mut findings);
    owners::crosswalk(pack, &mut findings);
    for note in pack.notes() {
        findings.push(finding(Kind::Oddity, note.chinese(), note.to_string(), Vec::new()));
    }
    without_rule(&matters, &mut findings);
    findings.sort_by_key(|finding| finding.kind);
    let gaps = findings.iter().filter(|finding| finding.gap).count();
    Review {
        name: pack.name.clone(),
        version: pack.version,
        division: pack.division.to_string(),
        content: pack.digest().to_string(),
        sample: pack.is_sample,
        sites: pack.sites().len(),
        devices: pack.devices().len(),
        rules: pack.rules().len(),
        silences: pack.silences().len(),
        gaps,
        notes: findings.len() - gaps,
        findings,
        departments,
        matters,
    }
}

fn finding(kind: Kind, zh: String, en: String, about: Vec<String>) -> Finding {
    Finding { kind, gap: kind.is_gap(), text: Sentence { zh, en }, about }
}

/// A few of these, and how many more.
fn named(all: &[String]) -> Sentence {
    let shown = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => Sentence { zh: shown.join("、"), en: shown.join(", ") },
        more => Sentence {
            zh: format!("{} 等 {} 个", shown.join("、"), all.len()),
            en: format!("{} and {more} more", shown.join(", ")),
        },
    }
}

fn matters(pack: &Pack, reach: &Reach) -> Vec<MatterLine> {
    let mut by_matter: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, rule) in pack.rules().iter().enumerate() {
        by_matter.entry(rule.matter.as_str()).or_default().push(index);
    }
    let mut silences: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, silence) in pack.silences().iter().enumerate() {
        silences.entry(silence.matter.as_str()).or_default().push(index);
    }
    let none = Vec::new();
    pack.matters()
        .iter()
        .map(|matter| {
            let rules = by_matter.get(matter.code.as_str()).unwrap_or(&none);
            let silences = silences.get(matter.code.as_str()).unwrap_or(&none);
            let department = pack.department_of(matter);
            MatterLine {
                code: matter.code.to_string(),
                name_zh: matter.name_zh.clone(),
                name_en: matter.name_en.clone(),
                department: department.id.to_string(),
                department_zh: department.name_zh.clone(),
                department_en: department.name_en.clone(),
                level: matter.level.as_str(),
                deadline_h: matter.deadline_h,
                rules: rules.iter().map(|rule| pack.rules()[*rule].id.to_string()).collect(),
                silences: silences.iter().map(|one| pack.silences()[*one].id.to_string()).collect(),
                sites: reach.sites_of(pack, rules, silences),
                by_gateway: is_by_gateway(pack, matter),
                codes: matter.crosswalk.iter().cloned().collect(),
            }
        })
        .collect()
}

fn is_by_gateway(pack: &Pack, matter: &Matter) -> bool {
    [pack.lost_records_matter(), pack.sensor_faults_matter(), pack.calibrations_matter()]
        .iter()
        .any(|own| own.code == matter.code)
}

impl MatterLine {
    /// Whether something else than a grid worker's report may raise it.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.by_gateway || !self.rules.is_empty() || !self.silences.is_empty()
    }
}

fn departments(pack: &Pack, matters: &[MatterLine]) -> Vec<DepartmentLine> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for matter in matters {
        let (all, raised) = counts.entry(&matter.department).or_default();
        *all += 1;
        *raised += usize::from(matter.by_gateway || matter.sites > 0);
    }
    let mut lines: Vec<_> = pack
        .departments()
        .iter()
        .map(|department| {
            let (matters, raised) = counts.get(department.id.as_str()).copied().unwrap_or_default();
            DepartmentLine {
                id: department.id.to_string(),
                name_zh: department.name_zh.clone(),
                name_en: department.name_en.clone(),
                matters,
                raised,
            }
        })
        .collect();
    // Stable: those with as many stay in file order.
    lines.sort_by_key(|line| std::cmp::Reverse(line.matters));
    lines
}

fn without_rule(matters: &[MatterLine], findings: &mut Vec<Finding>) {
    let codes: Vec<String> =
        matters.iter().filter(|matter| !matter.is_raised()).map(|matter| matter.code.clone()).collect();
    if codes.is_empty() {
        return;
    }
    let named = named(&codes);
    let zh = format!("{} 个事项没有规则，只能由网格员上报：{}", codes.len(), named.zh);
    let en = format!(
        "{} of {} matters have no rule; only a grid worker's report raises them: {}",
        codes.len(),
        matters.len(),
        named.en
    );
    findings.push(finding(Kind::MatterWithoutRule, zh, en, codes));
}
