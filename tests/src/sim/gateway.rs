//! The gateway of the simulation: the agent's own intake, engine, spool and outflow, on a real SQLite file, killed between any two
//! steps.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use gridpost_agent::counters::Counters;
use gridpost_agent::event::make::District;
use gridpost_agent::intake::Intake;
use gridpost_agent::keys::Keys;
use gridpost_agent::links::FrameIn;
use gridpost_agent::pipeline::Committer;
use gridpost_agent::spool::{OutboxReader, Spool, SpoolError, SpoolLimits};
use gridpost_agent::uplink::outflow::Outflow;
use gridpost_agent::uplink::{Outbox, Refused};
use gridpost_agent::withdrawn;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::reading::Milli;
use gridpost_protocol::seal::Key;
use gridpost_protocol::time::UnixMillis;

use super::Sabotage;
use super::broker::Connection;
use super::ledger::{Kept, Ledger};
use super::minutes::{self, MinuteRow};
use super::torn::{self, Files};

/// Frames that wait for the intake; a full queue holds links back.
pub(super) const INBOX_MAX: usize = 64;
/// Publishes under way.
pub(super) const INFLIGHT: usize = 8;

/// What the gateway is made of, and what outlives it.
pub(super) struct SimGateway {
    folder: tempfile::TempDir,
    keys: Vec<(DeviceId, Key)>,
    pub(super) inbox: Vec<FrameIn>,
    /// How far its clock is off, in milliseconds.
    pub(super) clock_off: i64,
    pub(super) disk_full: bool,
    /// It tells hours.
    pub(super) hourly: bool,
    /// Which of the packs it loads at its next start.
    pub(super) pack: usize,
    /// The newest reading that was looked at.
    newest_reading: i64,
    /// The newest row of a minute that was.
    newest_minute: i64,
    pub(super) running: Option<Running>,
    pub(super) starts: u32,
}

/// A gateway that runs.
pub(super) struct Running {
    pub(super) committer: Committer,
    pub(super) outflow: Outflow,
    outbox: OutboxReader,
    readings: rusqlite::Connection,
    pub(super) committed: i64,
    batch_events_max: usize,
    pub(super) release: Vec<RangeInclusive<i64>>,
    pub(super) refusals: Vec<Refused>,
    pub(super) connection: Option<Connection>,
}

const FILES: &[(&str, &[u8])] = &[
    ("pack.toml", include_bytes!("../../../agent/sample/pack.toml")),
    ("departments.csv", include_bytes!("../../../agent/sample/departments.csv")),
    ("catalogue.csv", include_bytes!("../../../agent/sample/catalogue.csv")),
    ("sites.csv", include_bytes!("../../../agent/sample/sites.csv")),
    ("devices.csv", include_bytes!("../../../agent/sample/devices.csv")),
    ("rules.toml", include_bytes!("rules.toml")),
];

/// Packs that may take turns.
pub(super) const PACKS: usize = 2;

/// The district of the simulation: the sample's, with rules that decide within minutes.
pub(super) fn district(pack: usize) -> Result<District> {
    let mut files = FILES.to_vec();
    if pack > 0 {
        files.retain(|(name, _)| *name != "rules.toml");
        files.push(("rules.toml", include_bytes!("rules_later.toml")));
    }
    let pack =
        Pack::from_files(&files).map_err(|errors| anyhow::anyhow!("the simulation's pack: {errors}"))?;
    Ok(District { pack, gateway: "gw-sim".to_owned() })
}

impl SimGateway {
    pub(super) fn new(keys: Vec<(DeviceId, Key)>, hourly: bool) -> Result<Self> {
        // A disk in memory where there is one: what is tried is the order of writes, not the disk.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Ok(Self {
            folder: folder.context("no folder for the spool")?,
            keys,
            inbox: Vec::new(),
            clock_off: 0,
            disk_full: false,
            hourly,
            pack: 0,
            newest_reading: 0,
            newest_minute: 0,
            running: None,
            starts: 0,
        })
    }

    pub(super) fn spool_path(&self) -> PathBuf {
        self.folder.path().join("spool.db")
    }

    pub(super) fn now(&self, now: i64) -> UnixMillis {
        UnixMillis(now + self.clock_off)
    }

    /// Starts. A full disk may prevent it: then it tries again later.
    pub(super) fn start(
        &mut self,
        now: i64,
        sabotage: Option<Sabotage>,
        ledger: &mut Ledger,
    ) -> Result<bool> {
        let mut limits = SpoolLimits::default();
        if self.disk_full {
            // What is there already, and hardly more.
            let size = std::fs::metadata(self.spool_path()).map_or(0, |file| file.len());
            limits.file_bytes_max = size.max(128 << 10);
        }
        let forgotten = match sabotage {
            Some(Sabotage::ForgetStates) => Some("DELETE FROM rule_state"),
            Some(Sabotage::ForgetSilences) => Some("DELETE FROM episode WHERE rule LIKE 'silence:%'"),
            Some(Sabotage::ForgetHours) => Some("DELETE FROM hourly"),
            _ => None,
        };
        if let Some(forgotten) = forgotten.filter(|_| self.starts > 0) {
            rusqlite::Connection::open(self.spool_path())?.execute(forgotten, [])?;
        }
        let (mut spool, missing) = Spool::open_or_salvage(&self.spool_path(), limits, None, |_| None)?;
        anyhow::ensure!(missing.is_none(), "a false alarm: {missing:?}");
        let (district, counters) = (district(self.pack)?, Arc::new(Counters::default()));
        let start = spool.next_start(self.now(now)).and_then(|start| {
            spool.send_refused_again()?;
            withdrawn::clear(&mut spool, &district, &counters, self.now(now))?;
            Ok(start)
        });
        let start = match start {
            Ok(start) => start,
            Err(SpoolError::Full { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let start = if sabotage == Some(Sabotage::ReuseNonces) { 1 } else { start };
        let keys = Keys::from_pairs(self.keys.iter().cloned());
        let intake = Intake::new(Arc::new(district), keys, start, counters).with_hourly(self.hourly);
        let outbox = spool.outbox()?;
        self.running = Some(Running {
            committed: spool.newest_event()?,
            // Each second start of it sends batches.
            batch_events_max: if self.starts % 2 == 1 { 5 } else { 1 },
            outbox,
            readings: rusqlite::Connection::open(self.spool_path())?,
            committer: Committer::new(spool, intake),
            // Few, so that backlogs are long: what is fresh overtakes.
            outflow: Outflow::with_fresh(3),
            release: Vec::new(),
            refusals: Vec::new(),
            connection: None,
        });
        self.starts += 1;
        self.look(now, ledger)?;
        ledger.silences.listens(now);
        Ok(true)
    }

    /// What is durable now, and was not before.
    pub(super) fn look(&mut self, now: i64, ledger: &mut Ledger) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        for (device, _) in &self.keys {
            let row = running.committer.spool().device(*device)?;
            if let Some(row) = &row {
                ledger.silences.newest_frame(*device, (row.durable.boot, row.durable.counter), now);
            }
            ledger.cursor(*device, row.and_then(|row| row.durable.cursor));
        }
        let rows = running.outbox.read_after(ledger.newest_row(), usize::MAX).map_err(anyhow::Error::msg)?;
        ledger.committed(rows, now)?;
        self.look_at_readings(ledger)
    }

    /// A second has passed at the gateway: it may tell who is silent; whether it did. To be followed by [`Self::look`].
    pub(super) fn tick(&mut self, now: i64) -> Result<bool> {
        let now = self.now(now);
        let Some(running) = &mut self.running else { return Ok(false) };
        match running.committer.tick(now) {
            Ok(Some(newest)) => {
                running.committed = newest;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(SpoolError::Full { .. }) if self.disk_full => Ok(false),
            Err(error) => Err(error).context("the disk has room, and the spool does not take a tick"),
        }
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        self.running = None;
        self.inbox.clear();
    }

    /// One transaction; whether it was durable. What it promised is not answered yet.
    pub(super) fn persist(
        &mut self,
        frames: usize,
        now: i64,
        sabotage: Option<Sabotage>,
        ledger: &mut Ledger,
    ) -> Result<bool> {
        if !self.transaction(frames, now, ledger)? {
            return Ok(false);
        }
        let Some(running) = &mut self.running else { return Ok(false) };
        running.release.clear();
        for refused in running.refusals.drain(..) {
            ledger.set_aside(refused.id);
        }
        if let Some(Sabotage::OwnerlessEvent | Sabotage::SilentDrop | Sabotage::LoseMinutes) = sabotage {
            self.spoil(sabotage)?;
        }
        self.look(now, ledger)?;
        Ok(true)
    }

    /// Does to what was committed what an agent with such a mistake would have committed.
    fn spoil(&self, sabotage: Option<Sabotage>) -> Result<()> {
        let connection = rusqlite::Connection::open(self.spool_path())?;
        let statement = match sabotage {
            Some(Sabotage::OwnerlessEvent) => {
                "UPDATE event SET payload = CAST(replace(CAST(payload AS TEXT), '\"department\":\"housing\"', '\"department\":\"\"') AS BLOB)"
            }
            Some(Sabotage::LoseMinutes) => "DELETE FROM summary WHERE id % 9 = 5",
            _ => {
                "UPDATE event SET payload = CAST(replace(CAST(payload AS TEXT), '\"gap\":', '\"said\":') AS BLOB)"
            }
        };
        connection.execute(statement, [])?;
        Ok(())
    }

    /// Readings and minutes that are in the spool for the first time.
    fn look_at_readings(&mut self, ledger: &Ledger) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let mut statement =
            running.readings.prepare_cached("SELECT id, device, seq, value FROM reading WHERE id > ?1")?;
        let mut rows = statement.query([self.newest_reading])?;
        while let Some(row) = rows.next()? {
            self.newest_reading = row.get(0)?;
            ledger.kept(&Kept {
                device: DeviceId(row.get::<_, i64>(1)?.cast_unsigned()),
                seq: Seq(row.get::<_, i64>(2)?.cast_unsigned()),
                value: Milli(row.get(3)?),
            })?;
        }
        let minutes = format!("SELECT {}, id FROM summary WHERE id > ?1", minutes::COLUMNS);
        let mut statement = running.readings.prepare_cached(&minutes)?;
        let mut rows = statement.query([self.newest_minute])?;
        while let Some(row) = rows.next()? {
            self.newest_minute = row.get("id")?;
            ledger.minute_kept(&MinuteRow::read(row)?)?;
        }
        Ok(())
    }

    /// The power fails in the middle of a transaction; whether there was one. What the broker refused is not in it: whether
    /// that is set aside would not be known.
    pub(super) fn persist_torn(
        &mut self,
        frames: usize,
        now: i64,
        rng: &mut fastrand::Rng,
        ledger: &mut Ledger,
    ) -> Result<bool> {
        if let Some(running) = &mut self.running {
            running.refusals.clear();
        }
        let before = self.files()?;
        let durable = self.transaction(frames, now, ledger)?;
        self.tear(&before, rng)?;
        Ok(durable)
    }

    /// The power fails somewhere between this state of the disk and its present one.
    pub(super) fn tear(&mut self, before: &Files, rng: &mut fastrand::Rng) -> Result<()> {
        let after = self.files()?;
        self.restore(&torn::between(before, &after, rng))
    }

    fn transaction(&mut self, frames: usize, now: i64, ledger: &mut Ledger) -> Result<bool> {
        let now = self.now(now);
        let Some(running) = &mut self.running else { return Ok(false) };
        let mut group: Vec<FrameIn> = self.inbox.drain(..frames.min(self.inbox.len())).collect();
        if group.is_empty() && running.release.is_empty() && running.refusals.is_empty() {
            return Ok(false);
        }
        for rows in &running.release {
            ledger.released(rows)?;
        }
        match running.committer.persist(&mut group, now, &running.release, &running.refusals) {
            Ok(()) => {}
            Err(SpoolError::Full { .. }) if self.disk_full => return Ok(false),
            Err(error) => {
                return Err(error).context("the disk has room, and the spool does not take a transaction");
            }
        }
        Ok(true)
    }

    /// Sends the answers that [`Self::persist`] allowed.
    pub(super) fn answer(&mut self, now: i64) {
        let now = self.now(now);
        if let Some(running) = &mut self.running
            && let Some(newest) = running.committer.answer(now)
        {
            running.committed = newest;
        }
    }

    /// Hands the next events to the connection.
    pub(super) fn publish(&mut self) -> Result<bool> {
        let Some(Running {
            outflow,
            outbox,
            committed,
            batch_events_max,
            release,
            connection: Some(connection),
            ..
        }) = &mut self.running
        else {
            return Ok(false);
        };
        let mut any = false;
        while let Some(row) = outflow.next(outbox, || *committed).map_err(anyhow::Error::msg)? {
            let more = outflow.more(&row, *batch_events_max - 1, usize::MAX);
            let (ids, payloads): (Vec<_>, Vec<_>) = more.into_iter().map(|row| (row.id, row.payload)).unzip();
            outflow.submit_with(row.id, ids, row.topic);
            outflow.sent(connection.publish([row.payload].into_iter().chain(payloads).collect()));
            any = true;
        }
        release.extend(std::iter::from_fn(|| outflow.take_released(false)));
        Ok(any)
    }

    /// The spool as it is on the disk now.
    pub(super) fn files(&self) -> Result<Files> {
        let read = |suffix: &str| match std::fs::read(self.file(suffix)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        Ok(Files { database: read("")?, log: read("-wal")?, mark: read(".mark")? })
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("spool.db{suffix}"))
    }

    /// The disk holds this and nothing else.
    pub(super) fn restore(&mut self, files: &Files) -> Result<()> {
        self.kill();
        for suffix in ["", "-wal", "-shm"] {
            if self.file(suffix).exists() {
                std::fs::remove_file(self.file(suffix))?;
            }
        }
        std::fs::write(self.file(""), &files.database)?;
        std::fs::write(self.file(".mark"), &files.mark)?;
        if !files.log.is_empty() {
            std::fs::write(self.file("-wal"), &files.log)?;
        }
        // Rows of a transaction that did not happen are given again.
        (self.newest_reading, self.newest_minute) = (0, 0);
        Ok(())
    }
}
