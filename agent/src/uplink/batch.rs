//! Several events in one publish: a JSON array of structured CloudEvents (CloudEvents JSON format 1.0, chapter 4), on the topic that
//! all of them have. Off unless the platform agreed to it, because whoever receives has to know that an array may come; on MQTT 5
//! the content type says which it is.

use super::client::publish_bytes;
use super::{OutboxRow, client};

/// The content type of a batch of CloudEvents.
pub const CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// Rows that are read from the spool at once where batches are made: at two kilobytes each, two megabytes.
pub const READ_ROWS: usize = 1024;
/// The most events in one publish.
pub const EVENTS_MAX: u16 = 500;
/// The longest payload of a batch, in bytes: what common brokers take without being told to.
const BYTES_MAX: usize = 128 * 1024;

/// How many bytes of payload may go with an event in one publish, on a connection that takes packets of `packet_max` bytes.
pub(super) fn bytes_max(first: &OutboxRow, packet_max: u32) -> usize {
    let packet_max = (packet_max.min(client::PACKET_BYTES_MAX) as usize).min(BYTES_MAX);
    // Commas and brackets: one a row, and one more.
    packet_max.saturating_sub(publish_bytes(&first.topic, &first.payload) + usize::from(EVENTS_MAX) + 1)
}

/// The payload of a batch.
pub(super) fn payload(first: &[u8], more: &[OutboxRow]) -> Vec<u8> {
    let bytes: usize = more.iter().map(|row| row.payload.len() + 1).sum();
    let mut batch = Vec::with_capacity(first.len() + bytes + 2);
    batch.push(b'[');
    batch.extend_from_slice(first);
    for row in more {
        batch.push(b',');
        batch.extend_from_slice(&row.payload);
    }
    batch.push(b']');
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(payload: &str) -> OutboxRow {
        OutboxRow { id: 1, topic: "t".to_owned(), payload: payload.into(), rank: 0, source: String::new() }
    }

    #[test]
    fn a_batch_is_an_array_of_the_events_in_their_order() {
        let batch = payload(br#"{"id":"a"}"#, &[row(r#"{"id":"b"}"#), row(r#"{"id":"c"}"#)]);
        let events: Vec<serde_json::Value> = serde_json::from_slice(&batch).unwrap();
        assert_eq!(events.iter().map(|event| event["id"].as_str().unwrap()).collect::<String>(), "abc");
    }

    #[test]
    fn a_batch_is_no_longer_than_what_the_broker_takes() {
        let first = row(&"x".repeat(1000));
        for packet_max in [0, 1000, 2000, 20_000, u32::MAX] {
            let left = bytes_max(&first, packet_max);
            let whole = publish_bytes("t", &payload(&first.payload, &[row(&"y".repeat(left))]));
            assert!(left == 0 || whole <= packet_max as usize, "{packet_max}: {whole}");
        }
    }
}
