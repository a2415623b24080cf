//! How long to wait before trying again: longer each time, never the same for two gateways, and short again only after
//! things went well for a while.

use std::time::{Duration, Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// What works this long counts as working: the next wait is a short one again. A link that comes and goes within
/// seconds does not reset its own wait.
const STABLE: Duration = Duration::from_secs(60);

/// The one retry policy of the agent: exponential, with full jitter in the upper half.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    working_since: Option<Instant>,
}

impl Backoff {
    /// It works now.
    pub fn works(&mut self, now: Instant) {
        self.working_since = Some(now);
    }

    /// It failed: how long to wait before the next try.
    pub fn failed(&mut self, now: Instant) -> Duration {
        if self.working_since.take().is_some_and(|since| now.duration_since(since) >= STABLE) {
            self.failures = 0;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        ceiling / 2 + ceiling.mul_f64(fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_short_again_only_after_stability() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let waits: Vec<_> = (0..12).map(|_| backoff.failed(start)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits[11] <= LONGEST && waits[11] >= LONGEST / 2);
        backoff.works(start);
        assert!(backoff.failed(start + Duration::from_secs(1)) >= LONGEST / 2, "it did not last");
        backoff.works(start);
        assert!(backoff.failed(start + STABLE) <= FIRST);
    }
}
