//! Files that are cut off, deleted or replaced while the spool is open.

use std::fs::OpenOptions;

use gridpost_protocol::time::UnixMillis;
use rusqlite::TransactionBehavior;

use super::*;
use crate::event::Event;
use crate::spool::place::Place;
use crate::spool::transaction::pages;
use crate::spool::{Adrift, Damage, Salvaged, Spool, SpoolError, SpoolLimits};

/// Events in one transaction: some 40 frames of the log.
const EVENTS: i64 = 100;

/// What these tests do with a [`Place`].
impl Place {
    /// As a gateway opens it, which knows of this damage.
    fn open_knowing(&self, known: Option<String>) -> (Spool, Option<Salvaged>) {
        let report = |_: &Salvaged| Some(event("report"));
        Spool::open_or_salvage(&self.file(""), SpoolLimits::default(), known, report).unwrap()
    }

    /// One that was found sound, with so many transactions in it.
    fn filled(&self, transactions: usize) -> Spool {
        let (mut spool, found) = self.open_knowing(None);
        assert_eq!(found, None);
        (0..transactions).for_each(|n| add(&mut spool, &n.to_string()).unwrap());
        spool
    }

    /// Opens it anew, as a gateway does after its spool was found harmed.
    fn again(&self, spool: Spool) -> (Spool, Option<Salvaged>) {
        let known = match spool.health().damage().expect("the gateway is told") {
            Damage::Inside(what) => Some(what),
            Damage::TakenAway(_) => None,
        };
        drop(spool);
        self.open_knowing(known)
    }

    /// What another program does by SQLite's means.
    fn have_sqlite(&self, sql: &str) {
        Connection::open(self.file("")).unwrap().query_row(sql, [], |_| Ok(())).unwrap();
    }

    fn cut(&self, suffix: &str, by: u64) {
        let file = OpenOptions::new().write(true).open(self.file(suffix)).unwrap();
        file.set_len(file.metadata().unwrap().len() - by).unwrap();
    }
}

fn event(id: &str) -> Event {
    let payload = format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",{}}}", " ".repeat(1_500)).into_bytes();
    Event { id: id.to_owned(), topic: "t".to_owned(), severity: 50, payload }
}

/// A transaction whose events are named by it.
fn add(spool: &mut Spool, name: &str) -> Result<(), SpoolError> {
    spool.commit(|transaction| {
        (0..EVENTS).try_for_each(|n| transaction.add_event(&event(&format!("{name}-{n}"))).map(drop))
    })
}

/// Events of a transaction that are there.
fn found(spool: &Spool, name: &str) -> i64 {
    let like = format!("{name}-%");
    let count = "SELECT count(*) FROM event WHERE event_id LIKE ?1";
    spool.query(|connection| connection.query_row(count, [like], |row| row.get(0))).unwrap()
}

#[test]
fn a_file_that_is_cut_off_is_damage_before_anything_more_counts() {
    for transactions in [3, 40] {
        let place = Place::new();
        let mut spool = place.filled(transactions);
        place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)");
        place.cut("", 5 * 4096);
        let error = add(&mut spool, "later").unwrap_err();
        assert!(
            matches!(error, SpoolError::Damaged { .. }) && error.to_string().contains("cut off"),
            "{error}"
        );
        let error = spool.commit(|_| Ok(())).unwrap_err();
        assert!(matches!(error, SpoolError::Damaged { .. }), "nothing more is built on it: {error}");
        let (spool, salvaged) = place.again(spool);
        assert!(salvaged.unwrap().set_aside.is_some());
        assert_eq!(found(&spool, "later"), 0, "what was not committed is not there");
    }
}

#[test]
fn a_file_that_is_cut_off_during_a_commit_does_not_let_it_count() {
    let place = Place::new();
    let mut spool = place.filled(3);
    place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)");
    let error = spool.commit(|transaction| {
        place.cut("", 5 * 4096);
        transaction.add_event(&event("later")).map(drop)
    });
    assert!(matches!(error, Err(SpoolError::Damaged { .. })), "{error:?}");
}

#[test]
fn what_another_program_wrote_back_in_part_is_missed_when_it_is_cut_off() {
    let place = Place::new();
    let mut spool = place.filled(3);
    // A reader keeps the rest in the log.
    let reader = Connection::open(place.file("")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    add(&mut spool, "newest").unwrap();
    place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)");
    place.cut("", 5 * 4096);
    let error = add(&mut spool, "later").unwrap_err();
    assert!(matches!(error, SpoolError::Damaged { .. }) && error.to_string().contains("cut off"), "{error}");
    drop(reader);
    let (spool, salvaged) = place.again(spool);
    assert!(salvaged.is_some());
    assert_eq!(found(&spool, "later"), 0, "what was not committed is not there");
}

#[test]
fn a_page_that_was_written_again_after_what_is_written_back_is_not_missed() {
    let place = Place::new();
    drop(place.filled(3));
    let frames = Frames::default();
    let mut connection = Connection::open(place.file("")).unwrap();
    crate::spool::settings(&mut connection, SpoolLimits::default(), &frames).unwrap();
    // The last pages of all.
    let insert = "INSERT INTO refused (severity, event_id, topic, payload, reason) VALUES (0, '', '', zeroblob(200000), '')";
    connection.execute(insert, []).unwrap();
    let mut files = Files::open(&place.file(""), &connection, frames).unwrap();
    // A reader keeps what comes now in the log, and with it the pages that it changes.
    let reader = Connection::open(place.file("")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    connection.execute("UPDATE refused SET payload = randomblob(200000)", []).unwrap();
    let committed = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    files.note(&connection, committed).unwrap();
    place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)");
    files.look(&connection).unwrap().unwrap();
}

/// A transaction between whose looks others have a hand in the files: before it begins, and after its end.
fn transaction_beside(before: impl Fn(&Place), after: impl Fn(&Place)) -> Result<(), Harm> {
    let place = Place::new();
    drop(place.filled(3));
    let frames = Frames::default();
    let mut connection = Connection::open(place.file("")).unwrap();
    crate::spool::settings(&mut connection, SpoolLimits::default(), &frames).unwrap();
    let insert = |connection: &Connection| {
        let sql = "INSERT INTO refused (severity, event_id, topic, payload, reason) VALUES (0, '', '', zeroblob(200000), '')";
        connection.execute(sql, []).unwrap();
    };
    insert(&connection);
    let mut files = Files::open(&place.file(""), &connection, frames).unwrap();
    files.look(&connection).unwrap()?;
    before(&place);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    files.begun(pages(&transaction).unwrap());
    insert(&transaction);
    let pages = pages(&transaction).unwrap();
    files.still()?;
    transaction.commit().unwrap();
    after(&place);
    files.note(&connection, pages)
}

fn nothing(_: &Place) {}

#[test]
fn a_log_that_a_commit_begins_anew_was_all_in_the_file() {
    let written_back = |place: &Place| place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)");
    let and_cut = |place: &Place| {
        written_back(place);
        place.cut("", 5 * 4096);
    };
    assert!(transaction_beside(written_back, nothing).is_ok());
    let found = transaction_beside(and_cut, nothing);
    assert!(matches!(found, Err(Harm::FileCut(_))), "{found:?}");
}

#[test]
fn a_log_that_another_program_empties_by_sqlites_means_is_told_from_one_that_is_cut_off() {
    let emptied = |place: &Place| place.have_sqlite("PRAGMA wal_checkpoint(TRUNCATE)");
    let cut = |place: &Place| place.cut("-wal", fs::metadata(place.file("-wal")).unwrap().len());
    for found in [transaction_beside(emptied, nothing), transaction_beside(nothing, emptied)] {
        assert!(found.is_ok(), "{found:?}");
    }
    for found in [transaction_beside(cut, nothing), transaction_beside(nothing, cut)] {
        assert!(matches!(found, Err(Harm::LogCut(_))), "{found:?}");
    }
}

#[test]
fn a_log_that_is_cut_off_is_damage_and_what_lies_before_the_cut_is_brought_over() {
    for by in [1, 4120, 30 * 4120] {
        let place = Place::new();
        let mut spool = place.filled(3);
        place.cut("-wal", by);
        let error = add(&mut spool, "later").unwrap_err();
        assert!(
            matches!(error, SpoolError::Damaged { .. }) && error.to_string().contains("cut off"),
            "{error}"
        );
        let (spool, salvaged) = place.again(spool);
        let aside = salvaged.unwrap().set_aside.unwrap();
        assert!(beside(&aside, "-wal").exists(), "the log is set aside as it was found");
        // The events here are no CloudEvents: they are counted, and the file that was set aside has them.
        drop(spool);
        let aside = Connection::open(aside).unwrap();
        let count = |name: &str| -> i64 {
            let sql = "SELECT count(*) FROM event WHERE event_id LIKE ?1 || '-%'";
            aside.query_row(sql, [name], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("0"), count("1"), count("2"), count("later")), (EVENTS, EVENTS, 0, 0), "{by}");
    }
}

#[test]
fn a_log_that_is_deleted_or_replaced_takes_nothing_with_it() {
    for replaced in [false, true] {
        let place = Place::new();
        let mut spool = place.filled(3);
        // A reader does not keep it from that.
        let reader = spool.outbox().unwrap();
        fs::remove_file(place.file("-wal")).unwrap();
        if replaced {
            fs::write(place.file("-wal"), [0xa5; 100_000]).unwrap();
        }
        let error = add(&mut spool, "later").unwrap_err();
        assert!(matches!(error, SpoolError::TakenAway { .. }), "{error}");
        drop(reader);
        let (mut spool, salvaged) = place.again(spool);
        assert_eq!(salvaged, None, "nothing is missing");
        assert_eq!([found(&spool, "0"), found(&spool, "2"), found(&spool, "later")], [EVENTS, EVENTS, 0]);
        add(&mut spool, "later").unwrap();
    }
}

#[test]
fn a_spool_that_is_deleted_at_work_is_told_also_when_its_mark_went_with_it() {
    for kept in [&["-wal"][..], &[]] {
        let place = Place::new();
        let mut spool = place.filled(1);
        let start = (0..5).map(|_| spool.next_start(UnixMillis(0)).unwrap()).last();
        add(&mut spool, "1").unwrap();
        for suffix in ["", "-wal", "-shm", ".mark", ".lock"] {
            if !kept.contains(&suffix) {
                fs::remove_file(place.file(suffix)).unwrap();
            }
        }
        let error = add(&mut spool, "later").unwrap_err();
        assert!(matches!(error, SpoolError::TakenAway { .. }), "{error}");
        let (mut spool, missing) = place.again(spool);
        let damage = missing.expect("it is told").damage;
        assert!(damage.contains("is gone") && damage.contains("200 events"), "{damage}");
        assert!(Some(spool.next_start(UnixMillis(0)).unwrap()) > start, "it is in nonces");
        assert_eq!((found(&spool, "0"), spool.events_waiting().unwrap()), (0, 1));
    }
}

#[test]
fn another_spool_that_is_put_in_its_place_is_left_as_it_is_and_told() {
    for mark_too in [false, true] {
        let (elsewhere, place) = (Place::new(), Place::new());
        drop(elsewhere.filled(7));
        let mut spool = place.filled(3);
        fs::rename(elsewhere.file(""), place.file("")).unwrap();
        if mark_too {
            fs::rename(elsewhere.file(".mark"), place.file(".mark")).unwrap();
        }
        let error = add(&mut spool, "later").unwrap_err();
        assert!(matches!(error, SpoolError::TakenAway { .. }), "{error}");
        let (spool, missing) = place.again(spool);
        let damage = missing.expect("it is told").damage;
        assert!(damage.contains("not as it was left"), "{damage}");
        // And not what stood in the log of the one that was there.
        let here: Vec<_> = (0..7).map(|n| found(&spool, &n.to_string())).collect();
        assert_eq!(here, [EVENTS; 7]);
        assert!(place.file("-wal.orphaned").exists());
    }
}

#[test]
fn what_sqlite_does_to_the_files_is_no_harm() {
    let place = Place::new();
    let mut spool = place.filled(1);
    let mut reader = None;
    for n in 0..60 {
        add(&mut spool, &format!("x{n}")).unwrap();
        match n % 10 {
            // Another program writes the log back, empties it, or makes the file smaller.
            1 => place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)"),
            3 if reader.is_none() => place.have_sqlite("PRAGMA wal_checkpoint(TRUNCATE)"),
            5 if reader.is_none() => {
                Connection::open(place.file("")).unwrap().execute_batch("VACUUM").unwrap()
            }
            // Pages are given back, and the file gets smaller.
            7 => {
                let newest = spool.newest_event().unwrap();
                spool.commit(|transaction| transaction.release_events(&(0..=newest))).unwrap();
            }
            // A reader holds up what is written back.
            8 => {
                let connection = Connection::open(place.file("")).unwrap();
                connection.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
                reader = Some(connection);
            }
            4 => reader = None,
            _ => {}
        }
    }
    drop(reader);
    drop(spool);
    assert_eq!(place.open_knowing(None).1, None);
}

/// Whatever others do by SQLite's means, whenever they do it, is no harm.
#[test]
fn whatever_others_do_by_sqlites_means_and_whenever_is_no_harm() {
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = Place::new();
        drop(place.filled(1));
        let frames = Frames::default();
        let mut connection = Connection::open(place.file("")).unwrap();
        crate::spool::settings(&mut connection, SpoolLimits::default(), &frames).unwrap();
        let mut files = Files::open(&place.file(""), &connection, frames).unwrap();
        let mut reader: Option<Connection> = None;
        let mut others = |random: &mut fastrand::Rng| match random.u8(0..12) {
            0 | 1 => place.have_sqlite("PRAGMA wal_checkpoint(PASSIVE)"),
            2 | 3 => {
                let connection = Connection::open(place.file("")).unwrap();
                connection.execute_batch("BEGIN; SELECT count(*) FROM refused").unwrap();
                reader = Some(connection);
            }
            4 => reader = None,
            _ => {}
        };
        for step in 0..80 {
            let harm = |what: &str, found: Result<(), Harm>| {
                found.unwrap_or_else(|harm| panic!("seed {seed}, step {step}, {what}: {harm:?}"));
            };
            others(&mut random);
            harm("look", files.look(&connection).unwrap());
            others(&mut random);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            files.begun(pages(&transaction).unwrap());
            let sql = match random.u8(0..6) {
                0 | 1 => {
                    "INSERT INTO refused (severity, event_id, topic, payload, reason) \
                     VALUES (0, '', '', zeroblob(abs(random()) % 100000), '')"
                }
                2 => "UPDATE refused SET payload = randomblob(abs(random()) % 60000) WHERE rowid % 3 = 0",
                3 => "DELETE FROM refused WHERE rowid % 4 = 1",
                4 => "DELETE FROM refused; PRAGMA incremental_vacuum(1000)",
                _ => "PRAGMA incremental_vacuum(3)",
            };
            transaction.execute_batch(sql).unwrap();
            let committed = pages(&transaction).unwrap();
            others(&mut random);
            harm("still", files.still());
            transaction.commit().unwrap();
            others(&mut random);
            harm("note", files.note(&connection, committed));
            if random.u8(0..8) == 0 {
                // As the gateway does, and as a person may when nobody reads.
                let _ = connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
                harm("written back", files.note(&connection, committed));
            }
        }
    }
}

#[test]
fn the_log_is_written_back_when_it_is_long() {
    let place = Place::new();
    let mut spool = place.filled(0);
    for n in 0..200 {
        add(&mut spool, &n.to_string()).unwrap();
        let newest = spool.newest_event().unwrap();
        spool.commit(|transaction| transaction.release_events(&(0..=newest))).unwrap();
    }
    let log = fs::metadata(place.file("-wal")).unwrap().len();
    assert!(log < 6 << 20, "{log} bytes");
}

#[test]
fn a_disk_that_fails_after_a_part_of_the_log_was_written_back_is_not_asked_once_more() {
    let failed_sync = |place: &Place| {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        SpoolError::Sqlite { path: place.file(""), source: rusqlite::Error::SqliteFailure(error, None) }
    };
    let place = Place::new();
    let mut spool = place.filled(3);
    let reader = Connection::open(place.file("")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    // With nothing of it written back, all of it is the next time.
    let was_in_part = spool.files.is_in_part();
    spool.log_written_back(Err(failed_sync(&place)), was_in_part).unwrap();
    for n in 0..20 {
        add(&mut spool, &format!("more{n}")).unwrap();
    }
    drop(reader);
    assert!(spool.files.is_in_part(), "SQLite wrote back what the reader did not need, and synced nothing");
    let was_in_part = spool.files.is_in_part();
    let error = spool.log_written_back(Err(failed_sync(&place)), was_in_part).unwrap_err();
    assert!(matches!(error, SpoolError::Adrift { what: Adrift::WrittenBack, .. }), "{error}");
    let error = add(&mut spool, "later").unwrap_err();
    assert!(matches!(error, SpoolError::Adrift { .. }), "nothing more is built on it: {error}");
    let log = fs::metadata(place.file("-wal")).unwrap().len();
    drop(spool);
    assert_eq!(fs::metadata(place.file("-wal")).unwrap().len(), log, "closing it writes nothing back");
    let opened = Connection::open(place.file("")).unwrap();
    assert_eq!(Log::of(&opened).unwrap().in_file, 0, "whoever opens it writes back all of it");
    drop(opened);
    let (spool, found_damage) = place.open_knowing(None);
    assert_eq!((found_damage, found(&spool, "more19"), found(&spool, "later")), (None, EVENTS, 0));
}
