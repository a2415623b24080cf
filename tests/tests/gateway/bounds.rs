//! What one device, or one who writes to a gateway, may take of it: the real agent, under a flood, and with what is too long.

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
use gridpost_tests::listener::{Heard, Listener};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::scripted::ScriptedDevice;
use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use rustix::process::Signal;
use serde_json::{Value, json};

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
    let mut agent = gateway.launch()?;
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

/// Publishes, and returns when the broker has it.
async fn publish(port: u16, topic: &str, retain: bool, payload: Vec<u8>) -> Result<()> {
    let mut options = MqttOptions::new("office", "127.0.0.1", port);
    options.set_max_packet_size(1024, 64 << 20);
    let (client, mut driver) = AsyncClient::new(options, 4);
    client.publish(topic, QoS::AtLeastOnce, retain, payload).await?;
    while !matches!(driver.poll().await?, Event::Incoming(Packet::PubAck(_))) {}
    client.disconnect().await?;
    while !matches!(driver.poll().await?, Event::Outgoing(Outgoing::Disconnect)) {}
    Ok(())
}

/// A disposition of an event that nobody knows, so long at least.
fn disposition(id: &str, bytes: usize) -> Vec<u8> {
    let reason = "x".repeat(bytes);
    let said = json!({ "id": id, "event": "none", "state": "rejected", "time": "2026-11-22T14:05:12Z", "reason": reason });
    said.to_string().into_bytes()
}

async fn refusal(platform: &mut Listener, id: &str) -> Result<String> {
    let of = |heard: &[Heard]| {
        let replies = heard.iter().filter(|one| one.topic.ends_with("gateway/gw-1/reply/disposition"));
        let mut said = replies.filter_map(|one| serde_json::from_slice::<Value>(&one.payload).ok());
        said.find(|said| said["id"] == id).map(|said| said["error"].to_string())
    };
    let heard = platform.wait_until(|heard| of(heard).is_some()).await?;
    of(&heard).context("a refusal")
}

const TO_GATEWAY: &str = "gridpost/1/440310/disposition/gw-1";
const PACK: &str = "gridpost/1/440310/gateway/gw-1/pack";

async fn what_is_too_long_is_refused(protocol: &str) -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    let config = std::fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&format!("{config}protocol = '{protocol}'\n"))?;
    let id = FLOODING.to_string();
    gateway.run(&["provision", "--device", &id, "--keys", "keys.toml", "--image", "a.img"])?;
    let mut platform = Listener::start(broker.port(), "gridpost/1/+/gateway/#").await?;
    // Ready or not: what is waited for is that it listens, and either may be said first.
    let mut agent = gateway.launch()?;
    agent.wait_for_text(PATIENCE, "gateway/gw-1/pack")?;

    publish(broker.port(), TO_GATEWAY, false, disposition("d-1", 200_000)).await?;
    let said = refusal(&mut platform, "d-1").await?;
    ensure!(said.contains("200") && said.contains("at most 65536"), "{said}");
    // Longer than any packet, with one behind it that is not. A broker of MQTT 5 keeps it back; one of 3.1.1 does not, and
    // brings it until it is taken.
    publish(broker.port(), TO_GATEWAY, false, disposition("d-2", 6 << 20)).await?;
    publish(broker.port(), TO_GATEWAY, false, disposition("d-3", 1)).await?;
    ensure!(refusal(&mut platform, "d-3").await?.contains("unknown-event"));
    if protocol == "3.1.1" {
        ensure!(refusal(&mut platform, "d-2").await?.contains("at most 65536"));
    }
    // A pack that nobody can take, and which comes with every connection.
    publish(broker.port(), PACK, true, vec![b'x'; 40 << 20]).await?;
    if protocol == "3.1.1" {
        agent.wait_for_text(PATIENCE, "takes packs as files only")?;
        agent.wait_for_text(PATIENCE, "disposition/gw-1/#")?;
    }
    publish(broker.port(), TO_GATEWAY, false, disposition("d-4", 1)).await?;
    ensure!(refusal(&mut platform, "d-4").await?.contains("unknown-event"));
    Ok(())
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_holds_up_nothing() -> Result<()> {
    what_is_too_long_is_refused("5").await
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_holds_up_nothing_on_mqtt_3_1_1() -> Result<()> {
    what_is_too_long_is_refused("3.1.1").await
}
