//! What becomes of a reading, and why an engine cannot be made.

use core::fmt;

use super::slots::Pool;
use super::{RULES_MAX, windows_and_slots_needed};
use crate::rule::{Rule, RuleError};

/// Some of a device's rules, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSet(u64);

impl RuleSet {
    pub(super) const NONE: Self = Self(0);

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the rule with this index is one of them.
    #[must_use]
    pub const fn has(self, index: usize) -> bool {
        index < RULES_MAX && self.0 & (1 << index) != 0
    }

    /// Their indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let index = rest.trailing_zeros() as usize;
            rest &= rest.checked_sub(1)?;
            Some(index)
        })
    }

    pub(super) fn insert(&mut self, index: usize) {
        self.put(index, true);
    }

    pub(super) fn put(&mut self, index: usize, is_one: bool) {
        // The engine holds at most RULES_MAX rules.
        let bit = 1 << (index % RULES_MAX);
        self.0 = if is_one { self.0 | bit } else { self.0 & !bit };
    }

    /// Those before `index`.
    pub(super) const fn before(self, index: usize) -> Self {
        Self(self.0 & ((1 << (index % RULES_MAX)) - 1))
    }
}

/// What became of a reading, besides the decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The device's clock had been set back; a replay must begin with this reading, not before.
    pub restarted: bool,
    /// The reading was too late for at least one window, which was left as it was.
    pub late: bool,
    /// The reading's quality let no rule decide on it.
    pub excluded: bool,
    /// Rules of the reading's quantity that could decide nothing: too few readings in the window, or a period that is
    /// not known here.
    pub undecided: RuleSet,
    /// Rules of the reading's quantity that an exclusion kept from deciding.
    pub kept_out: RuleSet,
    /// Rules of the reading's quantity that a guard kept from raising anything.
    pub unguarded: RuleSet,
    /// Rules whose state is no longer what it was: to be stored together with the reading.
    pub changed: RuleSet,
}

/// Why an engine cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// More than [`RULES_MAX`] rules.
    TooManyRules {
        /// How many there are.
        rules: usize,
    },
    /// There is less room for windows, or for their slots, than the rules need.
    TooFewWindows {
        /// What the rules need ([`windows_needed`](super::windows_needed)).
        needed: usize,
    },
    /// There is less room for states than there are rules.
    TooFewStates {
        /// How many rules there are.
        needed: usize,
    },
    /// A rule is out of its bounds.
    Rule {
        /// Which.
        index: usize,
        /// How.
        error: RuleError,
    },
}

/// How many windows these rules use, of so many.
pub(super) fn check(rules: &[Rule], windows: usize, states: usize) -> Result<usize, EngineError> {
    if rules.len() > RULES_MAX {
        return Err(EngineError::TooManyRules { rules: rules.len() });
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|error| EngineError::Rule { index, error })?;
    }
    if states < rules.len() {
        return Err(EngineError::TooFewStates { needed: rules.len() });
    }
    let (needed, slots) = windows_and_slots_needed(rules);
    if windows < needed || slots > Pool::ROOM {
        return Err(EngineError::TooFewWindows { needed });
    }
    Ok(needed)
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRules { rules } => {
                write!(f, "{rules} rules apply to one device, and at most {RULES_MAX} may")
            }
            Self::TooFewWindows { needed } => {
                write!(f, "the rules need {needed} windows, and there is room for fewer")
            }
            Self::TooFewStates { needed } => write!(f, "there are {needed} rules, and room for fewer states"),
            Self::Rule { index, error } => write!(f, "rule {index} of the device: {error}"),
        }
    }
}

impl core::error::Error for EngineError {}
