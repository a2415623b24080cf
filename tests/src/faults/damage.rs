//! Damage to the spool: pages are overwritten, its end is cut off, or its log is overwritten, while the agent is down or at work.
//!
//! What was there is known: at the moment of the damage the agent is dead, or stopped by a signal, and the spool is read as a copy. What
//! may be missing afterwards is known too where table leaves were overwritten: as many rows as they had. So the account is kept
//! of what was not touched, and that a loss is told. Readings are where the agent leaves them: in the spool, and in the files that were set
//! aside.

use std::collections::{BTreeSet, HashSet};
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
/// The kind of damage that is done to the log.
const LOG: u8 = 3;
/// Rows in a row that cannot be read, after which a table counts as read: more than lie below one page.
const UNREADABLE_MAX: i64 = 200_000;

/// What was there, and what of it may be missing.
#[derive(Debug)]
pub(super) struct Account {
    /// Events that were committed, and not released when damage was done.
    committed: BTreeSet<String>,
    /// Rows that lay where something was overwritten; [`None`] when nobody can tell.
    touched: Option<u64>,
}

impl Default for Account {
    fn default() -> Self {
        Self { committed: BTreeSet::new(), touched: Some(0) }
    }
}

impl Account {
    /// Notes what is in a spool that nobody writes, and does damage to it.
    pub(super) fn harm(&mut self, spool: &Path, rng: &mut Rng) -> Result<()> {
        self.committed.extend(waiting(spool)?);
        let kind = rng.u8(..4);
        if kind == LOG {
            return self.harm_log(spool, rng);
        }
        // As after some hours: what is committed is in the file, and not in its log alone.
        Connection::open(spool)?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        let bytes = fs::read(spool)?;
        let pages = bytes.len() / PAGE;
        ensure!(pages > 2, "a spool of {pages} pages");
        let file = OpenOptions::new().write(true).open(spool)?;
        match kind {
            // A sector went bad, or somebody wrote where he should not: anywhere, or where events are.
            0 | 1 => {
                let has_events = |page: &usize| text_in(&bytes[page * PAGE..][..PAGE], b"specversion");
                let events: Vec<_> = (1..pages).filter(has_events).collect();
                for _ in 0..rng.u8(1..4) {
                    let page = match rng.choice(&events) {
                        Some(page) if rng.bool() => *page,
                        _ => rng.usize(..pages),
                    };
                    self.touch(&bytes[page * PAGE..][..PAGE]);
                    file.write_all_at(&[0xa5; PAGE], (page * PAGE) as u64)?;
                }
            }
            // The file system lost its end.
            _ => {
                self.touched = None;
                file.set_len((rng.usize(1..pages) * PAGE) as u64)?;
            }
        }
        Ok(file.sync_all()?)
    }

    /// Overwrites a page of the log, behind which nothing of it counts any more.
    fn harm_log(&mut self, spool: &Path, rng: &mut Rng) -> Result<()> {
        let mut log = spool.as_os_str().to_owned();
        log.push("-wal");
        let Ok(file) = OpenOptions::new().write(true).open(&log) else { return Ok(()) };
        let pages = (file.metadata()?.len() as usize).saturating_sub(LOG_HEADER) / (LOG_PAGE_HEADER + PAGE);
        if pages > 0 {
            self.touched = None;
            let at = LOG_HEADER + rng.usize(..pages) * (LOG_PAGE_HEADER + PAGE) + LOG_PAGE_HEADER;
            file.write_all_at(&[0xa5; PAGE], at as u64)?;
            file.sync_all()?;
        }
        Ok(())
    }

    fn touch(&mut self, page: &[u8]) {
        // A leaf says how many rows it has. What else a page may be has others below it.
        let is_leaf = [0x0a, 0x0d].contains(&page[0]);
        let rows = u64::from(u16::from_be_bytes([page[3], page[4]]));
        self.touched = self.touched.filter(|_| is_leaf).map(|touched| touched + rows);
    }

    /// Holds what came against what was there. `appended` are the records that nodes were told are durable, all of which the gateway
    /// acknowledged.
    pub(super) fn judge(
        &self,
        spool: &Path,
        appended: &HashSet<(DeviceId, Seq)>,
        got: &std::collections::HashMap<String, Got>,
    ) -> Result<Tally> {
        let (mut records, mut cases) = (HashSet::new(), BTreeSet::new());
        for file in files(spool)? {
            readable(&file, "reading", "device, seq", |row| {
                let (device, seq): (i64, i64) = (row.get(1)?, row.get(2)?);
                records.insert((DeviceId(device.cast_unsigned()), Seq(seq.cast_unsigned())));
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
        // A case was raised by an event, or by an episode's, in the same transaction.
        let came = |case: &&String| got.contains_key(*case) || episodes.contains(*case);
        let events: BTreeSet<&String> = self.committed.iter().chain(&cases).collect();
        let received = events.iter().filter(|id| came(id)).count() as u64;
        let events = events.len() as u64;
        let records_missing = appended.difference(&records).count() as u64;
        let missing = events - received + records_missing;
        // The report is about events; of readings it says that they are in the file.
        let untold = if incomplete { 0 } else { events - received };
        let untold = if reports > 0 { untold } else { missing };
        let lost = missing.saturating_sub(self.touched.unwrap_or(u64::MAX)).max(untold);
        // What had been decided in the part that is gone is decided again of what nodes still hold, with windows that fill anew.
        let again = got.values().find(|one| one.differs && !incomplete);
        ensure!(
            again.is_none(),
            "two events of one id, and no report that something is missing: {}",
            again.map_or_else(Default::default, |one| String::from_utf8_lossy(&one.payload))
        );
        Ok(Tally {
            sent: appended.len() as u64,
            events,
            received,
            duplicates: got.values().map(|one| one.times - 1).sum(),
            reports,
            told: missing - lost,
            lost,
            ..Tally::default()
        })
    }
}

fn text_in(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The events in a spool that nobody writes, of a copy: nothing about the spool itself changes.
fn waiting(spool: &Path) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if with(spool).exists() {
            fs::copy(with(spool), with(&copy))?;
        }
    }
    let connection = Connection::open(&copy)?;
    let mut statement =
        connection.prepare("SELECT event_id FROM event UNION ALL SELECT event_id FROM refused")?;
    let ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>();
    ids.context("the spool before it is damaged")
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
