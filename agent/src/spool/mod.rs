//! The gateway's durable store: one SQLite file. What it promises:
//!
//! 1. What [`Spool::commit`] returned `Ok` for survives `kill -9` and a power cut (WAL, `synchronous=FULL`: the WAL is synced at every commit).
//!    This relies on the disk doing what fsync asks for.
//! 2. A transaction is there whole or not at all: readings, rules' states, events and the device's cursor never disagree.
//! 3. An event leaves only by [`Transaction::release_events`] or [`Transaction::refuse_event`]; row ids are never reused, also when the table
//!    runs empty (`AUTOINCREMENT`).
//! 4. One process at a time: a lock on `<file>.lock` that the kernel releases when the process dies.
//!
//! Bounds: [`READINGS_MAX`] readings (the oldest go first; they are evidence and windows, not yet-unsent events). The
//! outbox has no bound of its own yet but the disk; a full disk fails the commit, devices keep their records and send
//! them again.
//!
//! One thread writes ([`Spool`]); the uplink reads on a connection of its own ([`OutboxReader`]).

mod error;
mod outbox;
mod schema;
mod transaction;

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

pub use error::SpoolError;
pub use outbox::OutboxReader;
pub use transaction::Transaction;

/// How many readings are kept, all devices together: at some 45 bytes each, 220 MB.
pub const READINGS_MAX: i64 = 5_000_000;
/// How many readings are deleted at most in one transaction, so that none takes long.
pub const READINGS_DELETED_AT_ONCE: i64 = 2_000;
/// Pages of the WAL after which it is written back: 4 MB.
const WAL_PAGES: i64 = 1_000;
/// The WAL file is cut back to this size after a burst, in bytes.
const WAL_BYTES_KEPT: i64 = 8 << 20;

/// What is durable of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Cursor and newest frame.
    pub durable: Durable,
    /// The reading from which the engine's windows are to be rebuilt (a row id): the first after the device's clock
    /// was last set back.
    pub replay_from: i64,
    /// The newest time the device has said.
    pub newest: UnixMillis,
    /// The digest of the pack under which the rules' states were made.
    pub pack: String,
}

/// A reading as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredReading {
    /// The row.
    pub id: i64,
    /// The record's number.
    pub seq: Seq,
    /// Its time, resolved.
    pub at: UnixMillis,
    /// The reading.
    pub reading: Reading,
}

/// The writing end of the spool.
#[derive(Debug)]
pub struct Spool {
    connection: Connection,
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Spool {
    /// Opens or creates the spool.
    ///
    /// # Errors
    /// When another process has it, or it cannot be opened or is damaged: [`SpoolError`] says which and what to do.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        let lock = lock(path)?;
        let failed = |source| sqlite_error(path, source);
        let mut connection = Connection::open(path).map_err(failed)?;
        settings(&connection).map_err(failed)?;
        match schema::migrate(&mut connection).map_err(failed)? {
            Ok(()) => {}
            Err(found) => return Err(SpoolError::Newer { path: path.to_owned(), found }),
        }
        Ok(Self { connection, path: path.to_owned(), _lock: lock })
    }

    /// A reading end for the uplink.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn outbox(&self) -> Result<OutboxReader, SpoolError> {
        OutboxReader::open(&self.path)
    }

    /// The number of this start: larger than at any start before, and durable when this returns. It is at least the time
    /// in seconds, so that it also grows when a gateway is replaced and its spool is new.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn next_start(&mut self, now: UnixMillis) -> Result<u32, SpoolError> {
        let seconds = u32::try_from(now.0.max(0) / 1000).unwrap_or(0);
        self.commit(|transaction| {
            let last = u32::try_from(transaction.meta("start")?.unwrap_or(0)).unwrap_or(u32::MAX);
            let start = last.saturating_add(1).max(seconds).max(1);
            transaction.set_meta("start", i64::from(start))?;
            Ok(start)
        })
    }

    /// Does all of `work` in one transaction. When this returns `Ok` it is durable; on an error nothing of it happened.
    ///
    /// # Errors
    /// When the disk is full or read-only, or SQLite fails otherwise.
    pub fn commit<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        let path = &self.path;
        let failed = |source| sqlite_error(path, source);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut transaction = Transaction::new(transaction);
        let done = work(&mut transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// What is durable of a device; [`None`] for one never heard of.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT cursor, boot, counter, replay_from, newest_ms, pack FROM device WHERE device = ?1",
                )?
                .query_row([to_row(device)], |row| {
                    let cursor: i64 = row.get(0)?;
                    Ok(DeviceRow {
                        durable: Durable {
                            // 0: heard of, but no record yet.
                            cursor: (cursor != 0).then_some(Seq(cursor.cast_unsigned())),
                            boot: row.get(1)?,
                            counter: row.get(2)?,
                        },
                        replay_from: row.get(3)?,
                        newest: UnixMillis(row.get(4)?),
                        pack: row.get(5)?,
                    })
                })
                .optional()
        })
    }

    /// A device's clock offsets: (boot, milliseconds).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clock(&self, device: DeviceId) -> Result<Vec<(u32, i64)>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT boot, offset_ms FROM clock WHERE device = ?1 ORDER BY boot")?
                .query_map([to_row(device)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Where a device's rules stand: (rule id, state).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rule_states(&self, device: DeviceId) -> Result<Vec<(String, Vec<u8>)>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT rule, state FROM rule_state WHERE device = ?1")?
                .query_map([to_row(device)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Hands out a device's readings from row `from` on that are not older than `since`, in the order in which they
    /// came, without those whose time nobody knows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn readings(
        &self,
        device: DeviceId,
        from: i64,
        since: UnixMillis,
        mut each: impl FnMut(StoredReading),
    ) -> Result<(), SpoolError> {
        self.query(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, seq, at_ms, quantity, value, quality FROM reading \
                 WHERE device = ?1 AND id >= ?2 AND at_ms >= ?3 AND clock_quality < 2 ORDER BY id",
            )?;
            let mut rows = statement.query(params![to_row(device), from, since.0])?;
            while let Some(row) = rows.next()? {
                each(StoredReading {
                    id: row.get(0)?,
                    seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                    at: UnixMillis(row.get(2)?),
                    reading: Reading {
                        quantity: Quantity::from_code(row.get(3)?),
                        value: Milli(row.get(4)?),
                        quality: Quality(row.get(5)?),
                    },
                });
            }
            Ok(())
        })
    }

    /// The newest event's id, whether it is still there or not; 0 when there never was one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn newest_event(&self) -> Result<i64, SpoolError> {
        self.query(|connection| {
            connection
                .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'event'", [], |row| row.get(0))
                .optional()
                .map(|found| found.unwrap_or(0))
        })
    }

    /// How many events wait for the platform, by the span of their ids (exact: only a prefix is ever released, and what
    /// was refused leaves single holes).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn events_waiting(&self) -> Result<i64, SpoolError> {
        self.query(|connection| {
            connection.query_row("SELECT COALESCE(MAX(id) - MIN(id) + 1, 0) FROM event", [], |row| row.get(0))
        })
    }

    fn query<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        ask(&self.connection).map_err(|source| sqlite_error(&self.path, source))
    }
}

/// Device ids are 64 bits without sign, SQLite's integers 64 bits with one.
const fn to_row(device: DeviceId) -> i64 {
    device.0.cast_signed()
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    // `auto_vacuum` takes effect only before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> SpoolError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            SpoolError::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        _ => SpoolError::Sqlite { path: path.to_owned(), source },
    }
}

fn lock(path: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Io { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(PathBuf::from(name))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever comes second; the lock itself does not depend on it.
            file.set_len(0).map_err(failed)?;
            file.rewind().map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            if holder.is_empty() {
                "unknown".clone_into(&mut holder);
            }
            Err(SpoolError::InUse { path: path.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests;
