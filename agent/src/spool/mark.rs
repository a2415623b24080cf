//! Whether the spool that is found is the one that was left: a small file beside it, `<file>.mark`, remembers how far it was.
//!
//! A spool that was deleted, whose write-ahead log was deleted, or in whose place an older copy was put is sound: SQLite finds nothing. But
//! its newest rows are less than the mark says. The mark is written after each commit that took something, without waiting for the
//! disk, so it costs no time. It never says more than what was durable before: killed or without power at any moment, it is behind or level,
//! and a spool that is level or ahead says nothing. So there is no false alarm; after a power cut in the last seconds
//! there may be none where there should be one. The number of a start waits for the disk, in spool and mark, before it is used: it is in
//! nonces, and no damage to one of them brings it back.
//!
//! A spool has a `generation`, a random number; a mark belongs to one. When a loss is told, the transaction that holds its event
//! gives the spool a new generation and notes which one it `follows`: killed before the mark is made anew, it is not told twice. A damaged spool
//! that is set aside ([`super::salvage`]) is followed in the same way.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::look::beside;
use super::salvage::rename_durably;
use super::{Spool, SpoolError, Transaction};
use crate::event::Event;

/// How such a file begins.
const TITLE: &str = "gridpost spool 1";
/// A mark is no longer than this, in bytes.
const BYTES_MAX: u64 = 256;

/// How far a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which spool; 0 for one that has no number yet.
    pub generation: i64,
    /// The number of the gateway's last start.
    pub start: i64,
    /// The newest reading's row, ever.
    pub reading: i64,
    /// The newest event's row, ever.
    pub event: i64,
    /// The newest row of minutes, ever; 0 in marks of earlier versions, which do not say it.
    pub minute: i64,
}

impl Progress {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let meta = |name: &str| number(connection, "SELECT value FROM meta WHERE name = ?1", name);
        let newest =
            |table: &str| number(connection, "SELECT seq FROM sqlite_sequence WHERE name = ?1", table);
        Ok(Self {
            generation: meta("generation")?.unwrap_or(0),
            start: meta("start")?.unwrap_or(0),
            reading: newest("reading")?.unwrap_or(0),
            event: newest("event")?.unwrap_or(0),
            minute: newest("summary")?.unwrap_or(0),
        })
    }

    fn is_behind(self, mark: Self) -> bool {
        self.start < mark.start
            || self.reading < mark.reading
            || self.event < mark.event
            || self.minute < mark.minute
    }

    const fn is_empty(self) -> bool {
        self.reading == 0 && self.event == 0 && self.minute == 0
    }

    /// A mark's text: twice the same line, so that half of it is none.
    #[must_use]
    pub fn text(self) -> String {
        let Self { generation, start, reading, event, minute } = self;
        let line = format!("{TITLE} {generation:020} {start:020} {reading:020} {event:020} {minute:020}\n");
        format!("{line}{line}")
    }

    /// Reads a mark; [`None`] of what is none, or half of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (line, again) = text.split_at_checked(text.len() / 2)?;
        let mut numbers = line.strip_prefix(TITLE)?.split_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next();
        let found = Self {
            generation: next()??,
            start: next()??,
            reading: next()??,
            event: next()??,
            minute: next().unwrap_or(Some(0))?,
        };
        (line == again && found.generation != 0).then_some(found)
    }
}

fn number(connection: &Connection, sql: &str, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()
}

/// The newest rows that a transaction added; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newest {
    pub(super) reading: i64,
    pub(super) event: i64,
    pub(super) minute: i64,
}

/// What is missing, by the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) what: String,
    mark: Progress,
}

/// The file beside a spool that is open.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    written: Progress,
}

impl Mark {
    /// What the mark beside this spool says; [`None`] without one that can be read.
    pub(super) fn read(path: &Path) -> Option<Progress> {
        let mut text = String::new();
        File::open(beside(path, ".mark")).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Progress::parse(&text)
    }

    /// Makes the mark anew, durably.
    fn make(path: &Path, progress: Progress) -> io::Result<Self> {
        let (mark, new) = (beside(path, ".mark"), beside(path, ".mark.new"));
        let mut file = File::create(&new)?;
        file.write_all(progress.text().as_bytes())?;
        file.sync_all()?;
        rename_durably(&new, &mark)?;
        Ok(Self { file, written: progress })
    }

    /// How far the spool was at the last commit that counted.
    pub(super) const fn progress(&self) -> Progress {
        self.written
    }

    /// The number of the last start, as far as the mark knows.
    pub(super) const fn start(&self) -> i64 {
        self.written.start
    }

    /// Notes how far the spool is durably now. Without waiting for the disk, and if it cannot be written it stays behind, which is no harm.
    pub(super) fn note(&mut self, newest: Newest) {
        let now = Progress {
            reading: newest.reading.max(self.written.reading),
            event: newest.event.max(self.written.event),
            minute: newest.minute.max(self.written.minute),
            ..self.written
        };
        // Always as long as before.
        if now != self.written && self.file.write_all_at(now.text().as_bytes(), 0).is_ok() {
            self.written = now;
        }
    }
}

impl Spool {
    /// What is missing of the spool that was left here; [`None`] when nothing is, or nobody can tell.
    pub(super) fn missing(&self) -> Result<Option<Missing>, SpoolError> {
        let Some(mark) = Mark::read(&self.path) else { return Ok(None) };
        let (here, follows) = self.query(|connection| {
            let follows = number(connection, "SELECT value FROM meta WHERE name = ?1", "follows")?;
            Ok((Progress::load(connection)?, follows))
        })?;
        let is_level = here.generation == mark.generation && !here.is_behind(mark);
        if is_level || mark.is_empty() || follows == Some(mark.generation) {
            return Ok(None);
        }
        let taken = |Progress { reading, event, minute, .. }| {
            format!("taken {reading} readings and {minute} values of minutes and made {event} events")
        };
        let had = format!("by its mark it had {}", taken(mark));
        let what = if here.is_empty() {
            format!("the spool that was here is gone: {had}; this one is empty")
        } else {
            format!(
                "the spool is not as it was left: {had}, and this one has {}. Its write-ahead log was deleted, or another copy was put in its place",
                taken(here)
            )
        };
        Ok(Some(Missing { what, mark }))
    }

    /// Makes it durable that something is missing, with the event that tells it.
    pub(super) fn tell_missing(
        &mut self,
        missing: &Missing,
        report: Option<&Event>,
    ) -> Result<(), SpoolError> {
        self.commit(|transaction| {
            transaction.begin_generation(Some(missing.mark))?;
            report.map_or(Ok(()), |event| transaction.add_event(event).map(drop))
        })
    }

    /// From here on the mark follows this spool.
    pub(super) fn keep_mark(&mut self) -> Result<(), SpoolError> {
        let mut here = self.query(Progress::load)?;
        if here.generation == 0 {
            self.commit(|transaction| transaction.begin_generation(None))?;
            here = self.query(Progress::load)?;
        }
        // A spool that had taken nothing may have lost the number of its last start, and nothing else.
        let marked = Mark::read(&self.path).map_or(0, |mark| mark.start);
        here.start = here.start.max(marked);
        self.make_mark(here);
        Ok(())
    }

    /// Notes the number of this start before it is used, durably.
    pub(super) fn mark_start(&mut self, start: i64) {
        if let Some(mark) = &self.mark {
            self.make_mark(Progress { start, ..mark.written });
        }
    }

    pub(super) fn make_mark(&mut self, progress: Progress) {
        match Mark::make(&self.path, progress) {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => {
                let _ = fs::remove_file(beside(&self.path, ".mark.new"));
                tracing::warn!(%error, "the spool's mark cannot be written; a spool that somebody deletes is not noticed");
            }
        }
    }
}

impl Transaction<'_> {
    /// The spool is another one from here on than that of the mark.
    pub(super) fn begin_generation(&self, mark: Option<Progress>) -> rusqlite::Result<()> {
        self.set_meta("generation", fastrand::i64(1..))?;
        if let Some(mark) = mark {
            self.set_meta("follows", mark.generation)?;
            // Numbers of starts are in nonces.
            let last = self.meta("start")?.unwrap_or(0);
            self.set_meta("start", last.max(mark.start))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
