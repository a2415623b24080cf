//! Reading all of a large spool once after the start, beside everything else: what of it is damaged is found before it is needed.
//!
//! A start looks at all of a file only up to [`CHECKED_AT_ONCE_BYTES`]; of a larger one it looks at the header, the schema, the small tables and
//! both ends of the large ones, and [`Verifier`] reads the rest in stretches. Each stretch is a short read of its own, so the
//! write-ahead log can begin anew in between and does not grow; between stretches the thread rests for [`REST`] times as
//! long as it read. Damage is told to [`Health`]; the gateway then sets the file aside.
//!
//! A stretch reads every column of every row and both indexes. It finds pages that are none, rows that are out of order or do not have their
//! columns' types, and texts with bytes that no text has. Not found are a changed digit, and pages that are wrongly believed to be free
//! (those fail the commit that uses them, which is told to [`Health`] as well).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, Statement};

use super::{Health, SpoolError, reader_closes_quietly, sqlite_error};

/// Spools up to this size, in bytes, are read whole at the start: well under a second on an SD card.
pub const CHECKED_AT_ONCE_BYTES: i64 = 32 << 20;
/// Rows in one stretch: of events some 3 MB.
pub const STRETCH_ROWS: usize = 2_000;
/// How many times as long as it reads the thread rests.
const REST: u32 = 3;
/// The longest rest, so that a slow disk is read at all.
const REST_MAX: Duration = Duration::from_secs(1);
/// Memory for pages, in KiB.
const CACHE_KIB: i64 = 256;

/// What is read in stretches: (what it is, all of it in order, the order's columns, which come first).
const WALKS: &[(&str, &str, &[&str])] = &[
    ("event", "SELECT id, severity, bytes, event_id, topic, payload FROM event", &["id"]),
    ("event_by_severity", "SELECT severity, id FROM event INDEXED BY event_by_severity", &["severity", "id"]),
    ("refused", "SELECT id, severity, event_id, topic, payload, reason FROM refused", &["id"]),
    (
        "reading",
        "SELECT id, device, seq, at_ms, clock_quality, quantity, value, quality FROM reading",
        &["id"],
    ),
    ("reading_by_device", "SELECT device, id FROM reading INDEXED BY reading_by_device", &["device", "id"]),
    (
        "summary",
        "SELECT id, device, at_ms, quantity, statistic, readings, quality, value FROM summary",
        &["id"],
    ),
    ("summary_of_device", "SELECT device, id FROM summary INDEXED BY summary_of_device", &["device", "id"]),
];
/// Tables that are read whole at each start: without them no device's record could be taken.
const SMALL_TABLES: &[&str] =
    &["meta", "device", "clock", "rule_state", "episode", "calibration", "kept", "hour", "hourly"];

/// Looks at a large spool as far as a start can: the small tables, and both ends of the large ones.
///
/// # Errors
/// When SQLite finds damage or fails; `Ok(Some)` says what does not hold though SQLite can read it.
pub(super) fn ends(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'device', 'clock', 'rule_state', 'event', \
         'event_by_severity', 'refused', 'reading', 'reading_by_device')",
        [],
        |row| row.get(0),
    )?;
    if tables != 9 {
        return Ok(Some("tables are missing".to_owned()));
    }
    let exists = |name: &str| {
        connection
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")
            .and_then(|mut statement| statement.exists([name]))
    };
    for table in SMALL_TABLES {
        if exists(table)? {
            let said: String =
                connection.query_row(&format!("PRAGMA quick_check('{table}')"), [], |row| row.get(0))?;
            if said != "ok" {
                return Ok(Some(said));
            }
        }
    }
    for (name, all, order) in WALKS {
        if !exists(name)? {
            continue;
        }
        for direction in ["ASC", "DESC"] {
            let order = order.iter().map(|key| format!("{key} {direction}")).collect::<Vec<_>>().join(", ");
            let mut statement = connection.prepare(&format!("{all} ORDER BY {order} LIMIT 1"))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(what) = unsound(row, columns)? {
                    return Ok(Some(format!("{name}: {what}")));
                }
            }
        }
    }
    Ok(None)
}

/// What is wrong with a row, though SQLite can read it.
fn unsound(row: &Row<'_>, columns: usize) -> rusqlite::Result<Option<&'static str>> {
    for column in 0..columns {
        let bytes = match row.get_ref(column)? {
            ValueRef::Null | ValueRef::Real(_) => return Ok(Some("a value has the wrong type")),
            ValueRef::Integer(_) => continue,
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        };
        // Payloads are JSON.
        if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() {
            return Ok(Some("a text holds bytes that no text has"));
        }
    }
    Ok(None)
}

/// Reads a spool in stretches, on a connection of its own.
#[derive(Debug)]
pub struct Verifier {
    connection: Connection,
    path: PathBuf,
    health: Health,
    walk: usize,
    /// The last row that was read of the walk under way.
    at: Vec<Value>,
}

impl Verifier {
    pub(super) fn open(path: &Path, health: Health) -> Result<Self, SpoolError> {
        let failed = |source| sqlite_error(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        reader_closes_quietly(&connection).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), health, walk: 0, at: Vec::new() })
    }

    /// Reads one stretch. Returns whether there is more.
    ///
    /// # Errors
    /// When the spool is damaged, which [`Health`] knows then, or cannot be read.
    pub fn step(&mut self) -> Result<bool, SpoolError> {
        let done = self.stretch().map_err(|source| sqlite_error(&self.path, source)).and_then(|found| {
            found.map_or(Ok(()), |what| Err(SpoolError::Damaged { path: self.path.clone(), what }))
        });
        match done {
            Ok(()) => Ok(self.walk < WALKS.len()),
            Err(error) => {
                self.health.note(&error);
                Err(error)
            }
        }
    }

    fn stretch(&mut self) -> rusqlite::Result<Option<String>> {
        let Some((name, all, order)) = WALKS.get(self.walk) else { return Ok(None) };
        let keys = order.join(", ");
        let after = match self.at.len() {
            0 => String::new(),
            count => format!("WHERE ({keys}) > ({}) ", vec!["?"; count].join(", ")),
        };
        let mut statement =
            self.connection.prepare_cached(&format!("{all} {after}ORDER BY {keys} LIMIT {STRETCH_ROWS}"))?;
        let before = std::mem::take(&mut self.at);
        let (count, last, found) = walk(&mut statement, &before, order.len())?;
        if let Some(what) = found {
            return Ok(Some(format!("{name}: {what}")));
        }
        if count < STRETCH_ROWS {
            self.walk += 1;
        } else {
            self.at = last;
        }
        Ok(None)
    }

    /// Reads all of it on a thread of its own, until it is done, `stop` is set or damage is found.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(mut self, stop: Arc<AtomicBool>) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new().name("verifier".to_owned()).spawn(move || {
            let began = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let step = Instant::now();
                match self.step() {
                    Ok(true) => thread::sleep((step.elapsed() * REST).min(REST_MAX)),
                    Ok(false) => {
                        tracing::info!(took = ?began.elapsed(), "the spool was read whole and is sound");
                        return;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the spool was being read whole");
                        return;
                    }
                }
            }
        })
    }
}

/// Reads what a statement finds after the row `before`: how many rows, the last one's keys, and what is wrong.
fn walk(
    statement: &mut Statement<'_>,
    before: &[Value],
    keys: usize,
) -> rusqlite::Result<(usize, Vec<Value>, Option<&'static str>)> {
    let columns = statement.column_count();
    let (mut count, mut last) = (0, before.to_vec());
    let mut rows = statement.query(rusqlite::params_from_iter(before))?;
    while let Some(row) = rows.next()? {
        count += 1;
        if let Some(what) = unsound(row, columns)? {
            return Ok((count, last, Some(what)));
        }
        let here = (0..keys).map(|key| row.get(key)).collect::<rusqlite::Result<Vec<Value>>>()?;
        let ascends = last.iter().zip(&here).find_map(|pair| match pair {
            (Value::Integer(last), Value::Integer(here)) if last != here => Some(last < here),
            (Value::Integer(_), Value::Integer(_)) => None,
            _ => Some(false),
        });
        if ascends == Some(false) {
            return Ok((count, last, Some("rows are out of order")));
        }
        last = here;
    }
    Ok((count, last, None))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::event::Event;
    use crate::spool::{Spool, SpoolLimits};
    use crate::uplink::Outbox as _;

    /// So many events of this size are more than is read at the start.
    const EVENTS: usize = 800;
    const EVENT_BYTES: usize = 60_000;

    /// A spool that is too large to be read whole at the start.
    fn large(path: &Path) {
        let mut spool = Spool::open(path).unwrap();
        for first in (0..EVENTS).step_by(100) {
            spool
                .commit(|transaction| {
                    (first..first + 100).try_for_each(|n| {
                        let payload = format!("{{\"n\":{n:0EVENT_BYTES$}}}").into_bytes();
                        let event =
                            Event { id: format!("e{n}"), topic: "t".to_owned(), severity: 0, payload };
                        transaction.add_event(&event).map(drop)
                    })
                })
                .unwrap();
        }
        drop(spool);
        assert!(fs::metadata(path).unwrap().len() > CHECKED_AT_ONCE_BYTES.cast_unsigned());
    }

    fn read_whole(spool: &Spool) -> Result<(), SpoolError> {
        let mut verifier = spool.verifier().unwrap().expect("it is large");
        while verifier.step()? {}
        Ok(())
    }

    #[test]
    fn a_large_spool_is_read_whole_after_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        large(&path);
        let spool = Spool::open(&path).unwrap();
        read_whole(&spool).unwrap();
        assert_eq!(spool.health().damage(), None);
        let (small, _) =
            Spool::open_or_salvage(&dir.path().join("small"), SpoolLimits::default(), None, |_| None)
                .unwrap();
        assert!(small.verifier().unwrap().is_none(), "a small one was read at the start");
    }

    #[test]
    fn damage_anywhere_in_a_large_spool_is_found_at_the_start_or_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        large(&path);
        let sound = fs::read(&path).unwrap();
        let pages = sound.len() / 4096;
        let (mut at_start, mut after) = (0, 0);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for n in 0..12 {
            // Free pages and unused parts of pages hold nothing that could be damaged: pages in the middle are full of texts.
            let page = if n == 0 { 0 } else { pages / 10 + n * (pages * 8 / 10) / 12 };
            let at = page * 4096;
            file.write_all_at(&[0xa5; 4096], at as u64).unwrap();
            match Spool::open(&path) {
                Err(SpoolError::Damaged { .. } | SpoolError::NotASpool { .. }) => at_start += 1,
                Err(other) => panic!("{other}"),
                Ok(spool) => {
                    assert!(matches!(read_whole(&spool), Err(SpoolError::Damaged { .. })), "page {page}");
                    assert!(spool.health().damage().is_some());
                    after += 1;
                }
            }
            file.write_all_at(&sound[at..at + 4096], at as u64).unwrap();
        }
        assert!(at_start > 0 && after > 5, "{at_start} {after}");
        // Cut off.
        fs::write(&path, &sound[..sound.len() / 2]).unwrap();
        assert!(matches!(Spool::open(&path), Err(SpoolError::Damaged { .. })));
    }

    #[test]
    fn who_reads_or_writes_where_damage_is_says_so_and_what_is_sound_is_brought_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        large(&path);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 40 * 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let mut spool = Spool::open(&path).unwrap();
        let mut outbox = spool.outbox().unwrap();
        let reads = (0..EVENTS as i64).step_by(100).find_map(|after| outbox.read_after(after, 100).err());
        assert!(reads.is_some() && spool.health().damage().is_some());
        drop(outbox);
        assert!(spool.commit(|transaction| transaction.release_events(&(0..=i64::MAX))).is_err());
    }
}
