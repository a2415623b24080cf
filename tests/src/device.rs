//! A device on a TCP link that says what a test wants, and waits for the answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use gridpost_protocol::{
    frame::{Deframer, FrameBuf, to_stream},
    id::{DeviceId, Seq},
    message::{Hello, RecordsBuilder, ResetCause, Status},
    quantity::Quantity,
    reading::{Milli, Quality, Reading},
    record::Record,
    seal::Key,
    session::node::{Input, NodeSession},
    time::{Stamp, UptimeMillis},
};

use crate::{agent::PATIENCE, program::Program};

/// Its uptime, always.
const NOW: UptimeMillis = UptimeMillis(1_000);

/// A device.
pub struct Device {
    session: NodeSession,
    /// Its connection, for what is no frame.
    pub link: TcpStream,
    deframer: Deframer,
    oldest: Seq,
}

impl Device {
    /// Connects a device in the boot `boot`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr, id: DeviceId, key: Key, boot: u32) -> Result<Self> {
        let link = TcpStream::connect(address)?;
        link.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            session: NodeSession::new(id, key, boot, Seq::NONE),
            link,
            deframer: Deframer::new(),
            oldest: Seq(1),
        })
    }

    /// Its `Hello`, with `next` as the number of its next record.
    ///
    /// # Errors
    /// It cannot be sealed.
    pub fn hello(&mut self, next: u64) -> Result<FrameBuf> {
        self.hello_from(1, next)
    }

    /// Its `Hello`, with `oldest` as the number of the oldest record that it still has from here on.
    ///
    /// # Errors
    /// It cannot be sealed.
    pub fn hello_from(&mut self, oldest: u64, next: u64) -> Result<FrameBuf> {
        self.oldest = Seq(oldest);
        let hello = Hello {
            firmware: "test",
            board: "test",
            reset_cause: ResetCause::PowerOn,
            share: 0,
            uptime: NOW,
            oldest: self.oldest,
            next: Seq(next),
            unacknowledged: Seq(1),
        };
        let mut frame = FrameBuf::new();
        self.session.hello(NOW, &hello, &mut frame)?;
        Ok(frame)
    }

    /// How it is.
    ///
    /// # Errors
    /// It cannot be sealed.
    pub fn status(&mut self, next: u64) -> Result<FrameBuf> {
        let (oldest, next) = (self.oldest, Seq(next));
        let status = Status { uptime: NOW, oldest, next, evicted: 0, sensor_errors: 0 };
        let mut frame = FrameBuf::new();
        self.session.status(&status, &mut frame)?;
        Ok(frame)
    }

    /// A frame of `count` temperatures, numbered from `first`.
    ///
    /// # Errors
    /// They do not fit into one.
    pub fn records(&mut self, boot: u32, first: u64, count: u64) -> Result<FrameBuf> {
        let stored = |n: u64| {
            let reading =
                Reading { quantity: Quantity::Temperature, value: Milli(20_000), quality: Quality::GOOD };
            Record::Reading(reading).store(&Stamp::Uptime { boot, at: UptimeMillis(n) })
        };
        let mut batch = RecordsBuilder::new(self.oldest, Seq(first), &stored(first)?).context("a batch")?;
        for seq in first + 1..first + count {
            ensure!(batch.push(Seq(seq), &stored(seq)?), "it fits");
        }
        let mut frame = FrameBuf::new();
        self.session.records(NOW, &batch, &mut frame)?;
        Ok(frame)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, frame: &FrameBuf) -> Result<()> {
        Ok(self.link.write_all(&to_stream(frame))?)
    }

    /// Reads answers until one acknowledges up to `seq`.
    ///
    /// # Errors
    /// None comes within [`PATIENCE`].
    pub fn wait_for_ack(&mut self, seq: u64) -> Result<()> {
        self.wait_for(|input| matches!(input, Input::Acked(up_to) if *up_to >= Seq(seq)))
            .with_context(|| format!("an acknowledgement of {seq}"))
    }

    /// Reads answers until one says what time it is.
    ///
    /// # Errors
    /// None comes within [`PATIENCE`].
    pub fn wait_for_time(&mut self) -> Result<()> {
        self.wait_for(|input| matches!(input, Input::Time { .. })).context("the time")
    }

    fn wait_for(&mut self, wanted: impl Fn(&Input<'_>) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut byte = [0];
        while Instant::now() < deadline {
            self.link.read_exact(&mut byte)?;
            if let Some(Ok(mut frame)) = self.deframer.push(byte[0])
                && let Ok(input) = self.session.on_frame(NOW, Seq(u64::MAX), &mut frame)
                && wanted(&input)
            {
                return Ok(());
            }
        }
        bail!("it did not come")
    }
}

/// Waits until the agent says where its TCP link listens.
///
/// # Errors
/// It ends first, or does not come to that.
pub fn listening(agent: &mut Program) -> Result<SocketAddr> {
    agent.wait_for(PATIENCE, |line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
    })
}
