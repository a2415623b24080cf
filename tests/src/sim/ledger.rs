//! What everybody promised so far, and whether it was kept. Knows nothing of how it is done: sees what was appended, sealed,
//! committed, published and let go.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use gridpost_agent::event::cloudevent::CloudEvent;
use gridpost_agent::event::hourly::{self, SummaryEvent};
use gridpost_agent::uplink::OutboxRow;
use gridpost_protocol::frame::{FrameBuf, Header};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::reading::Milli;
use gridpost_protocol::summary::Summary;
use gridpost_protocol::time::UnixMillis;
use serde_json::Value;

use super::minutes::{self, MinuteRow, TakenMinute, Untaken};
use super::silences::Silences;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By device and number: what was appended under it, and whether the node was told that it is durable.
    appended: HashMap<DeviceId, BTreeMap<Seq, Appended>>,
    /// The rows that appended minutes become.
    minutes: HashSet<MinuteRow>,
    /// What the gateway has durably of each device.
    cursors: HashMap<DeviceId, Seq>,
    /// By nonce: what was sealed with it.
    nonces: HashMap<(u64, bool, u32, u32, u32), u64>,
    /// By id: the events that were committed.
    pub(super) events: HashMap<String, Committed>,
    /// Committed rows, and which event each is.
    rows: BTreeMap<i64, String>,
    /// What the broker has acknowledged or will.
    taken: HashSet<String>,
    /// What the broker took and forgot.
    forgotten: HashSet<String>,
    /// What the platform got, by id, and how often.
    pub(super) platform: HashMap<String, u64>,
    /// Events that were set aside, and may be committed again under another row.
    set_aside: HashSet<String>,
    /// Records that were reported as given up.
    gaps: Vec<(DeviceId, Seq, Seq)>,
    /// What was said of silence.
    pub(super) silences: Silences,
}

#[derive(Debug)]
struct Appended {
    /// Several when the power went while each of them was being appended.
    what: Vec<What>,
    certain: bool,
}

/// What a node appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Report,
    Reading(Milli),
    /// A minute that begins then.
    Minute(UnixMillis, Summary),
}

#[derive(Debug)]
pub(super) struct Committed {
    pub(super) payload: Vec<u8>,
    pub(super) kind: String,
}

/// A row of the spool's readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) device: DeviceId,
    pub(crate) seq: Seq,
    pub(crate) value: Milli,
}

impl Ledger {
    /// A node was told that its record is durable.
    pub(super) fn appended(&mut self, device: DeviceId, seq: Seq, what: What) -> Result<()> {
        self.measured(device, &what);
        let of_device = self.appended.entry(device).or_default();
        if let Some(earlier) = of_device.get(&seq) {
            ensure!(!earlier.certain, "invariant 1: node {device} gave the number {seq} twice");
        }
        of_device.insert(seq, Appended { what: vec![what], certain: true });
        Ok(())
    }

    /// The power went while a record was being appended.
    pub(super) fn may_be_there(&mut self, device: DeviceId, seq: Seq, what: What) {
        self.measured(device, &what);
        self.appended
            .entry(device)
            .or_default()
            .entry(seq)
            .or_insert(Appended { what: Vec::new(), certain: false })
            .what
            .push(what);
    }

    fn measured(&mut self, device: DeviceId, what: &What) {
        if let What::Minute(at, summary) = what {
            self.minutes.extend(minutes::rows(device, *at, summary));
        }
    }

    /// Somebody sealed a frame.
    pub(super) fn sealed(&mut self, frame: &FrameBuf) -> Result<()> {
        let header = Header::parse(frame).map_err(|error| anyhow::anyhow!("not a frame: {error}"))?;
        let mut hasher = DefaultHasher::new();
        frame.hash(&mut hasher);
        let nonce = (header.device.0, header.is_down(), header.boot, header.counter, header.start);
        let sealed = hasher.finish();
        match self.nonces.entry(nonce) {
            Entry::Vacant(place) => {
                place.insert(sealed);
            }
            Entry::Occupied(earlier) => {
                ensure!(
                    *earlier.get() == sealed,
                    "invariant 6: two frames were sealed with one nonce: {header:?}"
                );
            }
        }
        Ok(())
    }

    /// The gateway's spool says how far it is with a device.
    pub(super) fn cursor(&mut self, device: DeviceId, cursor: Option<Seq>) {
        self.cursors.insert(device, cursor.unwrap_or(Seq::NONE));
    }

    /// A node has let go of everything before `oldest`.
    pub(super) fn let_go(&self, device: DeviceId, oldest: Seq) -> Result<()> {
        let cursor = self.cursors.get(&device).copied().unwrap_or(Seq::NONE);
        let lost = self.appended.get(&device).and_then(|all| {
            // Numbers may be left out after a power cut: only what the node was told is durable counts.
            let mut gone = all.iter().take_while(|(seq, _)| **seq < oldest);
            gone.find(|(seq, record)| **seq > cursor && record.certain).map(|(seq, _)| *seq)
        });
        match lost {
            Some(seq) => bail!(
                "invariant 1: node {device} let go of record {seq}, and the gateway has them durably only up to {cursor}"
            ),
            None => Ok(()),
        }
    }

    /// What the gateway has durably of a device.
    pub(super) fn cursor_of(&self, device: DeviceId) -> Seq {
        self.cursors.get(&device).copied().unwrap_or(Seq::NONE)
    }

    /// A reading is in the spool for the first time.
    pub(super) fn kept(&self, one: &Kept) -> Result<()> {
        let known = self.appended.get(&one.device).and_then(|all| all.get(&one.seq));
        ensure!(
            known.is_some_and(|known| known.what.contains(&What::Reading(one.value))),
            "invariant 6: record {} of {} was never measured",
            one.seq,
            one.device
        );
        Ok(())
    }

    /// A minute's value is in the spool for the first time.
    pub(super) fn minute_kept(&self, row: &MinuteRow) -> Result<()> {
        ensure!(self.minutes.contains(row), "invariant 6: this minute was never summed up: {row:?}");
        Ok(())
    }

    /// Rows that are in the spool for the first time.
    pub(super) fn committed(&mut self, rows: Vec<OutboxRow>, now: i64) -> Result<()> {
        for row in rows {
            if let Ok(hour) = serde_json::from_slice::<SummaryEvent>(&row.payload) {
                self.made(row, hour.id, hour.kind)?;
                continue;
            }
            let event: CloudEvent =
                serde_json::from_slice(&row.payload).context("an event is not a CloudEvent")?;
            let data = &event.data;
            ensure!(
                !event.matter.is_empty()
                    && event.matter == data.matter.code
                    && !event.department.is_empty()
                    && event.department == data.matter.department.id
                    && !event.level.is_empty(),
                "invariant 2: event {} has no owner",
                event.id
            );
            if let Some(gap) = &data.gap {
                let device = data.device.as_ref().context("a gap without a device")?;
                let device = device.id.parse().map_err(|_| anyhow::anyhow!("no device id"))?;
                self.gaps.push((device, Seq(gap.first), Seq(gap.last)));
            }
            // What was set aside comes again, and is told once.
            if !self.events.contains_key(&event.id) {
                self.silences.told(&event, now)?;
            }
            self.made(row, event.id, event.kind)?;
        }
        Ok(())
    }

    fn made(&mut self, row: OutboxRow, id: String, kind: String) -> Result<()> {
        if let Some(earlier) = self.events.get(&id) {
            ensure!(self.set_aside.remove(&id), "invariant 3: event {id} was made twice");
            ensure!(earlier.payload == row.payload, "invariant 1: event {id} is not what it was");
        }
        self.rows.insert(row.id, id.clone());
        self.events.insert(id, Committed { payload: row.payload, kind });
        Ok(())
    }

    /// The hours that were told.
    pub(super) fn hours(&self) -> impl Iterator<Item = Result<SummaryEvent>> {
        let hours = self.events.values().filter(|made| made.kind == hourly::TYPE);
        hours.map(|made| serde_json::from_slice(&made.payload).context("an hour is no summary"))
    }

    /// The newest row seen.
    pub(super) fn newest_row(&self) -> i64 {
        self.rows.keys().next_back().copied().unwrap_or(0)
    }

    /// The broker refused an event, and it is not in the outbox any more.
    pub(super) fn set_aside(&mut self, row: i64) {
        if let Some(id) = self.rows.remove(&row) {
            self.set_aside.insert(id);
        }
    }

    /// The broker got a message.
    pub(super) fn taken(&mut self, payload: &[u8]) -> Result<()> {
        let id = self.known(payload)?;
        self.taken.insert(id);
        Ok(())
    }

    /// The broker has lost a message that it took.
    pub(super) fn forgotten(&mut self, payload: &[u8]) -> Result<()> {
        let id = self.known(payload)?;
        self.forgotten.insert(id);
        Ok(())
    }

    /// The platform got a message.
    pub(super) fn published(&mut self, payload: &[u8]) -> Result<()> {
        let id = self.known(payload)?;
        *self.platform.entry(id).or_default() += 1;
        Ok(())
    }

    /// The id of a message that the gateway had committed, and that has not changed since.
    fn known(&self, payload: &[u8]) -> Result<String> {
        let event: Value = serde_json::from_slice(payload).context("the platform cannot read an event")?;
        let id = event["id"].as_str().context("an event without an id")?;
        match self.events.get(id) {
            None => bail!("invariant 1: event {id} is at the platform and was never committed"),
            Some(committed) => {
                ensure!(committed.payload == payload, "invariant 1: event {id} changed on its way");
            }
        }
        Ok(id.to_owned())
    }

    /// The spool lets go of these rows.
    pub(super) fn released(&self, rows: &RangeInclusive<i64>) -> Result<()> {
        match self.rows.range(rows.clone()).find(|(_, id)| !self.taken.contains(*id)) {
            Some((row, id)) => {
                bail!(
                    "invariant 1: the spool let go of event {id} (row {row}), which no broker has acknowledged"
                )
            }
            None => Ok(()),
        }
    }

    /// The end, when everything has come to rest: `kept` is all that the spool has of readings, `untaken` of minutes. Which records those
    /// came in.
    pub(super) fn settle(
        &self,
        kept: &[Kept],
        untaken: Untaken,
        small: impl Fn(DeviceId) -> bool,
    ) -> Result<Vec<TakenMinute>> {
        let mut there = HashSet::new();
        for one in kept {
            ensure!(
                there.insert((one.device, one.seq)),
                "invariant 1: record {} of {} was taken twice",
                one.seq,
                one.device
            );
            self.kept(one)?;
        }
        for id in self.events.keys() {
            if let Some((device, seq)) = id.split_once("-report-") {
                let (device, seq) = (device.parse::<DeviceId>(), seq.parse::<u64>());
                if let (Ok(device), Ok(seq)) = (device, seq) {
                    there.insert((device, Seq(seq)));
                }
            }
        }
        let minutes = self.settle_minutes(untaken)?;
        there.extend(minutes.iter().map(|minute| (minute.device, minute.seq)));
        for (device, first, last) in &self.gaps {
            // A number may be left out when the power went in its record's last word: nobody was told that it was there.
            let was_cut = |seq| {
                self.appended.get(device).and_then(|all| all.get(&Seq(seq))).is_some_and(|one| !one.certain)
            };
            ensure!(
                small(*device) || (first.0..=last.0).all(was_cut),
                "invariant 1: {device} has lost records {first} to {last} with room left in its flash"
            );
            for seq in first.0..=last.0 {
                ensure!(
                    !there.contains(&(*device, Seq(seq))),
                    "invariant 4: record {seq} of {device} is there and reported lost"
                );
            }
        }
        for (device, all) in &self.appended {
            for (seq, _) in all.iter().filter(|(_, record)| record.certain) {
                ensure!(
                    there.contains(&(*device, *seq)) || self.is_given_up(*device, *seq),
                    "invariant 4: record {seq} of {device} is lost, and nobody said so"
                );
            }
        }
        for id in self.events.keys() {
            ensure!(
                self.platform.contains_key(id) || self.forgotten.contains(id),
                "invariant 1: event {id} never came to the platform"
            );
        }
        Ok(minutes)
    }

    /// Which records the spool's minutes came in. A minute that was begun anew after a power cut may look the same: those that must be
    /// there go first.
    fn settle_minutes(&self, mut untaken: Untaken) -> Result<Vec<TakenMinute>> {
        let mut taken = Vec::new();
        let all = || self.appended.iter().flat_map(|(device, all)| all.iter().map(move |one| (*device, one)));
        for must_be_there in [true, false] {
            for (device, (seq, record)) in all() {
                let mut minutes = record.what.iter().filter_map(|what| match what {
                    What::Minute(at, summary) => Some((*at, summary)),
                    _ => None,
                });
                if minutes.clone().next().is_none()
                    || must_be_there != (record.certain && !self.is_given_up(device, *seq))
                {
                    continue;
                }
                if let Some((at, summary)) = minutes.find(|(at, summary)| untaken.take(device, *at, summary))
                {
                    taken.push(TakenMinute { device, seq: *seq, at, summary: summary.clone() });
                }
            }
        }
        match untaken.left() {
            Some(row) => bail!("invariant 1: a minute is in the spool more often than it was kept: {row:?}"),
            None => Ok(taken),
        }
    }

    /// Whether it was reported that a record was given up.
    fn is_given_up(&self, device: DeviceId, seq: Seq) -> bool {
        self.gaps.iter().any(|(d, first, last)| *d == device && (*first..=*last).contains(&seq))
    }

    /// Records that nodes were told are durable.
    pub(super) fn records(&self) -> u64 {
        self.appended.values().flat_map(BTreeMap::values).filter(|record| record.certain).count() as u64
    }

    /// Events that the broker took and forgot, and that did not come later either.
    pub(super) fn broker_lost(&self) -> u64 {
        self.forgotten.iter().filter(|id| !self.platform.contains_key(*id)).count() as u64
    }

    /// Records that were reported as given up.
    pub(super) fn given_up(&self) -> u64 {
        self.gaps.iter().map(|(_, first, last)| last.0 - first.0 + 1).sum()
    }
}
