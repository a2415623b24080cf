//! Cases (案件): what the platform made of events, and what became of them.
//!
//! The first `exceeded` of an episode raises a case. When the platform files it, says so by a *disposition*, and until it closes or rejects
//! it, further episodes of the same rule at the same device *continue* that case: their events go out as ever, and say so, so that nobody
//! files them anew. After a case is closed or rejected, an episode whose exceedance is seen within the rule's `reopen_after` still
//! belongs to it; a later one *reopens* it: it is a case of its own that names the one before. A platform that sends no dispositions
//! gets a case for each episode.
//!
//! What a disposition changes is committed in the pipeline's order with everything else, so that events depend on nothing but what is durable.
//! The newest disposition by its own time decides, whatever the order in which they come; one that comes twice changes nothing.
//!
//! Bounds: [`CASES_MAX`] cases are kept, the oldest go, and their numbers stay in the sums of their rule.
//! An open case is found among the 32 newest of its rule at its device.

use serde::{Deserialize, Serialize};

/// Cases in the spool: at some 250 bytes each, 5 MB.
pub const CASES_MAX: i64 = 20_000;

/// What became of a case. The order is that in which they follow each other: of two with the same time the later one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// 上报: told to the platform, which has not answered.
    Raised,
    /// 立案.
    Filed,
    /// 派遣: handed to who is to handle it.
    Dispatched,
    /// 改派: it is another matter than the rule's.
    Reclassified,
    /// 处置完成: handled, and not yet checked.
    Handled,
    /// 不予立案: it was none.
    Rejected,
    /// 结案.
    Closed,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Raised,
        Self::Filed,
        Self::Dispatched,
        Self::Reclassified,
        Self::Handled,
        Self::Rejected,
        Self::Closed,
    ];

    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Filed => "filed",
            Self::Dispatched => "dispatched",
            Self::Reclassified => "reclassified",
            Self::Handled => "handled",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What is known of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its id: that of the episode that raised it, or of the event where there is no episode.
    pub id: String,
    /// Whose matter its events are, by the pack.
    pub department: String,
    /// The rule; empty where none decided.
    pub rule: String,
    /// The newest episode that belongs to it.
    pub episode: String,
    /// The case that it reopens.
    pub previous: Option<String>,
    /// What became of it.
    pub state: State,
    /// The time of the disposition that says so, or of the event that raised it, in milliseconds since 1970.
    pub state_ms: i64,
    /// Exceedances before this time belong to it, in milliseconds since 1970.
    pub until_ms: i64,
    /// The platform's own number.
    pub number: Option<String>,
    /// As which matter it goes on, since the disposition of this time.
    pub reclassified: Option<(i64, String)>,
    /// Whether it was ever rejected.
    pub rejected: bool,
}

/// What a disposition says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of the case.
    pub state: State,
    /// When, by the platform's clock, in milliseconds since 1970.
    pub at_ms: i64,
    /// The platform's own number.
    pub number: Option<String>,
    /// The other matter; set exactly when the state is [`State::Reclassified`].
    pub matter: Option<String>,
}

impl Case {
    /// Applies a disposition. The result does not depend on the order in which dispositions are applied, nor on how often. Returns
    /// whether anything changed.
    pub fn apply(&mut self, change: &Change, reopen_after_ms: i64) -> bool {
        let before = self.clone();
        if (change.at_ms, change.state) > (self.state_ms, self.state) || self.state == State::Raised {
            self.state = change.state;
            self.state_ms = change.at_ms;
            self.until_ms = match change.state {
                State::Closed | State::Rejected => change.at_ms.saturating_add(reopen_after_ms),
                _ => i64::MAX,
            };
            if change.number.is_some() {
                self.number.clone_from(&change.number);
            }
        } else if self.number.is_none() {
            self.number.clone_from(&change.number);
        }
        self.rejected |= change.state == State::Rejected;
        if let Some(matter) = &change.matter {
            let said = (change.at_ms, matter.clone());
            if self.reclassified.as_ref().is_none_or(|known| *known < said) {
                self.reclassified = Some(said);
            }
        }
        *self != before
    }

    /// Whether an exceedance of the case's rule at this time belongs to it.
    #[must_use]
    pub const fn takes(&self, at_ms: i64) -> bool {
        at_ms < self.until_ms
    }
}

#[cfg(test)]
mod tests;
