//! A damaged spool: it is set aside whole, and what can still be read of it is brought over into a new one.
//!
//! Brought over are events that wait or were refused, the devices' cursors (so that nothing is taken twice), their clocks, where their
//! rules stand, their open episodes, cases, what was let go and not told yet, and the start counter. Readings are not: they stay in the file that is set aside, and
//! windows fill anew. Events are read around each damage, the other tables from their beginning until damage, and then from their end.
//!
//! The new spool is made as `<file>.rescue`, [`ROWS_AT_ONCE`] events a transaction, the damaged one untouched. Only when it is complete, with the
//! event that reports the damage, files are renamed: the damaged log, the damaged file, the new file. Killed before that, it is begun anew;
//! killed in between, the next start goes on with the renaming.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::lock::Lock;
use super::look::beside;
use super::mark::Mark;
use super::reserve::Reserve;
use super::{Spool, SpoolError, SpoolLimits, Totals, Transaction};
use crate::event::cloudevent::CloudEvent;
use crate::event::hourly::SummaryEvent;
use crate::event::{Event, rank};

/// Events that are brought over in one transaction.
const ROWS_AT_ONCE: usize = 2_000;
/// The new spool, as long as it is not complete.
const RESCUE: &str = ".rescue";

/// What was found damaged, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// What SQLite says.
    pub damage: String,
    /// Where the damaged file is now; [`None`] when there is none: the spool, or the newest part of it, was deleted.
    pub set_aside: Option<PathBuf>,
    /// Events that were brought over.
    pub events: u64,
    /// Rows that could be read and are no events any more: they were damaged inside.
    pub dropped: u64,
    /// Devices whose cursors were brought over.
    pub devices: u64,
    /// Whether all tables could be read to their end.
    pub complete: bool,
}

impl Spool {
    /// Opens or creates the spool; whether it is the one that was left here is known by its mark. A damaged one is set aside beside it as `<file>.damaged-<n>`, and the agent goes on with a new one
    /// and what could be read. `known` is damage that was found while it was in use: then it is not looked at again. What `report` makes
    /// of the damage becomes durable together with what is brought over.
    ///
    /// # Errors
    /// As [`Spool::open`], but for damage; and when the damaged file cannot be set aside.
    pub fn open_or_salvage(
        path: &Path,
        limits: SpoolLimits,
        known: Option<String>,
        report: impl FnOnce(&Salvaged) -> Option<Event>,
    ) -> Result<(Self, Option<Salvaged>), SpoolError> {
        let failed = |source| SpoolError::Io { path: path.to_owned(), source };
        let lock = Lock::take(path)?;
        go_on_renaming(path).map_err(failed)?;
        let (damage, lock) = match known {
            Some(damage) => (damage, lock),
            None => match Self::connect(path, lock, limits) {
                Ok(spool) => return spool.or_missing(report),
                Err((SpoolError::Damaged { what, .. }, lock)) => (what, lock),
                Err((error, _)) => return Err(error),
            },
        };
        tracing::error!(damage, spool = %path.display(), "the spool is damaged; what can be read of it is brought over into a new one");
        let rescue = beside(path, RESCUE);
        remove(&beside(path, ".reserve")).map_err(failed)?;
        for left in
            [rescue.clone(), beside(&rescue, "-wal"), beside(&rescue, "-shm"), beside(&rescue, "-journal")]
        {
            remove(&left).map_err(failed)?;
        }
        let set_aside = name_for_damaged(path).map_err(failed)?;
        let mut salvaged = Salvaged {
            damage,
            set_aside: Some(set_aside.clone()),
            events: 0,
            dropped: 0,
            devices: 0,
            complete: false,
        };
        let new = Lock::take(&rescue)
            .and_then(|lock| Self::connect(&rescue, lock, limits).map_err(|(error, _)| error));
        let mut new = new?;
        // What cannot be opened at all has nothing to bring over.
        if let Ok(damaged) = open_untouched(path) {
            salvaged.complete = bring_over(&damaged, &mut new, &mut salvaged)?;
        }
        let report = report(&salvaged);
        let mark = Mark::read(path);
        new.commit(|transaction| {
            transaction.begin_generation(mark)?;
            report.iter().try_for_each(|event| transaction.add_event(event).map(drop))
        })?;
        // Closing it writes its log back.
        drop(new);
        if fs::metadata(beside(&rescue, "-wal")).is_ok_and(|log| log.len() > 0) {
            return Err(failed(io::Error::other("what was brought over could not be written whole")));
        }
        remove(&beside(&rescue, ".lock")).map_err(failed)?;
        set_damaged_aside(path, &set_aside).map_err(failed)?;
        rename_durably(&rescue, path).map_err(failed)?;
        let mut spool = Self::connect(path, lock, limits).map_err(|(error, _)| error)?;
        spool.reserve = Reserve::keep(path);
        spool.keep_mark()?;
        Ok((spool, Some(salvaged)))
    }

    /// A sound spool: whether something of it is missing, by its mark.
    fn or_missing(
        mut self,
        report: impl FnOnce(&Salvaged) -> Option<Event>,
    ) -> Result<(Self, Option<Salvaged>), SpoolError> {
        self.reserve = Reserve::keep(&self.path);
        let mut found = None;
        if let Some(missing) = self.missing()? {
            let devices = self.query(|connection| {
                connection.query_row("SELECT count(*) FROM device", [], |row| row.get::<_, i64>(0))
            })?;
            let salvaged = Salvaged {
                damage: missing.what.clone(),
                set_aside: None,
                events: self.totals.events.unsigned_abs(),
                dropped: 0,
                devices: devices.unsigned_abs(),
                complete: false,
            };
            self.tell_missing(&missing, report(&salvaged).as_ref())?;
            found = Some(salvaged);
        }
        self.keep_mark()?;
        Ok((self, found))
    }
}

/// Opens a damaged file so that nothing is changed in it, also not by closing it.
fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let damaged = Connection::open_with_flags(path, flags)?;
    damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Else nothing is read of a file that is shorter than it says: its end was cut off.
    damaged.pragma_update(None, "writable_schema", true)?;
    damaged.pragma_update(None, "query_only", true)?;
    Ok(damaged)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn name_for_damaged(path: &Path) -> io::Result<PathBuf> {
    let is_free = |name: &PathBuf| !name.exists() && !beside(name, "-wal").exists();
    let free = (1..).map(|n| beside(path, &format!(".damaged-{n}"))).find(is_free);
    free.ok_or_else(|| io::Error::other("no name is free"))
}

/// Moves the file, with its write-ahead log, out of the way. The log goes first: without its database it is harmless.
fn set_damaged_aside(path: &Path, to: &Path) -> io::Result<()> {
    if beside(path, "-wal").exists() {
        rename_durably(&beside(path, "-wal"), &beside(to, "-wal"))?;
    }
    rename_durably(path, to)?;
    remove(&beside(path, "-shm"))
}

/// A start that was killed while it renamed: the new spool is complete then.
fn go_on_renaming(path: &Path) -> io::Result<()> {
    let rescue = beside(path, RESCUE);
    if !rescue.exists() {
        return Ok(());
    }
    let half_aside = (1..)
        .map(|n| beside(path, &format!(".damaged-{n}")))
        .take_while(|name| name.exists() || beside(name, "-wal").exists())
        .find(|name| !name.exists());
    if let Some(to) = half_aside {
        set_damaged_aside(path, &to)?;
    }
    if path.exists() { Ok(()) } else { rename_durably(&rescue, path) }
}

/// Reads a table of events until damage, or as long as `take` wants more. Returns whether there was no damage.
fn read(
    damaged: &Connection,
    table: &str,
    which: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> bool {
    let mut until_damage = || -> rusqlite::Result<()> {
        let mut statement =
            damaged.prepare(&format!("SELECT id, event_id, topic, payload FROM {table} {which}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !take(row)? {
                break;
            }
        }
        Ok(())
    };
    until_damage().is_ok()
}

/// Copies rows of a table whose columns mean the same in both files.
fn copy(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    table: &str,
    columns: &str,
    key: &str,
) -> rusqlite::Result<(bool, u64)> {
    let count = columns.split(',').count();
    let places = (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    let mut insert =
        transaction.inner.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})"))?;
    let mut copied = 0;
    let mut from_end = |order: &str| -> rusqlite::Result<()> {
        let mut statement =
            damaged.prepare(&format!("SELECT {columns} FROM {table} ORDER BY {key} {order}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values =
                (0..count).map(|n| row.get::<_, rusqlite::types::Value>(n)).collect::<Result<Vec<_>, _>>()?;
            copied += insert.execute(rusqlite::params_from_iter(values))? as u64;
        }
        Ok(())
    };
    // From behind up to the same damage; rows that are met twice are only written once, because their keys are the same.
    let complete = from_end("ASC").is_ok() || {
        let _ = from_end("DESC");
        false
    };
    Ok((complete, copied))
}

/// All of a case.
const CASE_COLUMNS: &str = "id, case_id, device, rule, department, episode, episodes, previous, state, state_ms, until_ms, number, \
                            reclassified_ms, reclassified, rejected";

fn bring_over(damaged: &Connection, new: &mut Spool, salvaged: &mut Salvaged) -> Result<bool, SpoolError> {
    let mut complete = true;
    salvaged.devices = new.commit(|transaction| {
        // The windows' readings are not brought over, so a replay has nothing to begin with: 0.
        let columns = "device, cursor, boot, counter, newest_ms, pack, replay_from";
        let (all, devices) = copy(damaged, transaction, "device", columns, "device")?;
        transaction.inner.execute("UPDATE device SET replay_from = 0", [])?;
        complete &= all;
        for (table, columns, key) in [
            ("clock", "device, boot, offset_ms", "device"),
            ("rule_state", "device, rule, state", "device"),
            ("episode", "device, rule, topic, payload", "device"),
            ("calibration", "device, at_ms, drift, full_scale_upa", "device"),
            ("casefile", CASE_COLUMNS, "id"),
            ("case_tally", "rule, raised, continued, answered, closed, rejected, reclassified", "rule"),
        ] {
            complete &= copy(damaged, transaction, table, columns, key)?.0;
        }
        match Totals::load(damaged) {
            Ok(before) => transaction.go_on_counting(&before),
            Err(_) => complete = false,
        }
        let start =
            damaged.query_row("SELECT value FROM meta WHERE name = 'start'", params![], |row| row.get(0));
        match start {
            Ok(start) => transaction.set_meta("start", start)?,
            Err(_) => complete = false,
        }
        Ok(devices)
    })?;
    for table in ["event", "refused"] {
        complete &= bring_events_over(damaged, table, new, salvaged)?;
    }
    Ok(complete)
}

/// Reads a table of events from its beginning. At damage it goes on behind it, 1, 2, 4, ... rows further, and when it finds sound rows
/// there, it goes back from them to the damage. Returns whether there was none.
fn bring_events_over(
    damaged: &Connection,
    table: &str,
    new: &mut Spool,
    salvaged: &mut Salvaged,
) -> Result<bool, SpoolError> {
    let mut events =
        Events { waiting: Vec::with_capacity(ROWS_AT_ONCE), new, salvaged, failed: Ok(()), complete: true };
    let (mut last, mut skip) = (0i64, 0i64);
    loop {
        let from = last.saturating_add(skip);
        let (mut first, before) = (None, last);
        let all = read(damaged, table, &format!("WHERE id > {from} ORDER BY id"), |row| {
            last = row.get(0)?;
            first.get_or_insert(last);
            events.take(row)
        });
        if let (Some(first), true) = (first, skip > 0) {
            let gap = format!("WHERE id > {before} AND id < {first} ORDER BY id DESC");
            read(damaged, table, &gap, |row| events.take(row));
        }
        if all && (first.is_some() || skip == 0) || from == i64::MAX {
            break;
        }
        events.complete &= all;
        skip = if first.is_some() { 1 } else { skip.saturating_mul(2).max(1) };
    }
    if !events.complete {
        // Behind the last damage there may be less than was skipped.
        read(damaged, table, &format!("WHERE id > {last} ORDER BY id DESC"), |row| events.take(row));
    }
    events.keep();
    let Events { failed, complete, .. } = events;
    failed.map(|()| complete)
}

/// Events on their way into the new spool.
struct Events<'a> {
    waiting: Vec<Event>,
    new: &'a mut Spool,
    salvaged: &'a mut Salvaged,
    /// Why the new spool takes no more.
    failed: Result<(), SpoolError>,
    complete: bool,
}

/// The rank of what a row holds; [`None`] when it does not hold the message of that id.
fn rank_inside(id: &str, payload: &[u8]) -> Option<u8> {
    let (rank, inside) = match serde_json::from_slice::<CloudEvent>(payload) {
        Ok(event) => (rank::of(&event), event.id),
        Err(_) => (rank::STATISTICS, serde_json::from_slice::<SummaryEvent>(payload).ok()?.id),
    };
    (inside == id).then_some(rank)
}

impl Events<'_> {
    /// Takes one over. Returns whether more are wanted.
    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let (id, topic, payload): (String, String, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        // Damage inside a row shows here.
        match rank_inside(&id, &payload) {
            Some(severity) => self.waiting.push(Event { id, topic, severity, payload }),
            None => {
                self.salvaged.dropped += 1;
                self.complete = false;
            }
        }
        if self.waiting.len() >= ROWS_AT_ONCE {
            self.keep();
        }
        Ok(self.failed.is_ok())
    }

    fn keep(&mut self) {
        if self.failed.is_ok() {
            self.salvaged.events += self.waiting.len() as u64;
            let waiting = &mut self.waiting;
            self.failed = self.new.commit(|transaction| {
                waiting.drain(..).try_for_each(|event| transaction.put_event(&event).map(drop))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use gridpost_protocol::id::{DeviceId, Seq};
    use gridpost_protocol::session::gateway::{Durable, Gap};
    use gridpost_protocol::time::UnixMillis;

    use super::*;
    use crate::demo::sample;
    use crate::event::make::District;
    use crate::spool::DeviceRow;
    use crate::uplink::Outbox as _;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);
    const EVENTS: u64 = 400;

    fn events() -> Vec<Event> {
        let district = District { pack: sample::pack().unwrap(), gateway: "gw".to_owned() };
        (1..=EVENTS)
            .map(|n| district.gap(DEVICE, Gap { first: Seq(n), last: Seq(n) }, UnixMillis(0)).unwrap())
            .collect()
    }

    fn open_or_salvage(path: &Path) -> (Spool, Option<Salvaged>) {
        Spool::open_or_salvage(path, SpoolLimits::default(), None, |_| None).unwrap()
    }

    /// A spool with a device and events that wait.
    fn filled(path: &Path) {
        let mut spool = Spool::open(path).unwrap();
        let row = DeviceRow {
            durable: Durable { cursor: Some(Seq(77)), boot: 3, counter: 99 },
            replay_from: 7,
            newest: UnixMillis(5),
            pack: "abc".to_owned(),
        };
        spool
            .commit(|transaction| {
                transaction.put_device(DEVICE, &row)?;
                events().iter().try_for_each(|event| transaction.add_event(event).map(|_| ()))
            })
            .unwrap();
        spool.next_start(UnixMillis(0)).unwrap();
    }

    #[test]
    fn what_lies_before_a_cut_is_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
        let (spool, salvaged) = open_or_salvage(&path);
        let salvaged = salvaged.unwrap();
        assert!(!salvaged.complete);
        assert!((EVENTS / 4..EVENTS).contains(&salvaged.events), "{salvaged:?}");
        assert_eq!(spool.events_waiting().unwrap().unsigned_abs(), salvaged.events);
    }

    #[test]
    fn what_is_not_damaged_is_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        // A page in the middle of the file that has events, and not the index over them.
        let half = bytes.len() / 2;
        let inside = bytes[half..].windows(11).position(|found| found == b"specversion").unwrap();
        let middle = (half + inside) / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();

        let (spool, salvaged) = open_or_salvage(&path);
        let salvaged = salvaged.unwrap();
        assert!(salvaged.events > EVENTS * 9 / 10 && salvaged.events < EVENTS, "{salvaged:?}");
        assert!(!salvaged.complete);
        assert_eq!(salvaged.devices, 1);
        assert_eq!(
            fs::read(salvaged.set_aside.unwrap()).unwrap()[middle..middle + 4096],
            bytes[middle..middle + 4096]
        );
        let durable = spool.device(DEVICE).unwrap().unwrap().durable;
        assert_eq!(durable, Durable { cursor: Some(Seq(77)), boot: 3, counter: 99 });
        let made: std::collections::HashMap<_, _> =
            events().into_iter().map(|event| (event.payload, event.topic)).collect();
        let waiting = spool.outbox().unwrap().read_after(0, usize::MAX).unwrap();
        assert_eq!(waiting.len() as u64, salvaged.events);
        assert!(waiting.iter().all(|row| made.get(&row.payload) == Some(&row.topic)));
        drop(spool);
        assert_eq!(open_or_salvage(&path).1, None, "what it went on with is sound");
    }

    #[test]
    fn a_file_that_is_no_database_any_more_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        for _ in 0..2 {
            filled(&path);
            fs::write(&path, [0xa5; 10_000]).unwrap();
            let (mut spool, salvaged) = open_or_salvage(&path);
            let salvaged = salvaged.unwrap();
            assert_eq!((salvaged.events, salvaged.complete), (0, false));
            assert_eq!(fs::read(salvaged.set_aside.unwrap()).unwrap(), [0xa5; 10_000]);
            assert!(spool.next_start(UnixMillis(0)).is_ok());
        }
        assert!(beside(&path, ".damaged-2").exists(), "nothing that was set aside is written over");
    }

    #[test]
    fn what_was_let_go_and_not_told_yet_is_still_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        let limits = SpoolLimits { outbox_bytes_max: 100_000, ..SpoolLimits::default() };
        let mut spool = Spool::open_with(&path, limits).unwrap();
        spool.next_start(UnixMillis(0)).unwrap();
        for event in events() {
            spool.commit(|transaction| transaction.add_event(&event)).unwrap();
        }
        let before = spool.totals();
        assert!(before.events_evicted > 0 && before.untold.iter().sum::<i64>() == before.events_evicted);
        drop(spool);
        let known = Some("something".to_owned());
        let (spool, salvaged) = Spool::open_or_salvage(&path, limits, known, |_| None).unwrap();
        assert!(salvaged.unwrap().complete);
        assert_eq!(spool.totals(), before);
    }

    #[test]
    fn events_between_two_damaged_places_are_brought_over_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        for part in [4, 5, 6] {
            let at = bytes.len() * part / 10 / 4096 * 4096;
            bytes[at..at + 4096].fill(0xa5);
        }
        fs::write(&path, &bytes).unwrap();
        let (spool, salvaged) = open_or_salvage(&path);
        let salvaged = salvaged.unwrap();
        assert!(salvaged.events > EVENTS * 9 / 10 && salvaged.events < EVENTS, "{salvaged:?}");
        let waiting = spool.outbox().unwrap().read_after(0, usize::MAX).unwrap();
        let payloads: std::collections::HashSet<_> = waiting.iter().map(|row| &row.payload).collect();
        assert_eq!((waiting.len(), payloads.len()), (salvaged.events as usize, waiting.len()), "each once");
    }

    #[test]
    fn damage_that_was_found_in_use_is_believed_and_reported_with_what_is_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let report = events().remove(0);
        let known = Some("found in use".to_owned());
        let said = |_: &Salvaged| Some(report.clone());
        let (spool, salvaged) = Spool::open_or_salvage(&path, SpoolLimits::default(), known, said).unwrap();
        let salvaged = salvaged.unwrap();
        assert_eq!((salvaged.events, salvaged.complete), (EVENTS, true));
        let last = spool.outbox().unwrap().read_after(0, usize::MAX).unwrap().pop().unwrap();
        assert_eq!((last.payload, spool.events_waiting().unwrap()), (report.payload, EVENTS as i64 + 1));
    }

    #[test]
    fn rows_that_hold_no_message_any_more_are_counted_and_hours_are_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let district = District { pack: sample::pack().unwrap(), gateway: "gw".to_owned() };
        let begun = crate::hourly::Begun { from: UnixMillis(0), first: Seq(1) };
        let hour = district.hour(DEVICE, &crate::hourly::Ended { begun, of: Vec::new() }).unwrap();
        let mut spool = Spool::open(&path).unwrap();
        spool.commit(|transaction| transaction.add_event(&hour)).unwrap();
        spool
            .connection
            .execute("UPDATE event SET payload = CAST('{}' AS BLOB) WHERE id IN (3, 5)", [])
            .unwrap();
        drop(spool);
        let known = Some("something".to_owned());
        let (_, salvaged) = Spool::open_or_salvage(&path, SpoolLimits::default(), known, |_| None).unwrap();
        let salvaged = salvaged.unwrap();
        assert_eq!((salvaged.events, salvaged.dropped), (EVENTS - 2 + 1, 2));
        assert!(!salvaged.complete);
    }

    #[test]
    fn killed_while_it_is_set_aside_the_next_start_goes_on() {
        // After so many of the three renamings.
        for done in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("spool.db");
            filled(&path);
            let rescue = beside(&path, RESCUE);
            fs::copy(&path, &rescue).unwrap();
            fs::write(&path, [0xa5; 10_000]).unwrap();
            fs::write(beside(&path, "-wal"), [0xa5; 10_000]).unwrap();
            let aside = beside(&path, ".damaged-1");
            let renamings = [
                (beside(&path, "-wal"), beside(&aside, "-wal")),
                (path.clone(), aside.clone()),
                (rescue.clone(), path.clone()),
            ];
            for (from, to) in &renamings[..done] {
                fs::rename(from, to).unwrap();
            }
            let (spool, salvaged) = open_or_salvage(&path);
            // Before the first one it is done again, and garbage has nothing to give.
            let expected = if done == 0 { 0 } else { EVENTS as i64 };
            assert_eq!(spool.events_waiting().unwrap(), expected, "after {done}");
            assert_eq!(salvaged.is_some(), done == 0);
            assert_eq!(fs::read(&aside).unwrap(), [0xa5; 10_000], "after {done}");
            assert!(!rescue.exists() && beside(&aside, "-wal").exists());
        }
    }
}
