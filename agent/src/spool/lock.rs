//! The file beside a spool, `<file>.lock`: one process at a time, by a lock that the kernel releases when the process dies. And the place
//! where it is tried whether the file system still takes writes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::look::beside;

/// The lock of a spool, as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

/// Where the lock of a spool is: beside the file that a link leads to, so that two names of one spool have one lock.
pub(super) fn file_of(path: &Path) -> PathBuf {
    beside(&fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), ".lock")
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Another process has it, or the file cannot be used.
    pub(super) fn take(path: &Path) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Io { path: path.to_owned(), source };
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(file_of(path))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever comes second. The lock does not depend on it, so a full disk is no reason to fail.
                let _ = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| write!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                if holder.is_empty() {
                    "unknown".clone_into(&mut holder);
                }
                Err(SpoolError::InUse { path: path.to_owned(), holder })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether the file system still takes writes, asked after it said that something is on the disk. When it finds an error it stops
    /// writing, and Linux' ext4 then answers an fsync that was under way with success, though what was to be synced is gone after a
    /// check of the disk. As long as it takes writes afterwards, it did so when it was asked.
    pub(super) fn takes_writes(&self) -> bool {
        // The first digit of the process's number, as it stands there.
        let digit = std::process::id().to_string().as_bytes().first().copied().unwrap_or(b'0');
        match self.0.write_all_at(&[digit], 0) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => false,
            Err(error) => error.raw_os_error() != Some(rustix::io::Errno::IO.raw_os_error()),
            Ok(()) => true,
        }
    }
}
