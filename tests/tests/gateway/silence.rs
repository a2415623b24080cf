//! A device that speaks and then does not, over real frames, with the real agent: its clock runs faster (libfaketime), and it is killed
//! while it waits, and while the silence lasts.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use gridpost_tests::faults::{faketime, lacking};
use gridpost_tests::listener::{Heard, Listener};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::program::Program;
use gridpost_tests::scripted::ScriptedDevice;
use serde_json::Value;

const LOST: DeviceId = DeviceId(0x6770_0000_0000_000a);
const OTHER: DeviceId = DeviceId(0x6770_0000_0000_0002);
/// 2026-11-24T02:00:00Z.
const BEGAN: UnixMillis = UnixMillis(1_795_485_600_000);
/// How much faster the agent's clock runs: below what one tick may add, so that each tick counts whole.
const FASTER: &str = "+0 x25";

/// The silences' events of a device: each once, however often it was delivered.
fn silences(heard: &[Heard], device: DeviceId) -> Vec<Value> {
    let mut ids = BTreeSet::new();
    let events = heard.iter().filter(|one| one.topic.contains("/event/"));
    let events = events.filter_map(|one| {
        let mut event: Value = serde_json::from_slice(&one.payload).ok()?;
        event["topic"] = one.topic.clone().into();
        Some(event)
    });
    events
        .filter(|event| event["type"] == "gridpost.silence")
        .filter(|event| event["data"]["device"]["id"] == device.to_string())
        .filter(|event| ids.insert(event["id"].to_string()))
        .collect()
}

#[tokio::test]
async fn a_device_that_falls_silent_is_told_once_whatever_is_killed_meanwhile() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let Some(library) = faketime() else {
        return lacking("an agent's clock is set by libfaketime: apt-get install faketime");
    };
    let mut platform = Listener::start(broker.port(), "gridpost/#").await?;
    let gateway = GatewayFolder::new(&broker.url())?;
    for device in [LOST, OTHER] {
        let (device, image) = (device.to_string(), format!("{device}.img"));
        gateway.run(&["provision", "--device", &device, "--keys", "keys.toml", "--image", &image])?;
    }
    let rules = gateway.path("pack/rules.toml");
    let text = fs::read_to_string(&rules)?;
    ensure!(text.contains("after = \"30min\""), "the sample's silence");
    fs::write(&rules, text.replace("after = \"30min\"", "after = \"2min\""))?;
    let start = || -> Result<Program> {
        let mut command = gateway.command(&["run", "-c", "gridpost.toml"]);
        command.env("LD_PRELOAD", &library).env("FAKETIME", FASTER).env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut agent = Program::start(&mut command)?;
        agent.wait_for_text(PATIENCE, "\"ready\"")?;
        Ok(agent)
    };

    // It speaks, and the gateway is killed before it could have missed it.
    let agent = start()?;
    let mut device = ScriptedDevice::connect(&gateway, LOST, 1, 1)?;
    device.send_values(Quantity::Temperature, &[20_000, 20_500], 1_000, BEGAN)?;
    let next = device.next();
    drop(device);
    agent.kill9()?;
    let agent = start()?;
    platform.wait_until(|heard| !silences(heard, LOST).is_empty()).await?;

    // Killed in the silence: it is neither told again nor forgotten. That another one was noticed meanwhile says that it had the time.
    agent.kill9()?;
    let agent = start()?;
    let mut other = ScriptedDevice::connect(&gateway, OTHER, 1, 1)?;
    other.send_values(Quantity::Temperature, &[20_000], 1_000, BEGAN)?;
    drop(other);
    let heard = platform.wait_until(|heard| !silences(heard, OTHER).is_empty()).await?;
    ensure!(silences(&heard, LOST).len() == 1, "{:#?}", silences(&heard, LOST));

    let mut device = ScriptedDevice::connect(&gateway, LOST, 2, next)?;
    device.send_values(Quantity::Temperature, &[21_000], 1_000, BEGAN.plus(60_000))?;
    let heard = platform.wait_until(|heard| silences(heard, LOST).len() >= 2).await?;
    agent.kill9()?;
    let said = silences(&heard, LOST);
    let [silent, back] = &said[..] else { anyhow::bail!("{said:#?}") };
    ensure!(silent["phase"] == "fault" && silent["data"]["silence"]["after_s"] == 120.0, "{silent:#}");
    ensure!(back["phase"] == "cleared" && back["data"]["episode"]["cause"] == "heard-again", "{back:#}");
    ensure!(silent["data"]["episode"]["id"] == back["data"]["episode"]["id"], "one episode");
    for event in [silent, back] {
        ensure!(event["matter"] == "0901001" && event["department"] == "data", "{event:#}");
        let topic = event["topic"].as_str().context("a topic")?;
        ensure!(topic.contains("/event/data/") && topic.ends_with("/0901001/gw-1"), "{topic}");
    }
    Ok(())
}
