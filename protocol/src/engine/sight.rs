//! What one rule sees at a reading, and how it may act on that.

use super::episode::{Moment, RuleState, Standing, View};
use super::{Periods, Window};
use crate::event::Decision;
use crate::reading::Reading;
use crate::rule::{Condition, PeriodId, Rule, Statistic};
use crate::time::UnixMillis;

/// What a rule's conditions say.
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    /// All guards are met.
    pub(super) guarded: bool,
    /// The exclusions that are met, a bit for each condition's place in the rule.
    pub(super) excluded: u8,
    /// All that are met.
    pub(super) met: u8,
}

pub(super) fn is_met(of: &Condition, window: &Window, now: UnixMillis) -> bool {
    window
        .seen(of.statistic)
        .is_some_and(|(value, newest)| now.since(newest) <= i64::from(of.within_ms) && of.is_beyond(value))
}

/// What one rule sees at one reading of its quantity.
pub(super) struct Sight {
    view: View,
    enough: bool,
    /// The reading before was too long ago for anything to have lasted since.
    interrupted: bool,
}

impl Sight {
    /// `None` when the reading changed nothing that this rule looks at: it was too late.
    pub(super) fn of(rule: &Rule, windows: &[Window], reading: &Reading, now: UnixMillis) -> Option<Self> {
        let window = windows.iter().find(|window| window.serves(rule))?;
        let interrupted = window.taken.before.is_none_or(|before| now.since(before) > rule.continuity_ms());
        // The limit is filled in when the period is known.
        let limit = rule.limit_day;
        if rule.statistic == Statistic::Last {
            return window.taken.newest.then_some(Self {
                view: View { value: reading.value, limit, window_from: now, capture_percent: 100 },
                enough: true,
                interrupted,
            });
        }
        if !window.taken.entered {
            return None;
        }
        let summary = window.summary()?;
        let covered_ms = now.since(summary.from).max(0).unsigned_abs();
        let expected = covered_ms / u64::from(rule.interval_ms) + 1;
        // At most 100, so it fits.
        let capture_percent = (summary.count.saturating_mul(100) / expected).min(100) as u8;
        Some(Self {
            view: View { value: summary.value, limit, window_from: summary.from, capture_percent },
            enough: capture_percent >= rule.min_capture,
            interrupted,
        })
    }

    /// Lets the rule act; how it could ([`None`] where its period is not known), and what it says.
    pub(super) fn judge(
        mut self,
        rule: &Rule,
        state: &mut RuleState,
        blocked: bool,
        conditions: Conditions,
        periods: &impl Periods,
        moment: Moment,
    ) -> (View, Option<Standing>, Option<Decision>) {
        if self.interrupted {
            state.interrupt();
        }
        let on = match rule.period {
            PeriodId::ALWAYS => Some(true),
            period => periods.is_active(period, moment.now),
        };
        let by_day = match rule.period {
            _ if rule.limit_day == rule.limit_night => Some(true),
            PeriodId::DAY => Some(true),
            PeriodId::NIGHT => Some(false),
            _ => periods.is_active(PeriodId::DAY, moment.now),
        };
        let (Some(on), Some(by_day)) = (on, by_day) else {
            state.undecided();
            return (self.view, None, None);
        };
        self.view.limit = if by_day { rule.limit_day } else { rule.limit_night };
        let Conditions { guarded, excluded, .. } = conditions;
        let standing = match (on, blocked, self.enough) {
            (false, ..) => Standing::OutOfPeriod,
            (_, true, enough) => Standing::Blocked { enough: enough && excluded == 0, guarded },
            _ if excluded != 0 => Standing::Excluded(excluded),
            (.., false) => Standing::TooLittle,
            _ => Standing::Free { guarded },
        };
        let said = state.act(rule, &self.view, standing, moment);
        (self.view, Some(standing), said)
    }
}
