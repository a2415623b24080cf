//! Where two departments could answer for one thing, and where codes of other systems are missing.

use std::collections::{BTreeMap, BTreeSet};

use gridpost_protocol::pack::{Matter, Pack, PackRule};
use gridpost_protocol::rule::PeriodId;

use super::coverage::Reach;
use super::{Finding, Kind, Sentence, finding, named, words};
use crate::pack::fold::fold;

/// One name for two matters of different departments; and one exceedance that makes events for two departments.
pub(super) fn two_departments(pack: &Pack, reach: &Reach, findings: &mut Vec<Finding>) {
    let mut by_name: BTreeMap<String, Vec<&Matter>> = BTreeMap::new();
    for matter in pack.matters() {
        by_name.entry(fold(&matter.name_zh)).or_default().push(matter);
    }
    for matters in by_name.values().filter(|matters| owners(matters).len() > 1) {
        let list = list(pack, matters);
        let name = &matters[0].name_zh;
        let zh = format!("同名事项「{name}」有多个主管部门：{}", list.zh);
        let en =
            format!("the matter {name} is there under several codes with different departments: {}", list.en);
        findings.push(finding(Kind::TwoDepartments, zh, en, codes(matters)));
    }
    let mut pairs: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for group in &reach.groups {
        let sites: Vec<usize> = reach.with_devices(group).collect();
        if sites.is_empty() {
            continue;
        }
        for (at, first) in group.rules.iter().enumerate() {
            for second in &group.rules[at + 1..] {
                if answers_twice(pack, &pack.rules()[*first], &pack.rules()[*second]) {
                    let ids = sites.iter().map(|site| pack.sites()[*site].id.to_string());
                    pairs.entry((*first, *second)).or_default().extend(ids);
                }
            }
        }
    }
    for ((first, second), sites) in pairs {
        let (first, second) = (&pack.rules()[first], &pack.rules()[second]);
        let (Some(a), Some(b)) = (pack.matter_of(first), pack.matter_of(second)) else { continue };
        let (quantity, sites_named) = (words::quantity(first.quantity()), named(&sites));
        let (to_a, to_b) = (pack.department_of(a), pack.department_of(b));
        let zh = format!(
            "同一次{}超标会同时立两个事项：规则 {} → {} {}（{}），规则 {} → {} {}（{}）。若应只立一个，请放入同一 group。点位 {}",
            quantity.zh,
            first.id,
            a.code,
            a.name_zh,
            to_a.name_zh,
            second.id,
            b.code,
            b.name_zh,
            to_b.name_zh,
            sites_named.zh
        );
        let en = format!(
            "one exceedance of {} raises two matters: rule {} → {} ({}), rule {} → {} ({}). If it is one happening, put both into one group. Sites {}",
            quantity.en, first.id, a.code, to_a.id, second.id, b.code, to_b.id, sites_named.en
        );
        findings.push(finding(
            Kind::TwoDepartments,
            zh,
            en,
            vec![first.id.to_string(), second.id.to_string()],
        ));
    }
}

/// Whether one exceedance can make both speak, to different departments.
fn answers_twice(pack: &Pack, a: &PackRule, b: &PackRule) -> bool {
    let apart = [(PeriodId::DAY, PeriodId::NIGHT), (PeriodId::NIGHT, PeriodId::DAY)];
    let (Some(of_a), Some(of_b)) = (pack.matter_of(a), pack.matter_of(b)) else { return false };
    a.quantity() == b.quantity()
        && a.direction() == b.direction()
        && of_a.department != of_b.department
        && !(a.group.is_some() && a.group == b.group)
        && !apart.contains(&(a.period(), b.period()))
}

/// Codes of other systems: matters without one, and (a category has many) one code for matters of different departments.
pub(super) fn crosswalk(pack: &Pack, findings: &mut Vec<Finding>) {
    // By the code as it is compared: how it is written, and what it stands for.
    let mut systems: BTreeMap<&str, BTreeMap<String, (&str, Vec<&Matter>)>> = BTreeMap::new();
    for matter in pack.matters() {
        for (system, code) in &matter.crosswalk {
            let by_code = systems.entry(system).or_default();
            by_code.entry(fold(code)).or_insert_with(|| (code, Vec::new())).1.push(matter);
        }
    }
    for (system, by_code) in systems {
        for (code, matters) in by_code.values().filter(|(_, matters)| owners(matters).len() > 1) {
            let list = list(pack, matters);
            let zh =
                format!("{system} 的编码 {code} 对应多个主管部门的事项，凭它不能确定由谁办理：{}", list.zh);
            let en = format!("code {code} of {system} alone does not say who handles it: {}", list.en);
            findings.push(finding(Kind::CoarseCode, zh, en, codes(matters)));
        }
        let without: Vec<String> = pack
            .matters()
            .iter()
            .filter(|matter| matter.crosswalk.iter().all(|(have, _)| have != system))
            .map(|matter| matter.code.to_string())
            .collect();
        if !without.is_empty() {
            let named = named(&without);
            let zh = format!("{} 个事项没有 {system} 编码：{}", without.len(), named.zh);
            let en = format!("{} matters have no code of {system}: {}", without.len(), named.en);
            findings.push(finding(Kind::Crosswalk, zh, en, without));
        }
    }
}

fn owners(matters: &[&Matter]) -> BTreeSet<usize> {
    matters.iter().map(|matter| matter.department).collect()
}

fn codes(matters: &[&Matter]) -> Vec<String> {
    matters.iter().map(|matter| matter.code.to_string()).collect()
}

/// By department, in the order in which they come.
fn list(pack: &Pack, matters: &[&Matter]) -> Sentence {
    let mut by_owner: Vec<(usize, Vec<String>)> = Vec::new();
    for matter in matters {
        let code = matter.code.to_string();
        match by_owner.iter_mut().find(|(owner, _)| *owner == matter.department) {
            Some((_, codes)) => codes.push(code),
            None => by_owner.push((matter.department, vec![code])),
        }
    }
    let each = by_owner.iter().map(|(owner, codes)| {
        let (department, codes) = (&pack.departments()[*owner], named(codes));
        let zh = format!("{}（{}）", department.name_zh, codes.zh);
        (zh, format!("{} ({})", department.id, codes.en))
    });
    let (zh, en): (Vec<_>, Vec<_>) = each.unzip();
    Sentence { zh: zh.join("，"), en: en.join(", ") }
}
