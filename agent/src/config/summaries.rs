//! The section `[summaries]`: statistics that are published beside events. None unless a platform wants them.

use serde::Deserialize;

/// Which statistics are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummariesConfig {
    /// Each hour of each device, on `gridpost/1/<division>/summary/<gateway>/<device>`.
    #[serde(default)]
    pub hourly: bool,
}
