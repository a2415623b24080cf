//! The uplink's view of the spool: events in order, on a connection of its own.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Health, SpoolError, reader_closes_quietly, sqlite_error};
use crate::uplink::{Outbox, OutboxError, OutboxRow};

/// How long a read waits for a lock. In WAL mode readers wait for nobody but a database that is being opened.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads what the platform has not acknowledged yet.
#[derive(Debug)]
pub struct OutboxReader {
    connection: Connection,
    path: PathBuf,
    health: Health,
}

impl OutboxReader {
    pub(super) fn open(path: &Path, health: Health) -> Result<Self, SpoolError> {
        let failed = |source| sqlite_error(path, source);
        // Not read-only: a reader of a WAL database may have to make the shared-memory file.
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        reader_closes_quietly(&connection).map_err(failed)?;
        connection.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), health })
    }

    fn rows(
        &self,
        after: i64,
        max_rows: usize,
        ranks: &RangeInclusive<u8>,
    ) -> rusqlite::Result<Vec<OutboxRow>> {
        let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                // Plus: by row, and not by the index of ranks, which would have to be sorted.
                "SELECT id, topic, payload, severity, substr(event_id, 1, instr(event_id, '-')) FROM event \
                 WHERE id > ?1 AND +severity BETWEEN ?3 AND ?4 ORDER BY id LIMIT ?2",
            )?
            .query_map((after, max_rows, ranks.start(), ranks.end()), |row| {
                Ok(OutboxRow {
                    id: row.get(0)?,
                    topic: row.get(1)?,
                    payload: row.get(2)?,
                    rank: row.get(3)?,
                    source: row.get(4)?,
                })
            })?
            .collect()
    }
}

impl Outbox for OutboxReader {
    fn read(
        &mut self,
        after: i64,
        max_rows: usize,
        ranks: &RangeInclusive<u8>,
    ) -> Result<Vec<OutboxRow>, OutboxError> {
        self.rows(after, max_rows, ranks).map_err(|source| {
            let error = sqlite_error(&self.path, source);
            self.health.note(&error);
            OutboxError::from(error.to_string())
        })
    }
}
