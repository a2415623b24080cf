//! Another pack while the gateway runs: taken, refused, and cut off by kill -9 at any moment.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use rustix::process::Signal;

use super::{edit, gateway, signing::minisign, version};

const BROKER: &str = "mqtt://127.0.0.1:1";

/// The version of the pack that is kept, and that it is whole.
fn kept(gateway: &GatewayFolder) -> Result<u32> {
    let shown = gateway.run(&["pack", "show", "spool.db.pack"])?;
    let line = shown.lines().find_map(|line| line.strip_prefix("version")).context("no version")?;
    Ok(line.trim().parse()?)
}

#[test]
fn a_new_pack_is_taken_on_sighup_and_what_cannot_be_used_is_refused() -> Result<()> {
    let gateway = gateway(BROKER)?;
    version(&gateway, 5)?;
    let mut agent = gateway.start()?;
    version(&gateway, 6)?;
    agent.signal(Signal::HUP)?;
    agent.wait_for_text(PATIENCE, "a new pack")?;
    agent.wait_for_text(PATIENCE, "this pack decides now")?;
    ensure!(kept(&gateway)? == 6, "it is not kept");

    let refusals: [(&str, &dyn Fn() -> Result<()>); 3] = [
        ("older than the version 6", &|| version(&gateway, 4)),
        ("for division 440305", &|| {
            version(&gateway, 9)?;
            edit(&gateway, "pack/pack.toml", |text| text.replace("440310", "440305"))?;
            edit(&gateway, "pack/sites.csv", |text| text.replace(",440310,", ",440305,"))
        }),
        ("devices.csv", &|| edit(&gateway, "pack/devices.csv", |text| text.replace("PS-0001", "PS-9999"))),
    ];
    for (why, change) in refusals {
        change()?;
        agent.signal(Signal::HUP)?;
        let said = agent.wait_for_text(PATIENCE, "a pack is refused")?;
        ensure!(said.contains(why), "no {why:?} in {said}");
        ensure!(kept(&gateway)? == 6, "the old one is gone");
    }
    agent.kill9()?;
    // The configured pack is of no use now, and the gateway goes on with the one that ran.
    let mut agent = Some(gateway.start()?);
    ensure!(kept(&gateway)? == 6, "another one is kept");
    agent.take().context("the agent")?.kill9()?;
    // A script that asks before a start learns that what is configured will not run, and what will.
    let checked = gateway.command(&["check", "-c", "gridpost.toml"]).output()?;
    let (out, err) = (String::from_utf8(checked.stdout)?, String::from_utf8(checked.stderr)?);
    ensure!(checked.status.code() == Some(3), "{:?}: {out}{err}", checked.status);
    ensure!(out.ends_with("the gateway starts, and not with the configured pack\n"), "{out}");
    for part in ["pack, is refused", "devices.csv", "version 6", "spool.db.pack"] {
        ensure!(err.contains(part), "no {part:?} in {err}");
    }
    Ok(())
}

#[test]
fn kill_9_at_any_moment_of_a_change_leaves_the_old_pack_or_the_new_one() -> Result<()> {
    /// How many changes are cut off; how much later each is.
    const KILLS: u32 = 24;
    const STEP: Duration = Duration::from_micros(1500);
    let gateway = gateway(BROKER)?;
    version(&gateway, 1000)?;
    gateway.start()?.kill9()?;
    let (mut old, mut new) = (0, 0);
    for round in 0..KILLS {
        let next = 1001 + round;
        let agent = gateway.start()?;
        let running = kept(&gateway)?;
        version(&gateway, next)?;
        agent.signal(Signal::HUP)?;
        // Not to wait for something: the moment of the kill moves through the change.
        thread::sleep(STEP * round);
        agent.kill9()?;
        let found = kept(&gateway)?;
        ensure!(found == running || found == next, "round {round}: {found}, and it was {running} or {next}");
        if found == next {
            new += 1
        } else {
            old += 1
        }
        ensure!(!fs::read(gateway.path("spool.db.pack"))?.is_empty(), "it is empty");
    }
    println!("{old} kills left the old pack, {new} the new one");
    Ok(())
}

/// Publishes a file as the gateway's retained pack, with a tool that is not ours.
fn publish(gateway: &GatewayFolder, port: &str, file: &str) -> Result<()> {
    let topic = "gridpost/1/440310/gateway/gw-1/pack";
    let done = Command::new("mosquitto_pub")
        .args(["-p", port, "-q", "1", "-r", "-t", topic, "-f", file])
        .current_dir(gateway.path(""))
        .status()
        .context("mosquitto_pub comes with mosquitto-clients")?;
    ensure!(done.success(), "not published");
    Ok(())
}

/// The gateway's retained status, once it has `part`.
fn status(port: &str, part: &str) -> Result<String> {
    for _ in 0..60 {
        let output = Command::new("mosquitto_sub")
            .args([
                "-p",
                port,
                "-q",
                "1",
                "-C",
                "1",
                "-W",
                "10",
                "-t",
                "gridpost/1/440310/gateway/gw-1/status",
            ])
            .output()?;
        let said = String::from_utf8(output.stdout)?;
        if said.contains(part) {
            return Ok(said);
        }
        thread::sleep(Duration::from_millis(500));
    }
    anyhow::bail!("no {part:?} in the status")
}

#[test]
fn a_signed_pack_comes_over_mqtt_and_no_other_one_does() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let port = broker.port().to_string();
    let gateway = gateway(&broker.url())?;
    for name in ["office", "stranger"] {
        let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
        ensure!(minisign(&gateway, &["-G", "-W", "-p", &public, "-s", &secret], "")?, "no key {name}");
    }
    let build = |number: u32, key: &str, joined: &str| -> Result<()> {
        version(&gateway, number)?;
        gateway.run(&["pack", "build", "pack", "-o", "district.pack"])?;
        gateway.run(&["pack", "sign", "district.pack", "--key", key, "--joined", joined])?;
        Ok(())
    };
    build(101, "office.key", "first.pack")?;
    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    let config = config.replace("pack = 'pack'", "pack = 'first.pack'");
    gateway.configure(&format!("{config}[pack]\ntrust = ['office.pub']\n"))?;
    let mut agent = gateway.start()?;
    status(&port, "\"version\":101")?;

    build(102, "stranger.key", "stranger.pack")?;
    publish(&gateway, &port, "stranger.pack")?;
    agent.wait_for_text(PATIENCE, "a pack is refused")?;
    let said = status(&port, "pack_refused")?;
    ensure!(said.contains("\"version\":101") && said.contains("none of the 1 trusted keys"), "{said}");
    publish(&gateway, &port, "district.pack")?;
    let said = agent.wait_for_text(PATIENCE, "a pack is refused")?;
    ensure!(said.contains("not signed"), "{said}");

    build(103, "office.key", "next.pack")?;
    publish(&gateway, &port, "next.pack")?;
    agent.wait_for_text(PATIENCE, "this pack decides now")?;
    status(&port, "\"version\":103")?;
    agent.kill9()?;
    // The configured one is older; what was sent goes on, also with nobody to send it.
    publish(&gateway, &port, "/dev/null")?;
    let mut agent = gateway.start()?;
    status(&port, "\"version\":103")?;
    publish(&gateway, &port, "first.pack")?;
    let said = agent.wait_for_text(PATIENCE, "a pack is refused")?;
    ensure!(said.contains("older than the version 103"), "{said}");
    ensure!(kept(&gateway)? == 103, "it went back");

    // Keys change while it runs: what the platform keeps for it, refused before, is looked at again.
    build(104, "stranger.key", "stranger.pack")?;
    publish(&gateway, &port, "stranger.pack")?;
    let said = agent.wait_for_text(PATIENCE, "a pack is refused")?;
    ensure!(said.contains("none of the 1 trusted keys"), "{said}");
    let text = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&text.replace("trust = [", "trust = ['nobody.pub', "))?;
    agent.signal(Signal::HUP)?;
    let said = agent.wait_for_text(PATIENCE, "stays as it was")?;
    ensure!(said.contains("nobody.pub: cannot be read"), "{said}");
    gateway.configure(&text.replace("trust = [", "trust = ['stranger.pub', "))?;
    agent.signal(Signal::HUP)?;
    status(&port, "\"version\":104")?;
    Ok(())
}

/// A value of the metrics' page.
fn metric(gateway: &str, name: &str) -> Result<f64> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(gateway)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in {page}"))?.trim().parse()?)
}

#[test]
fn a_refusal_is_seen_by_the_platform_until_a_pack_is_taken_and_the_devices_are_those_of_the_pack()
-> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let port = broker.port().to_string();
    let gateway = gateway(&broker.url())?;
    version(&gateway, 5)?;
    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&format!("{config}[metrics]\nlisten = '127.0.0.1:0'\n"))?;
    let mut agent = gateway.launch()?;
    let address = agent.wait_for(PATIENCE, |line| {
        let rest = line.split_once("\"address\":\"127.0.0.1:")?.1;
        Some(format!("127.0.0.1:{}", rest.split('"').next()?))
    })?;
    status(&port, "\"version\":5")?;
    let devices = metric(&address, "gridpost_devices")?;

    let ask = || -> Result<serde_json::Value> {
        let url = broker.url();
        let said =
            gateway.run(&["request", "status", "--broker", &url, "--gateway", "gw-1", "--timeout", "60"])?;
        Ok(serde_json::from_str(&said)?)
    };
    ensure!(ask()?["pack_refused"].is_null(), "nothing was refused");
    version(&gateway, 4)?;
    agent.signal(Signal::HUP)?;
    let said: serde_json::Value = serde_json::from_str(&status(&port, "pack_refused")?)?;
    let refused = &said["pack_refused"];
    ensure!(
        said["pack"]["version"] == 5
            && refused["from"] == "file"
            && refused["version"] == 4
            && refused["reason"].as_str().is_some_and(|why| why.contains("older than the version 5")),
        "{said}"
    );
    ensure!(ask()?["pack_refused"] == *refused, "the desk says the same");
    ensure!(metric(&address, "gridpost_packs_refused_total")? == 1.0, "it is counted");

    version(&gateway, 6)?;
    edit(&gateway, "pack/devices.csv", |text| {
        text.to_owned() + "67700000000000aa,PS-0001,GP-N1 noise node,SAMPLE-9,2026-11-01,LAeq\n"
    })?;
    agent.signal(Signal::HUP)?;
    let said = status(&port, "\"version\":6")?;
    ensure!(!said.contains("pack_refused"), "it is over: {said}");
    ensure!(metric(&address, "gridpost_devices")? == devices + 1.0, "the metrics follow the pack");

    // Refused at a start it is said in the same way.
    agent.kill9()?;
    version(&gateway, 4)?;
    let _agent = gateway.start()?;
    let said: serde_json::Value = serde_json::from_str(&status(&port, "pack_refused")?)?;
    ensure!(said["pack"]["version"] == 6 && said["pack_refused"]["version"] == 4, "{said}");
    Ok(())
}
