//! Whether the files of a spool at work are still there, and as long as SQLite left them.
//!
//! SQLite does not look: pages that it remembers, and a log's frames that it has an index of, need no file. So a gateway under which
//! somebody cuts off the end of the file or of its log, deletes one, or puts another in its place, would go on and acknowledge what
//! the next start does not find. [`super::Spool::commit`] looks before a transaction begins, again before it is written, and once more before it counts.
//! A look asks the file system for two names: the file is not opened, because closing it would drop SQLite's locks. The log has none, and is
//! read: which time it was begun, and where its frames belong.
//!
//! What has to be there: of the log all its frames; of the file all pages that are committed, when the log was written back whole, and else what was
//! there at the last look, as far as those pages go: they come into it with the log's being written back, and it gets shorter, then, when the
//! spool gave pages back. Another program may write the log back as well, or empty it; so what does not fit is held against what SQLite says
//! by then, before it counts. What another program wrote back has to be there from then on: SQLite writes it no second time. When a commit begins the log
//! anew, all that was in it was written back before, whoever did it.
//!
//! What is cut off in the very moment in which the log is written back, and grows again with that, is not seen; nor is what is cut off the log in
//! the moment in which more is written to it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::look::beside;

/// The header of a log, and that of each frame in it, in bytes (fileformat2, section 4.1).
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
/// How a log begins, but for the last bit.
const LOG_MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];
/// Where in its header a log says which time it was begun: a number that grows with each time, and two random ones.
const ROUND_AT: usize = 12;

/// What was found.
#[derive(Debug)]
pub(super) enum Harm {
    /// The end of the file is gone.
    FileCut(String),
    /// The end of its log is gone.
    LogCut(String),
    /// The file that is open lies here no more.
    FileTaken(String),
    /// Its log does.
    LogTaken(String),
}

/// Frames that are in the log, as SQLite says after each commit.
pub(super) type Frames = Arc<AtomicU32>;

/// The files of a spool that is open.
#[derive(Debug)]
pub(super) struct Files {
    file: Known,
    log: Known,
    page_bytes: u64,
    /// Pages that are committed.
    pages: i64,
    frames: Frames,
    /// Frames that were in the file when that was last seen.
    in_file: u32,
    round: Option<Begun>,
}

/// Which time the log was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// It has no header.
    Never,
    Round([u8; 12]),
}

#[derive(Debug)]
struct Known {
    path: PathBuf,
    /// Device and inode; [`None`] until there is one.
    id: Option<(u64, u64)>,
    /// It has to be so long.
    bytes_least: u64,
    /// To be read, if that may be.
    open: Option<File>,
}

/// How a file is found.
enum Look {
    Gone,
    Another,
    Here(u64),
    /// The file system does not say.
    Unknown,
}

impl Known {
    fn new(path: PathBuf) -> Self {
        let id = fs::metadata(&path).ok().map(|found| (found.dev(), found.ino()));
        Self { path, id, bytes_least: 0, open: None }
    }

    /// One that may be read.
    fn read(path: PathBuf) -> Self {
        let open = File::open(&path).ok();
        let id = open.as_ref().and_then(|file| file.metadata().ok()).map(|found| (found.dev(), found.ino()));
        Self { path, id, bytes_least: 0, open }
    }

    fn look(&self) -> Look {
        match fs::metadata(&self.path) {
            Ok(found) if self.id.is_some_and(|id| id != (found.dev(), found.ino())) => Look::Another,
            Ok(found) => Look::Here(found.len()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Look::Gone
            }
            Err(_) => Look::Unknown,
        }
    }

    /// Whether it is here, and long enough, as far as the file system says; else what is wrong with it.
    fn check(
        &self,
        taken: impl FnOnce(String) -> Harm,
        cut: impl FnOnce(String) -> Harm,
    ) -> Result<(), Harm> {
        let (path, least) = (self.path.display(), self.bytes_least);
        match self.look() {
            Look::Another => Err(taken(format!("another file was put in the place of {path}"))),
            Look::Gone if self.id.is_some() || least > 0 => Err(taken(format!("{path} was deleted"))),
            Look::Here(bytes) if bytes < least => {
                Err(cut(format!("the end of {path} was cut off: it has {bytes} bytes, and had {least}")))
            }
            Look::Here(_) | Look::Gone | Look::Unknown => Ok(()),
        }
    }
}

impl Files {
    /// Of a spool that was just opened. `frames` is told by its connection's hook.
    pub(super) fn open(path: &Path, connection: &Connection, frames: Frames) -> rusqlite::Result<Self> {
        // As SQLite does: the log lies beside the file that a link leads to.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let page_bytes = connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
        let log = Known::read(beside(&path, "-wal"));
        let file = Known::new(path);
        let mut files = Self {
            file,
            log,
            page_bytes: page_bytes.unsigned_abs(),
            pages: 0,
            frames,
            in_file: 0,
            round: None,
        };
        files.ask(connection)?;
        Ok(files)
    }

    /// Has SQLite say what has to be there.
    fn ask(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.pages = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let log = Log::of(connection)?;
        self.frames.store(log.frames, Ordering::Relaxed);
        (self.in_file, self.round) = (log.in_file, self.round_of_log());
        self.log.bytes_least = self.bytes_of_log();
        if log.is_in_file() {
            self.file.bytes_least = self.bytes(self.pages);
        } else if let Look::Here(bytes) = self.file.look() {
            let least = if self.file.bytes_least == 0 { bytes } else { self.file.bytes_least };
            self.file.bytes_least = least.min(self.bytes(self.pages));
        }
        Ok(())
    }

    /// Looks, between two transactions.
    pub(super) fn look(&mut self, connection: &Connection) -> rusqlite::Result<Result<(), Harm>> {
        let log = Log::of(connection)?;
        if log.frames == self.frames() && self.round_of_log() == self.round {
            self.written_back(&log);
            if self.still().is_ok() {
                return Ok(Ok(()));
            }
        }
        // Another program may have had a hand in it, by SQLite's means.
        self.ask(connection)?;
        Ok(self.still())
    }

    /// A transaction has begun, so nobody else may write, and so many pages are committed.
    pub(super) fn begun(&mut self, pages: i64) {
        self.pages = pages;
        self.file.bytes_least = self.file.bytes_least.min(self.bytes(pages));
        let round = self.round_of_log();
        if std::mem::replace(&mut self.round, round) != round {
            // Another program has emptied it since the look, or written. How long it is is known after the transaction.
            (self.in_file, self.log.bytes_least) = (0, 0);
        }
    }

    /// What was written back of the log has to be in the file.
    fn written_back(&mut self, log: &Log) {
        let new = self.in_file..log.in_file;
        self.in_file = log.in_file;
        if log.is_in_file() {
            self.file.bytes_least = self.bytes(self.pages);
        } else if !new.is_empty() {
            // Left out was what lay beyond the end of the database by then, which was as one of these commits left it.
            let commits = log.in_file.saturating_sub(1)..log.frames;
            let ends = commits.filter_map(|frame| self.frame(frame)).map(|frame| frame.pages);
            let least = ends.filter(|pages| *pages > 0).min().unwrap_or(0);
            // So was what is in the log once more behind it: SQLite writes back a page as it was last, or not at all.
            let behind = (log.in_file..log.frames).filter_map(|frame| self.frame(frame));
            let again: HashSet<u32> = behind.map(|frame| frame.page).collect();
            // A log that cannot be read is left to SQLite.
            let pages = new.filter_map(|frame| self.frame(frame)).map(|frame| frame.page);
            let last = pages.filter(|page| *page <= least && !again.contains(page)).max().unwrap_or(0);
            self.file.bytes_least = self.file.bytes_least.max(self.bytes(last.into()));
        }
    }

    /// Looks, in the midst of a transaction, when nobody else may write.
    pub(super) fn still(&self) -> Result<(), Harm> {
        self.file.check(Harm::FileTaken, Harm::FileCut)?;
        self.log.check(Harm::LogTaken, Harm::LogCut)?;
        // Emptied by somebody and filled up again, it is as long as before.
        match (self.round_of_log(), self.log.bytes_least) {
            (Some(Begun::Never), 1..) => {
                Err(Harm::LogCut(format!("the beginning of {} is gone", self.log.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Looks, after a transaction or after the log was written back, and takes note of how long the files have to be from here on: so
    /// many pages are committed.
    pub(super) fn note(&mut self, connection: &Connection, pages: i64) -> Result<(), Harm> {
        let log_before = self.log.bytes_least;
        let pages_before = std::mem::replace(&mut self.pages, pages);
        let both = self.bytes(pages.min(pages_before));
        self.log.bytes_least = self.bytes_of_log();
        self.file.bytes_least = self.file.bytes_least.min(self.bytes(pages));
        if self.log.id.is_none() {
            self.log = Known { bytes_least: self.log.bytes_least, ..Known::read(self.log.path.clone()) };
        }
        let round = self.round_of_log();
        let begun_anew =
            matches!((self.round, round), (Some(before), Some(now @ Begun::Round(_))) if before != now);
        self.round = round;
        if begun_anew {
            // Whatever was in it was written back before.
            self.in_file = 0;
            if log_before > 0 {
                self.file.bytes_least = self.file.bytes_least.max(both);
            }
        }
        // When SQLite does not say, there is less to hold it against.
        if let Ok(log) = Log::of(connection) {
            self.written_back(&log);
        }
        if self.still().is_err() {
            // Another program may have emptied the log since the transaction's end.
            let _ = self.ask(connection);
            self.still()?;
        }
        if let Look::Here(bytes) = self.file.look() {
            self.file.bytes_least = bytes.min(self.bytes(self.pages));
        }
        Ok(())
    }

    /// Frames in the log.
    pub(super) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether a part of the log was written back, which SQLite does not sync before it writes the rest.
    pub(super) fn is_in_part(&self) -> bool {
        self.in_file > 0 && self.in_file < self.frames()
    }

    /// Which time the log was begun; [`None`] when it cannot be read.
    fn round_of_log(&self) -> Option<Begun> {
        let mut header = [0; LOG_HEADER_BYTES as usize];
        match self.log.open.as_ref()?.read_exact_at(&mut header, 0) {
            Ok(()) if header[..3] == LOG_MAGIC[..3] && header[3] | 1 == LOG_MAGIC[3] | 1 => {
                Some(Begun::Round(std::array::from_fn(|index| header[ROUND_AT + index])))
            }
            Ok(()) => Some(Begun::Never),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Begun::Never),
            Err(_) => None,
        }
    }

    /// A frame's header, by its number from 0.
    fn frame(&self, number: u32) -> Option<Frame> {
        let at = LOG_HEADER_BYTES + u64::from(number) * (FRAME_HEADER_BYTES + self.page_bytes);
        let (mut page, mut pages) = ([0; 4], [0; 4]);
        (self.read_log(at, &mut page) && self.read_log(at + 4, &mut pages))
            .then(|| Frame { page: u32::from_be_bytes(page), pages: u32::from_be_bytes(pages) })
    }

    fn read_log(&self, at: u64, bytes: &mut [u8]) -> bool {
        self.log.open.as_ref().is_some_and(|log| log.read_exact_at(bytes, at).is_ok())
    }

    /// When only one of the two is the one that is open, the log does not belong to the file: moves it out of the way, or SQLite would
    /// write it into that.
    pub(super) fn part(&self) -> io::Result<()> {
        let is_ours = |known: &Known| matches!(known.look(), Look::Here(_)) && known.id.is_some();
        if is_ours(&self.file) == is_ours(&self.log) {
            return Ok(());
        }
        match fs::rename(&self.log.path, beside(&self.log.path, ".orphaned")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn bytes(&self, pages: i64) -> u64 {
        u64::try_from(pages).unwrap_or(0).saturating_mul(self.page_bytes)
    }

    fn bytes_of_log(&self) -> u64 {
        self.bytes_of_frames(self.frames())
    }

    fn bytes_of_frames(&self, frames: u32) -> u64 {
        match u64::from(frames) {
            0 => 0,
            frames => LOG_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + self.page_bytes),
        }
    }
}

/// What the header of a log's frame says.
struct Frame {
    /// Which page it holds.
    page: u32,
    /// When a commit ends with it, how many the database has from then on; else 0.
    pages: u32,
}

/// What SQLite says of the log, between two transactions.
struct Log {
    frames: u32,
    /// Of those, how many were written back into the file.
    in_file: u32,
}

impl Log {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| {
            let count = |column| row.get::<_, i64>(column).map(|count| u32::try_from(count).unwrap_or(0));
            Ok(Self { frames: count(1)?, in_file: count(2)? })
        })
    }

    const fn is_in_file(&self) -> bool {
        self.frames == self.in_file
    }
}

#[cfg(test)]
mod tests;
