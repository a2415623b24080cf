//! The gateway's durable store: one SQLite file. What it promises:
//!
//! 1. What [`Spool::commit`] returned `Ok` for survives `kill -9` and a power cut (WAL, `synchronous=FULL`: the WAL is synced at every commit).
//!    This relies on the disk doing what fsync asks for.
//! 2. A transaction is there whole or not at all: readings, rules' states, events and the device's cursor never disagree.
//! 3. An event leaves only by [`Transaction::release_events`], [`Transaction::refuse_event`], or counted when the outbox is over its bound;
//!    row ids are never reused, also when the table runs empty (`AUTOINCREMENT`).
//! 4. One process at a time: a lock on `<file>.lock`, beside the file that a link leads to, that the kernel releases when the process dies.
//!
//! Bounds: readings and minutes by age and number (`kept.rs`; they are evidence and windows, not unsent events); [`EVENT_BYTES_MAX`] an event (a larger one is set aside at once); [`SpoolLimits`] for the outbox (of the events of the lowest
//! [`rank`] the oldest go first, in the transaction that goes over the bound, counted in [`Totals::events_evicted`]) and for
//! the file; [`REFUSED_MAX`] events set aside (of those the same go first, counted in [`Totals::refused_dropped`]). A full disk
//! or file fails the commit with [`SpoolError::Full`]: devices keep their records and send them again; for letting go there is room (`reserve.rs`). Pages that deletions leave
//! free are given back to the disk beyond [`FREE_PAGES_KEPT`], some in each transaction.
//!
//! One thread writes ([`Spool`]); the uplink reads on a connection of its own ([`OutboxReader`]), and so does the [`Verifier`] after the start.
//! Damage that one of them finds is told to [`Health`], and the gateway begins anew with what can be read ([`Spool::open_or_salvage`]). That the
//! files are cut off, deleted or replaced at work SQLite does not find: each commit looks (`files.rs`).

mod behind;
mod beside;
mod calibrations;
mod cases;
mod episodes;
mod error;
mod events;
mod evidence;
mod excerpt;
mod files;
mod harmed;
mod health;
mod hourly;
mod kept;
mod lock;
mod look;
mod mark;
mod outbox;
mod reader;
mod reserve;
mod salvage;
mod schema;
mod stored;
mod tally;
mod transaction;
mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::time::UnixMillis;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, TransactionBehavior};

use crate::event::rank;
pub use behind::BEHIND_MAX;
pub use beside::{KeptEvent, PROBLEMS_MAX, RefusedKind, Table};
pub use calibrations::LastCalibration;
pub use cases::{RuleTally, tallies};
pub use episodes::OpenEpisode;
pub use error::{Adrift, SpoolError};
pub use evidence::statistic_name;
pub use excerpt::{KeptMinute, KeptReading, Wanted};
use files::{Files, Frames};
pub use health::{Damage, Health};
pub use kept::ROWS_DELETED_AT_ONCE;
use kept::{Aging, Kept};
use lock::Lock;
pub use look::{is_writable, look};
pub use mark::Progress;
use mark::{Mark, Newest};
pub use outbox::OutboxReader;
pub use reader::{KnownDevice, SpoolOverview, SpoolReader};
use reserve::Reserve;
pub use salvage::Salvaged;
use schema::Found;
pub use stored::{DeviceRow, RefusedEvent, StoredReading};
pub use tally::Tally;
use transaction::Committed;
pub use transaction::Transaction;
pub use verify::{CHECKED_AT_ONCE_BYTES, STRETCH_ROWS, Verifier};
pub use watch::{Seen, SpoolWatch};

/// What a reading, or a value of a minute, takes in the file with its place in the index, in bytes, when pages are as full as they
/// usually are.
pub const READING_BYTES: u64 = 80;
/// Pages of the WAL after which it is written back: 4 MB.
const WAL_PAGES: u32 = 1_000;
/// The WAL file is cut back to this size after a burst, in bytes.
const WAL_BYTES_KEPT: i64 = 8 << 20;

/// The largest event, topic and payload together, in bytes. An event has some 700 to 4,000; brokers take at least this.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// How many events that a broker refused are kept for a person to look at.
pub const REFUSED_MAX: i64 = 1_000;
/// What an event takes beside its texts: its row, its place in the index.
const EVENT_OVERHEAD_BYTES: i64 = 64;
/// Free pages of 4 KiB that stay in the file, because the next events need them: 8 MB.
pub const FREE_PAGES_KEPT: i64 = 2_048;
/// Free pages given back at most in one transaction, so that none takes long.
const PAGES_GIVEN_BACK_AT_ONCE: i64 = 64;
/// A clock beyond this (2100-01-01T00:00:00Z) is not believed: starts numbered by it would leave few numbers.
const CLOCK_S_MAX: i64 = 4_102_444_800;

/// A clock before this (2025-01-01T00:00:00Z) was not set.
pub const CLOCK_S_MIN: i64 = 1_735_689_600;
/// The number of a start that follows from neither a clock nor an earlier start is below this, and so below those that follow from a clock.
const GUESSES: i64 = 1 << 30;

/// How much the spool may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// The events that wait, in bytes. The default, 512 MB, holds some 700,000.
    pub outbox_bytes_max: u64,
    /// The database file, in bytes. The default, 2 GB, is above what the other bounds add up to.
    pub file_bytes_max: u64,
    /// How many readings and values of minutes are kept, all devices together. The default, 7 million, takes some 560 MB.
    pub readings_max: i64,
    /// For how many days they are kept.
    pub readings_days_max: u32,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            outbox_bytes_max: 512 << 20,
            file_bytes_max: 2 << 30,
            readings_max: 7_000_000,
            readings_days_max: 7,
        }
    }
}

/// Sums that are kept along, durable with the transactions that change them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that wait for the platform.
    pub events: i64,
    /// What they take, in bytes.
    pub event_bytes: i64,
    /// Events that went because the outbox was full, ever.
    pub events_evicted: i64,
    /// Refused events that went because there were too many of them, ever.
    pub refused_dropped: i64,
    /// Readings that went before their time because there were too many, ever.
    pub readings_evicted: i64,
    /// Values of minutes that did.
    pub minutes_evicted: i64,
    /// Of the events that went, those that no event told of yet, by [`rank::CLASSES`].
    pub untold: [i64; rank::CLASSES.len()],
    /// The time of the oldest of these, in milliseconds since 1970.
    pub untold_from_ms: i64,
    /// The time of the newest of these.
    pub untold_to_ms: i64,
    /// When an event told of evicted ones last.
    pub told_ms: i64,
}

impl Totals {
    /// Events that went for want of room, ever.
    #[must_use]
    pub const fn let_go(&self) -> i64 {
        self.events_evicted + self.refused_dropped
    }
}

/// The writing end of the spool.
#[derive(Debug)]
pub struct Spool {
    connection: Connection,
    path: PathBuf,
    limits: SpoolLimits,
    totals: Totals,
    kept: Kept,
    aging: Aging,
    /// Noted beside it, so that a start knows whether it is the one that was left.
    mark: Option<Mark>,
    tally: Arc<Tally>,
    health: Health,
    /// Whether all of it was read when it was opened.
    all_read: bool,
    /// Holds the lock as long as it is open.
    lock: Lock,
    /// The file system failed: nothing that it says counts until it is opened anew.
    adrift: Option<Adrift>,
    files: Files,
    /// Whether the log could not be written back when that was tried last.
    is_log_stuck: bool,
    reserve: Reserve,
}

/// A file that was opened, with what memory has of it.
struct Opened {
    connection: Connection,
    files: Files,
    totals: Totals,
    kept: Kept,
    aging: Aging,
    /// Whether all of it was read.
    all_read: bool,
}

impl Spool {
    /// Opens or creates the spool with the default [`SpoolLimits`].
    ///
    /// # Errors
    /// When another process has it, or it cannot be opened or is damaged: [`SpoolError`] says which and what to do.
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        Self::open_with(path, SpoolLimits::default())
    }

    /// Opens or creates the spool. Reads all of an existing one up to [`CHECKED_AT_ONCE_BYTES`], to find damage before it is
    /// built upon; a larger one is to be read by [`Self::verifier`] meanwhile.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let mut spool = Self::connect(path, Lock::take(path)?, limits).map_err(|(error, _)| error)?;
        spool.reserve = Reserve::keep(path);
        Ok(spool)
    }

    /// Opens the file, which must be locked. An error gives the lock back.
    fn connect(path: &Path, lock: Lock, limits: SpoolLimits) -> Result<Self, (SpoolError, Lock)> {
        match Self::open_file(path, limits) {
            Ok(Opened { connection, files, totals, kept, aging, all_read }) => {
                let (tally, health) = (Arc::new(Tally::default()), Health::default());
                tally.opened(totals);
                let path = path.to_owned();
                Ok(Self {
                    connection,
                    path,
                    limits,
                    totals,
                    kept,
                    aging,
                    mark: None,
                    tally,
                    health,
                    all_read,
                    lock,
                    adrift: None,
                    files,
                    is_log_stuck: false,
                    reserve: Reserve::default(),
                })
            }
            Err(error) => Err((error, lock)),
        }
    }

    fn open_file(path: &Path, limits: SpoolLimits) -> Result<Opened, SpoolError> {
        let failed = |source| sqlite_error(path, source);
        let mut connection = Connection::open(path).map_err(failed)?;
        // A damaged file stays as it was found, also when it is closed again.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        // Nothing is written before the file is known to be a sound spool of this version, or new.
        let all_read = match schema::inspect(&connection).map_err(failed)? {
            Found::New => true,
            Found::Spool { all_read } => all_read,
            Found::Newer(found) => return Err(SpoolError::Newer { path: path.to_owned(), found }),
            Found::Foreign => return Err(SpoolError::NotASpool { path: path.to_owned() }),
            Found::Damaged(what) => return Err(SpoolError::Damaged { path: path.to_owned(), what }),
        };
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
        let frames = Frames::default();
        settings(&mut connection, limits, &frames).map_err(failed)?;
        schema::migrate(&mut connection).map_err(failed)?;
        let totals = Totals::load(&connection).map_err(failed)?;
        let kept = Kept::load(&connection).map_err(failed)?;
        let aging = Aging::load(&connection).map_err(failed)?;
        let files = Files::open(path, &connection, frames).map_err(failed)?;
        Ok(Opened { connection, files, totals, kept, aging, all_read })
    }

    /// What is known of its soundness.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// What reads the rest of it, when it was too large to be read whole at the start.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn verifier(&self) -> Result<Option<Verifier>, SpoolError> {
        if self.all_read { Ok(None) } else { Verifier::open(&self.path, self.health.clone()).map(Some) }
    }

    /// The sums as of the last commit.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What this spool did since it was opened.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// A look at what is in it, from another thread.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn watch(&self) -> Result<SpoolWatch, SpoolError> {
        SpoolWatch::open(&self.path)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reading end for the uplink.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn outbox(&self) -> Result<OutboxReader, SpoolError> {
        OutboxReader::open(&self.path, self.health.clone())
    }

    /// A reading end for what is asked.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> Result<SpoolReader, SpoolError> {
        SpoolReader::open(&self.path)
    }

    /// The number of this start: larger than at any start before, and durable when this returns, in the spool and in its mark: it is in
    /// nonces, and damage to one of them does not bring it back. It is at least the time in seconds, so that it also grows when a gateway is
    /// replaced and its spool is new. Where there is neither an earlier start nor a clock that was set it is any number below [`CLOCK_S_MIN`]: as
    /// good as never one that was used before. Devices that heard a larger one do not hear this gateway then, until its clock is set and it
    /// starts anew.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn next_start(&mut self, now: UnixMillis) -> Result<u32, SpoolError> {
        let seconds = now.0 / 1000;
        let seconds = if (0..CLOCK_S_MAX).contains(&seconds) { seconds } else { 0 };
        let marked = self.mark.as_ref().map_or(0, Mark::start);
        let start = self.commit(|transaction| {
            let last = transaction.meta("start")?.unwrap_or(0).max(marked);
            let nobody_knows = last == 0 && seconds < CLOCK_S_MIN;
            let start =
                if nobody_knows { fastrand::i64(1..GUESSES) } else { last.saturating_add(1).max(seconds) };
            if start <= i64::from(u32::MAX) {
                transaction.set_meta("start", start)?;
            }
            Ok(start)
        })?;
        let number =
            u32::try_from(start).map_err(|_| SpoolError::StartsUsedUp { path: self.path.clone() })?;
        self.mark_start(start);
        Ok(number)
    }

    /// Does all of `work` in one transaction. When this returns `Ok` it is durable; on an error nothing of it happened.
    ///
    /// # Errors
    /// When the disk is full or read-only, or SQLite fails otherwise.
    pub fn commit<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        self.reserve.renew();
        let done = self.commit_within(work);
        if matches!(done, Err(SpoolError::Full { .. })) {
            self.make_room();
        }
        done
    }

    fn commit_within<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        let begun = Instant::now();
        if let Some(what) = self.adrift {
            return Err(SpoolError::Adrift { path: self.path.clone(), what });
        }
        if let Some(damage) = self.health.damage() {
            return Err(damage.into_error(&self.path));
        }
        let (path, tally, health) = (&self.path, &self.tally, &self.health);
        let failed = |source| {
            let error = sqlite_error(path, source);
            tally.failed(&error);
            health.note(&error);
            error
        };
        if let Err(harm) = self.files.look(&self.connection).map_err(failed)? {
            return Err(self.harmed(harm));
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        self.files.begun(transaction::pages(&transaction).map_err(failed)?);
        let mut transaction = Transaction::new(transaction, self.limits, self.totals, &self.kept, self.aging);
        if self.reserve.is_spent() {
            // There is no room elsewhere.
            transaction.free_pages_kept = 0;
        }
        let done = work(&mut transaction).map_err(failed)?;
        let made = transaction.made.take();
        let ready = transaction.ready().map_err(failed)?;
        if let Err(harm) = self.files.still() {
            drop(ready);
            return Err(self.harmed(harm));
        }
        let Newest { reading, minute, .. } = ready.newest();
        let added = ready.totals().event_bytes - self.totals.event_bytes;
        if !self.reserve.allows(reading > 0 || minute > 0, added) {
            drop(ready);
            let error = SpoolError::Full { path: self.path.clone() };
            tally.failed(&error);
            return Err(error);
        }
        let pages = ready.pages;
        let Committed { totals, kept, aging, newest } = ready.commit().map_err(failed)?;
        if !self.lock.takes_writes() {
            return Err(self.went_adrift(Adrift::NoWrites));
        }
        if let Err(harm) = self.files.note(&self.connection, pages) {
            return Err(self.harmed(harm));
        }
        self.write_log_back(pages)?;
        self.reserve.committed(added);
        (self.totals, self.aging) = (totals, aging);
        self.kept.add(&kept);
        if let Some(mark) = &mut self.mark {
            mark.note(newest);
        }
        self.tally.committed(begun.elapsed(), made, self.totals);
        Ok(done)
    }

    /// Puts what was refused back into the outbox, behind what waits there: somebody may have corrected the broker's access
    /// list. Meant for every start of the gateway. Returns how many.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn send_refused_again(&mut self) -> Result<usize, SpoolError> {
        match self.commit(|transaction| transaction.send_refused_again()) {
            // They stay where they are, and what waits goes out all the same.
            Err(SpoolError::Full { .. }) => Ok(0),
            sent => sent,
        }
    }
}

/// Device ids are 64 bits without sign, SQLite's integers 64 bits with one.
const fn to_row(device: DeviceId) -> i64 {
    device.0.cast_signed()
}

fn settings(connection: &mut Connection, limits: SpoolLimits, frames: &Frames) -> rusqlite::Result<()> {
    // `auto_vacuum` takes effect only before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // In the place of SQLite's own, which writes the log back before anybody can look.
    let frames = Frames::clone(frames);
    connection.wal_hook(Some(move |_: &mut Wal, count| {
        frames.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages_max = i64::try_from(limits.file_bytes_max).unwrap_or(i64::MAX) / page_bytes.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages_max, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Whoever only reads leaves the write-ahead log to the writer, also when it closes the file last: a reader that outlives a spool that is
/// set aside would take the new spool's log away, which has the same name.
fn reader_closes_quietly(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> SpoolError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
    // The tables are STRICT: SQLite lets in no value of another type.
    if matches!(
        source,
        InvalidColumnType(..) | FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | Utf8Error(..)
    ) {
        return SpoolError::Damaged { path: path.to_owned(), what: source.to_string() };
    }
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            SpoolError::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        Some(DiskFull) => SpoolError::Full { path: path.to_owned() },
        _ => SpoolError::Sqlite { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod place;
#[cfg(test)]
mod tests;
