//! Makes events: names the matter, its department and level, the site and the device, and says where the event goes.

mod silence;

use gridpost_protocol::calibration::CalibrationOutcome;
use gridpost_protocol::event::{Decision, Phase};
use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::{Device, Matter, Pack, PackRule, RuleId, Site};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Milli;
use gridpost_protocol::record::Report;
use gridpost_protocol::rule::{Direction, Rule, Statistic};
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::time::{ClockQuality, UnixMillis};
use gridpost_protocol::told::{PROFILE_UNKNOWN, ToldEpisode};
use jiff::Timestamp;

use super::cloudevent::{
    CalibratedData, CalibrationData, CloudEvent, Data, DepartmentData, DeviceData, EpisodeData, EvictedData,
    EvidenceData, FaultData, GapData, MatterData, MeasurementData, Name, PackData, ProfileData, QualityData,
    ReportData, SilenceData, SiteData, SpoolData,
};
use super::{Event, rank};
use crate::spool::{LastCalibration, statistic_name};
use crate::uplink::topics;

/// The pack that a gateway works under, and the gateway's name: all that an event needs besides what happened.
#[derive(Debug)]
pub struct District {
    /// The pack.
    pub pack: Pack,
    /// The gateway's id.
    pub gateway: String,
}

/// What is known of the clock and the meter behind a record.
#[derive(Clone, Copy, Debug)]
pub struct Provenance {
    /// How its time is known.
    pub clock: ClockQuality,
    /// The last accepted calibration before it.
    pub calibration: Option<LastCalibration>,
    /// Where the quantity is going, in thousandths of its unit per minute.
    pub trend: Option<Milli>,
}

impl Provenance {
    /// The calibration, of what is a sound level.
    pub(super) fn calibrated(&self, quantity: Quantity) -> Option<CalibratedData> {
        let last = self.calibration.filter(|_| quantity.unit() == "dB")?;
        Some(CalibratedData { time: rfc3339(last.at), drift_db: last.drift.to_f64() })
    }
}

impl From<ClockQuality> for Provenance {
    fn from(clock: ClockQuality) -> Self {
        Self { clock, calibration: None, trend: None }
    }
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
    exclusions: Vec<String>,
    episode: Option<EpisodeData>,
    measurement: Option<MeasurementData>,
    report: Option<ReportData>,
    gap: Option<GapData>,
    spool: Option<SpoolData>,
    evicted: Option<EvictedData>,
    fault: Option<FaultData>,
    /// With its rule.
    silence: Option<(RuleId, SilenceData)>,
    calibration: Option<CalibrationData>,
    calibrated: Option<CalibratedData>,
    /// The share of a device that decided itself.
    share: Option<u32>,
    evidence: Option<EvidenceData>,
}

impl<'a> Happening<'a> {
    /// The least that is known; the rest is absent.
    fn new(id: String, kind: String, phase: &'static str, matter: &'a Matter, at: UnixMillis) -> Self {
        Self {
            id,
            kind,
            phase,
            matter,
            device: None,
            at,
            clock: ClockQuality::Arrival,
            record: Seq::NONE,
            rule: None,
            capture_percent: None,
            exclusions: Vec::new(),
            episode: None,
            measurement: None,
            report: None,
            gap: None,
            spool: None,
            evicted: None,
            fault: None,
            silence: None,
            calibration: None,
            calibrated: None,
            share: None,
            evidence: None,
        }
    }
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
        provenance: impl Into<Provenance>,
    ) -> Option<Event> {
        let provenance = provenance.into();
        let measured = Measured {
            quantity: compiled.quantity,
            statistic: compiled.statistic,
            window_ms: compiled.window_ms,
            direction: compiled.direction,
        };
        let phase = decision.phase.as_str();
        let episode = episode_data(device, rule.id.as_str(), decision);
        let id = format!("{}-{}", episode.id, decision.revision);
        let kind = format!("gridpost.event.{phase}");
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            clock: provenance.clock,
            calibrated: provenance.calibrated(compiled.quantity),
            record,
            rule: Some(rule),
            capture_percent: Some(decision.capture_percent),
            exclusions: exclusions(compiled, decision.excluded),
            episode: Some(episode),
            measurement: Some(MeasurementData {
                trend: provenance.trend.filter(|_| decision.phase != Phase::Cleared).map(Milli::to_f64),
                ..measurement_data(&measured, decision)
            }),
            ..Happening::new(id, kind, phase, self.pack.matter_of(rule)?, decision.at)
        })
    }

    /// The event of a message that a device decided itself (`record`, made at `at`). [`None`] when device or rule is not in this
    /// pack.
    #[must_use]
    pub fn told(
        &self,
        device: DeviceId,
        told: &ToldEpisode<'_>,
        record: Seq,
        at: UnixMillis,
        provenance: impl Into<Provenance>,
    ) -> Option<Event> {
        let provenance = provenance.into();
        let rule = self.pack.rules().iter().find(|rule| rule.id.as_str() == told.rule)?;
        let decision = told.decision(at);
        let phase = decision.phase.as_str();
        let episode = episode_data(device, told.rule, &decision);
        let id = format!("{}-{}", episode.id, decision.revision);
        let kind = format!("gridpost.event.{phase}");
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            clock: provenance.clock,
            calibrated: provenance.calibrated(told.quantity),
            record,
            rule: Some(rule),
            capture_percent: Some(decision.capture_percent),
            episode: Some(episode),
            measurement: Some(measurement_data(&Measured::of(told), &decision)),
            share: Some(told.share),
            evidence: evidence_data(told, at),
            ..Happening::new(id, kind, phase, self.pack.matter_of(rule)?, at)
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
        let id = format!("{device}-report-{seq}");
        let matter = self.pack.matter(report.matter)?;
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            clock,
            record: seq,
            report: Some(ReportData {
                note: report.note.to_owned(),
                latitude: report.position.map(|position| degrees(position.latitude_e7)),
                longitude: report.position.map(|position| degrees(position.longitude_e7)),
                attachments: report.attachments.iter().map(|digest| hex(digest)).collect(),
            }),
            ..Happening::new(id, "gridpost.report".to_owned(), "reported", matter, at)
        })
    }

    /// The event that says that a sensor of a device does not work: the first of an episode. [`None`] only for a device that is
    /// not in this pack.
    #[must_use]
    pub fn fault(
        &self,
        device: DeviceId,
        sensor: &str,
        kind: FaultKind,
        record: Seq,
        at: UnixMillis,
        clock: ClockQuality,
    ) -> Option<Event> {
        let id = format!("{device}-sensor-{sensor}-{record}");
        let matter = self.pack.sensor_faults_matter();
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            clock,
            record,
            episode: Some(EpisodeData {
                id: id.clone(),
                revision: 0,
                since: rfc3339(at),
                severity: 0,
                cause: None,
            }),
            fault: Some(FaultData { sensor: sensor.to_owned(), kind: kind.to_string() }),
            ..Happening::new(format!("{id}-0"), "gridpost.sensor-fault".to_owned(), "fault", matter, at)
        })
    }

    /// The event that says what came of a calibration. [`None`] only for a device that is not in this pack.
    #[must_use]
    pub fn calibration(
        &self,
        device: DeviceId,
        outcome: &CalibrationOutcome,
        record: Seq,
        at: UnixMillis,
        clock: ClockQuality,
    ) -> Option<Event> {
        let (id, kind) = (format!("{device}-calibration-{record}"), "gridpost.calibration".to_owned());
        let matter = self.pack.calibrations_matter();
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            clock,
            record,
            calibration: Some(CalibrationData {
                accepted: outcome.refused.is_none(),
                reason: outcome.refused.map(|refused| refused.to_string()),
                nominal_db: outcome.nominal.to_f64(),
                measured_db: outcome.measured.map(Milli::to_f64),
                drift_db: outcome.drift().map(Milli::to_f64),
                full_scale_pa: outcome.full_scale_upa as f64 / 1e6,
            }),
            ..Happening::new(id, kind, "calibration", matter, at)
        })
    }

    /// The event that says that a device gave up records. [`None`] only for a device that is not in this pack.
    #[must_use]
    pub fn gap(&self, device: DeviceId, gap: Gap, now: UnixMillis) -> Option<Event> {
        let id = format!("{device}-gap-{}-{}", gap.first, gap.last);
        self.event(Happening {
            device: Some(self.pack.device(device)?),
            record: gap.last,
            gap: Some(GapData { first: gap.first.0, last: gap.last.0 }),
            ..Happening::new(id, "gridpost.gap".to_owned(), "gap", self.pack.lost_records_matter(), now)
        })
    }

    /// The event that says that the gateway's store was damaged, under the matter of lost records.
    #[must_use]
    pub fn spool_damaged(&self, spool: SpoolData, now: UnixMillis) -> Option<Event> {
        let id = format!("{}-spool-{}", self.gateway, now.0);
        let (kind, matter) = ("gridpost.spool-damaged".to_owned(), self.pack.lost_records_matter());
        self.event(Happening { spool: Some(spool), ..Happening::new(id, kind, "spool-damaged", matter, now) })
    }

    /// The event that says that the gateway let events go because its outbox was full, under the matter of lost records.
    #[must_use]
    pub fn evicted(&self, evicted: EvictedData, now: UnixMillis) -> Option<Event> {
        let id = format!("{}-evicted-{}", self.gateway, now.0);
        let (kind, matter) = ("gridpost.evicted".to_owned(), self.pack.lost_records_matter());
        self.event(Happening { evicted: Some(evicted), ..Happening::new(id, kind, "evicted", matter, now) })
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
                evicted: what.evicted,
                fault: what.fault,
                calibration: what.calibration,
                case: None,
                pack: PackData {
                    name: self.pack.name.clone(),
                    version: self.pack.version,
                    digest: self.pack.digest().to_string(),
                    rule: what
                        .rule
                        .map(|rule| &rule.id)
                        .or(what.silence.as_ref().map(|(rule, _)| rule))
                        .map(ToString::to_string),
                    share: what.share.map(|share| format!("{share:08x}")),
                },
                silence: what.silence.map(|(_, said)| said),
                evidence: what.evidence,
                quality: QualityData {
                    clock: clock_quality(what.clock).to_owned(),
                    capture_percent: what.capture_percent,
                    calibration: what.calibrated,
                    exclusions: what.exclusions,
                    record: what.record.0,
                },
            },
        };
        // Plain data: serialising it cannot fail.
        let payload = serde_json::to_vec(&event).ok()?;
        let severity = rank::of(&event);
        Some(Event { id: event.id, topic, severity, payload })
    }
}

/// The quantities by which a rule was kept from deciding, a bit for each of its conditions.
fn exclusions(rule: &Rule, excluded: u8) -> Vec<String> {
    let conditions = rule.conditions.iter().enumerate();
    conditions
        .filter(|(place, _)| excluded & (1 << place) != 0)
        .map(|(_, condition)| condition.quantity.to_string())
        .collect()
}

/// What of a rule an event names.
pub(super) struct Measured {
    quantity: Quantity,
    statistic: Statistic,
    window_ms: u32,
    direction: Direction,
}

impl Measured {
    pub(super) const fn of(told: &ToldEpisode<'_>) -> Self {
        Self {
            quantity: told.quantity,
            statistic: told.statistic,
            window_ms: told.window_ms,
            direction: told.direction,
        }
    }
}

pub(super) fn episode_data(device: DeviceId, rule: &str, decision: &Decision) -> EpisodeData {
    EpisodeData {
        id: format!("{device}-{rule}-{}", decision.onset),
        revision: u32::from(decision.revision),
        since: rfc3339(decision.from),
        severity: decision.severity,
        cause: decision.cause.map(|cause| cause.as_str().to_owned()),
    }
}

pub(super) fn measurement_data(measured: &Measured, decision: &Decision) -> MeasurementData {
    let (value, limit) = (decision.value.to_f64(), decision.limit.to_f64());
    let excess = match measured.direction {
        Direction::Above => value - limit,
        Direction::Below => limit - value,
    };
    MeasurementData {
        quantity: measured.quantity.to_string(),
        statistic: statistic_name(measured.statistic).to_owned(),
        window_s: f64::from(measured.window_ms) / 1000.0,
        value,
        limit,
        // Thousandths, without what subtracting in binary adds to them.
        excess: Milli::from_f32(excess as f32).unwrap_or_default().to_f64(),
        peak: decision.peak.to_f64(),
        trend: None,
        unit: measured.quantity.unit().to_owned(),
        from: rfc3339(decision.window_from),
        to: rfc3339(decision.at),
    }
}

/// What the device told beside the decision.
pub(super) fn evidence_data(told: &ToldEpisode<'_>, at: UnixMillis) -> Option<EvidenceData> {
    if told.features.is_empty() && told.profile.is_none() {
        return None;
    }
    let features = told
        .features
        .iter()
        .map(|feature| (feature.quantity.to_string(), feature.value.to_f64().into()))
        .collect();
    let profile = told.profile.as_ref().map(|profile| ProfileData {
        quantity: Quantity::LAeq.to_string(),
        from: rfc3339(at.plus(-i64::from(profile.begins_before_ms))),
        step_s: 1,
        values: profile
            .half_decibels
            .iter()
            .map(|half| (*half != PROFILE_UNKNOWN).then(|| f64::from(*half) / 2.0))
            .collect(),
    });
    Some(EvidenceData { features, profile })
}

pub(super) fn site_data(site: &Site) -> SiteData {
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

pub(super) const fn clock_quality(quality: ClockQuality) -> &'static str {
    match quality {
        ClockQuality::Device => "device",
        ClockQuality::Resolved => "resolved",
        ClockQuality::Arrival => "arrival",
    }
}

/// RFC 3339 in UTC, to the millisecond; a time outside the calendar (a device's clock gone wild) is held at its ends.
pub(crate) fn rfc3339(at: UnixMillis) -> String {
    let held = at.0.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond(held).map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
