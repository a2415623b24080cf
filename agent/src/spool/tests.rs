//! What the spool promises, tried on real files.

use std::fs;
use std::path::Path;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use proptest::prelude::*;
use rusqlite::Connection;

use super::{
    CLOCK_S_MIN, DeviceRow, EVENT_BYTES_MAX, EVENT_OVERHEAD_BYTES, Spool, SpoolError, SpoolLimits, look,
};
use crate::event::{Event, rank};
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
    spool.commit(|t| t.release_events(&(0..=first[2]))).unwrap();
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
    spool.commit(|t| t.release_events(&(0..=ids[3]))).unwrap();
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
fn a_second_agent_is_told_who_has_the_spool_by_whatever_name_it_knows_it() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = open(dir.path());
    let link = elsewhere.path().join("link.db");
    std::os::unix::fs::symlink(dir.path().join("spool.db"), &link).unwrap();
    assert!(matches!(Spool::open(&link).unwrap_err(), SpoolError::InUse { .. }));
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
fn looking_at_a_spool_tells_what_can_never_be_one_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let said = |path: &Path| look(path).map_err(|error| error.to_string());
    let is_wrong = |path: &Path, what: &str| {
        let said = said(path).unwrap_err();
        assert!(said.contains(what) && said.contains(&path.display().to_string()), "{said}");
    };
    let path = dir.path().join("spool.db");
    assert_eq!(said(&path), Ok(()));
    is_wrong(dir.path(), "is a folder");
    is_wrong(&dir.path().join("none/spool.db"), "make the folder");
    is_wrong(Path::new("/dev/null"), "is no file");
    let text = dir.path().join("gridpost.toml");
    fs::write(&text, "[gateway]\n".repeat(20)).unwrap();
    is_wrong(&text, "is no spool");
    is_wrong(&text.join("spool.db"), "spool");
    assert_eq!(files(dir.path()), ["gridpost.toml"]);

    let foreign = dir.path().join("foreign.db");
    let other = Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    is_wrong(&foreign, "of another program");

    // In use, with everything still in its write-ahead log, and at rest.
    let mut spool = open(dir.path());
    add_events(&mut spool, 3);
    assert_eq!(said(&path), Ok(()));
    drop(spool);
    let before = files(dir.path());
    assert_eq!(said(&path), Ok(()));
    assert_eq!(files(dir.path()), before);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    is_wrong(&path, "newer version");
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
fn a_spool_of_the_version_before_is_taken_over_with_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    add_events(&mut spool, 3);
    spool
        .connection
        .execute_batch(
            "DROP TABLE episode; DROP TABLE summary; DROP TABLE calibration; DROP TABLE casefile; DROP TABLE case_tally; DROP TABLE kept; DROP TABLE hour; DROP TABLE hourly; PRAGMA user_version = 1; UPDATE event SET severity = 255 WHERE id = 1",
        )
        .unwrap();
    drop(spool);
    let ranks = |spool: &Spool| {
        let mut statement = spool.connection.prepare("SELECT severity FROM event ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<u8>, _>>().unwrap()
    };
    assert_eq!(ranks(&open(dir.path())), [rank::REPORTED, rank::EXCEEDED, rank::EXCEEDED]);
    let mut spool = open(dir.path());
    assert_eq!((spool.events_waiting().unwrap(), spool.open_episodes().unwrap()), (3, vec![]));
    spool.commit(|t| t.add_event_of_episode(DEVICE, "hot", true, &event(4))).unwrap();
    drop(spool);
    let open = open(dir.path()).open_episodes().unwrap();
    assert_eq!((open[0].device, open[0].rule.as_str(), open[0].topic.as_str()), (DEVICE, "hot", "t"));
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

fn open_with(dir: &Path, limits: SpoolLimits) -> Spool {
    Spool::open_with(&dir.join("spool.db"), limits).unwrap()
}

fn event_ids(spool: &Spool) -> Vec<String> {
    let mut statement = spool.connection.prepare("SELECT event_id FROM event ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn when_the_outbox_is_full_the_oldest_of_the_least_severe_go_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Room for three events and some.
    let limits = SpoolLimits { outbox_bytes_max: 600, ..SpoolLimits::default() };
    let mut spool = open_with(dir.path(), limits);
    for (n, severity) in [1, 0, 2, 0, 1].into_iter().enumerate() {
        spool.commit(|t| t.add_event(&Event { severity, ..event(n) })).unwrap();
    }
    assert_eq!(event_ids(&spool), ["e0", "e2", "e4"]);
    assert_eq!((spool.totals().events, spool.totals().events_evicted), (3, 2));
    drop(spool);
    let spool = open_with(dir.path(), limits);
    assert_eq!((spool.totals().events, spool.totals().events_evicted), (3, 2), "the count is durable");
}

#[test]
fn an_event_that_no_broker_would_take_is_set_aside_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let huge = Event { payload: vec![0; EVENT_BYTES_MAX], ..event(1) };
    let wild = Event { topic: "a/#".to_owned(), ..event(2) };
    spool.commit(|t| t.add_event(&huge).and(t.add_event(&wild)).and(t.add_event(&event(3)))).unwrap();
    assert_eq!(event_ids(&spool), ["e3"]);
    let refused: Vec<_> = spool.refused().unwrap().into_iter().map(|r| r.event_id).collect();
    assert_eq!(refused, ["e1", "e2"]);
    assert_eq!(spool.totals().events, 1);
}

#[test]
fn of_too_many_refused_events_the_least_severe_and_oldest_go_and_are_counted_to_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let severe = Event { severity: rank::EXCEEDED, ..event(9_999) };
    let first = spool.commit(|t| t.add_event(&severe)).unwrap();
    let ids = add_events(&mut spool, 1_002);
    spool.commit(|t| t.refuse_event(first, "no")).unwrap();
    spool.commit(|t| ids.iter().try_for_each(|id| t.refuse_event(*id, "no"))).unwrap();
    let refused = spool.refused().unwrap();
    assert_eq!(
        (refused.len(), refused[0].event_id.as_str()),
        (1_000, "e9999"),
        "it is worth more than those after it"
    );
    assert_eq!(refused[1].event_id, "e3");
    let totals = spool.totals();
    assert_eq!((totals.refused_dropped, totals.events_evicted, totals.let_go()), (3, 0, 3));
    assert_eq!(totals.untold[rank::class(event(0).severity)], 3, "an event will tell of them");
}

#[test]
fn a_full_spool_says_so_keeps_what_it_has_and_takes_more_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open_with(dir.path(), SpoolLimits { file_bytes_max: 1 << 20, ..SpoolLimits::default() });
    let mut kept = 0;
    let error = loop {
        match spool.commit(|t| (0..100).try_for_each(|n| t.add_event(&event(n)).map(drop))) {
            Ok(()) => kept += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::Full { .. }), "{error}");
    assert!(error.to_string().contains("free space"));
    assert_eq!((spool.totals().events, event_ids(&spool).len()), (kept, kept as usize));
    let half = spool.newest_event().unwrap() / 2;
    spool.commit(|t| t.release_events(&(0..=half))).unwrap();
    add_events(&mut spool, 100);
}

#[test]
fn the_disk_gets_back_what_a_long_outage_took() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spool.db");
    let mut spool = open(dir.path());
    let big = Event { payload: vec![b'x'; 4_000], ..event(0) };
    for _ in 0..40 {
        spool.commit(|t| (0..100).try_for_each(|_| t.add_event(&big).map(drop))).unwrap();
    }
    let newest = spool.newest_event().unwrap();
    spool.commit(|t| t.release_events(&(0..=newest))).unwrap();
    spool.connection.pragma_query(None, "wal_checkpoint", |_| Ok(())).unwrap();
    let full = std::fs::metadata(&file).unwrap().len();
    for _ in 0..100 {
        add_events(&mut spool, 1);
    }
    drop(spool);
    let kept = std::fs::metadata(&file).unwrap().len();
    assert!(full > 16_000_000 && kept < full - 5_000_000, "{full} {kept}");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Spool::open(&path).unwrap_err();
    assert!(matches!(error, SpoolError::NotASpool { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn damage_inside_the_file_is_found_before_anything_is_built_upon_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    let mut spool = open(dir.path());
    add_events(&mut spool, 1_000);
    drop(spool);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 2048].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = Spool::open(&path).unwrap_err();
    assert!(matches!(error, SpoolError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("another folder"));
}

#[test]
fn a_clock_from_another_century_does_not_use_up_the_numbers_of_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    assert!(i64::from(spool.next_start(UnixMillis(i64::MAX)).unwrap()) < CLOCK_S_MIN);
    spool.commit(|t| t.set_meta("start", i64::from(u32::MAX))).unwrap();
    assert!(matches!(spool.next_start(UnixMillis(0)), Err(SpoolError::StartsUsedUp { .. })));
}

#[test]
fn starts_without_a_clock_and_without_a_spool_have_other_numbers_each_and_lower_ones_than_with_a_clock() {
    let starts: std::collections::BTreeSet<u32> = (0..8)
        .map(|_| {
            let dir = tempfile::tempdir().unwrap();
            let mut spool = open(dir.path());
            let start = spool.next_start(UnixMillis(5_000)).unwrap();
            assert_eq!(spool.next_start(UnixMillis(5_000)).unwrap(), start + 1);
            let with_clock = spool.next_start(UnixMillis(CLOCK_S_MIN * 1000)).unwrap();
            assert_eq!(i64::from(with_clock), CLOCK_S_MIN);
            start
        })
        .collect();
    assert_eq!(starts.len(), 8, "none comes again: it is in nonces");
}

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u8>),
    /// Release up to this share of what waits.
    Release(u8),
    Refuse(u8),
    SendAgain,
    /// A transaction that does all of this and then fails.
    Fail(Vec<u8>),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Some of each phase.
    let ranks = || prop::sample::select(vec![0, 10, 19, 20, 30, 40, 50, 59, 60, 70]);
    let severities = || prop::collection::vec(ranks(), 1..6);
    prop::collection::vec(
        prop_oneof![
            4 => severities().prop_map(Step::Add),
            2 => any::<u8>().prop_map(Step::Release),
            1 => any::<u8>().prop_map(Step::Refuse),
            1 => Just(Step::SendAgain),
            1 => severities().prop_map(Step::Fail),
            1 => Just(Step::Restart),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Against a list: whatever happens, each event that was committed is waiting, refused, released or counted.
    #[test]
    fn every_event_is_accounted_for(steps in steps()) {
        const ROOM: usize = 20;
        let bytes = i64::try_from("t".len() + 100 + "e00000".len()).unwrap() + EVENT_OVERHEAD_BYTES;
        let limits = SpoolLimits { outbox_bytes_max: ROOM as u64 * bytes.cast_unsigned(), ..SpoolLimits::default() };
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open_with(dir.path(), limits);
        let mut waiting: Vec<(i64, u8, String)> = Vec::new();
        let mut refused: Vec<(i64, u8, String)> = Vec::new();
        let (mut made, mut newest, mut evicted) = (0, 0, 0);
        let mut untold = [0; rank::CLASSES.len()];
        let numbered = |n: usize, severity: u8| Event { id: format!("e{n:05}"), severity, ..event(n) };
        for step in steps {
            match step {
                Step::Add(severities) => {
                    let events: Vec<_> = severities.iter().map(|s| { made += 1; numbered(made, *s) }).collect();
                    let ids = spool
                        .commit(|t| events.iter().map(|e| t.add_event(e)).collect::<Result<Vec<_>, _>>())
                        .unwrap();
                    for (id, event) in ids.into_iter().zip(events) {
                        prop_assert!(id > newest, "a row id was used again");
                        newest = id;
                        waiting.push((id, event.severity, event.id));
                    }
                }
                Step::Release(share) => {
                    let Some((up_to, ..)) = waiting.get(usize::from(share) * waiting.len() / 256).cloned() else {
                        continue;
                    };
                    spool.commit(|t| t.release_events(&(0..=up_to))).unwrap();
                    waiting.retain(|(id, ..)| *id > up_to);
                }
                Step::Refuse(share) => {
                    if waiting.is_empty() { continue; }
                    let (id, severity, name) = waiting.remove(usize::from(share) * waiting.len() / 256);
                    spool.commit(|t| t.refuse_event(id, "no")).unwrap();
                    refused.push((id, severity, name));
                }
                Step::SendAgain => {
                    // The table lists them by their old rows.
                    refused.sort_by_key(|(id, ..)| *id);
                    prop_assert_eq!(spool.send_refused_again().unwrap(), refused.len());
                    let first = spool.newest_event().unwrap() - refused.len() as i64 + 1;
                    for (n, (_, severity, name)) in refused.drain(..).enumerate() {
                        waiting.push((first + n as i64, severity, name));
                    }
                    newest = spool.newest_event().unwrap();
                }
                Step::Fail(severities) => {
                    let failed: Result<(), _> = spool.commit(|t| {
                        for severity in &severities {
                            t.add_event(&numbered(99_999, *severity))?;
                        }
                        t.release_events(&(0..=i64::MAX))?;
                        Err(rusqlite::Error::InvalidQuery)
                    });
                    prop_assert!(failed.is_err());
                }
                Step::Restart => {
                    drop(spool);
                    spool = open_with(dir.path(), limits);
                }
            }
            while waiting.len() > ROOM {
                let least = waiting.iter().map(|(_, severity, _)| *severity).min().unwrap();
                let first = waiting.iter().position(|(_, severity, _)| *severity == least).unwrap();
                untold[rank::class(waiting.remove(first).1)] += 1;
                evicted += 1;
                prop_assert!(
                    least < rank::EXCEEDED || waiting.iter().all(|(_, rank, _)| *rank >= rank::EXCEEDED),
                    "an exceedance goes while something lesser is there"
                );
            }
            let names: Vec<_> = waiting.iter().map(|(_, _, name)| name.clone()).collect();
            let mut there = event_ids(&spool);
            prop_assert_eq!(&there, &names);
            there.sort();
            let totals = spool.totals();
            prop_assert_eq!((totals.events, totals.events_evicted), (there.len() as i64, evicted));
            prop_assert_eq!(totals.event_bytes, there.len() as i64 * bytes);
            prop_assert_eq!(totals.untold, untold);
            prop_assert_eq!(spool.refused().unwrap().len(), refused.len());
        }
    }
}
