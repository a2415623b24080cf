//! Which rules reach which sites, and what at a site no rule decides on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gridpost_protocol::pack::{Pack, SilenceRule};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::rule::PeriodId;

use super::{Finding, Kind, finding, named, words};

/// Sites at which the same rules apply.
pub(super) struct Group {
    /// Which rules of the pack, in file order.
    pub(super) rules: Vec<usize>,
    /// Which sites of the pack.
    pub(super) sites: Vec<usize>,
}

/// Which rules apply where.
pub(super) struct Reach {
    pub(super) groups: Vec<Group>,
    /// By site: whether a device is there.
    has_device: Vec<bool>,
}

impl Reach {
    pub(super) fn of(pack: &Pack) -> Self {
        let mut has_device = vec![false; pack.sites().len()];
        for device in pack.devices() {
            has_device[device.site] = true;
        }
        let mut by_rules: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for (site_index, site) in pack.sites().iter().enumerate() {
            let rules: Vec<usize> = pack
                .rules()
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.applies_at(site))
                .map(|(index, _)| index)
                .collect();
            let next = groups.len();
            let group = *by_rules.entry(rules.clone()).or_insert(next);
            if group == next {
                groups.push(Group { rules, sites: Vec::new() });
            }
            groups[group].sites.push(site_index);
        }
        Self { groups, has_device }
    }

    /// At how many sites with devices one of these rules or silences applies.
    pub(super) fn sites_of(&self, pack: &Pack, rules: &[usize], silences: &[usize]) -> usize {
        let by_rules = self
            .groups
            .iter()
            .filter(|group| rules.iter().any(|rule| group.rules.binary_search(rule).is_ok()))
            .flat_map(|group| self.with_devices(group));
        let by_silences = silences.iter().flat_map(|silence| {
            pack.devices()
                .iter()
                .filter(|device| pack.silences()[*silence].applies_to(device, pack.site_of(device)))
                .map(|device| device.site)
        });
        by_rules.chain(by_silences).collect::<BTreeSet<_>>().len()
    }

    /// Those sites of a group at which a device is.
    pub(super) fn with_devices<'g>(&'g self, group: &'g Group) -> impl Iterator<Item = usize> + 'g {
        group.sites.iter().copied().filter(|site| self.has_device[*site])
    }
}

/// What devices measure and no rule decides on, and at which times.
pub(super) fn gaps(pack: &Pack, reach: &Reach, findings: &mut Vec<Finding>) {
    let mut measured: Vec<BTreeSet<Quantity>> = vec![BTreeSet::new(); pack.sites().len()];
    let mut silent = Vec::new();
    for device in pack.devices() {
        measured[device.site].extend(device.measures.iter().copied());
        if device.measures.is_empty() {
            silent.push(device.id.to_string());
        }
    }
    // What tells sources apart, or when a measurement counts, does not exceed by itself.
    let conditions: BTreeSet<Quantity> =
        pack.rules().iter().flat_map(|rule| rule.conditions()).map(|condition| condition.quantity).collect();
    // By what is open, the sites at which it is.
    let mut open: BTreeMap<(Quantity, &'static str), Vec<String>> = BTreeMap::new();
    for group in &reach.groups {
        let mut times: BTreeMap<Quantity, (bool, bool)> = BTreeMap::new();
        for rule in group.rules.iter().map(|index| &pack.rules()[*index]) {
            let (day, night) = times.entry(rule.quantity()).or_default();
            *day |= [PeriodId::ALWAYS, PeriodId::DAY].contains(&rule.period());
            *night |= [PeriodId::ALWAYS, PeriodId::NIGHT].contains(&rule.period());
        }
        for site in reach.with_devices(group) {
            for quantity in &measured[site] {
                let when = match times.get(quantity) {
                    None if conditions.contains(quantity) => continue,
                    None => "never",
                    Some((true, true)) => continue,
                    Some((true, false)) => "day",
                    Some((false, true)) => "night",
                    Some((false, false)) => "sometimes",
                };
                open.entry((*quantity, when)).or_default().push(pack.sites()[site].id.to_string());
            }
        }
    }
    for ((quantity, when), sites) in open {
        let (zh, en) = match when {
            "never" => ("没有任何规则", "no rule decides on it"),
            "day" => ("只有昼间规则，夜间超标无事项可立", "rules decide by day only, and by night none does"),
            "night" => {
                ("只有夜间规则，昼间超标无事项可立", "rules decide by night only, and by day none does")
            }
            _ => ("只有特定时段的规则", "rules decide in special periods only"),
        };
        let named = named(&sites);
        let measured = words::quantity(quantity);
        let zh = format!("{}：{zh}。点位 {}", measured.zh, named.zh);
        let en = format!("{}: {en}. Sites {}", measured.en, named.en);
        findings.push(finding(Kind::Coverage, zh, en, sites));
    }
    if !silent.is_empty() {
        let named = named(&silent);
        let zh = format!(
            "{} 台设备未在 devices.csv 的 measures 列说明监测量，其点位的覆盖缺口无法判断：{}",
            silent.len(),
            named.zh
        );
        let en = format!(
            "{} devices do not say in devices.csv, column measures, what they measure, so that nobody can tell what is not covered: {}",
            silent.len(),
            named.en
        );
        findings.push(finding(Kind::Unmeasured, zh, en, silent));
    }
}

/// Rules that no device can make speak.
pub(super) fn unreached(pack: &Pack, reach: &Reach, findings: &mut Vec<Finding>) {
    for (index, rule) in pack.rules().iter().enumerate() {
        let at: Vec<&super::coverage::Group> =
            reach.groups.iter().filter(|group| group.rules.binary_search(&index).is_ok()).collect();
        let about = vec![rule.id.to_string(), rule.matter.to_string()];
        if at.is_empty() {
            let zh = format!("规则 {}（事项 {}）：没有符合条件的点位", rule.id, rule.matter);
            let en =
                format!("rule {} (matter {}): there is no site at which it applies", rule.id, rule.matter);
            findings.push(finding(Kind::RuleWithoutSite, zh, en, about));
        } else if at.iter().all(|group| reach.with_devices(group).next().is_none()) {
            let zh = format!("规则 {}（事项 {}）：符合条件的点位都没有设备", rule.id, rule.matter);
            let en = format!(
                "rule {} (matter {}): no device is at the sites at which it applies",
                rule.id, rule.matter
            );
            findings.push(finding(Kind::RuleWithoutSite, zh, en, about));
        } else if !measured_somewhere(pack, reach, &at, rule.quantity()) {
            let measured = words::quantity(rule.quantity()).zh;
            let zh = format!("规则 {}（事项 {}）：其点位没有设备监测{measured}", rule.id, rule.matter);
            let en = format!(
                "rule {} (matter {}): no device at its sites measures {}",
                rule.id,
                rule.matter,
                rule.quantity()
            );
            findings.push(finding(Kind::RuleWithoutSite, zh, en, about));
        }
    }
}

/// Silences that no device can fall into.
pub(super) fn never_silent(pack: &Pack, findings: &mut Vec<Finding>) {
    let applies = |silence: &SilenceRule| {
        pack.devices().iter().any(|device| silence.applies_to(device, pack.site_of(device)))
    };
    for silence in pack.silences().iter().filter(|silence| !applies(silence)) {
        let about = vec![silence.id.to_string(), silence.matter.to_string()];
        let (zh, en) = match silence.quantity {
            None => ("没有适用的设备".to_owned(), "there is no device to which it applies".to_owned()),
            Some(quantity) => (
                format!(
                    "没有适用的设备：须在 measures 列注明监测{}，且由网关判定",
                    words::quantity(quantity).zh
                ),
                format!(
                    "there is no device to which it applies: one that says in column measures that it measures {quantity}, and whose gateway decides"
                ),
            ),
        };
        let zh = format!("静默规则 {}（事项 {}）：{zh}", silence.id, silence.matter);
        let en = format!("silence {} (matter {}): {en}", silence.id, silence.matter);
        findings.push(finding(Kind::RuleWithoutSite, zh, en, about));
    }
}

/// Whether a device at one of these sites measures it; one that does not say may.
fn measured_somewhere(pack: &Pack, reach: &Reach, groups: &[&Group], quantity: Quantity) -> bool {
    let sites: BTreeSet<usize> = groups.iter().flat_map(|group| reach.with_devices(group)).collect();
    pack.devices()
        .iter()
        .filter(|device| sites.contains(&device.site))
        .any(|device| device.measures.is_empty() || device.measures.contains(&quantity))
}
