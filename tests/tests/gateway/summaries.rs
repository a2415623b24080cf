//! Hourly statistics: each hour once, whatever is killed in it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::GatewayFolder;
use gridpost_tests::listener::Listener;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::scripted::ScriptedDevice;
use serde_json::Value;

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
/// 2026-11-24T02:00:00Z.
const BEGAN: i64 = 1_795_485_600_000;
const STEP_MS: i64 = 300_000;
/// Not a divisor of an hour's 12: it is killed at all places of an hour.
const BETWEEN_KILLS: i64 = 17;

#[tokio::test]
async fn hours_are_told_once_and_whole_though_the_gateway_is_killed_in_each() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let mut platform = Listener::start(broker.port(), "gridpost/1/+/summary/#").await?;
    let gateway = GatewayFolder::new(&broker.url())?;
    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&format!("{config}[summaries]\nhourly = true\n"))?;
    let id = DEVICE.to_string();
    gateway.run(&["provision", "--device", &id, "--keys", "keys.toml", "--image", "a.img"])?;

    let mut sent = 0_i64;
    for boot in 1..=4 {
        let agent = gateway.start()?;
        let mut device = ScriptedDevice::connect(&gateway, DEVICE, boot, sent.unsigned_abs() + 1)?;
        let values: Vec<i32> =
            (sent..sent + BETWEEN_KILLS).map(|n| i32::try_from(n).unwrap_or_default() * 100).collect();
        sent += BETWEEN_KILLS;
        let until = UnixMillis(BEGAN + (sent - 1) * STEP_MS);
        device.send_values(Quantity::Temperature, &values, STEP_MS, until)?;
        agent.kill9()?;
    }
    let _agent = gateway.start()?;
    let heard = platform
        .wait_until(|heard| {
            // Five hours are over; of the sixth nothing is said yet. The fifth is sent last.
            heard.iter().any(|one| {
                String::from_utf8_lossy(&one.payload).contains("\"to\":\"2026-11-24T07:00:00.000Z\"")
            }) && heard.len() >= 5
        })
        .await?;
    let mut hours = BTreeMap::new();
    for one in heard {
        ensure!(one.topic == format!("gridpost/1/440310/summary/gw-1/{DEVICE}"), "{}", one.topic);
        let event: Value = serde_json::from_slice(&one.payload)?;
        // One that comes again is the same.
        let before = hours.insert(event["id"].to_string(), event.clone());
        ensure!(before.is_none_or(|before| before == event), "two of one id: {event}");
    }
    ensure!(hours.len() == 5, "{hours:#?}");
    for (hour, event) in (0..).zip(hours.values()) {
        let of = &event["data"]["quantities"][0];
        let mean = f64::from(hour * 12 + hour * 12 + 11) / 2.0 / 10.0;
        ensure!(of["quantity"] == "temperature" && of["readings"] == 12, "hour {hour}: {event}");
        ensure!(of["capture_percent"] == 20 && of["values"]["mean"] == mean, "hour {hour}: {event}");
    }
    Ok(())
}
