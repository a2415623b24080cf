//! A gateway whose store was destroyed on its disk: it says so at the platform, keeps the pieces, and goes on.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gridpost_agent::event::make::District;
use gridpost_agent::spool::{CHECKED_AT_ONCE_BYTES, Spool};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::record::{Record, Report};
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    mosquitto::{Mosquitto, MosquittoOptions},
    program::Program,
    scripted::ScriptedDevice,
};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_destroyed_spool_is_set_aside_and_reported_and_the_gateway_goes_on() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    gateway.run(&[
        "provision",
        "--device",
        "6770000000000001",
        "--keys",
        "keys.toml",
        "--image",
        "flash.img",
    ])?;
    let agent = gateway.start()?;
    agent.signal(Signal::TERM)?;
    agent.wait(PATIENCE)?;
    let garbage = vec![0xa5; 20_000];
    fs::write(gateway.path("spool.db"), &garbage)?;

    let watch = ["watch", "--json", "--broker", &broker.url()];
    let mut platform = Program::start(&mut gateway.command(&watch))?;
    platform.wait_for_text(PATIENCE, "watching")?;
    let agent = gateway.start()?;
    let event = platform.wait_for(PATIENCE, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["type"] == "gridpost.spool-damaged").then_some(event)
    })?;
    let matter = &event["data"]["matter"];
    ensure!(matter["code"] == "0901006" && matter["department"]["id"] == event["department"], "{event}");
    ensure!(event["data"]["spool"]["complete"] == false, "{event}");
    let kept = event["data"]["spool"]["set_aside"].as_str().context("where it is kept")?;
    ensure!(fs::read(gateway.path(kept))? == garbage, "the damaged file is kept as it was");
    agent.signal(Signal::TERM)?;
    let (status, _) = agent.wait(PATIENCE)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);

/// Events that are padded to make a spool too large to be read whole at the start.
const EVENTS: u64 = 800;
const EVENT_BYTES: usize = 60_000;

#[test]
fn damage_that_a_running_gateway_finds_is_set_aside_too_and_it_goes_on() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    let image = ["provision", "--device", "6770000000000001", "--keys", "keys.toml", "--image", "flash.img"];
    gateway.run(&image)?;
    let district = District { pack: Pack::load(&gateway.path("pack"))?, gateway: "gw-1".to_owned() };
    let mut spool = Spool::open(&gateway.path("spool.db"))?;
    for n in 1..=EVENTS {
        let gap = Gap { first: Seq(n), last: Seq(n) };
        let event = district.gap(DeviceId(0x6770_0000_0000_0001), gap, UnixMillis(0));
        let mut event = event.context("the device is in the pack")?;
        event.payload.resize(EVENT_BYTES, b' ');
        spool.commit(|transaction| transaction.add_event(&event))?;
    }
    drop(spool);
    let mut bytes = fs::read(gateway.path("spool.db"))?;
    ensure!(bytes.len() as i64 > CHECKED_AT_ONCE_BYTES, "it would be read whole at the start");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(gateway.path("spool.db"), &bytes)?;

    let watch = ["watch", "--json", "--broker", &broker.url()];
    let mut platform = Program::start(&mut gateway.command(&watch))?;
    platform.wait_for_text(PATIENCE, "watching")?;
    let mut agent = gateway.start()?;
    agent.wait_for_text(PATIENCE, "it is set aside")?;
    agent.wait_for_text(PATIENCE, "ready")?;
    let mut events = std::collections::HashSet::new();
    let report = loop {
        let event: Value = platform.wait_for(PATIENCE, |line| serde_json::from_str(line).ok())?;
        if event["type"] == "gridpost.spool-damaged" {
            break event;
        }
        events.insert(event["id"].to_string());
    };
    // It is the last one. What lay on the damaged page is gone, and that is said.
    let (sent, lost) = (events.len() as u64, EVENTS - events.len() as u64);
    ensure!((1..=8).contains(&lost), "{sent} of {EVENTS} events");
    ensure!(report["data"]["spool"]["complete"] == false, "{report}");
    ensure!(report["data"]["spool"]["events"].as_u64().is_some_and(|events| events <= sent), "{report}");
    agent.signal(Signal::TERM)?;
    let (status, _) = agent.wait(PATIENCE)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// A device's reports, which wait because there is no broker.
fn report(gateway: &GatewayFolder, boot: u32, first: u64, count: u64) -> Result<()> {
    let mut device = ScriptedDevice::connect(gateway, DEVICE, boot, first)?;
    for n in first..first + count {
        let note = format!("number {n}");
        let report =
            Report { matter: "0501001", position: None, note: &note, attachments: Default::default() };
        device.send(&[(UnixMillis(1_795_399_200_000), Record::Report(report))])?;
    }
    Ok(())
}

#[test]
fn a_spool_or_log_that_was_deleted_while_the_gateway_was_down_is_reported() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    gateway.run(&[
        "provision",
        "--device",
        &DEVICE.to_string(),
        "--keys",
        "keys.toml",
        "--image",
        "flash.img",
    ])?;
    let watch = ["watch", "--json", "--broker", &broker.url()];
    let mut platform = Program::start(&mut gateway.command(&watch))?;
    platform.wait_for_text(PATIENCE, "watching")?;

    let agent = gateway.start()?;
    report(&gateway, 1, 1, 3)?;
    // Killed and started again: nothing is missing, and nothing is said.
    agent.signal(Signal::KILL)?;
    agent.wait(PATIENCE)?;
    let agent = gateway.start()?;
    report(&gateway, 2, 4, 3)?;
    agent.signal(Signal::KILL)?;
    agent.wait(PATIENCE)?;

    let mut next_missing = |gateway: &GatewayFolder| -> Result<(Program, String)> {
        let mut agent = gateway.launch()?;
        agent.wait_for_text(PATIENCE, "something of the spool is missing")?;
        agent.wait_for_text(PATIENCE, "\"ready\"")?;
        let event = platform.wait_for(PATIENCE, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["type"] == "gridpost.spool-damaged").then_some(event)
        })?;
        ensure!(event["data"]["spool"]["set_aside"].is_null(), "{event}");
        Ok((agent, event["data"]["spool"]["damage"].as_str().context("what is missing")?.to_owned()))
    };
    fs::remove_file(gateway.path("spool.db-wal"))?;
    let (agent, said) = next_missing(&gateway)?;
    ensure!(said.contains("log was deleted") || said.contains("is gone"), "{said}");
    // The device begins anew where the gateway is, and the gateway goes on.
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success());

    fs::remove_file(gateway.path("spool.db"))?;
    let (agent, said) = next_missing(&gateway)?;
    ensure!(said.contains("the spool that was here is gone"), "{said}");
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success());
    // It is said once.
    let agent = gateway.start()?;
    agent.signal(Signal::TERM)?;
    let (status, said) = agent.wait(PATIENCE)?;
    ensure!(status.success() && !said.iter().any(|line| line.contains("is missing")), "{said:#?}");
    Ok(())
}

/// Asks until it is so.
fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "it does not come to that");
    }
    Ok(())
}

/// A gateway at work with a spool that holds what a device sent, and its platform.
struct AtWork {
    _broker: Mosquitto,
    gateway: GatewayFolder,
    platform: Program,
    agent: Program,
}

impl AtWork {
    fn start() -> Result<Option<Self>> {
        let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(None) };
        let gateway = GatewayFolder::new(&broker.url())?;
        let device = DEVICE.to_string();
        gateway.run(&["provision", "--device", &device, "--keys", "keys.toml", "--image", "flash.img"])?;
        let watch = ["watch", "--json", "--broker", &broker.url()];
        let mut platform = Program::start(&mut gateway.command(&watch))?;
        platform.wait_for_text(PATIENCE, "watching")?;
        let agent = gateway.start()?;
        report(&gateway, 1, 1, 5)?;
        // Until the broker has all of them, the gateway commits that, and would find by itself what is done to its files.
        let spool = rusqlite::Connection::open(gateway.path("spool.db"))?;
        until(|| Ok(spool.query_row("SELECT count(*) = 0 FROM event", [], |row| row.get(0))?))?;
        Ok(Some(Self { _broker: broker, gateway, platform, agent }))
    }

    /// A device sends one more, which is not acknowledged before the gateway has begun anew; then that is killed.
    fn one_more(&mut self) -> Result<()> {
        ensure!(report(&self.gateway, 2, 6, 1).is_err(), "acknowledged by a gateway that has lost its spool");
        self.agent.wait_for_text(PATIENCE, "\"ready\"")?;
        report(&self.gateway, 3, 6, 1)?;
        self.agent.signal(Signal::KILL)?;
        Ok(())
    }

    fn records(&self) -> Result<Vec<i64>> {
        let spool = rusqlite::Connection::open(self.gateway.path("spool.db"))?;
        let mut cursors = spool.prepare("SELECT cursor FROM device")?;
        Ok(cursors.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// What the platform is told of it, by the next start if the gateway was killed before.
    fn told(&mut self) -> Result<String> {
        self.agent = self.gateway.start()?;
        let event = self.platform.wait_for(PATIENCE, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["type"] == "gridpost.spool-damaged").then_some(event)
        })?;
        Ok(event["data"]["spool"]["damage"].as_str().context("what is missing")?.to_owned())
    }
}

#[test]
fn a_spool_that_is_cut_off_at_work_is_found_before_the_next_record_is_acknowledged() -> Result<()> {
    let Some(mut at_work) = AtWork::start()? else { return Ok(()) };
    let spool = at_work.gateway.path("spool.db");
    // As after some hours: all of the log is in the file.
    let other = rusqlite::Connection::open(&spool)?;
    until(|| {
        let written_back = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?);
        Ok(other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], written_back)?)
    })?;
    let file = fs::OpenOptions::new().write(true).open(&spool)?;
    file.set_len(file.metadata()?.len() - 4096)?;
    at_work.one_more()?;
    ensure!(at_work.records()? == [6]);
    let said = at_work.told()?;
    ensure!(said.contains("was cut off"), "{said}");
    Ok(())
}

#[test]
fn a_spool_that_is_deleted_at_work_is_found_before_the_next_record_is_acknowledged() -> Result<()> {
    let Some(mut at_work) = AtWork::start()? else { return Ok(()) };
    for suffix in ["", "-wal", "-shm", ".mark"] {
        fs::remove_file(at_work.gateway.path(&format!("spool.db{suffix}")))?;
    }
    at_work.one_more()?;
    ensure!(at_work.records()? == [6]);
    let said = at_work.told()?;
    ensure!(said.contains("is gone") && said.contains("made 5 events"), "{said}");
    Ok(())
}
