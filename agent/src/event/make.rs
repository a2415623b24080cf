//! Makes events: names the matter, its department and level, the site and the device, and says where the event goes.

use gridpost_protocol::event::Decision;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::{Device, Matter, Pack, PackRule, Site};
use gridpost_protocol::reading::Milli;
use gridpost_protocol::record::Report;
use gridpost_protocol::rule::{Direction, Rule, Statistic};
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::time::{ClockQuality, UnixMillis};
use jiff::Timestamp;

use super::Event;
use super::cloudevent::{
    CloudEvent, Data, DepartmentData, DeviceData, EpisodeData, GapData, MatterData, MeasurementData, Name,
    PackData, QualityData, ReportData, SiteData, SpoolData,
};
use crate::uplink::topics;

/// The pack that a gateway works under, and the gateway's name: all that an event needs besides what happened.
#[derive(Debug)]
pub struct District {
    /// The pack.
    pub pack: Pack,
    /// The gateway's id.
    pub gateway: String,
}

/// What is particular about one event.
struct Happening<'a> {
    id: String,
    kind: String,
    phase: &'static str,
    matter: &'a Matter,
    device: Option<&'a Device>,
    at: UnixMillis,
    clock: ClockQuality,
    record: Seq,
    rule: Option<&'a PackRule>,
    capture_percent: Option<u8>,
    episode: Option<EpisodeData>,
    measurement: Option<MeasurementData>,
    report: Option<ReportData>,
    gap: Option<GapData>,
    spool: Option<SpoolData>,
}

impl District {
    /// Whether the pack places this device at a site.
    #[must_use]
    pub fn knows(&self, device: DeviceId) -> bool {
        self.pack.device(device).is_some()
    }

    /// The event of a decision that a rule made about a reading (`record`) of a device. [`None`] only for a device or rule
    /// that is not in this pack.
    #[must_use]
    pub fn decision(
        &self,
        device: DeviceId,
        rule: &PackRule,
        compiled: &Rule,
        decision: &Decision,
        record: Seq,
        clock: ClockQuality,
    ) -> Option<Event> {
        let phase = decision.phase.as_str();
        let episode = format!("{device}-{}-{}", rule.id, decision.onset);
        let excess = match compiled.direction {
            Direction::Above => decision.value.to_f64() - decision.limit.to_f64(),
            Direction::Below => decision.limit.to_f64() - decision.value.to_f64(),
        };
        self.event(Happening {
            id: format!("{episode}-{}", decision.revision),
            kind: format!("gridpost.event.{phase}"),
            phase,
            matter: self.pack.matter_of(rule)?,
            device: Some(self.pack.device(device)?),
            at: decision.at,
            clock,
            record,
            rule: Some(rule),
            capture_percent: Some(decision.capture_percent),
            episode: Some(EpisodeData {
                id: episode,
                revision: u32::from(decision.revision),
                since: rfc3339(decision.from),
                severity: decision.severity,
                cause: decision.cause.map(|cause| cause.as_str().to_owned()),
            }),
            measurement: Some(MeasurementData {
                quantity: compiled.quantity.to_string(),
                statistic: statistic(compiled.statistic).to_owned(),
                window_s: f64::from(compiled.window_ms) / 1000.0,
                value: decision.value.to_f64(),
                limit: decision.limit.to_f64(),
                // Thousandths, without what subtracting in binary adds to them.
                excess: Milli::from_f32(excess as f32).unwrap_or_default().to_f64(),
                peak: decision.peak.to_f64(),
                unit: compiled.quantity.unit().to_owned(),
                from: rfc3339(decision.window_from),
                to: rfc3339(decision.at),
            }),
            report: None,
            gap: None,
            spool: None,
        })
    }

    /// The event of a grid worker's report. [`None`] when its matter is not in the catalogue.
    #[must_use]
    pub fn report(
        &self,
        device: DeviceId,
        seq: Seq,
        at: UnixMillis,
        clock: ClockQuality,
        report: &Report<'_>,
    ) -> Option<Event> {
        let degrees = |e7: i32| f64::from(e7) / 1e7;
        self.event(Happening {
            id: format!("{device}-report-{seq}"),
            kind: "gridpost.report".to_owned(),
            phase: "reported",
            matter: self.pack.matter(report.matter)?,
            device: Some(self.pack.device(device)?),
            at,
            clock,
            record: seq,
            rule: None,
            capture_percent: None,
            episode: None,
            measurement: None,
            report: Some(ReportData {
                note: report.note.to_owned(),
                latitude: report.position.map(|position| degrees(position.latitude_e7)),
                longitude: report.position.map(|position| degrees(position.longitude_e7)),
                attachments: report.attachments.iter().map(|digest| hex(digest)).collect(),
            }),
            gap: None,
            spool: None,
        })
    }

    /// The event that says that a device gave up records. [`None`] only for a device that is not in this pack.
    #[must_use]
    pub fn gap(&self, device: DeviceId, gap: Gap, now: UnixMillis) -> Option<Event> {
        self.event(Happening {
            id: format!("{device}-gap-{}-{}", gap.first, gap.last),
            kind: "gridpost.gap".to_owned(),
            phase: "gap",
            matter: self.pack.lost_records_matter(),
            device: Some(self.pack.device(device)?),
            at: now,
            clock: ClockQuality::Arrival,
            record: gap.last,
            rule: None,
            capture_percent: None,
            episode: None,
            measurement: None,
            report: None,
            gap: Some(GapData { first: gap.first.0, last: gap.last.0 }),
            spool: None,
        })
    }

    /// The event that says that the gateway's store was damaged, under the matter of lost records.
    #[must_use]
    pub fn spool_damaged(&self, spool: SpoolData, now: UnixMillis) -> Option<Event> {
        self.event(Happening {
            id: format!("{}-spool-{}", self.gateway, now.0),
            kind: "gridpost.spool-damaged".to_owned(),
            phase: "spool-damaged",
            matter: self.pack.lost_records_matter(),
            device: None,
            at: now,
            clock: ClockQuality::Arrival,
            record: Seq::NONE,
            rule: None,
            capture_percent: None,
            episode: None,
            measurement: None,
            report: None,
            gap: None,
            spool: Some(spool),
        })
    }

    fn event(&self, what: Happening<'_>) -> Option<Event> {
        let matter = what.matter;
        let department = self.pack.department_of(matter);
        let site = what.device.map(|device| self.pack.site_of(device));
        let division = self.pack.division.as_str();
        let topic = topics::event(
            division,
            department.id.as_str(),
            (matter.level_1(), matter.level_2()),
            matter.code.as_str(),
            &self.gateway,
        );
        let event = CloudEvent {
            specversion: "1.0".to_owned(),
            id: what.id,
            source: format!("/gridpost/{division}/{}", self.gateway),
            kind: what.kind,
            subject: site.map_or_else(|| self.gateway.clone(), |site| site.id.to_string()),
            time: rfc3339(what.at),
            datacontenttype: "application/json".to_owned(),
            matter: matter.code.to_string(),
            department: department.id.to_string(),
            level: matter.level.to_string(),
            division: division.to_owned(),
            phase: what.phase.to_owned(),
            data: Data {
                matter: MatterData {
                    code: matter.code.to_string(),
                    name: name(&matter.name_zh, &matter.name_en),
                    department: DepartmentData {
                        id: department.id.to_string(),
                        name: name(&department.name_zh, &department.name_en),
                    },
                    assisting: matter.assisting_zh.clone(),
                    level: matter.level.to_string(),
                    deadline_h: matter.deadline_h,
                    closing: matter.closing_zh.clone(),
                    legal_basis: matter.legal_basis_zh.clone(),
                    crosswalk: matter
                        .crosswalk
                        .iter()
                        .map(|(system, code)| (system.clone(), code.clone().into()))
                        .collect(),
                },
                site: site.map(site_data),
                device: what
                    .device
                    .map(|device| DeviceData { id: device.id.to_string(), model: device.model.clone() }),
                phase: what.phase.to_owned(),
                episode: what.episode,
                measurement: what.measurement,
                report: what.report,
                gap: what.gap,
                spool: what.spool,
                pack: PackData {
                    name: self.pack.name.clone(),
                    version: self.pack.version,
                    digest: self.pack.digest().to_string(),
                    rule: what.rule.map(|rule| rule.id.to_string()),
                },
                quality: QualityData {
                    clock: clock_quality(what.clock).to_owned(),
                    capture_percent: what.capture_percent,
                    record: what.record.0,
                },
            },
        };
        // Plain data: serialising it cannot fail.
        let payload = serde_json::to_vec(&event).ok()?;
        // A grid worker's report, or the word that records are gone, is said only once.
        let severity = event.data.episode.map_or(u8::MAX, |episode| episode.severity);
        Some(Event { id: event.id, topic, severity, payload })
    }
}

fn site_data(site: &Site) -> SiteData {
    SiteData {
        id: site.id.to_string(),
        name: name(&site.name_zh, &site.name_en),
        kind: site.kind.to_string(),
        area_class: site.area_class.to_string(),
        cell: site.cell.clone(),
        longitude: f64::from(site.position.longitude_e7) / 1e7,
        latitude: f64::from(site.position.latitude_e7) / 1e7,
        time_zone: site.time_zone.clone(),
    }
}

fn name(zh: &str, en: &str) -> Name {
    Name { zh: zh.to_owned(), en: en.to_owned() }
}

const fn statistic(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Last => "last",
        Statistic::Mean => "mean",
        Statistic::EnergyMean => "energy-mean",
        Statistic::Max => "max",
        Statistic::Min => "min",
    }
}

const fn clock_quality(quality: ClockQuality) -> &'static str {
    match quality {
        ClockQuality::Device => "device",
        ClockQuality::Resolved => "resolved",
        ClockQuality::Arrival => "arrival",
    }
}

/// RFC 3339 in UTC, to the millisecond; a time outside the calendar (a device's clock gone wild) is held at its ends.
pub(super) fn rfc3339(at: UnixMillis) -> String {
    let held = at.0.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond(held).map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
