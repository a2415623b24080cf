//! What the pipeline alone knows, for whoever asks.

use std::collections::BTreeMap;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::message::Fetch;
use gridpost_protocol::time::UnixMillis;

use super::Intake;
use crate::counters::Counters;

/// What is loaded, and who was heard since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The pack.
    pub pack: PackOverview,
    /// The devices that were heard since the start.
    pub devices: BTreeMap<DeviceId, LiveDevice>,
}

/// Which pack is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOverview {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// What it says, as 64 hexadecimal digits.
    pub digest: String,
}

/// A device that was heard since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveDevice {
    /// When an authentic frame of it last came, by the gateway's clock.
    pub heard: Option<UnixMillis>,
    /// The share that it says it runs; 0 when the gateway decides.
    pub share_running: u32,
    /// The share that it is to run.
    pub share_wanted: u32,
    /// Frames of it that were not taken since the start, because it sent too much.
    pub held_back: u64,
}

/// Why a device was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotFetch {
    /// It was not heard since the start.
    NeverHeard,
    /// Its connection is gone, or takes nothing.
    Away,
}

impl Intake {
    /// Asks a device for what it kept. The answer comes as records, like everything else from it.
    ///
    /// # Errors
    /// When the device cannot be asked now.
    pub fn fetch(&mut self, device: DeviceId, fetch: &Fetch) -> Result<(), CannotFetch> {
        let known = self.devices.get_mut(&device).ok_or(CannotFetch::NeverHeard)?;
        let answers = known.answers.as_ref().ok_or(CannotFetch::NeverHeard)?;
        let frame = known.session.fetch(fetch).map_err(|error| {
            tracing::error!(%device, %error, "cannot ask");
            CannotFetch::Away
        })?;
        answers.try_send(Box::new(frame)).map_err(|_| CannotFetch::Away)
    }

    /// What is loaded, and who was heard.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let pack = &self.district.pack;
        let devices = self.devices.iter().map(|(id, device)| {
            let (share_running, share_wanted) = device.share.running_and_wanted();
            let held_back = device.bucket.held_back();
            (*id, LiveDevice { heard: device.heard, share_running, share_wanted, held_back })
        });
        Overview {
            pack: PackOverview {
                name: pack.name.clone(),
                version: pack.version,
                digest: pack.digest().to_string(),
            },
            devices: devices.collect(),
        }
    }

    /// Something came from the platform for which there is no handler.
    pub(crate) fn unhandled(&self, kind: &str, bytes: usize) {
        Counters::count(&self.counters.inbound_dropped);
        tracing::warn!(kind, bytes, "this version takes no such message; it is dropped");
    }
}
