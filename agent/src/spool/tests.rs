//! What the spool promises, tried on real files.

use std::path::Path;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use super::{DeviceRow, Spool, SpoolError};
use crate::event::Event;
use crate::uplink::Outbox as _;

const DEVICE: DeviceId = DeviceId(0xffff_0000_0000_0001);

fn event(n: usize) -> Event {
    Event { id: format!("e{n}"), topic: "t".to_owned(), severity: 0, payload: vec![b'x'; 100] }
}

fn add_events(spool: &mut Spool, count: usize) -> Vec<i64> {
    spool.commit(|t| (0..count).map(|n| t.add_event(&event(n))).collect()).unwrap()
}

fn row(cursor: u64) -> DeviceRow {
    DeviceRow {
        durable: Durable { cursor: Some(Seq(cursor)), boot: 3, counter: 99 },
        replay_from: 7,
        newest: UnixMillis(-5),
        pack: "abc".to_owned(),
    }
}

fn open(dir: &Path) -> Spool {
    Spool::open(&dir.join("spool.db")).unwrap()
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let reading = Reading { quantity: Quantity::LAeq, value: Milli(-3), quality: Quality(5) };
    spool
        .commit(|t| {
            t.put_device(DEVICE, &row(12))?;
            t.put_rule_state(DEVICE, "night", &[1, 2])?;
            t.put_clock(DEVICE, 3, -77, 8)?;
            t.add_reading(DEVICE, Seq(12), UnixMillis(40), ClockQuality::Device, &reading)
        })
        .unwrap();
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.device(DEVICE).unwrap(), Some(row(12)));
    assert_eq!(spool.device(DeviceId(9)).unwrap(), None);
    assert_eq!(spool.rule_states(DEVICE).unwrap(), [("night".to_owned(), vec![1, 2])]);
    assert_eq!(spool.clock(DEVICE).unwrap(), [(3, -77)]);
    let mut readings = Vec::new();
    spool.readings(DEVICE, 0, UnixMillis(40), |r| readings.push((r.seq, r.at, r.reading))).unwrap();
    assert_eq!(readings, [(Seq(12), UnixMillis(40), reading)]);
}

#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let failed: Result<(), _> = spool.commit(|t| {
        t.put_device(DEVICE, &row(12))?;
        t.add_event(&event(1))?;
        Err(rusqlite::Error::QueryReturnedNoRows)
    });
    assert!(matches!(failed, Err(SpoolError::Sqlite { .. })));
    assert_eq!(spool.device(DEVICE).unwrap(), None);
    assert_eq!(spool.events_waiting().unwrap(), 0);
}

#[test]
fn row_ids_are_never_reused_even_when_the_outbox_runs_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let first = add_events(&mut spool, 3);
    spool.commit(|t| t.release_events(first[2])).unwrap();
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.newest_event().unwrap(), first[2]);
    assert!(add_events(&mut spool, 1)[0] > first[2]);
}

#[test]
fn the_outbox_is_read_in_order_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut outbox = spool.outbox().unwrap();
    let ids = add_events(&mut spool, 5);
    let read: Vec<i64> = outbox.read_after(ids[0], 3).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(read, ids[1..4]);
    spool.commit(|t| t.release_events(ids[3])).unwrap();
    let read: Vec<i64> = outbox.read_after(0, 10).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(read, ids[4..]);
}

#[test]
fn what_the_broker_refused_is_set_aside_and_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let ids = add_events(&mut spool, 2);
    spool.commit(|t| t.refuse_event(ids[0], "not authorized")).unwrap();
    assert_eq!(spool.outbox().unwrap().read_after(0, 10).unwrap().len(), 1);
    let kept: String = spool
        .connection
        .query_row("SELECT event_id || ' ' || reason FROM refused", [], |r| r.get(0))
        .unwrap();
    assert_eq!(kept, "e0 not authorized");
}

#[test]
fn a_second_agent_is_told_who_has_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Spool::open(&dir.path().join("spool.db")).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SpoolError::InUse { .. }));
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_file_that_is_no_database_is_named_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    std::fs::write(&path, "not a database, but long enough to have a header of one".repeat(20)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Spool::open(&path).unwrap_err();
    assert!(matches!(error, SpoolError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("another folder"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_spool_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(spool);
    let error = Spool::open(&dir.path().join("spool.db")).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn starts_are_numbered_upwards_even_when_the_clock_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let first = spool.next_start(UnixMillis(1_790_000_000_000)).unwrap();
    assert_eq!(first, 1_790_000_000);
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.next_start(UnixMillis(0)).unwrap(), first + 1, "a box that lost its time");
}
