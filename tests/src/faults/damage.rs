//! A spool whose file is damaged while the agent is down. What is promised then is less than for every other fault, and exactly this:
//!
//! - The gateway starts, says at the platform that its spool was damaged (`gridpost.spool-damaged`), keeps the damaged file
//!   as it was, and goes on.
//! - A record that had not been acknowledged comes.
//! - A record that had been committed, and an event that waited, is there (brought over, or at the platform already), or in
//!   the file that was set aside and reported; what went on missing behind it is reported as a gap (`gridpost.gap`).
//!
//! So what is missing is named by one of the two reports, or it is lost. Not promised, and not tried here: a file or a write-ahead log
//! that somebody deletes. What is left is sound, and nothing tells that there was more.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use fastrand::Rng;
use gridpost_protocol::id::{DeviceId, Seq};
use serde_json::Value;
use tempfile::TempDir;

use super::kinds::moment;
use super::proxy::Cable;
use super::rig::{PATIENCE, Rig, RigOptions, events_in, waiting};
use super::{Campaign, Tally};
use crate::sim::oracle;

/// What is left at the least of a file that is cut off, in bytes: with less it is no database that lost something, but none.
const HEADER_BYTES: u64 = 4096;
/// The most bytes of noise.
const NOISE_BYTES_MAX: usize = 20_000;
/// Events that must wait before some damages.
const WAITING_MIN: i64 = 20;

/// What a spool held just before it was damaged.
struct Before {
    records: HashSet<(DeviceId, Seq)>,
    events: HashMap<String, Vec<u8>>,
    /// Whether the damage was reported, at the next start.
    reported: bool,
}

pub(super) fn run(campaign: &Campaign, options: RigOptions) -> Result<Option<Tally>> {
    let Some(mut rig) = Rig::start(options)? else { return Ok(None) };
    let mut rng = Rng::with_seed(campaign.seed);
    let mut all = Vec::new();
    for _ in 0..campaign.rounds {
        moment(&mut rng);
        if rng.bool() {
            // Something waits in it.
            rig.uplink.set(Cable::Dead);
            let spool = rig.spool();
            rig.until("events that wait", PATIENCE, |_| Ok(waiting(&spool)? > WAITING_MIN))?;
        }
        rig.kill_agent()?;
        let mut before = look(&rig.spool())?;
        let what = damage(&rig.spool(), &mut rng)?;
        rig.uplink.set(Cable::Sound);
        rig.launch_agent()?;
        let said = rig.agent_says_either("\"ready\"", "the spool was damaged")?;
        before.reported = said.contains("the spool was damaged");
        if before.reported {
            rig.agent_says("\"ready\"")?;
        }
        // Noise in pages that nobody uses any more is no damage.
        ensure!(before.reported || what == Damage::Noise, "{what:?} was not noticed");
        all.push(before);
        rig.goes_on()?;
        rig.agent_heard();
    }
    rig.rest()?;
    let mut tally = judge(&mut rig, &all)?;
    tally.rounds = campaign.rounds;
    Ok(Some(tally))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    CutOff,
    Noise,
}

fn damage(spool: &Path, rng: &mut Rng) -> Result<Damage> {
    let file = fs::OpenOptions::new().read(true).write(true).open(spool)?;
    let bytes = file.metadata()?.len();
    let what = if rng.bool() { Damage::CutOff } else { Damage::Noise };
    match what {
        // Without the log, whose pages would make it whole again.
        Damage::CutOff => {
            file.set_len(rng.u64(HEADER_BYTES..bytes.max(HEADER_BYTES + 1)))?;
            fs::remove_file(beside(spool, "-wal"))?;
        }
        Damage::Noise => {
            let noise: Vec<u8> = (0..rng.usize(1..NOISE_BYTES_MAX)).map(|_| rng.u8(..)).collect();
            file.write_all_at(&noise, rng.u64(..bytes.max(1)))?;
        }
    }
    Ok(what)
}

/// Reads a copy of the files, as the next start would find them undamaged.
fn look(spool: &Path) -> Result<Before> {
    let folder = TempDir::with_prefix("gridpost-before-")?;
    let copy = folder.path().join("spool.db");
    for suffix in ["", "-wal"] {
        if beside(spool, suffix).exists() {
            fs::copy(beside(spool, suffix), beside(&copy, suffix))?;
        }
    }
    let records = oracle::kept(&copy)?.iter().map(|(kept, ..)| (kept.device, kept.seq)).collect();
    Ok(Before { records, events: events_in(&copy)?, reported: false })
}

fn judge(rig: &mut Rig, all: &[Before]) -> Result<Tally> {
    let there: HashSet<_> =
        oracle::kept(&rig.spool())?.iter().map(|(kept, ..)| (kept.device, kept.seq)).collect();
    let owed: Vec<&String> =
        all.iter().filter(|one| !one.reported).flat_map(|one| one.events.keys()).collect();
    let reports = all.iter().filter(|one| one.reported).count();
    rig.until("all reports", PATIENCE, |rig| {
        let got = rig.platform.got();
        let damaged = got.values().filter(|one| is_report(&one.payload)).count();
        Ok(damaged >= reports && owed.iter().all(|id| got.contains_key(*id)))
    })?;
    let got = rig.platform.got();
    let gaps = got.values().filter_map(|one| gap(&one.payload)).collect::<Vec<_>>();
    let (mut sent, mut lost, mut reported) = (0, 0, 0);
    for (device, numbers) in rig.appended() {
        for seq in numbers {
            sent += 1;
            let record = (*device, *seq);
            if there.contains(&record) {
                continue;
            }
            let in_a_gap =
                gaps.iter().any(|(of, first, last)| of == device && (*first..=*last).contains(seq));
            let set_aside = all.iter().any(|one| one.reported && one.records.contains(&record));
            if in_a_gap || set_aside { reported += 1 } else { lost += 1 }
        }
    }
    let waited: HashMap<&String, bool> =
        all.iter().flat_map(|one| one.events.keys().map(|id| (id, one.reported))).collect();
    let received = waited.keys().filter(|id| got.contains_key(**id)).count() as u64;
    lost += waited.iter().filter(|(id, reported)| !got.contains_key(**id) && !**reported).count() as u64;
    let duplicates = got.values().map(|one| one.times - 1).sum();
    Ok(Tally { rounds: 0, sent, events: waited.len() as u64, received, duplicates, lost, reported })
}

fn is_report(payload: &[u8]) -> bool {
    serde_json::from_slice::<Value>(payload).is_ok_and(|event| event["type"] == "gridpost.spool-damaged")
}

fn gap(payload: &[u8]) -> Option<(DeviceId, Seq, Seq)> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let gap = &event["data"]["gap"];
    let device = event["data"]["device"]["id"].as_str()?.parse().ok()?;
    Some((device, Seq(gap["first"].as_u64()?), Seq(gap["last"].as_u64()?)))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
