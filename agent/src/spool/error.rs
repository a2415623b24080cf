//! What can go wrong with the spool, and the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error(
        "the spool {path} is in use by another agent (process {holder}); stop that one first, or give this one a spool of its own",
        path = path.display()
    )]
    InUse {
        /// The database file.
        path: PathBuf,
        /// The other process's id, as it wrote it down.
        holder: String,
    },
    /// The folder or the lock file cannot be used.
    #[error("cannot open the spool {path}: {source}; the folder must exist and be writable for the agent's user", path = path.display())]
    Io {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a sound database.
    #[error(
        "the spool {path} is damaged: {what}. Nothing was changed in it. Move it and what lies beside it, {path}-wal and {path}-shm, into \
         another folder, and start again with a new spool: devices send again what they were not acknowledged. Events that \
         had not been sent yet are in what you moved, so keep it",
        path = path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// Its files were deleted or replaced while they were in use.
    #[error("the spool {path} is not the one that is in use any more: {what}. The agent begins anew with what is there", path = path.display())]
    TakenAway {
        /// The database file.
        path: PathBuf,
        /// What became of which file.
        what: String,
    },
    /// Written by a later version of the agent.
    #[error("the spool {path} was written by a newer version of gridpost (schema {found}); use that version", path = path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
    },
    /// A database, but not a spool.
    #[error("{path} is a database of another program; correct the path of the spool", path = path.display())]
    NotASpool {
        /// The file.
        path: PathBuf,
    },
    /// What is named can never be a spool; nothing was changed.
    #[error("{path} {what}", path = path.display())]
    Unusable {
        /// What is named.
        path: PathBuf,
        /// Why not, and the way out.
        what: String,
    },
    /// No room: nothing of the transaction happened, and it may be tried again.
    #[error(
        "there is no room for the spool {path}: free space on that disk. Until then devices keep their records",
        path = path.display()
    )]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The file system failed: what it said of what was written may not be so. Nothing is committed until the spool is opened anew.
    #[error(
        "the file system of the spool {path} {what}. Stop the agent, have the disk checked (fsck), mount it \
         again, and start the agent; until then devices keep their records",
        path = path.display()
    )]
    Adrift {
        /// The database file.
        path: PathBuf,
        /// What happened.
        what: Adrift,
    },
    /// The numbers for starts have run out, which takes a clock that was wrong by a lifetime.
    #[error(
        "the spool {path} has no number left for this start: move it away, and give the devices new keys",
        path = path.display()
    )]
    StartsUsedUp {
        /// The database file.
        path: PathBuf,
    },
    /// SQLite failed: a read-only disk, mostly. What was committed before stays.
    #[error("the spool {path} failed: {source}", path = path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// How a file system failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adrift {
    /// It takes no more writes.
    NoWrites,
    /// It failed when a log was written back of which a part had been written before, and not synced. Whoever asks once more is told that all
    /// is well, and what was lost of that part is written no second time.
    WrittenBack,
}

impl fmt::Display for Adrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWrites => "found an error and takes no more writes",
            Self::WrittenBack => {
                "failed while the spool's log was written back; at its next start the agent writes all of it once more"
            }
        })
    }
}
