//! The event that says that a device, or one of its sensors, is not heard.

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::SilenceRule;
use gridpost_protocol::time::UnixMillis;

use super::{District, Happening, rfc3339};
use crate::event::Event;
use crate::event::cloudevent::{EpisodeData, SilenceData};

impl District {
    /// The first event of a silence that was noticed at `now`, after this gateway had listened in vain since `since`. [`None`] for a
    /// device or a matter that is not in this pack.
    #[must_use]
    pub fn silence(
        &self,
        device: DeviceId,
        rule: &SilenceRule,
        since: UnixMillis,
        now: UnixMillis,
    ) -> Option<Event> {
        let id = format!("{device}-silence-{}-{}", rule.id, since.0);
        let matter = self.pack.matter(rule.matter.as_str())?;
        let said = SilenceData {
            quantity: rule.quantity.map(|quantity| quantity.to_string()),
            since: rfc3339(since),
            after_s: f64::from(rule.after_ms) / 1000.0,
        };
        let episode =
            EpisodeData { id: id.clone(), revision: 0, since: rfc3339(since), severity: 0, cause: None };
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            episode: Some(episode),
            silence: Some((rule.id.clone(), said)),
            ..Happening::new(format!("{id}-0"), "gridpost.silence".to_owned(), "fault", matter, now)
        })
    }
}
