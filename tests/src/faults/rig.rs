//! The real parts, put together: nodes in processes, the `gridpost` program, Mosquitto, a platform, and cables between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gridpost_agent::event::make::District;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;
use gridpost_protocol::time::ClockQuality;
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::Tally;
use super::damage::Account;
use super::platform::Platform;
use super::proxy::{Cable, Proxy};
use super::street;
use crate::agent::{GatewayFolder, PATIENCE};
use crate::mosquitto::{Mosquitto, MosquittoOptions, free_port};
use crate::program::Program;
use crate::sim::oracle::{self, KeptReading};

/// Processes of nodes, and nodes in each: devices 1 to 8 of the sample district.
const STREETS: u64 = 2;
const DEVICES_EACH: u64 = 4;
/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long what was let go of by the spool, and may have been taken by damage, may be on its way from the broker.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);
/// Events that must come after a fault, to show that the service goes on.
const EVENTS_ON: usize = 3;
/// Events that may wait when the next thing goes wrong: a broker that is killed all the time would else have them gather.
const BACKLOG_MAX: i64 = 1_000;

const FILES: &[(&str, &[u8])] = &[
    ("pack.toml", include_bytes!("../../../agent/sample/pack.toml")),
    ("departments.csv", include_bytes!("../../../agent/sample/departments.csv")),
    ("catalogue.csv", include_bytes!("../../../agent/sample/catalogue.csv")),
    ("sites.csv", include_bytes!("../../../agent/sample/sites.csv")),
    ("devices.csv", include_bytes!("../../../agent/sample/devices.csv")),
    ("rules.toml", include_bytes!("rules.toml")),
];

/// How a rig is put together.
#[derive(Clone, Debug)]
pub(super) struct RigOptions {
    /// The program with the subcommand `street`.
    pub(super) program: PathBuf,
    /// Where the spool lies; in the gateway's folder if not said.
    pub(super) spool: Option<PathBuf>,
    /// The wall clock of the agent is in our hands.
    pub(super) clock: bool,
    /// Records a second of each node.
    pub(super) rate: u32,
}

/// A process of nodes.
struct Street {
    process: Option<Program>,
    devices: Vec<DeviceId>,
}

/// All parts.
pub(super) struct Rig {
    options: RigOptions,
    /// Moves platform and cables.
    _runtime: Runtime,
    pub(super) broker: Mosquitto,
    pub(super) uplink: Proxy,
    pub(super) link: Proxy,
    pub(super) folder: GatewayFolder,
    pub(super) agent: Option<Program>,
    streets: Vec<Street>,
    pub(super) platform: Platform,
    /// Records that nodes were told are durable.
    appended: BTreeMap<DeviceId, BTreeSet<Seq>>,
    /// Nodes that have nothing left, since they rest.
    empty: HashSet<DeviceId>,
    /// Everything that the agent said.
    said: Vec<String>,
}

impl Rig {
    /// Starts everything. `None` on a machine that lacks a part, and may.
    pub(super) fn start(options: RigOptions) -> Result<Option<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mosquitto = MosquittoOptions {
            persistent: true,
            // As a platform should have it: on disk at each change. Without it a killed broker forgets what it acknowledged.
            extra: "autosave_interval 1\nautosave_on_changes true\nmax_inflight_messages 0".to_owned(),
            ..MosquittoOptions::default()
        };
        let Some(mut broker) = Mosquitto::start(&mosquitto)? else { return Ok(None) };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = local(free_port()?);
        let uplink = Proxy::start(runtime.handle(), local(broker.port()))?;
        let link = Proxy::start(runtime.handle(), listen)?;
        let folder = GatewayFolder::new("mqtt://replaced")?;
        let spool = options.spool.clone().unwrap_or_else(|| folder.path("spool.db"));
        folder.configure(&format!(
            "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = '{}'\n\
             [[link.tcp]]\nname = 'lan'\nlisten = '{listen}'\n\
             [uplink]\nbrokers = ['mqtt://{}']\nack_timeout_s = 4\nkeep_alive_s = 5\n",
            spool.display(),
            uplink.address
        ))?;
        for (name, content) in FILES {
            fs::write(folder.path("pack").join(name), content)?;
        }
        fs::write(folder.path("clock"), "+0")?;
        let platform = Platform::start(runtime.handle(), broker.port())?;
        broker.save()?;
        let mut streets = Vec::new();
        for street in 0..STREETS {
            let devices: Vec<_> = (0..DEVICES_EACH)
                .map(|n| DeviceId(0x6770_0000_0000_0001 + street * DEVICES_EACH + n))
                .collect();
            for device in &devices {
                let image = street::image(&folder.path(""), *device);
                folder.run(&[
                    "provision",
                    "--device",
                    &device.to_string(),
                    "--keys",
                    "keys.toml",
                    "--first-seq",
                    "1",
                    "--image",
                    &image.display().to_string(),
                ])?;
            }
            streets.push(Street { process: None, devices });
        }
        let mut rig = Self {
            options,
            _runtime: runtime,
            broker,
            uplink,
            link,
            folder,
            agent: None,
            streets,
            platform,
            appended: BTreeMap::new(),
            empty: HashSet::new(),
            said: Vec::new(),
        };
        rig.start_agent()?;
        for street in 0..rig.streets.len() {
            rig.start_street(street)?;
        }
        rig.goes_on()?;
        Ok(Some(rig))
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.options.spool.clone().unwrap_or_else(|| self.folder.path("spool.db"))
    }

    fn agent_command(&self) -> Result<Command> {
        let mut command = self.folder.command(&["run", "-c", "gridpost.toml"]);
        if self.options.clock {
            command
                .env("LD_PRELOAD", super::faketime().context("libfaketime")?)
                .env("FAKETIME_TIMESTAMP_FILE", self.folder.path("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        Ok(command)
    }

    /// Starts the agent, and does not wait for it.
    pub(super) fn launch_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "there is one");
        self.agent = Some(Program::start(&mut self.agent_command()?)?);
        Ok(())
    }

    /// Starts the agent, if there is none, and waits until it is ready.
    pub(super) fn start_agent(&mut self) -> Result<()> {
        if self.agent.is_none() {
            self.launch_agent()?;
            self.agent_says("\"ready\"")?;
        }
        Ok(())
    }

    /// Waits until the agent says something with this in it.
    pub(super) fn agent_says(&mut self, text: &str) -> Result<String> {
        self.agent.as_mut().context("no agent")?.wait_for_text(PATIENCE, text)
    }

    /// What the agent has said and nobody waited for, is heard now, so that what is waited for next is said from now on.
    pub(super) fn agent_heard(&mut self) {
        if let Some(agent) = &mut self.agent {
            self.said.extend(agent.drain());
            let surplus = self.said.len().saturating_sub(200);
            self.said.drain(..surplus);
        }
    }

    /// Whether the agent has said this since it was [heard](Self::agent_heard), or has ended.
    pub(super) fn agent_said(&mut self, text: &str) -> Result<bool> {
        let agent = self.agent.as_mut().context("no agent")?;
        let lines = agent.drain();
        let said = lines.iter().any(|line| line.contains(text)) || agent.has_ended()?;
        self.said.extend(lines);
        Ok(said)
    }

    /// kill -9 of the agent, if it runs.
    pub(super) fn kill_agent(&mut self) -> Result<()> {
        if let Some(agent) = self.agent.take() {
            agent.kill9()?;
        }
        Ok(())
    }

    pub(super) fn signal_agent(&self, signal: Signal) -> Result<()> {
        self.agent.as_ref().context("no agent")?.signal(signal)
    }

    pub(super) fn streets(&self) -> usize {
        self.streets.len()
    }

    fn start_street(&mut self, index: usize) -> Result<()> {
        let street = &mut self.streets[index];
        ensure!(street.process.is_none(), "there is one");
        let devices: Vec<_> = street.devices.iter().map(ToString::to_string).collect();
        let mut command = Command::new(&self.options.program);
        command
            .arg("street")
            .arg("--folder")
            .arg(self.folder.path(""))
            .args(["--gateway", &self.link.address.to_string(), "--devices", &devices.join(",")])
            .args(["--rate", &self.options.rate.to_string()]);
        // Some devices have a clock, some go by their gateway's, which is set in this run.
        if self.options.clock && index % 2 == 1 {
            command.arg("--synced");
        }
        street.process = Some(Program::start(&mut command)?);
        Ok(())
    }

    /// kill -9 of a process of nodes; it starts again at once.
    pub(super) fn kill_street(&mut self, index: usize) -> Result<()> {
        let process = self.streets[index].process.take().context("no such process")?;
        process.signal(Signal::KILL)?;
        let (_, lines) = process.wait(PATIENCE)?;
        for line in lines {
            self.hear(&line)?;
        }
        self.start_street(index)
    }

    pub(super) fn signal_street(&self, index: usize, signal: Signal) -> Result<()> {
        self.streets[index].process.as_ref().context("no such process")?.signal(signal)
    }

    fn hear(&mut self, line: &str) -> Result<()> {
        let mut words = line.split(' ');
        let (what, device) = (words.next(), words.next().and_then(|word| word.parse::<DeviceId>().ok()));
        match (what, device) {
            (Some("appended"), Some(device)) => {
                let seq = words.next().and_then(|word| word.parse().ok()).map(Seq);
                // A line that was cut off by a kill promises nothing.
                if let Some(seq) = seq
                    && !self.appended.entry(device).or_default().insert(seq)
                {
                    bail!("{device} gave the number {seq} twice");
                }
            }
            (Some("empty"), Some(device)) => {
                self.empty.insert(device);
            }
            (Some("up" | "trouble"), _) => {}
            _ => bail!("a process of nodes says: {line}"),
        }
        Ok(())
    }

    /// Takes in what nodes and agent have said.
    pub(super) fn listen(&mut self) -> Result<()> {
        let lines: Vec<_> = self
            .streets
            .iter_mut()
            .filter_map(|street| street.process.as_mut())
            .flat_map(Program::drain)
            .collect();
        for line in lines {
            self.hear(&line)?;
        }
        Ok(())
    }

    /// Waits until something is so.
    pub(super) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut so: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.listen()?;
            if so(self)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.agent_heard();
                bail!("{what}: not in {patience:?}; the agent said last:\n{}", self.said.join("\n"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until further events have come to the platform.
    pub(super) fn goes_on(&mut self) -> Result<()> {
        let before = self.platform.count();
        self.until("further events", PATIENCE, |rig| Ok(rig.platform.count() >= before + EVENTS_ON))?;
        let spool = self.spool();
        self.until("a short backlog", PATIENCE, |_| Ok(waiting(&spool)? <= BACKLOG_MAX))
    }

    /// Nothing goes wrong any more, and nodes measure no more: waits until they have nothing left and nothing waits in the spool.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.uplink.set(Cable::Sound);
        self.link.set(Cable::Sound);
        self.start_agent()?;
        fs::write(street::rest_file(&self.folder.path("")), "")?;
        self.empty.clear();
        let nodes: usize = self.streets.iter().map(|street| street.devices.len()).sum();
        self.until("nodes without records", PATIENCE, |rig| Ok(rig.empty.len() == nodes))?;
        let spool = self.spool();
        self.until("a spool without events", PATIENCE, |_| Ok(waiting(&spool)? == 0))
    }

    /// The district as the agent has it.
    pub(super) fn district() -> Result<District> {
        let pack = Pack::from_files(FILES).map_err(|errors| anyhow::anyhow!("the pack: {errors}"))?;
        Ok(District { pack, gateway: "gw-1".to_owned() })
    }

    /// Comes to rest, and holds what came against what was there before the spool was damaged.
    pub(super) fn settle_damaged(&mut self, account: &Account) -> Result<Tally> {
        self.rest()?;
        let all = self.appended.iter().flat_map(|(device, all)| all.iter().map(|seq| (*device, *seq)));
        let appended = all.collect();
        // What the spool let go of, the broker has; it may be on its way. Whoever waits for what damage took waits in vain.
        let (spool, deadline) = (self.spool(), Instant::now() + ARRIVES_WITHIN);
        let mut tally = Tally::default();
        self.until("what came", PATIENCE, |rig| {
            tally = account.judge(&spool, &appended, &rig.platform.got())?;
            Ok(tally.received == tally.events || Instant::now() >= deadline)
        })?;
        self.stop()?;
        Ok(tally)
    }

    /// Comes to rest, and holds what came against what was promised.
    pub(super) fn settle(&mut self) -> Result<Tally> {
        self.rest()?;
        let readings = oracle::kept(&self.spool())?;
        let mut tally = self.judge_records(&readings)?;
        let expected = oracle::expected(&Self::district()?, &readings)?;
        // What the spool let go of, the broker has; it may be on its way.
        let arrived = self.until("all events", PATIENCE, |rig| Ok(rig.platform.has_all(expected.keys())));
        let got = self.platform.got();
        tally.events = expected.len() as u64;
        tally.received = expected.keys().filter(|id| got.contains_key(*id)).count() as u64;
        tally.lost += tally.events - tally.received;
        tally.duplicates = got.values().map(|one| one.times - 1).sum();
        for (id, one) in &got {
            let wanted = expected.get(id);
            ensure!(
                wanted.is_some(),
                "nobody's readings call for event {id}: {}",
                String::from_utf8_lossy(&one.payload)
            );
            ensure!(!one.differs && wanted == Some(&one.payload), "event {id} is not what it should be");
        }
        if tally.lost == 0 {
            arrived?;
        }
        self.stop()?;
        Ok(tally)
    }

    fn stop(&mut self) -> Result<()> {
        self.signal_agent(Signal::TERM)?;
        let (status, said) = self.agent.take().context("no agent")?.wait(PATIENCE)?;
        ensure!(status.success(), "SIGTERM ends it in order: {status}\n{}", said.join("\n"));
        Ok(())
    }

    /// Each record that a node was told is durable is there once, and is what was measured.
    fn judge_records(&self, readings: &[KeptReading]) -> Result<Tally> {
        let mut there = HashSet::new();
        for (kept, at, clock, reading) in readings {
            ensure!(
                there.insert((kept.device, kept.seq)),
                "record {} of {} is there twice",
                kept.seq,
                kept.device
            );
            ensure!(
                *reading == street::reading(kept.device, kept.seq),
                "record {} of {} is not what was measured",
                kept.seq,
                kept.device
            );
            let synced = self.options.clock && self.is_synced(kept.device);
            ensure!(
                synced || (*clock == ClockQuality::Device && *at == street::made_at(kept.seq)),
                "record {} of {} is not from when it was measured",
                kept.seq,
                kept.device
            );
        }
        let sent = self.appended.values().map(|all| all.len() as u64).sum();
        let all = self.appended.iter().flat_map(|(device, all)| all.iter().map(|seq| (*device, *seq)));
        let lost = all.filter(|record| !there.contains(record)).count() as u64;
        Ok(Tally { sent, lost, ..Tally::default() })
    }

    /// Whether records of nodes that go by the gateway's clock are from days apart.
    pub(super) fn days_apart(&self) -> Result<bool> {
        let readings = oracle::kept(&self.spool())?;
        let times = readings.iter().filter(|(kept, ..)| self.is_synced(kept.device)).map(|(_, at, ..)| at.0);
        let (first, last) =
            times.fold((i64::MAX, i64::MIN), |(first, last), at| (first.min(at), last.max(at)));
        Ok(last.saturating_sub(first) > 12 * 3_600_000)
    }

    fn is_synced(&self, device: DeviceId) -> bool {
        self.streets.iter().skip(1).step_by(2).any(|street| street.devices.contains(&device))
    }
}

/// How many events wait in a spool that the agent has open.
fn waiting(spool: &Path) -> Result<i64> {
    let connection = Connection::open_with_flags(spool, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection.query_row(
        "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM refused)",
        [],
        |row| row.get(0),
    )?)
}
