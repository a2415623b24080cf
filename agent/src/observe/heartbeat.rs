//! How a stage shows that it gets round.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a stage that has nothing to do shows that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A stage that has not beaten for so long is stuck. A commit on a worn SD card takes a few seconds, a read of a locked spool
/// up to five.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Beaten by a stage itself, from its own loop, each time it gets round: with work done, or with nothing to do. Not beaten by anybody on
/// its behalf, and not when the stage only fails.
#[derive(Debug)]
pub struct Heartbeat {
    origin: Instant,
    /// Milliseconds after `origin`.
    last_ms: AtomicU64,
    beats: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { origin: Instant::now(), last_ms: AtomicU64::new(0), beats: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// The stage got round.
    pub fn beat(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it got round.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// How long ago it got round last, or began.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.origin.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}
