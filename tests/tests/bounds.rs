//! What one device may take of a gateway: the real agent, under a flood.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use gridpost_agent::keys::Keys;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::record::{Record, Report};
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use gridpost_tests::bench::device::Device as Node;
use gridpost_tests::device::{Device, listening};
use gridpost_tests::listener::Listener;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::program::Program;
use gridpost_tests::scripted::ScriptedDevice;
use rustix::process::Signal;
use serde_json::Value;

const FIRST: u64 = 0x6770_0000_0000_0001;
/// Has a backlog that is larger than its burst, and sends it as its session lets it.
const FLOODING: DeviceId = DeviceId(FIRST + 9);
/// Says hello without end, and listens to nothing.
const BABBLING: DeviceId = DeviceId(FIRST + 10);
const BACKLOG: u64 = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_device_holds_up_nobody_and_loses_nothing() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    gateway.configure(&format!(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:0'\n[[link.unix]]\nname = 'board'\nlisten = 'link'\n\
         [devices]\nrecords_per_second_max = 1000\nrecords_burst_max = 1000\n\
         [uplink]\nbrokers = ['{}']\n",
        broker.url()
    ))?;
    for n in 0..11 {
        let (id, image) = (DeviceId(FIRST + n).to_string(), format!("{n}.img"));
        gateway.run(&["provision", "--device", &id, "--keys", "keys.toml", "--image", &image])?;
    }
    let keys = Keys::load(&gateway.path("keys.toml"))?;
    let key = |id| keys.get(id).cloned().context("its key");
    let mut platform = Listener::start(broker.port(), "gridpost/1/+/event/#").await?;
    let mut agent = Program::start(&mut gateway.command(&["run", "-c", "gridpost.toml"]))?;
    let address = listening(&mut agent)?;

    let babble = Arc::new(AtomicBool::new(true));
    let mut babbler = Device::connect(address, BABBLING, key(BABBLING)?, 1)?;
    let go_on = babble.clone();
    let babbling = std::thread::spawn(move || -> Result<u64> {
        let mut said = 0;
        // The gateway may hang up on it, if it likes.
        while go_on.load(Ordering::Relaxed) && babbler.hello(1).and_then(|hello| babbler.send(&hello)).is_ok()
        {
            said += 1;
        }
        Ok(said)
    });
    let mut node = Node::connect(address, FLOODING, key(FLOODING)?, |_| 20_000).await?;
    let flood =
        tokio::spawn(async move { node.send_until_acknowledged(Seq(BACKLOG + 1)).await.map(|()| node) });

    for n in 0..9 {
        let mut device = ScriptedDevice::connect(&gateway, DeviceId(FIRST + n), 1, 1)?;
        let note = format!("of device {n}");
        let report =
            Report { matter: "0501001", position: None, note: &note, attachments: Default::default() };
        device.send(&[(UnixMillis(1_795_399_200_000), Record::Report(report))])?;
    }
    let heard = platform.wait_until(|heard| heard.len() >= 9).await?;
    let said: Vec<String> =
        heard.iter().map(|one| String::from_utf8_lossy(&one.payload).into_owned()).collect();
    for n in 0..9 {
        let note = format!("of device {n}");
        ensure!(said.iter().any(|event| event.contains(&note)), "{note} in {said:#?}");
    }
    babble.store(false, Ordering::Relaxed);
    let babbled = babbling.join().map_err(|_| anyhow::anyhow!("the babbler panicked"))??;
    ensure!(babbled > 100, "it said hello {babbled} times only");

    let _connected = flood.await??;
    let status = gateway.run(&["request", "status", "--broker", &broker.url(), "--gateway", "gw-1"])?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(status["counters"]["frames_over_rate"].as_u64() > Some(0), "{status}");
    let of = |id: DeviceId| {
        let devices = status["devices"].as_array().into_iter().flatten();
        devices.into_iter().find(|device| device["device"] == id.to_string()).cloned().unwrap_or_default()
    };
    ensure!(of(FLOODING)["held_back"].as_u64() > Some(0), "{status}");
    ensure!(of(DeviceId(FIRST))["held_back"].is_null(), "{status}");
    ensure!(of(FLOODING)["cursor"] == BACKLOG, "{status}");
    agent.signal(Signal::TERM)?;
    let (ended, _) = agent.wait(PATIENCE)?;
    ensure!(ended.success(), "{ended}");
    let spool = rusqlite::Connection::open(gateway.path("spool.db"))?;
    let (count, last): (i64, i64) = spool.query_row(
        "SELECT count(DISTINCT seq), max(seq) FROM reading WHERE device = ?1",
        [FLOODING.0.cast_signed()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    ensure!(
        (count, last) == (BACKLOG.cast_signed(), BACKLOG.cast_signed()),
        "{count} readings of {BACKLOG}, the last is {last}"
    );
    Ok(())
}
