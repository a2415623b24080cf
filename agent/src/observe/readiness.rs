//! Whether the gateway does what it is there for, and if not, why: for `/readyz`, `/healthz` and the service manager's status.
//!
//! A broker that cannot be reached is no fault of the gateway: it is made for that, and says so beside.

use std::sync::atomic::Ordering;

use super::Observed;
use super::heartbeat::{Heartbeat, STUCK_AFTER};
use crate::spool;

impl Observed {
    /// Whether each stage has got round once: links have tried to open, the pipeline takes frames, the uplink is on its way.
    #[must_use]
    pub fn has_started(&self) -> bool {
        let links_have = self.counters.links().iter().all(|(_, link)| link.has_started());
        links_have && self.pipeline.beats() > 0 && self.uplink.heartbeat.beats() > 0
    }

    /// Which stages are stuck; empty when the gateway is alive.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let stages = [("pipeline", &*self.pipeline), ("uplink", &self.uplink.heartbeat)];
        let stuck = stages.into_iter().filter(|(_, heartbeat)| heartbeat.age() > STUCK_AFTER);
        stuck.map(|(stage, heartbeat)| describe(stage, heartbeat)).collect()
    }

    /// What keeps the gateway from taking records and making events of them; empty when it is ready.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.stuck();
        if let Some(failure) = self.tally.last_failure() {
            problems.push(format!("spool: {failure}"));
        } else if let Err(error) = spool::is_writable(&self.spool_path) {
            problems.push(format!("spool: {error}"));
        }
        for (name, link) in self.counters.links() {
            if let Some(why) = link.why_closed() {
                problems.push(format!("link {name}: {why}"));
            }
        }
        problems
    }

    /// One line for a technician.
    #[must_use]
    pub fn status_line(&self) -> String {
        let problems = self.problems();
        if !problems.is_empty() {
            return format!("not ready: {}", problems.join("; "));
        }
        let waiting = self.tally.totals().events;
        let heard = self.counters.devices_heard.load(Ordering::Relaxed);
        let broker = if self.uplink.connected.load(Ordering::Relaxed) {
            "connected to the broker".to_owned()
        } else {
            format!("no connection to the broker: {}", self.uplink.last_error())
        };
        let devices = self.counters.devices.load(Ordering::Relaxed);
        format!("{heard} of {devices} devices heard, {waiting} events waiting, {broker}")
    }
}

fn describe(stage: &str, heartbeat: &Heartbeat) -> String {
    format!("{stage}: stuck for {} s", heartbeat.age().as_secs())
}
