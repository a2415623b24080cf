//! What a gateway has durably received, read from its spool while it runs.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rusqlite::{Connection, OpenFlags};

/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The sequence numbers of all readings in the spool, in the order in which they were committed.
///
/// # Errors
/// The spool cannot be read.
pub fn sequence_numbers(spool: &Path) -> Result<Vec<u64>> {
    let connection = Connection::open_with_flags(spool, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    let mut statement = connection.prepare("SELECT seq FROM reading ORDER BY id")?;
    let numbers = statement.query_map([], |row| row.get::<_, i64>(0))?;
    numbers.map(|number| Ok(number?.cast_unsigned())).collect()
}

/// Waits until the spool holds the reading with this number.
///
/// # Errors
/// It does not come within `patience`.
pub fn wait_for_record(spool: &Path, seq: u64, patience: Duration) -> Result<Vec<u64>> {
    let deadline = Instant::now() + patience;
    loop {
        let numbers = sequence_numbers(spool)?;
        if numbers.last().is_some_and(|last| *last >= seq) {
            return Ok(numbers);
        }
        if Instant::now() >= deadline {
            bail!("record {seq} did not arrive in {patience:?}; the last that did is {:?}", numbers.last());
        }
        thread::sleep(LOOK_EVERY);
    }
}
