//! The whole chain in one thread, from a seed: nodes, links, a gateway, a broker, the platform. The nodes run the
//! firmware's store, session and exchange, the gateway the agent's intake, engine, spool (a real SQLite file) and outflow; simulated
//! are time, power, wires and the broker. Some nodes also tell minutes, as one does that decides itself.
//!
//! What goes wrong: power cut in the middle of any flash operation; kill -9 of the gateway before a commit, between commit and
//! answer, and after; its power cut in the middle of a commit, of which any sectors are on the disk ([`torn`]); bytes lost, doubled, flipped, torn, overtaken; links cut; a broker that goes down, hangs up, or
//! acknowledges in any order or late, or comes back without the platform's session; a platform that is slow; the gateway's clock set; a full disk;
//! a flash too small for an outage; a pack that changes under way; an intruder at the links.
//!
//! What is held against it, at every step and at the end: DESIGN's invariants 1 to 4 and 6 ([`ledger`]), and that the events are exactly those that
//! the same readings make in one go ([`oracle`]); each hour, where hours are told, accounts for exactly the readings that were kept of it; a silence is told
//! once, only after the gateway listened in vain for long enough, and always when it did ([`silences`]). Invariant 5: every queue here has the size of the real one or less, and a run must come
//! to rest once nothing goes wrong any more.
//!
//! In runs in which the pack changes, events are held against everything but the oracle, which knows one pack. The disk is
//! trusted to keep what it was told to sync.

mod broker;
pub mod flash;
mod gateway;
mod intruder;
pub(crate) mod ledger;
mod minutes;
mod node;
pub(crate) mod oracle;
mod silences;
mod torn;
mod wire;
mod world;

use std::fmt;

pub use world::run;

/// What to break on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Devices are told "durable" before it is.
    AckBeforeCommit,
    /// The spool lets go of events that are sent and not acknowledged.
    DeleteBeforePuback,
    /// What was under way when a connection ended is left to the MQTT client to repeat, which forgets it.
    TrustPending,
    /// The gateway begins its counters anew at each start.
    ReuseNonces,
    /// A node lets go of records when they are sent.
    ReleaseWhenSent,
    /// A restart forgets where the rules stand.
    ForgetStates,
    /// An event whose department is missing.
    OwnerlessEvent,
    /// Records that a full flash gave up are reported to nobody.
    SilentDrop,
    /// As many publishes under way as there are.
    UnboundedWindow,
    /// Frames are taken as if their tags were right.
    AcceptUnauthenticated,
    /// A restart forgets who is told to be silent.
    ForgetSilences,
    /// A restart forgets which hour is on.
    ForgetHours,
    /// The spool loses a minute now and then.
    LoseMinutes,
}

impl Sabotage {
    /// All of them, with names.
    pub const ALL: [(&'static str, Self); 13] = [
        ("ack-before-commit", Self::AckBeforeCommit),
        ("delete-before-puback", Self::DeleteBeforePuback),
        ("trust-pending", Self::TrustPending),
        ("reuse-nonces", Self::ReuseNonces),
        ("release-when-sent", Self::ReleaseWhenSent),
        ("forget-states", Self::ForgetStates),
        ("ownerless-event", Self::OwnerlessEvent),
        ("silent-drop", Self::SilentDrop),
        ("unbounded-window", Self::UnboundedWindow),
        ("accept-unauthenticated", Self::AcceptUnauthenticated),
        ("forget-silences", Self::ForgetSilences),
        ("forget-hours", Self::ForgetHours),
        ("lose-minutes", Self::LoseMinutes),
    ];
}

/// A run that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Everything that happens follows from it.
    pub seed: u64,
    /// How many steps things go wrong for.
    pub steps: u32,
    /// What to break on purpose.
    pub sabotage: Option<Sabotage>,
}

/// What happened in a run that held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Records that nodes were told are durable.
    pub records: u64,
    /// Minutes that are in the spool.
    pub minutes: u64,
    /// Records that full flashes gave up, all of them reported.
    pub given_up: u64,
    /// Events committed.
    pub events: u64,
    /// Messages at the platform that were there before.
    pub repeated: u64,
    /// Events that the broker acknowledged and forgot.
    pub forgotten: u64,
    /// Times that a node lost its power.
    pub power_cuts: u64,
    /// Times that the gateway was killed.
    pub kills: u64,
    /// Times that the gateway's power failed in the middle of a commit.
    pub torn: u64,
    /// Times that the gateway got another pack.
    pub packs: u64,
    /// Frames of an intruder.
    pub forged: u64,
    /// Times that the connection to the broker broke.
    pub broker_cuts: u64,
    /// Silences told.
    pub silences: u64,
    /// Hours told.
    pub hours: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.minutes += other.minutes;
        self.given_up += other.given_up;
        self.events += other.events;
        self.repeated += other.repeated;
        self.forgotten += other.forgotten;
        self.power_cuts += other.power_cuts;
        self.torn += other.torn;
        self.packs += other.packs;
        self.forged += other.forged;
        self.kills += other.kills;
        self.broker_cuts += other.broker_cuts;
        self.silences += other.silences;
        self.hours += other.hours;
    }
}

/// A run in which a promise was broken.
#[derive(Debug)]
pub struct Failure {
    /// The seed: the same run again, with the same end.
    pub seed: u64,
    /// Which promise, and how.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}
