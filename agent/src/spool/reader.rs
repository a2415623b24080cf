//! Reading the spool beside the agent that writes it: for requests and for a technician. It holds up nobody, and changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::Serialize;

use crate::event::make::rfc3339;

use super::{SpoolError, Totals, reader_closes_quietly, sqlite_error, to_row};

/// How long a read waits for a lock. In WAL mode readers wait for nobody but a database that is being opened.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Stands in the column `newest_ms` for "no reading yet".
const NEVER_MS: i64 = i64::MIN;

/// A reader of the spool.
#[derive(Debug)]
pub struct SpoolReader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

/// How full the spool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpoolOverview {
    /// Events that wait for the platform.
    pub events: i64,
    /// What they take, in bytes.
    pub event_bytes: i64,
    /// The `time` of the event that waits longest.
    pub oldest: Option<String>,
    /// Events that went because there was no room, ever.
    pub events_evicted: i64,
    /// Events that brokers refused for good.
    pub refused: i64,
    /// Of those, how many went because there were too many, ever.
    pub refused_dropped: i64,
    /// Readings that are kept.
    pub readings: i64,
    /// The time of the first of them.
    pub readings_from: Option<String>,
    /// Readings that went before their time because there were too many, ever.
    pub readings_evicted: i64,
    /// Values of minutes that are kept, of devices that decide themselves.
    pub minutes: i64,
    /// The time of the first of them.
    pub minutes_from: Option<String>,
    /// Values of minutes that went before their time because there were too many, ever.
    pub minutes_evicted: i64,
    /// The database file, in bytes.
    pub file_bytes: i64,
}

/// A device as the spool knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// The device.
    pub device: DeviceId,
    /// The last record that is durable here; [`Seq::NONE`] when there is none.
    pub cursor: Seq,
    /// Its newest boot.
    pub boot: u32,
    /// The newest time that it has said.
    pub newest: Option<UnixMillis>,
    /// How many of its readings are kept.
    pub readings: i64,
    /// The time of the first of them.
    pub readings_from: Option<UnixMillis>,
    /// How many values of its minutes are kept, when it decides itself.
    pub minutes: i64,
    /// The time of the first of them.
    pub minutes_from: Option<UnixMillis>,
}

impl SpoolReader {
    /// Opens the spool that an agent of this process has open.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        // Not read-only: a reader of a WAL database may have to make the shared-memory file.
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true).map_err(|source| sqlite_error(path, source))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of its schema, which is this program's.
    #[must_use]
    pub const fn schema(&self) -> i64 {
        super::schema::VERSION
    }

    /// How full the spool is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn overview(&self) -> Result<SpoolOverview, SpoolError> {
        self.query(|connection| {
            let Totals {
                events,
                event_bytes,
                events_evicted,
                refused_dropped,
                readings_evicted,
                minutes_evicted,
                ..
            } = Totals::load(connection)?;
            let oldest: Option<Vec<u8>> = connection
                .prepare_cached("SELECT payload FROM event ORDER BY id LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?;
            let refused = connection.query_row("SELECT count(*) FROM refused", [], |row| row.get(0))?;
            let (readings, minutes) = connection.query_row(
                "SELECT ifnull(sum(readings), 0), ifnull(sum(minutes), 0) FROM kept",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let first = |table: &str| -> rusqlite::Result<Option<String>> {
                let first = format!("SELECT at_ms FROM {table} ORDER BY id LIMIT 1");
                let at = connection.query_row(&first, [], |row| row.get(0)).optional()?;
                Ok(at.map(|at| rfc3339(UnixMillis(at))))
            };
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            Ok(SpoolOverview {
                events,
                event_bytes,
                oldest: oldest.and_then(|payload| time_of(&payload)),
                events_evicted,
                refused,
                refused_dropped,
                readings,
                readings_from: first("reading")?,
                readings_evicted,
                minutes,
                minutes_from: first("summary")?,
                minutes_evicted,
                file_bytes: pages.saturating_mul(page_bytes),
            })
        })
    }

    /// Devices after this one, ascending as SQLite counts, at most `max`.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn devices(&self, after: Option<DeviceId>, max: usize) -> Result<Vec<KnownDevice>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT device, cursor, boot, newest_ms, ifnull(readings, 0), \
                     (SELECT at_ms FROM reading WHERE reading.device = device.device ORDER BY id LIMIT 1), \
                     ifnull(minutes, 0), \
                     (SELECT at_ms FROM summary WHERE summary.device = device.device ORDER BY id LIMIT 1) \
                     FROM device LEFT JOIN kept USING (device) \
                     WHERE ?1 IS NULL OR device > ?1 ORDER BY device LIMIT ?2",
                )?
                .query_map(params![after.map(to_row), i64::try_from(max).unwrap_or(i64::MAX)], |row| {
                    let newest: i64 = row.get(3)?;
                    Ok(KnownDevice {
                        device: DeviceId(row.get::<_, i64>(0)?.cast_unsigned()),
                        cursor: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                        boot: row.get(2)?,
                        newest: (newest != NEVER_MS).then_some(UnixMillis(newest)),
                        readings: row.get(4)?,
                        readings_from: row.get::<_, Option<i64>>(5)?.map(UnixMillis),
                        minutes: row.get(6)?,
                        minutes_from: row.get::<_, Option<i64>>(7)?.map(UnixMillis),
                    })
                })?
                .collect()
        })
    }

    pub(super) fn query<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        ask(&self.connection).map_err(|source| sqlite_error(&self.path, source))
    }
}

/// The `time` of an event.
fn time_of(payload: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Time {
        time: String,
    }
    serde_json::from_slice::<Time>(payload).ok().map(|event| event.time)
}

pub(super) fn connect(path: &Path, how: OpenFlags) -> Result<Connection, SpoolError> {
    let failed = |source| sqlite_error(path, source);
    let connection =
        Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    reader_closes_quietly(&connection).map_err(failed)?;
    Ok(connection)
}
