//! The whole chain in one thread, from a seed: nodes, links, a gateway, a broker, the platform. The nodes run the
//! firmware's store, session and exchange, the gateway the agent's intake, engine, spool (a real SQLite file) and outflow; simulated
//! are time, power, wires and the broker.
//!
//! What goes wrong: power cut in the middle of any flash operation; kill -9 of the gateway before a commit, between commit and
//! answer, and after; bytes lost, doubled, flipped, torn, overtaken; links cut; a broker that goes down, hangs up, or
//! acknowledges in any order or late; the gateway's clock set; a full disk; a flash too small for an outage.
//!
//! What is held against it, at every step and at the end: DESIGN's invariants 1 to 4 and 6 ([`ledger`]), and that the events are exactly those that
//! the same readings make in one go ([`oracle`]). Invariant 5: every queue here has the size of the real one or less, and a run must come
//! to rest once nothing goes wrong any more.
//!
//! SQLite itself is trusted to keep what it committed: its file is not torn here.

mod broker;
pub mod flash;
mod gateway;
pub(crate) mod ledger;
mod node;
pub(crate) mod oracle;
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
}

impl Sabotage {
    /// All of them, with names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("ack-before-commit", Self::AckBeforeCommit),
        ("delete-before-puback", Self::DeleteBeforePuback),
        ("trust-pending", Self::TrustPending),
        ("reuse-nonces", Self::ReuseNonces),
        ("release-when-sent", Self::ReleaseWhenSent),
        ("forget-states", Self::ForgetStates),
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
    /// Records that full flashes gave up, all of them reported.
    pub given_up: u64,
    /// Events committed.
    pub events: u64,
    /// Messages at the platform that were there before.
    pub repeated: u64,
    /// Times that a node lost its power.
    pub power_cuts: u64,
    /// Times that the gateway was killed.
    pub kills: u64,
    /// Times that the connection to the broker broke.
    pub broker_cuts: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.given_up += other.given_up;
        self.events += other.events;
        self.repeated += other.repeated;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.broker_cuts += other.broker_cuts;
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
