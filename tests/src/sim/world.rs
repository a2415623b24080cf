//! What happens in a run, one step after another, drawn from the seed.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Result, ensure};
use fastrand::Rng;
use gridpost_agent::links::FrameIn;
use gridpost_protocol::frame::FrameBuf;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::seal::Key;
use tokio::sync::mpsc;

use super::broker::{Broker, Connection};
use super::gateway::{INBOX_MAX, INFLIGHT, PACKS, SimGateway, district};
use super::ledger::{Kept, Ledger};
use super::minutes::Untaken;
use super::node::SimNode;
use super::wire::{Weather, happens};
use super::{Failure, Plan, Sabotage, Summary, intruder, oracle};

/// Lines of the trace that are kept.
const TRACE_LINES: usize = 120;
/// 2026-11-23T08:00:00Z.
const BEGIN_MS: i64 = 1_795_420_800_000;
/// Rounds without any fault after which everything must have come to rest. Back-off of a device is at most a minute, and a round is at
/// least a second.
const ROUNDS_TO_REST: u32 = 4_000;
/// After so many seconds the packs' rule calls a device silent.
const SILENT_AFTER_S: u32 = 120;

/// One run.
///
/// # Errors
/// When a promise was broken: which, and what happened before.
pub fn run(plan: Plan) -> Result<Summary, Box<Failure>> {
    let mut trace = Trace::default();
    World::new(plan)
        .and_then(|mut world| {
            let done = world.live();
            std::mem::swap(&mut trace, &mut world.trace);
            done
        })
        .map_err(|error| {
            Box::new(Failure { seed: plan.seed, what: format!("{error:#}"), trace: trace.0.into() })
        })
}

#[derive(Debug, Default)]
struct Trace(VecDeque<String>);

impl Trace {
    fn note(&mut self, now: i64, what: String) {
        if self.0.len() == TRACE_LINES {
            self.0.pop_front();
        }
        self.0.push_back(format!("{:>9.3} s  {what}", (now - BEGIN_MS) as f64 / 1000.0));
    }
}

/// How often things go wrong, as one in so many chances; drawn once a run, so that runs differ in kind.
struct Odds {
    power_cut: u32,
    link_cut: u32,
    kill: u32,
    broker_cut: u32,
    broker_down: u32,
    broker_forgets: u32,
    torn: u32,
    intruder: u32,
    pack: u32,
    slow: bool,
    disk_full: u32,
    clock_set: u32,
    time_passes: u32,
}

impl Odds {
    fn draw(rng: &mut Rng) -> Self {
        let mut one_in = |from, to| if rng.u8(..4) == 0 { 0 } else { rng.u32(from..to) };
        Self {
            power_cut: one_in(30, 500),
            link_cut: one_in(50, 1_000),
            kill: one_in(20, 400),
            broker_cut: one_in(20, 500),
            broker_down: one_in(200, 2_000),
            broker_forgets: one_in(2, 6),
            torn: one_in(5, 80),
            intruder: one_in(50, 500),
            disk_full: one_in(200, 2_000),
            clock_set: one_in(300, 3_000),
            time_passes: one_in(200, 2_000),
            pack: if rng.u8(..4) == 0 { rng.u32(100..1_000) } else { 0 },
            slow: rng.u8(..3) == 0,
        }
    }
}

struct World {
    plan: Plan,
    rng: Rng,
    now: i64,
    odds: Odds,
    nodes: Vec<SimNode>,
    gateway: SimGateway,
    broker: Broker,
    broker_up: bool,
    /// Where answers to the intruder go: there must be none.
    to_intruder: (mpsc::Sender<Box<FrameBuf>>, mpsc::Receiver<Box<FrameBuf>>),
    ledger: Ledger,
    trace: Trace,
    summary: Summary,
}

impl World {
    fn new(plan: Plan) -> Result<Self> {
        let mut rng = Rng::with_seed(plan.seed);
        // Two at the building site and one on the road, of the sample district.
        let mut nodes: Vec<_> = [
            (0x6770_0000_0000_000a, Quantity::Temperature),
            (0x6770_0000_0000_0001, Quantity::LAeq),
            (0x6770_0000_0000_0007, Quantity::Temperature),
        ]
        .into_iter()
        .map(|(id, quantity)| {
            let small = rng.u8(..3) == 0;
            SimNode::new(DeviceId(id), quantity, small, plan.steps, &mut rng)
        })
        .collect();
        for node in &mut nodes {
            node.weather = Weather::some(&mut rng);
        }
        let keys = nodes.iter().map(|node| (node.id, node.key.clone())).collect();
        let gateway = SimGateway::new(keys, rng.bool())?;
        Ok(Self {
            plan,
            now: BEGIN_MS,
            odds: Odds::draw(&mut rng),
            rng,
            nodes,
            gateway,
            broker: Broker::default(),
            broker_up: true,
            to_intruder: mpsc::channel(INBOX_MAX),
            ledger: Ledger::default(),
            trace: Trace::default(),
            summary: Summary::default(),
        })
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.note(self.now, what.into());
    }

    fn live(&mut self) -> Result<Summary> {
        if happens(4, &mut self.rng) {
            // Nodes hang on their posts before there is a gateway.
            for node in &mut self.nodes {
                node.power_on(self.now, None)?;
            }
            for _ in 0..self.rng.u8(..5) {
                self.time_passes()?;
            }
        }
        for _ in 0..self.plan.steps {
            self.now += self.rng.i64(0..400);
            match self.rng.u8(..100) {
                0..25 => self.measure(true)?,
                25..70 => {
                    let index = self.rng.usize(..self.nodes.len());
                    self.exchange(index, true)?;
                }
                70..78 => {
                    self.commit(true)?;
                }
                78..80 => {
                    self.tick(true)?;
                }
                80..95 => {
                    self.publish(true)?;
                }
                _ => self.weather()?,
            }
        }
        self.come_to_rest()?;
        let small: Vec<_> = self.nodes.iter().filter(|node| node.small).map(|node| node.id).collect();
        self.gateway.kill();
        let readings = oracle::kept(&self.gateway.spool_path())?;
        let kept: Vec<Kept> = readings.iter().map(|(kept, ..)| *kept).collect();
        let untaken = Untaken::load(&self.gateway.spool_path())?;
        let minutes = self.ledger.settle(&kept, untaken, |device| small.contains(&device))?;
        self.summary.minutes = minutes.len() as u64;
        let heard = oracle::in_order(&readings, &minutes);
        oracle::check_hours(&heard, &self.ledger)?;
        if self.summary.packs == 0 {
            let heard = self.gateway.hourly.then_some(heard.as_slice());
            oracle::check(&district(0)?, heard, &readings, &self.ledger)?;
        }
        let kinds = |kind: &str| self.ledger.events.values().filter(|made| made.kind == kind).count() as u64;
        (self.summary.silences, self.summary.hours) = (kinds("gridpost.silence"), kinds("gridpost.summary"));
        self.summary.records = self.ledger.records();
        self.summary.given_up = self.ledger.given_up();
        self.summary.forgotten = self.ledger.broker_lost();
        self.summary.events = self.ledger.events.len() as u64;
        self.summary.repeated = self.ledger.platform.values().map(|times| times - 1).sum();
        Ok(self.summary)
    }

    /// Where in the next flash operations the power goes, if it does.
    fn power_cut(&mut self, faults: bool) -> Option<u64> {
        (faults && happens(self.odds.power_cut, &mut self.rng)).then(|| {
            self.summary.power_cuts += 1;
            self.rng.u64(..60)
        })
    }

    fn measure(&mut self, faults: bool) -> Result<()> {
        let index = self.rng.usize(..self.nodes.len());
        let cut = self.power_cut(faults);
        let node = &mut self.nodes[index];
        let id = node.id;
        if !node.is_on() {
            let started = node.power_on(self.now, cut)?;
            self.note(format!("{id} powers on{}", if started { "" } else { " and goes off again" }));
            return Ok(());
        }
        let kept = node.measure(self.now, cut, &mut self.ledger, &mut self.rng)?;
        match (kept, cut) {
            (Some(seq), None) => self.note(format!("{id} keeps record {seq}")),
            (kept, _) => self.note(format!("{id} loses its power while it keeps a record (kept: {kept:?})")),
        }
        Ok(())
    }

    /// Moves a node's bytes, both ways; whether anything moved.
    fn exchange(&mut self, index: usize, faults: bool) -> Result<bool> {
        let release_when_sent = self.plan.sabotage == Some(Sabotage::ReleaseWhenSent);
        let node = &mut self.nodes[index];
        let mut moved = node.transmit(self.now, release_when_sent, &mut self.ledger, &mut self.rng)?;
        // A gateway that is not there, or whose queue is full, takes no bytes from the link.
        if self.gateway.running.is_some() && self.gateway.inbox.len() < INBOX_MAX {
            for frame in node.arrive(&mut self.rng) {
                moved = true;
                let (answers, proof) = (node.answers.clone(), Arc::default());
                self.gateway.inbox.push(FrameIn { link: "sim".into(), frame, answers, proof, place: None });
            }
        }
        node.put_answers(&mut self.ledger, &mut self.rng)?;
        let cut = self.power_cut(faults);
        let node = &mut self.nodes[index];
        moved |= node.receive(self.now, cut, &mut self.ledger, &mut self.rng)?;
        if cut.is_some() {
            let id = node.id;
            self.note(format!("{id} loses its power while it listens"));
        }
        Ok(moved)
    }

    /// One transaction of the gateway, which may be killed around it; whether anything was to be done.
    fn commit(&mut self, faults: bool) -> Result<bool> {
        if self.gateway.running.is_none() {
            let started = self.gateway.start(self.now, self.plan.sabotage, &mut self.ledger)?;
            self.note(if started {
                "the gateway starts"
            } else {
                "the gateway cannot start: the disk is full"
            });
            return Ok(true);
        }
        let killed = faults && happens(self.odds.kill, &mut self.rng);
        let frames = self.rng.usize(1..=INBOX_MAX);
        if faults && happens(self.odds.torn, &mut self.rng) {
            let begun = self.gateway.persist_torn(frames, self.now, &mut self.rng, &mut self.ledger)?;
            self.summary.torn += u64::from(begun);
            self.summary.kills += 1;
            self.note("the gateway's power fails in the middle of a commit");
            return Ok(true);
        }
        if killed && self.plan.sabotage == Some(Sabotage::AckBeforeCommit) {
            return self.answer_before_commit(frames);
        }
        let kill_at = if killed { self.rng.u8(..3) } else { u8::MAX };
        if kill_at == 0 {
            self.kill("before a commit");
            return Ok(true);
        }
        let durable = self.gateway.persist(frames, self.now, self.plan.sabotage, &mut self.ledger)?;
        if durable {
            self.note("the gateway commits");
            if kill_at == 1 {
                self.kill("between commit and answer");
                return Ok(true);
            }
            self.gateway.answer(self.now);
            ensure!(self.to_intruder.1.try_recv().is_err(), "invariant 6: the gateway answers an intruder");
        }
        if kill_at == 2 {
            self.kill("after a commit");
        }
        Ok(durable)
    }

    /// A second of the gateway's clock has passed: it may tell who is silent. Whether it did.
    fn tick(&mut self, faults: bool) -> Result<bool> {
        let torn = faults && self.gateway.running.is_some() && happens(self.odds.torn, &mut self.rng);
        let before = torn.then(|| self.gateway.files()).transpose()?;
        let told = self.gateway.tick(self.now)?;
        if let (Some(before), true) = (before, told) {
            self.gateway.tear(&before, &mut self.rng)?;
            self.summary.torn += 1;
            self.summary.kills += 1;
            self.note("the gateway's power fails while it tells who is silent");
            return Ok(true);
        }
        if told {
            self.note("the gateway tells who is silent, or is not");
            if faults && happens(self.odds.kill, &mut self.rng) {
                self.kill("after it told of a silence");
                return Ok(true);
            }
            self.gateway.look(self.now, &mut self.ledger)?;
        }
        Ok(told)
    }

    fn answer_before_commit(&mut self, frames: usize) -> Result<bool> {
        let before = self.gateway.files()?;
        let durable = self.gateway.persist(frames, self.now, None, &mut self.ledger)?;
        self.gateway.answer(self.now);
        for node in &mut self.nodes {
            node.put_answers(&mut self.ledger, &mut self.rng)?;
        }
        self.gateway.restore(&before)?;
        self.summary.kills += 1;
        self.note("the gateway answers, and is killed before it is durable");
        Ok(durable)
    }

    fn kill(&mut self, when: &str) {
        self.gateway.kill();
        self.summary.kills += 1;
        self.note(format!("the gateway is killed {when}"));
    }

    /// Moves events towards the platform; whether anything moved.
    fn publish(&mut self, faults: bool) -> Result<bool> {
        let taken = if self.odds.slow && faults { self.rng.usize(..2) } else { usize::MAX };
        let mut moved = self.broker_up && self.broker.hand_on(taken, &mut self.ledger)?;
        let Some(running) = &mut self.gateway.running else { return Ok(moved) };
        let Some(connection) = &mut running.connection else {
            if !self.broker_up {
                return Ok(moved);
            }
            let mut connection = Connection::default();
            running.outflow.connecting(running.committed);
            let unbounded = self.plan.sabotage == Some(Sabotage::UnboundedWindow);
            running.outflow.connected(if unbounded { usize::from(u16::MAX) } else { INFLIGHT });
            running.outflow.submit(0, "status".to_owned());
            running.outflow.sent(connection.publish(Vec::new()));
            running.connection = Some(connection);
            self.note("the gateway connects to the broker");
            return Ok(true);
        };
        if faults && happens(self.odds.broker_cut, &mut self.rng) {
            self.cut_connection()?;
            self.note("the connection to the broker breaks");
            return Ok(true);
        }
        for _ in 0..self.rng.u8(..4) {
            moved |= connection.process(&mut self.broker, &mut self.ledger)?;
        }
        for _ in 0..self.rng.u8(..4) {
            let Some(packet) = connection.acknowledgement(&mut self.rng) else { break };
            running
                .outflow
                .acknowledged(packet)
                .map_err(|_| anyhow::anyhow!("packet {packet} was acknowledged and not under way"))?;
            moved = true;
        }
        running.release.extend(std::iter::from_fn(|| running.outflow.take_released(false)));
        ensure!(
            connection.under_way().len() <= INFLIGHT,
            "invariant 5: more than {INFLIGHT} publishes under way"
        );
        moved |= self.gateway.publish()?;
        if self.plan.sabotage == Some(Sabotage::DeleteBeforePuback)
            && let Some(running) = &mut self.gateway.running
        {
            running.release.push(1..=running.committed);
        }
        Ok(moved)
    }

    fn cut_connection(&mut self) -> Result<()> {
        self.summary.broker_cuts += 1;
        let Some(running) = &mut self.gateway.running else { return Ok(()) };
        let Some(connection) = running.connection.take() else { return Ok(()) };
        if self.plan.sabotage == Some(Sabotage::TrustPending) {
            for packet in connection.under_way() {
                let _ = running.outflow.acknowledged(packet);
            }
        }
        running.release.extend(std::iter::from_fn(|| running.outflow.take_released(true)));
        if let Some((id, _)) = running.outflow.ended_by_broker() {
            running.refusals.push(gridpost_agent::uplink::Refused { id, reason: "simulated".to_owned() });
        }
        Ok(())
    }

    /// What befalls the whole chain.
    fn weather(&mut self) -> Result<()> {
        let index = self.rng.usize(..self.nodes.len());
        if happens(self.odds.link_cut.div_ceil(20), &mut self.rng) {
            self.nodes[index].cut_link();
            let id = self.nodes[index].id;
            self.note(format!("the link of {id} breaks"));
        }
        if happens(10, &mut self.rng) {
            self.nodes[index].weather = Weather::some(&mut self.rng);
        }
        if happens(self.odds.time_passes.div_ceil(20), &mut self.rng) {
            self.time_passes()?;
        }
        if happens(self.odds.broker_down.div_ceil(20), &mut self.rng) {
            self.broker_up = !self.broker_up;
            self.cut_connection()?;
            let state = if !self.broker_up {
                "goes down"
            } else if happens(self.odds.broker_forgets, &mut self.rng) {
                self.broker.comes_back_without_sessions(&mut self.ledger)?;
                "comes back without sessions"
            } else {
                self.broker.comes_back();
                "comes back"
            };
            self.note(format!("the broker {state}"));
        }
        if happens(self.odds.pack.div_ceil(20), &mut self.rng) {
            self.gateway.pack = (self.gateway.pack + 1) % PACKS;
            self.summary.packs += 1;
            self.kill("to load another pack");
        }
        if happens(self.odds.intruder.div_ceil(20), &mut self.rng) {
            self.intrude()?;
        }
        if happens(self.odds.disk_full.div_ceil(20), &mut self.rng) {
            self.gateway.disk_full = !self.gateway.disk_full;
            self.kill(if self.gateway.disk_full { "and its disk is full" } else { "and its disk has room" });
        }
        if happens(self.odds.clock_set.div_ceil(20), &mut self.rng) {
            self.gateway.clock_off = self.rng.i64(-86_400_000..86_400_000);
            self.ledger.silences.clock_set(self.now);
            let off = self.gateway.clock_off;
            self.note(format!("the gateway's clock is set: {off} ms off"));
        }
        Ok(())
    }

    /// Somebody who has no key says that they are a device.
    fn intrude(&mut self) -> Result<()> {
        if self.gateway.running.is_none() || self.gateway.inbox.len() + 2 > INBOX_MAX {
            return Ok(());
        }
        let node = &self.nodes[self.rng.usize(..self.nodes.len())];
        let id = node.id;
        let mut key = Key(std::array::from_fn(|_| self.rng.u8(..)));
        if self.plan.sabotage == Some(Sabotage::AcceptUnauthenticated) {
            // A gateway that does not look at tags takes what is sealed with any key as if it were the right one.
            key = node.key.clone();
        }
        for frame in intruder::frames(id, key, self.ledger.cursor_of(id), self.now)? {
            let (answers, proof) = (self.to_intruder.0.clone(), Arc::default());
            self.gateway.inbox.push(FrameIn { link: "sim".into(), frame, answers, proof, place: None });
            self.summary.forged += 1;
        }
        self.note(format!("an intruder says that it is {id}"));
        Ok(())
    }

    /// Nodes go on measuring, and nothing comes to the gateway; for minutes, or for hours.
    fn time_passes(&mut self) -> Result<()> {
        let times = self.rng.u32(1..400);
        let seconds = if happens(3, &mut self.rng) { 30 } else { 1 };
        for _ in 0..times {
            self.now += i64::from(seconds) * 1_000;
            self.tick(false)?;
            for node in &mut self.nodes {
                if node.is_on() {
                    node.measure(self.now, None, &mut self.ledger, &mut self.rng)?;
                }
            }
        }
        self.note(format!("{} s pass in which nodes only measure", times * seconds));
        Ok(())
    }

    /// Nothing goes wrong any more: everything must arrive.
    fn come_to_rest(&mut self) -> Result<()> {
        self.note("from here on nothing goes wrong");
        self.gateway.disk_full = false;
        if !self.broker_up {
            self.broker.comes_back();
        }
        self.broker_up = true;
        // What was set aside goes out again with the next start.
        self.kill("for the last time");
        for node in &mut self.nodes {
            node.weather = Weather::FINE;
            if !node.is_on() {
                node.power_on(self.now, None)?;
            }
        }
        for _ in 0..ROUNDS_TO_REST {
            self.now += 1_000;
            let mut moved = false;
            for index in 0..self.nodes.len() {
                moved |= self.exchange(index, false)?;
            }
            moved |= self.commit(false)?;
            moved |= self.tick(false)?;
            moved |= self.publish(false)?;
            if !moved && self.waiting()? == 0 && self.nodes.iter().all(SimNode::is_empty) {
                return self.fall_silent();
            }
        }
        let waiting: Vec<_> =
            self.nodes.iter().filter(|node| !node.is_empty()).map(|node| node.id.to_string()).collect();
        anyhow::bail!("invariant 5: the chain does not come to rest; nodes with records left: {waiting:?}")
    }

    /// Events that wait, or one when there is no gateway.
    fn waiting(&self) -> Result<i64> {
        let running = self.gateway.running.as_ref();
        Ok(running.map_or(Ok(1), |running| running.committer.spool().events_waiting())?)
    }

    /// Nothing comes any more, and the gateway listens: it says so of each device that it knows, and of nobody twice.
    fn fall_silent(&mut self) -> Result<()> {
        for _ in 0..=SILENT_AFTER_S {
            self.now += 1_000;
            self.tick(false)?;
        }
        for node in &self.nodes {
            ensure!(
                self.ledger.silences.is_silent(node.id),
                "nothing is heard of {}, and the gateway does not say so",
                node.id
            );
        }
        for _ in 0..ROUNDS_TO_REST {
            self.commit(false)?;
            self.publish(false)?;
            if self.waiting()? == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("invariant 5: what is said of silence does not come to rest")
    }
}
