//! An event as the platform gets it: CloudEvents 1.0 in JSON, structured mode. All that a case file needs is in it.
//!
//! Attribute names of extensions are lower-case letters and digits, as CloudEvents asks. Every field of `data` is documented
//! here; a field is never renamed, and new ones are added with a default.

use serde::{Deserialize, Serialize};

/// The content type of a structured CloudEvent.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A structured CloudEvent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// The same on every retry, replay and restart: the platform sees an event once by its id.
    pub id: String,
    /// `/gridpost/<division>/<gateway>`.
    pub source: String,
    /// `gridpost.event.` and the phase, or `gridpost.report`, or `gridpost.gap`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The site; the gateway when it is about the gateway itself.
    pub subject: String,
    /// The time of the reading that decided, RFC 3339; of a rule that was withdrawn, when the gateway started without it.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// Extension: the matter's code.
    pub matter: String,
    /// Extension: the competent department's id.
    pub department: String,
    /// Extension: the level of implementation.
    pub level: String,
    /// Extension: the division's code.
    pub division: String,
    /// Extension: the phase.
    pub phase: String,
    /// What happened.
    pub data: Data,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// What it is, and whose.
    pub matter: MatterData,
    /// Where; absent when it is about the gateway itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteData>,
    /// What measured it; absent when it is about the gateway itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceData>,
    /// `early-warning`, `exceeded`, `cleared`; `reported` for a grid worker's report; `gap` for records that are gone;
    /// `spool-damaged` when the gateway's own store was; `calibration` for one, accepted or refused.
    pub phase: String,
    /// The episode that this is a message of; absent for a report or a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<EpisodeData>,
    /// What was measured; absent for a report or a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<MeasurementData>,
    /// What the device that decided measured beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceData>,
    /// What a grid worker reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportData>,
    /// Which records are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapData>,
    /// What is wrong with a sensor, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultData>,
    /// What is not heard, or was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceData>,
    /// What came of a calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationData>,
    /// What became of a gateway's damaged store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolData>,
    /// Events that the gateway let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<EvictedData>,
    /// To which case it belongs, where that is not one that this episode has just raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseData>,
    /// Under which rules it was decided.
    pub pack: PackData,
    /// How far it can be relied on.
    pub quality: QualityData,
}

/// A name in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// 中文.
    pub zh: String,
    /// English.
    pub en: String,
}

/// A matter of the responsibility list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatterData {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: Name,
    /// Who is competent.
    pub department: DepartmentData,
    /// Who assists, as the list says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub assisting: String,
    /// At which level it is implemented.
    pub level: String,
    /// Within how many hours it is to be handled.
    pub deadline_h: u32,
    /// When it counts as closed, as the list says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub closing: String,
    /// The legal basis, as the list says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub legal_basis: String,
    /// Its codes in other systems.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub crosswalk: serde_json::Map<String, serde_json::Value>,
}

/// A department.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartmentData {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Name,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteData {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: String,
    /// Its functional area class.
    pub area_class: String,
    /// The grid cell.
    pub cell: String,
    /// Degrees east, WGS 84.
    pub longitude: f64,
    /// Degrees north, WGS 84.
    pub latitude: f64,
    /// Its time zone (IANA): limits and periods are by local time.
    pub time_zone: String,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceData {
    /// Its id.
    pub id: String,
    /// Its model.
    pub model: String,
}

/// Which episode, and which message of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeData {
    /// The same in all messages of the episode.
    pub id: String,
    /// 0 for its first message, then 1, 2, ...
    pub revision: u32,
    /// When it began, RFC 3339.
    pub since: String,
    /// How many severity steps the value is over the limit.
    pub severity: u8,
    /// Why it was cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasurementData {
    /// The quantity.
    pub quantity: String,
    /// How readings were made into one value.
    pub statistic: String,
    /// Over how many seconds.
    pub window_s: f64,
    /// The value.
    pub value: f64,
    /// The limit that held at this place and time.
    pub limit: f64,
    /// How far beyond the limit; negative when within.
    pub excess: f64,
    /// The most extreme value of the episode so far.
    pub peak: f64,
    /// How the quantity changes, in its unit per minute: the slope of the straight line through the window. Absent where no trend was
    /// made: in `cleared`, of a rule without a window, of a device that decides itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<f64>,
    /// The unit, UCUM.
    pub unit: String,
    /// From when the value is, RFC 3339.
    pub from: String,
    /// To when the value is, RFC 3339.
    pub to: String,
}

/// What a grid worker reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// What was seen.
    pub note: String,
    /// Degrees north, WGS 84, when the handheld knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east, WGS 84, when the handheld knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// SHA-256 of the attachments, in hexadecimal.
    pub attachments: Vec<String>,
}

/// Records that are gone for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapData {
    /// The number of the first that is missing.
    pub first: u64,
    /// The number of the last that is missing.
    pub last: u64,
}

/// A sensor of a device does not work; with the phase `cleared`: did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultData {
    /// The sensor.
    pub sensor: String,
    /// `absent`, `bus`, `wrong-chip`, `implausible`, `corrupt`, `broken`, `stuck` or `stale`.
    pub kind: String,
}

/// Nothing is heard of a device; with the phase `cleared`: was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceData {
    /// Of which quantity there are no readings; absent when the device says nothing at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// When it was last heard, RFC 3339; or since when this gateway has listened in vain. What was measured meanwhile may still come.
    pub since: String,
    /// After how many seconds of listening that is told.
    pub after_s: f64,
}

/// What came of a calibration of a sound level meter with an acoustic calibrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationData {
    /// Whether it holds from here on.
    pub accepted: bool,
    /// Why not: `unknown-level`, `no-meter`, `busy`, `too-short`, `fault`, `unsteady`, `not-one-kilohertz`, `out-of-range`, `drift` or
    /// `store`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The calibrator's level in dB.
    pub nominal_db: f64,
    /// What the meter read before, in dB; absent when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_db: Option<f64>,
    /// How far it had drifted since the last calibration, in dB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_db: Option<f64>,
    /// What a sample at full scale is from here on, in Pa.
    pub full_scale_pa: f64,
}

/// A meter's last accepted calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibratedData {
    /// When it was, RFC 3339.
    pub time: String,
    /// How far the meter had drifted since the one before, in dB.
    pub drift_db: f64,
}

/// A gateway's store was damaged, and the gateway went on with a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolData {
    /// What was found.
    pub damage: String,
    /// Where the damaged file is kept, on the gateway; absent when the spool, or the newest part of it, was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// Events that had not been sent, and were brought over.
    pub events: u64,
    /// Rows of such events that were damaged inside, and are only in the file that is kept.
    #[serde(default)]
    pub dropped: u64,
    /// Devices whose place was brought over. Others send again what they hold.
    pub devices: u64,
    /// Whether everything was read to its end. If not, events that had not been sent may be lost but for the file that is kept.
    pub complete: bool,
}

/// Events that a gateway let go because its outbox was full, or because a broker refused more than are kept: they never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictedData {
    /// How many since the last event of this kind.
    pub events: u64,
    /// How many since the gateway's spool was made.
    pub total: u64,
    /// How many of each phase, since the last event of this kind.
    pub phases: serde_json::Map<String, serde_json::Value>,
    /// The time of the oldest of them, RFC 3339.
    pub from: String,
    /// The time of the newest of them, RFC 3339.
    pub to: String,
}

/// To which case an event belongs: see [`crate::cases`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseData {
    /// The id of the episode (or event) that raised it.
    pub id: String,
    /// What this episode is to it: `opens`, `reopens`, or `continues`, in which case nobody need file it anew.
    pub relation: String,
    /// What the gateway knows of it by dispositions; `raised` when there was none.
    pub state: String,
    /// The platform's own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The matter as which it goes on at the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclassified_to: Option<String>,
    /// The case that it reopens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// Under which rules it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackData {
    /// The pack's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The digest of its content.
    pub digest: String,
    /// The rule; absent for a report or a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The share of the pack that the device ran, in hexadecimal, when the device decided itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

/// What a device that decided itself measured beside what it decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceData {
    /// The newest values of other quantities, by name, each in its quantity's unit.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub features: serde_json::Map<String, serde_json::Value>,
    /// How the noise began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileData>,
}

/// One-second levels around the onset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileData {
    /// Of what.
    pub quantity: String,
    /// The beginning of the first second, RFC 3339.
    pub from: String,
    /// The time between two values, in seconds.
    pub step_s: u32,
    /// To half a decibel; null where nothing was measured.
    pub values: Vec<Option<f64>>,
}

/// How far it can be relied on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityData {
    /// How the time is known: `device`, `resolved` or `arrival`.
    pub clock: String,
    /// How much of the window was measured, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_percent: Option<u8>,
    /// The last calibration of the meter that measured; absent for what is no sound level, and before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibratedData>,
    /// The quantities by which the rule was kept from deciding since its last event, or just before its first: wind, rain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<String>,
    /// The number of the record that decided; 0 when none did, because the rule was withdrawn.
    pub record: u64,
}
