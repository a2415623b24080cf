//! From frames to effects: authenticates, deduplicates, resolves time, asks the rules, and says what is to be committed and
//! what is to be answered after the commit.
//!
//! Invariants: bytes that are not authentic reach nothing behind this; each record is taken once, in order; no answer that
//! promises durability is made before [`Intake::committed`].

mod around;
mod asked;
mod calibrate;
mod change;
pub mod clock;
mod device;
mod disposition;
mod hourly;
mod rate;
mod share;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gridpost_protocol::frame::{FrameBuf, Header};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::RefusedReason;
use gridpost_protocol::pack::RuleId;
use gridpost_protocol::record::{LogLevel, Record};
use gridpost_protocol::seal::SealError;
use gridpost_protocol::session::gateway::{Durable, Fresh, Gap, Input};
use gridpost_protocol::session::node::SessionError;
use gridpost_protocol::time::{ClockQuality, UnixMillis, UptimeMillis};
use tokio::sync::mpsc;

use crate::counters::{Counters, Rejected};
use crate::decide::{Decider, District};
use crate::event::Event;
use crate::hourly::Hour;
use crate::keys::Keys;
use crate::links::FrameIn;
use crate::silence::Silences;
use crate::spool::{Spool, SpoolError, Transaction};
use around::Around;
pub use asked::{CannotFetch, LiveDevice, Overview, PackOverview};
pub use calibrate::NotTold;
use clock::BOOTS_MAX;
use device::Device;
use rate::Bucket;
pub use rate::RateLimit;
use share::Tell;
use told::Place;

/// How far off the gateway's own clock may be, as told to devices, in milliseconds: what NTP over a city network keeps.
const GATEWAY_CLOCK_UNCERTAINTY_MS: u16 = 100;
/// A device of which nothing authentic came for so long counts as silent, in milliseconds. A node says something each minute.
pub const HEARD_WITHIN_MS: i64 = 15 * 60 * 1000;

/// What to tell a device once the transaction is durable.
#[derive(Debug)]
enum Answer {
    /// Everything up to the cursor is durable.
    Ack,
    /// The same, and what time it is.
    AckAndTime(UptimeMillis),
    /// What time it is.
    Time(UptimeMillis),
    /// Which rules to run.
    Share(Tell),
    /// Your records are not taken.
    Refuse,
    /// I do not know this kind of message.
    Unsupported(u8),
}

/// All devices of the gateway.
#[derive(Debug)]
pub struct Intake {
    district: Arc<District>,
    keys: Keys,
    start: u32,
    rate: RateLimit,
    hourly: bool,
    counters: Arc<Counters>,
    /// Boxed: they are taken out and put back, and a table of this many is mostly room.
    devices: HashMap<DeviceId, Box<Device>>,
    around: Around,
    silences: Silences,
    /// Those of which something changed in the transaction under way.
    touched: Vec<DeviceId>,
    /// Answers that wait for the commit.
    answers: Vec<(DeviceId, mpsc::Sender<Box<FrameBuf>>, Answer)>,
    newest_event: i64,
    /// Of the transaction under way: how many records came over which link.
    records_in_transaction: Vec<(Arc<str>, u64)>,
}

impl Intake {
    /// An intake that knows no device yet: each is loaded from the spool when it first speaks, so that a start takes no
    /// longer with many devices. `start` is the gateway's start counter.
    #[must_use]
    pub fn new(district: Arc<District>, keys: Keys, start: u32, counters: Arc<Counters>) -> Self {
        counters.devices.store(district.pack.devices().len() as u64, Ordering::Relaxed);
        Self {
            district,
            keys,
            start,
            rate: RateLimit::default(),
            hourly: false,
            counters,
            devices: HashMap::new(),
            around: Around::default(),
            silences: Silences::default(),
            touched: Vec::new(),
            answers: Vec::new(),
            newest_event: 0,
            records_in_transaction: Vec::new(),
        }
    }

    /// Takes so much of each device.
    #[must_use]
    pub fn with_rate(mut self, rate: RateLimit) -> Self {
        self.rate = rate;
        self
    }

    /// Loads the devices that these frames claim to be from, as far as they are known. To be called before the
    /// transaction in which the frames are taken.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn prepare(&mut self, frames: &[FrameIn], spool: &Spool) -> Result<(), SpoolError> {
        self.around.renew(&self.district, spool)?;
        for frame in frames {
            let Ok(header) = Header::parse(&frame.frame) else { continue };
            let id = header.device;
            if !self.district.knows(id) {
                // Not any more, perhaps: what is known of its session stays.
                continue;
            }
            match self.devices.get(&id).map(|device| device.stale) {
                Some(false) => {}
                Some(true) => {
                    let decider = self.decider(id, spool)?;
                    let hour = self.hourly.then(|| spool.hour(id)).transpose()?;
                    let Some(device) = self.devices.get_mut(&id) else { continue };
                    device.decider = decider;
                    device.hour = hour;
                    device.clock = clock::DeviceClock::from_stored(spool.clock(id)?);
                    device.stale = false;
                }
                None => {
                    let Some(key) = self.keys.get(id).cloned() else { continue };
                    let decider = self.decider(id, spool)?;
                    let bucket = Bucket::new(self.rate);
                    let mut loaded =
                        Device::load(&self.district, id, &key, self.start, spool, decider, bucket)?;
                    loaded.hour = self.hourly.then(|| spool.hour(id)).transpose()?;
                    self.devices.insert(id, Box::new(loaded));
                }
            }
        }
        Ok(())
    }

    /// The rules of a device, and what they know of its site.
    fn decider(&mut self, id: DeviceId, spool: &Spool) -> Result<Decider, SpoolError> {
        let mut decider = Decider::load(&self.district, id, spool)?;
        if let Some(around) = self.around.of(&self.district, id, spool)? {
            decider.stand_in(around);
        }
        Ok(decider)
    }

    /// Takes one frame: its effects go into the transaction, its answers wait for [`Self::committed`].
    ///
    /// # Errors
    /// When the transaction fails; then [`Self::rolled_back`] must follow.
    pub fn take(
        &mut self,
        frame: &mut FrameIn,
        now: UnixMillis,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let counters = self.counters.clone();
        let header = match Header::parse(&frame.frame) {
            Ok(header) => header,
            Err(error) => {
                counters.reject(&frame.link, Rejected::Malformed);
                tracing::debug!(link = %frame.link, %error, "frame dropped");
                return Ok(());
            }
        };
        let id = header.device;
        let placed = self.district.knows(id).then(|| self.devices.remove(&id)).flatten();
        let Some(mut device) = placed else {
            if self.keys.get(id).is_none() {
                counters.reject(&frame.link, Rejected::UnknownDevice);
                tracing::debug!(link = %frame.link, device = %id, "frame of a device without a key; see `gridpost provision`");
            } else {
                counters.reject(&frame.link, Rejected::UnplacedDevice);
                tracing::debug!(link = %frame.link, device = %id, "frame of a device that is not in the pack's devices.csv");
            }
            return Ok(());
        };
        // Taken out and put back, so that the device and the rest of the intake can be used side by side.
        let was_touched = device.touched;
        let done = self.take_from(&mut device, id, header.boot, frame, now, transaction);
        if device.touched && !was_touched {
            self.touched.push(id);
        }
        self.devices.insert(id, device);
        done
    }

    fn take_from(
        &mut self,
        device: &mut Device,
        id: DeviceId,
        boot: u32,
        frame: &mut FrameIn,
        now: UnixMillis,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Device { session, clock, decider, share, answers, bucket, hour, .. } = device;
        let received = session.received();
        let input = session.on_frame(&mut frame.frame);
        if let Ok(input) = &input {
            frame.proof.authentic();
            *answers = Some(frame.answers.clone());
            device.heard = Some(now);
            self.silences.heard(&self.district.pack, id, now);
            if !bucket.takes(input, now) {
                // As if it had not come: without an answer the device keeps it, and sends it again.
                session.roll_back(received);
                self.counters.reject(&frame.link, Rejected::OverRate);
                if bucket.is_to_be_said(now) {
                    tracing::warn!(link = %frame.link, device = %id, per_second = self.rate.per_second,
                        "the device sends more than is taken of one; the rest waits with it ([devices] records_per_second_max)");
                }
                return Ok(());
            }
            // Its number, at least: after a restart, too, whoever recorded it cannot say it again.
            device.touched = true;
        }
        let mut tell = Tell::Nothing;
        let answer = match input {
            Ok(Input::Hello(hello)) => {
                tracing::info!(
                    link = %frame.link, device = %id, firmware = hello.firmware, board = hello.board,
                    boot, reset = ?hello.reset_cause, queued = hello.next.0.saturating_sub(hello.oldest.0), "hello"
                );
                tell = share.hello(hello.share);
                let echo = hello.uptime;
                if let Some(offset) = clock.learn(boot, echo, now) {
                    transaction.put_clock(id, boot, offset, BOOTS_MAX)?;
                }
                Some(Answer::AckAndTime(echo))
            }
            Ok(Input::Regressed(hello)) => {
                self.counters.reject(&frame.link, Rejected::Regressed);
                tracing::error!(
                    link = %frame.link, device = %id, next = %hello.next, have = session.received().unwrap_or(Seq::NONE).0,
                    "the device numbers its records from before where this gateway is: its store was replaced. \
                     Nothing of it is taken. Provision it anew: gridpost provision --device {id}"
                );
                Some(Answer::Refuse)
            }
            Ok(Input::Records { fresh, last: _, gap }) => {
                let taken = Taking { id, link: &frame.link, now, clock: &*clock, decider, hour };
                self.take_records(taken, fresh, gap, transaction)?;
                Some(Answer::Ack)
            }
            Ok(Input::Duplicate { .. }) => {
                Counters::count(&self.counters.frames_duplicate);
                Some(Answer::Ack)
            }
            Ok(Input::OutOfOrder) => None,
            Ok(Input::Status(status)) => {
                if let Some(offset) = clock.learn(boot, status.uptime, now) {
                    transaction.put_clock(id, boot, offset, BOOTS_MAX)?;
                }
                tell = share.status(now);
                Some(Answer::Time(status.uptime))
            }
            Ok(Input::Share(status)) => {
                share.said(id, &status);
                None
            }
            Ok(Input::Unknown(kind)) => {
                Counters::count(&self.counters.messages_unknown);
                tracing::info!(link = %frame.link, device = %id, kind, "message of a kind that this version does not know");
                Some(Answer::Unsupported(kind))
            }
            Err(error) => {
                let why = match error {
                    SessionError::Replayed => Rejected::Replayed,
                    SessionError::Seal(SealError::NotAuthentic) => Rejected::NotAuthentic,
                    _ => Rejected::Malformed,
                };
                self.counters.reject(&frame.link, why);
                tracing::debug!(link = %frame.link, device = %id, %error, "frame dropped");
                None
            }
        };
        if let Some(answer) = answer {
            self.answers.push((id, frame.answers.clone(), answer));
        }
        if tell != Tell::Nothing {
            self.answers.push((id, frame.answers.clone(), Answer::Share(tell)));
        }
        Ok(())
    }

    fn take_records(
        &mut self,
        taking: Taking<'_>,
        fresh: Fresh<'_>,
        gap: Option<Gap>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Taking { id, link, now, clock, decider, hour } = taking;
        let counters = self.counters.clone();
        if let Some(gap) = gap {
            Counters::add(&counters.records_given_up_by_device, gap.last.0 - gap.first.0 + 1);
            tracing::warn!(device = %id, first = %gap.first, last = %gap.last, "the device gave up records; they will not come");
            if let Some(event) = self.district.gap(id, gap, now) {
                self.newest_event = transaction.add_event(&event)?;
                Counters::count(&counters.events_made);
            }
        }
        let mut records = 0;
        for (seq, stamp, record) in fresh.iter() {
            records += 1;
            let (at, quality) = clock.resolve(stamp, now);
            let place = Place { device: id, seq, at, clock: quality };
            match record {
                Record::Reading(reading) => {
                    self.silences.read(&self.district.pack, id, reading.quantity, now);
                    if quality != ClockQuality::Arrival
                        && let Some(hour) = self.turn_hour(place, hour, transaction)?
                    {
                        hour.take(at, &reading);
                    }
                    let row = transaction.add_reading(id, seq, at, quality, &reading)?;
                    if quality == ClockQuality::Arrival {
                        // Nobody knows when it was: it stays as evidence, and a rule must not place it.
                        Counters::count(&counters.readings_without_time);
                        continue;
                    }
                    self.around.take(&self.district, id, at, &reading);
                    let mut failed = None;
                    let emit = |rule: &RuleId, is_open: bool, event: Event| {
                        if failed.is_none() {
                            match transaction.add_event_of_episode(id, rule.as_str(), is_open, &event) {
                                Ok(row) => self.newest_event = row,
                                Err(error) => failed = Some(error),
                            }
                            Counters::count(&counters.events_made);
                        }
                    };
                    let late = decider.on_reading(&self.district, row, seq, at, quality, &reading, emit);
                    if let Some(error) = failed {
                        return Err(error);
                    }
                    if late {
                        Counters::count(&counters.readings_late);
                    }
                }
                Record::Report(report) => match self.district.report(id, seq, at, quality, &report) {
                    Some(event) => {
                        self.newest_event = transaction.add_event(&event)?;
                        Counters::count(&counters.events_made);
                    }
                    None => {
                        Counters::count(&counters.reports_unknown_matter);
                        tracing::error!(device = %id, seq = %seq, matter = report.matter, note = report.note,
                            "a report names a matter that is not in the catalogue");
                    }
                },
                Record::Log(log) => match log.level {
                    LogLevel::Info => tracing::info!(device = %id, "{}", log.text),
                    LogLevel::Warning => tracing::warn!(device = %id, "{}", log.text),
                    LogLevel::Error => tracing::error!(device = %id, "{}", log.text),
                },
                Record::Evicted(evicted) => {
                    tracing::warn!(device = %id, first = %evicted.first, last = %evicted.last, "the device's store was full");
                }
                Record::Episode(message) => self.take_episode(place, &message, now, transaction)?,
                Record::Decides(decides) => self.take_decides(place, decides, decider, transaction)?,
                Record::Sensor(state) => self.take_sensor(place, &state, transaction)?,
                Record::Summary(summary) => self.take_summary(place, &summary, hour, transaction)?,
                Record::Series(series) => self.take_series(place, &series, transaction)?,
                Record::Calibration(outcome) => {
                    self.take_calibration(place, &outcome, decider, transaction)?;
                }
                Record::Unknown { kind, .. } => {
                    Counters::count(&counters.records_unknown);
                    tracing::info!(device = %id, seq = %seq, kind, "record of a kind that this version does not know");
                }
            }
        }
        self.records_in_transaction.push((link.clone(), records));
        Ok(())
    }

    /// Tells who is not heard any more, and who is again. Returns whether there was something to tell.
    ///
    /// # Errors
    /// When the spool fails; the next call tries again.
    pub fn notice_silence(&mut self, spool: &mut Spool, now: UnixMillis) -> Result<bool, SpoolError> {
        let changes = self.silences.tick(&self.district, spool, now)?;
        if changes.is_empty() {
            return Ok(false);
        }
        let (silences, district) = (&self.silences, &self.district);
        let rows = spool.commit(|transaction| silences.tell(&changes, district, now, transaction))?;
        self.silences.told(&changes);
        rows.into_iter().for_each(|row| self.event_added(row));
        Ok(true)
    }

    /// Counts the devices that were heard within [`HEARD_WITHIN_MS`] before `now`.
    pub fn count_heard(&self, now: UnixMillis) {
        let recent = |heard: UnixMillis| now.0.saturating_sub(heard.0) <= HEARD_WITHIN_MS;
        let heard = self.devices.values().filter(|device| device.heard.is_some_and(recent)).count();
        self.counters.devices_heard.store(heard as u64, Ordering::Relaxed);
    }

    /// Puts what the frames changed of each device into the transaction: to be called once, last.
    ///
    /// # Errors
    /// When the transaction fails; then [`Self::rolled_back`] must follow.
    pub fn finish(&mut self, now: UnixMillis, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for id in &self.touched {
            let Some(device) = self.devices.get_mut(id) else { continue };
            let (boot, counter) = device.session.newest_frame();
            let durable = Durable { cursor: device.session.received(), boot, counter };
            device.decider.store(&self.district, *id, durable, transaction)?;
        }
        transaction.trim_kept(now)
    }

    /// An event that is not made here went into the transaction too.
    pub fn event_added(&mut self, row: i64) {
        self.newest_event = row;
        Counters::count(&self.counters.events_made);
    }

    /// The transaction is durable: answers go out. Returns the newest event's row, when there is a new one.
    pub fn committed(&mut self, now: UnixMillis) -> Option<i64> {
        for id in std::mem::take(&mut self.touched) {
            let Some(device) = self.devices.get_mut(&id) else { continue };
            let (boot, counter) = device.session.newest_frame();
            device.durable = Durable { cursor: device.session.received(), boot, counter };
            device.bucket.committed();
            device.touched = false;
        }
        for (link, records) in self.records_in_transaction.drain(..) {
            self.counters.link(&link).received(records);
        }
        for (id, answers, answer) in std::mem::take(&mut self.answers) {
            let Some(device) = self.devices.get_mut(&id) else { continue };
            let cursor = device.durable.cursor.unwrap_or(Seq::NONE);
            let Device { session, share, .. } = device.as_mut();
            let frames = match answer {
                Answer::Share(tell) => share.frames(tell, &self.district, id, session, now),
                Answer::Ack => vec![session.ack(cursor)],
                Answer::AckAndTime(echo) => {
                    vec![session.ack(cursor), session.time(now, GATEWAY_CLOCK_UNCERTAINTY_MS, echo)]
                }
                Answer::Time(echo) => vec![session.time(now, GATEWAY_CLOCK_UNCERTAINTY_MS, echo)],
                Answer::Refuse => vec![session.refuse(RefusedReason::SequenceRegressed)],
                Answer::Unsupported(kind) => vec![session.unsupported(kind)],
            };
            for frame in frames {
                match frame {
                    // No room, or the connection is gone: the device will ask again.
                    Ok(frame) => drop(answers.try_send(Box::new(frame))),
                    Err(error) => tracing::error!(device = %id, %error, "cannot answer"),
                }
            }
        }
        let newest = std::mem::take(&mut self.newest_event);
        (newest > 0).then_some(newest)
    }

    /// The transaction failed: nothing of it happened, and devices will send again what is not acknowledged.
    pub fn rolled_back(&mut self) {
        Counters::count(&self.counters.commits_failed);
        self.around.rolled_back();
        self.answers.clear();
        self.newest_event = 0;
        self.records_in_transaction.clear();
        for id in std::mem::take(&mut self.touched) {
            if let Some(device) = self.devices.get_mut(&id) {
                device.roll_back();
            }
        }
    }
}

/// What is needed of a device while its records are taken.
struct Taking<'a> {
    id: DeviceId,
    link: &'a Arc<str>,
    now: UnixMillis,
    clock: &'a clock::DeviceClock,
    decider: &'a mut Decider,
    hour: &'a mut Option<Hour>,
}
