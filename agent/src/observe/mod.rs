//! What others can see of a running gateway: metrics and health over HTTP, and what the service manager is told.
//!
//! Stages show that they get round by a [`Heartbeat`]. What can be seen of them is gathered in [`Observed`]; nothing here
//! changes anything in the gateway.

pub mod exposition;
pub mod heartbeat;
pub mod http;
pub mod process;
pub mod readiness;
pub mod service;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::counters::Counters;
use crate::spool::{SpoolWatch, Tally};
use crate::uplink::UplinkStatus;
pub use heartbeat::Heartbeat;

/// Everything of a gateway that can be looked at while it runs.
#[derive(Debug)]
pub struct Observed {
    /// What happened so far.
    pub counters: Arc<Counters>,
    /// How the way out is doing.
    pub uplink: Arc<UplinkStatus>,
    /// What the spool did.
    pub tally: Arc<Tally>,
    /// What is in the spool.
    pub spool: Mutex<SpoolWatch>,
    /// The spool's file.
    pub spool_path: PathBuf,
    /// The pipeline's.
    pub pipeline: Arc<Heartbeat>,
    /// When the gateway started.
    pub started: Timestamp,
}
