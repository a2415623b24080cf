//! What a rule author sees: cases that are run, and why a rule said what it said.

use std::fs;

use anyhow::{Context, Result, ensure};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::agent::GatewayFolder;
use gridpost_tests::scripted::ScriptedDevice;

const NIGHT: &str = "LAeq=71.4@2026-11-22T23:00:00+08:00..2026-11-22T23:10:00+08:00";

fn said(gateway: &GatewayFolder, args: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = gateway.command(args).output().context("gridpost")?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

#[test]
fn cases_pass_fail_and_are_refused_with_an_exit_code_each() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/sample/tests.toml");
    let cases = gateway.path("pack/tests.toml");
    fs::copy(sample, &cases)?;
    let (code, out, _) = said(&gateway, &["rules", "test", "pack/tests.toml"])?;
    ensure!(code == Some(0) && out.ends_with(" cases, 0 not as expected\n"), "{out}");

    let text = fs::read_to_string(&cases)?;
    fs::write(&cases, text.replace("matter = \"0102003\"", "matter = \"0102001\""))?;
    let (code, out, err) = said(&gateway, &["rules", "test", "pack/tests.toml"])?;
    ensure!(code == Some(1) && err.contains("not all cases are as expected"), "{out}{err}");
    ensure!(out.contains("FAIL") && out.contains("      - exceeded matter 0102001"), "{out}");

    fs::write(&cases, text.replace("matter = \"0102003\"", "matter = \"9\""))?;
    let (code, _, err) = said(&gateway, &["rules", "test", "pack/tests.toml"])?;
    ensure!(code == Some(3) && err.contains("there is no matter `9`"), "{err}");

    // A name that is mistyped, and a folder without a pack: the name is what is wrong.
    let (code, _, err) = said(&gateway, &["rules", "test", "test.toml"])?;
    ensure!(code == Some(3) && err.contains("test.toml: cannot be read"), "{err}");
    Ok(())
}

#[test]
fn of_a_device_that_decides_itself_it_is_said_what_it_does_not_tell() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    let explain = || said(&gateway, &["explain", "--pack", "pack", "--device", "6770000000000003"]);
    let what = "does not tell which guard or exclusion kept it from it; fetch its seconds";
    let (_, out, err) = explain()?;
    ensure!(!out.is_empty() && !out.contains(what), "{out}{err}");
    gateway.let_decide("6770000000000003")?;
    let rule = "[[rule]]\nid = \"noise\"\nmatter = \"0101001\"\nquantity = \"LAeq\"\nwindow = \"5min\"\nabove = 65\n";
    fs::write(gateway.path("pack/rules.toml"), rule)?;
    let (_, out, err) = explain()?;
    ensure!(
        out.contains("LAeq: noise") && !out.contains(what),
        "without conditions nothing keeps it: {out}{err}"
    );
    let exclude = "exclude = [{ quantity = \"wind_speed\", at_least = 5 }]\n";
    fs::write(gateway.path("pack/rules.toml"), [rule, exclude].concat())?;
    let (_, out, err) = explain()?;
    ensure!(out.contains(what), "{out}{err}");
    Ok(())
}

#[test]
fn it_is_explained_which_rule_spoke_and_why_the_others_did_not() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    let device = "6770000000000001";
    let explain = |readings: &[&str]| {
        let mut args = vec!["explain", "--pack", "pack", "--device", device];
        readings.iter().for_each(|reading| args.extend(["--reading", reading]));
        said(&gateway, &args)
    };
    let (code, out, err) = explain(&[NIGHT])?;
    ensure!(code == Some(0), "{err}");
    for expected in [
        "site PS-0001",
        "construction-piling: its period, day, is not on",
        "construction-noise-night: an episode is open (exceeded since 2026-11-22 23:0",
        "matter 0102003 建筑施工夜间噪声",
        "department housing 区住房和建设局, level sub-district, to be handled within 2 h",
        "limit table construction-noise, area class 2",
        "exclusion wind_speed at least 5 (any device at the site, within 10m): not met",
        "not for a construction site of area class 2: industrial-noise-night",
    ] {
        ensure!(out.contains(expected), "{expected}: {out}");
    }
    let (_, out, _) = explain(&[NIGHT, "wind_speed=7@2026-11-22T23:08:00+08:00"])?;
    ensure!(out.contains("an exclusion keeps it from deciding") && out.contains("within 10m): met"), "{out}");

    let (code, _, err) = explain(&["LAeq 71@now"])?;
    ensure!(code == Some(2) && err.contains("write it as LAeq=71.4@2026"), "{err}");
    let (code, out, err) = explain(&[])?;
    ensure!(code == Some(0), "{err}");
    for expected in [
        "rules at this site",
        "LAeq: construction-noise-examination, construction-piling",
        "silence of this device",
        "device-silent: told when nothing is heard for 30m, under matter 0901001",
        "department data",
    ] {
        ensure!(out.contains(expected), "{expected}: {out}");
    }
    let (code, _, err) = said(&gateway, &["explain", "--pack", "pack"])?;
    ensure!(code == Some(2) && err.contains("there is no reading"), "{err}");
    Ok(())
}

/// The broker is away: the event waits in the spool, with the readings that decided.
#[test]
fn an_event_that_waits_in_the_spool_is_explained_by_its_id() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    let id = DeviceId(0x6770_0000_0000_000a);
    gateway.run(&["provision", "--device", &id.to_string(), "--keys", "keys.toml", "--image", "a.img"])?;
    let agent = gateway.start()?;
    let mut device = ScriptedDevice::connect(&gateway, id, 1, 1)?;
    let noon = UnixMillis(jiff::Timestamp::now().as_millisecond() - 3_600_000);
    // It returns when the gateway has acknowledged them, which it does when they are committed.
    device.send_values(Quantity::Temperature, &[36_500; 30], 5_000, noon)?;
    let waiting = gateway.run(&["spool", "export", "events", "-c", "gridpost.toml"])?;
    let events = waiting.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
    let exceeded =
        events.iter().find(|event| event["data"]["phase"] == "exceeded").context("an exceedance")?;
    let event = exceeded["id"].as_str().context("its id")?;
    let (code, out, err) = said(&gateway, &["explain", event, "--pack", "pack", "--spool", "spool.db"])?;
    ensure!(code == Some(0), "{out}{err}");
    for part in [event, "0501002", "outdoor-work-heat", "36.5"] {
        ensure!(out.contains(part), "no {part:?} in\n{out}");
    }
    let (code, _, err) = said(&gateway, &["explain", "none-1", "--pack", "pack", "--spool", "spool.db"])?;
    ensure!(code == Some(3) && err.contains("the spool has no such event"), "{err}");
    agent.kill9()?;
    Ok(())
}
