//! A device that says what a test wants, on a gateway's link: the protocol's own session over records that are made up.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gridpost_agent::keys::Keys;
use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::{Fetch, Hello, RecordsBuilder, ResetCause};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Record, RecordBuf};
use gridpost_protocol::session::node::{Input, NodeSession};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

use crate::agent::{GatewayFolder, PATIENCE};

/// The device's clock stands still: nothing here waits for it.
const NOW: UptimeMillis = UptimeMillis(1_000);

/// A device on the gateway's Unix socket.
pub struct ScriptedDevice {
    session: NodeSession,
    link: UnixStream,
    deframer: Deframer,
    oldest: Seq,
    next: Seq,
}

impl ScriptedDevice {
    /// Connects under the key that the gateway's folder has for it, and says hello. Its next record has the number `next`.
    ///
    /// # Errors
    /// There is no such key, or the gateway does not answer.
    pub fn connect(gateway: &GatewayFolder, id: DeviceId, boot: u32, next: u64) -> Result<Self> {
        let keys = Keys::load(&gateway.path("keys.toml"))?;
        let key = keys.get(id).cloned().context("the device's key")?;
        let link = UnixStream::connect(gateway.path("link"))?;
        link.set_read_timeout(Some(PATIENCE))?;
        let session = NodeSession::new(id, key, boot, Seq(next - 1));
        let mut this = Self { session, link, deframer: Deframer::new(), oldest: Seq(next), next: Seq(next) };
        this.greet()?;
        Ok(this)
    }

    /// Its link was cut, and it finds the gateway, or another one, without having started anew itself.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_again(&mut self, gateway: &GatewayFolder) -> Result<()> {
        self.link = UnixStream::connect(gateway.path("link"))?;
        self.link.set_read_timeout(Some(PATIENCE))?;
        self.deframer = Deframer::new();
        self.session.link_up();
        self.greet()
    }

    fn greet(&mut self) -> Result<()> {
        let hello = Hello {
            firmware: "test",
            board: "test",
            reset_cause: ResetCause::PowerOn,
            share: 0,
            uptime: NOW,
            oldest: self.oldest,
            next: self.next,
            unacknowledged: self.oldest,
        };
        let mut frame = FrameBuf::new();
        self.session.hello(NOW, &hello, &mut frame)?;
        self.link.write_all(&to_stream(&frame))?;
        self.wait_for_ack(None)
    }

    /// The number of the next record.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.0
    }

    /// Gives up as many records: their numbers are missing.
    pub fn give_up(&mut self, count: u64) {
        self.next = Seq(self.next.0 + count);
        self.oldest = self.next;
    }

    /// Sends records, each with its time, and returns when the gateway has them durably.
    ///
    /// # Errors
    /// A record is too long, or the gateway does not acknowledge.
    pub fn send(&mut self, records: &[(UnixMillis, Record<'_>)]) -> Result<()> {
        let mut stored = Vec::new();
        for (at, record) in records {
            let stamp = Stamp::Unix { at: *at, uncertainty_ms: 50 };
            stored.push(record.store(&stamp).context("a record is too long")?);
        }
        let mut rest: &[RecordBuf] = &stored;
        while let Some((first, more)) = rest.split_first() {
            let mut batch = RecordsBuilder::new(self.oldest, self.next, first).context("a batch")?;
            let mut last = self.next;
            rest = more;
            while let Some((one, more)) = rest.split_first()
                && batch.push(last.next(), one)
            {
                last = last.next();
                rest = more;
            }
            let mut frame = FrameBuf::new();
            self.session.records(NOW, &batch, &mut frame)?;
            self.link.write_all(&to_stream(&frame))?;
            self.wait_for_ack(Some(last))?;
            self.next = last.next();
            self.oldest = self.next;
        }
        Ok(())
    }

    /// Sends one quantity's values, `step_ms` apart, the last of them at `until`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_values(
        &mut self,
        quantity: Quantity,
        values: &[i32],
        step_ms: i64,
        until: UnixMillis,
    ) -> Result<()> {
        let count = values.len() as i64;
        let records: Vec<_> = (0..)
            .zip(values)
            .map(|(n, value)| {
                let reading = Reading { quantity, value: Milli(*value), quality: Quality::GOOD };
                (until.plus(-(count - 1 - n) * step_ms), Record::Reading(reading))
            })
            .collect();
        self.send(&records)
    }

    /// Waits until the gateway asks for what the device kept, and says what for.
    ///
    /// # Errors
    /// It does not ask.
    pub fn wait_for_fetch(&mut self) -> Result<Fetch> {
        let deadline = Instant::now() + PATIENCE;
        let mut byte = [0];
        while Instant::now() < deadline {
            self.link.read_exact(&mut byte)?;
            if let Some(Ok(mut frame)) = self.deframer.push(byte[0])
                && let Ok(Input::Fetch(fetch)) = self.session.on_frame(NOW, Seq(u64::MAX), &mut frame)
            {
                return Ok(fetch);
            }
        }
        bail!("nothing was fetched")
    }

    fn wait_for_ack(&mut self, seq: Option<Seq>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut byte = [0];
        while Instant::now() < deadline {
            self.link.read_exact(&mut byte)?;
            if let Some(Ok(mut frame)) = self.deframer.push(byte[0])
                && let Ok(Input::Acked(up_to)) = self.session.on_frame(NOW, Seq(u64::MAX), &mut frame)
                && seq.is_none_or(|seq| up_to >= seq)
            {
                return Ok(());
            }
        }
        bail!("no acknowledgement of {seq:?}")
    }
}
