//! The order in which events go, and what is let go when.

use proptest::prelude::*;

use super::*;

/// A spool in which the pipeline commits a row while the uplink is reading.
struct CommitsDuringRead {
    rows: Vec<i64>,
    urgent: Vec<i64>,
    committed: std::rc::Rc<std::cell::Cell<i64>>,
    /// What is committed during the next read, after it has looked.
    next: Option<i64>,
}

impl Outbox for CommitsDuringRead {
    fn read(
        &mut self,
        after: i64,
        max_rows: usize,
        ranks: &RangeInclusive<u8>,
    ) -> Result<Vec<OutboxRow>, OutboxError> {
        let rank = |id: i64| if self.urgent.contains(&id) { rank::EXCEEDED } else { rank::CLEARED };
        let seen = self.rows.iter().filter(|id| **id > after && ranks.contains(&rank(**id))).take(max_rows);
        let row = |id: &i64| OutboxRow {
            id: *id,
            topic: format!("t{}", id % 3),
            payload: vec![0; 10],
            rank: rank(*id),
            source: format!("device {}", id % 5),
        };
        let seen = seen.map(row).collect();
        if let Some(id) = self.next.take() {
            self.rows.push(id);
            self.committed.set(id);
        }
        Ok(seen)
    }
}

#[test]
fn a_row_committed_while_a_read_finds_nothing_is_not_skipped() {
    // Rows 4 and 5 were set aside: the read after 3 finds nothing, and row 6 is committed in the same moment.
    let committed = std::rc::Rc::new(std::cell::Cell::new(5));
    let mut outbox =
        CommitsDuringRead { rows: Vec::new(), urgent: vec![6], committed: committed.clone(), next: Some(6) };
    let (urgent, live) = (Lane::new(3, i64::MAX, URGENT, 1), Lane::new(3, i64::MAX, NOT_URGENT, 1));
    let mut outflow = Outflow { urgent, live, released: 3, released_live: 3, ..Outflow::default() };
    outflow.connecting(3);
    outflow.connected(10);
    assert_eq!(outflow.next(&mut outbox, || committed.get()), Ok(None));
    assert!(!outflow.is_idle(committed.get()), "row 6 is still to be sent");
    assert_eq!(outflow.next(&mut outbox, || committed.get()).unwrap().unwrap().id, 6);
}

fn spool(rows: impl IntoIterator<Item = i64>) -> (CommitsDuringRead, std::rc::Rc<std::cell::Cell<i64>>) {
    let rows: Vec<_> = rows.into_iter().collect();
    let committed = std::rc::Rc::new(std::cell::Cell::new(rows.last().copied().unwrap_or(0)));
    (CommitsDuringRead { rows, urgent: Vec::new(), committed: committed.clone(), next: None }, committed)
}

/// Connects, and lets the broker take the birth.
fn connect(outflow: &mut Outflow, committed: i64, room: usize) {
    outflow.connecting(committed);
    outflow.connected(room);
    outflow.submit(0, "birth".to_owned());
    outflow.sent(1);
    outflow.acknowledged(1).unwrap();
}

/// Else it would hold up all others for ever.
#[test]
fn an_event_that_is_never_acknowledged_while_those_after_it_are_goes_alone_and_is_set_aside() {
    const POISON: i64 = 4;
    let (mut outbox, newest) = spool(1..=20);
    let mut outflow = Outflow::default();
    let mut set_aside = None;
    let mut alone = 0;
    for _ in 0..10 {
        connect(&mut outflow, newest.get(), 8);
        let mut packet = 2;
        loop {
            let sent = send(&mut outflow, &mut outbox, newest.get(), packet);
            let acknowledged: Vec<u16> =
                (packet..).zip(&sent).filter(|(_, row)| **row != POISON).map(|(p, _)| p).collect();
            alone += usize::from(sent == [POISON]);
            packet += sent.len() as u16;
            if acknowledged.is_empty() {
                break;
            }
            acknowledged.into_iter().for_each(|packet| outflow.acknowledged(packet).unwrap());
            while outflow.take_released(true).is_some() {}
        }
        if outflow.is_idle(newest.get()) {
            break;
        }
        // Nothing more is acknowledged.
        assert!(outflow.is_event_passed_over());
        set_aside = set_aside.or(outflow.ended_by_broker());
        outbox.rows.retain(|row| set_aside.as_ref().is_none_or(|(aside, _)| row != aside));
    }
    assert_eq!((set_aside.map(|(row, _)| row), alone), (Some(POISON), 3));
    assert!(outflow.is_idle(newest.get()), "all others are there");

    // A broker that does not answer at all is none that passes over something.
    let (mut outbox, newest) = spool(1..=20);
    let mut outflow = Outflow::default();
    connect(&mut outflow, newest.get(), 8);
    send(&mut outflow, &mut outbox, newest.get(), 2);
    assert!(!outflow.is_event_passed_over());
}

/// Sends what there is room for, with packet ids from `packet` on; which rows.
fn send(outflow: &mut Outflow, outbox: &mut CommitsDuringRead, newest: i64, mut packet: u16) -> Vec<i64> {
    let mut rows = Vec::new();
    while let Some(row) = outflow.next(outbox, || newest).unwrap() {
        outflow.submit(row.id, row.topic);
        outflow.sent(packet);
        packet += 1;
        rows.push(row.id);
    }
    rows
}

#[test]
fn a_fresh_event_does_not_wait_behind_the_backlog() {
    let (mut outbox, _) = spool(1..=100);
    let mut outflow = Outflow::default();
    connect(&mut outflow, 100, 8);
    assert_eq!(send(&mut outflow, &mut outbox, 100, 2), [1, 2, 3, 4, 5, 6], "a part is left for live events");
    outbox.rows.extend(101..=110);
    assert_eq!(send(&mut outflow, &mut outbox, 110, 8), [101, 102]);
    outflow.acknowledged(8).unwrap();
    assert_eq!(outflow.take_released(true), Some(101..=101));
    outflow.acknowledged(2).unwrap();
    assert_eq!(send(&mut outflow, &mut outbox, 110, 10), [103, 104], "live first, as far as its share goes");
}

#[test]
fn the_newest_of_a_long_backlog_do_not_wait_behind_the_older_ones() {
    // Rows before 1000 were let go long ago.
    let (mut outbox, _) = spool(1000..1100);
    outbox.urgent = vec![1001, 1097];
    let mut outflow = Outflow::with_fresh(5);
    connect(&mut outflow, 1099, 16);
    let sent = send(&mut outflow, &mut outbox, 1099, 2);
    assert_eq!(sent[..5], [1097, 1095, 1096, 1098, 1099]);
    assert_eq!(sent[5..], Vec::from_iter(1000..1011));
    for packet in 2..7 {
        outflow.acknowledged(packet).unwrap();
    }
    let released: Vec<_> = std::iter::from_fn(|| outflow.take_released(true)).collect();
    assert_eq!(released, [1..=999, 1095..=1099], "of the backlog only what is not there");
    // The connection ends. What was let go is not sent again, and what was not is.
    connect(&mut outflow, 1099, 16);
    assert_eq!(send(&mut outflow, &mut outbox, 1099, 2)[..2], [1000, 1001]);
}

#[test]
fn a_short_backlog_keeps_its_order() {
    let (mut outbox, _) = spool(1000..1010);
    outbox.urgent = vec![1007];
    let mut outflow = Outflow::with_fresh(5);
    connect(&mut outflow, 1009, 16);
    assert_eq!(send(&mut outflow, &mut outbox, 1009, 2), Vec::from_iter(1000..1010));
}

#[test]
fn what_is_acknowledged_of_the_live_lane_is_not_sent_again_with_the_backlog() {
    let (mut outbox, _) = spool(1..=4);
    let mut outflow = Outflow::default();
    connect(&mut outflow, 2, 8);
    assert_eq!(send(&mut outflow, &mut outbox, 4, 2), [3, 4, 1, 2]);
    outflow.acknowledged(2).unwrap();
    outflow.acknowledged(5).unwrap();
    assert_eq!(outflow.take_released(true), Some(3..=3));
    assert_eq!(outflow.take_released(true), None, "row 1 is not acknowledged");
    // The pipeline has not let row 3 go yet.
    connect(&mut outflow, 4, 8);
    assert_eq!(send(&mut outflow, &mut outbox, 4, 2), [1, 2, 4]);
    for packet in 2..5 {
        outflow.acknowledged(packet).unwrap();
    }
    assert_eq!(outflow.take_released(true), Some(1..=4));
    assert!(outflow.is_idle(4));
}

#[test]
fn a_fresh_exceedance_does_not_wait_behind_lesser_fresh_events() {
    let (mut outbox, _) = spool(1..=1);
    let mut outflow = Outflow::default();
    connect(&mut outflow, 1, 4);
    assert_eq!(send(&mut outflow, &mut outbox, 1, 2), [1]);
    outflow.acknowledged(2).unwrap();
    assert_eq!(outflow.take_released(true), Some(1..=1));
    outbox.urgent = vec![900, 950];
    outbox.rows.extend(2..900);
    assert_eq!(send(&mut outflow, &mut outbox, 899, 3), [2, 3, 4, 5], "the window is full of lesser ones");
    outbox.rows.extend(900..=1_000);
    outflow.acknowledged(3).unwrap();
    assert_eq!(send(&mut outflow, &mut outbox, 1_000, 7), [900], "the next place is the exceedance's");
    outflow.acknowledged(7).unwrap();
    assert_eq!(send(&mut outflow, &mut outbox, 1_000, 8), [950]);
    assert_eq!(outflow.take_released(true), Some(2..=2), "what is before them is not acknowledged");
    // The connection ends: neither of those that are acknowledged is sent again, and 950 is.
    connect(&mut outflow, 1_000, 2_000);
    let again = send(&mut outflow, &mut outbox, 1_000, 2);
    assert_eq!(again, (3..=1_000).filter(|row| *row != 900).collect::<Vec<_>>());
}

#[test]
fn events_of_a_topic_go_together_and_none_overtakes_another_of_its_device() {
    let (mut outbox, _) = spool(1..=30);
    let mut outflow = Outflow::default();
    connect(&mut outflow, 30, 8);
    let mut take = |rows_max, bytes_max| {
        let first = outflow.next(&mut outbox, || 30).unwrap().unwrap();
        let more: Vec<i64> = outflow.more(&first, rows_max, bytes_max).iter().map(|row| row.id).collect();
        outflow.submit_with(first.id, more.clone(), first.topic);
        (first.id, more)
    };
    // Topic 1 has 1, 4, 7, 10 ...; each of 7, 10, 13 ... has an earlier one of its device (of 5) on another topic before it.
    assert_eq!(take(9, 1000), (1, vec![4]));
    assert_eq!(take(9, 1000), (2, vec![5]));
    assert_eq!(take(0, 1000), (3, vec![]));
    assert_eq!(take(9, 9), (6, vec![]), "no room for another one's bytes");
    assert_eq!(take(1, 1000), (7, vec![10]), "no room for a third");
}

#[test]
fn what_is_fresh_and_what_is_suspected_goes_alone() {
    let (mut outbox, _) = spool(1..=30);
    let mut outflow = Outflow::default();
    outflow.connecting(10);
    outflow.connected(8);
    let first = outflow.next(&mut outbox, || 30).unwrap().unwrap();
    assert_eq!((first.id, outflow.more(&first, 9, 1000).len()), (1, 0), "nothing is acknowledged yet");
    connect(&mut outflow, 10, 8);
    let first = outflow.next(&mut outbox, || 30).unwrap().unwrap();
    assert_eq!((first.id, outflow.more(&first, 9, 1000).len()), (11, 0), "fresh");
}

#[test]
fn a_row_that_was_handed_out_and_not_sent_is_not_let_go() {
    let (mut outbox, _) = spool(1..=1);
    let mut outflow = Outflow::default();
    connect(&mut outflow, 0, 4);
    assert_eq!(outflow.next(&mut outbox, || 1).unwrap().unwrap().id, 1);
    // The client took no more; the connection ends.
    assert_eq!(outflow.take_released(true), None);
    connect(&mut outflow, 1, 4);
    assert_eq!(send(&mut outflow, &mut outbox, 1, 2), [1]);
}

proptest! {
    /// Against a list: whatever is acknowledged when, and however often the connection ends, rows are let go only when they are
    /// acknowledged, and all are let go in the end.
    #[test]
    fn only_what_is_acknowledged_is_let_go(
        steps in prop::collection::vec((0u8..8, any::<u8>()), 1..120),
        urgent in prop::collection::btree_set(1i64..150, 0..60),
        room in 1usize..12,
        batch in 0usize..6,
    ) {
        let mut outbox = spool([]).0;
        outbox.urgent = urgent.into_iter().collect();
        let mut outflow = Outflow::with_fresh(3);
        let (mut newest, mut packet) = (0i64, 1u16);
        let mut under_way: Vec<(u16, Vec<i64>)> = Vec::new();
        // What is acknowledged behind something that is not may be sent again after the connection ended.
        let (mut acknowledged, mut released) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        connect(&mut outflow, 0, room);
        let finish = std::iter::repeat_n((7, 0), 2_000);
        for (step, pick) in steps.into_iter().chain(finish) {
            match step {
                0 | 1 => {
                    for _ in 0..=pick % 6 {
                        newest += 1;
                        outbox.rows.push(newest);
                    }
                }
                2 => {
                    while let Some(rows) = outflow.take_released(true) { released.extend(rows); }
                    under_way.clear();
                    outbox.rows.retain(|row| !released.contains(row));
                    connect(&mut outflow, newest, room);
                    packet = 2;
                }
                _ => {
                    while let Some(row) = outflow.next(&mut outbox, || newest).unwrap() {
                        let more: Vec<i64> = outflow.more(&row, batch, 35).iter().map(|row| row.id).collect();
                        outflow.submit_with(row.id, more.clone(), row.topic);
                        packet += 1;
                        prop_assert_eq!(outflow.sent(packet).map(|carried| carried.rows), Some(1 + more.len()));
                        under_way.push((packet, more.into_iter().chain([row.id]).collect()));
                    }
                    prop_assert!(under_way.len() <= room);
                    if !under_way.is_empty() {
                        let (packet, rows) = under_way.remove(usize::from(pick) % under_way.len());
                        outflow.acknowledged(packet).unwrap();
                        acknowledged.extend(rows);
                    }
                    while let Some(rows) = outflow.take_released(false) { released.extend(rows); }
                }
            }
            let early = released.iter().find(|row| !acknowledged.contains(*row));
            prop_assert_eq!(early, None, "let go without an acknowledgement");
        }
        prop_assert_eq!(released.len() as i64, newest);
        prop_assert!(outflow.is_idle(newest));
    }
}
