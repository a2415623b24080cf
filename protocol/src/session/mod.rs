//! The two ends of the device link as plain state machines: bytes and time in, bytes and decisions out.
//!
//! A device numbers its records and keeps them until the gateway says they are durable; the gateway says so after its
//! commit and not before. The exchange:
//!
//! ```text
//! device                                   gateway
//!   Hello (oldest, next, uptime)     ->
//!                                    <-    Ack (cursor), Time
//!   Records 1..40, 41..80, ...       ->          (up to WINDOW_FRAMES in flight)
//!                                    <-    Ack 40, Ack 80, ...   (each after its commit)
//! ```
//!
//! Records that the device gave up are told by the batch that comes after them: either it is the oldest that the device holds, or it says how
//! many directly before it are gone. The gateway believes it only when it has all before those: what is missing besides was lost on
//! the way and will come again.
//!
//! A frame that is lost is noticed by silence: after [`SILENCE_MS`] (doubled each time, up to [`SILENCE_MS_MAX`]) the device sends again from
//! the first record that is not acknowledged. The gateway drops what it has and what does not follow, so records come
//! out in order, each once.

pub mod gateway;
pub mod node;

/// How many `Records` frames may be under way without an acknowledgement.
pub const WINDOW_FRAMES: usize = 4;
/// How long a device waits for an acknowledgement before it sends again, in milliseconds.
pub const SILENCE_MS: u64 = 1_000;
/// The longest such wait, in milliseconds: a gateway that comes back is found within this time.
pub const SILENCE_MS_MAX: u64 = 60_000;
/// After so many silences in a row a device begins again with `Hello`.
pub const SILENCES_BEFORE_HELLO: u32 = 3;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::gateway::{Durable, GatewaySession};
    use super::node::{Input, Next, NodeSession};
    use super::{gateway, node};
    use crate::frame::FrameBuf;
    use crate::id::{DeviceId, Seq};
    use crate::message::{Hello, RecordsBuilder, ResetCause};
    use crate::quantity::Quantity;
    use crate::reading::{Milli, Quality, Reading};
    use crate::record::{Record, RecordBuf};
    use crate::seal::Key;
    use crate::time::{Stamp, UnixMillis, UptimeMillis};

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);

    /// What happens to the next frame on the link, whichever way it goes.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Arrives,
        Lost,
        Twice,
        Flipped(usize),
        Late,
    }

    /// What happens to the two ends in a step.
    #[derive(Clone, Copy, Debug)]
    enum Fault {
        None,
        NodeRestarts,
        GatewayRestarts,
        LinkUp,
        /// The gateway received and could not commit.
        CommitFails,
        /// The node's store is full: the oldest records go.
        Evict,
        /// The node's store is full: these go, of which others are older.
        EvictBetween(usize),
    }

    struct Node {
        session: NodeSession,
        boot: u32,
        store: VecDeque<(Seq, RecordBuf)>,
        next: Seq,
    }

    impl Node {
        fn oldest(&self) -> Seq {
            self.store.front().map_or(self.next, |(seq, _)| *seq)
        }

        fn append(&mut self) {
            let reading = Reading {
                quantity: Quantity::LAeq,
                value: Milli(self.next.0 as i32),
                quality: Quality::GOOD,
            };
            let stamp = Stamp::Unix { at: UnixMillis(self.next.0 as i64 * 1000), uncertainty_ms: 1 };
            self.store.push_back((self.next, Record::Reading(reading).store(&stamp).unwrap()));
            self.next = self.next.next();
        }

        fn transmit(&mut self, now: UptimeMillis) -> Option<FrameBuf> {
            let mut out = FrameBuf::new();
            match self.session.next(now, self.next) {
                Next::Wait(_) => return None,
                Next::Hello => {
                    let hello = Hello {
                        firmware: "t",
                        board: "t",
                        reset_cause: ResetCause::PowerOn,
                        share: 0,
                        uptime: now,
                        oldest: self.oldest(),
                        next: self.next,
                        unacknowledged: self.oldest(),
                    };
                    self.session.hello(now, &hello, &mut out).unwrap();
                }
                Next::Records(from) => {
                    let mut rest = self.store.iter().filter(|(seq, _)| *seq >= from);
                    let (first, stored) = rest.next()?;
                    let gap = *first > from && *first > self.oldest();
                    let mut batch = if gap {
                        RecordsBuilder::after_gap(from, *first, stored).unwrap()
                    } else {
                        RecordsBuilder::new(self.oldest(), *first, stored).unwrap()
                    };
                    // Small batches, so that a few records make many frames.
                    for (seq, stored) in rest.take(2) {
                        if !batch.push(*seq, stored) {
                            break;
                        }
                    }
                    self.session.records(now, &batch, &mut out).unwrap();
                }
            }
            Some(out)
        }

        fn receive(&mut self, now: UptimeMillis, mut frame: FrameBuf) {
            if let Ok(Input::Acked(up_to)) = self.session.on_frame(now, self.next, &mut frame) {
                while self.store.front().is_some_and(|(seq, _)| *seq <= up_to) {
                    self.store.pop_front();
                }
            }
        }
    }

    struct Gateway {
        session: GatewaySession,
        start: u32,
        durable: Durable,
        /// What was committed, in the order of commits, and what was reported as given up.
        committed: Vec<Seq>,
        given_up: Vec<Seq>,
    }

    impl Gateway {
        fn receive(&mut self, mut frame: FrameBuf, commit_fails: bool) -> Vec<FrameBuf> {
            let Ok(input) = self.session.on_frame(&mut frame) else { return Vec::new() };
            let (fresh, gap) = match input {
                gateway::Input::Hello(_) | gateway::Input::Duplicate { .. } => (Vec::new(), None),
                gateway::Input::Records { fresh, gap, .. } => (fresh.iter().collect(), gap),
                gateway::Input::OutOfOrder => return Vec::new(),
                other => panic!("{other:?}"),
            };
            if commit_fails {
                self.session.roll_back(self.durable.cursor);
                return Vec::new();
            }
            if let Some(gap) = gap {
                self.given_up.extend((gap.first.0..=gap.last.0).map(Seq));
            }
            for (seq, stamp, record) in fresh {
                assert_eq!(stamp, Stamp::Unix { at: UnixMillis(seq.0 as i64 * 1000), uncertainty_ms: 1 });
                let Record::Reading(reading) = record else { panic!("{record:?}") };
                assert_eq!(reading.value, Milli(seq.0 as i32));
                self.committed.push(seq);
                self.durable.cursor = Some(seq);
            }
            (self.durable.boot, self.durable.counter) = self.session.newest_frame();
            vec![self.session.ack(self.durable.cursor.unwrap_or(Seq::NONE)).unwrap()]
        }
    }

    fn key() -> Key {
        Key([9; 32])
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Arrives),
            2 => Just(Fate::Lost),
            1 => Just(Fate::Twice),
            1 => any::<usize>().prop_map(Fate::Flipped),
            1 => Just(Fate::Late),
        ]
    }

    fn fault() -> impl Strategy<Value = Fault> {
        prop_oneof![
            20 => Just(Fault::None),
            1 => Just(Fault::NodeRestarts),
            1 => Just(Fault::GatewayRestarts),
            1 => Just(Fault::LinkUp),
            1 => Just(Fault::CommitFails),
            1 => Just(Fault::Evict),
            2 => any::<usize>().prop_map(Fault::EvictBetween),
        ]
    }

    /// A link that does to frames what it is told, and keeps some back to bring them late.
    #[derive(Default)]
    struct Link {
        late: Vec<FrameBuf>,
    }

    impl Link {
        fn carry(&mut self, frame: FrameBuf, fate: Fate) -> Vec<FrameBuf> {
            let mut arrived = std::mem::take(&mut self.late);
            match fate {
                Fate::Arrives => arrived.insert(0, frame),
                Fate::Lost => {}
                Fate::Twice => arrived.extend([frame.clone(), frame]),
                Fate::Flipped(bit) => {
                    let mut frame = frame;
                    let bit = bit % (frame.len() * 8);
                    frame[bit / 8] ^= 1 << (bit % 8);
                    arrived.push(frame);
                }
                Fate::Late => self.late.push(frame),
            }
            arrived
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Whatever the link and the two ends go through: every record is committed once and in order, or was given up
        /// and is reported so; and the node never releases what is not committed.
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(
            steps in prop::collection::vec((fate(), fate(), fault(), any::<bool>()), 1..200)
        ) {
            let mut node = Node {
                session: NodeSession::new(DEVICE, key(), 1, Seq::NONE),
                boot: 1,
                store: VecDeque::new(),
                next: Seq(1),
            };
            let mut gateway = Gateway {
                session: GatewaySession::new(DEVICE, key(), 1, Durable::default()),
                start: 1,
                durable: Durable::default(),
                committed: Vec::new(),
                given_up: Vec::new(),
            };
            let (mut up, mut down) = (Link::default(), Link::default());
            let mut now = UptimeMillis(0);
            let mut evicted = Vec::new();
            let calm = (Fate::Arrives, Fate::Arrives, Fault::None, false);
            let appended = steps.iter().filter(|step| step.3).count() as u64;
            // After the storm the link is good, and all that is left must come through.
            for (up_fate, down_fate, fault, append) in
                steps.into_iter().chain(std::iter::repeat_n(calm, 600))
            {
                now.0 += 500;
                if append {
                    node.append();
                }
                match fault {
                    Fault::NodeRestarts => {
                        node.boot += 1;
                        let acked = Seq(node.oldest().0 - 1);
                        node.session = NodeSession::new(DEVICE, key(), node.boot, acked);
                    }
                    Fault::GatewayRestarts => {
                        gateway.start += 1;
                        gateway.session =
                            GatewaySession::new(DEVICE, key(), gateway.start, gateway.durable);
                    }
                    Fault::LinkUp => node.session.link_up(),
                    Fault::Evict => evicted.extend(node.store.pop_front().map(|(seq, _)| seq)),
                    Fault::EvictBetween(at) if node.store.len() > 2 => {
                        // The newest stays.
                        let at = 1 + at % (node.store.len() - 2);
                        evicted.extend(node.store.remove(at).map(|(seq, _)| seq));
                    }
                    Fault::EvictBetween(_) | Fault::None | Fault::CommitFails => {}
                }
                if let Some(frame) = node.transmit(now) {
                    for frame in up.carry(frame, up_fate) {
                        let answers = gateway.receive(frame, matches!(fault, Fault::CommitFails));
                        for answer in answers {
                            for frame in down.carry(answer, down_fate) {
                                node.receive(now, frame);
                            }
                        }
                    }
                }
                prop_assert!(node.session.acked() <= gateway.durable.cursor.unwrap_or(Seq::NONE).max(Seq(node.oldest().0 - 1)));
            }
            prop_assert!(node.store.is_empty(), "the rest never came through");
            prop_assert!(gateway.committed.is_sorted_by(|a, b| a < b), "twice or out of order");
            for seq in (1..=appended).map(Seq) {
                let arrived = gateway.committed.contains(&seq);
                let reported = gateway.given_up.contains(&seq);
                prop_assert!(!(arrived && reported));
                // What was evicted before the gateway heard of the device at all, or at the very end, it cannot know of.
                prop_assert!(arrived || evicted.contains(&seq), "{seq} is lost");
                let heard = gateway.committed.first().is_some_and(|first| *first < seq);
                let more_came = gateway.committed.last().is_some_and(|last| *last > seq);
                prop_assert!(arrived || reported || !heard || !more_came, "{seq} is lost without a word");
            }
        }
    }

    #[test]
    fn a_device_whose_store_was_replaced_is_refused_and_releases_nothing() {
        let mut gateway =
            GatewaySession::new(DEVICE, key(), 1, Durable { cursor: Some(Seq(500)), boot: 3, counter: 7 });
        let mut node = NodeSession::new(DEVICE, key(), 4, Seq::NONE);
        let hello = Hello {
            firmware: "t",
            board: "t",
            reset_cause: ResetCause::PowerOn,
            share: 0,
            uptime: UptimeMillis(0),
            oldest: Seq(1),
            next: Seq(9),
            unacknowledged: Seq(1),
        };
        let mut frame = FrameBuf::new();
        node.hello(UptimeMillis(0), &hello, &mut frame).unwrap();
        assert!(matches!(gateway.on_frame(&mut frame), Ok(gateway::Input::Regressed(_))));
        let mut answer = gateway.refuse(crate::message::RefusedReason::SequenceRegressed).unwrap();
        assert!(matches!(
            node.on_frame(UptimeMillis(10), Seq(9), &mut answer),
            Ok(Input::Refused(refused)) if refused.cursor == Seq(500)
        ));
        assert!(matches!(node.next(UptimeMillis(10), Seq(9)), Next::Wait(_)));
        // And even a stray acknowledgement would not make it let go.
        let mut ack = gateway.ack(Seq(500)).unwrap();
        assert_eq!(
            node.on_frame(UptimeMillis(10), Seq(9), &mut ack),
            Err(node::SessionError::AckBeyondQueue { acked: Seq(500), next: Seq(9) })
        );
    }

    #[test]
    fn a_frame_of_an_earlier_boot_does_not_set_the_clock() {
        let mut gateway =
            GatewaySession::new(DEVICE, key(), 1, Durable { cursor: None, boot: 3, counter: 7 });
        let mut old = gateway.time(UnixMillis(5), 0, UptimeMillis(0)).unwrap();
        let mut node = NodeSession::new(DEVICE, key(), 4, Seq::NONE);
        assert_eq!(node.on_frame(UptimeMillis(0), Seq(1), &mut old), Err(node::SessionError::Replayed));
    }

    #[test]
    fn the_clock_is_set_to_the_middle_of_the_delay() {
        let mut gateway =
            GatewaySession::new(DEVICE, key(), 1, Durable { cursor: None, boot: 4, counter: 7 });
        let mut time = gateway.time(UnixMillis(1_000_000), 50, UptimeMillis(2_000)).unwrap();
        let mut node = NodeSession::new(DEVICE, key(), 4, Seq::NONE);
        assert_eq!(
            node.on_frame(UptimeMillis(2_400), Seq(1), &mut time),
            Ok(Input::Time { offset_ms: 1_000_000 + 200 - 2_400, uncertainty_ms: 250 })
        );
    }

    #[test]
    fn silence_is_answered_ever_more_slowly_but_never_given_up() {
        let mut node = NodeSession::new(DEVICE, key(), 1, Seq::NONE);
        let hello = Hello {
            firmware: "t",
            board: "t",
            reset_cause: ResetCause::PowerOn,
            share: 0,
            uptime: UptimeMillis(0),
            oldest: Seq(1),
            next: Seq(1),
            unacknowledged: Seq(1),
        };
        let (mut now, mut waits, mut out) = (UptimeMillis(0), Vec::new(), FrameBuf::new());
        for _ in 0..12 {
            assert_eq!(node.next(now, Seq(1)), Next::Hello);
            node.hello(now, &hello, &mut out).unwrap();
            let Next::Wait(until) = node.next(now, Seq(1)) else { panic!("waits") };
            waits.push(until.0 - now.0);
            now = until;
        }
        assert!(waits[0] >= super::SILENCE_MS && waits[0] < 2 * super::SILENCE_MS);
        assert!(waits[11] >= super::SILENCE_MS_MAX && waits[11] < 2 * super::SILENCE_MS_MAX);
    }
}
