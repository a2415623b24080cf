//! Nodes in a process of their own, so that they can be killed and frozen: the firmware library, a flash in a file, a TCP link.
//!
//! What a node measures, and when, follows from the record's number: whoever judges the run knows each record without having
//! been told. A line of the process's output says that a record is durable, as soon as the firmware says so.

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use embassy_time::Instant;
use embedded_io_adapters::tokio_1::FromTokio;
use gridpost_firmware::node::{About, Journal, Node, TalkError};
use gridpost_firmware::store::Store;
use gridpost_firmware::wall::{SyncedClock, WallClock};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::ResetCause;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};
use tokio::net::TcpStream;

use super::flash::FileFlash;

/// 2026-11-23T02:00:00Z: the time of record 0 at every node.
const BEGIN_MS: i64 = 1_795_399_200_000;
/// Records without an acknowledgement at which a node stops measuring until there are fewer: an outage is to fill no flash here.
const WAITING_MAX: u64 = 20_000;
/// How long to wait before the link is opened again.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
/// How often a node looks whether it is to rest.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Records in one phase of a script: quiet, and then loud.
const PHASE_RECORDS: u64 = 40;

/// Where a file stands that tells nodes to measure no more.
pub(super) fn rest_file(folder: &Path) -> PathBuf {
    folder.join("rest")
}

/// A node's flash image.
pub(super) fn image(folder: &Path, device: DeviceId) -> PathBuf {
    folder.join(format!("flash-{device}.img"))
}

/// The record with this number.
pub(super) fn reading(device: DeviceId, seq: Seq) -> Reading {
    let quantity = if device.0.is_multiple_of(4) { Quantity::LAeq } else { Quantity::Temperature };
    // A different course at each node and in each round; the same for the same number.
    let mut rng = fastrand::Rng::with_seed(device.0.rotate_left(17) ^ seq.0);
    let phase = seq.0 / PHASE_RECORDS + device.0;
    let base = match phase % 4 {
        0 | 2 => 30_000,
        1 => 38_000,
        _ => 40_500,
    };
    Reading { quantity, value: Milli(base + rng.i32(-800..800)), quality: Quality::GOOD }
}

/// When a node with a clock made the record with this number: one a second.
pub(super) fn made_at(seq: Seq) -> UnixMillis {
    UnixMillis(BEGIN_MS.saturating_add(i64::try_from(seq.0).unwrap_or(0).saturating_mul(1_000)))
}

/// What a process of nodes is told.
#[derive(Clone, Debug)]
pub struct StreetPlan {
    /// Where the flash images lie.
    pub folder: PathBuf,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Who lives here.
    pub devices: Vec<DeviceId>,
    /// Records a second of each node.
    pub rate: u32,
    /// The nodes have no clock, and go by their gateway's.
    pub synced: bool,
}

/// A node's clock: of its own, in which records are a second apart, or the gateway's.
#[derive(Clone)]
enum Clock {
    Own(Rc<Cell<Seq>>),
    Synced(SyncedClock),
}

impl WallClock for Clock {
    fn stamp(&self, boot: u32, uptime: UptimeMillis) -> Stamp {
        match self {
            Self::Own(next) => Stamp::Unix { at: made_at(next.get()), uncertainty_ms: 50 },
            Self::Synced(clock) => clock.stamp(boot, uptime),
        }
    }

    fn set(&mut self, offset_ms: i64, uncertainty_ms: u16) {
        if let Self::Synced(clock) = self {
            clock.set(offset_ms, uncertainty_ms);
        }
    }
}

struct Telling(DeviceId);

impl Journal for Telling {
    fn appended(&self, seq: Seq) {
        say(&format!("appended {} {seq}", self.0));
    }

    fn trouble(&self, what: std::fmt::Arguments<'_>) {
        say(&format!("trouble {} {what}", self.0));
    }
}

/// A line, or the end: a process that cannot tell what it promised is of no use.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Lives until it is killed, or whoever started it is gone.
///
/// # Errors
/// When a node's flash cannot be opened.
pub fn live(plan: &StreetPlan) -> Result<()> {
    let parent = rustix::process::getppid();
    let nodes: Vec<_> = plan
        .devices
        .iter()
        .map(|device| {
            let (plan, device) = (plan.clone(), *device);
            thread::Builder::new().name(device.to_string()).spawn(move || -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(node(&plan, device))
            })
        })
        .collect::<std::io::Result<_>>()?;
    while nodes.iter().all(|node| !node.is_finished()) {
        if rustix::process::getppid() != parent {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
    for node in nodes.into_iter().filter(thread::JoinHandle::is_finished) {
        node.join().map_err(|_| anyhow!("a node panicked"))??;
    }
    Ok(())
}

async fn node(plan: &StreetPlan, device: DeviceId) -> Result<()> {
    let image = image(&plan.folder, device);
    let flash = FileFlash::open(&image).with_context(|| format!("{}", image.display()))?;
    let store = Store::open(flash).await.map_err(|error| anyhow!("{device}: {error}"))?;
    let about = About { firmware: "faults", board: "process", reset_cause: ResetCause::PowerOn };
    let next = Rc::new(Cell::new(store.next_seq()));
    let clock = if plan.synced { Clock::Synced(SyncedClock::default()) } else { Clock::Own(next.clone()) };
    let node = Node::new(store, about, clock, Telling(device));
    say(&format!("up {device}"));
    let rest = rest_file(&plan.folder);
    let measure = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.rate.max(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut resting, mut said) = (false, false);
        loop {
            ticks.tick().await;
            let (oldest, seq) = {
                let store = node.store().lock().await;
                (store.oldest_seq(), store.next_seq())
            };
            resting = resting || rest.exists();
            if resting {
                if oldest == seq && !said {
                    say(&format!("empty {device}"));
                    said = true;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            } else if seq.0 - oldest.0 < WAITING_MAX {
                next.set(seq);
                let uptime = UptimeMillis(Instant::now().as_millis());
                let kept = node.keep(uptime, &Record::Reading(reading(device, seq))).await;
                kept.map_err(|error| anyhow!("{device}: {error}"))?;
            }
        }
    };
    let talk = async {
        loop {
            if let Ok(stream) = TcpStream::connect(plan.gateway).await {
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                if let TalkError::Restart = node.talk(FromTokio::new(reader), FromTokio::new(writer)).await {
                    return Err(anyhow!("{device}: its frame counters are used up"));
                }
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    };
    tokio::select! {
        _ = node.serve() => Ok(()),
        ended = measure => ended,
        ended = talk => ended,
    }
}
