//! What is done when the files of a spool at work are not as they were left ([`super::files`]), and the log's being written back, which
//! must not happen before somebody looked.

use rusqlite::config::DbConfig;

use super::files::Harm;
use super::{Adrift, Damage, Spool, SpoolError, WAL_PAGES, sqlite_error};

impl Spool {
    /// Writes the log back into the file when it is long. After a commit that counts, so that what was cut off of the file is seen before it
    /// grows over that.
    pub(super) fn write_log_back(&mut self, pages: i64) -> Result<(), SpoolError> {
        if self.files.frames() < WAL_PAGES {
            return Ok(());
        }
        let was_in_part = self.files.is_in_part();
        let mut written = self.have_log_written_back();
        if matches!(written, Err(SpoolError::Full { .. })) && self.reserve.spend() {
            written = self.have_log_written_back();
        }
        if let Err(harm) = self.files.note(&self.connection, pages) {
            return Err(self.harmed(harm));
        }
        self.log_written_back(written, was_in_part)
    }

    /// There was no room for a transaction. Gives up the reserve, for the log: it can be begun anew then.
    pub(super) fn make_room(&mut self) {
        if self.reserve.spend()
            && let Err(error) = self.have_log_written_back()
        {
            tracing::error!(%error, "the spool's log cannot be written back");
        }
    }

    fn have_log_written_back(&self) -> Result<(), SpoolError> {
        // What readers still read of the log stays until the next time.
        self.connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut statement| statement.query_row([], |_| Ok(())))
            .map_err(|source| sqlite_error(&self.path, source))
    }

    /// What follows from how that went.
    pub(super) fn log_written_back(
        &mut self,
        written: Result<(), SpoolError>,
        was_in_part: bool,
    ) -> Result<(), SpoolError> {
        let was_stuck = std::mem::replace(&mut self.is_log_stuck, written.is_err());
        match written {
            Err(error @ SpoolError::Damaged { .. }) => {
                self.tally.failed(&error);
                self.health.note(&error);
                return Err(error);
            }
            Err(error) if was_in_part && is_of_disk(&error) => {
                tracing::error!(%error, "the spool's log cannot be written back");
                // All of it has to be written once more, by whoever opens it next.
                self.close_without_writing_back();
                return Err(self.went_adrift(Adrift::WrittenBack));
            }
            Err(error) if !was_stuck => {
                tracing::error!(%error, "the spool's log cannot be written back, and grows until it can");
            }
            _ => {}
        }
        Ok(())
    }

    /// The files are not as they were left: nothing counts from here on, and the gateway begins anew.
    pub(super) fn harmed(&mut self, harm: Harm) -> SpoolError {
        let damage = match harm {
            Harm::FileCut(what) => Damage::Inside(what),
            Harm::LogCut(what) => {
                // Written back, what is not there any more would take the place of what is in the file.
                self.close_without_writing_back();
                Damage::Inside(what)
            }
            Harm::FileTaken(what) => {
                self.close_without_writing_back();
                self.leave_files();
                Damage::TakenAway(what)
            }
            Harm::LogTaken(what) => {
                // This end still has it.
                let all = self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()));
                if let Err(error) = all {
                    tracing::error!(%error, "what was in the spool's log cannot be written back");
                }
                self.leave_files();
                Damage::TakenAway(what)
            }
        };
        let error = damage.into_error(&self.path);
        self.tally.failed(&error);
        self.health.note(&error);
        error
    }

    /// Sees to it that the next start opens what is at the path, and knows how far this one was.
    fn leave_files(&mut self) {
        if let Err(error) = self.files.part() {
            tracing::error!(%error, "the spool's log cannot be moved out of the way of another spool");
        }
        if let Some(mark) = &self.mark {
            self.make_mark(mark.progress());
        }
    }

    /// Nothing counts from here on, until the spool is opened anew.
    pub(super) fn went_adrift(&mut self, what: Adrift) -> SpoolError {
        self.adrift = Some(what);
        let error = SpoolError::Adrift { path: self.path.clone(), what };
        self.tally.failed(&error);
        error
    }

    fn close_without_writing_back(&self) {
        if let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::error!(%error, "the spool's log may be written back when it is closed");
        }
    }
}

/// Whether what was written did not reach the disk.
fn is_of_disk(error: &SpoolError) -> bool {
    let SpoolError::Sqlite { source, .. } = error else { return false };
    source.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC)
}
