//! What a long outage leaves: millions of events in the spool, while thousands of devices go on sending. Measured is the real program,
//! as a process of its own: how long it starts, how much memory it takes, how fast it drains, and what fresh events wait meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gridpost_agent::spool::{Spool, SpoolLimits};
use gridpost_protocol::id::{DeviceId, Seq};
use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::device::Device;
use super::measure::{FILES, FIRST_DEVICE, alternating, key, percentile, sample_events_of};
use crate::listener::Listener;
use crate::mosquitto::{Mosquitto, MosquittoOptions};
use crate::program::Program;

/// Devices whose readings are events; they are the first ones.
const LIVE: u64 = 10;
/// How often each device sends a reading.
const EVERY: Duration = Duration::from_secs(1);
/// How long devices send before there is a broker, and at least while the backlog drains.
const SENDING: Duration = Duration::from_secs(20);
/// Connections that are being made at once: fewer than a peer may have without proof.
const CONNECTING: usize = 32;
/// Devices that share an address of the loopback network.
const PER_ADDRESS: u64 = 500;
const EVENTS_AT_ONCE: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(1800);

/// The matter of the events that have gathered, and of the fresh ones.
const MATTERS: [&str; 2] = ["0501001", "0501002"];

/// How large the test is.
#[derive(Clone, Debug)]
pub struct Size {
    /// Events in the spool.
    pub events: u64,
    /// Devices that are connected and send.
    pub devices: u64,
    /// Events of the backlog in one publish at most.
    pub batch: u16,
    /// The `gridpost` program.
    pub program: PathBuf,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    size: Size,
    spool_bytes: u64,
    start: Duration,
    rss: Vec<(&'static str, Rss)>,
    drain: f64,
    latency: [Duration; 2],
}

/// A process's memory, in KiB (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default)]
struct Rss {
    now: u64,
    most: u64,
    anonymous: u64,
}

impl fmt::Display for Rss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (now, most, anonymous) = (mib(self.now), mib(self.most), mib(self.anonymous));
        write!(f, "{now:.1} MiB now, {most:.1} at most, {anonymous:.1} anonymous")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { events, devices, batch, .. } = self.size;
        writeln!(f, "| what | measured |\n|---|---:|")?;
        writeln!(
            f,
            "| spool with {events} events | {:.2} GB, {} bytes an event |",
            self.spool_bytes as f64 / 1e9,
            self.spool_bytes / events.max(1)
        )?;
        writeln!(f, "| from the program's start until it is ready | {:.2?} |", self.start)?;
        for (when, rss) in &self.rss {
            writeln!(f, "| memory, {when} | {rss} |")?;
        }
        writeln!(
            f,
            "| the backlog drains, {devices} devices sending, up to {batch} events a publish | {:.0} events/s |",
            self.drain
        )?;
        write!(
            f,
            "| from reading sent to event received meanwhile | p50 {:.1?}, p99 {:.1?} |",
            self.latency[0], self.latency[1]
        )
    }
}

/// Measures all of it in a folder. `None` when Mosquitto is lacking.
///
/// # Errors
/// A part does not work.
pub async fn run(folder: &Path, size: Size) -> Result<Option<Report>> {
    let Size { events, devices, .. } = size;
    ensure!(size.program.exists(), "{} is lacking: build it first", size.program.display());
    let options = MosquittoOptions {
        extra: "max_queued_messages 0\nset_tcp_nodelay true".to_owned(),
        ..MosquittoOptions::default()
    };
    let Some(mut broker) = Mosquitto::start(&options)? else { return Ok(None) };
    write_folder(folder, &broker.url(), devices, size.batch)?;
    let spool = folder.join("spool.db");
    step("filling the spool");
    fill(&spool, events)?;
    step("starting the gateway");
    let spool_bytes = fs::metadata(&spool)?.len();
    // The outage.
    broker.kill()?;

    let began = Instant::now();
    let mut program = Command::new(&size.program);
    program.args(["run", "-c", "gridpost.toml"]).current_dir(folder).env("GRIDPOST_LOG", "info");
    let mut agent = Program::start(&mut program)?;
    // The link's task may say that it listens after the gateway says that it is ready.
    let (mut address, mut start) = (None, None);
    while address.is_none() || start.is_none() {
        let line = agent.wait_for(PATIENCE, |line| {
            (line.contains("\"listening\"") || line.contains("\"ready\"")).then(|| line.to_owned())
        })?;
        match line.contains("\"ready\"") {
            true => start = Some(began.elapsed()),
            false => address = Some(address_in(&line)?),
        }
    }
    let (address, start) = (address.context("where it listens")?, start.context("ready")?);
    let mut rss = vec![("after the start", memory(agent.id())?)];
    step(&format!("started in {start:.2?}, {}", rss[0].1));

    let (sending, mut tasks) = connect(address, devices).await?;
    step("all devices are connected and send");
    tokio::time::sleep(SENDING).await;
    rss.push(("all devices sending, no broker", memory(agent.id())?));
    step(&format!("nothing gets out yet, {}", rss[1].1));

    broker.restart()?;
    let filter = format!("gridpost/1/+/event/+/+/+/{}/+", MATTERS[1]);
    let mut listener = Listener::start(broker.port(), &filter).await?;
    step("the broker is back");
    // Until then the gateway waits before it tries again.
    listener.wait_until(|heard| !heard.is_empty()).await?;
    let waiting = events_waiting(&spool)?;
    step("the gateway is connected");
    let drained_since = Instant::now();
    // What gathers meanwhile is little, and is not what is measured.
    let few = (waiting / 1000).max(500);
    while events_waiting(&spool)? > few {
        ensure!(drained_since.elapsed() < PATIENCE, "it does not drain");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let drain = (waiting - few) as f64 / drained_since.elapsed().as_secs_f64();
    rss.push(("all devices sending, drained", memory(agent.id())?));
    step(&format!("drained, {drain:.0} events/s, {}", rss[2].1));
    sending.close();
    let mut sent = HashMap::new();
    while let Some(done) = tasks.join_next().await {
        let (device, times) = done??;
        sent.insert(device.to_string(), times);
    }
    // Only what was sent while the backlog drained: before that nobody was there to hear it.
    let fresh = |at: &Instant| *at > drained_since;
    let expected = sent.values().flatten().filter(|at| fresh(at)).count();
    let (mut looked_at, mut latencies) = (0, Vec::with_capacity(expected));
    let all_heard = listener.wait_until(|heard| {
        for message in &heard[looked_at..] {
            let at = record_in(&message.payload).and_then(|(device, seq)| sent.get(&device)?.get(seq - 1));
            if let Some(at) = at.filter(|at| fresh(at)) {
                latencies.push(message.at.saturating_duration_since(*at));
            }
        }
        looked_at = heard.len();
        latencies.len() >= expected
    });
    all_heard.await.with_context(|| format!("{expected} fresh events were to come"))?;
    latencies.sort();
    agent.signal(Signal::TERM)?;
    agent.wait(PATIENCE)?;
    let latency = [percentile(&latencies, 50)?, percentile(&latencies, 99)?];
    Ok(Some(Report { size, spool_bytes, start, rss, drain, latency }))
}

/// Devices that send until the semaphore is closed. Those whose readings are events give the times at which they sent.
async fn connect(
    address: SocketAddr,
    devices: u64,
) -> Result<(std::sync::Arc<Semaphore>, JoinSet<Result<(DeviceId, Vec<Instant>)>>)> {
    let (sending, connecting) =
        (std::sync::Arc::new(Semaphore::new(0)), std::sync::Arc::new(Semaphore::new(CONNECTING)));
    let mut tasks = JoinSet::new();
    let connected = std::sync::Arc::new(Semaphore::new(0));
    for n in 0..devices {
        let (sending, connecting, connected) = (sending.clone(), connecting.clone(), connected.clone());
        tasks.spawn(async move {
            let id = DeviceId(FIRST_DEVICE + n);
            let value = if n < LIVE { alternating } else { |n| 20_000 + (n % 97) as i32 };
            let from = Ipv4Addr::new(127, 0, 1 + (n / PER_ADDRESS) as u8, 1);
            let (mut device, mut sent) = {
                let _place = connecting.acquire().await?;
                let mut device = Device::connect_from(from, address, id, key(id), value).await?;
                // One record, so that it has shown who it is before the next ones come.
                let sent = if n < LIVE { vec![Instant::now()] } else { Vec::new() };
                device.send_until_acknowledged(Seq(2)).await?;
                (device, sent)
            };
            connected.add_permits(1);
            let mut ticks = tokio::time::interval(EVERY);
            // Not all at the same moment.
            tokio::time::sleep(EVERY * (n % 1000) as u32 / 1000).await;
            for seq in 2.. {
                ticks.tick().await;
                if sending.is_closed() {
                    break;
                }
                if n < LIVE {
                    sent.push(Instant::now());
                }
                device.send_until_acknowledged(Seq(seq + 1)).await?;
            }
            anyhow::Ok((id, sent))
        });
    }
    let all = tokio::time::timeout(PATIENCE, connected.acquire_many(devices as u32));
    all.await.context("devices do not get connected")??.forget();
    Ok((sending, tasks))
}

fn rule(matter: &str) -> Vec<u8> {
    format!(
        "[[rule]]\nid = 'bench-{matter}'\nmatter = '{matter}'\nquantity = 'temperature'\nabove = 35\nhold = '0s'\nclear = '0s'\n"
    )
    .into_bytes()
}

/// The pack's files, with `devices` devices, all at the sample's sites.
fn pack_files(matter: &str, devices: u64) -> Vec<(&'static str, Vec<u8>)> {
    let mut list = "device,site,model,serial,installed\n".to_owned();
    for n in 0..devices.max(LIVE) {
        let id = DeviceId(FIRST_DEVICE + n);
        list.push_str(&format!("{id},PS-000{},bench,B-{n},2026-01-15\n", 1 + n % 7));
    }
    let sample = FILES.iter().map(|(name, content)| (*name, content.to_vec()));
    sample
        .map(|(name, content)| match name {
            "devices.csv" => (name, list.clone().into_bytes()),
            "rules.toml" => (name, rule(matter)),
            _ => (name, content),
        })
        .collect()
}

fn write_folder(folder: &Path, broker: &str, devices: u64, batch: u16) -> Result<()> {
    fs::create_dir(folder.join("pack"))?;
    for (name, mut content) in pack_files(MATTERS[1], devices) {
        if name == "rules.toml" {
            // What every device has to compute is what the sample's rules demand.
            content.extend_from_slice(include_bytes!("../../../agent/sample/rules.toml"));
        }
        fs::write(folder.join("pack").join(name), content)?;
    }
    let mut keys = "[keys]\n".to_owned();
    for n in 0..devices.max(LIVE) {
        let id = DeviceId(FIRST_DEVICE + n);
        let hex: String = key(id).0.iter().map(|byte| format!("{byte:02x}")).collect();
        keys.push_str(&format!("{id} = \"{hex}\"\n"));
    }
    fs::write(folder.join("keys.toml"), keys)?;
    fs::set_permissions(folder.join("keys.toml"), fs::Permissions::from_mode(0o600))?;
    let config = format!(
        "[gateway]\nid = 'gw-bench'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'bench'\nlisten = '0.0.0.0:0'\n\
         [uplink]\nbrokers = ['{broker}']\nbatch_events_max = {batch}\n[spool]\noutbox_mb_max = 20000\n"
    );
    Ok(fs::write(folder.join("gridpost.toml"), config)?)
}

/// Fills a spool with events as a gateway makes them.
fn fill(path: &Path, events: u64) -> Result<()> {
    let limits = SpoolLimits {
        outbox_bytes_max: u64::MAX / 4,
        file_bytes_max: u64::MAX / 4,
        ..SpoolLimits::default()
    };
    let mut spool = Spool::open_with(path, limits)?;
    let files = pack_files(MATTERS[0], LIVE);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    let mut made = sample_events_of(&files, 1)?;
    for first in (0..events).step_by(EVENTS_AT_ONCE as usize) {
        let count = EVENTS_AT_ONCE.min(events - first);
        let chunk: Vec<_> = made.by_ref().take(count as usize).collect();
        ensure!(chunk.len() as u64 == count, "every reading is an event");
        spool.commit(|transaction| {
            chunk.iter().try_for_each(|event| transaction.add_event(event).map(drop))
        })?;
    }
    Ok(())
}

/// It takes minutes: says how far it is.
fn step(what: &str) {
    eprintln!("{what} ...");
}

fn events_waiting(spool: &Path) -> Result<u64> {
    let connection = rusqlite::Connection::open(spool)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let count: i64 =
        connection.query_row("SELECT value FROM meta WHERE name = 'events'", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// The device and the number of the record that an event is about.
fn record_in(payload: &[u8]) -> Option<(String, usize)> {
    let event: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let seq = event["data"]["quality"]["record"].as_u64().filter(|seq| *seq > 0)?;
    Some((event["data"]["device"]["id"].as_str()?.to_owned(), seq as usize))
}

/// The address in a line of the log such as `... address=0.0.0.0:41234`.
fn address_in(line: &str) -> Result<SocketAddr> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let (_, after) = line.rsplit_once("0.0.0.0:").context("where it listens")?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, digits(after).parse()?)))
}

fn memory(process: u32) -> Result<Rss> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).with_context(|| name.to_owned())
    };
    Ok(Rss { now: field("VmRSS")?, most: field("VmHWM")?, anonymous: field("RssAnon")? })
}
