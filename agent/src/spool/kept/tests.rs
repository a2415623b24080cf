//! Which readings stay, tried on real files.

use std::path::Path;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::ClockQuality;
use proptest::prelude::*;

use super::*;
use crate::spool::{DeviceRow, Spool};

const HOUR: i64 = HOUR_MS;
const DAY: i64 = 24 * HOUR;
const BEGAN: i64 = 1_795_399_200_000;
const FLOODS: u64 = 9;

/// A spool with room for a thousand readings.
fn open(dir: &Path) -> Spool {
    let limits = SpoolLimits { readings_max: 1_000, ..SpoolLimits::default() };
    Spool::open_with(&dir.join("spool.db"), limits).unwrap()
}

/// Readings of a device, each a millisecond after the other from `at` on, which come at `now`.
fn take(spool: &mut Spool, device: u64, count: u64, at: i64, now: i64) {
    let reading = Reading { quantity: Quantity::LAeq, value: Milli(40_000), quality: Quality::GOOD };
    spool
        .commit(|transaction| {
            for n in 0..count.cast_signed() {
                let at = UnixMillis(at + n);
                transaction.add_reading(DeviceId(device), Seq(1), at, ClockQuality::Device, &reading)?;
            }
            let row = DeviceRow {
                durable: Durable { cursor: Some(Seq(1)), boot: 1, counter: 1 },
                replay_from: 0,
                newest: UnixMillis(at + count.cast_signed() - 1),
                pack: String::new(),
            };
            transaction.put_device(DeviceId(device), &row)?;
            transaction.trim_readings(UnixMillis(now))
        })
        .unwrap();
}

/// The times of the readings that are kept of a device.
fn kept(spool: &Spool, device: u64) -> Vec<i64> {
    let mut times = Vec::new();
    spool.readings(DeviceId(device), 0, UnixMillis(i64::MIN), |stored| times.push(stored.at.0)).unwrap();
    times
}

fn total(spool: &Spool) -> i64 {
    spool
        .query(|connection| connection.query_row("SELECT count(*) FROM reading", [], |row| row.get(0)))
        .unwrap()
}

#[test]
fn a_flood_costs_its_own_device_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for device in 1..=3 {
        take(&mut spool, device, 100, BEGAN, BEGAN);
    }
    for n in 0..50 {
        take(&mut spool, FLOODS, 100, BEGAN + n * 100, BEGAN);
        assert!(total(&spool) <= 1_000);
    }
    for device in 1..=3 {
        assert_eq!(kept(&spool, device).len(), 100, "device {device}");
    }
    let left = kept(&spool, FLOODS);
    assert!(left.len() > 600, "no more went than had to: {}", left.len());
    let newest: Vec<i64> = (BEGAN + 5_000 - left.len() as i64..BEGAN + 5_000).collect();
    assert_eq!(left, newest, "its oldest went");
    assert_eq!(spool.totals().readings_evicted, 5_000 - left.len() as i64);
    drop(spool);
    assert_eq!(open(dir.path()).totals().readings_evicted, 5_000 - left.len() as i64, "the count is durable");
}

#[test]
fn devices_that_send_alike_share_what_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for n in 0..100 {
        for device in 1..=10 {
            take(&mut spool, device, 5, BEGAN + n * 5, BEGAN);
        }
    }
    for device in 1..=10 {
        let count = kept(&spool, device).len();
        assert!((80..=110).contains(&count), "device {device}: {count}");
    }
}

#[test]
fn readings_go_after_a_week_and_that_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for hour in 0..10 * 24 {
        let now = BEGAN + hour * HOUR;
        take(&mut spool, 1, 2, now, now);
        if hour == 100 {
            drop(spool);
            spool = open(dir.path());
        }
    }
    let (now, left) = (BEGAN + (10 * 24 - 1) * HOUR, kept(&spool, 1));
    let age = now - left[0];
    assert!((7 * DAY - HOUR..=7 * DAY + HOUR).contains(&age), "the oldest is {} hours old", age / HOUR);
    assert_eq!(spool.totals().readings_evicted, 0);
}

#[test]
fn what_a_restart_needs_of_a_silent_device_stays_until_it_is_heard_again_or_long_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let hours = |spool: &mut Spool, from: i64, to: i64| {
        for hour in from..to {
            take(spool, 1, 1, BEGAN + hour * HOUR, BEGAN + hour * HOUR);
        }
    };
    // Three days of a device that falls silent then.
    for hour in 0..72 {
        take(&mut spool, 2, 1, BEGAN + hour * HOUR, BEGAN + hour * HOUR);
        hours(&mut spool, hour, hour + 1);
    }
    hours(&mut spool, 72, 14 * 24);
    let left = kept(&spool, 2);
    let newest = BEGAN + 71 * HOUR;
    assert_eq!((left[0], *left.last().unwrap()), (newest - REPLAYED_MS, newest));
    hours(&mut spool, 14 * 24, 50 * 24);
    assert_eq!(kept(&spool, 2), Vec::<i64>::new(), "a device that is gone for good");
}

#[test]
fn a_clock_that_runs_a_year_ahead_for_an_hour_takes_little() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for hour in 0..200 {
        take(&mut spool, 1, 1, BEGAN + hour * HOUR, BEGAN + hour * HOUR);
    }
    let before = kept(&spool, 1).len();
    let ahead = BEGAN + 365 * DAY;
    take(&mut spool, 1, 1, BEGAN + 200 * HOUR, ahead);
    take(&mut spool, 1, 1, BEGAN + 200 * HOUR + 1, ahead + HOUR / 2);
    for hour in 201..230 {
        take(&mut spool, 1, 1, BEGAN + hour * HOUR, BEGAN + hour * HOUR);
    }
    let after = kept(&spool, 1).len();
    assert!(after + 5 >= before, "{before} before, {after} after");
}

#[test]
fn a_spool_of_the_version_before_is_counted_and_kept_for_a_week_from_now() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    take(&mut spool, 1, 30, BEGAN, BEGAN);
    take(&mut spool, 2, 12, BEGAN, BEGAN);
    spool
        .connection
        .execute_batch("DROP TABLE kept; DROP TABLE hour; DROP TABLE hourly; PRAGMA user_version = 6")
        .unwrap();
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!((spool.kept.by_device.get(&1), spool.kept.total), (Some(&30), 42));
    assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());
    let upgraded = BEGAN + 100 * DAY;
    for hour in 0..8 * 24 {
        let now = upgraded + hour * HOUR;
        take(&mut spool, 1, 1, now, now);
        if hour == 6 * 24 {
            assert_eq!(kept(&spool, 1).len(), 30 + 6 * 24 + 1);
        }
    }
    assert_eq!(kept(&spool, 1)[0], upgraded + DAY - HOUR);
    assert_eq!(kept(&spool, 2).len(), 12, "silent, so its windows need them");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever comes, fails or is started again: the account is what is there, and within the bound.
    #[test]
    fn the_account_of_readings_is_right(
        steps in prop::collection::vec((1u64..5, 1u64..120, 0i64..30, 0u8..8), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        let mut now = BEGAN;
        let mut added = 0;
        for (device, count, hours, what) in steps {
            now += hours * HOUR;
            match what {
                0 => {
                    drop(spool);
                    spool = open(dir.path());
                }
                1 => {
                    let reading = Reading { quantity: Quantity::LAeq, value: Milli(1), quality: Quality::GOOD };
                    let failed: Result<(), _> = spool.commit(|transaction| {
                        for _ in 0..count {
                            transaction.add_reading(DeviceId(device), Seq(1), UnixMillis(now), ClockQuality::Device, &reading)?;
                        }
                        transaction.trim_readings(UnixMillis(now))?;
                        Err(rusqlite::Error::InvalidQuery)
                    });
                    prop_assert!(failed.is_err());
                }
                2 => now -= 3 * DAY,
                _ => {
                    take(&mut spool, device, count, now, now);
                    added += count.cast_signed();
                }
            }
            let there = total(&spool);
            prop_assert!(there <= 1_000);
            prop_assert_eq!(spool.kept.total, there);
            prop_assert!(there + spool.totals().readings_evicted <= added);
            prop_assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());
        }
    }
}
