//! Damage to the spool: pages are overwritten, its end is cut off, or its log is overwritten, while the agent is down or at work.
//!
//! What was there is known: at the moment of the damage the agent is dead, or stopped by a signal, and the spool is read as a copy. What
//! SQLite can still read of a damaged copy is known in the same way, row by row, and has to be there at the end: records in the
//! spool or in the files that were set aside, events at the platform. Only what cannot be read may be missing, and has to be told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use gridpost_protocol::id::{DeviceId, Seq};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::Tally;
use super::platform::Got;

/// SQLite's pages here, in bytes.
const PAGE: usize = 4096;
/// The header of a log, and that of each page in it, in bytes.
const LOG_HEADER: usize = 32;
const LOG_PAGE_HEADER: usize = 24;
/// Rows in a row that cannot be read, after which a table counts as read: more than lie below one page.
const UNREADABLE_MAX: i64 = 200_000;

/// What a spool holds.
#[derive(Clone, Debug, Default)]
struct Contents {
    records: HashSet<(DeviceId, Seq)>,
    /// Events that wait, by id; with that of their episode, if they have one.
    events: HashMap<String, Option<String>>,
}

/// What was there when the damage was done, and what of it could be read afterwards.
#[derive(Debug)]
pub(super) struct Account {
    before: Contents,
    /// This has to be there at the end.
    readable: Contents,
    /// Records that came between the damage and the next start may be missing too: the agent at work put them where only it could find
    /// them, into the log behind what is damaged there, or it was cut off under its hands.
    and_later: bool,
}

impl Account {
    /// Notes what is in a spool that nobody writes, and does damage to it.
    pub(super) fn harm(spool: &Path, at_work: bool, rng: &mut Rng) -> Result<Self> {
        let before = SpoolCopy::of(spool)?.contents();
        let mut and_later = false;
        let readable = match rng.u8(..4) {
            // A sector went bad, or somebody wrote where he should not: anywhere, or where events are.
            0 | 1 => {
                let bytes = file_with_log(spool)?;
                let file = OpenOptions::new().write(true).open(spool)?;
                let pages = bytes.len() / PAGE;
                let has_events = |page: &usize| text_in(&bytes[page * PAGE..][..PAGE], b"specversion");
                let events: Vec<_> = (1..pages).filter(has_events).collect();
                for _ in 0..rng.u8(1..4) {
                    let page = match rng.choice(&events) {
                        Some(page) if rng.bool() => *page,
                        _ => rng.usize(..pages),
                    };
                    file.write_all_at(&[0xa5; PAGE], (page * PAGE) as u64)?;
                }
                file.sync_all()?;
                SpoolCopy::of_file_alone(spool)?.contents()
            }
            // The file system lost its end.
            2 => {
                let bytes = file_with_log(spool)?;
                // An agent that is about to write its log back, or in the midst of it, goes on with it, and the file has its length again.
                and_later = at_work;
                let pages = bytes.len() / PAGE;
                let file = OpenOptions::new().write(true).open(spool)?;
                file.set_len((rng.usize(1..pages) * PAGE) as u64)?;
                file.sync_all()?;
                SpoolCopy::of_file_alone(spool)?.contents()
            }
            _ => match harm_log(spool, rng)? {
                Some(page) => {
                    and_later = at_work;
                    // Whoever opens the log now reads it up to what is damaged. The agent at work may copy the damaged page into the file.
                    let mut readable = SpoolCopy::of(spool)?.contents();
                    let copied = SpoolCopy::of_file_alone(spool)?;
                    let file = OpenOptions::new().write(true).open(copied.path())?;
                    file.write_all_at(&[0xa5; PAGE], (page * PAGE) as u64)?;
                    readable.retain_what_is_in(&copied.contents());
                    readable
                }
                None => before.clone(),
            },
        };
        Ok(Self { before, readable, and_later })
    }

    /// Holds what came against what was there. `appended` are the records that nodes were told are durable, all of which the gateway
    /// acknowledged.
    pub(super) fn judge(
        &self,
        spool: &Path,
        appended: &HashSet<(DeviceId, Seq)>,
        got: &HashMap<String, Got>,
    ) -> Result<Tally> {
        let (mut records, mut cases) = (HashSet::new(), BTreeSet::new());
        for file in files(spool)? {
            readable(&file, "reading", "device, seq", |row| {
                records.insert(record_of(row)?);
                Ok(())
            });
            readable(&file, "casefile", "episode", |row| {
                cases.insert(row.get(1)?);
                Ok(())
            });
        }
        let (mut reports, mut incomplete, mut episodes) = (0, false, HashSet::new());
        for one in got.values() {
            let event: Value = serde_json::from_slice(&one.payload)?;
            episodes.extend(event["data"]["episode"]["id"].as_str().map(str::to_owned));
            if event["type"] == "gridpost.spool-damaged" {
                let spool = &event["data"]["spool"];
                reports += 1;
                incomplete |= spool["complete"] == false || spool["dropped"] != 0;
            }
        }
        // What had been decided in the part that is gone is decided again of what nodes still hold, with windows that fill anew.
        let again = got.values().find(|one| one.differs && !incomplete);
        ensure!(
            again.is_none(),
            "two events of one id, and no report that something is missing: {}",
            again.map_or_else(Default::default, |one| String::from_utf8_lossy(&one.payload))
        );
        // A case was raised by an event, or by an episode's, in the same transaction.
        let came = |case: &&String| got.contains_key(*case) || episodes.contains(*case);
        let events: BTreeSet<&String> = self.before.events.keys().chain(&cases).collect();
        let events_missing: Vec<_> = events.iter().filter(|id| !came(id)).collect();
        let records_missing: Vec<_> = appended.difference(&records).collect();
        let missing = (events_missing.len() + records_missing.len()) as u64;
        let unreadable_events = self.before.events_without(&self.readable);
        let lost_events = events_missing.iter().filter(|id| !unreadable_events.contains(id.as_str())).count();
        let may_be_missing = |record: &&&(DeviceId, Seq)| {
            !self.readable.records.contains(**record)
                && (self.and_later || self.before.records.contains(**record))
        };
        let lost_records = records_missing.iter().filter(|record| !may_be_missing(record)).count();
        // The report is about events; of readings it says that they are in the file.
        let untold = match (reports, incomplete) {
            (0, _) => missing,
            (_, true) => 0,
            (_, false) => events_missing.len() as u64,
        };
        let lost = ((lost_events + lost_records) as u64).max(untold);
        Ok(Tally {
            sent: appended.len() as u64,
            events: events.len() as u64,
            received: (events.len() - events_missing.len()) as u64,
            duplicates: got.values().map(|one| one.times - 1).sum(),
            reports,
            told: missing - lost,
            lost,
            ..Tally::default()
        })
    }
}

impl Contents {
    fn retain_what_is_in(&mut self, other: &Self) {
        self.records.retain(|record| other.records.contains(record));
        self.events.retain(|id, _| other.events.contains_key(id));
    }

    /// Events, and their episodes, that are here and not there.
    fn events_without(&self, other: &Self) -> HashSet<&str> {
        let gone = self.events.iter().filter(|(id, _)| !other.events.contains_key(*id));
        gone.flat_map(|(id, episode)| [Some(id.as_str()), episode.as_deref()]).flatten().collect()
    }
}

/// A copy of a spool that nobody writes: looking into it changes nothing about the spool itself.
struct SpoolCopy {
    folder: tempfile::TempDir,
}

impl SpoolCopy {
    fn of(spool: &Path) -> Result<Self> {
        let copy = Self::of_file_alone(spool)?;
        if log_of(spool).exists() {
            fs::copy(log_of(spool), log_of(&copy.path()))?;
        }
        Ok(copy)
    }

    /// Without its log.
    fn of_file_alone(spool: &Path) -> Result<Self> {
        let copy = Self { folder: tempfile::tempdir()? };
        fs::copy(spool, copy.path())?;
        Ok(copy)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("copy.db")
    }

    /// What can be read.
    fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        readable(&self.path(), "reading", "device, seq", |row| {
            contents.records.insert(record_of(row)?);
            Ok(())
        });
        for table in ["event", "refused"] {
            readable(&self.path(), table, "event_id, payload", |row| {
                let payload: Value = serde_json::from_slice(row.get_ref(2)?.as_bytes()?).unwrap_or_default();
                let episode = payload["data"]["episode"]["id"].as_str().map(str::to_owned);
                contents.events.insert(row.get(1)?, episode);
                Ok(())
            });
        }
        contents
    }
}

fn log_of(spool: &Path) -> PathBuf {
    let mut name = spool.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// The bytes of a spool, after some hours: what is committed is in the file, and not in its log alone.
fn file_with_log(spool: &Path) -> Result<Vec<u8>> {
    Connection::open(spool)?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    let bytes = fs::read(spool)?;
    ensure!(bytes.len() / PAGE > 2, "a spool of {} bytes", bytes.len());
    Ok(bytes)
}

/// Overwrites a page of the log, behind which nothing of it counts any more for whoever opens it. Which page of the file it was.
fn harm_log(spool: &Path, rng: &mut Rng) -> Result<Option<usize>> {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(log_of(spool)) else { return Ok(None) };
    let pages = (file.metadata()?.len() as usize).saturating_sub(LOG_HEADER) / (LOG_PAGE_HEADER + PAGE);
    if pages == 0 {
        return Ok(None);
    }
    let at = (LOG_HEADER + rng.usize(..pages) * (LOG_PAGE_HEADER + PAGE)) as u64;
    let mut number = [0; 4];
    file.read_exact_at(&mut number, at)?;
    file.write_all_at(&[0xa5; PAGE], at + LOG_PAGE_HEADER as u64)?;
    file.sync_all()?;
    // SQLite counts pages from 1.
    Ok((u32::from_be_bytes(number) as usize).checked_sub(1))
}

fn record_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<(DeviceId, Seq)> {
    let (device, seq): (i64, i64) = (row.get(1)?, row.get(2)?);
    Ok((DeviceId(device.cast_unsigned()), Seq(seq.cast_unsigned())))
}

fn text_in(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The spool, and what was set aside of it.
fn files(spool: &Path) -> Result<Vec<PathBuf>> {
    let name = spool.file_name().context("a file")?.to_string_lossy().into_owned();
    let mut files = vec![spool.to_owned()];
    for entry in fs::read_dir(spool.parent().context("a folder")?)? {
        let path = entry?.path();
        let of_it = path.file_name().is_some_and(|file| {
            let file = file.to_string_lossy();
            file.starts_with(&format!("{name}.damaged-"))
                && !file.ends_with("-wal")
                && !file.ends_with("-shm")
        });
        if of_it {
            files.push(path);
        }
    }
    Ok(files)
}

/// Reads what can be read of a table, around what cannot.
fn readable(
    file: &Path,
    table: &str,
    columns: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) {
    let mut read = || -> rusqlite::Result<()> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Also when the file is shorter than it says.
        connection.pragma_update(None, "writable_schema", true)?;
        connection.pragma_update(None, "query_only", true)?;
        let sql = format!("SELECT id, {columns} FROM {table} WHERE id > ?1 ORDER BY id");
        let mut statement = connection.prepare(&sql)?;
        let (mut last, mut unreadable) = (0i64, 0);
        while unreadable < UNREADABLE_MAX {
            let mut rows = statement.query([last])?;
            loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        last = row.get(0)?;
                        unreadable = 0;
                        take(row)?;
                    }
                    Ok(None) => return Ok(()),
                    Err(_) => break,
                }
            }
            last += 1;
            unreadable += 1;
        }
        Ok(())
    };
    // Of what cannot be opened nothing can be read.
    let _ = read();
}
