//! An hour's statistics as they are published: a CloudEvent, but nobody's matter, so it has a topic of its own.

use gridpost_protocol::id::DeviceId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloudevent::{DeviceData, SiteData};
use super::make::{rfc3339, site_data};
use super::{Event, rank};
use crate::decide::District;
use crate::hourly::{Ended, HOUR_MS, OfQuantity};
use crate::spool::statistic_name;
use crate::uplink::topics;

/// Its type.
pub const TYPE: &str = "gridpost.summary";

/// The CloudEvent.
#[derive(Debug, Serialize, Deserialize)]
pub struct SummaryEvent {
    /// `1.0`.
    pub specversion: String,
    /// The same on every retry and restart.
    pub id: String,
    /// The gateway.
    pub source: String,
    /// [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The site.
    pub subject: String,
    /// When the hour was over, RFC 3339.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// 行政区划代码.
    pub division: String,
    /// What was measured.
    pub data: SummaryData,
}

/// What was measured in an hour.
#[derive(Debug, Serialize, Deserialize)]
pub struct SummaryData {
    /// Where.
    pub site: SiteData,
    /// With what.
    pub device: DeviceData,
    /// From when on.
    pub from: String,
    /// To when, not included.
    pub to: String,
    /// Each quantity.
    pub quantities: Vec<QuantityData>,
}

/// One quantity.
#[derive(Debug, Serialize, Deserialize)]
pub struct QuantityData {
    /// Its name.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// In how many of the hour's minutes something was measured.
    pub capture_percent: u32,
    /// From how many readings.
    pub readings: u64,
    /// How many decided nothing, and are in no value.
    pub left_out: u64,
    /// What was found against any that are.
    pub quality: u16,
    /// By statistic.
    pub values: serde_json::Map<String, Value>,
}

impl From<&OfQuantity> for QuantityData {
    fn from(of: &OfQuantity) -> Self {
        Self {
            quantity: of.quantity.to_string(),
            unit: of.quantity.unit().to_owned(),
            capture_percent: of.capture_percent(),
            readings: of.readings,
            left_out: of.left_out,
            quality: of.quality.0.into(),
            values: of
                .values()
                .map(|(statistic, value)| (statistic_name(statistic).to_owned(), value.to_f64().into()))
                .collect(),
        }
    }
}

impl District {
    /// An hour of a device. [`None`] for a device that is not in this pack.
    #[must_use]
    pub fn hour(&self, device: DeviceId, ended: &Ended) -> Option<Event> {
        let placed = self.pack.device(device)?;
        let site = self.pack.site_of(placed);
        let division = self.pack.division.as_str();
        let (from, first) = (ended.begun.from, ended.begun.first);
        let to = rfc3339(from.plus(HOUR_MS));
        let event = SummaryEvent {
            specversion: "1.0".to_owned(),
            id: format!("{device}-hour-{}-{first}", from.0 / 1000),
            source: format!("/gridpost/{division}/{}", self.gateway),
            kind: TYPE.to_owned(),
            subject: site.id.to_string(),
            time: to.clone(),
            datacontenttype: "application/json".to_owned(),
            division: division.to_owned(),
            data: SummaryData {
                site: site_data(site),
                device: DeviceData { id: device.to_string(), model: placed.model.clone() },
                from: rfc3339(from),
                to,
                quantities: ended.of.iter().map(Into::into).collect(),
            },
        };
        // Plain data: serialising it cannot fail.
        let payload = serde_json::to_vec(&event).ok()?;
        let topic = topics::summary(division, &self.gateway, &device.to_string());
        Some(Event { id: event.id, topic, severity: rank::STATISTICS, payload })
    }
}
