//! Which windows rules need.

use super::window::Need;
use crate::rule::{Condition, Origin, Rule, Statistic};

/// How many windows these rules need: rules and conditions with the same quantity, statistic and window share one.
#[must_use]
pub fn windows_needed(rules: &[Rule]) -> usize {
    needed(rules).count()
}

/// All that rules and their conditions look at, in the rules' order.
pub(super) fn needs(rules: &[Rule]) -> impl Iterator<Item = Need> {
    rules
        .iter()
        .flat_map(|rule| core::iter::once(Need::from(rule)).chain(own_conditions(rule).map(Need::from)))
}

/// The needs for which no earlier one's window would do. The newest reading alone can be had from any of its quantity.
pub(super) fn needed(rules: &[Rule]) -> impl Iterator<Item = Need> {
    needs(rules)
        .enumerate()
        .filter(|(index, need)| {
            let windowed =
                |other: Need| other.quantity == need.quantity && other.statistic != Statistic::Last;
            !needs(rules).take(*index).any(|other| other == *need)
                && (need.statistic != Statistic::Last || !needs(rules).any(windowed))
        })
        .map(|(_, need)| need)
}

/// A rule's conditions that look at its own device.
pub(super) fn own_conditions(rule: &Rule) -> impl Iterator<Item = &Condition> {
    rule.conditions.iter().filter(|condition| condition.origin == Origin::Device)
}
