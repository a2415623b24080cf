//! The spool's tables.
//!
//! ```text
//! meta        name -> value          start counter and totals; the schema's version is the file's user_version
//! device      one row a device       what is durable of it: cursor, newest frame, where a replay begins, newest time
//! clock       (device, boot)         offset of uptime in that boot
//! reading     id, device, seq, ...   recent readings: what the engine's windows are rebuilt from, and evidence
//! kept        one row a device       how many readings of it there are, since version 7; and minutes, since version 9
//! hour        one row an hour        where it begins in `reading`, since version 7, and in `summary`, since version 9
//! hourly      one row a device       the hour that is on, since version 8
//! rule_state  (device, rule)         where each rule of each device stands, as postcard
//! episode     (device, rule)         the last event of each episode that is open at the platform, since version 2
//! summary     device, at, quantity   minutes of devices that decide themselves, since version 3
//! calibration device               the last accepted calibration of each device, since version 4
//! casefile    one row a case         what the platform made of it, since version 6
//! case_tally  one row a rule         sums of cases that are too old to be kept, since version 6
//! event       id, topic, payload, ...  what the platform has not acknowledged yet, in order; ids are never reused.
//!                                    `severity` is the event's rank, since version 5
//! refused     as event, and why      what the broker refused for good: kept for a person to look at
//! ```

use rusqlite::Connection;

use super::verify;

/// The version of the schema that this code writes.
pub(super) const VERSION: i64 = 9;

/// Says that the file is a spool (`PRAGMA application_id`): "GPsp".
pub(super) const APPLICATION_ID: i32 = 0x4750_7370;

const CREATE: &str = "
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device (
    device      INTEGER PRIMARY KEY,
    cursor      INTEGER NOT NULL,
    boot        INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    replay_from INTEGER NOT NULL,
    newest_ms   INTEGER NOT NULL,
    pack        TEXT NOT NULL
) STRICT;
CREATE TABLE clock (
    device    INTEGER NOT NULL,
    boot      INTEGER NOT NULL,
    offset_ms INTEGER NOT NULL,
    PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;
CREATE TABLE reading (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    device        INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    clock_quality INTEGER NOT NULL,
    quantity      INTEGER NOT NULL,
    value         INTEGER NOT NULL,
    quality       INTEGER NOT NULL
) STRICT;
CREATE INDEX reading_by_device ON reading (device, id);
CREATE TABLE rule_state (
    device INTEGER NOT NULL,
    rule   TEXT NOT NULL,
    state  BLOB NOT NULL,
    PRIMARY KEY (device, rule)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    severity INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    topic    TEXT NOT NULL,
    payload  BLOB NOT NULL
) STRICT;
CREATE INDEX event_by_severity ON event (severity, id);
CREATE TABLE refused (
    id       INTEGER PRIMARY KEY,
    severity INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    topic    TEXT NOT NULL,
    payload  BLOB NOT NULL,
    reason   TEXT NOT NULL
) STRICT;
";

/// What version 2 has and version 1 has not.
const EPISODES: &str = "
CREATE TABLE episode (
    device  INTEGER NOT NULL,
    rule    TEXT NOT NULL,
    topic   TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (device, rule)
) STRICT, WITHOUT ROWID;
";

/// What version 3 has and version 2 has not.
const SUMMARIES: &str = "
CREATE TABLE summary (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    device    INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    quantity  INTEGER NOT NULL,
    statistic TEXT NOT NULL,
    readings  INTEGER NOT NULL,
    quality   INTEGER NOT NULL,
    value     INTEGER NOT NULL
) STRICT;
CREATE INDEX summary_by_device ON summary (device, at_ms);
";

/// What version 4 has and version 3 has not.
const CALIBRATIONS: &str = "
CREATE TABLE calibration (
    device         INTEGER PRIMARY KEY,
    at_ms          INTEGER NOT NULL,
    drift          INTEGER NOT NULL,
    full_scale_upa INTEGER NOT NULL
) STRICT;
";

/// What version 5 has instead of the severities of earlier ones, of which 255 stood for what is said only once. Which phase an event has
/// they did not say, so none of them goes before a fresh `exceeded` of the lowest severity.
const RANKS: &str = "
UPDATE event SET severity = CASE severity WHEN 255 THEN 60 ELSE 50 + min(severity, 9) END;
UPDATE refused SET severity = CASE severity WHEN 255 THEN 60 ELSE 50 + min(severity, 9) END;
";

/// What version 6 has and version 5 has not.
const CASES: &str = "
CREATE TABLE casefile (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id         TEXT NOT NULL UNIQUE,
    device          INTEGER,
    rule            TEXT NOT NULL,
    department      TEXT NOT NULL,
    episode         TEXT NOT NULL,
    episodes        INTEGER NOT NULL,
    previous        TEXT,
    state           TEXT NOT NULL,
    state_ms        INTEGER NOT NULL,
    until_ms        INTEGER NOT NULL,
    number          TEXT,
    reclassified_ms INTEGER,
    reclassified    TEXT,
    rejected        INTEGER NOT NULL
) STRICT;
CREATE INDEX casefile_by_rule ON casefile (device, rule, id);
CREATE INDEX casefile_by_episode ON casefile (episode);
CREATE TABLE case_tally (
    rule         TEXT PRIMARY KEY,
    raised       INTEGER NOT NULL,
    continued    INTEGER NOT NULL,
    answered     INTEGER NOT NULL,
    closed       INTEGER NOT NULL,
    rejected     INTEGER NOT NULL,
    reclassified INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What version 7 has and version 6 has not. When the readings of earlier versions came nobody knows: they count as of the hour of the
/// first that comes now.
const KEPT: &str = "
CREATE TABLE kept (
    device   INTEGER PRIMARY KEY,
    readings INTEGER NOT NULL
) STRICT;
INSERT INTO kept SELECT device, count(*) FROM reading GROUP BY device;
CREATE TABLE hour (
    reading INTEGER PRIMARY KEY,
    hour    INTEGER NOT NULL
) STRICT;
";

/// What version 8 has and version 7 has not.
const HOURLY: &str = "
CREATE TABLE hourly (
    device  INTEGER PRIMARY KEY,
    from_ms INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    reading INTEGER NOT NULL,
    summary INTEGER NOT NULL
) STRICT;
";

/// What version 9 has and version 8 has not: minutes are kept as readings are. Marks of hours go on with the numbers of readings that they
/// were known by. When the minutes of earlier versions came nobody knows: they count as of the hour in which the next thing comes.
const MINUTES_KEPT: &str = "
DROP INDEX summary_by_device;
CREATE INDEX summary_of_device ON summary (device, id);
ALTER TABLE kept ADD COLUMN minutes INTEGER NOT NULL DEFAULT 0;
INSERT INTO kept (device, readings, minutes) SELECT device, 0, count(*) FROM summary WHERE true GROUP BY device
    ON CONFLICT (device) DO UPDATE SET minutes = excluded.minutes;
ALTER TABLE hour RENAME TO hour_of_readings;
CREATE TABLE hour (
    mark    INTEGER PRIMARY KEY,
    hour    INTEGER NOT NULL,
    reading INTEGER NOT NULL,
    summary INTEGER NOT NULL
) STRICT;
INSERT INTO hour SELECT reading, hour, reading, 0 FROM hour_of_readings;
DROP TABLE hour_of_readings;
UPDATE meta SET name = 'aged_to' WHERE name = 'readings_aged_to';
UPDATE meta SET name = 'aged_to_silent' WHERE name = 'readings_aged_to_silent';
";

/// What a file turns out to be.
pub(super) enum Found {
    /// Nothing yet.
    New,
    /// A spool that this version can use, and whether all of it was read and is sound.
    Spool {
        /// Whether all of it was read.
        all_read: bool,
    },
    /// A spool of this later version.
    Newer(i64),
    /// A database, but no spool.
    Foreign,
    /// A spool that is not sound any more.
    Damaged(String),
}

/// Looks at a file without changing it: at every page of a small spool, and at those of a larger one on which a start depends.
pub(super) fn inspect(connection: &Connection) -> rusqlite::Result<Found> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        return Ok(Found::New);
    }
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION_ID {
        // Killed between the file's first page and its tables.
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let unfinished = application == 0 && version == 0 && tables == 0;
        return Ok(if unfinished { Found::New } else { Found::Foreign });
    }
    if version > VERSION {
        return Ok(Found::Newer(version));
    }
    connection.pragma_update(None, "cell_size_check", true)?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let all_read = pages.saturating_mul(page_bytes) <= verify::CHECKED_AT_ONCE_BYTES;
    let damage = if all_read {
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        (said != "ok").then_some(said)
    } else {
        verify::ends(connection)?
    };
    Ok(damage.map_or(Found::Spool { all_read }, Found::Damaged))
}

/// What each version has and the one before has not.
const STEPS: [&str; VERSION as usize] =
    [CREATE, EPISODES, SUMMARIES, CALIBRATIONS, RANKS, CASES, KEPT, HOURLY, MINUTES_KEPT];

/// Brings an empty database, or one of an earlier version, to this version.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    bring_to(VERSION, connection)
}

/// Brings a database to a version that it has not reached yet.
pub(super) fn bring_to(version: i64, connection: &mut Connection) -> rusqlite::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < version {
        let transaction = connection.transaction()?;
        for (step, reached) in STEPS.iter().zip(1..=version).filter(|(_, reached)| *reached > found) {
            transaction.execute_batch(step)?;
            if reached == 1 {
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            }
        }
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
