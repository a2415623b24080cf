//! The spool for a technician: read beside the agent that has it, checked, and never written to.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::look::has_log;
use super::reader::connect;
use super::schema::{APPLICATION_ID, VERSION};
use super::{SpoolError, SpoolReader, sqlite_error};

/// Problems that are named by a check at most.
pub const PROBLEMS_MAX: usize = 100;

/// An event that was refused, how often for the same reason on the same topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedKind {
    /// Where it was to be published.
    pub topic: String,
    /// Why not.
    pub reason: String,
    /// How many.
    pub count: i64,
}

/// An event that waits, or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its row.
    pub row: i64,
    /// The CloudEvent.
    pub payload: Vec<u8>,
}

impl SpoolReader {
    /// Opens a spool to read only, whether an agent has it or not.
    ///
    /// # Errors
    /// When it cannot be opened, or is no spool of this version.
    pub fn open_beside(path: &Path) -> Result<Self, SpoolError> {
        let unusable = |what: &str| SpoolError::Unusable { path: path.to_owned(), what: what.to_owned() };
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(unusable("is no file; correct the path")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(unusable("is not there; correct the path, or start the gateway, which makes it"));
            }
            Err(error) => return Err(unusable(&format!("cannot be looked at: {error}"))),
        }
        // SQLite would not say why. Closing it drops no locks: this program has none on it yet.
        if let Err(error) = File::open(path) {
            return Err(unusable(&format!("cannot be read: {error}; do this as the agent's user")));
        }
        let failed = |source| sqlite_error(path, source);
        let application_of = |connection: &Connection| -> Result<i32, SpoolError> {
            connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)
        };
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let (connection, application) = match application_of(&connection) {
            Ok(application) => (connection, application),
            // Beside a spool that nobody has open SQLite makes files, to read it.
            Err(error) if !needs_to_write(&error) => return Err(error),
            Err(_) if has_log(&fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) => {
                return Err(unusable(
                    "was left with a log beside it, which cannot be read where nothing can be written: copy it and the file of its name with \
                     -wal behind it into a folder of yours, and look at the copy",
                ));
            }
            Err(_) => {
                let connection = connect_unchanging(path)?;
                let application = application_of(&connection)?;
                (connection, application)
            }
        };
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if application != APPLICATION_ID {
            return Err(SpoolError::NotASpool { path: path.to_owned() });
        }
        if version > VERSION {
            return Err(SpoolError::Newer { path: path.to_owned(), found: version });
        }
        if version < VERSION {
            return Err(unusable(
                "is of an earlier version; a start of the gateway brings it up to this one",
            ));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// How many rows a table has, for those that a technician asks about: `episode`, `device`.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn count(&self, table: Table) -> Result<i64, SpoolError> {
        let table = match table {
            Table::OpenEpisodes => "episode",
            Table::Devices => "device",
        };
        self.query(|connection| {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        })
    }

    /// What was refused, by topic and reason, the most first.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn refused_kinds(&self) -> Result<Vec<RefusedKind>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare(
                    "SELECT topic, reason, count(*) FROM refused GROUP BY topic, reason ORDER BY 3 DESC, 1",
                )?
                .query_map([], |row| {
                    Ok(RefusedKind { topic: row.get(0)?, reason: row.get(1)?, count: row.get(2)? })
                })?
                .collect()
        })
    }

    /// Hands out the events that wait, in order, until `each` has enough.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn events(&self, mut each: impl FnMut(KeptEvent) -> bool) -> Result<(), SpoolError> {
        self.query(|connection| {
            let mut statement = connection.prepare("SELECT id, payload FROM event ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if !each(KeptEvent { row: row.get(0)?, payload: row.get(1)? }) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Checks everything: SQLite's own full check, and whether what is kept agrees with itself. One moment of the spool is
    /// looked at, also while an agent writes. Returns what is wrong, at most [`PROBLEMS_MAX`].
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn verify(&self) -> Result<Vec<String>, SpoolError> {
        self.query(|connection| {
            let moment = connection.unchecked_transaction()?;
            let mut problems: Vec<String> = moment
                .prepare(&format!("PRAGMA integrity_check({PROBLEMS_MAX})"))?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            problems.retain(|said| said != "ok");
            let number = |sql: &str| moment.query_row(sql, [], |row| row.get::<_, i64>(0));
            for (what, said, found) in [
                (
                    "events that wait",
                    "SELECT ifnull((SELECT value FROM meta WHERE name = 'events'), 0)",
                    "SELECT count(*) FROM event",
                ),
                (
                    "bytes of events that wait",
                    "SELECT ifnull((SELECT value FROM meta WHERE name = 'event_bytes'), 0)",
                    "SELECT ifnull(sum(bytes), 0) FROM event",
                ),
            ] {
                let (said, found) = (number(said)?, number(found)?);
                if said != found {
                    problems.push(format!("{what}: {said} by the spool's account, {found} found"));
                }
            }
            let beyond = number(
                "SELECT count(*) FROM (SELECT device, max(seq) AS last FROM reading GROUP BY device) AS kept \
                 LEFT JOIN device USING (device) WHERE device.cursor IS NULL OR kept.last > device.cursor",
            )?;
            if beyond > 0 {
                problems.push(format!(
                    "{beyond} devices have readings beyond the last record that was acknowledged"
                ));
            }
            for (what, table) in [("readings", "reading"), ("minutes", "summary")] {
                let miscounted = number(&format!(
                    "SELECT count(*) FROM (SELECT device, count(*) AS found FROM {table} GROUP BY device) \
                     FULL JOIN kept USING (device) WHERE ifnull(found, 0) <> ifnull({what}, 0)"
                ))?;
                if miscounted > 0 {
                    problems.push(format!(
                        "{miscounted} devices have more or fewer {what} than by the spool's account"
                    ));
                }
            }
            let mut statement = moment.prepare("SELECT id, event_id, payload FROM event ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()?
                && problems.len() < PROBLEMS_MAX
            {
                let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
                let event: Option<serde_json::Value> =
                    serde_json::from_slice(row.get_ref(2)?.as_blob()?).ok();
                if event.is_none_or(|event| event["id"] != name.as_str()) {
                    problems.push(format!("row {id} of the table event does not hold the event {name}"));
                }
            }
            Ok(problems)
        })
    }
}

/// Whether something could not be read for want of a place to write to.
fn needs_to_write(error: &SpoolError) -> bool {
    let SpoolError::Sqlite { source, .. } = error else { return false };
    matches!(source.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Opens a spool that nobody has open, and that is all in its file.
fn connect_unchanging(path: &Path) -> Result<Connection, SpoolError> {
    let mut uri = "file:".to_owned();
    for byte in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    connect(Path::new(&uri), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Episodes that are open at the platform.
    OpenEpisodes,
    /// Devices that were ever heard.
    Devices,
}
