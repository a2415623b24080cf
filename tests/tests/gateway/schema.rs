//! What a gateway publishes, held against the published schemas and the AsyncAPI document by validators of other people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gridpost_agent::event::make::District;
use gridpost_agent::event::silence;
use gridpost_agent::spool::{Spool, SpoolLimits};
use gridpost_protocol::calibration::{CalibrationOutcome, CalibrationRefusal};
use gridpost_protocol::event::{Cause, Phase};
use gridpost_protocol::fault::{FaultKind, SensorState};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Position, Record, Report};
use gridpost_protocol::rule::{Direction, Statistic};
use gridpost_protocol::series::SeriesBuilder;
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::summary::{Summary, SummaryValue};
use gridpost_protocol::time::UnixMillis;
use gridpost_protocol::told::{Feature, PROFILE_UNKNOWN, Profile, ToldEpisode};
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use gridpost_tests::listener::{Heard, Listener};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::scripted::ScriptedDevice;
use gridpost_tests::validators::Validators;
use rustix::process::Signal;
use serde_json::{Value, json};

/// What is done to a good message so that it is none.
type Spoil = fn(&mut Value);

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
/// 2026-11-24T02:00:00Z.
const BEGAN: UnixMillis = UnixMillis(1_795_485_600_000);
/// All that an event can be.
const TYPES: [&str; 10] = [
    "gridpost.event.early-warning",
    "gridpost.event.exceeded",
    "gridpost.event.cleared",
    "gridpost.report",
    "gridpost.gap",
    "gridpost.sensor-fault",
    "gridpost.silence",
    "gridpost.calibration",
    "gridpost.spool-damaged",
    "gridpost.evicted",
];

fn message(heard: &Heard) -> Result<Value> {
    let payload: Value = match heard.topic.ends_with("/pack") {
        // A character a byte, as the schema says it.
        true => heard.payload.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
        false => serde_json::from_slice(&heard.payload).context(heard.topic.clone())?,
    };
    Ok(json!({ "topic": heard.topic, "payload": payload }))
}

fn has(heard: &[Heard], wanted: impl Fn(&Value) -> bool) -> bool {
    heard.iter().filter_map(|one| serde_json::from_slice(&one.payload).ok()).any(|payload| wanted(&payload))
}

/// An episode's message of a device that decides itself, with all the evidence that there can be.
fn told(phase: Phase) -> Result<ToldEpisode<'static>> {
    let mut features = heapless::Vec::new();
    let feature = Feature { quantity: Quantity::ImpulseProminence, value: Milli(7_500) };
    features.push(feature).ok().context("room for a feature")?;
    let mut half_decibels = heapless::Vec::new();
    half_decibels.extend_from_slice(&[120, PROFILE_UNKNOWN, 140]).ok().context("room for a profile")?;
    Ok(ToldEpisode {
        rule: "construction-noise-night",
        share: 0x1234_abcd,
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 300_000,
        direction: Direction::Above,
        phase,
        cause: (phase == Phase::Cleared).then_some(Cause::BelowLimit),
        onset: Seq(1),
        revision: u16::from(phase == Phase::Cleared),
        severity: 1,
        value: Milli(64_600),
        limit: Milli(55_000),
        peak: Milli(66_000),
        began_before_ms: 90_000,
        window_before_ms: 300_000,
        capture_percent: 98,
        features,
        profile: Some(Profile { begins_before_ms: 100_000, half_decibels }),
    })
}

fn calibration(refused: Option<CalibrationRefusal>) -> CalibrationOutcome {
    let measured = Some(Milli(94_300));
    CalibrationOutcome { nominal: Milli(94_000), measured, full_scale_upa: 20_000_000, refused }
}

/// Leaves a spool in which more was put than there was room for.
fn overfill(gateway: &GatewayFolder) -> Result<()> {
    let district = District { pack: Pack::load(&gateway.path("pack"))?, gateway: "gw-1".to_owned() };
    let limits = SpoolLimits { outbox_bytes_max: 10_000, ..SpoolLimits::default() };
    let mut spool = Spool::open_with(&gateway.path("spool.db"), limits)?;
    for n in 1..=20 {
        let gap = Gap { first: Seq(n), last: Seq(n) };
        let event = district.gap(DEVICE, gap, BEGAN.plus(-1_000)).context("the device is in the pack")?;
        spool.commit(|transaction| transaction.add_event(&event))?;
    }
    drop(spool);
    // Nobody waits here for half an hour: a device that was silent, and was heard again.
    let mut spool = Spool::open(&gateway.path("spool.db"))?;
    let rule = district.pack.silences().first().context("the sample has a silence")?;
    let silent =
        district.silence(DEVICE, rule, BEGAN.plus(-1_800_000), BEGAN).context("it is in the pack")?;
    let heard = silence::over(&silent.topic, &silent.payload, silence::HEARD_AGAIN, BEGAN);
    for event in [&silent, &heard.context("its end")?] {
        spool.commit(|transaction| transaction.add_event(event))?;
    }
    Ok(())
}

/// Has a gateway say everything that it can say, and returns what the platform got.
async fn everything_that_a_gateway_says() -> Result<Option<Vec<Heard>>> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(None) };
    let mut platform = Listener::start(broker.port(), "gridpost/#").await?;
    let gateway = GatewayFolder::new(&broker.url())?;
    gateway.run(&[
        "provision",
        "--device",
        &DEVICE.to_string(),
        "--keys",
        "keys.toml",
        "--image",
        "a.img",
    ])?;
    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&format!("{config}[summaries]\nhourly = true\n"))?;
    // A store that is damaged is reported by whoever finds it.
    let agent = gateway.start()?;
    agent.signal(Signal::TERM)?;
    agent.wait(PATIENCE)?;
    fs::write(gateway.path("spool.db"), [0xa5; 20_000])?;
    let agent = gateway.start()?;
    agent.signal(Signal::TERM)?;
    agent.wait(PATIENCE)?;
    overfill(&gateway)?;
    let agent = gateway.start()?;

    let mut device = ScriptedDevice::connect(&gateway, DEVICE, 1, 1)?;
    // A cool minute, then hot, then cool again: the heat rule warns, then raises, then clears.
    let values: Vec<i32> = [(12, 20_000), (4, 33_500), (12, 36_500), (12, 20_000)]
        .into_iter()
        .flat_map(|(count, value)| std::iter::repeat_n(value, count))
        .collect();
    device.send_values(Quantity::Temperature, &values, 5_000, BEGAN)?;
    let attachments = heapless::Vec::from_slice(&[[0xab; 32]]).ok().context("room for a digest")?;
    let position = Some(Position { latitude_e7: 226_908_000, longitude_e7: 1_143_461_000 });
    let report =
        |position| Report { matter: "0102002", position, note: "打桩", attachments: attachments.clone() };
    let at = BEGAN.plus(60_000);
    device.send(&[
        (at, Record::Report(report(position))),
        (at, Record::Report(report(None))),
        (at, Record::Sensor(SensorState { sensor: "sht4x", fault: Some(FaultKind::Bus) })),
        (at, Record::Sensor(SensorState { sensor: "sht4x", fault: None })),
        (at, Record::Calibration(calibration(None))),
        (at, Record::Calibration(calibration(Some(CalibrationRefusal::Drift)))),
        (at, Record::Episode(told(Phase::Exceeded)?)),
        (at, Record::Episode(told(Phase::Cleared)?)),
    ])?;
    device.give_up(3);
    device.send_values(Quantity::Temperature, &[20_000], 1_000, at)?;
    // In another hour.
    device.send_values(Quantity::Temperature, &[20_000], 1_000, at.plus(3_600_000))?;

    platform
        .wait_until(|heard| {
            TYPES.iter().all(|kind| has(heard, |payload| payload["type"] == *kind))
                && has(heard, |payload| payload["type"] == "gridpost.summary")
                && has(heard, |payload| {
                    payload["type"] == "gridpost.sensor-fault" && payload["phase"] == "cleared"
                })
                && has(heard, |payload| {
                    payload["type"] == "gridpost.event.cleared"
                        && payload["data"]["pack"]["share"] != Value::Null
                })
        })
        .await?;
    // Killed: the broker speaks the last will.
    agent.kill9()?;
    let offline = |heard: &Vec<Heard>| {
        let births = heard.iter().filter(|one| one.topic.ends_with("/status"));
        births
            .filter_map(|one| serde_json::from_slice::<Value>(&one.payload).ok())
            .next_back()
            .is_some_and(|last| last["status"] == "offline")
    };
    Ok(Some(platform.wait_until(|heard| heard.len() > 10 && offline(heard)).await?))
}

#[tokio::test]
async fn all_that_a_gateway_says_is_as_its_schemas_say() -> Result<()> {
    let Some(validators) = Validators::install()? else { return Ok(()) };
    let Some(heard) = everything_that_a_gateway_says().await? else { return Ok(()) };
    let messages = heard.iter().map(message).collect::<Result<Vec<_>>>()?;
    // As the program hands them out.
    let folder = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    folder.run(&["schema", "--all", "schemas"])?;
    let schemas = folder.path("schemas");
    let counted = validators.check(&schemas, &messages)?;
    ensure!(counted["event"].as_u64() >= Some(11) && counted["status"].as_u64() >= Some(3), "{counted}");
    ensure!(counted["summary"].as_u64() >= Some(1), "{counted}");

    // Events of one topic in one message, as a backlog goes where the platform agreed to it.
    let mut batches: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for one in messages.iter().filter(|one| one["payload"]["specversion"].is_string()) {
        batches.entry(one["topic"].as_str().context("a topic")?).or_default().push(&one["payload"]);
    }
    batches.retain(|_, events| events.len() > 1);
    ensure!(!batches.is_empty(), "no topic has several events");
    let as_messages: Vec<_> =
        batches.iter().map(|(topic, events)| json!({ "topic": topic, "payload": events })).collect();
    validators.check(&schemas, &as_messages)?;

    // The validators bite: a field that nobody described, one that is missing, a department by name, a topic of no channel.
    let exceeded = messages
        .iter()
        .find(|one| one["payload"]["type"] == "gridpost.event.exceeded")
        .context("an event")?;
    let changes: [(&str, Spoil); 6] = [
        ("fewer than 2 items", |one| one["payload"] = json!([one["payload"]])),
        ("undescribed", |one| one["payload"]["data"]["undescribed"] = json!(1)),
        ("deadline_h", |one| {
            drop(one["payload"]["data"]["matter"].as_object_mut().map(|it| it.remove("deadline_h")))
        }),
        ("department", |one| one["payload"]["department"] = json!("区住房和建设局")),
        ("specversion", |one| one["payload"]["specversion"] = json!("0.3")),
        ("no such channel", |one| one["topic"] = json!("gridpost/1/440310/event/housing/0102003/gw-1")),
    ];
    let doctored: Vec<_> = changes
        .iter()
        .map(|(_, change)| {
            let mut copy = exceeded.clone();
            change(&mut copy);
            copy
        })
        .collect();
    let complaints =
        format!("{:#}", validators.check(&schemas, &doctored).err().context("nothing was found")?);
    for (about, _) in changes {
        ensure!(complaints.contains(about), "nothing about {about} in {complaints}");
    }
    ensure!(
        complaints.lines().filter(|line| line.starts_with("gridpost/")).count() == changes.len(),
        "{complaints}"
    );
    Ok(())
}

/// Publishes with a tool that is not ours.
fn publish(port: u16, topic: &str, more: &[&str]) -> Result<()> {
    let topic = format!("gridpost/1/440310/gateway/gw-1/{topic}");
    let done = Command::new("mosquitto_pub")
        .args(["-p", &port.to_string(), "-q", "1", "-t", &topic])
        .args(more)
        .status()
        .context("mosquitto_pub comes with mosquitto-clients")?;
    ensure!(done.success(), "not published");
    Ok(())
}

/// Asks a gateway everything, gives it packs, and returns what was on the broker.
async fn everything_that_is_asked() -> Result<Option<Vec<Heard>>> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(None) };
    let port = broker.port();
    let mut platform = Listener::start(port, "gridpost/#").await?;
    let gateway = GatewayFolder::new(&broker.url())?;
    let device_id = DEVICE.to_string();
    gateway.run(&["provision", "--device", &device_id, "--keys", "keys.toml", "--image", "a.img"])?;
    let minisign = Command::new("minisign")
        .args(["-G", "-W", "-p", "office.pub", "-s", "office.key"])
        .current_dir(gateway.path(""))
        .output()
        .context("minisign is not there")?;
    ensure!(minisign.status.success(), "{minisign:?}");
    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&format!("{config}[pack]\ntrust = ['office.pub']\nallow_unsigned = true\n"))?;
    let mut agent = gateway.launch()?;
    agent.wait_for_text(PATIENCE, "/request/+\"")?;

    let mut device = ScriptedDevice::connect(&gateway, DEVICE, 1, 1)?;
    device.send_values(Quantity::Temperature, &[20_000, 20_500], 1_000, BEGAN)?;
    let (quantity, quality, value) = (Quantity::LAeq, Quality::GOOD, Milli(61_000));
    let mut summary = Summary::default();
    let minute = SummaryValue { quantity, statistic: Statistic::EnergyMean, count: 60, quality, value };
    summary.values.push(minute).ok().context("room for a value")?;
    device.send(&[(BEGAN.plus(-60_000), Record::Summary(summary))])?;
    let span = format!(
        "\"device\": \"{DEVICE}\", \"from\": \"2026-11-24T09:50:00+08:00\", \"to\": \"2026-11-24T10:10:00+08:00\""
    );
    for (name, question) in [
        ("status", "{\"id\": 1, \"limit\": 10}".to_owned()),
        ("readings", format!("{{\"id\": \"r\", {span}, \"quantities\": [\"temperature\"], \"limit\": 1}}")),
        ("summaries", format!("{{\"id\": [2], {span}}}")),
        ("calibrate", format!("{{\"device\": \"{DEVICE}\", \"level_db\": 94}}")),
        ("seconds", format!("{{\"id\": 4, {span}, \"quantity\": \"LAeq\"}}")),
    ] {
        publish(port, &format!("request/{name}"), &["-m", &question])?;
    }
    let fetch = device.wait_for_fetch()?;
    let series = SeriesBuilder::new(fetch.from, &Reading { quantity, value, quality });
    device.send(&[(fetch.from, Record::Series(series.series()))])?;
    // A question that is refused, and packs: the second one is older, and is refused too.
    fs::create_dir_all(gateway.path("next"))?;
    for file in fs::read_dir(gateway.path("pack"))? {
        let file = file?;
        fs::copy(file.path(), gateway.path("next").join(file.file_name()))?;
    }
    let manifest = fs::read_to_string(gateway.path("next/pack.toml"))?;
    fs::write(gateway.path("next/pack.toml"), manifest.replace("version = 1\n", "version = 2\n"))?;
    for (file, folder) in [("new.pack", "next"), ("old.pack", "pack")] {
        let path = gateway.path(file);
        gateway.run(&["pack", "build", folder, "-o", "district.pack"])?;
        gateway.run(&["pack", "sign", "district.pack", "--key", "office.key", "--joined", file])?;
        publish(port, "pack", &["-r", "-f", path.to_str().context("a path")?])?;
        agent.wait_for_text(
            PATIENCE,
            if file == "new.pack" { "this pack decides now" } else { "a pack is refused" },
        )?;
    }
    publish(port, "pack", &["-r", "-n"])?;
    publish(port, "request/status", &["-n"])?;
    publish(port, "request/readings", &["-m", "{\"id\": 5, \"colour\": 1}"])?;
    publish(port, "request/weather", &["-m", "{\"id\": 6}"])?;
    let replies = |heard: &[Heard], name: &str| {
        heard.iter().filter(|one| one.topic.ends_with(&format!("/reply/{name}"))).count()
    };
    let all = platform
        .wait_until(|heard| {
            [
                ("status", 2),
                ("readings", 2),
                ("summaries", 1),
                ("calibrate", 1),
                ("seconds", 1),
                ("weather", 1),
            ]
            .iter()
            .all(|(name, count)| replies(heard, name) >= *count)
        })
        .await?;
    agent.kill9()?;
    Ok(Some(all))
}

#[tokio::test]
async fn all_that_is_asked_and_answered_and_packs_are_as_their_schemas_say() -> Result<()> {
    let Some(validators) = Validators::install()? else { return Ok(()) };
    let Some(heard) = everything_that_is_asked().await? else { return Ok(()) };
    let messages = heard
        .iter()
        // What is no request is refused, and no schema has it; nothing at all asks with nothing particular.
        .filter(|one| !one.topic.ends_with("/request/weather") && !one.payload.is_empty())
        .filter(|one| !String::from_utf8_lossy(&one.payload).contains("colour\": 1"))
        .map(message)
        .collect::<Result<Vec<_>>>()?;
    let answered = |name: &str| {
        messages.iter().any(|one| {
            one["topic"].as_str().is_some_and(|topic| topic.ends_with(name))
                && one["payload"]["result"].is_object()
        })
    };
    for name in ["status", "readings", "summaries", "calibrate", "seconds"] {
        ensure!(answered(&format!("/reply/{name}")), "{name} is not answered");
    }
    let refused = messages.iter().find(|one| one["payload"]["result"]["pack_refused"].is_object());
    ensure!(refused.is_some(), "the refused pack is in the second status");
    let folder = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    folder.run(&["schema", "--all", "schemas"])?;
    let counted = validators.check(&folder.path("schemas"), &messages)?;
    for name in ["Status", "Readings", "Summaries", "Seconds", "Calibrate"] {
        for kind in ["request", "reply"] {
            ensure!(counted[format!("{kind}{name}")].as_u64() >= Some(1), "no {kind}{name} in {counted}");
        }
    }
    ensure!(counted["pack"] == 2 && counted["replyUnknown"] == 1, "{counted}");

    // What a gateway refuses, the schemas refuse too.
    let wrong = [
        json!({ "topic": "gridpost/1/440310/gateway/gw-1/request/status", "payload": { "colour": 1 } }),
        json!({ "topic": "gridpost/1/440310/gateway/gw-1/request/seconds", "payload": { "device": "x" } }),
        json!({ "topic": "gridpost/1/440310/gateway/gw-1/pack", "payload": "version = 1" }),
        json!({ "topic": "gridpost/1/440310/gateway/gw-1/request/weather", "payload": {} }),
    ];
    let complaints = format!(
        "{:#}",
        validators.check(&folder.path("schemas"), &wrong).err().context("nothing was found")?
    );
    let found = complaints.lines().filter(|line| line.starts_with("gridpost/")).count();
    ensure!(found == wrong.len(), "{complaints}");
    Ok(())
}

#[test]
fn a_schema_is_printed_by_its_name_and_an_unknown_name_says_which_there_are() -> Result<()> {
    let folder = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    let listed = folder.run(&["schema"])?;
    for name in ["event", "status", "request-readings", "reply-status", "pack", "asyncapi"] {
        ensure!(listed.contains(name), "{listed}");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../agent/schema/{name}.json"));
        ensure!(folder.run(&["schema", name])? == fs::read_to_string(source)?, "{name}");
    }
    let output = folder.command(&["schema", "evnt"]).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2) && said.contains("event, status"), "{said}");
    Ok(())
}
