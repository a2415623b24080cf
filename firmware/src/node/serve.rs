//! The one future that works with the store, for those that measure, listen and talk. What a record's way into flash takes in memory is
//! there once, and not once in each of them.
//!
//! Readings wait in a queue. Everything else is a [`Job`], one at a time, whose outcome is waited for; frames come before readings, because a
//! gateway waits for an answer.

use core::borrow::Borrow;

use embassy_futures::select::{Either, select};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::calibration::CalibrationOutcome;
use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::session::node::SessionError;
use gridpost_protocol::time::UptimeMillis;

use super::measure::SensorName;
use super::memory::Waiting;
use super::{Journal, Memory, Node, ToSend};
use crate::wall::WallClock;

/// What is asked of whoever has the store.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// [`Node::transmit`], into the node's frame.
    Transmit { now: UptimeMillis, status_due: bool },
    /// [`Node::receive`] of the node's frame.
    Receive { now: UptimeMillis },
    /// A sensor works, or does not.
    Sensor(SensorName, Option<FaultKind>),
    /// A calibration came to an end.
    Calibration(CalibrationOutcome),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    ToSend(Result<ToSend, SessionError>),
    /// Whether it is in the store.
    Kept(bool),
}

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// Works with the store for ever. To be run beside [`Self::measure`], [`Self::listen`] and [`Self::talk`], which wait for it.
    pub async fn serve(&self) -> ! {
        loop {
            match select(self.jobs.receive(), self.memory().waiting.receive()).await {
                Either::First((ticket, job)) => {
                    let done = self.work(job).await;
                    self.done.signal((ticket, done));
                }
                Either::Second(waiting) => self.observe_waiting(waiting).await,
            }
        }
    }

    /// How many readings wait to be decided on, or are being decided on.
    pub fn readings_waiting(&self) -> usize {
        self.memory().waiting.len() + usize::from(self.is_observing.get())
    }

    async fn observe_waiting(&self, waiting: Waiting) {
        self.is_observing.set(true);
        let (at, reading) = waiting.get();
        if let Err(error) = self.observe(at, &reading).await {
            self.journal.trouble(format_args!("a reading is not kept: {error}"));
        }
        self.is_observing.set(false);
    }

    async fn work(&self, job: Job) -> Done {
        if let Job::Sensor(..) | Job::Calibration(_) = job {
            // What was measured before comes before: no reading of a sensor is kept behind its fault.
            while let Ok(waiting) = self.memory().waiting.try_receive() {
                self.observe_waiting(waiting).await;
            }
        }
        match job {
            Job::Transmit { now, status_due } => {
                let mut frame = self.memory().frame.lock().await;
                Done::ToSend(self.transmit(now, status_due, &mut frame).await)
            }
            Job::Receive { now } => {
                let mut frame = self.memory().frame.lock().await;
                self.receive(now, &mut frame).await;
                Done::Kept(true)
            }
            Job::Sensor(name, fault) => Done::Kept(self.keep_sensor(&name, fault).await),
            Job::Calibration(outcome) => Done::Kept(self.keep_outcome(&outcome).await),
        }
    }

    /// Has a job done, and waits for what comes of it.
    pub(super) async fn ask(&self, job: Job) -> Done {
        let mut tickets = self.tickets.lock().await;
        *tickets = tickets.wrapping_add(1);
        self.jobs.send((*tickets, job)).await;
        loop {
            let (ticket, done) = self.done.wait().await;
            // Whoever asked before may have gone away without waiting.
            if ticket == *tickets {
                return done;
            }
        }
    }
}
