//! Races between the uplink and the pipeline that no real broker can be made to show.

use super::*;

/// A spool in which the pipeline commits a row while the uplink is reading.
struct CommitsDuringRead {
    rows: Arc<Mutex<Vec<i64>>>,
    committed: watch::Sender<i64>,
    /// What is committed during the next read, after it has looked.
    next: Option<i64>,
}

impl Outbox for CommitsDuringRead {
    fn read_after(&mut self, after: i64, max_rows: usize) -> Result<Vec<OutboxRow>, OutboxError> {
        let mut rows = self.rows.lock().unwrap();
        let seen = rows.iter().filter(|id| **id > after).take(max_rows);
        let seen = seen.map(|id| OutboxRow { id: *id, topic: "t".to_owned(), payload: vec![] }).collect();
        if let Some(id) = self.next.take() {
            rows.push(id);
            self.committed.send_replace(id);
        }
        Ok(seen)
    }
}

fn uplink(outbox: impl Outbox, committed: watch::Receiver<i64>) -> Uplink {
    let connection = Connection::plain("mqtt://nowhere".parse().unwrap(), "test".to_owned());
    let ends = Ends {
        outbox: Box::new(outbox),
        committed,
        released: mpsc::channel(1).0,
        refused: mpsc::channel(1).0,
    };
    let gateway = Gateway { division: "440310".to_owned(), id: "gw".to_owned(), session: 1 };
    Uplink::new(connection, gateway, ends, Arc::default())
}

#[test]
fn a_row_committed_while_a_read_finds_nothing_is_not_skipped() {
    // Rows 4 and 5 were set aside: the read after 3 finds nothing, and row 6 is committed in the same moment.
    let (committed, committed_end) = watch::channel(5);
    let outbox = CommitsDuringRead { rows: Arc::default(), committed, next: Some(6) };
    let mut uplink = uplink(outbox, committed_end);
    uplink.acknowledged = 3;
    uplink.read_up_to = 3;
    uplink.window = Window::new(10);
    let connection = Connection::plain("mqtt://nowhere".parse().unwrap(), "test".to_owned());
    let (requests, _driver) = client::open(&connection, &connection.brokers[0], None);
    uplink.fill(&requests).unwrap();
    assert!(!uplink.is_idle(), "row 6 is still to be sent");
    uplink.fill(&requests).unwrap();
    uplink.window.sent(1);
    assert_eq!(uplink.window.row_of(1), Some((6, "t")));
}

#[test]
fn a_topic_that_cannot_be_published_to_is_set_aside_instead_of_breaking_the_connection() {
    struct One;
    impl Outbox for One {
        fn read_after(&mut self, after: i64, _: usize) -> Result<Vec<OutboxRow>, OutboxError> {
            let topic = |id| if id == 1 { "a/#".to_owned() } else { "a/b".to_owned() };
            Ok((after + 1..3).map(|id| OutboxRow { id, topic: topic(id), payload: vec![] }).collect())
        }
    }
    let (_committed, committed_end) = watch::channel(2);
    let mut uplink = uplink(One, committed_end);
    let (refused_end, mut refused) = mpsc::channel(1);
    uplink.ends.refused = refused_end;
    uplink.window = Window::new(10);
    let connection = Connection::plain("mqtt://nowhere".parse().unwrap(), "test".to_owned());
    let (requests, _driver) = client::open(&connection, &connection.brokers[0], None);
    uplink.fill(&requests).unwrap();
    let one = refused.try_recv().unwrap();
    assert_eq!(one.id, 1);
    uplink.window.sent(1);
    assert_eq!(uplink.window.row_of(1), Some((2, "a/b")));
}
