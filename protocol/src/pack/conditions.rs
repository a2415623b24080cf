//! A rule's `guards` and `exclude`, as they are written.

use std::ops::Range;

use toml::de::DeTable;

use super::manifest::quantity;
use super::plausible::wrong_limit;
use super::toml_source::{Fields, Source};
use crate::reading::Milli;
use crate::rule::{
    CONDITIONS_MAX, Condition, Direction, Origin, Role, SPAN_MS_MAX, Statistic, WINDOW_MS_MIN,
};

/// How old what a guard looks at may be, where it does not say.
pub const GUARD_WITHIN_DEFAULT_MS: u32 = 120_000;

/// The keys of a condition.
const KEYS: [&str; 9] =
    ["quantity", "statistic", "window", "above", "below", "at_least", "at_most", "within", "of"];

/// The names of statistics.
pub(super) const STATISTICS: [(&str, Statistic); 11] = [
    ("last", Statistic::Last),
    ("mean", Statistic::Mean),
    ("energy-mean", Statistic::EnergyMean),
    ("max", Statistic::Max),
    ("min", Statistic::Min),
    ("L5", Statistic::L5),
    ("L10", Statistic::L10),
    ("L50", Statistic::L50),
    ("L90", Statistic::L90),
    ("L95", Statistic::L95),
    ("change", Statistic::Change),
];

/// Reads both lists; `window_ms` is the rule's, for which an exclusion counts where it does not say.
pub(super) fn read<'v, 's>(
    source: &'v Source<'s>,
    fields: &Fields<'v, 's>,
    window_ms: u32,
) -> heapless::Vec<Condition, CONDITIONS_MAX> {
    let mut conditions = heapless::Vec::new();
    for (key, role) in [("guards", Role::Guard), ("exclude", Role::Exclusion)] {
        if !fields.has(key) {
            continue;
        }
        for (table, span) in fields.tables(key, "write [{ quantity = \"wind_speed\", at_least = 5 }]") {
            let reader =
                Reader { source, fields: Fields::new(source, table, span.clone(), &KEYS), key, role };
            if let Some(condition) = reader.read(table, &span, window_ms)
                && conditions.push(condition).is_err()
            {
                let what = format!("a rule has at most {CONDITIONS_MAX} guards and exclusions together");
                source.wrong(&span, key, what, "remove some, or make another rule");
                return conditions;
            }
        }
    }
    conditions
}

struct Reader<'v, 's> {
    source: &'v Source<'s>,
    fields: Fields<'v, 's>,
    key: &'static str,
    role: Role,
}

impl Reader<'_, '_> {
    fn read(&self, table: &DeTable<'_>, span: &Range<usize>, rule_window_ms: u32) -> Option<Condition> {
        let wrong = |what: &str, way_out: &str| self.source.wrong(span, self.key, what, way_out);
        let before = self.source.count();
        let quantity = match self.fields.text("quantity") {
            Some(found) => quantity(self.source, found.value, &found.span, "quantity"),
            None if self.fields.has("quantity") => None,
            None => {
                self.fields.missing("quantity", "add quantity = \"wind_speed\", or another");
                None
            }
        };
        let origin = match self.fields.text("of").map(|found| found.value) {
            None | Some("device") => Origin::Device,
            Some("site") => Origin::Site,
            Some(other) => {
                wrong(&format!("`of` is `device` or `site`, and not `{other}`"), "correct it, or remove it");
                Origin::Device
            }
        };
        let limits = ["above", "below", "at_least", "at_most"].map(|key| self.fields.number(key));
        if ["above", "below", "at_least", "at_most"].iter().filter(|key| table.contains_key(**key)).count()
            != 1
        {
            wrong("it needs exactly one of above, below, at_least, at_most", "such as at_least = 5");
        }
        let [above, below, at_least, at_most] = limits;
        // Values are whole thousandths: at least 5 is above 4.999.
        let (direction, limit) = match (above, below, at_least, at_most) {
            (Some(limit), ..) => (Direction::Above, limit.value),
            (_, Some(limit), ..) => (Direction::Below, limit.value),
            (_, _, Some(limit), _) => (Direction::Above, Milli(limit.value.0.saturating_sub(1))),
            (.., Some(limit)) => (Direction::Below, Milli(limit.value.0.saturating_add(1))),
            _ => (Direction::Above, Milli(0)),
        };
        let statistic = self.fields.text("statistic").map(|found| {
            let known = STATISTICS.iter().find(|(name, _)| *name == found.value);
            if known.is_none() {
                let names = STATISTICS.map(|(name, _)| name);
                let what = format!("there is no statistic `{}`", found.value);
                self.source.wrong(&found.span, "statistic", what, format!("use one of {}", names.join(", ")));
            }
            known.map_or(Statistic::Last, |(_, statistic)| *statistic)
        });
        let window = self.fields.duration_ms("window", WINDOW_MS_MIN, SPAN_MS_MAX).map(|found| found.value);
        let within = self.fields.duration_ms("within", WINDOW_MS_MIN, SPAN_MS_MAX).map(|found| found.value);
        if origin == Origin::Site && (statistic.is_some() || window.is_some()) {
            wrong(
                "of a site's other devices only the readings themselves can be asked",
                "remove statistic and window, and say with `within` for how long a reading counts",
            );
        }
        if let Some(quantity) = quantity.filter(|_| self.source.count() == before)
            && let Some((what, way_out)) = wrong_limit(quantity, statistic.unwrap_or(Statistic::Last), limit)
        {
            wrong(&what, &way_out);
        }
        let has_window = self.fields.has("window");
        match statistic {
            None | Some(Statistic::Last) if has_window => {
                wrong(
                    "a window needs a statistic other than `last`",
                    "add statistic = \"mean\", or remove window",
                );
            }
            Some(statistic) if statistic != Statistic::Last && !has_window => {
                self.fields.missing("window", "the statistic needs one: add window = \"1min\"");
            }
            Some(Statistic::EnergyMean) if quantity.is_some_and(|quantity| quantity.unit() != "dB") => {
                wrong("energies are of levels in dB only", "use `mean`");
            }
            _ => {}
        }
        if self.source.count() > before {
            return None;
        }
        // How long what was excluded counts: a window in which it happened is no measurement.
        let excluded_for = within.unwrap_or(rule_window_ms.max(60_000));
        let (statistic, window_ms, within_ms) = match (self.role, statistic, origin) {
            (Role::Exclusion, None, Origin::Device) => {
                let extreme = match direction {
                    Direction::Above => Statistic::Max,
                    Direction::Below => Statistic::Min,
                };
                (extreme, excluded_for, excluded_for)
            }
            (Role::Exclusion, None, Origin::Site) => (Statistic::Last, 0, excluded_for),
            (_, statistic, _) => {
                let default = window.unwrap_or(GUARD_WITHIN_DEFAULT_MS);
                (statistic.unwrap_or(Statistic::Last), window.unwrap_or(0), within.unwrap_or(default))
            }
        };
        let role = self.role;
        Some(Condition {
            role,
            origin,
            quantity: quantity?,
            statistic,
            window_ms,
            direction,
            limit,
            within_ms,
        })
    }
}
