//! A rule as it is written.

use serde::Serialize;

use crate::pack::name::{AreaClass, MatterCode, RuleId, SiteKind};
use crate::pack::places::Site;
use crate::quantity::Quantity;
use crate::reading::Milli;
use crate::rule::{Condition, Direction, PeriodId, Rule, Statistic};

/// Against what a rule compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Limit {
    /// The same everywhere and always.
    Number(Milli),
    /// The limit table with this name, by the site's area class and the time of day.
    Table(String),
}

/// A rule as it is written; [`Pack::compile_for`](crate::pack::Pack::compile_for) makes a device's rules of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackRule {
    /// Its id, unique in the pack.
    pub id: RuleId,
    /// The code of the matter that its events are about.
    pub matter: MatterCode,
    /// Its group's name.
    pub group: Option<String>,
    /// Against what it compares.
    pub limit: Limit,
    /// At which kinds of sites it applies; none named: at all.
    pub sites: Vec<SiteKind>,
    /// In which area classes it applies; none named: in all.
    pub area_classes: Vec<AreaClass>,
    /// All else, with limits that are not yet those of a site.
    pub(in crate::pack) template: Rule,
    /// For how many milliseconds after its case is closed an exceedance still belongs to that; as the pack, if not said.
    pub reopen_after_ms: Option<u32>,
    /// The line in `rules.toml` where it begins.
    pub line: u64,
}

impl PackRule {
    /// Whether it applies at this site.
    #[must_use]
    pub fn applies_at(&self, site: &Site) -> bool {
        (self.sites.is_empty() || self.sites.contains(&site.kind))
            && (self.area_classes.is_empty() || self.area_classes.contains(&site.area_class))
    }

    /// What it watches.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.template.quantity
    }

    /// When it applies.
    #[must_use]
    pub const fn period(&self) -> PeriodId {
        self.template.period
    }

    /// Which side of the limit is wrong.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.template.direction
    }

    /// How the readings of its window become one value.
    #[must_use]
    pub const fn statistic(&self) -> Statistic {
        self.template.statistic
    }

    /// Its guards and exclusions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.template.conditions
    }

    /// Its window in milliseconds; 0 for the last reading alone.
    #[must_use]
    pub const fn window_ms(&self) -> u32 {
        self.template.window_ms
    }
}
