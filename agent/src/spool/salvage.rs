//! A damaged spool: it is set aside whole, and what can still be read of it is brought over into a new one.
//!
//! Brought over are events that wait or were refused, the devices' cursors (so that nothing is taken twice), their clocks, where their
//! rules stand, their open episodes, cases, and the start counter. Readings are not: they stay in the file that is set aside, and
//! windows fill anew. Each table is read from its beginning until damage, and then from its end until damage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, params};

use super::look::beside;
use super::{Spool, SpoolError, SpoolLimits, Transaction, lock};
use crate::event::Event;

/// What was found damaged, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// What SQLite says.
    pub damage: String,
    /// Where the damaged file is now.
    pub set_aside: PathBuf,
    /// Events that were brought over.
    pub events: u64,
    /// Devices whose cursors were brought over.
    pub devices: u64,
    /// Whether all tables could be read to their end.
    pub complete: bool,
}

impl Spool {
    /// Opens or creates the spool; a damaged one is set aside beside it as `<file>.damaged-<n>`, and the agent goes on with a new one
    /// and what could be read.
    ///
    /// # Errors
    /// As [`Spool::open`], but for damage; and when the damaged file cannot be set aside.
    pub fn open_or_salvage(path: &Path) -> Result<(Self, Option<Salvaged>), SpoolError> {
        let lock = lock(path)?;
        let limits = SpoolLimits::default();
        let damage = match Self::connect(path, limits) {
            Ok((connection, totals)) => {
                return Ok((Self::of(connection, path, limits, totals, lock), None));
            }
            Err(SpoolError::Damaged { what, .. }) => what,
            Err(error) => return Err(error),
        };
        let set_aside = set_aside(path).map_err(|source| SpoolError::Io { path: path.to_owned(), source })?;
        let (connection, totals) = Self::connect(path, limits)?;
        let mut spool = Self::of(connection, path, limits, totals, lock);
        let mut salvaged = Salvaged { damage, set_aside, events: 0, devices: 0, complete: false };
        // What cannot be opened at all has nothing to bring over.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if let Ok(damaged) = Connection::open_with_flags(&salvaged.set_aside, flags) {
            spool.commit(|transaction| {
                salvaged.complete = bring_over(&damaged, transaction, &mut salvaged)?;
                Ok(())
            })?;
        }
        Ok((spool, Some(salvaged)))
    }
}

/// Moves the file, with its write-ahead log, out of the way. The log goes first: without its database it is harmless.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let free = (1..).map(|n| beside(path, &format!(".damaged-{n}"))).find(|name| !name.exists());
    let to = free.ok_or_else(|| io::Error::other("no name is free"))?;
    if beside(path, "-wal").exists() {
        fs::rename(beside(path, "-wal"), beside(&to, "-wal"))?;
    }
    fs::rename(path, &to)?;
    match fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(to),
    }
}

/// Reads a table from both ends. Returns whether all of it could be read.
fn read(
    damaged: &Connection,
    columns: &str,
    table: &str,
    key: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> bool {
    let mut from_end = |order: &str| -> rusqlite::Result<()> {
        let mut statement =
            damaged.prepare(&format!("SELECT {columns} FROM {table} ORDER BY {key} {order}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    };
    // Rows that are met twice are only written once: their keys are the same.
    if from_end("ASC").is_ok() {
        return true;
    }
    // Up to the same damage, from behind; how far it comes does not matter any more.
    let _ = from_end("DESC");
    false
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
    let complete = read(damaged, columns, table, key, |row| {
        let values =
            (0..count).map(|n| row.get::<_, rusqlite::types::Value>(n)).collect::<Result<Vec<_>, _>>()?;
        copied += insert.execute(rusqlite::params_from_iter(values))? as u64;
        Ok(())
    });
    Ok((complete, copied))
}

/// All of a case.
const CASE_COLUMNS: &str = "id, case_id, device, rule, department, episode, episodes, previous, state, state_ms, until_ms, number, \
                            reclassified_ms, reclassified, rejected";

fn bring_over(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    salvaged: &mut Salvaged,
) -> rusqlite::Result<bool> {
    let mut complete = true;
    // The windows' readings are not brought over, so a replay has nothing to begin with: 0.
    let columns = "device, cursor, boot, counter, newest_ms, pack, replay_from";
    let (all, devices) = copy(damaged, transaction, "device", columns, "device")?;
    transaction.inner.execute("UPDATE device SET replay_from = 0", [])?;
    complete &= all;
    salvaged.devices = devices;
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
    let mut seen = std::collections::HashSet::new();
    for table in ["event", "refused"] {
        let mut failed = Ok(());
        complete &= read(damaged, "id, event_id, topic, severity, payload", table, "id", |row| {
            let event =
                Event { id: row.get(1)?, topic: row.get(2)?, severity: row.get(3)?, payload: row.get(4)? };
            // Damage inside a row shows here.
            let sound = serde_json::from_slice::<serde_json::Value>(&event.payload)
                .is_ok_and(|inside| inside["id"].as_str().unwrap_or_default() == event.id);
            if sound && failed.is_ok() && seen.insert(event.id.clone()) {
                failed = transaction.put_event(&event).map(|_| ());
                salvaged.events += 1;
            }
            if sound { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
        });
        failed?;
    }
    let start = damaged.query_row("SELECT value FROM meta WHERE name = 'start'", params![], |row| row.get(0));
    match start {
        Ok(start) => transaction.set_meta("start", start)?,
        Err(_) => complete = false,
    }
    Ok(complete)
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
    fn what_is_not_damaged_is_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        // Among the events' pages, which are most of the file.
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();

        let (spool, salvaged) = Spool::open_or_salvage(&path).unwrap();
        let salvaged = salvaged.unwrap();
        assert!(salvaged.events > EVENTS * 9 / 10 && salvaged.events < EVENTS, "{salvaged:?}");
        assert!(!salvaged.complete);
        assert_eq!(salvaged.devices, 1);
        assert_eq!(
            fs::read(&salvaged.set_aside).unwrap()[middle..middle + 4096],
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
        assert_eq!(Spool::open_or_salvage(&path).unwrap().1, None, "what it went on with is sound");
    }

    #[test]
    fn a_file_that_is_no_database_any_more_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        for _ in 0..2 {
            filled(&path);
            fs::write(&path, [0xa5; 10_000]).unwrap();
            let (mut spool, salvaged) = Spool::open_or_salvage(&path).unwrap();
            let salvaged = salvaged.unwrap();
            assert_eq!((salvaged.events, salvaged.complete), (0, false));
            assert_eq!(fs::read(&salvaged.set_aside).unwrap(), [0xa5; 10_000]);
            assert!(spool.next_start(UnixMillis(0)).is_ok());
        }
        assert!(beside(&path, ".damaged-2").exists(), "nothing that was set aside is written over");
    }
}
