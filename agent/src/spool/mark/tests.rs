//! What is noticed, and what is not, tried on real files.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::rule::Statistic;
use gridpost_protocol::summary::SummaryValue;
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use super::*;
use crate::spool::place::Place;
use crate::spool::{Salvaged, SpoolLimits};

/// What these tests do with a [`Place`].
impl Place {
    fn open(&self) -> (Spool, Option<Salvaged>) {
        Spool::open_or_salvage(&self.file(""), SpoolLimits::default(), None, |_| Some(event("report")))
            .unwrap()
    }

    /// A start at which all is well.
    fn sound(&self) -> Spool {
        let (mut spool, found) = self.open();
        assert_eq!(found, None);
        spool.next_start(UnixMillis(0)).unwrap();
        spool
    }

    /// A start at which something is missing; what is said of it. It is told once.
    fn missing(&self) -> String {
        let (spool, found) = self.open();
        let salvaged = found.expect("something is missing");
        assert_eq!(salvaged.set_aside, None);
        assert!(ids(&spool).contains(&"report".to_owned()));
        drop(spool);
        drop(self.sound());
        salvaged.damage
    }

    /// The files as they are: what a disk holds after a kill.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.0.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    fn delete(&self, suffix: &str) {
        fs::remove_file(self.file(suffix)).unwrap();
    }
}

fn event(id: &str) -> Event {
    Event { id: id.to_owned(), topic: "t".to_owned(), severity: 50, payload: b"{}".to_vec() }
}

fn take(spool: &mut Spool, n: u64) {
    let reading = Reading { quantity: Quantity::LAeq, value: Milli(1), quality: Quality::GOOD };
    spool
        .commit(|transaction| {
            transaction.add_reading(DeviceId(1), Seq(n), UnixMillis(0), ClockQuality::Device, &reading)?;
            transaction.add_event(&event(&n.to_string())).map(drop)
        })
        .unwrap();
}

fn ids(spool: &Spool) -> Vec<String> {
    spool
        .query(|connection| {
            connection
                .prepare("SELECT event_id FROM event ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .unwrap()
}

#[test]
fn a_spool_that_was_deleted_is_noticed_once() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    place.delete("");
    let said = place.missing();
    assert!(said.contains("is gone") && said.contains("1 readings"), "{said}");
}

#[test]
fn a_log_that_was_deleted_is_noticed() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    let mut spool = place.sound();
    take(&mut spool, 2);
    // Killed: what was taken last is in the log alone.
    let place = place.copy();
    place.delete("-wal");
    let said = place.missing();
    assert!(said.contains("log was deleted") && said.contains("2 readings"), "{said}");
}

#[test]
fn an_older_copy_in_its_place_is_noticed() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    let before = fs::read(place.file("")).unwrap();
    let mut spool = place.sound();
    take(&mut spool, 2);
    drop(spool);
    fs::write(place.file(""), before).unwrap();
    assert!(place.missing().contains("another copy"));
    spool_of_elsewhere(&place);
    assert!(place.missing().contains("not as it was left"), "another gateway's");
}

/// Puts another gateway's spool in its place, which has more in it.
fn spool_of_elsewhere(place: &Place) {
    let elsewhere = Place::new();
    let mut spool = elsewhere.sound();
    (0..20).for_each(|n| take(&mut spool, n));
    drop(spool);
    fs::copy(elsewhere.file(""), place.file("")).unwrap();
}

#[test]
fn killed_between_any_two_steps_there_is_no_false_alarm() {
    let place = Place::new();
    let mut spool = place.sound();
    // With the mark of any moment before: how long it takes to the disk nobody knows.
    let mut marks = vec![fs::read(place.file(".mark")).unwrap()];
    for n in 0..40 {
        take(&mut spool, n);
        marks.push(fs::read(place.file(".mark")).unwrap());
        if n % 10 == 9 {
            drop(spool);
            spool = place.sound();
        }
        for mark in &marks {
            let killed = place.copy();
            fs::write(killed.file(".mark"), mark).unwrap();
            drop(killed.sound());
        }
    }
    for half in [&marks[7][..90], &[]] {
        fs::write(place.file(".mark"), half).unwrap();
        drop(place.copy().sound());
    }
    place.delete(".mark");
    drop(place.copy().sound());
}

#[test]
fn killed_while_it_is_told_it_is_told_once() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    let mark = fs::read(place.file(".mark")).unwrap();
    place.delete("");
    let (spool, found) = place.open();
    assert!(found.is_some());
    drop(spool);
    // The report was durable, the new mark not yet.
    fs::write(place.file(".mark"), mark).unwrap();
    assert_eq!(ids(&place.sound()), ["report"]);
}

#[test]
fn a_damaged_spool_that_was_set_aside_is_not_missed() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    let mark = fs::read(place.file(".mark")).unwrap();
    fs::write(place.file(""), [0xa5; 10_000]).unwrap();
    let (spool, found) = place.open();
    assert!(found.unwrap().set_aside.is_some());
    drop(spool);
    drop(place.copy().sound());
    // Killed before the mark was made anew.
    fs::write(place.file(".mark"), mark).unwrap();
    drop(place.sound());
}

#[test]
fn a_spool_with_nothing_but_minutes_is_missed_too() {
    let place = Place::new();
    let mut spool = place.sound();
    let minute = SummaryValue {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        count: 60,
        quality: Quality::GOOD,
        value: Milli(52_300),
    };
    let at = UnixMillis(60_000);
    spool.commit(|transaction| transaction.add_summary(DeviceId(1), at, &minute).map(drop)).unwrap();
    drop(spool);
    place.delete("");
    let said = place.missing();
    assert!(said.contains("is gone") && said.contains("1 values of minutes"), "{said}");
}

#[test]
fn a_mark_of_an_earlier_version_counts() {
    let line = "gridpost spool 1 00000000000000000007 00000000000000000003 00000000000000000005 00000000000000000004\n";
    let said = Progress::parse(&line.repeat(2));
    assert_eq!(said, Some(Progress { generation: 7, start: 3, reading: 5, event: 4, minute: 0 }));
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    drop(spool);
    let mark = Mark::read(&place.file("")).unwrap();
    let text = mark.text().replace(" 00000000000000000000\n", "\n");
    assert_eq!(Progress::parse(&text), Some(mark), "{text}");
    fs::write(place.file(".mark"), text).unwrap();
    drop(place.copy().sound());
    place.delete("");
    assert!(place.missing().contains("is gone"));
}

#[test]
fn an_empty_spool_that_was_deleted_is_no_loss() {
    let place = Place::new();
    drop(place.sound());
    place.delete("");
    drop(place.sound());
}

#[test]
fn a_start_after_a_loss_has_a_number_that_was_not_used() {
    let place = Place::new();
    let mut spool = place.sound();
    take(&mut spool, 1);
    let last = (0..5).map(|_| spool.next_start(UnixMillis(0)).unwrap()).last();
    drop(spool);
    drop(place.sound());
    place.delete("");
    let (mut spool, _) = place.open();
    assert!(Some(spool.next_start(UnixMillis(0)).unwrap()) > last);
}

#[test]
fn the_number_of_a_start_does_not_come_back_with_a_log_that_is_lost_or_a_page_that_is_damaged() {
    // Neither with a clock that says nothing, nor within a second.
    for now in [UnixMillis(0), UnixMillis(1_790_000_000_000)] {
        let harms: [fn(&Place); 3] = [
            |place| place.delete("-wal"),
            |place| {
                let len = fs::metadata(place.file("")).unwrap().len();
                fs::write(place.file(""), vec![0xa5; usize::try_from(len).unwrap()]).unwrap();
                place.delete("-wal");
            },
            |place| {
                place.delete("-wal");
                place.delete("");
            },
        ];
        for (harm, has_taken) in harms.into_iter().flat_map(|harm| [(harm, false), (harm, true)]) {
            let place = Place::new();
            drop(place.sound());
            let (mut spool, _) = place.open();
            let start = spool.next_start(now).unwrap();
            if has_taken {
                take(&mut spool, 1);
            }
            let place = place.copy();
            harm(&place);
            let (mut spool, _) = place.open();
            let next = spool.next_start(now).unwrap();
            assert!(next > start, "{next} after {start}, has taken: {has_taken}");
        }
    }
}
