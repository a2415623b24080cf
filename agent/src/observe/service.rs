//! What the service manager is told (`sd_notify(3)`): that the gateway is ready, how it is doing, that it gets on, that it stops.
//! Nothing is told where nobody listens, that is without `NOTIFY_SOCKET`.
//!
//! The watchdog is fed only when *each* stage has got round since it was fed last. A stage that is stuck, or only fails, starves it,
//! and the service manager starts the gateway anew; what is committed waits in the spool. A stage with nothing to do gets round each
//! second ([`BEAT_EVERY`]), so `WatchdogSec` is to be several seconds.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Observed;
use super::heartbeat::BEAT_EVERY;

/// How soon it is looked again whether all stages run.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often the status line is looked at for a change.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// The watchdog is fed so many times in its time.
const FEEDS: u32 = 4;

/// The gateway ends in order.
pub fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: what is committed goes to the platform or waits in the spool"),
    ]);
}

/// Says that the gateway is ready, as soon as all stages run; then feeds the watchdog, when there is one, and keeps the status line
/// true, until it is dropped.
pub async fn keep_informed(observed: Arc<Observed>) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog
        .map_or(STATUS_EVERY, |limit| (limit / FEEDS).clamp(Duration::from_millis(100), STATUS_EVERY));
    if let Some(limit) = watchdog.filter(|limit| *limit < 3 * BEAT_EVERY) {
        tracing::warn!(
            "the service manager's watchdog is set to {limit:?}; the gateway's stages beat each {BEAT_EVERY:?}"
        );
    }
    while !observed.has_started() {
        sleep(LOOK_AGAIN).await;
    }
    notify(&[NotifyState::Ready, NotifyState::Status(&observed.status_line())]);
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut fed_at, mut status) = (Beats::default(), String::new());
    loop {
        tick.tick().await;
        let beats = Beats::of(&observed);
        if watchdog.is_some() && beats.all_after(fed_at) {
            notify(&[NotifyState::Watchdog]);
            fed_at = beats;
        }
        let looked = observed.clone();
        let Ok(line) = tokio::task::spawn_blocking(move || looked.status_line()).await else { continue };
        if line != status {
            notify(&[NotifyState::Status(&line)]);
            status = line;
        }
    }
}

/// How often each stage got round.
#[derive(Clone, Copy, Debug, Default)]
struct Beats {
    pipeline: u64,
    uplink: u64,
}

impl Beats {
    fn of(observed: &Observed) -> Self {
        Self { pipeline: observed.pipeline.beats(), uplink: observed.uplink.heartbeat.beats() }
    }

    /// Whether each got round since.
    const fn all_after(self, earlier: Self) -> bool {
        self.pipeline > earlier.pipeline && self.uplink > earlier.uplink
    }
}

fn notify(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stage_that_is_stuck_starves_the_watchdog() {
        let fed_at = Beats { pipeline: 5, uplink: 9 };
        assert!(!Beats { pipeline: 500, uplink: 9 }.all_after(fed_at));
        assert!(!Beats { pipeline: 5, uplink: 900 }.all_after(fed_at));
        assert!(Beats { pipeline: 6, uplink: 10 }.all_after(fed_at));
    }
}
