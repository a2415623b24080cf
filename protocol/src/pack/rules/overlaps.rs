//! Periods that are on together, and what two rules then make of one noise.

use std::ops::Range;

use super::{Context, PackRule};
use crate::pack::calendar;
use crate::pack::toml_source::Source;

/// Rules of two periods of the district's own that are on together, about the same quantity at the same places, of which both
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
    let own = context.manifest.map_or(&[][..], |manifest| manifest.periods.get(1..).unwrap_or_default());
    for (index, one) in own.iter().enumerate() {
        for (later, other) in own.iter().enumerate().skip(index + 1) {
            let Some((from, to)) = one.overlap(other) else { continue };
            let of = |place: usize| {
                rules
                    .iter()
                    .zip(spans)
                    .filter(move |(rule, _)| rule.template.period == calendar::id(place + 1))
            };
            let both = |a: &PackRule, b: &PackRule| {
                a.quantity() == b.quantity()
                    && (a.group.is_none() || a.group != b.group)
                    && meet(&a.sites, &b.sites)
                    && meet(&a.area_classes, &b.area_classes)
            };
            let found = of(index)
                .find_map(|(a, _)| of(later).find(|(b, _)| both(a, b)).map(|(b, span)| (a, b, span)));
            let Some((a, b, span)) = found else { continue };
            let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let what = format!(
                "periods `{}` and `{}` overlap from {} to {}, on some day at least: rules `{}` and `{}` both decide then",
                one.name,
                other.name,
                time(from),
                time(to),
                a.id,
                b.id
            );
            let way_out =
                "put them into one group, the stricter one first, so that one noise makes one event";
            source.note(span, "during", what, way_out);
        }
    }
}
