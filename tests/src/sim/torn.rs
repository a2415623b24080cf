//! The power fails in the middle of a commit: what had been synced before is on the disk, and of what was being written any sectors.
//!
//! SQLite with WAL and `synchronous=FULL` writes a transaction to the end of the log and syncs that; pages go from the log into
//! the database only after that, and the log begins anew only after the database was synced. So of the log any sectors of what is new
//! may be there, with the database as it was; or the log is there whole, and of the database any sectors of what changed. A log that
//! begins anew gets its header first, with other salts, which is synced before anything else of it is written: what is left of the log of
//! before does not count from then on (<https://sqlite.org/src/info/ff5be73dee>).

use fastrand::Rng;

/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;
/// A log's header (SQLite's file format, section 4.1).
const LOG_HEADER_BYTES: usize = 32;

/// The spool's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) database: Vec<u8>,
    pub(super) log: Vec<u8>,
    /// Written after what it says is durable, and perhaps not on the disk for a while.
    pub(super) mark: Vec<u8>,
}

/// What the disk holds when the power fails somewhere between these two states.
pub(super) fn between(before: &Files, after: &Files, rng: &mut Rng) -> Files {
    let mark = before.mark.clone();
    if before.database == after.database {
        let log = torn_log(&before.log, &after.log, rng);
        Files { database: before.database.clone(), log, mark }
    } else {
        let database = torn(&before.database, &after.database, rng);
        Files { database, log: after.log.clone(), mark }
    }
}

fn torn_log(before: &[u8], after: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (Some(old), Some(new)) = (before.get(..LOG_HEADER_BYTES), after.get(..LOG_HEADER_BYTES)) else {
        return torn(before, after, rng);
    };
    if old == new {
        return torn(before, after, rng);
    }
    if rng.u8(..4) == 0 {
        return before.to_vec();
    }
    let mut mixed = torn(before, after, rng);
    mixed[..LOG_HEADER_BYTES].copy_from_slice(new);
    mixed
}

/// Some sectors new, the others old; what is new at the end may be missing, or be zeros.
fn torn(before: &[u8], after: &[u8], rng: &mut Rng) -> Vec<u8> {
    let length = rng.usize(before.len().min(after.len())..=before.len().max(after.len()));
    let mut mixed = vec![0; length];
    // Mostly in order, as disks write; sometimes in any.
    let in_order = rng.bool().then(|| rng.usize(..=length));
    for at in (0..length).step_by(SECTOR_BYTES) {
        let new = in_order.map_or_else(|| rng.bool(), |reached| at + SECTOR_BYTES <= reached);
        let from = if new { after } else { before };
        let end = (at + SECTOR_BYTES).min(length).min(from.len());
        if at < end {
            mixed[at..end].copy_from_slice(&from[at..end]);
        }
    }
    mixed
}
