//! Real faults on the real programs, some rounds of each kind; the binary `faults` does as many as one likes.

use anyhow::{Result, ensure};
use gridpost_agent::event::Event;
use gridpost_agent::spool::{Spool, SpoolError};
use gridpost_protocol::time::UnixMillis;
use gridpost_tests::faults::disk::Disk;
use gridpost_tests::faults::{Campaign, Kind};

fn nothing_is_lost(kind: Kind, rounds: u32) -> Result<()> {
    let campaign =
        Campaign { program: env!("CARGO_BIN_EXE_faults").into(), kind, rounds, seed: 7, freeze_s: 0 };
    let Some(tally) = campaign.run()? else { return Ok(()) };
    println!("{kind:<12} {tally}");
    ensure!(tally.lost == 0 && tally.received == tally.events, "{kind}: {tally}");
    Ok(())
}

#[test]
fn an_agent_that_is_killed_again_and_again_loses_nothing() -> Result<()> {
    nothing_is_lost(Kind::KillAgent, 8)
}

#[test]
fn a_broker_that_is_killed_again_and_again_is_waited_for() -> Result<()> {
    nothing_is_lost(Kind::KillBroker, 4)
}

#[test]
fn nodes_that_are_killed_in_mid_write_lose_nothing() -> Result<()> {
    nothing_is_lost(Kind::KillNode, 8)
}

#[test]
fn nothing_is_lost_when_all_are_killed_at_once() -> Result<()> {
    nothing_is_lost(Kind::KillAny, 6)
}

#[test]
fn cables_that_are_cut_lose_nothing() -> Result<()> {
    nothing_is_lost(Kind::Cut, 6)
}

#[test]
fn connections_that_stand_and_move_nothing_are_left() -> Result<()> {
    nothing_is_lost(Kind::HalfOpen, 4)
}

#[test]
fn a_disk_without_room_is_waited_for() -> Result<()> {
    nothing_is_lost(Kind::FullDisk, 3)
}

#[test]
fn a_disk_that_the_spool_filled_up_is_not_full_any_more_when_the_platform_has_everything() -> Result<()> {
    const EVENTS: i64 = 100;
    // It has a log, and a reserve.
    let disk = match Disk::in_memory_of(24) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("\n*** LEFT OUT: a disk of its own: {error:#} ***\n");
            return Ok(());
        }
    };
    let mut spool = Spool::open(&disk.path().join("spool.db"))?;
    let event = Event { id: "e".to_owned(), topic: "t".to_owned(), severity: 0, payload: vec![b' '; 1_500] };
    let add = |spool: &mut Spool| {
        spool.commit(|transaction| (0..EVENTS).try_for_each(|_| transaction.add_event(&event).map(drop)))
    };
    let error = loop {
        if let Err(error) = add(&mut spool) {
            break error;
        }
    };
    ensure!(matches!(error, SpoolError::Full { .. }), "{error}");
    let newest = spool.newest_event()?;
    ensure!(newest > 10 * EVENTS, "{newest} events fitted");
    for row in 1..=newest / 256 + 1 {
        spool.commit(|transaction| transaction.release_events(&(0..=row * 256)))?;
    }
    ensure!(spool.events_waiting()? == 0);
    // What was free within the file goes back to the disk, some of it each time.
    let is_taken = (0..100).any(|_| {
        spool.commit(|transaction| transaction.note_probe(UnixMillis(0))).is_ok() && add(&mut spool).is_ok()
    });
    ensure!(is_taken, "there is room, and nothing is taken");
    Ok(())
}

#[test]
fn a_disk_that_takes_no_writes_loses_nothing() -> Result<()> {
    nothing_is_lost(Kind::ReadOnly, 2)
}

#[test]
fn whoever_is_frozen_goes_on_where_it_was() -> Result<()> {
    nothing_is_lost(Kind::Freeze, 4)
}

#[test]
fn a_clock_that_is_set_by_a_day_loses_nothing() -> Result<()> {
    nothing_is_lost(Kind::Clock, 6)
}

#[test]
fn what_damage_to_the_spool_takes_is_told_and_the_rest_arrives() -> Result<()> {
    let campaign = Campaign {
        program: env!("CARGO_BIN_EXE_faults").into(),
        kind: Kind::Damage,
        rounds: 6,
        seed: 7,
        freeze_s: 0,
    };
    let Some(tally) = campaign.run()? else { return Ok(()) };
    println!("damage       {tally}");
    ensure!(tally.lost == 0 && tally.reports > 0, "damage: {tally}");
    Ok(())
}
