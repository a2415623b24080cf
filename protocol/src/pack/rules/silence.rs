//! `[[silence]]` in `rules.toml`: whose matter it is when a device, or one of its sensors, says nothing any more. The gateway decides it:
//! a device cannot tell that it is not heard.

use std::cell::RefCell;

use serde::Serialize;

use super::{Context, Ids, RULES_IN_PACK_MAX, RuleReader, Rules};
use crate::pack::manifest::quantity;
use crate::pack::name::{AreaClass, DecidesAt, MatterCode, RuleId, SiteKind};
use crate::pack::places::{Device, Site};
use crate::pack::toml_source::{Fields, Source};
use crate::quantity::Quantity;

/// The shortest silence that may mean something, in milliseconds: a node says something each minute.
pub const SILENCE_MS_MIN: u32 = 120_000;
/// The longest that may be waited for, in milliseconds: 30 days.
pub const SILENCE_MS_MAX: u32 = 30 * 24 * 3_600_000;

const KEYS: [&str; 6] = ["id", "matter", "quantity", "after", "sites", "area_classes"];

/// When it is an event that nothing is heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceRule {
    /// Its id, unique among all rules of the pack.
    pub id: RuleId,
    /// The code of the matter that its events are about.
    pub matter: MatterCode,
    /// Of what nothing is heard: readings of this quantity; [`None`] for whatever the device says.
    pub quantity: Option<Quantity>,
    /// For how many milliseconds.
    pub after_ms: u32,
    /// At which kinds of sites it applies; none named: at all.
    pub sites: Vec<SiteKind>,
    /// In which area classes it applies; none named: in all.
    pub area_classes: Vec<AreaClass>,
}

impl SilenceRule {
    /// Whether it applies to this device at its site. One about a quantity applies to devices that are said to measure it (`measures`) and that
    /// leave deciding to the gateway: others send no readings.
    #[must_use]
    pub fn applies_to(&self, device: &Device, site: &Site) -> bool {
        let says_it = self.quantity.is_none_or(|quantity| {
            device.decides == DecidesAt::Gateway && device.measures.contains(&quantity)
        });
        says_it
            && (self.sites.is_empty() || self.sites.contains(&site.kind))
            && (self.area_classes.is_empty() || self.area_classes.contains(&site.area_class))
    }
}

/// Reads them; their ids are among those of all rules.
pub(super) fn read<'v, 's>(
    source: &'v Source<'s>,
    fields: &Fields<'v, 's>,
    context: &Context<'_>,
    ids: &mut Ids,
    rules: &mut Rules,
) {
    if !fields.has("silence") {
        return;
    }
    for (table, span) in fields.tables("silence", "write each rule under its own [[silence]]") {
        if rules.silences.len() == RULES_IN_PACK_MAX {
            let what = format!("there are more than {RULES_IN_PACK_MAX} of them");
            source.wrong(&span, "silence", what, "remove some");
            break;
        }
        let wrong_tables = RefCell::default();
        let reader = RuleReader {
            source,
            context,
            limits: &rules.limits,
            wrong_tables: &wrong_tables,
            fields: Fields::new(source, table, span, &KEYS),
        };
        let rule = reader.read_silence(ids);
        rules.silences.extend(rule);
    }
}

impl RuleReader<'_, '_> {
    fn read_silence(&self, ids: &mut Ids) -> Option<SilenceRule> {
        let before = self.source.count();
        let line = self.source.place(&self.fields.span).line.unwrap_or(0);
        let id = self.id(ids, line);
        let matter = self.matter();
        let named = self.fields.text("quantity");
        let quantity = named.and_then(|found| quantity(self.source, found.value, &found.span, "quantity"));
        let after = self.needed(
            "after",
            self.fields.duration_ms("after", SILENCE_MS_MIN, SILENCE_MS_MAX),
            "say after how long silence is an event: after = \"30min\"",
        );
        let sites = self.words("sites", SiteKind::from_word, SiteKind::words);
        let area_classes = self.words("area_classes", AreaClass::from_word, AreaClass::words);
        if self.source.count() > before {
            return None;
        }
        Some(SilenceRule { id: id?, matter: matter?, quantity, after_ms: after?.value, sites, area_classes })
    }
}
