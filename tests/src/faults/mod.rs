//! Faults on the real programs: nodes (the firmware library, in processes with their flash in files), `gridpost run`, Mosquitto and a
//! platform, under load, while one of them is killed, frozen, cut off or filled up. After the rounds of a kind everything comes
//! to rest, and what arrived is held against what the nodes were told is durable: each record once in the spool, and of
//! the events exactly those that one engine makes of the same records in one go ([`crate::sim`] has the same judge).
//!
//! `sent` are the records, `received` the events by id of `events` that are called for, `duplicates` what came more than once
//! (with the same id and content), `lost` the records and events that did not come. A run in which anything is lost fails.
//! What damage to the spool took, and the gateway reported, is `told`, and not lost.

mod damage;
pub mod disk;
mod flash;
mod kinds;
mod platform;
mod proxy;
mod rig;
pub mod street;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

pub use kinds::Kind;

/// What came of the rounds of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times that something went wrong.
    pub rounds: u32,
    /// Records that nodes were told are durable.
    pub sent: u64,
    /// Events that these records call for.
    pub events: u64,
    /// Of them at the platform.
    pub received: u64,
    /// Messages at the platform that were there before, with the same id and content.
    pub duplicates: u64,
    /// Damage that the gateway reported.
    pub reports: u64,
    /// Records and events that did not come: damage took them, and the gateway said so.
    pub told: u64,
    /// Records and events that did not come.
    pub lost: u64,
}

impl Tally {
    /// Counts another one in.
    fn add(&mut self, other: &Self) {
        let Self { rounds, sent, events, received, duplicates, reports, told, lost } = other;
        self.rounds += rounds;
        self.sent += sent;
        self.events += events;
        self.received += received;
        self.duplicates += duplicates;
        self.reports += reports;
        self.told += told;
        self.lost += lost;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, sent, events, received, duplicates, reports, told, lost } = self;
        write!(
            f,
            "{rounds:>4} rounds  {sent:>7} records sent  {events:>6} events  {received:>6} received  {duplicates:>5} duplicate  {lost} lost"
        )?;
        if *reports > 0 { write!(f, "  {reports} reports of damage, {told} gone with it") } else { Ok(()) }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The program with the subcommand `street`: the binary `faults`.
    pub program: PathBuf,
    /// What goes wrong.
    pub kind: Kind,
    /// How often.
    pub rounds: u32,
    /// When within a round it goes wrong follows from it; what the machine does meanwhile does not.
    pub seed: u64,
    /// How long what is frozen stays frozen at the least, in seconds.
    pub freeze_s: u64,
}

impl Campaign {
    /// Does it. `None` on a machine that lacks a part, and may: the reason has been printed.
    ///
    /// # Errors
    /// When something does not come back, or something came that nobody's records call for. What is lost is no error, but counted.
    pub fn run(&self) -> Result<Option<Tally>> {
        let run = kinds::run(self);
        run.with_context(|| format!("{} --rounds {} --seed {}", self.kind, self.rounds, self.seed))
    }
}

/// Where libfaketime lies: Debian's package `faketime`.
#[must_use]
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.is_file())
}

/// Says that a kind is left out on this machine; an error where everything is insisted on.
///
/// # Errors
/// Everything is insisted on.
pub fn lacking(what: &str) -> Result<()> {
    if std::env::var_os(crate::qemu::PARTS_REQUIRED).is_some() || std::env::var_os("CI").is_some() {
        anyhow::bail!("{what}");
    }
    eprintln!("\n*** LEFT OUT: {what} ***\n");
    Ok(())
}
