//! A noise node on the emulated Cortex-M4, with its microphone, its own rules and the whole chain behind it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gridpost_firmware::acoustics::{Range, Sensitivity};
use gridpost_firmware::sensors::sound_level::{BLOCK, SoundLevel};
use gridpost_protocol::engine::{BoxedEngine, NoPeriods};
use gridpost_protocol::event::{Decision, Phase};
use gridpost_protocol::id::Seq;
use gridpost_protocol::pack::Pack;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    metrology::signal::sine,
    mosquitto::{Mosquitto, MosquittoOptions},
    program::Program,
    qemu::{LinkAddress, Qemu, QemuOptions, board_image},
};
use object::{Object, ObjectSection, SectionKind};
use serde_json::{Value, json};

/// A noise node of the sample district, at a building site.
const DEVICE: &str = "6770000000000001";
/// What the board's microphone has at full scale.
const FULL_SCALE_PA: f64 = 20.0;

/// What an image of the nRF52840 may take, as its page says: the program, and RAM with the stack.
const FLASH_BYTES_MAX: u64 = 128 * 1024;
const RAM_BYTES_MAX: u64 = 32 * 1024;

const RULES: &str = "
[[rule]]
id = 'works'
matter = '0102003'
quantity = 'LAeq'
window = '5s'
above = 60
early_warning = 5
hold = '2s'
clear = '3s'
hysteresis = 1
severity = [5, 20]
interval = '1s'

[[rule]]
id = 'bang'
matter = '0102003'
quantity = 'LAFmax'
statistic = 'last'
above = 75
clear = '2s'
interval = '1s'
";

/// A quiet street, works for some seconds, and a quiet street again: 1 kHz tones.
fn street() -> Vec<i16> {
    tones(&[(50.0, 12.0), (80.0, 9.0), (50.0, 15.0)])
}

/// 1 kHz tones: level in dB, and seconds.
fn tones(parts: &[(f64, f64)]) -> Vec<i16> {
    let pressure = parts.iter().flat_map(|(level, seconds)| sine(1000.0, *level, *seconds));
    // Far from full scale, so it fits.
    pressure.map(|pascal| (pascal / FULL_SCALE_PA * 32_768.0).round() as i16).collect()
}

/// What a gateway's engine says about the same samples: the order, and all values.
fn on_this_machine(pack: &Pack, samples: &[i16]) -> Result<Vec<(String, Decision)>> {
    let device = DEVICE.parse().ok().context("a device id")?;
    let rules = pack.compile_for(device).context("the device's rules")?;
    let mut engine = BoxedEngine::boxed(rules.rules)?;
    let sensitivity = Sensitivity::from_pascals(FULL_SCALE_PA as f32).context("a sensitivity")?;
    let mut sound = SoundLevel::new(sensitivity, Range::default());
    let mut said = Vec::new();
    for (index, block) in samples.chunks_exact(BLOCK).enumerate() {
        let samples: [i32; BLOCK] = std::array::from_fn(|n| i32::from(block[n]) << 8);
        for (at, reading) in sound.process(0, &samples, (index as u64 + 1) * 10_000) {
            let at = UnixMillis(1_790_000_000_000 + at.0.cast_signed());
            engine.on_reading(Seq(1), at, &reading, &NoPeriods, |decision| {
                let rule = &pack.rules()[rules.source[usize::from(decision.rule)]];
                said.push((rule.id.to_string(), decision));
            });
        }
    }
    Ok(said)
}

fn configure(gateway: &GatewayFolder) -> Result<()> {
    fs::write(gateway.path("pack/rules.toml"), RULES)?;
    gateway.let_decide(DEVICE)
}

/// The readings of LAeq that the gateway decided on.
fn levels_sent(spool: &Path) -> Result<i64> {
    let spool = rusqlite::Connection::open(spool)?;
    let laeq = Quantity::LAeq.code();
    Ok(spool.query_row("SELECT count(*) FROM reading WHERE quantity = ?1", [laeq], |row| row.get(0))?)
}

#[test]
fn works_become_episodes_that_the_node_decides_and_a_calibrator_is_no_noise() -> Result<()> {
    let Some(elf) = board_image("qemu", "noise-node")? else { return Ok(()) };
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let gateway = GatewayFolder::new(&broker.url())?;
    configure(&gateway)?;
    gateway.run(&["provision", "--device", DEVICE, "--keys", "keys.toml", "--image", "flash.img"])?;
    let samples = street();
    let pack = Pack::load(&gateway.path("pack")).map_err(|error| anyhow::anyhow!("{error}"))?;
    let expected = on_this_machine(&pack, &samples)?;
    ensure!(expected.len() >= 5, "the street is too quiet: {expected:?}");

    let watch = ["watch", "--json", "--broker", &broker.url()];
    let mut platform = Program::start(&mut gateway.command(&watch))?;
    platform.wait_for_text(PATIENCE, "watching")?;
    let mut agent = gateway.start()?;
    let _board = Qemu::start(&QemuOptions {
        elf,
        flash_image: gateway.path("flash.img"),
        link: LinkAddress::Unix(gateway.path("link")),
        microphone: Some(gateway.path("")),
        log: gateway.path("board.log"),
    })?;

    agent.wait_for_text(PATIENCE, "the device runs its share of the pack")?;
    play(&gateway, 1, &samples)?;

    let mut said: Vec<Value> = Vec::new();
    for _ in &expected {
        said.push(platform.wait_for(PATIENCE, |line| serde_json::from_str(line).ok())?);
    }
    // What is urgent may overtake what is not; of each there is an order.
    let urgent = |phase: &str| phase == Phase::Exceeded.as_str();
    let mut expected = expected;
    expected.sort_by_key(|(_, decision)| urgent(decision.phase.as_str()));
    said.sort_by_key(|event| event["phase"].as_str().is_some_and(urgent));
    for ((rule, decision), event) in expected.iter().zip(&said) {
        ensure!(
            event["data"]["pack"]["rule"] == *rule && event["phase"] == decision.phase.as_str(),
            "{rule} {decision:?}, but it said {said:#?}"
        );
        let (data, measured) = (&event["data"], &event["data"]["measurement"]);
        for (name, value) in [("value", decision.value), ("limit", decision.limit), ("peak", decision.peak)] {
            ensure!(measured[name] == value.to_f64(), "{name}: {decision:?}, but it said {event:#}");
        }
        ensure!(data["episode"]["severity"] == decision.severity, "{decision:?}, but it said {event:#}");
        ensure!(event["matter"] == "0102003" && event["department"] == "housing", "{event:#}");
        ensure!(data["pack"]["share"].is_string(), "the node decided it: {event:#}");
        if event["phase"] == "exceeded" && *rule == "works" {
            let profile = data["evidence"]["profile"]["values"].as_array().context("a profile")?;
            ensure!(profile.iter().any(|level| level == 50.0), "as it was before: {event:#}");
            ensure!(profile.iter().any(|level| level == 80.0), "as it became: {event:#}");
        }
    }
    let sent = levels_sent(&gateway.path("spool.db"))?;
    ensure!(sent < 15, "{sent} levels were sent: only those from before the node had its rules should be");
    calibrations(&gateway, &broker.url(), &mut platform)?;
    let log = fs::read_to_string(gateway.path("board.log"))?;
    let deepest = log.lines().filter_map(|line| line.split_once("stack ")?.1.trim().parse().ok()).max();
    let stack: u64 = deepest.context("how much stack it took")?;
    let Some(image) = board_image("nrf52840", "")? else { return Ok(()) };
    let (flash, ram) = size(&image)?;
    println!(
        "the node took {stack} bytes of stack; the nRF52840's image has {flash} bytes, and {ram} of RAM"
    );
    ensure!(flash <= FLASH_BYTES_MAX, "{flash} bytes of flash");
    ensure!(ram + stack <= RAM_BYTES_MAX, "{ram} bytes of RAM and {stack} of stack");
    Ok(())
}

/// What an image takes of flash, and of RAM without the stack.
fn size(image: &Path) -> Result<(u64, u64)> {
    let bytes = fs::read(image)?;
    let (mut flash, mut ram) = (0, 0);
    for section in object::File::parse(&*bytes)?.sections() {
        match section.kind() {
            SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => {
                flash += section.size();
            }
            SectionKind::Data => (flash, ram) = (flash + section.size(), ram + section.size()),
            SectionKind::UninitializedData => ram += section.size(),
            // For debuggers.
            _ => {}
        }
    }
    Ok((flash, ram))
}

/// A person asks for a calibration and puts the calibrator on, twice: what it makes is no noise, and what came of it is told.
fn calibrations(gateway: &GatewayFolder, broker: &str, platform: &mut Program) -> Result<()> {
    // A first calibration may find what microphones of one type differ by; within days nothing drifts by a decibel.
    for (tape, hears, accepted) in [(2, 93.4, true), (3, 92.4, false)] {
        let asked = json!({ "device": DEVICE, "level_db": 94 }).to_string();
        let request = ["request", "calibrate", "--broker", broker, "--gateway", "gw-1", "--timeout", "60"];
        let told = gateway.run(&[&request[..], &["--json", &asked]].concat())?;
        ensure!(serde_json::from_str::<Value>(&told)?["told"] == true, "{told}");
        // Twelve seconds hold six that begin with a try of the meter's.
        play(gateway, tape, &tones(&[(hears, 14.0)]))?;
        let event: Value = platform.wait_for(PATIENCE, |line| serde_json::from_str(line).ok())?;
        ensure!(event["type"] == "gridpost.calibration" && event["matter"] == "0901002", "{event:#}");
        ensure!(event["department"] == "data", "{event:#}");
        let outcome = &event["data"]["calibration"];
        let number = |name: &str| outcome[name].as_f64().unwrap_or(f64::NAN);
        ensure!(outcome["accepted"] == accepted && number("nominal_db") == 94.0, "{event:#}");
        ensure!(outcome["reason"].as_str() == (!accepted).then_some("drift"), "{event:#}");
        // The second is heard with what the first found, and changes nothing.
        let (drift, full_scale) = if accepted { (-0.6, 20.0 * 10_f64.powf(0.03)) } else { (-1.0, 21.43) };
        ensure!((number("drift_db") - drift).abs() < 0.05, "{event:#}");
        ensure!((number("full_scale_pa") - full_scale).abs() < 0.1, "{event:#}");
    }
    Ok(())
}

/// What the board's microphone hears next: in place with one step, because the board looks for it each second.
fn play(gateway: &GatewayFolder, tape: u8, samples: &[i16]) -> Result<()> {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    fs::write(gateway.path("tape.part"), bytes)?;
    fs::rename(gateway.path("tape.part"), gateway.path(&format!("microphone-{tape}.pcm"))).context("a tape")
}
