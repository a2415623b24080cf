//! Why a rule said what it said at a reading, or said nothing: for people who ask.

use super::RuleState;
use super::episode::Standing;
use crate::event::Phase;
use crate::reading::Milli;
use crate::time::UnixMillis;

/// How a rule could act on a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Nobody knows whether its period is on.
    PeriodUnknown,
    /// Its period is not on.
    OutOfPeriod,
    /// An earlier rule of its group has something to say.
    Blocked,
    /// An exclusion is met.
    Excluded,
    /// Too little of its window was measured.
    TooLittle,
    /// A guard is not met.
    Unguarded,
    /// It decided.
    Decided,
}

impl Ruling {
    pub(super) const fn of(standing: Option<Standing>) -> Self {
        match standing {
            None => Self::PeriodUnknown,
            Some(Standing::OutOfPeriod) => Self::OutOfPeriod,
            Some(Standing::Blocked { .. }) => Self::Blocked,
            Some(Standing::Excluded(_)) => Self::Excluded,
            Some(Standing::TooLittle) => Self::TooLittle,
            Some(Standing::Free { guarded: false }) => Self::Unguarded,
            Some(Standing::Free { guarded: true }) => Self::Decided,
        }
    }
}

/// What one rule made of one reading of its quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule's index among the device's rules.
    pub rule: usize,
    /// Its statistic at this reading.
    pub value: Milli,
    /// The limit in force; [`None`] where nobody knows which is.
    pub limit: Option<Milli>,
    /// From when on readings are in `value`.
    pub window_from: UnixMillis,
    /// How many of the expected readings were there, in percent.
    pub capture_percent: u8,
    /// How it could act.
    pub ruling: Ruling,
    /// Which of its conditions are met, a bit for each.
    pub met: u8,
    /// Where it stands after the reading.
    pub state: RuleState,
    /// What it said.
    pub said: Option<Phase>,
}
