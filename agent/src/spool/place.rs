//! A folder with a spool's files in it, for tests of what becomes of them.

use std::path::PathBuf;

use tempfile::TempDir;

pub(super) struct Place(pub(super) TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The database, or what lies beside it.
    pub(super) fn file(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("spool.db{suffix}"))
    }
}
