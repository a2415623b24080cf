//! What a reading costs on the wire, sealed, beside the same reading as JSON and as SenML in CBOR (RFC 8428).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use ciborium::Value;
use gridpost_protocol::frame::{self, FrameBuf};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::message::RecordsBuilder;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use gridpost_protocol::seal::Key;
use gridpost_protocol::session::node::NodeSession;
use gridpost_protocol::time::{Stamp, UnixMillis, UptimeMillis};

/// A 23:10 in the year 2026, as a time that needs all its bytes.
const BASE_MS: i64 = 1_790_000_000_000;

fn level(n: i64) -> (Milli, i64) {
    // A street by night, a new level each second.
    (Milli(52_000 + i32::try_from((n * 7919) % 9_000).unwrap()), BASE_MS + n * 1000)
}

/// The bytes of a full frame on a stream, and how many readings are in it.
fn full_frame() -> (usize, usize) {
    let stored = |n: i64| {
        let (value, at) = level(n);
        let reading = Reading { quantity: Quantity::LAeq, value, quality: Quality::GOOD };
        Record::Reading(reading).store(&Stamp::Unix { at: UnixMillis(at), uncertainty_ms: 20 }).unwrap()
    };
    // A device in its second year.
    let first = 40_000_000;
    let mut batch = RecordsBuilder::new(Seq(first - 20), Seq(first), &stored(0)).unwrap();
    let mut count = 1;
    while batch.push(Seq(first + count as u64), &stored(count as i64)) {
        count += 1;
    }
    let mut session = NodeSession::new(DeviceId(1), Key([1; 32]), 3, Seq(first - 21));
    let mut out = FrameBuf::new();
    session.records(UptimeMillis(0), &batch, &mut out).unwrap();
    (frame::to_stream(&out).len(), count)
}

fn json() -> usize {
    let (value, at) = level(1);
    serde_json::to_vec(&serde_json::json!({
        "device": "6770000000000001", "seq": 40_000_001, "quantity": "LAeq", "value": value.to_f64(), "unit": "dB", "time_ms": at, "quality": 0,
    }))
    .unwrap()
    .len()
}

/// A SenML pack of as many readings as our frame holds: base name and base time once, then value and time each.
fn senml_cbor(count: usize) -> usize {
    let int = |n: i64| Value::Integer(n.into());
    let pack: Vec<Value> = (0..count as i64)
        .map(|n| {
            let (value, _) = level(n);
            let mut record = vec![
                (int(0), Value::Text("LAeq".into())),
                (int(2), Value::Float(value.to_f64())),
                (int(6), int(n)),
            ];
            if n == 0 {
                record.push((int(-2), Value::Text("urn:dev:mac:6770000000000001:".into())));
                record.push((int(-3), Value::Float(BASE_MS as f64 / 1000.0)));
                record.push((int(-4), Value::Text("dB".into())));
            }
            Value::Map(record)
        })
        .collect();
    let mut bytes = Vec::new();
    ciborium::into_writer(&Value::Array(pack), &mut bytes).unwrap();
    bytes.len()
}

#[test]
fn a_sealed_reading_costs_at_most_sixteen_bytes() {
    let (bytes, count) = full_frame();
    let ours = bytes as f64 / count as f64;
    let senml = senml_cbor(count) as f64 / count as f64;
    println!("bytes per reading ({count} in a frame of {bytes} bytes on the stream)");
    println!("  Gridpost, sealed and framed   {ours:6.1}");
    println!("  SenML-CBOR, neither           {senml:6.1}");
    println!("  JSON, neither                 {:6.1}", json() as f64);
    assert!(ours <= 16.0, "{ours} bytes per reading");
    assert!(ours < senml);
}
