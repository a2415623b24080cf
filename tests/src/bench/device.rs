//! A simulated device on a TCP link: the protocol's own session over records that are made as they are sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::{Hello, RecordsBuilder, ResetCause};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::node::{Input, Next, NodeSession};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// 2026-11-23T02:00:00Z.
const BEGIN_MS: i64 = 1_795_399_200_000;

/// A device that sends.
pub struct Device {
    link: TcpStream,
    session: NodeSession,
    deframer: Deframer,
    began: Instant,
    value: fn(u64) -> i32,
}

impl Device {
    /// Connects; `value` gives the value of each record, in thousandths.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(gateway: SocketAddr, id: DeviceId, key: Key, value: fn(u64) -> i32) -> Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, gateway, id, key, value).await
    }

    /// As [`Self::connect`], from this address of the loopback network.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_from(
        from: Ipv4Addr,
        gateway: SocketAddr,
        id: DeviceId,
        key: Key,
        value: fn(u64) -> i32,
    ) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let link = socket.connect(gateway).await?;
        link.set_nodelay(true)?;
        let session = NodeSession::new(id, key, 1, Seq::NONE);
        Ok(Self { link, session, deframer: Deframer::new(), began: Instant::now(), value })
    }

    fn now(&self) -> UptimeMillis {
        UptimeMillis(self.began.elapsed().as_millis() as u64)
    }

    fn stored(&self, seq: u64) -> Result<gridpost_protocol::record::RecordBuf> {
        let reading = Reading {
            quantity: Quantity::Temperature,
            value: Milli((self.value)(seq)),
            quality: Quality::GOOD,
        };
        let at = UnixMillis(BEGIN_MS + seq as i64 * 1000);
        let stamp = Stamp::Unix { at, uncertainty_ms: 50 };
        Record::Reading(reading).store(&stamp).map_err(|_| anyhow::anyhow!("a record is too long"))
    }

    /// Sends records up to the number before `next`, as fast as they are acknowledged, in full frames.
    ///
    /// # Errors
    /// The gateway hangs up.
    pub async fn send_until_acknowledged(&mut self, next: Seq) -> Result<()> {
        let mut buffer = vec![0; 4096];
        while self.session.acked().next() < next {
            let wait_until = loop {
                match self.session.next(self.now(), next) {
                    Next::Wait(until) => break until,
                    Next::Hello => self.hello(next).await?,
                    Next::Records(from) => self.records(from, next).await?,
                }
            };
            let wait = Duration::from_millis(wait_until.0.saturating_sub(self.now().0).min(1_000));
            if let Ok(count) = tokio::time::timeout(wait, self.link.read(&mut buffer)).await {
                let count = count?;
                ensure!(count > 0, "the gateway hung up");
                self.take(&buffer[..count], next);
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], next: Seq) -> Option<Seq> {
        let mut acked = None;
        for byte in bytes {
            if let Some(Ok(mut frame)) = self.deframer.push(*byte)
                && let Ok(Input::Acked(up_to)) = self.session.on_frame(self.now(), next, &mut frame)
            {
                acked = Some(up_to);
            }
        }
        acked
    }

    async fn hello(&mut self, next: Seq) -> Result<()> {
        let hello = Hello {
            firmware: "bench",
            board: "bench",
            reset_cause: ResetCause::PowerOn,
            share: 0,
            uptime: self.now(),
            oldest: Seq(1),
            next,
            unacknowledged: Seq(1),
        };
        let (mut frame, now) = (FrameBuf::new(), self.now());
        self.session.hello(now, &hello, &mut frame)?;
        Ok(self.link.write_all(&to_stream(&frame)).await?)
    }

    async fn records(&mut self, from: Seq, next: Seq) -> Result<()> {
        let oldest = self.session.acked().next();
        let mut batch = RecordsBuilder::new(oldest, from, &self.stored(from.0)?).context("a batch")?;
        let mut seq = from.next();
        while seq < next && batch.push(seq, &self.stored(seq.0)?) {
            seq = seq.next();
        }
        let (mut frame, now) = (FrameBuf::new(), self.now());
        self.session.records(now, &batch, &mut frame)?;
        Ok(self.link.write_all(&to_stream(&frame)).await?)
    }
}
