//! Room on the disk that is kept for letting go: `<file>.reserve`.
//!
//! To let events go that the platform has, SQLite writes to its log first, and a full log has to be written back into the file, which grows by
//! that. On a disk that the spool itself filled up there would be no room for either, and it stayed full for ever, though everything in it
//! was with the platform. So when there is no room any more the reserve is given up: the log is written back into that room, and from
//! then on only what makes the spool smaller is committed, until there is room for the reserve again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::look::beside;

/// How large it is, in bytes: what a log has when it is written back, with the largest transaction behind it.
pub(super) const RESERVE_BYTES: u64 = 8 << 20;
/// The events of the gateway's own (what it gave up, who is silent) that it may add while there is no reserve, in bytes.
const SAID_BYTES_MAX: i64 = 256 << 10;

/// The file beside a spool.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    path: PathBuf,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// There can be none here.
    #[default]
    Never,
    Kept,
    /// Given up; so much was added since.
    Spent(i64),
}

impl Reserve {
    /// Makes it, if there is room.
    pub(super) fn keep(spool: &Path) -> Self {
        let mut reserve = Self { path: beside(spool, ".reserve"), state: State::Spent(0) };
        reserve.renew();
        reserve
    }

    /// Makes it anew after it was given up, if there is room.
    pub(super) fn renew(&mut self) {
        let State::Spent(added) = self.state else { return };
        self.state = match make(&self.path) {
            Ok(()) => State::Kept,
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                let is_full =
                    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if is_full { State::Spent(added) } else { State::Never }
            }
        };
    }

    /// Gives it up; false when there is none.
    pub(super) fn spend(&mut self) -> bool {
        if self.state != State::Kept {
            return false;
        }
        tracing::warn!(
            reserve = %self.path.display(),
            "there is no room: the reserve is given up, and only what makes the spool smaller is committed until there is"
        );
        self.state = State::Spent(0);
        fs::remove_file(&self.path).is_ok()
    }

    /// Whether it was given up.
    pub(super) const fn is_spent(&self) -> bool {
        matches!(self.state, State::Spent(_))
    }

    /// Whether a transaction may be committed now that takes readings or minutes (`evidence`), and makes what waits larger by so many bytes.
    pub(super) const fn allows(&self, evidence: bool, bytes: i64) -> bool {
        match self.state {
            State::Spent(added) => !evidence && (bytes <= 0 || added + bytes <= SAID_BYTES_MAX),
            State::Never | State::Kept => true,
        }
    }

    /// It was.
    pub(super) fn committed(&mut self, bytes: i64) {
        if let State::Spent(added) = &mut self.state {
            *added += bytes.max(0);
        }
    }
}

fn make(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Err(Errno::NOTSUP | Errno::NOSYS) => fill(file),
        made => Ok(made?),
    }
}

/// Where room cannot be had without writing, with what cannot be made smaller.
fn fill(mut file: File) -> io::Result<()> {
    if file.metadata()?.len() >= RESERVE_BYTES {
        return Ok(());
    }
    let mut bytes = vec![0; 1 << 16];
    for _ in 0..RESERVE_BYTES / bytes.len() as u64 {
        fastrand::fill(&mut bytes);
        file.write_all(&bytes)?;
    }
    file.sync_all()
}
