//! The spool's tables.
//!
//! ```text
//! meta        name -> value          start counter, evicted events, schema's own user_version beside it
//! device      one row a device       what is durable of it: cursor, newest frame, where a replay begins, newest time
//! clock       (device, boot)         offset of uptime in that boot
//! reading     id, device, seq, ...   recent readings: what the engine's windows are rebuilt from, and evidence
//! rule_state  (device, rule)         where each rule of each device stands, as postcard
//! event       id, topic, payload     what the platform has not acknowledged yet, in order; ids are never reused
//! refused     as event, and why      what the broker refused for good: kept for a person to look at
//! ```

use rusqlite::Connection;

/// The version of the schema that this code writes.
const VERSION: i64 = 1;

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
    event_id TEXT NOT NULL,
    topic    TEXT NOT NULL,
    payload  BLOB NOT NULL
) STRICT;
CREATE TABLE refused (
    id       INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    topic    TEXT NOT NULL,
    payload  BLOB NOT NULL,
    reason   TEXT NOT NULL
) STRICT;
";

/// Brings an empty or older database to this version. Returns the version it found when that is newer than this code.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), i64>> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(CREATE)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(Ok(()))
        }
        VERSION => Ok(Ok(())),
        newer => Ok(Err(newer)),
    }
}
