//! A look at what is in the spool, beside the pipeline and without holding it up.

use std::path::Path;
use std::time::Duration;

use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{SpoolError, reader_closes_quietly, sqlite_error};

/// How long a look waits for a lock: whoever looks can look again.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The time of the event that waits longest, as it says itself.
    pub oldest: Option<UnixMillis>,
    /// Events that a broker refused and that wait for a person.
    pub refused: u64,
    /// The database file without its write-ahead log, in bytes.
    pub file_bytes: u64,
}

/// Looks, on a connection of its own.
#[derive(Debug)]
pub struct SpoolWatch(Connection);

impl SpoolWatch {
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = |source| sqlite_error(path, source);
        // Not read-only: a reader of a WAL database may have to make the shared-memory file.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        reader_closes_quietly(&connection).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(Self(connection))
    }

    /// Looks.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn look(&self) -> rusqlite::Result<Seen> {
        let number = |sql| self.0.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        let oldest: Option<Vec<u8>> = self
            .0
            .prepare_cached("SELECT payload FROM event ORDER BY id LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let pages = number("PRAGMA page_count")?;
        Ok(Seen {
            oldest: oldest.and_then(|payload| time_of(&payload)),
            refused: number("SELECT count(*) FROM refused")?.unsigned_abs(),
            file_bytes: pages.saturating_mul(number("PRAGMA page_size")?).unsigned_abs(),
        })
    }
}

/// The time of a CloudEvent.
fn time_of(payload: &[u8]) -> Option<UnixMillis> {
    #[derive(serde::Deserialize)]
    struct Timed<'a> {
        time: &'a str,
    }
    let Timed { time } = serde_json::from_slice(payload).ok()?;
    Some(UnixMillis(time.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
}
