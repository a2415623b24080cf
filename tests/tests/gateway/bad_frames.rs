//! Frames that are cut, flipped, replayed, from an unknown device or under a wrong key, thrown at the real agent: each is counted,
//! none reaches the engine, and what a good device sends in between is taken.

use std::{io::Write, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};
use gridpost_agent::keys::Keys;
use gridpost_protocol::{frame::to_stream, id::DeviceId, seal::Key};
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    device::{Device, listening},
    records::wait_for_record,
};
use rustix::process::Signal;

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
/// Has a key here, and no place in the sample district.
const UNPLACED: DeviceId = DeviceId(0x6770_0000_0000_00ff);

#[test]
fn bad_frames_are_counted_and_good_ones_between_them_are_taken() -> Result<()> {
    // No broker listens there: events, if there were any, would wait.
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    gateway.configure(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:0'\n[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n",
    )?;
    for device in [DEVICE, UNPLACED] {
        let image = format!("{device}.img");
        gateway.run(&[
            "provision",
            "--device",
            &device.to_string(),
            "--keys",
            "keys.toml",
            "--image",
            &image,
        ])?;
    }
    let keys = Keys::load(&gateway.path("keys.toml"))?;
    let key = |id| keys.get(id).cloned().context("its key");
    let mut agent = gateway.launch()?;
    let address = listening(&mut agent)?;

    let mut device = Device::connect(address, DEVICE, key(DEVICE)?, 5)?;
    let hello = device.hello(1)?;
    device.send(&hello)?;
    device.wait_for_ack(0)?;
    let first = device.records(5, 1, 10)?;

    // Cut, then flipped, then noise without end: nothing of it counts.
    let wire = to_stream(&first);
    device.link.write_all(&wire[..wire.len() / 2])?;
    device.link.write_all(&[0])?;
    let mut flipped = first.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    device.send(&flipped)?;
    device.link.write_all(&[7; 5_000])?;
    device.link.write_all(&[0])?;
    // The true one, and the same again by somebody who listened.
    device.send(&first)?;
    device.wait_for_ack(10)?;
    device.send(&first)?;
    // Of an earlier boot.
    let mut earlier = Device::connect(address, DEVICE, key(DEVICE)?, 4)?;
    let old = earlier.hello(1)?;
    earlier.send(&old)?;
    // With a wrong key, of a device nobody knows, of a device without a place.
    let mut forger = Device::connect(address, DEVICE, Key([9; 32]), 6)?;
    let forged = forger.records(6, 1, 3)?;
    forger.send(&forged)?;
    let mut stranger = Device::connect(address, DeviceId(42), Key([9; 32]), 1)?;
    let strange = stranger.hello(1)?;
    stranger.send(&strange)?;
    let mut unplaced = Device::connect(address, UNPLACED, key(UNPLACED)?, 1)?;
    let lost = unplaced.hello(1)?;
    unplaced.send(&lost)?;
    // A layout of another version, and a suite that is not there.
    let mut version = first.clone();
    version[0] = 9;
    device.send(&version)?;
    let mut suite = device.records(5, 11, 1)?;
    suite[2] = 0;
    device.send(&suite)?;
    // And the good device goes on.
    let second = device.records(5, 11, 5)?;
    device.send(&second)?;
    device.wait_for_ack(15)?;

    // Other connections are read side by side: all of them have been seen when their counts are there.
    agent.signal(Signal::TERM)?;
    let (status, said) = agent.wait(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", said.join("\n"));
    let summary = said.iter().find(|line| line.contains("pipeline ended")).context("a summary")?;
    for count in [
        "frames_damaged=2",
        "frames_not_authentic=2",
        "frames_replayed=2",
        "frames_unknown_device=1",
        "frames_unplaced_device=1",
        "frames_malformed=2",
        "records_received=15",
    ] {
        ensure!(
            summary.contains(&format!(" {count} ")) || summary.contains(&format!(" {count}\"")),
            "{count} in {summary}"
        );
    }
    let numbers = wait_for_record(&gateway.path("spool.db"), 15, PATIENCE)?;
    ensure!(numbers == (1..=15).collect::<Vec<u64>>(), "{numbers:?}");
    Ok(())
}

/// Else an old one would shift the time of what the device measured.
#[test]
fn what_a_device_said_of_its_clock_is_not_taken_again_after_a_restart() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    gateway.configure(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:0'\n[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n",
    )?;
    gateway.run(&[
        "provision",
        "--device",
        &DEVICE.to_string(),
        "--keys",
        "keys.toml",
        "--image",
        "a.img",
    ])?;
    let key = Keys::load(&gateway.path("keys.toml"))?.get(DEVICE).cloned().context("its key")?;
    let mut agent = gateway.launch()?;
    let mut device = Device::connect(listening(&mut agent)?, DEVICE, key, 5)?;
    let hello = device.hello(1)?;
    device.send(&hello)?;
    device.wait_for_time()?;
    let recorded = device.status(1)?;
    device.send(&recorded)?;
    device.wait_for_time()?;
    agent.kill9()?;

    let mut agent = gateway.launch()?;
    device.link = TcpStream::connect(listening(&mut agent)?)?;
    device.link.set_read_timeout(Some(PATIENCE))?;
    // By somebody who listened, before the device itself says anything.
    device.send(&recorded)?;
    let records = device.records(5, 1, 3)?;
    let hello = device.hello(4)?;
    device.send(&hello)?;
    device.wait_for_time()?;
    device.send(&records)?;
    device.wait_for_ack(3)?;
    agent.signal(Signal::TERM)?;
    let (_, said) = agent.wait(Duration::from_secs(60))?;
    let summary = said.iter().find(|line| line.contains("pipeline ended")).context("a summary")?;
    ensure!(summary.contains(" frames_replayed=1 "), "{summary}");
    Ok(())
}

#[test]
fn a_device_that_numbers_from_before_the_cursor_is_refused_with_the_way_out() -> Result<()> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    gateway.configure(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:0'\n[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n",
    )?;
    gateway.run(&[
        "provision",
        "--device",
        &DEVICE.to_string(),
        "--keys",
        "keys.toml",
        "--image",
        "a.img",
    ])?;
    let key = Keys::load(&gateway.path("keys.toml"))?.get(DEVICE).cloned().context("its key")?;
    let mut agent = gateway.launch()?;
    let address = listening(&mut agent)?;
    let mut device = Device::connect(address, DEVICE, key.clone(), 5)?;
    // Of a device never heard of, nothing is taken before it has said where its records begin.
    let hello = device.hello(1)?;
    device.send(&hello)?;
    device.wait_for_ack(0)?;
    let frame = device.records(5, 1, 20)?;
    device.send(&frame)?;
    device.wait_for_ack(20)?;

    let mut replaced = Device::connect(address, DEVICE, key, 6)?;
    let hello = replaced.hello(3)?;
    replaced.send(&hello)?;
    let line = agent.wait_for_text(PATIENCE, "its store was replaced")?;
    ensure!(line.contains("gridpost provision --device 677000000000000a"), "{line}");
    Ok(())
}
