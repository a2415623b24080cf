//! A whole node on this machine: its loop, its store, a link in memory, and the protocol's gateway at the other end.

use core::cell::RefCell;
use core::future::pending;
use std::borrow::ToOwned;
use std::rc::Rc;
use std::vec::Vec;

use embassy_futures::block_on;
use embassy_futures::select::{select, select3, select4};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use gridpost_protocol::fault::FaultKind;
use gridpost_protocol::frame::{Deframer, to_stream};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::ResetCause;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::record::{Record, Stored};
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::gateway::{self, Durable, GatewaySession};

use super::*;
use crate::provision::Identity;
use crate::sensors::{Readings, Sensor, SensorError, good};
use crate::store::STATE_SECTORS;
use crate::testing::flash::RamFlash;
use crate::wall::SyncedClock;

const SECTORS: usize = 6;
const DEVICE: DeviceId = DeviceId(7);
const KEY: [u8; 32] = [9; 32];

type TestNode = Node<RamFlash, SyncedClock, Said>;

/// The numbers that the node reported as appended.
#[derive(Clone, Default)]
struct Said(Rc<RefCell<Vec<u64>>>);

impl Journal for Said {
    fn appended(&self, seq: Seq) {
        self.0.borrow_mut().push(seq.0);
    }

    fn trouble(&self, _what: core::fmt::Arguments<'_>) {}
}

impl Said {
    async fn wait_for(&self, appends: usize) {
        while self.0.as_ref().borrow().len() < appends {
            embassy_futures::yield_now().await;
        }
    }
}

/// Counts up, so that every reading can be told from every other.
struct Counting {
    value: i32,
    until: i32,
}

impl Sensor for Counting {
    const NAME: &'static str = "counting";

    fn interval(&self) -> Duration {
        Duration::from_micros(200)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        if self.value == self.until {
            pending::<()>().await;
        }
        self.value += 1;
        Ok(Readings::from_array([good(Quantity::LAeq, self.value)]))
    }
}

/// A chip that holds its bus: a read never ends.
struct Hangs;

impl Sensor for Hangs {
    const NAME: &'static str = "hangs";

    fn interval(&self) -> Duration {
        Duration::from_micros(200)
    }

    fn patience(&self) -> Duration {
        Duration::from_micros(200)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        pending().await
    }
}

fn flash() -> RamFlash {
    let mut flash = RamFlash::new(SECTORS + 1 + STATE_SECTORS as usize);
    flash.program(0, &Identity { device: DEVICE, key: Key(KEY), first_seq: Seq(1) }.encode());
    flash
}

fn start(flash: RamFlash, said: &Said) -> TestNode {
    let about = About { firmware: "t", board: "t", reset_cause: ResetCause::PowerOn };
    Node::new(block_on(Store::open(flash)).unwrap(), about, SyncedClock::default(), said.clone())
}

fn stop(node: TestNode) -> RamFlash {
    node.store.into_inner().close()
}

type Wire = Pipe<NoopRawMutex, 256>;

/// The sending end of a wire that loses bytes and flips bits.
struct Bad<'a> {
    wire: &'a Wire,
    sent: u32,
    /// Of so many bytes one is lost and one is flipped; 0 for a good wire.
    every: u32,
}

impl ErrorType for Bad<'_> {
    type Error = core::convert::Infallible;
}

impl Write for Bad<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        for byte in bytes {
            self.sent += 1;
            match self.sent.checked_rem(self.every) {
                Some(0) => {}
                Some(at) if at == self.every / 2 => self.wire.write_all(&[byte ^ 0x10]).await,
                _ => self.wire.write_all(&[*byte]).await,
            }
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The receiving end of a wire.
struct End<'a>(&'a Wire);

impl ErrorType for End<'_> {
    type Error = core::convert::Infallible;
}

impl Read for End<'_> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(self.0.read(bytes).await)
    }
}

/// A gateway that commits to memory.
struct Gateway {
    session: GatewaySession,
    records: Vec<(u64, i32)>,
    /// Records said to be gone for good.
    given_up: u64,
    refused: u32,
}

impl Gateway {
    fn new() -> Self {
        let session = GatewaySession::new(DEVICE, Key(KEY), 1, Durable::default());
        Self { session, records: Vec::new(), given_up: 0, refused: 0 }
    }

    async fn serve(&mut self, from_node: &Wire, to_node: &mut Bad<'_>) {
        let (mut deframer, mut buffer) = (Deframer::new(), [0; 64]);
        loop {
            let count = from_node.read(&mut buffer).await;
            for byte in &buffer[..count] {
                match deframer.push(*byte) {
                    Some(Ok(mut frame)) => self.take(&mut frame, to_node).await,
                    Some(Err(_)) => self.refused += 1,
                    None => {}
                }
            }
        }
    }

    async fn take(&mut self, frame: &mut [u8], to_node: &mut Bad<'_>) {
        match self.session.on_frame(frame) {
            Ok(gateway::Input::Records { fresh, gap, .. }) => {
                self.given_up += gap.map_or(0, |gap| gap.last.0 - gap.first.0 + 1);
                for (seq, _, record) in fresh.iter() {
                    let Record::Reading(reading) = record else { panic!("{record:?}") };
                    self.records.push((seq.0, reading.value.0));
                }
            }
            Ok(gateway::Input::Hello(_) | gateway::Input::Duplicate { .. }) => {}
            Ok(gateway::Input::OutOfOrder | gateway::Input::Status(_)) => return,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {
                self.refused += 1;
                return;
            }
        }
        let cursor = self.session.received().unwrap_or(Seq::NONE);
        let ack = self.session.ack(cursor).unwrap();
        let Ok(()) = to_node.write_all(&to_stream(&ack)).await;
    }
}

/// The node measures and talks until it has measured all there is, and let go of all of it. `every`: how bad the wires are.
fn live(node: &TestNode, said: &Said, sensor: &mut Counting, gateway: &mut Gateway, every: u32) {
    let (up, down, until) = (Wire::new(), Wire::new(), sensor.until as usize);
    let mut to_node = Bad { wire: &down, sent: 0, every };
    let to_gateway = Bad { wire: &up, sent: 0, every };
    let all_released = async {
        said.wait_for(until).await;
        loop {
            {
                let store = node.store().lock().await;
                if store.oldest_seq() == store.next_seq() {
                    return;
                }
            }
            embassy_futures::yield_now().await;
        }
    };
    block_on(select4(
        select(node.serve(), node.measure(sensor)),
        node.talk(End(&down), to_gateway),
        gateway.serve(&up, &mut to_node),
        all_released,
    ));
}

/// The node measures all there is, and has no link.
fn measure_alone(node: &TestNode, said: &Said, sensor: &mut Counting) {
    let until = sensor.until as usize;
    block_on(select3(node.serve(), node.measure(sensor), said.wait_for(until)));
}

/// Every reading from 1 to `last` is there, in order, once, under the number it was appended with.
fn assert_complete(gateway: &Gateway, last: i32) {
    let expected: Vec<(u64, i32)> = (1..=last).map(|n| (n as u64, n)).collect();
    assert_eq!(gateway.records, expected);
    assert_eq!(gateway.given_up, 0);
}

#[test]
fn readings_arrive_in_order_each_once_over_a_wire_that_loses_and_flips_bytes() {
    let (said, mut gateway) = (Said::default(), Gateway::new());
    let node = start(flash(), &said);
    live(&node, &said, &mut Counting { value: 0, until: 200 }, &mut gateway, 4_000);
    assert_complete(&gateway, 200);
    assert!(gateway.refused > 0, "the wire was not bad");
    assert_eq!(*said.0.as_ref().borrow(), (1..=200).collect::<Vec<_>>(), "every append is reported");
}

#[test]
fn readings_of_before_a_restart_arrive_after_it_and_none_twice() {
    let (said, mut gateway) = (Said::default(), Gateway::new());
    let mut sensor = Counting { value: 0, until: 60 };
    let node = start(flash(), &said);
    live(&node, &said, &mut sensor, &mut gateway, 0);
    // The link is gone; the node measures on, and then loses its power.
    sensor.until = 150;
    measure_alone(&node, &said, &mut sensor);
    let node = start(stop(node), &said);
    sensor.until = 200;
    live(&node, &said, &mut sensor, &mut gateway, 0);
    assert_complete(&gateway, 200);
}

#[test]
fn a_link_that_takes_and_gives_nothing_keeps_no_reading_from_the_store() {
    let said = Said::default();
    let node = start(flash(), &said);
    // Full of what nobody reads: the node's first write never ends.
    let (up, down) = (Wire::new(), Wire::new());
    up.try_write(&[0; 256]).unwrap();
    let mut sensor = Counting { value: 0, until: 100 };
    let talk = node.talk(End(&down), Bad { wire: &up, sent: 0, every: 0 });
    block_on(select4(node.serve(), node.measure(&mut sensor), talk, said.wait_for(100)));
    assert_eq!(node.store.try_lock().unwrap().next_seq(), Seq(101));
}

#[test]
fn what_was_measured_before_a_fault_is_kept_before_it() {
    let said = Said::default();
    let node = start(flash(), &said);
    for value in 1..=3 {
        let waiting = memory::Waiting::new(UptimeMillis(5), &good(Quantity::LAeq, value));
        node.memory().waiting.try_send(waiting).unwrap();
    }
    assert_eq!(node.readings_waiting(), 3);
    let told = node.ask(Job::Sensor(node.name(Hangs::NAME), Some(FaultKind::Stale)));
    block_on(select(node.serve(), told));
    assert_eq!(node.readings_waiting(), 0);
    let (mut store, mut kinds) = (node.store.try_lock().unwrap(), Vec::new());
    let read = store.read_from(Seq(1), |_, stored| {
        kinds.push(matches!(
            Stored::parse(stored).map(|one| Record::decode(one.kind, one.body)),
            Ok(Record::Sensor(_))
        ));
        true
    });
    block_on(read).unwrap();
    assert_eq!(kinds, [false, false, false, true]);
}

#[test]
fn a_sensor_that_hangs_is_told_to_fail() {
    let said = Said::default();
    let node = start(flash(), &said);
    block_on(select3(node.serve(), node.measure(&mut Hangs), said.wait_for(1)));
    let mut store = node.store.try_lock().unwrap();
    let mut told = None;
    let read = store.read_from(Seq(1), |_, stored| {
        let stored = Stored::parse(stored).unwrap();
        if let Record::Sensor(state) = Record::decode(stored.kind, stored.body) {
            told = Some((state.sensor.to_owned(), state.fault));
        }
        true
    });
    block_on(read).unwrap();
    assert_eq!(told, Some(("hangs".to_owned(), Some(FaultKind::Bus))));
}

/// A sensor that needs its time.
struct Slow;

impl Sensor for Slow {
    const NAME: &'static str = "slow";

    fn warm_up(&self) -> Duration {
        Duration::from_millis(40)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        Ok(Readings::from_array([good(Quantity::Pm25, embassy_time::Instant::now().as_millis() as i32)]))
    }
}

#[test]
fn a_sensor_that_has_to_warm_up_is_not_asked_before() {
    let said = Said::default();
    let node = start(flash(), &said);
    let began = embassy_time::Instant::now().as_millis() as i32;
    block_on(select3(node.serve(), node.measure(&mut Slow), said.wait_for(1)));
    let mut store = node.store.try_lock().unwrap();
    let mut asked = None;
    let read = store.read_from(Seq(1), |_, stored| {
        let stored = Stored::parse(stored).unwrap();
        if let Record::Reading(reading) = Record::decode(stored.kind, stored.body) {
            asked = Some(reading.value.0);
        }
        true
    });
    block_on(read).unwrap();
    assert!(asked.unwrap() - began >= 40, "{asked:?} {began}");
}

#[test]
fn two_sensors_of_one_kind_have_names_of_their_own() {
    let said = Said::default();
    let node = start(flash(), &said);
    block_on(select4(node.serve(), node.measure(&mut Hangs), node.measure(&mut Hangs), said.wait_for(2)));
    let mut store = node.store.try_lock().unwrap();
    let mut told = Vec::new();
    let read = store.read_from(Seq(1), |_, stored| {
        let stored = Stored::parse(stored).unwrap();
        if let Record::Sensor(state) = Record::decode(stored.kind, stored.body) {
            told.push(state.sensor.to_owned());
        }
        true
    });
    block_on(read).unwrap();
    told.sort();
    assert_eq!(told, ["hangs", "hangs-2"]);
    assert!(store.is_failing("hangs") && store.is_failing("hangs-2"));
}

#[test]
fn what_a_full_flash_gave_up_is_told_and_the_rest_arrives() {
    let (said, mut gateway) = (Said::default(), Gateway::new());
    let node = start(flash(), &said);
    let mut sensor = Counting { value: 0, until: 50 };
    live(&node, &said, &mut sensor, &mut gateway, 0);
    sensor.until = 1_500;
    measure_alone(&node, &said, &mut sensor);
    let evicted = node.store.try_lock().unwrap().evicted();
    assert!(evicted > 0, "the flash was never full");
    sensor.until = 1_600;
    live(&node, &said, &mut sensor, &mut gateway, 0);
    assert!(gateway.given_up >= evicted, "what was given up and not told: {evicted}");
    // The flash may fill again while it is emptied, so there may be more than one gap; all that is missing was told.
    assert!(gateway.records.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
    assert_eq!(gateway.records.len() as u64 + gateway.given_up, 1_600);
    assert_eq!(gateway.records.last().map(|(seq, _)| *seq), Some(1_600));
    assert!(gateway.records.iter().all(|(seq, value)| *seq == *value as u64));
}
