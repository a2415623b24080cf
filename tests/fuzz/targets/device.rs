//! The device link, from the outside in.
//!
//! A target takes any bytes and panics when a promise is broken; otherwise it must not panic, whatever the bytes.

use gridpost_protocol::engine::{BoxedEngine, RULES_MAX};
use gridpost_protocol::frame::{Deframer, FrameBuf, Header, KIND_DOWN, to_stream};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Record, Stored};
use gridpost_protocol::seal::{self, Key};
use gridpost_protocol::session::gateway::{self, Durable, GatewaySession};
use gridpost_protocol::session::node::{self, NodeSession};
use gridpost_protocol::share::{EncodedShare, Share};
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

/// A name, and what it does with the bytes.
type Target = (&'static str, fn(&[u8]));

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    ("frames", frames),
    ("records", records),
    ("gateway_session", gateway_session),
    ("node_session", node_session),
    ("share", share),
];

const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
const KEY: Key = Key([7; 32]);
const BOOT: u32 = 3;
const START: u32 = 1_790_000_000;

/// A stream of bytes: whatever it holds, frames come out whole, and none makes the next ones unreadable.
fn frames(data: &[u8]) {
    let mut deframer = Deframer::new();
    for byte in data {
        let Some(Ok(frame)) = deframer.push(*byte) else { continue };
        assert_eq!(deframe(&to_stream(&frame)), Some(frame.clone()), "a frame is what it was after a stream");
        let mut opened = frame.clone();
        if let Ok(header) = Header::parse(&frame) {
            let mut written = FrameBuf::new();
            header.write(&mut written);
            assert_eq!(Header::parse(&written), Ok(header));
            assert!(frame.starts_with(&written), "a header is written as it was read");
        }
        assert!(seal::open(&KEY, &mut opened).is_err(), "nobody guesses a tag");
    }
    // Whatever came, a delimiter ends it.
    deframer.push(0);
    let good = FrameBuf::from_slice(b"good").unwrap_or_default();
    let heard: Vec<_> = to_stream(&good).iter().filter_map(|byte| deframer.push(*byte)).collect();
    assert_eq!(heard, [Ok(good)]);
}

fn deframe(stream: &[u8]) -> Option<FrameBuf> {
    let mut deframer = Deframer::new();
    stream.iter().find_map(|byte| deframer.push(*byte)).and_then(Result::ok)
}

/// A record as a device stores it.
fn records(data: &[u8]) {
    let Ok(stored) = Stored::parse(data) else { return };
    let record = Record::decode(stored.kind, stored.body);
    look_at(&record, stored.stamp);
    let Ok(again) = record.store(&stored.stamp) else { return };
    let parsed = Stored::parse(&again).expect("what is stored can be read");
    assert_eq!(parsed.stamp, stored.stamp);
    let twice = Record::decode(parsed.kind, parsed.body).store(&parsed.stamp);
    assert_eq!(twice, Ok(again.clone()), "{record:?}");
}

/// Asks everything of a record that the gateway asks.
fn look_at(record: &Record<'_>, stamp: Stamp) {
    let at = match stamp {
        Stamp::Unix { at, .. } => at,
        Stamp::Uptime { at, .. } => UnixMillis(i64::try_from(at.0).unwrap_or(i64::MAX)),
    };
    let _ = format!("{record:?}");
    match record {
        Record::Series(series) => {
            assert!(series.readings(at).count() <= series.deltas.len(), "a value takes a byte at least");
        }
        Record::Episode(told) => drop(format!("{:?} {}", told.decision(at), told.phase)),
        Record::Sensor(state) => drop(state.is_named()),
        _ => {}
    }
}

/// Frames with bodies of the fuzzer's choice, sealed as a device with the key would: the gateway's end.
fn gateway_session(data: &[u8]) {
    let mut session = GatewaySession::new(DEVICE, KEY.clone(), START, Durable::default());
    let mut received = None;
    each_frame(data, 0, |mut frame| {
        match session.on_frame(&mut frame) {
            Ok(gateway::Input::Records { fresh, last, gap }) => {
                let numbers: Vec<Seq> = fresh
                    .iter()
                    .map(|(seq, stamp, record)| {
                        look_at(&record, stamp);
                        seq
                    })
                    .collect();
                assert!(numbers.is_sorted() && numbers.last() == Some(&last), "{numbers:?}");
                assert!(received.is_none_or(|received| numbers[0] > received), "a record is fresh once");
                assert!(gap.is_none_or(|gap| gap.first <= gap.last && gap.last < numbers[0]));
                received = Some(last);
            }
            Ok(other) => drop(format!("{other:?}")),
            Err(error) => drop(error.to_string()),
        }
        assert_eq!(session.received(), received, "only records move the cursor");
    });
    let _ = session.ack(received.unwrap_or(Seq::NONE)).expect("it can still answer");
}

/// Frames with bodies of the fuzzer's choice, sealed as a gateway with the key would: the device's end.
fn node_session(data: &[u8]) {
    let queued = Seq(1_000);
    let mut session = NodeSession::new(DEVICE, KEY.clone(), BOOT, Seq::NONE);
    let mut now = UptimeMillis(10);
    each_frame(data, KIND_DOWN, |mut frame| {
        match session.on_frame(now, queued, &mut frame) {
            Ok(node::Input::Acked(up_to)) => {
                assert!(up_to < queued, "what is not there cannot be acknowledged")
            }
            Ok(other) => drop(format!("{other:?}")),
            Err(error) => drop(error.to_string()),
        }
        now = UptimeMillis(now.0 + 1_000);
        let _ = format!("{:?}", session.next(now, queued));
        assert!(session.acked() < queued);
    });
}

/// Cuts the bytes into a kind, a length, a body, and so on; each becomes an authentic frame.
fn each_frame(mut data: &[u8], direction: u8, mut each: impl FnMut(FrameBuf)) {
    let mut counter = 0;
    while let Some((&[kind, low, high], rest)) = data.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        data = rest;
        counter += 1;
        let start = if direction == 0 { 0 } else { START };
        let header = Header {
            kind: (kind & !KIND_DOWN) | direction,
            suite: 0,
            device: DEVICE,
            boot: BOOT,
            counter,
            start,
        };
        let mut frame = FrameBuf::new();
        if seal::seal(&KEY, header, body, &mut frame).is_ok() {
            each(frame);
        }
    }
}

/// Rules that a gateway tells a node, and readings over them: what passes the check runs.
fn share(data: &[u8]) {
    let (mut came, mut rest) = (EncodedShare::new(), data);
    while let Some((&[length], after)) = rest.split_first_chunk::<1>() {
        let (body, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        if length == 0 {
            break;
        }
        let mut frame = FrameBuf::new();
        let header = Header {
            kind: gridpost_protocol::message::KIND_SHARE_RULE,
            suite: 0,
            device: DEVICE,
            boot: BOOT,
            counter: 1,
            start: START,
        };
        if seal::seal(&KEY, header, body, &mut frame).is_err() {
            continue;
        }
        let mut session = NodeSession::new(DEVICE, KEY.clone(), BOOT, Seq::NONE);
        let told = session.on_frame(UptimeMillis(1), Seq(1), &mut frame);
        if let Ok(node::Input::ShareRule { rule: Some(rule), .. }) = told {
            let _ = came.push(rule);
        }
    }
    let _ = came.id();
    let mut share = Share::new();
    share.set(&came);
    assert_eq!(share.rules().len(), came.rules(), "what was taken is there");
    if let Err(error) = came.check() {
        let _ = error.to_string();
        return;
    }
    let rules: Box<[_]> = share.rules().iter().take(RULES_MAX).cloned().collect();
    let quantity = rules.first().map_or(Quantity::LAeq, |rule| rule.quantity);
    let Ok(mut engine) = BoxedEngine::boxed(rules.into()) else { return };
    let periods = gridpost_protocol::engine::PrecomputedPeriods::default();
    let mut at = UnixMillis(1_790_000_000_000);
    for (n, chunk) in rest.chunks_exact(4).take(2_000).enumerate() {
        let value = Milli(i32::from_le_bytes([chunk[0], chunk[1], chunk[2], 0]) - (1 << 23));
        at = at.plus(i64::from(chunk[3]) * 100);
        let reading = Reading { quantity, value, quality: Quality::GOOD };
        engine
            .on_reading(Seq(n as u64 + 1), at, &reading, &periods, |decision| drop(format!("{decision:?}")));
    }
}
