//! Which windows rules need.

use heapless::Vec;

use super::window::{Need, slots};
use crate::quantity::Quantity;
use crate::rule::{Condition, Origin, Rule, Statistic};

/// How many windows these rules need: rules and conditions with the same quantity, statistic and window share one.
#[must_use]
pub fn windows_needed(rules: &[Rule]) -> usize {
    windows_and_slots_needed(rules).0
}

/// [`windows_needed`], and how many slots these windows have together.
#[must_use]
pub fn windows_and_slots_needed(rules: &[Rule]) -> (usize, usize) {
    needed(rules).fold((0, 0), |(windows, all), need| (windows + 1, all + usize::from(slots(need.window_ms))))
}

/// What windows rules need, counted rule by rule, for who has no room for all of them at once.
#[derive(Debug, Default)]
pub struct Needed {
    /// Each once.
    all: Vec<Need, NEEDS_MAX>,
    too_many: bool,
}

/// Enough for a device's share: each of its windows may be one, and so may be the newest reading of each window's quantity.
const NEEDS_MAX: usize = 16;

impl Needed {
    /// Counts what a rule needs.
    pub fn add(&mut self, rule: &Rule) {
        for need in needs(core::slice::from_ref(rule)) {
            if !self.all.contains(&need) {
                self.too_many |= self.all.push(need).is_err();
            }
        }
    }

    /// How many windows and slots these are together ([`windows_and_slots_needed`]); [`None`] when they are more than a device has.
    #[must_use]
    pub fn windows_and_slots(&self) -> Option<(usize, usize)> {
        let windowed = |quantity: Quantity| {
            self.all.iter().any(|other| other.quantity == quantity && other.statistic != Statistic::Last)
        };
        let windows =
            self.all.iter().filter(|need| need.statistic != Statistic::Last || !windowed(need.quantity));
        let counted = windows
            .fold((0, 0), |(windows, all), need| (windows + 1, all + usize::from(slots(need.window_ms))));
        (!self.too_many).then_some(counted)
    }
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
