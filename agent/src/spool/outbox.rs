//! The uplink's view of the spool: events in order, on a connection of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{SpoolError, sqlite_error};
use crate::uplink::{Outbox, OutboxError, OutboxRow};

/// How long a read waits for a lock. In WAL mode readers wait for nobody but a database that is being opened.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads what the platform has not acknowledged yet.
#[derive(Debug)]
pub struct OutboxReader {
    connection: Connection,
    path: PathBuf,
}

impl OutboxReader {
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = |source| sqlite_error(path, source);
        // Not read-only: a reader of a WAL database may have to make the shared-memory file.
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn read(&self, after: i64, max_rows: usize) -> rusqlite::Result<Vec<OutboxRow>> {
        self.connection
            .prepare_cached("SELECT id, topic, payload FROM event WHERE id > ?1 ORDER BY id LIMIT ?2")?
            .query_map((after, i64::try_from(max_rows).unwrap_or(i64::MAX)), |row| {
                Ok(OutboxRow { id: row.get(0)?, topic: row.get(1)?, payload: row.get(2)? })
            })?
            .collect()
    }
}

impl Outbox for OutboxReader {
    fn read_after(&mut self, after: i64, max_rows: usize) -> Result<Vec<OutboxRow>, OutboxError> {
        self.read(after, max_rows)
            .map_err(|source| OutboxError::from(sqlite_error(&self.path, source).to_string()))
    }
}
