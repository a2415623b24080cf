//! What a rule looks at besides its own quantity: guards, which tell sources apart (the blows of a pile driver, the hum of a
//! plant), and exclusions, under which a measurement does not count (wind, rain).
//!
//! Both are answered when a reading of the rule's own quantity is judged:
//! - A *guard* that is not met keeps the rule from raising anything: no early warning, no exceeding, no further severity, and
//!   the hold time begins anew. An episode that is open goes on until its value is within the limit: a pause between two
//!   blows is not its end. A quantity of which nothing is known meets no guard.
//! - An *exclusion* that is met keeps the rule from deciding at all, as too little data does: an open episode stays open, hold
//!   and clear times begin anew. A quantity of which nothing is known excludes nothing: a broken anemometer must not silence
//!   a street.

use serde::{Deserialize, Serialize};

use super::{Direction, SPAN_MS_MAX, Statistic};
use crate::quantity::Quantity;
use crate::reading::Milli;

/// How many guards and exclusions a rule may have, together: they fit into a byte of a rule's state, and into a node.
pub const CONDITIONS_MAX: usize = 4;

/// What a condition is for. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Must be met for the rule to raise anything.
    Guard,
    /// Must not be met for the rule to decide.
    Exclusion,
}

/// Whose readings a condition looks at. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The rule's own device.
    Device,
    /// Any device at the site: known to a gateway only, by whole minutes.
    Site,
}

/// A guard or an exclusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is for.
    pub role: Role,
    /// Whose readings it looks at.
    pub origin: Origin,
    /// Which quantity.
    pub quantity: Quantity,
    /// How the readings become one value; [`Statistic::Last`] of [`Origin::Site`].
    pub statistic: Statistic,
    /// The window, in milliseconds, as of a rule.
    pub window_ms: u32,
    /// Beyond the limit on this side the condition is met.
    pub direction: Direction,
    /// The limit; a value equal to it does not meet the condition.
    pub limit: Milli,
    /// How old the newest reading may be, in milliseconds; of [`Origin::Site`], for how long a reading beyond the limit counts.
    pub within_ms: u32,
}

impl Condition {
    pub(super) fn fits(&self) -> bool {
        let window_fits = match self.origin {
            Origin::Device => self.statistic.takes(self.window_ms),
            Origin::Site => self.statistic == Statistic::Last && self.window_ms == 0,
        };
        window_fits && (1..=SPAN_MS_MAX).contains(&self.within_ms)
    }

    /// Whether this value meets it.
    #[must_use]
    pub const fn is_beyond(&self, value: Milli) -> bool {
        self.direction.excess(value, self.limit) > 0
    }
}
