//! `status`: how the gateway is, and which devices it knows.

use std::sync::atomic::Ordering;

use gridpost_protocol::id::DeviceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Refusal;
use super::{Ask, Desk};
use crate::event::make::rfc3339;
use crate::spool::SpoolError;

/// Devices in one answer, unless fewer are asked for: at some 150 bytes each, 75 kB.
pub(super) const STATUS_DEVICES_MAX: usize = 500;

/// What can be asked of a status.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusKeys {
    /// Devices after this one: the `next` of an answer.
    after: Option<DeviceText>,
    /// How many devices.
    limit: Option<usize>,
}

/// A device's id as text.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DeviceText(pub(super) DeviceId);

impl TryFrom<String> for DeviceText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no device id: it has 16 hexadecimal digits"))
    }
}

impl Desk {
    pub(super) async fn status(&mut self, keys: StatusKeys) -> Result<Value, Refusal> {
        let overview = self.ask(Ask::Overview).await?;
        let limit = keys.limit.unwrap_or(STATUS_DEVICES_MAX).clamp(1, STATUS_DEVICES_MAX);
        let after = keys.after.map(|after| after.0);
        let (spool, known) =
            self.read(move |spool| Ok((spool.overview()?, spool.devices(after, limit + 1)?))).await?;
        let next = (known.len() > limit).then(|| known[limit - 1].device.to_string());
        let devices: Vec<Value> = known
            .iter()
            .take(limit)
            .map(|one| {
                let live = overview.devices.get(&one.device);
                json!({
                    "device": one.device.to_string(),
                    "cursor": one.cursor.0,
                    "boot": one.boot,
                    "newest": one.newest.map(rfc3339),
                    "heard": live.and_then(|live| live.heard).map(rfc3339),
                    "decides": live.map(|live| if live.share_running == 0 { "gateway" } else { "device" }),
                    "share": live.filter(|live| live.share_running != 0).map(|live| format!("{:08x}", live.share_running)),
                    "held_back": live.map(|live| live.held_back).filter(|frames| *frames > 0),
                    "share_wanted": live.filter(|live| live.share_wanted != live.share_running).map(|live| format!("{:08x}", live.share_wanted)),
                })
            })
            .collect();
        let counters: serde_json::Map<String, Value> =
            self.counters.not_zero().map(|(name, count)| (name, count.into())).collect();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let refused = self.pack.as_ref().and_then(|pack| pack.borrow().pack_refused.clone());
        Ok(json!({
            "gateway": self.address.gateway,
            "version": env!("CARGO_PKG_VERSION"),
            "session": self.session,
            "pack": { "name": overview.pack.name, "version": overview.pack.version, "digest": overview.pack.digest },
            "pack_refused": refused,
            "spool": spool,
            "uplink": {
                "connected": self.uplink.connected.load(Ordering::Relaxed),
                "connections": count(&self.uplink.connections),
                "published": count(&self.uplink.published),
                "acknowledged": count(&self.uplink.acknowledged),
                "refused": count(&self.uplink.refused),
            },
            "counters": counters,
            "devices": devices,
            "next": next,
        }))
    }
}

/// The spool cannot be read.
pub(super) fn unreadable(error: &SpoolError) -> Refusal {
    tracing::error!(%error, "a request cannot be answered");
    Refusal::failed(format!("the spool cannot be read: {error}"), "look at the gateway's log and disk")
}
