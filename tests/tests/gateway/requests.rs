//! The platform asks a gateway, over a real broker: the real agent answers, whatever it is asked.

use std::cell::RefCell;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::series::SeriesBuilder;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::scripted::ScriptedDevice;
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    mosquitto::{Mosquitto, MosquittoOptions},
    program::Program,
};
use rustix::process::Signal;
use serde_json::Value;

/// A gateway's folder with one device's key.
fn gateway(broker: &str) -> Result<GatewayFolder> {
    let gateway = GatewayFolder::new(broker)?;
    gateway.run(&["provision", "--device", DEVICE, "--keys", "keys.toml", "--image", "flash.img"])?;
    Ok(gateway)
}

const DEVICE: &str = "6770000000000001";

/// Asks with the program's own command.
fn ask(gateway: &GatewayFolder, broker: &str, name: &str, more: &[&str]) -> Result<Output> {
    let mut arguments = vec!["request", name, "--broker", broker, "--gateway", "gw-1", "--timeout", "60"];
    arguments.extend(more);
    Ok(gateway.command(&arguments).output()?)
}

fn answer(output: &Output) -> Result<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).context("the answer is JSON")
}

/// Starts the gateway; returns when it is ready and each of its subscriptions is granted or refused, in whatever order that is said.
fn start(gateway: &GatewayFolder) -> Result<Program> {
    let mut agent = gateway.launch()?;
    let wanted = RefCell::new(vec!["\"ready\"", "/request/+\"", "/disposition/gw-1/#\"", "/pack\""]);
    agent.wait_for(PATIENCE, |line| {
        wanted.borrow_mut().retain(|part| !line.contains(part));
        wanted.borrow().is_empty().then_some(())
    })?;
    Ok(agent)
}

#[test]
fn whatever_a_gateway_is_asked_it_answers_and_goes_on() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let (url, port) = (broker.url(), broker.port().to_string());
    let gateway = gateway(&url)?;
    let nobody = ask(&gateway, &url, "status", &[])?;
    ensure!(nobody.status.code() == Some(1), "{nobody:?}");
    ensure!(String::from_utf8_lossy(&nobody.stderr).contains("knows no gateway"), "{nobody:?}");

    let agent = start(&gateway)?;
    for more in [&[][..], &["--mqtt311"]] {
        let status = answer(&ask(&gateway, &url, "status", more)?)?;
        ensure!(status["gateway"] == "gw-1" && status["uplink"]["connected"] == true, "{status}");
        ensure!(status["pack"]["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{status}");
        ensure!(status["spool"]["events"] == 0, "{status}");
    }
    let unknown = ask(&gateway, &url, "weather", &[])?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(
        unknown.status.code() == Some(1) && said.contains("\"weather\"") && said.contains("status"),
        "{said}"
    );
    let wrong = ask(&gateway, &url, "status", &["--json", "{\"colour\": 1}"])?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(wrong.status.code() == Some(1) && said.contains("colour"), "{said}");

    // Garbage, as nobody's command would send it.
    let topic = "gridpost/1/440310/gateway/gw-1";
    let mut heard = Command::new("stdbuf")
        .args(["-oL", "mosquitto_sub"])
        .args(["-p", &port, "-q", "1", "-t", &format!("{topic}/reply/#"), "-C", "3", "-W", "60", "-d"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(heard.stdout.take().context("output")?));
    lines.by_ref().map_while(Result::ok).find(|line| line.contains("SUBACK")).context("subscribed")?;
    for payload in [&b"\xff\xfe{"[..], &vec![b'['; 20_000], b"[1, 2]"] {
        publish(&port, &format!("{topic}/request/status"), payload, &[])?;
    }
    let errors: Vec<Value> =
        lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect();
    ensure!(heard.wait()?.success(), "three answers");
    let what: Vec<&str> = errors.iter().filter_map(|error| error["error"]["what"].as_str()).collect();
    ensure!(
        what.len() == 3
            && what[0].contains("not JSON")
            && what[1].contains("16384")
            && what[2].contains("no object"),
        "{errors:?}"
    );

    // What nobody listens to does not stop it either; and a retained request is not answered at each start.
    publish(&port, &format!("{topic}/request/status"), b"{}", &["-r"])?;
    publish(&port, "gridpost/1/440310/disposition/gw-1", &vec![b'x'; 70_000], &[])?;
    let status = answer(&ask(&gateway, &url, "status", &[])?)?;
    ensure!(status["counters"]["dispositions_refused"] == 1, "{status}");
    ensure!(status["counters"]["requests_dropped"] == 1, "{status}");
    agent.signal(Signal::TERM)?;
    let (ended, _) = agent.wait(PATIENCE)?;
    ensure!(ended.success(), "{ended}");
    let offline = ask(&gateway, &url, "status", &[])?;
    ensure!(String::from_utf8_lossy(&offline.stderr).contains("offline"), "{offline:?}");
    Ok(())
}

fn publish(port: &str, topic: &str, payload: &[u8], more: &[&str]) -> Result<()> {
    let mut publisher = Command::new("mosquitto_pub")
        .args(["-p", port, "-q", "1", "-t", topic, "-s"])
        .args(more)
        .stdin(Stdio::piped())
        .spawn()
        .context("mosquitto_pub comes with mosquitto-clients")?;
    publisher.stdin.take().context("input")?.write_all(payload)?;
    ensure!(publisher.wait()?.success(), "published");
    Ok(())
}

/// 2026-11-24T02:00:00Z.
const UNTIL: UnixMillis = UnixMillis(1_795_485_600_000);

#[test]
fn the_platform_gets_the_readings_behind_an_event_also_after_the_gateway_was_killed() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let url = broker.url();
    let gateway = gateway(&url)?;
    let agent = start(&gateway)?;
    let id: DeviceId = DEVICE.parse().ok().context("a device id")?;
    let mut device = ScriptedDevice::connect(&gateway, id, 1, 1)?;
    let values: Vec<i32> = (0..60).map(|n| 20_000 + n * 125).collect();
    device.send_values(Quantity::Temperature, &values, 1_000, UNTIL)?;
    let expected: Vec<f64> = values.iter().map(|value| f64::from(*value) / 1000.0).collect();

    let span =
        ["--device", DEVICE, "--from", "2026-11-24T09:00:00+08:00", "--to", "2026-11-24T11:00:00+08:00"];
    let read = |more: &[&str]| answer(&ask(&gateway, &url, "readings", &[&span, more].concat())?);
    let of = |answer: &Value| -> Vec<f64> {
        answer["readings"].as_array().into_iter().flatten().filter_map(|one| one["value"].as_f64()).collect()
    };
    // Page by page, and the agent is killed between two pages.
    let first = read(&["--limit", "25"])?;
    agent.kill9()?;
    let agent = start(&gateway)?;
    let next = first["next"].to_string();
    let second = read(&["--limit", "100", "--after", &next])?;
    ensure!([of(&first), of(&second)].concat() == expected && second["next"].is_null(), "{first}\n{second}");
    ensure!(of(&read(&["--quantity", "Humidity"])?).is_empty());

    // The same as a file, beside the running gateway.
    let csv = gateway.run(&[
        "spool",
        "export",
        "--spool",
        "spool.db",
        "--device",
        DEVICE,
        "--quantity",
        "Temperature",
    ])?;
    let exported: Vec<f64> =
        csv.lines().skip(1).filter_map(|line| line.split(',').nth(4)?.parse().ok()).collect();
    ensure!(exported == expected, "{csv}");
    let lines = gateway.run(&[
        "spool",
        "export",
        "--spool",
        "spool.db",
        "--device",
        DEVICE,
        "--format",
        "json",
        "--from",
        "2026-11-24T02:00:00Z",
    ])?;
    ensure!(lines.lines().count() == 1 && lines.contains("\"at\":\"2026-11-24T02:00:00.000Z\""), "{lines}");
    ensure!(gateway.run(&["spool", "verify", "-c", "gridpost.toml"])?.contains("sound"));
    let said = gateway.run(&["spool", "status", "--spool", "spool.db"])?;
    ensure!(
        said.contains(DEVICE) && said.contains("readings kept    60, the first of 2026-11-24T"),
        "{said}"
    );
    let missing = gateway.command(&["spool", "status", "--spool", "none.db"]).output()?;
    ensure!(missing.status.code() == Some(3), "{missing:?}");

    // Seconds are with the device: it is away, then it answers.
    let seconds = [
        "--device",
        DEVICE,
        "--quantity",
        "LAeq",
        "--from",
        "2026-11-24T01:59:00Z",
        "--to",
        "2026-11-24T02:00:00Z",
    ];
    let away = ask(&gateway, &url, "seconds", &seconds)?;
    let said = String::from_utf8_lossy(&away.stderr).into_owned();
    ensure!(
        away.status.code() == Some(1) && said.contains("device-away") && said.contains("not heard"),
        "{said}"
    );
    let mut device = ScriptedDevice::connect(&gateway, id, 2, device.next())?;
    let asking = gateway
        .command(&["request", "seconds", "--broker", &url, "--gateway", "gw-1", "--timeout", "60"])
        .args(seconds)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let fetch = device.wait_for_fetch()?;
    ensure!(fetch.quantity == Quantity::LAeq && fetch.until == UNTIL, "{fetch:?}");
    let level = |value| Reading { quantity: Quantity::LAeq, value: Milli(value), quality: Quality::GOOD };
    let mut series = SeriesBuilder::new(fetch.from, &level(61_000));
    ensure!(
        series.push(fetch.from.plus(1_000), &level(62_500))
            && series.push(fetch.from.plus(2_000), &level(60_250))
    );
    device.send(&[(fetch.from, Record::Series(series.series()))])?;
    let seconds = answer(&asking.wait_with_output()?)?;
    let values: Vec<_> =
        seconds["seconds"].as_array().into_iter().flatten().filter_map(|one| one[1].as_f64()).collect();
    ensure!(
        values == [61.0, 62.5, 60.25] && seconds["seconds"][0][0] == "2026-11-24T01:59:00.000Z",
        "{seconds}"
    );
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success());
    Ok(())
}
