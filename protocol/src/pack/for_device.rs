//! What of a pack concerns one device: the rules that apply where it is, and those that it can run itself.

use std::collections::{BTreeMap, HashMap};

use super::error::Place;
use super::{DecidesAt, DeviceRules, Note, Pack, places};
use crate::engine::SLOTS;
use crate::id::DeviceId;
use crate::rule::Rule;
use crate::share::{
    RULE_NAME_BYTES_MAX, SHARE_BYTES_MAX, SHARE_RULES_MAX, SHARE_SLOTS_MAX, SHARE_WINDOWS_MAX, Share,
    ShareError,
};

impl Pack {
    /// The rules that apply to a device where it is; `None` for a device that the pack does not know.
    #[must_use]
    pub fn compile_for(&self, device: DeviceId) -> Option<DeviceRules> {
        let site = self.site_of(self.device(device)?);
        let mut groups: HashMap<&str, u8> = HashMap::new();
        let mut compiled = Vec::new();
        let mut source = Vec::new();
        for (index, rule) in self.rules.rules.iter().enumerate().filter(|(_, rule)| rule.applies_at(site)) {
            let (limit_day, limit_night) = self.limits(rule, site);
            let group = rule.group.as_deref().map(|name| {
                // At most one group a rule, so it fits.
                let next = groups.len() as u8;
                *groups.entry(name).or_insert(next)
            });
            compiled.push(Rule { limit_day, limit_night, group, ..rule.template.clone() });
            source.push(index);
        }
        Some(self.compiled.share(compiled, source))
    }

    /// Notes devices that are to decide themselves and cannot: one for each kind of site.
    pub(super) fn note_shares(&mut self) {
        let mut looked_at = BTreeMap::new();
        let mut notes = Vec::new();
        for device in self.devices().iter().filter(|device| device.decides == DecidesAt::Device) {
            let site = self.site_of(device);
            if looked_at.insert((site.kind, site.area_class), ()).is_none()
                && let Some(Err(error)) = self.share_for(device.id)
            {
                let (why, why_zh) = self.why_not_itself(device.id, error);
                let what = format!(
                    "device {} cannot run its rules itself: {why}; its gateway decides for it and for others at such sites",
                    device.id
                );
                let what_zh = format!(
                    "设备 {} 不能自行判定：{why_zh}；由网关代为判定，同类点位的设备也一样",
                    device.id
                );
                notes.push(Note::new(
                    Place::file(places::DEVICES_FILE),
                    "decides",
                    (
                        &what,
                        "name sites or area_classes in more of the rules, or leave deciding to the gateway",
                    ),
                    (&what_zh, "请在更多规则中写明 sites 或 area_classes，或改由网关判定"),
                ));
            }
        }
        self.notes.extend(notes);
    }

    /// Why a device cannot run its rules itself, in English and Chinese, with the rule's own name.
    fn why_not_itself(&self, device: DeviceId, error: ShareError) -> (String, String) {
        let rule = |index: u8| {
            let of_device = self.compile_for(device)?;
            let source = of_device.source.get(usize::from(index))?;
            Some(self.rules.rules.get(*source)?.id.to_string())
        };
        match error {
            ShareError::OtherDevices(index) => {
                let id = rule(index).unwrap_or_default();
                (
                    format!("rule `{id}` looks at what other devices at the site measure"),
                    format!("规则 `{id}` 要看同一点位其他设备的测量值"),
                )
            }
            ShareError::Rule(index) => {
                let id = rule(index).unwrap_or_default();
                (format!("rule `{id}` is out of its bounds"), format!("规则 `{id}` 超出设备的限度"))
            }
            ShareError::TooManyRules => {
                let bytes = format!("规则多于 {SHARE_RULES_MAX} 条，或合计多于 {SHARE_BYTES_MAX} 字节");
                (error.to_string(), bytes)
            }
            ShareError::TooManyWindows => {
                let parts = format!("分段合计多于 {SHARE_SLOTS_MAX} 段（每秒一段，每窗口至多 {SLOTS} 段）");
                (error.to_string(), format!("规则需要的窗口多于 {SHARE_WINDOWS_MAX} 个，或窗口的{parts}"))
            }
            ShareError::LongName => {
                (error.to_string(), format!("有规则的 id 长于 {RULE_NAME_BYTES_MAX} 字节"))
            }
            // Of what has arrived at a device.
            ShareError::Id | ShareError::Store => (error.to_string(), error.to_string()),
        }
    }

    /// The rules that a device is to run itself; `None` for a device that leaves that to its gateway, or is not in the pack.
    ///
    /// # Errors
    /// When they are too many for a device: then its gateway decides for it.
    #[must_use]
    pub fn share_for(&self, device: DeviceId) -> Option<Result<Share, ShareError>> {
        if self.device(device)?.decides != DecidesAt::Device {
            return None;
        }
        let compiled = self.compile_for(device)?;
        let mut share = Share::new();
        for (rule, source) in compiled.rules.iter().zip(compiled.source.iter()) {
            if let Err(error) = share.push(self.rules.rules[*source].id.as_str(), rule.clone()) {
                return Some(Err(error));
            }
        }
        Some(share.check().map(|()| share))
    }
}
