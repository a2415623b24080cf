//! Periods that are on together, and what two rules then make of one noise.

use std::ops::Range;

use super::{Context, PackRule};
use crate::pack::calendar::{self, Period};
use crate::pack::toml_source::Source;
use crate::rule::PeriodId;

/// Rules of two periods that are on together, one of them the district's own, about the same quantity at the same places, of which both
/// would make an event of one noise: one note for each two periods.
pub(super) fn note_overlaps(
    source: &Source<'_>,
    rules: &[PackRule],
    spans: &[Range<usize>],
    context: &Context<'_>,
) {
    fn meet<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        one.is_empty() || other.is_empty() || one.iter().any(|item| other.contains(item))
    }
    let Some(day) = context.manifest.and_then(|manifest| manifest.periods.first()) else { return };
    let own = context.manifest.map_or(&[][..], |manifest| manifest.periods.get(1..).unwrap_or_default());
    // All that is not day.
    let night = Period {
        name: "night".to_owned(),
        from_minute: day.to_minute % 1440,
        to_minute: day.from_minute,
        ..Period::day()
    };
    let mut all = vec![(day, PeriodId::DAY), (&night, PeriodId::NIGHT)];
    all.extend(own.iter().enumerate().map(|(place, period)| (period, calendar::id(place + 1))));
    for (index, (one, one_id)) in all.iter().enumerate() {
        // Day and night never overlap.
        for (other, other_id) in all.iter().skip(index.max(1) + 1) {
            let Some((from, to)) = one.overlap(other) else { continue };
            let of =
                |id: PeriodId| rules.iter().zip(spans).filter(move |(rule, _)| rule.template.period == id);
            let both = |a: &PackRule, b: &PackRule| {
                a.quantity() == b.quantity()
                    && (a.group.is_none() || a.group != b.group)
                    && meet(&a.sites, &b.sites)
                    && meet(&a.area_classes, &b.area_classes)
            };
            let found = of(*one_id)
                .find_map(|(a, _)| of(*other_id).find(|(b, _)| both(a, b)).map(|(b, span)| (a, b, span)));
            let Some((a, b, span)) = found else { continue };
            let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let (from, to, one, other) = (time(from), time(to), &one.name, &other.name);
            let what = format!(
                "periods `{one}` and `{other}` overlap from {from} to {to}, on some day at least: rules `{}` and `{}` both decide then",
                a.id, b.id
            );
            let what_zh = format!(
                "时段 `{one}` 与 `{other}` 至少在某一天的 {from} 至 {to} 重叠：规则 `{}` 与 `{}` 会同时判定",
                a.id, b.id
            );
            source.note(
                span,
                "during",
                (&what, "put them into one group, the stricter one first, so that one noise makes one event"),
                (&what_zh, "请放进同一 group，较严的在前，使一次噪声只生成一个事件"),
            );
        }
    }
}
