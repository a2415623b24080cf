//! `[limits.*]` of `rules.toml`: limit tables.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::name::AreaClass;
use super::toml_source::{Fields, Source, milli};
use crate::reading::Milli;

/// Limits by area class, by day and by night.
pub(super) type LimitTable = BTreeMap<AreaClass, (Milli, Milli)>;

pub(super) fn read_limits<'s>(source: &Source<'s>, table: &DeTable<'s>) -> LimitTable {
    let mut limits = LimitTable::new();
    for (key, value) in table {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        let Some(class) = AreaClass::from_word(name) else {
            let way_out = format!("use one of {}", AreaClass::words().collect::<Vec<_>>().join(", "));
            source.wrong(&span, name, "there is no such area class", way_out);
            continue;
        };
        let limit = match value.get_ref().as_table() {
            Some(by_time) => {
                let fields = Fields::new(source, by_time, value.span(), &["day", "night"]);
                for key in ["day", "night"].into_iter().filter(|key| !fields.has(key)) {
                    fields.missing(key, "write { day = 60, night = 50 }");
                }
                fields.number("day").zip(fields.number("night")).map(|(day, night)| (day.value, night.value))
            }
            None => milli(source, name, value.get_ref(), &value.span()).map(|limit| (limit, limit)),
        };
        // A stand-in where it is wrong, so that rules do not say that it is missing.
        limits.insert(class, limit.unwrap_or_default());
    }
    limits
}
