//! One device as the intake knows it: its session, its clock, and where its rules stand.

use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::gateway::{Durable, GatewaySession};
use gridpost_protocol::time::UnixMillis;

use tokio::sync::mpsc;

use super::clock::DeviceClock;
use super::rate::Bucket;
use super::share::DeviceShare;
use crate::decide::{Decider, District};
use crate::hourly::Hour;
use crate::spool::{Spool, SpoolError};

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) session: GatewaySession,
    /// What is committed.
    pub(super) durable: Durable,
    pub(super) clock: DeviceClock,
    pub(super) decider: Decider,
    pub(super) share: DeviceShare,
    /// Its hour, where hours are told.
    pub(super) hour: Option<Hour>,
    /// How much of it may still be taken.
    pub(super) bucket: Bucket,
    /// To the connection on which it was last heard.
    pub(super) answers: Option<mpsc::Sender<Box<FrameBuf>>>,
    /// When something authentic came from it last, since the start.
    pub(super) heard: Option<UnixMillis>,
    /// Something of it changed in the transaction under way.
    pub(super) touched: bool,
    /// What memory says is not what the spool says: to be loaded again before use.
    pub(super) stale: bool,
}

impl Device {
    /// A device as the spool knows it, new or not.
    pub(super) fn load(
        district: &District,
        device: DeviceId,
        key: &Key,
        start: u32,
        spool: &Spool,
        decider: Decider,
        bucket: Bucket,
    ) -> Result<Self, SpoolError> {
        let durable = spool.device(device)?.map(|row| row.durable).unwrap_or_default();
        Ok(Self {
            session: GatewaySession::new(device, key.clone(), start, durable),
            durable,
            clock: DeviceClock::from_stored(spool.clock(device)?),
            decider,
            share: DeviceShare::new(district, device),
            hour: None,
            bucket,
            heard: None,
            answers: None,
            touched: false,
            stale: false,
        })
    }

    /// The transaction failed: forget what it would have made durable. The session goes on, because its frame counter
    /// must not begin anew under the same key.
    pub(super) fn roll_back(&mut self) {
        self.session.roll_back(self.durable.cursor);
        self.bucket.rolled_back();
        self.touched = false;
        self.stale = true;
    }
}
