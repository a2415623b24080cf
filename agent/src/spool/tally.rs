//! What the spool did since it was opened, for whoever watches the gateway. Only what is durable counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::{SpoolError, Totals};
use crate::event::Labels;

/// Bounds of the commits' durations, in seconds: from 0.5 ms (a good SSD) by doubling to 8 s (an SD card that is worn out).
fn commit_buckets() -> impl Iterator<Item = f64> {
    exponential_buckets(0.000_5, 2.0, 15)
}

/// The sums. One a spool.
#[derive(Debug)]
pub struct Tally {
    commit_seconds: Histogram,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events_made: BTreeMap<Labels, u64>,
    totals: Totals,
    failure: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { commit_seconds: Histogram::new(commit_buckets()), state: Mutex::default() }
    }
}

impl Tally {
    /// How long commits took that succeeded.
    #[must_use]
    pub fn commit_seconds(&self) -> &Histogram {
        &self.commit_seconds
    }

    /// Events put into the outbox, by kind and phase. There are few of both.
    #[must_use]
    pub fn events_made(&self) -> Vec<(Labels, u64)> {
        self.state().events_made.iter().map(|(labels, count)| (*labels, *count)).collect()
    }

    /// The spool's sums as of the last commit.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// Why the last commit failed, if it did.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub(super) fn opened(&self, totals: Totals) {
        self.state().totals = totals;
    }

    pub(super) fn committed(&self, took: Duration, made: Vec<Labels>, totals: Totals) {
        self.commit_seconds.observe(took.as_secs_f64());
        let mut state = self.state();
        for labels in made {
            *state.events_made.entry(labels).or_default() += 1;
        }
        state.totals = totals;
        state.failure = None;
    }

    pub(super) fn failed(&self, error: &SpoolError) {
        self.state().failure = Some(error.to_string());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
