//! The bytes of every message and record of every released version. They lie in flash queues and arrive from devices in
//! the field: they must be understood for ever. Add lines; never change one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use gridpost_protocol::calibration::{Calibrate, CalibrationOutcome, CalibrationRefusal};
use gridpost_protocol::engine::{Boundary, PrecomputedPeriods};
use gridpost_protocol::event::{Cause, Phase};
use gridpost_protocol::fault::{FaultKind, SensorState};
use gridpost_protocol::frame::{FrameBuf, Header};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::{
    Ack, Fetch, Hello, Records, RecordsBuilder, Refused, RefusedReason, ResetCause, ShareHead, ShareRule,
    ShareStatus, Status, Time, Unsupported,
};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Evicted, Log, LogLevel, Position, Record, Report, Stored};
use gridpost_protocol::rule::{Condition, Direction, Origin, PeriodId, Role, Rule, Statistic};
use gridpost_protocol::seal::{self, Key};
use gridpost_protocol::series::Series;
use gridpost_protocol::share::ShareError;
use gridpost_protocol::summary::{Summary, SummaryValue};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};
use gridpost_protocol::told::{Decides, Feature, Profile, ToldEpisode};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn body(message: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_slice(message, &mut [0; 128]).unwrap().to_vec()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

const UNIX: Stamp = Stamp::Unix { at: UnixMillis(1_790_000_000_000), uncertainty_ms: 20 };
const UPTIME: Stamp = Stamp::Uptime { boot: 5, at: UptimeMillis(1_500) };

fn episode() -> ToldEpisode<'static> {
    ToldEpisode {
        rule: "night-works",
        share: 0x0123_4567,
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 300_000,
        direction: Direction::Above,
        phase: Phase::Cleared,
        cause: Some(Cause::HandedOver),
        onset: Seq(4_711),
        revision: 2,
        severity: 1,
        value: Milli(71_400),
        limit: Milli(55_000),
        peak: Milli(75_000),
        began_before_ms: 600_000,
        window_before_ms: 300_000,
        capture_percent: 98,
        features: [Feature { quantity: Quantity::LCpeak, value: Milli(99_000) }].into_iter().collect(),
        profile: Some(Profile { begins_before_ms: 610_000, half_decibels: [96, 255].into_iter().collect() }),
    }
}

fn records() -> Vec<(&'static str, Stamp, Record<'static>)> {
    let level = Reading { quantity: Quantity::LAeq, value: Milli(71_400), quality: Quality::OVERLOAD };
    let custom = Reading { quantity: Quantity::Custom(7), value: Milli(-1), quality: Quality::GOOD };
    let report = Report {
        matter: "0401001",
        position: Some(Position { latitude_e7: 226_908_000, longitude_e7: 1_143_461_000 }),
        note: "井盖倾斜",
        attachments: [[7; 32]].into_iter().collect(),
    };
    let minute = SummaryValue {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        count: 60,
        quality: Quality::GOOD,
        value: Milli(61_500),
    };
    let series = Series {
        quantity: Quantity::LAeq,
        quality: Quality::GOOD,
        step_ms: 1000,
        deltas: &[0x80, 0x80, 0x07, 0x14],
    };
    let calibration = CalibrationOutcome {
        nominal: Milli(94_000),
        measured: Some(Milli(94_710)),
        full_scale_upa: 20_000_000,
        refused: Some(CalibrationRefusal::Drift),
    };
    vec![
        ("0.1 reading", UNIX, Record::Reading(level)),
        ("0.1 reading, uptime", UPTIME, Record::Reading(custom)),
        ("0.1 report", UPTIME, Record::Report(report)),
        ("0.1 log", UPTIME, Record::Log(Log { level: LogLevel::Warning, text: "i2c: no answer" })),
        ("0.1 evicted", UPTIME, Record::Evicted(Evicted { first: Seq(3), last: Seq(300) })),
        ("0.1 episode", UNIX, Record::Episode(episode())),
        (
            "0.1 sensor",
            UPTIME,
            Record::Sensor(SensorState { sensor: "sht4x", fault: Some(FaultKind::Stuck) }),
        ),
        ("0.1 summary", UNIX, Record::Summary(Summary { values: [minute].into_iter().collect() })),
        ("0.1 decides", UNIX, Record::Decides(Decides { share: 0x89ab_cdef })),
        ("0.1 series", UNIX, Record::Series(series)),
        ("0.1 calibration", UNIX, Record::Calibration(calibration)),
    ]
}

const RECORDS: &[(&str, &str)] = &[
    ("0.1 reading", "010080b083c598681401d0db0801"),
    ("0.1 reading, uptime", "010105dc0b8780010100"),
    (
        "0.1 report",
        "030105dc0b073034303130303101c0ddb2d80190d2bec2080ce4ba95e79b96e580bee6969c010707070707070707070707070707070707070707070707070707070707070707",
    ),
    ("0.1 log", "040105dc0b010e6932633a206e6f20616e73776572"),
    ("0.1 evicted", "050105dc0b03ac02"),
    (
        "0.1 episode",
        "020080b083c59868140b6e696768742d776f726b73e78a8d090102e0a71200020104e7240201d0db08b0db06f09309c0cf24e0a712620109f08a0c01d09d250260ff",
    ),
    ("0.1 sensor", "060105dc0b0573687434780106"),
    ("0.1 summary", "070080b083c59868140101023c00f8c007"),
    ("0.1 decides", "080080b083c5986814ef9bafcd08"),
    ("0.1 series", "090080b083c59868140100e8070480800714"),
    ("0.1 calibration", "0a0080b083c5986814e0bc0b01ecc70b80dac4090108"),
];

#[test]
fn stored_records_are_what_they_were() {
    for (name, stamp, record) in records() {
        let stored = record.store(&stamp).unwrap();
        let (_, golden) = RECORDS.iter().find(|(n, _)| *n == name).expect(name);
        assert_eq!(hex(&stored), *golden, "{name}");
    }
    for (name, golden) in RECORDS {
        let golden = bytes(golden);
        let stored = Stored::parse(&golden).unwrap();
        let (_, stamp, record) = records().into_iter().find(|(n, ..)| n == name).expect(name);
        assert_eq!((stored.stamp, Record::decode(stored.kind, stored.body)), (stamp, record));
    }
}

const MESSAGES: &[(&str, &str)] = &[
    ("0.1 hello", "05302e312e300471656d750304840729ac0228"),
    ("0.1 status", "840729ac020601"),
    ("0.1 ack", "ac02"),
    ("0.1 time", "80b083c59868328407"),
    ("0.1 refused", "00f403"),
    ("0.1 unsupported", "09"),
    ("0.1 records", "2b020105dc0b01060001d0db08010106008780010100"),
    ("0.1 records after a gap", "2b1e0105dc0b01060001d0db08010106008780010100"),
    ("0.1 share", "e78a8d09020180b083c598680580b4b2a49968"),
    (
        "0.1 share rule",
        "e78a8d09010b6e696768742d776f726b730102e0a71200e0c508b0db0601f02ee0d403e0a712a01f01904e02010132e807",
    ),
    (
        "0.2 share rule",
        "e78a8d09010b6e696768742d776f726b730103e0a71200e0c508b0db0601f02ee0d403e0a712a01f01904e02010132e807010601000012000000904ee0d403",
    ),
    ("0.1 share status", "0701090303"),
    ("0.1 fetch", "0180b083c59868c0d98ac59868"),
    ("0.1 calibrate", "e0bc0b01"),
];

#[test]
fn messages_are_what_they_were() {
    let hello = Hello {
        firmware: "0.1.0",
        board: "qemu",
        reset_cause: ResetCause::Watchdog,
        share: 4,
        uptime: UptimeMillis(900),
        oldest: Seq(41),
        next: Seq(300),
        unacknowledged: Seq(40),
    };
    let status =
        Status { uptime: UptimeMillis(900), oldest: Seq(41), next: Seq(300), evicted: 6, sensor_errors: 1 };
    let time = Time { now: UnixMillis(1_790_000_000_000), uncertainty_ms: 50, echo: UptimeMillis(900) };
    let refused = Refused { reason: RefusedReason::SequenceRegressed, cursor: Seq(500) };
    let stored: Vec<_> = records().iter().map(|(_, _, r)| r.store(&UPTIME).unwrap()).collect();
    let mut batch = RecordsBuilder::new(Seq(41), Seq(43), &stored[0]).unwrap();
    assert!(batch.push(Seq(44), &stored[1]));
    let mut after_gap = RecordsBuilder::after_gap(Seq(13), Seq(43), &stored[0]).unwrap();
    assert!(after_gap.push(Seq(44), &stored[1]));
    let periods = PrecomputedPeriods::new(
        [Boundary { from: UnixMillis(1_790_000_000_000), active: 5 }],
        UnixMillis(1_790_100_000_000),
    );
    let rule = Rule {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 300_000,
        direction: Direction::Above,
        limit_day: Milli(70_000),
        limit_night: Milli(55_000),
        early_warning: Some(Milli(3_000)),
        hold_ms: 60_000,
        clear_ms: 300_000,
        hysteresis: Milli(2_000),
        severity: [Milli(5_000)].into_iter().collect(),
        period: PeriodId::NIGHT,
        group: Some(1),
        min_capture: 50,
        interval_ms: 1000,
        conditions: heapless::Vec::new(),
    };
    let guarded = Rule {
        statistic: Statistic::L10,
        conditions: [Condition {
            role: Role::Guard,
            origin: Origin::Device,
            quantity: Quantity::ImpulseProminence,
            statistic: Statistic::Last,
            window_ms: 0,
            direction: Direction::Above,
            limit: Milli(5_000),
            within_ms: 60_000,
        }]
        .into_iter()
        .collect(),
        ..rule.clone()
    };
    let fetch = Fetch {
        quantity: Quantity::LAeq,
        from: UnixMillis(1_790_000_000_000),
        until: UnixMillis(1_790_000_060_000),
    };
    let encoded = [
        ("0.1 hello", body(&hello)),
        ("0.1 status", body(&status)),
        ("0.1 ack", body(&Ack { up_to: Seq(300) })),
        ("0.1 time", body(&time)),
        ("0.1 refused", body(&refused)),
        ("0.1 unsupported", body(&Unsupported { kind: 9 })),
        ("0.1 records", batch.body().to_vec()),
        ("0.1 records after a gap", after_gap.body().to_vec()),
        ("0.1 share", body(&ShareHead { share: 0x0123_4567, rules: 2, periods })),
        ("0.1 share rule", body(&ShareRule { share: 0x0123_4567, index: 1, name: "night-works", rule })),
        (
            "0.2 share rule",
            body(&ShareRule { share: 0x0123_4567, index: 1, name: "night-works", rule: guarded }),
        ),
        ("0.1 share status", body(&ShareStatus { running: 7, refused: Some((9, ShareError::Rule(3))) })),
        ("0.1 fetch", body(&fetch)),
        ("0.1 calibrate", body(&Calibrate { nominal: Milli(94_000), accept_drift: true })),
    ];
    for (name, body) in &encoded {
        let (_, golden) = MESSAGES.iter().find(|(n, _)| n == name).expect(name);
        assert_eq!(hex(body), *golden, "{name}");
    }
    let read: Hello<'_> = postcard::from_bytes(&encoded[0].1).unwrap();
    assert_eq!(read, hello);
    assert_eq!(Records::parse(&encoded[6].1).unwrap().iter().count(), 2);
    let records = Records::parse_after_gap(&encoded[7].1).unwrap();
    assert_eq!((records.gone_from, records.first, records.iter().count()), (Seq(13), Seq(43), 2));
}

#[test]
fn a_sealed_frame_is_what_it_was() {
    let header = Header {
        kind: 0x81,
        suite: 1,
        device: DeviceId(0x0004_A30B_001C_0530),
        boot: 3,
        counter: 9,
        start: 2,
    };
    let mut frame = FrameBuf::new();
    seal::seal(&Key([5; 32]), header, b"body", &mut frame).unwrap();
    assert_eq!(
        hex(&frame),
        "01810130051c000ba30400030000000900000002000000a01cfb243dddbe289f6e8449636cbe2376a540de"
    );
}
