//! A gateway that is replaced while its machine's clock has not been set, and is set later: devices that heard the one before hear it then.

use std::fs;

use anyhow::{Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use gridpost_tests::faults::{faketime, lacking};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::program::Program;
use gridpost_tests::scripted::ScriptedDevice;
use rustix::process::Signal;

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);
/// 2026-11-24T02:00:00Z.
const AT: UnixMillis = UnixMillis(1_795_485_600_000);

#[test]
fn a_new_gateway_whose_clock_is_set_late_is_heard_by_devices_that_heard_the_one_before() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let Some(library) = faketime() else {
        return lacking("an agent's clock is set by libfaketime: apt-get install faketime");
    };
    let gateway = GatewayFolder::new(&broker.url())?;
    let device = DEVICE.to_string();
    gateway.run(&["provision", "--device", &device, "--keys", "keys.toml", "--image", "flash.img"])?;
    let start = |clock: &str| -> Result<Program> {
        fs::write(gateway.path("clock"), clock)?;
        let mut command = gateway.command(&["run", "-c", "gridpost.toml"]);
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", gateway.path("clock"));
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("DONT_FAKE_MONOTONIC", "1");
        let mut agent = Program::start(&mut command)?;
        agent.wait_for_text(PATIENCE, "\"ready\"")?;
        Ok(agent)
    };
    // Some time ago: boxes are not exchanged within a second.
    let agent = start("-1d")?;
    let mut device = ScriptedDevice::connect(&gateway, DEVICE, 1, 1)?;
    device.send_values(Quantity::Temperature, &[20_000], 1_000, AT)?;
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success());

    // Another box, which knows nothing of that one, nor the time.
    for suffix in ["", ".mark"] {
        fs::remove_file(gateway.path(&format!("spool.db{suffix}")))?;
    }
    let mut agent = start("@1970-01-01 00:00:30")?;
    fs::write(gateway.path("clock.new"), "+0")?;
    fs::rename(gateway.path("clock.new"), gateway.path("clock"))?;
    agent.wait_for_text(PATIENCE, "the clock has been set")?;
    agent.wait_for_text(PATIENCE, "\"ready\"")?;
    device.connect_again(&gateway)?;
    device.send_values(Quantity::Temperature, &[20_500], 1_000, AT.plus(1_000))?;
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success());
    Ok(())
}
