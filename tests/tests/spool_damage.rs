//! A gateway whose store was destroyed on its disk: it says so at the platform, keeps the pieces, and goes on.

use std::fs;

use anyhow::{Context, Result, ensure};
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    mosquitto::{Mosquitto, MosquittoOptions},
    program::Program,
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
