//! The loop closed: what the platform makes of an event comes back over a real broker, and the gateway acts on it, killed in between.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::GatewayFolder;
use gridpost_tests::listener::{Heard, Listener};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use gridpost_tests::scripted::ScriptedDevice;
use gridpost_tests::validators::Validators;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
const MINUTE_MS: i64 = 60_000;

/// Who answers for cases.
struct Office {
    client: AsyncClient,
    driver: EventLoop,
}

impl Office {
    async fn connect(port: u16) -> Result<Self> {
        let mut options = MqttOptions::new("office", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(600));
        let (client, driver) = AsyncClient::new(options, 16);
        let mut this = Self { client, driver };
        this.until(|packet| matches!(packet, Packet::ConnAck(_))).await?;
        Ok(this)
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<()> {
        loop {
            if let Event::Incoming(packet) = self.driver.poll().await?
                && wanted(&packet)
            {
                return Ok(());
            }
        }
    }

    /// Publishes, and returns when the broker has it.
    async fn says(&mut self, to: &str, payload: String) -> Result<()> {
        let topic = format!("gridpost/1/440310/disposition/{to}");
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await?;
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await
    }
}

fn rfc3339(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

fn disposition(id: &str, event: &str, state: &str, at: UnixMillis, more: &Value) -> String {
    let mut message = json!({ "id": id, "event": event, "state": state, "time": rfc3339(at) });
    for (key, value) in more.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    message.to_string()
}

/// Twenty seconds of heat, and a minute without.
fn heat(device: &mut ScriptedDevice, at: UnixMillis) -> Result<()> {
    let mut values = vec![36_500; 5];
    values.extend([20_000; 13]);
    device.send_values(Quantity::Temperature, &values, 5_000, at.plus(85_000))
}

fn json_of(heard: &Heard) -> Value {
    serde_json::from_slice(&heard.payload).unwrap_or_default()
}

/// The n-th exceedance that the platform got.
async fn exceedance(platform: &mut Listener, n: usize) -> Result<Value> {
    let of = |heard: &[Heard]| -> Vec<Value> {
        heard.iter().map(json_of).filter(|event| event["type"] == "gridpost.event.exceeded").collect()
    };
    let heard = platform.wait_until(|heard| of(heard).len() > n).await?;
    of(&heard).into_iter().nth(n).context("an exceedance")
}

/// The reply to the disposition with this id, the n-th with it.
async fn reply(platform: &mut Listener, id: &Value, n: usize) -> Result<(String, Value)> {
    let of = |heard: &[Heard]| -> Vec<(String, Value)> {
        let replies = heard.iter().filter(|one| one.topic.contains("/reply/disposition"));
        replies.map(|one| (one.topic.clone(), json_of(one))).filter(|(_, reply)| reply["id"] == *id).collect()
    };
    let heard = platform.wait_until(|heard| of(heard).len() > n).await?;
    of(&heard).into_iter().nth(n).context("a reply")
}

#[tokio::test]
async fn a_case_that_is_open_is_not_raised_again_and_one_that_is_closed_reopens() -> Result<()> {
    let options = MosquittoOptions { persistent: true, ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let mut platform = Listener::start(broker.port(), "gridpost/#").await?;
    let mut office = Office::connect(broker.port()).await?;
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
    let agent = gateway.start()?;
    let mut device = ScriptedDevice::connect(&gateway, DEVICE, 1, 1)?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let began = UnixMillis(now).plus(-6 * 60 * MINUTE_MS);

    // What nears the limit is told with how fast: 0.03 degrees a second.
    let rising: Vec<i32> = (0..80).map(|n| 32_000 + 30 * n).chain([20_000; 15]).collect();
    device.send_values(Quantity::Temperature, &rising, 1_000, began.plus(-30 * MINUTE_MS))?;
    let is_warning = |event: &Value| event["type"] == "gridpost.event.early-warning";
    let heard =
        platform.wait_until(|heard| heard.iter().map(json_of).any(|event| is_warning(&event))).await?;
    let warning = heard.iter().map(json_of).find(is_warning).context("a warning")?;
    ensure!(warning["data"]["measurement"]["trend"] == 1.8, "{}", warning["data"]["measurement"]);

    heat(&mut device, began)?;
    let first = exceedance(&mut platform, 0).await?;
    ensure!(first["data"]["case"] == Value::Null, "it raises a case of its own: {first}");
    let (event, case) = (first["id"].as_str().context("an id")?, first["data"]["episode"]["id"].clone());

    let filed_at = began.plus(5 * MINUTE_MS);
    let filed = disposition("d-1", event, "filed", filed_at, &json!({ "number": "2026-000123" }));
    office.says("gw-1", filed.clone()).await?;
    let (topic, said) = reply(&mut platform, &json!("d-1"), 0).await?;
    ensure!(topic == "gridpost/1/440310/gateway/gw-1/reply/disposition", "{topic}");
    ensure!(said["result"] == json!({ "case": case, "state": "filed", "changed": true }), "{said}");

    // Killed. What the platform says meanwhile, the broker keeps; what it had said, comes twice.
    agent.kill9()?;
    office.says("gw-1", filed).await?;
    let dispatched = disposition("d-2", event, "dispatched", filed_at.plus(MINUTE_MS), &Value::Null);
    office.says("gw-1/housing", dispatched).await?;
    let agent = gateway.start()?;
    let (topic, said) = reply(&mut platform, &json!("d-2"), 0).await?;
    ensure!(
        topic.ends_with("/reply/disposition/housing") && said["result"]["state"] == "dispatched",
        "{said}"
    );
    // The first answer may come again too, if the broker's acknowledgement of it was not noted before the kill.
    platform
        .wait_until(|heard| {
            heard.iter().map(json_of).any(|one| one["id"] == "d-1" && one["result"]["changed"] == false)
        })
        .await?;

    // The same rule at the same device: the case goes on.
    let mut device = ScriptedDevice::connect(&gateway, DEVICE, 2, device.next())?;
    heat(&mut device, began.plus(60 * MINUTE_MS))?;
    let second = exceedance(&mut platform, 1).await?;
    let expected =
        json!({ "id": case, "relation": "continues", "state": "dispatched", "number": "2026-000123" });
    ensure!(second["data"]["case"] == expected, "{second}");

    // What cannot be taken is answered, and changes nothing.
    let at = began.plus(61 * MINUTE_MS);
    let bad = [
        ("malformed", "gw-1", "{\"id\": \"b-0\", \"event\"".to_owned(), Value::Null),
        ("malformed", "gw-1", disposition("b-1", event, "done", at, &Value::Null), json!("b-1")),
        ("malformed", "gw-1", disposition("b-2", event, "rejected", at, &Value::Null), json!("b-2")),
        (
            "malformed",
            "gw-1",
            disposition("b-3", event, "closed", at.plus(10 * 24 * 60 * MINUTE_MS), &Value::Null),
            json!("b-3"),
        ),
        (
            "unknown-event",
            "gw-1",
            disposition("b-4", "677000000000000a-no-such-7", "closed", at, &Value::Null),
            json!("b-4"),
        ),
        (
            "unknown-matter",
            "gw-1",
            disposition("b-5", event, "reclassified", at, &json!({ "matter": "9999999" })),
            json!("b-5"),
        ),
        (
            "not-competent",
            "gw-1/ecology",
            disposition("b-6", event, "closed", at, &Value::Null),
            json!("b-6"),
        ),
    ];
    for (kind, to, message, id) in bad {
        office.says(to, message).await?;
        let (_, said) = reply(&mut platform, &id, 0).await?;
        ensure!(said["error"]["kind"] == kind && said["error"]["way_out"].is_string(), "{kind}: {said}");
    }

    let other = disposition("b-7", event, "reclassified", at, &json!({ "matter": "0501901" }));
    office.says("gw-1", other).await?;
    let (_, said) = reply(&mut platform, &json!("b-7"), 0).await?;
    let way_out = said["error"]["way_out"].as_str().context("a way out")?;
    ensure!(way_out.contains("`0501001` (烟雾高温报警 · Smoke"), "a code alone says little: {said}");

    // Closed, in the wrong order; an exceedance soon after belongs to it, a later one reopens it.
    let closed_at = began.plus(90 * MINUTE_MS);
    office.says("gw-1", disposition("d-4", event, "closed", closed_at, &Value::Null)).await?;
    office
        .says("gw-1", disposition("d-3", event, "handled", closed_at.plus(-MINUTE_MS), &Value::Null))
        .await?;
    let (_, late) = reply(&mut platform, &json!("d-3"), 0).await?;
    ensure!(late["result"] == json!({ "case": case, "state": "closed", "changed": false }), "{late}");
    heat(&mut device, closed_at.plus(10 * MINUTE_MS))?;
    let third = exceedance(&mut platform, 2).await?;
    ensure!(
        third["data"]["case"]["relation"] == "continues" && third["data"]["case"]["state"] == "closed",
        "{third}"
    );
    heat(&mut device, closed_at.plus(60 * MINUTE_MS))?;
    let fourth = exceedance(&mut platform, 3).await?;
    let own = &fourth["data"]["episode"]["id"];
    ensure!(
        fourth["data"]["case"]
            == json!({ "id": own, "relation": "reopens", "state": "raised", "previous": case }),
        "{fourth}"
    );

    // A rejection and a reclassification are counted against the rule, each once.
    let fourth_id = fourth["id"].as_str().context("an id")?;
    let at = closed_at.plus(61 * MINUTE_MS);
    let other = disposition("d-5", fourth_id, "reclassified", at, &json!({ "matter": "0501001" }));
    office.says("gw-1", other.clone()).await?;
    office.says("gw-1", other).await?;
    let rejected = disposition("d-6", event, "rejected", at, &json!({ "reason": "测点紧邻空调外机" }));
    office.says("gw-1", rejected.clone()).await?;
    office.says("gw-1", rejected).await?;
    reply(&mut platform, &json!("d-6"), 1).await?;
    let report: Value = serde_json::from_str(&gateway.run(&[
        "rules",
        "report",
        "-c",
        "gridpost.toml",
        "--format",
        "json",
    ])?)?;
    let heat_rule = &report["rules"][0];
    ensure!(heat_rule["rule"] == "outdoor-work-heat" && heat_rule["matter"] == "0501002", "{report}");
    let count = |key: &str| heat_rule[key].as_i64();
    ensure!(
        [count("cases"), count("continued"), count("rejected"), count("reclassified")]
            == [Some(2), Some(2), Some(1), Some(1)],
        "{report}"
    );
    ensure!(heat_rule["went_to"] == json!({ "0501001": 1 }), "{report}");

    if let Some(validators) = Validators::install()? {
        gateway.run(&["schema", "--all", "schemas"])?;
        // What was refused is no disposition, and its schema says so too.
        let heard = platform.wait_until(|heard| !heard.is_empty()).await?;
        let good = |one: &&Heard| {
            !json_of(one)["id"].as_str().unwrap_or("b-0").starts_with("b-")
                || !one.topic.contains("1/440310/disposition")
        };
        let messages: Vec<_> = heard
            .iter()
            .filter(good)
            .map(|one| json!({ "topic": one.topic, "payload": json_of(one) }))
            .collect();
        let counted = validators.check(&gateway.path("schemas"), &messages)?;
        ensure!(
            counted["dispositionReply"].as_u64() >= Some(10) && counted["disposition"].as_u64() >= Some(5),
            "{counted}"
        );
    }
    agent.kill9()?;
    Ok(())
}
