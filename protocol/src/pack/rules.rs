//! `rules.toml`: limit tables, and the rules as they are written.

mod overlaps;
mod silence;
mod written;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;
use toml::de::DeTable;

use super::calendar::{self, Period};
use super::catalogue::{CATALOGUE_FILE, Catalogue};
use super::conditions;
use super::error::{Problems, did_you_mean};
use super::limits::{LimitTable, read_limits};
use super::manifest::{Manifest, quantity};
use super::name::{AreaClass, MatterCode, RuleId, SiteKind};
use super::places::Site;
use super::plausible::wrong_limit;
use super::toml_source::{Fields, Found, Source};
use crate::quantity::Quantity;
use crate::reading::Milli;
use crate::rule::{
    Direction, MIN_CAPTURE_DEFAULT_PERCENT, PeriodId, Rule, SEVERITY_STEPS_MAX, SPAN_MS_MAX, Statistic,
    WINDOW_MS_MIN,
};
use overlaps::note_overlaps;
pub use silence::{SILENCE_MS_MAX, SILENCE_MS_MIN, SilenceRule};
pub use written::{Limit, PackRule};

/// The file's name.
pub(super) const FILE: &str = "rules.toml";

/// The most rules in a pack. How many may apply to one device is bounded by the engine.
pub const RULES_IN_PACK_MAX: usize = 10_000;
/// How long a value must stay within the limit before an episode is over, where the rule does not say.
pub const CLEAR_DEFAULT_MS: u32 = 60_000;

/// The longest time after which a closed case may reopen, in milliseconds: 30 days.
pub const REOPEN_AFTER_MS_MAX: u32 = 30 * 24 * 3_600_000;
/// That time, where neither rule nor pack say: half an hour.
pub const REOPEN_AFTER_DEFAULT_MS: u32 = 1_800_000;

/// How often a quantity is read, where neither rule nor pack say: what a noise node does, what an air or water sensor
/// does, and a battery once an hour.
#[must_use]
pub fn default_interval_ms(quantity: Quantity) -> u32 {
    match quantity {
        Quantity::BatteryVoltage | Quantity::BatteryCharge => 3_600_000,
        quantity if quantity.unit() == "dB" => 1000,
        _ => 60_000,
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Rules {
    pub(super) limits: BTreeMap<String, LimitTable>,
    pub(super) rules: Vec<PackRule>,
    /// In the digest only where there are some: packs without them keep theirs.
    #[serde(skip)]
    pub(super) silences: Vec<SilenceRule>,
}

/// Rules' ids in lower case: as they are written, and on which line.
type Ids = BTreeMap<String, (RuleId, u64)>;

/// What rules refer to.
pub(super) struct Context<'c> {
    pub(super) manifest: Option<&'c Manifest>,
    pub(super) catalogue: &'c Catalogue,
    pub(super) sites: &'c [Site],
}

pub(super) fn read(text: &str, context: &Context<'_>, problems: &mut Problems) -> Rules {
    let source = Source::new(FILE, text, problems);
    let mut rules = Rules::default();
    let Some(table) = source.parse() else { return rules };
    let fields = Fields::new(&source, &table, 0..0, &["limits", "rule", "silence"]);
    let wrong_tables: RefCell<BTreeSet<String>> = RefCell::default();
    if let Some(found) = fields.table("limits") {
        for (key, value) in found.value {
            source.check_name(key);
            if let Some(table) = value.get_ref().as_table() {
                let before = source.count();
                rules.limits.insert(key.get_ref().to_string(), read_limits(&source, table));
                if source.count() > before {
                    wrong_tables.borrow_mut().insert(key.get_ref().to_string());
                }
            } else {
                let way_out = "write [limits.name] with lines such as \"2\" = { day = 60, night = 50 }";
                source.wrong(&key.span(), key.get_ref(), "a limit table is a table", way_out);
            }
        }
    }
    if !fields.has("rule") || fields.empty_list("rule").is_some() {
        source.note(
            &(0..0),
            "rule",
            (
                "there is no rule, so that readings are kept and decide nothing",
                "add rules, each under its own [[rule]]",
            ),
            ("没有任何规则，读数只保存而不判定", "请增加规则，每条写在自己的 [[rule]] 之下"),
        );
    }
    let mut spans = Vec::new();
    let mut ids = Ids::new();
    for (table, span) in fields.tables("rule", "write each rule under its own [[rule]]") {
        if rules.rules.len() == RULES_IN_PACK_MAX {
            source.wrong(
                &span,
                "rule",
                format!("there are more than {RULES_IN_PACK_MAX} rules"),
                "remove some",
            );
            break;
        }
        let reader = RuleReader {
            source: &source,
            context,
            limits: &rules.limits,
            wrong_tables: &wrong_tables,
            fields: rule_fields(&source, table, span),
        };
        let rule_span = reader.fields.span.clone();
        let rule = reader.read(&mut ids);
        spans.extend(rule.is_some().then_some(rule_span));
        rules.rules.extend(rule);
    }
    note_overlaps(&source, &rules.rules, &spans, context);
    silence::read(&source, &fields, context, &mut ids, &mut rules);
    rules
}

fn rule_fields<'v, 's>(source: &'v Source<'s>, table: &'v DeTable<'s>, span: Range<usize>) -> Fields<'v, 's> {
    let known = [
        "id",
        "group",
        "matter",
        "quantity",
        "statistic",
        "window",
        "above",
        "below",
        "during",
        "sites",
        "area_classes",
        "early_warning",
        "hold",
        "clear",
        "hysteresis",
        "severity",
        "min_capture",
        "interval",
        "guards",
        "exclude",
        "reopen_after",
    ];
    Fields::new(source, table, span, &known)
}

/// Reads one rule.
struct RuleReader<'v, 's> {
    source: &'v Source<'s>,
    context: &'v Context<'v>,
    limits: &'v BTreeMap<String, LimitTable>,
    /// Tables of which it was said that something is wrong: once is enough.
    wrong_tables: &'v RefCell<BTreeSet<String>>,
    fields: Fields<'v, 's>,
}

impl<'v> RuleReader<'v, '_> {
    fn read(&self, ids: &mut Ids) -> Option<PackRule> {
        let before = self.source.count();
        let line = self.source.place(&self.fields.span).line.unwrap_or(0);
        let id = self.id(ids, line);
        let matter = self.matter();
        let quantity = self
            .needed("quantity", self.fields.text("quantity"), "add quantity = \"LAeq\", or another")
            .and_then(|found| quantity(self.source, found.value, &found.span, "quantity"));
        let window = self.fields.duration_ms("window", WINDOW_MS_MIN, SPAN_MS_MAX);
        let statistic = self.statistic(quantity, window.is_some());
        let sites = self.words("sites", SiteKind::from_word, SiteKind::words);
        let area_classes = self.words("area_classes", AreaClass::from_word, AreaClass::words);
        let limit = self.limit();
        let group = self.fields.text("group").map(|found| found.value.to_owned());
        let period = self.period();
        let hold = self.fields.duration_ms("hold", 0, SPAN_MS_MAX);
        let clear = self.fields.duration_ms("clear", 0, SPAN_MS_MAX);
        let early_warning = self.margin("early_warning");
        let hysteresis = self.margin("hysteresis");
        let severity = self.severity();
        let min_capture = self.fields.whole("min_capture", 0..101);
        let interval = self.fields.duration_ms("interval", 1, SPAN_MS_MAX);
        let conditions =
            conditions::read(self.source, &self.fields, window.as_ref().map_or(0, |found| found.value));
        let reopen_after = self.fields.duration_ms("reopen_after", 0, REOPEN_AFTER_MS_MAX);
        if self.source.count() > before {
            return None;
        }
        let (quantity, (direction, limit)) = (quantity?, limit?);
        let template = Rule {
            quantity,
            statistic: statistic?,
            window_ms: window.as_ref().map_or(0, |found| found.value),
            direction,
            limit_day: Milli(0),
            limit_night: Milli(0),
            early_warning,
            hold_ms: hold.map_or(0, |found| found.value),
            clear_ms: clear.map_or(CLEAR_DEFAULT_MS, |found| found.value),
            hysteresis: hysteresis.unwrap_or_default(),
            severity,
            period: period?,
            group: None,
            // At most 100, so it fits.
            min_capture: min_capture.as_ref().map_or(MIN_CAPTURE_DEFAULT_PERCENT, |found| found.value as u8),
            interval_ms: interval.map_or_else(|| self.interval_ms(quantity), |found| found.value),
            conditions,
        };
        if let Err(error) = template.check() {
            self.source.wrong(&self.fields.span, "", error.to_string(), "");
        }
        self.note_oddities(&template, window, min_capture);
        let reopen_after_ms = reopen_after.map(|found| found.value);
        let rule = PackRule {
            id: id?,
            matter: matter?,
            group,
            limit,
            sites,
            area_classes,
            template,
            reopen_after_ms,
            line,
        };
        self.check_limit_at_sites(&rule);
        self.check_limits_unit(&rule);
        Some(rule)
    }

    /// What a rule may say, and hardly means.
    fn note_oddities(
        &self,
        rule: &Rule,
        window: Option<Found<'v, u32>>,
        min_capture: Option<Found<'v, u32>>,
    ) {
        if let Some(found) = min_capture.filter(|found| found.value == 0) {
            self.source.note(
                &found.span,
                "min_capture",
                ("with 0 a window decides in which a single reading is left", "the usual is 50"),
                ("为 0 时，窗口内只剩一个读数也会判定", "通常为 50"),
            );
        }
        if let Some(found) = window.filter(|found| found.value < rule.interval_ms) {
            let interval = format!("{:#}", jiff::SignedDuration::from_millis(i64::from(rule.interval_ms)));
            self.source.note(
                &found.span,
                "window",
                (
                    &format!(
                        "the window is shorter than the {interval} between two readings, so it holds at most one"
                    ),
                    "make it longer, or say the true interval",
                ),
                (
                    &format!("窗口短于两次读数的间隔 {interval}，至多只有一个读数"),
                    "请加长窗口，或写明实际间隔",
                ),
            );
        }
    }

    fn needed<T>(&self, key: &str, found: Option<Found<'v, T>>, way_out: &str) -> Option<Found<'v, T>> {
        if found.is_none() && !self.fields.has(key) {
            self.fields.missing(key, way_out);
        }
        found
    }

    fn id(&self, ids: &mut Ids, line: u64) -> Option<RuleId> {
        let found = self.needed("id", self.fields.text("id"), "give the rule a name of its own")?;
        let id: RuleId = match found.value.parse() {
            Ok(id) => id,
            Err(error) => {
                self.source.wrong(
                    &found.span,
                    "id",
                    format!("`{}` cannot be an id", found.value),
                    format!("{error}"),
                );
                return None;
            }
        };
        let lower = id.as_str().to_lowercase();
        if let Some((written, first)) = ids.get(&lower) {
            let what = match *written == id {
                true => format!("`{id}` is the id of the rule on line {first} already"),
                false => format!("`{id}` differs from `{written}` on line {first} by case alone"),
            };
            self.source.wrong(&found.span, "id", what, "give the rule a name of its own");
            return None;
        }
        ids.insert(lower, (id.clone(), line));
        Some(id)
    }

    fn matter(&self) -> Option<MatterCode> {
        let way_out = "add matter = \"...\": an event without an owner helps nobody";
        let found = self.needed("matter", self.fields.text("matter"), way_out)?;
        check_matter(self.source, self.context.catalogue, "matter", &found)
    }

    fn statistic(&self, quantity: Option<Quantity>, has_window: bool) -> Option<Statistic> {
        let Some(found) = self.fields.text("statistic") else {
            return match quantity {
                _ if !has_window => Some(Statistic::Last),
                Some(quantity) if quantity.averages_energy() => Some(Statistic::EnergyMean),
                _ => Some(Statistic::Mean),
            };
        };
        let Some((_, statistic)) = conditions::STATISTICS.into_iter().find(|(name, _)| *name == found.value)
        else {
            let names = conditions::STATISTICS.map(|(name, _)| name);
            let way_out = did_you_mean(found.value, names, format!("use one of {}", names.join(", ")));
            self.source.wrong(
                &found.span,
                "statistic",
                format!("there is no statistic `{}`", found.value),
                way_out,
            );
            return None;
        };
        match (statistic, has_window || self.fields.has("window")) {
            (Statistic::Last, true) => {
                self.source.wrong(
                    &found.span,
                    "statistic",
                    "`last` takes no window",
                    "remove one of the two",
                );
            }
            (Statistic::Last, false) | (_, true) => {}
            (_, false) => {
                self.fields.missing("window", format!("`{}` needs one: add window = \"5min\"", found.value))
            }
        }
        if statistic == Statistic::EnergyMean && quantity.is_some_and(|quantity| quantity.unit() != "dB") {
            self.source.wrong(&found.span, "statistic", "energies are of levels in dB only", "use `mean`");
        }
        Some(statistic)
    }

    fn limit(&self) -> Option<(Direction, Limit)> {
        let (key, direction) = match (self.fields.has("above"), self.fields.has("below")) {
            (true, false) => ("above", Direction::Above),
            (false, true) => ("below", Direction::Below),
            (true, true) => {
                self.source.wrong(
                    &self.fields.span,
                    "above",
                    "the rule has both `above` and `below`",
                    "make two rules",
                );
                return None;
            }
            (false, false) => {
                self.fields.missing("above", "add above = 70, or below = ..., or the name of a limit table");
                return None;
            }
        };
        let found = self.fields.number_or_name(key)?;
        match found.value {
            Ok(number) => Some((direction, Limit::Number(number))),
            Err(name) if self.limits.contains_key(name) => Some((direction, Limit::Table(name.to_owned()))),
            Err(name) => {
                if name.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                    let way_out = "write the number alone, without quotes, in the quantity's unit";
                    self.source.wrong(
                        &found.span,
                        key,
                        format!("`{name}` is a text, and no number"),
                        way_out,
                    );
                    return None;
                }
                let otherwise = format!("write a number, or add [limits.{name}]");
                let way_out = did_you_mean(name, self.limits.keys().map(String::as_str), otherwise);
                self.source.wrong(&found.span, key, format!("there is no limit table `{name}`"), way_out);
                None
            }
        }
    }

    /// A table must have a limit for every site at which the rule applies.
    fn check_limit_at_sites(&self, rule: &PackRule) {
        let Limit::Table(name) = &rule.limit else { return };
        let Some(table) = self.limits.get(name) else { return };
        let mut lacking: BTreeMap<AreaClass, &Site> = BTreeMap::new();
        for site in self.context.sites.iter().filter(|site| rule.applies_at(site)) {
            if !table.contains_key(&site.area_class) {
                lacking.entry(site.area_class).or_insert(site);
            }
        }
        let key = limit_key(rule.template.direction);
        for (class, site) in lacking {
            let what = format!(
                "limit table `{name}` has no limit for area class {class}, which site {} has",
                site.id
            );
            let way_out = format!(
                "add \"{class}\" = {{ day = .., night = .. }} to [limits.{name}], or name area_classes in the rule"
            );
            self.source.wrong(&self.fields.span, key, what, way_out);
        }
    }

    /// No limit may be one of another unit.
    fn check_limits_unit(&self, rule: &PackRule) {
        let key = limit_key(rule.template.direction);
        let wrong = |of: &str, limit: Milli| {
            let wrong = wrong_limit(rule.template.quantity, rule.template.statistic, limit);
            wrong.map(|(what, way_out)| {
                let what = if of.is_empty() { what } else { format!("limit table {of}: {what}") };
                self.source.wrong(&self.fields.span_of(key), key, what, way_out);
            })
        };
        let (name, table) = match &rule.limit {
            Limit::Number(limit) => {
                wrong("", *limit);
                return;
            }
            Limit::Table(name) => (name, self.limits.get(name)),
        };
        if self.wrong_tables.borrow().contains(name) {
            return;
        }
        // The first is enough: they are all of one unit.
        let found = table.into_iter().flatten().find_map(|(class, (day, night))| {
            wrong(&format!("`{name}`, area class {class}, day"), *day)
                .or_else(|| wrong(&format!("`{name}`, area class {class}, night"), *night))
        });
        if found.is_some() {
            self.wrong_tables.borrow_mut().insert(name.clone());
        }
    }

    fn period(&self) -> Option<PeriodId> {
        let Some(found) = self.fields.text("during") else { return Some(PeriodId::ALWAYS) };
        // Without a manifest, or with a period in it that is wrong, its own errors are enough.
        let manifest = self.context.manifest;
        if manifest.is_none_or(|manifest| manifest.wrong_periods.iter().any(|name| name == found.value)) {
            return Some(PeriodId::ALWAYS);
        }
        let periods: &[Period] = manifest.map_or(&[], |manifest| &manifest.periods);
        match found.value {
            "always" => Some(PeriodId::ALWAYS),
            "day" => Some(PeriodId::DAY),
            "night" => Some(PeriodId::NIGHT),
            name => {
                let index = periods.iter().position(|period| period.name == name);
                if index.is_none() {
                    let names =
                        ["always", "night"].into_iter().chain(periods.iter().map(|p| p.name.as_str()));
                    let otherwise = format!("use `day` or `night`, or add [periods.{name}] to pack.toml");
                    let way_out = did_you_mean(name, names, otherwise);
                    self.source.wrong(&found.span, "during", format!("there is no period `{name}`"), way_out);
                }
                index.map(calendar::id)
            }
        }
    }

    fn words<T, W: Iterator<Item = &'static str>>(
        &self,
        key: &'v str,
        from_word: fn(&str) -> Option<T>,
        words: fn() -> W,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for found in self.fields.texts(key) {
            match from_word(found.value) {
                Some(item) => list.push(item),
                None => {
                    let known: Vec<_> = words().collect();
                    let otherwise = format!("use one of {}", known.join(", "));
                    let way_out = did_you_mean(found.value, known, otherwise);
                    self.source.wrong(
                        &found.span,
                        key,
                        format!("`{}` is not known here", found.value),
                        way_out,
                    );
                }
            }
        }
        if let Some(span) = self.fields.empty_list(key) {
            let what = "the list is empty, so the rule would apply nowhere";
            self.source.wrong(&span, key, what, "name one, or remove the key");
        }
        list
    }

    fn margin(&self, key: &'v str) -> Option<Milli> {
        let found = self.fields.number(key)?;
        if found.value.0 < 0 {
            self.source.wrong(
                &found.span,
                key,
                "this must not be negative",
                "it is a distance from the limit",
            );
        }
        Some(found.value)
    }

    fn severity(&self) -> heapless::Vec<Milli, SEVERITY_STEPS_MAX> {
        let Some(found) = self.fields.numbers("severity") else { return heapless::Vec::new() };
        let ascending = found.value.is_sorted_by(|a, b| a < b);
        if !ascending || found.value.first().is_some_and(|step| step.0 <= 0) {
            let way_out = "they are excesses over the limit, such as [5, 10, 15]";
            self.source.wrong(&found.span, found.key, "the steps must be positive and ascending", way_out);
        }
        heapless::Vec::from_slice(&found.value).unwrap_or_else(|_| {
            let what = format!("there are more than {SEVERITY_STEPS_MAX} steps");
            self.source.wrong(&found.span, found.key, what, "remove some");
            heapless::Vec::new()
        })
    }

    fn interval_ms(&self, quantity: Quantity) -> u32 {
        let of_pack = self.context.manifest.and_then(|manifest| {
            manifest.intervals.iter().find(|(of, _)| *of == quantity).map(|(_, interval)| *interval)
        });
        of_pack.unwrap_or_else(|| default_interval_ms(quantity))
    }
}

/// The key under which a rule's limit stands.
const fn limit_key(direction: Direction) -> &'static str {
    match direction {
        Direction::Above => "above",
        Direction::Below => "below",
    }
}

/// The matter with this code; says so when there is none.
pub(super) fn check_matter(
    source: &Source<'_>,
    catalogue: &Catalogue,
    field: &str,
    found: &Found<'_, &str>,
) -> Option<MatterCode> {
    if let Some((code, _)) = catalogue.matter_index.get_key_value(found.value) {
        return Some(code.clone());
    }
    if !catalogue.readable {
        return None;
    }
    let what = format!("there is no matter `{}` in the catalogue", found.value);
    let way_out = catalogue.instead_of(found.value, &format!("add it to {CATALOGUE_FILE}"));
    source.wrong(&found.span, field, what, way_out);
    None
}
