//! What no real broker can be made to show.

use super::*;

fn uplink(outbox: impl Outbox + Send + 'static, committed: watch::Receiver<i64>) -> Uplink {
    let connection = Connection::plain("mqtt://nowhere".parse().unwrap(), "test".to_owned());
    let ends = Ends {
        outbox: Box::new(outbox),
        committed,
        released: mpsc::channel(1).0,
        refused: mpsc::channel(1).0,
        pack: None,
    };
    let gateway = Gateway { division: "440310".to_owned(), id: "gw".to_owned(), session: 1 };
    Uplink::new(connection, gateway, ends, Arc::default())
}

#[test]
fn a_topic_that_cannot_be_published_to_is_set_aside_instead_of_breaking_the_connection() {
    struct One;
    impl Outbox for One {
        fn read(
            &mut self,
            after: i64,
            _: usize,
            ranks: &RangeInclusive<u8>,
        ) -> Result<Vec<OutboxRow>, OutboxError> {
            if !ranks.contains(&0) {
                return Ok(vec![]);
            }
            let topic = |id| if id == 1 { "a/#".to_owned() } else { "a/b".to_owned() };
            Ok((after + 1..3)
                .map(|id| OutboxRow { id, topic: topic(id), payload: vec![], rank: 0, source: String::new() })
                .collect())
        }
    }
    let (_committed, committed_end) = watch::channel(2);
    let mut uplink = uplink(One, committed_end);
    let (refused_end, mut refused) = mpsc::channel(1);
    uplink.ends.refused = refused_end;
    uplink.outflow.connected(10);
    let connection = Connection::plain("mqtt://nowhere".parse().unwrap(), "test".to_owned());
    let (requests, _driver) = client::open(&connection, &connection.brokers[0], None);
    uplink.fill(&requests).unwrap();
    let one = refused.try_recv().unwrap();
    assert_eq!(one.id, 1);
    uplink.outflow.sent(1);
    let carried = uplink.outflow.carried_by(1).unwrap();
    assert_eq!((carried.row, carried.topic), (2, "a/b"));
}

#[test]
fn an_uplink_that_cannot_read_the_spool_does_not_beat() {
    struct Locked(bool);
    impl Outbox for Locked {
        fn read(&mut self, _: i64, _: usize, _: &RangeInclusive<u8>) -> Result<Vec<OutboxRow>, OutboxError> {
            if std::mem::take(&mut self.0) { Err("locked".to_owned().into()) } else { Ok(vec![]) }
        }
    }
    let (_committed, committed_end) = watch::channel(2);
    let mut uplink = uplink(Locked(true), committed_end);
    uplink.outflow.connected(10);
    uplink.beat();
    assert_eq!(uplink.status.heartbeat.beats(), 1, "nothing was wrong yet");
    assert!(uplink.next_row().is_err());
    uplink.beat();
    assert_eq!(uplink.status.heartbeat.beats(), 1);
    assert_eq!(uplink.next_row(), Ok(None));
    uplink.beat();
    assert_eq!(uplink.status.heartbeat.beats(), 2);
}
