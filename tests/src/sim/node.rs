//! A node of the simulation: the firmware's own store, session and exchange, on a flash whose power may go at any write.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Result, anyhow};
use embassy_futures::block_on;
use fastrand::Rng;
use gridpost_firmware::node::{About, FrameKind, Journal, Node, ToSend};
use gridpost_firmware::provision::Identity;
use gridpost_firmware::store::{SECTORS_MIN, STATE_SECTORS, Store};
use gridpost_firmware::testing::flash::RamFlash;
use gridpost_firmware::wall::{SyncedClock, WallClock};
use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::ResetCause;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Record, Report};
use gridpost_protocol::seal::Key;
use gridpost_protocol::summary::Minute;
use gridpost_protocol::time::{Stamp, UptimeMillis};
use tokio::sync::mpsc;

use super::flash::SolderedFlash;
use super::ledger::{Ledger, What};
use super::wire::{Weather, Wire, happens};

/// So many sectors hold what a node measures in a run of up to so many steps, whatever the weather; in longer ones more waits at once.
const SECTORS: usize = 32;
const STEPS_OF_SECTORS: u32 = 1_500;
/// Of so many records one is a report, which a full store keeps when readings go.
const REPORT_ONE_IN: u32 = 12;
/// A matter of the sample district.
const REPORT_MATTER: &str = "0401001";
/// A status is due once in so many exchanges.
const STATUS_ONE_IN: u32 = 200;
/// Answers of the gateway that wait to go onto the wire.
const ANSWERS_MAX: usize = 32;

struct Silent;

impl Journal for Silent {
    fn appended(&self, _: Seq) {}
    fn trouble(&self, _: std::fmt::Arguments<'_>) {}
}

/// The firmware's clock, which tells the node here too what time it is.
#[derive(Clone, Default)]
struct SharedClock(Rc<Cell<SyncedClock>>);

impl WallClock for SharedClock {
    fn stamp(&self, boot: u32, uptime: UptimeMillis) -> Stamp {
        self.0.get().stamp(boot, uptime)
    }

    fn set(&mut self, offset_ms: i64, uncertainty_ms: u16) {
        let mut clock = self.0.get();
        clock.set(offset_ms, uncertainty_ms);
        self.0.set(clock);
    }
}

type Firmware = Node<SolderedFlash, SharedClock, Silent>;

pub(super) struct SimNode {
    pub(super) id: DeviceId,
    pub(super) key: Key,
    /// Its queue is so small that a long outage fills it.
    pub(super) small: bool,
    quantity: Quantity,
    value: i32,
    flash: SolderedFlash,
    firmware: Option<Firmware>,
    clock: SharedClock,
    /// What it sums up of the minute that is on, if it tells minutes.
    minute: Option<Minute>,
    /// The true time of this boot.
    booted_at: i64,
    pub(super) up: Wire,
    pub(super) down: Wire,
    at_gateway: Deframer,
    at_node: Deframer,
    pub(super) answers: mpsc::Sender<Box<FrameBuf>>,
    answers_out: mpsc::Receiver<Box<FrameBuf>>,
    linked: bool,
    pub(super) weather: Weather,
}

impl SimNode {
    pub(super) fn new(id: DeviceId, quantity: Quantity, small: bool, steps: u32, rng: &mut Rng) -> Self {
        let minute = rng.bool().then(Minute::new);
        let key = Key(std::array::from_fn(|_| rng.u8(..)));
        let roomy = SECTORS * steps.div_ceil(STEPS_OF_SECTORS).max(1).pow(2) as usize;
        let sectors = if small { SECTORS_MIN - 1 - STATE_SECTORS as usize } else { roomy };
        let mut flash = RamFlash::new(sectors + 1 + STATE_SECTORS as usize);
        let identity = Identity { device: id, key: key.clone(), first_seq: Seq(rng.u64(1..1 << 40)) };
        flash.program(0, &identity.encode());
        let (answers, answers_out) = mpsc::channel(ANSWERS_MAX);
        Self {
            id,
            key,
            small,
            quantity,
            value: 30_000,
            flash: SolderedFlash::new(flash),
            firmware: None,
            clock: SharedClock::default(),
            minute,
            booted_at: 0,
            up: Wire::default(),
            down: Wire::default(),
            at_gateway: Deframer::new(),
            at_node: Deframer::new(),
            answers,
            answers_out,
            linked: false,
            weather: Weather::FINE,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.firmware.is_some()
    }

    fn uptime(&self, now: i64) -> UptimeMillis {
        UptimeMillis((now - self.booted_at).max(0).unsigned_abs())
    }

    /// Power is there: starts, unless it goes again meanwhile.
    pub(super) fn power_on(&mut self, now: i64, cut_after: Option<u64>) -> Result<bool> {
        self.flash.power_on();
        if let Some(operations) = cut_after {
            self.flash.cut_after(operations);
        }
        let store = match block_on(Store::open(self.flash.clone())) {
            Ok(store) => store,
            Err(_) if cut_after.is_some() => return Ok(false),
            Err(error) => return Err(anyhow!("node {} does not start: {error}", self.id)),
        };
        self.flash.power_on();
        let about = About { firmware: "sim", board: "sim", reset_cause: ResetCause::PowerOn };
        self.clock = SharedClock::default();
        self.firmware = Some(Node::new(store, about, self.clock.clone(), Silent));
        self.booted_at = now;
        self.linked = false;
        Ok(true)
    }

    /// The power goes, at once.
    pub(super) fn power_off(&mut self) {
        self.firmware = None;
        if let Some(minute) = &mut self.minute {
            minute.clear();
        }
        self.cut_link();
    }

    pub(super) fn cut_link(&mut self) {
        self.up.cut();
        self.down.cut();
        self.at_gateway = Deframer::new();
        self.at_node = Deframer::new();
        while self.answers_out.try_recv().is_ok() {}
        self.linked = false;
    }

    /// Measures once. With `cut_after` the power goes in the middle of the flash operation after so many.
    pub(super) fn measure(
        &mut self,
        now: i64,
        cut_after: Option<u64>,
        ledger: &mut Ledger,
        rng: &mut Rng,
    ) -> Result<Option<Seq>> {
        let uptime = self.uptime(now);
        let Some(firmware) = &self.firmware else { return Ok(None) };
        // Around limits of 35: wanders, and sometimes leaps.
        let step = if happens(15, rng) { 9_000 } else { 1_500 };
        self.value = (self.value + rng.i32(-step..=step)).clamp(20_000, 45_000);
        let quality = if happens(40, rng) { Quality::FAULT } else { Quality::GOOD };
        let reading = Reading { quantity: self.quantity, value: Milli(self.value), quality };
        if let Some(operations) = cut_after {
            self.flash.cut_after(operations);
        }
        let boot = block_on(firmware.store().lock()).boot();
        let stamp = self.clock.stamp(boot, uptime);
        // As a node that decides itself: when it knows the time, and before what comes after the minute.
        if let Stamp::Unix { at, uncertainty_ms } = stamp {
            while let Some((from, summary)) = self.minute.as_mut().and_then(|minute| minute.over(Some(at))) {
                let record =
                    Record::Summary(summary.clone()).store(&Stamp::Unix { at: from, uncertainty_ms });
                let record = record.map_err(|error| anyhow!("a minute of node {}: {error}", self.id))?;
                let append = |firmware: &Firmware| {
                    let mut store = block_on(firmware.store().lock());
                    block_on(store.append(&record)).ok()
                };
                if self.keep(append, What::Minute(from, summary), cut_after, ledger)?.is_none() {
                    return Ok(None);
                }
            }
        }
        let report = happens(REPORT_ONE_IN, rng).then(|| Report {
            matter: REPORT_MATTER,
            position: None,
            note: "simulated",
            attachments: Default::default(),
        });
        let (record, what) = match report {
            Some(report) => (Record::Report(report), What::Report),
            None => (Record::Reading(reading), What::Reading(reading.value)),
        };
        let append = |firmware: &Firmware| block_on(firmware.keep(uptime, &record)).ok();
        let kept = self.keep(append, what.clone(), cut_after, ledger)?;
        if cut_after.is_some() {
            self.power_off();
        } else if let (What::Reading(_), Stamp::Unix { at, .. }, Some(minute)) =
            (what, stamp, &mut self.minute)
        {
            minute.take(at, &reading);
        }
        Ok(kept)
    }

    /// Keeps a record. [`None`] when the power went meanwhile.
    fn keep(
        &mut self,
        append: impl FnOnce(&Firmware) -> Option<Seq>,
        what: What,
        cut_after: Option<u64>,
        ledger: &mut Ledger,
    ) -> Result<Option<Seq>> {
        let Some(firmware) = &self.firmware else { return Ok(None) };
        let expected = block_on(firmware.store().lock()).next_seq();
        let kept = append(firmware);
        if let Some(seq) = kept {
            ledger.appended(self.id, seq, what)?;
        } else if cut_after.is_some() {
            ledger.may_be_there(self.id, expected, what);
            self.power_off();
        } else {
            return Err(anyhow!("node {} cannot append, though nothing is wrong with its flash", self.id));
        }
        Ok(kept)
    }

    /// Puts what it wants to send onto the wire; whether there was anything.
    pub(super) fn transmit(
        &mut self,
        now: i64,
        release_when_sent: bool,
        ledger: &mut Ledger,
        rng: &mut Rng,
    ) -> Result<bool> {
        let uptime = self.uptime(now);
        let Some(firmware) = &self.firmware else { return Ok(false) };
        if !self.linked {
            firmware.link_up();
            self.linked = true;
        }
        let mut frame = FrameBuf::new();
        let status_due = happens(STATUS_ONE_IN, rng);
        match block_on(firmware.transmit(uptime, status_due, &mut frame)) {
            Ok(ToSend::Frame(kind)) => {
                ledger.sealed(&frame)?;
                self.up.send(&to_stream(&frame), self.weather, rng);
                if release_when_sent && kind == FrameKind::Records {
                    let mut store = block_on(firmware.store().lock());
                    let all = Seq(store.next_seq().0 - 1);
                    let _ = block_on(store.release(all));
                }
                Ok(true)
            }
            Ok(ToSend::NothingUntil(_)) => Ok(false),
            Err(error) => Err(anyhow!("node {} cannot send: {error}", self.id)),
        }
    }

    /// What arrives at the gateway now.
    pub(super) fn arrive(&mut self, rng: &mut Rng) -> Vec<FrameBuf> {
        let Some(chunk) = self.up.receive(self.weather, rng) else { return Vec::new() };
        chunk.iter().filter_map(|byte| self.at_gateway.push(*byte)).filter_map(Result::ok).collect()
    }

    /// Puts the gateway's answers onto the wire.
    pub(super) fn put_answers(&mut self, ledger: &mut Ledger, rng: &mut Rng) -> Result<()> {
        while let Ok(frame) = self.answers_out.try_recv().map(|frame| *frame) {
            ledger.sealed(&frame)?;
            self.down.send(&to_stream(&frame), self.weather, rng);
        }
        Ok(())
    }

    /// Takes what arrives from the gateway. With `cut_after` the power goes in the middle of it. Whether anything came.
    pub(super) fn receive(
        &mut self,
        now: i64,
        cut_after: Option<u64>,
        ledger: &mut Ledger,
        rng: &mut Rng,
    ) -> Result<bool> {
        let uptime = self.uptime(now);
        let Some(chunk) = self.down.receive(self.weather, rng) else { return Ok(false) };
        let Some(firmware) = &self.firmware else { return Ok(false) };
        if let Some(operations) = cut_after {
            self.flash.cut_after(operations);
        }
        for mut frame in chunk.iter().filter_map(|byte| self.at_node.push(*byte)).filter_map(Result::ok) {
            block_on(firmware.receive(uptime, &mut frame));
        }
        if cut_after.is_some() {
            self.power_off();
        } else if !self.small {
            ledger.let_go(self.id, block_on(firmware.store().lock()).oldest_seq())?;
        }
        Ok(true)
    }

    /// Whether all it has is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.firmware.as_ref().is_some_and(|firmware| {
            let store = block_on(firmware.store().lock());
            store.oldest_seq() == store.next_seq()
        })
    }
}
