//! What goes wrong, kind by kind, and how it is over again.

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use rustix::process::Signal;

use super::damage::Account;
use super::disk::Disk;
use super::proxy::{Cable, Proxy};
use super::rig::{Rig, RigOptions};
use super::{Campaign, Tally, faketime, lacking};
use crate::agent::PATIENCE;

/// Records a second of each node: with eight nodes, more than the agent of a test build takes while it is being killed.
const RATE: u32 = 150;
/// The longest time between two faults, in milliseconds: the moment is random, and that is all that is waited for.
const MOMENT_MS: u64 = 400;

/// Events after which an agent at work has not met the damage to its spool.
const EVENTS_MEANWHILE: usize = 50;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// kill -9 of the agent, also while it starts.
    KillAgent,
    /// kill -9 of the broker.
    KillBroker,
    /// kill -9 of nodes.
    KillNode,
    /// kill -9 of any of them, or of all at once.
    KillAny,
    /// Connections are reset, at the nodes or at the broker.
    Cut,
    /// Connections stand and nothing passes, at the nodes or at the broker.
    HalfOpen,
    /// No space left on the spool's disk.
    FullDisk,
    /// The spool's disk takes no more writes.
    ReadOnly,
    /// SIGSTOP of the agent, the broker or nodes.
    Freeze,
    /// The agent's wall clock is set by a day, back and forth.
    Clock,
    /// Pages of the spool, or of its log, are overwritten, or its end is cut off, while the agent is down or at work.
    Damage,
}

impl Kind {
    /// All of them, with names.
    pub const ALL: [(&'static str, Self); 11] = [
        ("kill-agent", Self::KillAgent),
        ("kill-broker", Self::KillBroker),
        ("kill-node", Self::KillNode),
        ("kill-any", Self::KillAny),
        ("cut", Self::Cut),
        ("half-open", Self::HalfOpen),
        ("full-disk", Self::FullDisk),
        ("read-only", Self::ReadOnly),
        ("freeze", Self::Freeze),
        ("clock", Self::Clock),
        ("damage", Self::Damage),
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        found.ok_or_else(|| format!("one of {}", names.join(", ")))
    }
}

pub(super) fn run(campaign: &Campaign) -> Result<Option<Tally>> {
    if campaign.kind == Kind::Damage && campaign.rounds > 1 {
        return one_by_one(campaign);
    }
    let mut options = RigOptions { program: campaign.program.clone(), spool: None, clock: false, rate: RATE };
    let mut disk = None;
    match campaign.kind {
        Kind::Clock if faketime().is_none() => {
            lacking("a clock of its own for one process: apt-get install faketime")?;
            return Ok(None);
        }
        Kind::FullDisk | Kind::ReadOnly => {
            let made = if campaign.kind == Kind::FullDisk { Disk::in_memory() } else { Disk::in_file() };
            match made {
                Ok(made) => disk = Some(made),
                // Not to be had by installing anything: it takes root, and a kernel that lends loop devices.
                Err(error) => {
                    eprintln!("\n*** LEFT OUT: {} needs a disk of its own: {error:#} ***\n", campaign.kind);
                    return Ok(None);
                }
            }
        }
        Kind::Clock => options.clock = true,
        _ => {}
    }
    options.spool = disk.as_ref().map(|disk| disk.path().join("spool.db"));
    let Some(mut rig) = Rig::start(options)? else { return Ok(None) };
    let mut rng = Rng::with_seed(campaign.seed);
    let mut account = None;
    for number in 0..campaign.rounds {
        let mut round = Round {
            number,
            rig: &mut rig,
            rng: &mut rng,
            disk: disk.as_ref(),
            account: &mut account,
            campaign,
        };
        round.happens()?;
        rig.goes_on()?;
        rig.agent_heard();
    }
    let tally = match &account {
        Some(account) => rig.settle_damaged(account)?,
        None => rig.settle()?,
    };
    ensure!(
        campaign.kind != Kind::Clock || campaign.rounds < 2 || rig.days_apart()?,
        "the clock was set by a day, and no record shows it"
    );
    drop(rig);
    Ok(Some(Tally { rounds: campaign.rounds, ..tally }))
}

/// Each round from a beginning of its own: what was there before damage is known, and after damage to that it is not.
fn one_by_one(campaign: &Campaign) -> Result<Option<Tally>> {
    let mut all = Tally::default();
    for number in 0..campaign.rounds {
        let alone = Campaign { rounds: 1, seed: campaign.seed + u64::from(number), ..campaign.clone() };
        let Some(tally) = alone.run()? else { return Ok(None) };
        all.add(&tally);
    }
    Ok(Some(all))
}

/// Waits for a random moment.
fn moment(rng: &mut Rng) {
    thread::sleep(Duration::from_millis(rng.u64(..MOMENT_MS)));
}

struct Round<'a> {
    number: u32,
    rig: &'a mut Rig,
    rng: &'a mut Rng,
    disk: Option<&'a Disk>,
    account: &'a mut Option<Account>,
    campaign: &'a Campaign,
}

impl Round<'_> {
    fn happens(&mut self) -> Result<()> {
        moment(self.rng);
        match self.campaign.kind {
            Kind::KillAgent => self.kill_agent(),
            Kind::KillBroker => self.kill_broker(),
            Kind::KillNode => self.kill_node(),
            Kind::KillAny => match self.rng.u8(..4) {
                0 => self.kill_agent(),
                1 => self.kill_broker(),
                2 => self.kill_node(),
                _ => {
                    self.rig.broker.kill()?;
                    self.rig.kill_agent()?;
                    self.kill_node()?;
                    self.rig.start_agent()?;
                    moment(self.rng);
                    self.rig.broker.restart()
                }
            },
            Kind::Cut => {
                for _ in 0..self.rng.u8(1..4) {
                    self.cable().cut();
                    moment(self.rng);
                }
                Ok(())
            }
            Kind::HalfOpen => self.half_open(),
            Kind::FullDisk => self.full_disk(),
            Kind::ReadOnly => self.read_only(),
            Kind::Freeze => self.freeze(),
            Kind::Clock => self.clock(),
            Kind::Damage => self.damage(),
        }
    }

    fn kill_agent(&mut self) -> Result<()> {
        self.rig.kill_agent()?;
        // Sometimes again before it is ready.
        while self.rng.u8(..3) == 0 {
            self.rig.launch_agent()?;
            thread::sleep(Duration::from_millis(self.rng.u64(..60)));
            self.rig.kill_agent()?;
        }
        self.rig.start_agent()
    }

    fn kill_broker(&mut self) -> Result<()> {
        self.rig.broker.kill()?;
        moment(self.rng);
        self.rig.broker.restart()
    }

    fn kill_node(&mut self) -> Result<()> {
        let street = self.rng.usize(..self.rig.streets());
        self.rig.kill_street(street)
    }

    fn cable(&mut self) -> &Proxy {
        if self.rng.bool() { &self.rig.uplink } else { &self.rig.link }
    }

    fn half_open(&mut self) -> Result<()> {
        if self.rng.bool() {
            self.rig.uplink.set(Cable::Dead);
            // The agent gives the connection up, and tries another one.
            let before = self.rig.uplink.accepted();
            self.rig.until("a new connection to the broker", PATIENCE, |rig| {
                Ok(rig.uplink.accepted() > before)
            })?;
        } else {
            self.rig.link.set(Cable::Dead);
            moment(self.rng);
        }
        // The path is back; or one end has forgotten the connection meanwhile.
        if self.rng.bool() {
            self.rig.uplink.cut();
            self.rig.link.cut();
        }
        self.rig.uplink.set(Cable::Sound);
        self.rig.link.set(Cable::Sound);
        Ok(())
    }

    fn full_disk(&mut self) -> Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        self.rig.agent_heard();
        disk.fill()?;
        self.rig.agent_says("nothing committed, nothing acknowledged")?;
        moment(self.rng);
        let killed = self.rng.bool();
        if killed {
            self.rig.kill_agent()?;
            // It starts, or says that there is no room: whoever keeps it running will start it again.
            self.rig.launch_agent()?;
            moment(self.rng);
            self.rig.kill_agent()?;
        }
        disk.empty()?;
        self.rig.start_agent()
    }

    fn read_only(&mut self) -> Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        self.rig.agent_heard();
        disk.fail()?;
        self.rig.agent_says("nothing committed, nothing acknowledged")?;
        moment(self.rng);
        self.rig.kill_agent()?;
        disk.repair()?;
        self.rig.start_agent()
    }

    fn freeze(&mut self) -> Result<()> {
        let least = Duration::from_secs(self.campaign.freeze_s);
        match self.rng.u8(..3) {
            0 => {
                self.rig.signal_agent(Signal::STOP)?;
                // Until the broker has had enough of it.
                self.rig.broker.wait_for_log(|line| line.contains("exceeded timeout"))?;
                thread::sleep(least);
                self.rig.signal_agent(Signal::CONT)
            }
            1 => {
                let before = self.rig.uplink.accepted();
                self.rig.broker.freeze()?;
                self.rig.until("a new connection to the broker", PATIENCE, |rig| {
                    Ok(rig.uplink.accepted() > before)
                })?;
                thread::sleep(least);
                self.rig.broker.thaw()
            }
            _ => {
                let street = self.rng.usize(..self.rig.streets());
                self.rig.signal_street(street, Signal::STOP)?;
                moment(self.rng);
                thread::sleep(least);
                self.rig.signal_street(street, Signal::CONT)
            }
        }
    }

    fn clock(&mut self) -> Result<()> {
        let to = ["+1d", "-1d", "+0"][self.number as usize % 3];
        // At once, as a clock is set: the agent may look at any moment.
        let new = self.rig.folder.path("clock.new");
        fs::write(&new, to)?;
        fs::rename(&new, self.rig.folder.path("clock"))?;
        // What is set may also be found at a start, or by a node that knows no time yet; nodes hear it when they say hello.
        match self.rng.u8(..3) {
            0 => self.kill_agent(),
            1 => self.kill_node(),
            _ => {
                self.rig.link.cut();
                Ok(())
            }
        }
    }

    fn damage(&mut self) -> Result<()> {
        let spool = self.rig.spool();
        if self.rng.bool() {
            self.rig.kill_agent()?;
            *self.account = Some(Account::harm(&spool, false, self.rng)?);
            return self.rig.start_agent();
        }
        // At work: it stands still only while what is there is noted.
        self.rig.signal_agent(Signal::STOP)?;
        *self.account = Some(Account::harm(&spool, true, self.rng)?);
        self.rig.agent_heard();
        self.rig.signal_agent(Signal::CONT)?;
        // It finds the damage, or goes on, because it needs no page of those.
        let before = self.rig.platform.count();
        self.rig.until("damage that is found, or life that goes on", PATIENCE, |rig| {
            Ok(rig.agent_said("is damaged")? || rig.platform.count() >= before + EVENTS_MEANWHILE)
        })?;
        // Killed in the midst of bringing over what can be read, or behind it. A start looks at all of it.
        moment(self.rng);
        self.rig.kill_agent()?;
        self.rig.start_agent()
    }
}
