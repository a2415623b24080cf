//! What the gateway says of silence, held against when it heard whom: that a device is silent is told once, and then that it is heard
//! again; and only after the gateway listened in vain for as long as the rule says.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use gridpost_agent::event::cloudevent::CloudEvent;
use gridpost_agent::silence::STEP_MS_MAX;
use gridpost_protocol::id::DeviceId;

/// Who was heard, by the true time, and who is told to be silent.
#[derive(Debug, Default)]
pub(super) struct Silences {
    /// Since when the gateway listens.
    listens_since: i64,
    /// The newest frame of each device, and when it was taken.
    heard: HashMap<DeviceId, ((u32, u32), i64)>,
    /// When the gateway's clock was set: it may then believe that it listened for so long as one tick may add.
    clock_set: Vec<i64>,
    /// By device and rule: the episode that is open.
    open: HashMap<(DeviceId, String), String>,
}

impl Silences {
    /// The gateway starts.
    pub(super) fn listens(&mut self, now: i64) {
        self.listens_since = now;
    }

    /// The gateway's clock is set.
    pub(super) fn clock_set(&mut self, now: i64) {
        self.clock_set.push(now);
    }

    /// The newest frame of a device that is durable.
    pub(super) fn newest_frame(&mut self, device: DeviceId, frame: (u32, u32), now: i64) {
        let heard = self.heard.entry(device).or_insert((frame, now));
        if heard.0 != frame {
            *heard = (frame, now);
        }
    }

    /// Whether a silence of this device is told and not over.
    pub(super) fn is_silent(&self, device: DeviceId) -> bool {
        self.open.keys().any(|(of, _)| *of == device)
    }

    /// An event is in the spool for the first time.
    pub(super) fn told(&mut self, event: &CloudEvent, now: i64) -> Result<()> {
        let Some(silence) = &event.data.silence else { return Ok(()) };
        let device = event.data.device.as_ref().context("a silence without a device")?.id.parse();
        let device: DeviceId = device.map_err(|_| anyhow::anyhow!("no device id"))?;
        let rule = event.data.pack.rule.clone().context("a silence without a rule")?;
        let episode = event.data.episode.as_ref().context("a silence without an episode")?.id.clone();
        if event.phase == "cleared" {
            let open = self.open.remove(&(device, rule));
            ensure!(
                open.as_ref() == Some(&episode),
                "invariant 3: the silence {episode} of {device} is over; open was {open:?}"
            );
            return Ok(());
        }
        let since = self.heard.get(&device).map_or(i64::MIN, |(_, at)| *at).max(self.listens_since);
        let sets = self.clock_set.iter().filter(|at| **at >= since).count() as i64;
        let listened = now - since + sets * STEP_MS_MAX;
        ensure!(
            listened as f64 >= silence.after_s * 1000.0,
            "{device} is told to be silent, and was heard, or nobody listened, {} ms ago",
            now - since
        );
        let before = self.open.insert((device, rule), episode.clone());
        ensure!(
            before.is_none(),
            "invariant 3: {device} is told to be silent again ({episode}) while it is ({before:?})"
        );
        Ok(())
    }
}
