//! The chain, with all its real parts: firmware on an emulated Cortex-M4 reads a temperature sensor and keeps the readings in
//! flash; the agent decides and commits; Mosquitto delivers; the platform sees whose it is. And all of them get killed.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use gridpost_tests::{
    agent::{GatewayFolder, PATIENCE},
    mosquitto::{Mosquitto, MosquittoOptions},
    program::Program,
    qemu::{LinkAddress, Qemu, QemuOptions, board_image},
    records::{sequence_numbers, wait_for_record},
};
use rustix::process::Signal;
use serde_json::Value;

/// The device of the sample district whose site has a rule for heat at outdoor work.
const DEVICE: &str = "677000000000000a";

/// The whole chain, ready to be switched on.
struct Chain {
    broker: Mosquitto,
    gateway: GatewayFolder,
    board: QemuOptions,
}

/// `None` on a machine that lacks a part, and may.
fn chain() -> Result<Option<Chain>> {
    let Some(elf) = board_image("qemu", "")? else { return Ok(None) };
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(None) };
    let gateway = GatewayFolder::new(&broker.url())?;
    gateway.run(&[
        "provision",
        "--device",
        DEVICE,
        "--keys",
        "keys.toml",
        "--image",
        "flash.img",
        "--first-seq",
        "1",
    ])?;
    let board = QemuOptions {
        elf,
        flash_image: gateway.path("flash.img"),
        link: LinkAddress::Unix(gateway.path("link")),
        microphone: None,
        log: gateway.path("board.log"),
    };
    Ok(Some(Chain { broker, gateway, board }))
}

impl Chain {
    /// The platform's side, subscribed.
    fn platform(&self) -> Result<Program> {
        let watch = ["watch", "--json", "--broker", &self.broker.url()];
        let mut platform = Program::start(&mut self.gateway.command(&watch))?;
        platform.wait_for_text(PATIENCE, "watching")?;
        Ok(platform)
    }

    fn spool(&self) -> PathBuf {
        self.gateway.path("spool.db")
    }
}

/// The next event of a phase.
fn event(platform: &mut Program, phase: &str) -> Result<Value> {
    platform
        .wait_for(PATIENCE, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["phase"] == phase).then_some(event)
        })
        .with_context(|| format!("waiting for an event of phase {phase}"))
}

/// Waits until the board has stored `count` more records; gives the number of the last.
fn appended(board: &mut Qemu, count: usize) -> Result<u64> {
    let mut last = 0;
    for _ in 0..count {
        let line = board.wait_for_log(PATIENCE, |line| line.contains("appended "))?;
        last = line.rsplit(' ').next().context("a number")?.parse()?;
    }
    Ok(last)
}

fn each_once(numbers: &[u64], last: u64) -> Result<()> {
    ensure!(numbers.len() as u64 >= last, "{} records for {last} numbers", numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        ensure!(*number == index as u64 + 1, "record {number} stands where {} belongs", index + 1);
    }
    Ok(())
}

#[test]
fn a_warm_hand_on_the_sensor_becomes_one_episode_that_knows_its_owner() -> Result<()> {
    let Some(chain) = chain()? else { return Ok(()) };
    let mut platform = chain.platform()?;
    let agent = chain.gateway.start()?;
    let mut board = Qemu::start(&chain.board)?;
    board.set_temperature(25_000)?;
    appended(&mut board, 4)?;

    board.set_temperature(34_500)?;
    let warning = event(&mut platform, "early-warning")?;
    board.set_temperature(36_500)?;
    let exceeded = event(&mut platform, "exceeded")?;
    board.set_temperature(25_000)?;
    let cleared = event(&mut platform, "cleared")?;

    for event in [&warning, &exceeded, &cleared] {
        ensure!(event["specversion"] == "1.0" && event["matter"] == "0501002", "{event:#}");
        ensure!(event["department"] == "housing" && event["level"] == "sub-district", "{event:#}");
        ensure!(
            event["data"]["device"]["id"] == DEVICE && event["data"]["site"]["id"] == "PS-0001",
            "{event:#}"
        );
        ensure!(event["data"]["episode"]["id"] == warning["data"]["episode"]["id"], "one episode");
    }
    ensure!(exceeded["data"]["measurement"]["limit"] == 35.0, "{exceeded:#}");
    ensure!(cleared["data"]["episode"]["cause"] == "below-limit", "{cleared:#}");

    agent.signal(Signal::TERM)?;
    let (status, said) = agent.wait(PATIENCE)?;
    ensure!(status.success(), "SIGTERM ends it in order:\n{}", said.join("\n"));
    Ok(())
}

#[test]
fn every_record_arrives_once_though_the_board_is_killed_in_mid_stream() -> Result<()> {
    let Some(chain) = chain()? else { return Ok(()) };
    let agent = chain.gateway.start()?;
    let (mut kills, mut last) = (0, 0);
    // Killed while it sends, while it stores, just after its start: wherever it happens to be after so many records.
    for records in [5, 1, 3, 2, 4, 1] {
        let mut board = Qemu::start(&chain.board)?;
        last = appended(&mut board, records)?;
        // What a flash has taken stays; QEMU writes its file later, so it is told to first.
        board.stop()?;
        board.kill9()?;
        kills += 1;
    }
    let _board = Qemu::start(&chain.board)?;
    let numbers = wait_for_record(&chain.spool(), last, PATIENCE)?;
    each_once(&numbers, last)?;
    println!(
        "board killed {kills} times: {last} appended before the last kill, {} arrived, 0 lost",
        numbers.len()
    );
    drop(agent);
    Ok(())
}

#[test]
fn every_record_arrives_once_though_the_agent_is_killed_in_mid_stream() -> Result<()> {
    let Some(chain) = chain()? else { return Ok(()) };
    let mut board = Qemu::start(&chain.board)?;
    // A backlog first, so that there is a stream to be killed in.
    appended(&mut board, 12)?;
    let mut kills = 0;
    for records in [2, 1, 3, 1, 2] {
        let agent = chain.gateway.start()?;
        appended(&mut board, records)?;
        agent.kill9()?;
        kills += 1;
    }
    let last = appended(&mut board, 3)?;
    let _agent = chain.gateway.start()?;
    let numbers = wait_for_record(&chain.spool(), last, PATIENCE)?;
    each_once(&numbers, last)?;
    println!("agent killed {kills} times: {last} appended, {} arrived, 0 lost, 0 twice", numbers.len());
    Ok(())
}

#[test]
fn events_wait_for_a_broker_that_was_killed() -> Result<()> {
    let Some(mut chain) = chain()? else { return Ok(()) };
    let mut platform = chain.platform()?;
    let mut agent = chain.gateway.start()?;
    let mut board = Qemu::start(&chain.board)?;
    board.set_temperature(25_000)?;
    appended(&mut board, 4)?;
    board.set_temperature(34_500)?;
    let warning = event(&mut platform, "early-warning")?;

    chain.broker.kill()?;
    board.set_temperature(36_500)?;
    agent.wait_for_text(PATIENCE, "\"phase\":\"exceeded\"")?;
    // The platform's subscriber has no session at a broker that kept nothing, so it must be there before the agent.
    agent.signal(Signal::STOP)?;
    chain.broker.restart()?;
    platform.wait_for_text(PATIENCE, "watching")?;
    agent.signal(Signal::CONT)?;

    let exceeded = event(&mut platform, "exceeded")?;
    ensure!(exceeded["data"]["episode"]["id"] == warning["data"]["episode"]["id"], "one episode");
    board.set_temperature(25_000)?;
    event(&mut platform, "cleared")?;
    Ok(())
}

#[test]
fn the_agent_goes_on_in_the_middle_of_an_episode() -> Result<()> {
    let Some(chain) = chain()? else { return Ok(()) };
    let mut platform = chain.platform()?;
    let agent = chain.gateway.start()?;
    let mut board = Qemu::start(&chain.board)?;
    board.set_temperature(36_500)?;
    let exceeded = event(&mut platform, "exceeded")?;
    agent.kill9()?;
    // Records wait in the board's flash meanwhile.
    board.set_temperature(25_000)?;
    appended(&mut board, 6)?;
    let _agent = chain.gateway.start()?;
    let cleared = event(&mut platform, "cleared")?;
    ensure!(cleared["data"]["episode"]["id"] == exceeded["data"]["episode"]["id"], "the same episode");
    let numbers = sequence_numbers(&chain.spool())?;
    each_once(&numbers, numbers.len() as u64)
}

#[test]
fn a_sensor_that_does_not_work_is_an_event_of_its_own_and_never_a_reading() -> Result<()> {
    let Some(chain) = chain()? else { return Ok(()) };
    let mut platform = chain.platform()?;
    let _agent = chain.gateway.start()?;
    let mut board = Qemu::start(&chain.board)?;
    board.set_temperature(25_000)?;
    appended(&mut board, 4)?;

    // Colder than the chip can measure.
    board.set_temperature(-60_000)?;
    let fault = event(&mut platform, "fault")?;
    ensure!(fault["type"] == "gridpost.sensor-fault" && fault["matter"] == "0901002", "{fault:#}");
    ensure!(
        fault["data"]["fault"] == serde_json::json!({"sensor": "tmp105", "kind": "implausible"}),
        "{fault:#}"
    );

    // Over a restart of the board, which finds a sensor that works.
    board.stop()?;
    board.kill9()?;
    let mut board = Qemu::start(&chain.board)?;
    board.set_temperature(25_000)?;
    let cleared = event(&mut platform, "cleared")?;
    ensure!(cleared["data"]["episode"]["id"] == fault["data"]["episode"]["id"], "one episode: {cleared:#}");
    ensure!(cleared["data"]["episode"]["cause"] == "works-again", "{cleared:#}");
    let spool = rusqlite::Connection::open(chain.spool())?;
    let wrong: i64 =
        spool.query_row("SELECT count(*) FROM reading WHERE value < -50000", [], |row| row.get(0))?;
    ensure!(wrong == 0, "{wrong} readings that cannot be");
    Ok(())
}
