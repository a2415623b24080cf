//! A node that runs its rules itself, with the protocol's gateway at the other end of a good link.

mod deciding;
mod flash;
mod taking_over;

use std::vec::Vec;

use embassy_futures::block_on;
use gridpost_protocol::engine::PrecomputedPeriods;
use gridpost_protocol::event::Phase;
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::{ResetCause, ShareHead, ShareRule, ShareStatus};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Record, RecordBuf, Stored};
use gridpost_protocol::rule::{Direction, PeriodId, Rule, Statistic};
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::gateway::{Durable, GatewaySession, Input};
use gridpost_protocol::share::{NO_SHARE, Share};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

use super::{About, Journal, Node, ToSend};
use crate::provision::Identity;
use crate::store::{STATE_SECTORS, Store};
use crate::testing::flash::RamFlash;
use crate::wall::SyncedClock;

const DEVICE: DeviceId = DeviceId(7);
const KEY: [u8; 32] = [9; 32];
/// What time it is when a node's uptime is 0.
const EPOCH: i64 = 1_790_000_000_000;

struct Silent;

impl Journal for Silent {
    fn appended(&self, _: Seq) {}
    fn trouble(&self, _: core::fmt::Arguments<'_>) {}
}

type BenchNode = Node<RamFlash, SyncedClock, Silent>;

fn blank_flash(queue_sectors: usize, ring_sectors: u32) -> RamFlash {
    let mut flash = RamFlash::new(queue_sectors + 1 + (STATE_SECTORS + ring_sectors) as usize);
    flash.program(0, &Identity { device: DEVICE, key: Key(KEY), first_seq: Seq(1) }.encode());
    flash
}

fn node_on(flash: RamFlash, ring_sectors: u32) -> Option<BenchNode> {
    let about = About { firmware: "t", board: "t", reset_cause: ResetCause::PowerOn };
    let store = block_on(Store::open_with_ring(flash, ring_sectors)).ok()?;
    Some(Node::new(store, about, SyncedClock::default(), Silent))
}

/// A record as the gateway has it.
#[derive(Clone, Debug)]
struct Kept {
    seq: Seq,
    stamp: Stamp,
    record: RecordBuf,
}

impl Kept {
    fn record(&self) -> Record<'_> {
        let stored = Stored::parse(&self.record).unwrap();
        Record::decode(stored.kind, stored.body)
    }

    fn at(&self) -> UnixMillis {
        match self.stamp {
            Stamp::Unix { at, .. } => at,
            Stamp::Uptime { .. } => panic!("nobody knew the time"),
        }
    }
}

/// The gateway's end.
struct Bench {
    session: GatewaySession,
    share: Share,
    /// What the gateway tells a node that says hello; nothing when it is of a version that knows no shares.
    tells: bool,
    kept: Vec<Kept>,
    statuses: Vec<ShareStatus>,
}

impl Bench {
    fn new(rules: &[(&str, Rule)]) -> Self {
        let session = GatewaySession::new(DEVICE, Key(KEY), 1, Durable::default());
        Self { session, share: share(rules), tells: true, kept: Vec::new(), statuses: Vec::new() }
    }

    fn running_id(&self) -> u32 {
        if self.share.rules().is_empty() { NO_SHARE } else { self.share.id() }
    }

    /// The frames that tell the share.
    fn share_frames(&mut self) -> Vec<FrameBuf> {
        let id = self.running_id();
        let rules = self.share.rules().len() as u8;
        let head = ShareHead { share: id, rules, periods: PrecomputedPeriods::default() };
        let mut frames = std::vec![self.session.share(&head).unwrap()];
        for (index, (name, rule)) in self.share.names().iter().zip(self.share.rules()).enumerate() {
            let rule = ShareRule { share: id, index: index as u8, name, rule: rule.clone() };
            frames.push(self.session.share_rule(&rule).unwrap());
        }
        frames
    }

    /// Everything that the two have to say to each other at this uptime.
    fn talk(&mut self, node: &BenchNode, now: u64) {
        let now = UptimeMillis(now);
        let mut frame = FrameBuf::new();
        while let Ok(ToSend::Frame(_)) = block_on(node.transmit(now, false, &mut frame)) {
            let mut answers = Vec::new();
            match self.session.on_frame(&mut frame).unwrap() {
                Input::Hello(hello) => {
                    let cursor = self.session.received().unwrap_or(Seq::NONE);
                    answers.push(self.session.ack(cursor).unwrap());
                    let time = UnixMillis(EPOCH + now.0 as i64);
                    answers.push(self.session.time(time, 20, hello.uptime).unwrap());
                    if self.tells {
                        answers.extend(self.share_frames());
                    }
                }
                Input::Records { fresh, last, .. } => {
                    for (seq, stamp, record) in fresh.iter() {
                        self.kept.push(Kept { seq, stamp, record: record.store(&stamp).unwrap() });
                    }
                    answers.push(self.session.ack(last).unwrap());
                }
                Input::Duplicate { last } => answers.push(self.session.ack(last).unwrap()),
                Input::Share(status) => self.statuses.push(status),
                other => panic!("{other:?}"),
            }
            for mut answer in answers {
                block_on(node.receive(now, &mut answer));
            }
        }
    }

    fn episodes(&self) -> impl Iterator<Item = (&Kept, gridpost_protocol::told::ToldEpisode<'_>)> {
        self.kept.iter().filter_map(|kept| match kept.record() {
            Record::Episode(told) => Some((kept, told)),
            _ => None,
        })
    }

    fn phases(&self) -> Vec<(Seq, u16, Phase)> {
        self.episodes().map(|(_, told)| (told.onset, told.revision, told.phase)).collect()
    }

    fn readings(&self) -> usize {
        self.kept.iter().filter(|kept| matches!(kept.record(), Record::Reading(_))).count()
    }
}

fn share(rules: &[(&str, Rule)]) -> Share {
    let mut share = Share::new();
    for (name, rule) in rules {
        share.push(name, rule.clone()).unwrap();
    }
    share
}

/// More than 70 dB over half a minute, for ten seconds.
fn noise() -> Rule {
    Rule {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 30_000,
        direction: Direction::Above,
        limit_day: Milli(70_000),
        limit_night: Milli(70_000),
        early_warning: Some(Milli(3_000)),
        hold_ms: 10_000,
        clear_ms: 20_000,
        hysteresis: Milli(2_000),
        severity: heapless::Vec::from_slice(&[Milli(5_000), Milli(10_000)]).unwrap(),
        period: PeriodId::ALWAYS,
        group: None,
        min_capture: 50,
        interval_ms: 1000,
        conditions: heapless::Vec::new(),
    }
}

/// Warmer than 35 degrees, on each reading.
fn heat() -> Rule {
    Rule {
        quantity: Quantity::Temperature,
        statistic: Statistic::Last,
        window_ms: 0,
        limit_day: Milli(35_000),
        limit_night: Milli(35_000),
        early_warning: None,
        hold_ms: 0,
        clear_ms: 5_000,
        severity: heapless::Vec::new(),
        interval_ms: 1000,
        ..noise()
    }
}

fn level(value: i32) -> Reading {
    Reading { quantity: Quantity::LAeq, value: Milli(value), quality: Quality::GOOD }
}

fn degrees(value: i32) -> Reading {
    Reading { quantity: Quantity::Temperature, value: Milli(value), quality: Quality::GOOD }
}

fn observe(node: &BenchNode, second: u64, reading: &Reading) -> bool {
    block_on(node.observe(UptimeMillis(second * 1000), reading)).is_ok()
}
