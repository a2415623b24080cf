//! Which readings and minutes stay, tried on real files.

use std::path::Path;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::rule::Statistic;
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::summary::SummaryValue;
use gridpost_protocol::time::ClockQuality;
use proptest::prelude::*;

use super::age::{HOUR_MS, REPLAYED_MS};
use super::*;
use crate::spool::schema::bring_to;
use crate::spool::{DeviceRow, Spool, Wanted};

const HOUR: i64 = HOUR_MS;
const DAY: i64 = 24 * HOUR;
const BEGAN: i64 = 1_795_399_200_000;
const FLOODS: u64 = 9;

/// A spool with room for a thousand readings and minutes.
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
            transaction.trim_kept(UnixMillis(now))
        })
        .unwrap();
}

/// Minutes of a device from `at` on, which come at `now`.
fn take_minutes(spool: &mut Spool, device: u64, count: u64, at: i64, now: i64) {
    spool
        .commit(|transaction| {
            add_minutes(transaction, device, count, at)?;
            transaction.trim_kept(UnixMillis(now))
        })
        .unwrap();
}

fn add_minutes(transaction: &Transaction<'_>, device: u64, count: u64, at: i64) -> rusqlite::Result<()> {
    let value = SummaryValue {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        count: 60,
        quality: Quality::GOOD,
        value: Milli(40_000),
    };
    (0..count.cast_signed()).try_for_each(|n| {
        transaction.add_summary(DeviceId(device), UnixMillis(at + n * 60_000), &value).map(drop)
    })
}

/// The times of the minutes that are kept of a device.
fn kept_minutes(spool: &Spool, device: u64) -> Vec<i64> {
    let wanted = Wanted {
        device: DeviceId(device),
        from: UnixMillis(i64::MIN),
        to: UnixMillis(i64::MAX),
        quantities: Vec::new(),
        after: 0,
    };
    let mut times = Vec::new();
    let each = |minute: crate::spool::KeptMinute| {
        times.push(minute.at.0);
        true
    };
    spool.reader().unwrap().minutes(&wanted, each).unwrap();
    times
}

/// The times of the readings that are kept of a device.
fn kept(spool: &Spool, device: u64) -> Vec<i64> {
    let mut times = Vec::new();
    spool.readings(DeviceId(device), 0, UnixMillis(i64::MIN), |stored| times.push(stored.at.0)).unwrap();
    times
}

fn total(spool: &Spool) -> i64 {
    spool
        .query(|connection| {
            let sql = "SELECT (SELECT count(*) FROM reading) + (SELECT count(*) FROM summary)";
            connection.query_row(sql, [], |row| row.get(0))
        })
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
fn a_flood_of_minutes_takes_no_other_devices_minutes_and_nobodys_readings() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for device in 1..=3 {
        take_minutes(&mut spool, device, 100, BEGAN, BEGAN);
    }
    take(&mut spool, 4, 100, BEGAN, BEGAN);
    take(&mut spool, FLOODS, 50, BEGAN, BEGAN);
    let minute = |n: i64| BEGAN + n * 60_000;
    for n in 0..50 {
        take_minutes(&mut spool, FLOODS, 100, minute(n * 100), BEGAN);
        assert!(total(&spool) <= 1_000);
    }
    for device in 1..=3 {
        assert_eq!(kept_minutes(&spool, device).len(), 100, "device {device}");
    }
    assert_eq!((kept(&spool, 4).len(), kept(&spool, FLOODS).len()), (100, 50));
    let left = kept_minutes(&spool, FLOODS);
    assert!(left.len() > 450, "no more went than had to: {}", left.len());
    let newest: Vec<i64> = (5_000 - left.len() as i64..5_000).map(minute).collect();
    assert_eq!(left, newest, "its oldest went");
    let gone = 5_000 - left.len() as i64;
    assert_eq!((spool.totals().minutes_evicted, spool.totals().readings_evicted), (gone, 0));
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.totals().minutes_evicted, gone, "the count is durable");
    let devices = spool.reader().unwrap().devices(None, 9).unwrap();
    assert_eq!((devices[1].minutes, devices[1].minutes_from), (left.len() as i64, Some(UnixMillis(left[0]))));
}

#[test]
fn no_transaction_takes_long_when_a_bound_was_lowered() {
    let dir = tempfile::tempdir().unwrap();
    let many = 25_000;
    let mut spool = Spool::open(&dir.path().join("spool.db")).unwrap();
    take_minutes(&mut spool, 1, many, BEGAN, BEGAN);
    drop(spool);
    let mut spool = open(dir.path());
    let (mut before, mut steps) = (total(&spool), 0);
    while before > 1_000 {
        take_minutes(&mut spool, 2, 1, BEGAN, BEGAN);
        let there = total(&spool);
        assert!(there < before && before - there <= ROWS_DELETED_AT_ONCE, "{before} {there}");
        (before, steps) = (there, steps + 1);
    }
    assert_eq!((steps, kept_minutes(&spool, 2).len()), (3, 3));
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
fn minutes_go_after_a_week_also_when_only_readings_come_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let (mut oldest, mut longest) = (i64::MAX, 0);
    for hour in 0..12 * 24 {
        let now = BEGAN + hour * HOUR;
        // One decides itself all the time, one is heard for the last time after two days.
        take_minutes(&mut spool, 1, 2, now, now);
        if hour < 48 {
            take_minutes(&mut spool, 2, 2, now, now);
        }
        take(&mut spool, 3, 1, now, now);
        if hour == 100 {
            drop(spool);
            spool = open(dir.path());
        }
        oldest = kept_minutes(&spool, 1)[0];
        longest = longest.max(now - oldest);
    }
    let now = BEGAN + (12 * 24 - 1) * HOUR;
    assert!((7 * DAY - HOUR..=7 * DAY + HOUR).contains(&(now - oldest)), "{}", (now - oldest) / HOUR);
    assert!(longest <= 7 * DAY + HOUR, "{}", longest / HOUR);
    assert_eq!(kept_minutes(&spool, 2), Vec::<i64>::new(), "a silent device's go with the others'");
    for hour in 12 * 24..20 * 24 {
        let now = BEGAN + hour * HOUR;
        take(&mut spool, 3, 1, now, now);
    }
    assert_eq!(kept_minutes(&spool, 1), Vec::<i64>::new());
    assert_eq!(spool.totals().minutes_evicted, 0, "that is no loss");
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

/// A file as a version before made it, with readings and minutes of two devices.
fn old(dir: &Path, version: i64) -> Connection {
    let mut connection = Connection::open(dir.join("spool.db")).unwrap();
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    bring_to(version, &mut connection).unwrap();
    let newest = BEGAN + 29;
    connection
        .execute_batch(&format!(
            "INSERT INTO device VALUES (1, 1, 1, 1, 0, {newest}, ''), (2, 1, 1, 1, 0, {newest}, '');
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 29)
             INSERT INTO reading (device, seq, at_ms, clock_quality, quantity, value, quality)
                 SELECT iif(n % 3, 1, 2), 1, {BEGAN} + n, 0, 1, 40000, 0 FROM n;
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 39)
             INSERT INTO summary (device, at_ms, quantity, statistic, readings, quality, value)
                 SELECT iif(n % 4, 2, 3), {BEGAN} + n * 60000, 1, 'energy-mean', 60, 0, 40000 FROM n;",
        ))
        .unwrap();
    connection
}

#[test]
fn a_spool_of_version_6_is_counted_and_kept_for_a_week_from_now() {
    let dir = tempfile::tempdir().unwrap();
    drop(old(dir.path(), 6));
    let mut spool = open(dir.path());
    let count = |spool: &Spool, device, kind| spool.kept.by_account.get(&(device, kind)).copied();
    assert_eq!(count(&spool, 1, Kind::Reading), Some(20));
    assert_eq!(spool.kept.total, 70);
    assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());
    let upgraded = BEGAN + 100 * DAY;
    for hour in 0..8 * 24 {
        let now = upgraded + hour * HOUR;
        take(&mut spool, 1, 1, now, now);
        if hour == 6 * 24 {
            assert_eq!(kept(&spool, 1).len(), 20 + 6 * 24 + 1);
        }
    }
    assert_eq!(kept(&spool, 1)[0], upgraded + DAY - HOUR);
    assert_eq!(kept(&spool, 2).len(), 10, "silent, so its windows need them");
}

#[test]
fn a_spool_of_version_8_goes_on_with_its_readings_and_counts_its_minutes_from_now() {
    let dir = tempfile::tempdir().unwrap();
    // Readings came in two hours, and the first of them has aged.
    let hour = BEGAN / HOUR;
    old(dir.path(), 8)
        .execute_batch(&format!(
            "INSERT INTO kept VALUES (1, 20), (2, 10);
             INSERT INTO hour VALUES (1, {hour}), (16, {});
             INSERT INTO meta VALUES ('readings_aged_to', 1), ('readings_evicted', 5);",
            hour + 1
        ))
        .unwrap();
    let mut spool = open(dir.path());
    let count = |spool: &Spool, device, kind| spool.kept.by_account.get(&(device, kind)).copied();
    for (device, readings, minutes) in [(1, Some(20), None), (2, Some(10), Some(30)), (3, None, Some(10))] {
        assert_eq!(count(&spool, device, Kind::Reading), readings, "device {device}");
        assert_eq!(count(&spool, device, Kind::Minute), minutes, "device {device}");
    }
    assert_eq!((spool.kept.total, spool.totals().readings_evicted), (70, 5));
    assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());

    // Upgraded a day later: a week after their hour readings go, and minutes a week after the upgrade.
    for later in 24..12 * 24 {
        let now = BEGAN + later * HOUR;
        take(&mut spool, 1, 1, now, now);
        take_minutes(&mut spool, 2, 1, now, now);
        let (readings, minutes) = (kept(&spool, 1), kept_minutes(&spool, 2));
        let old_readings = readings.iter().filter(|at| **at < BEGAN + HOUR).count();
        match later - 7 * 24 {
            ..1 => assert_eq!(old_readings, 20, "after {later} hours"),
            1 => assert_eq!(old_readings, 10, "of the hour that is over, after {later} hours"),
            _ => {}
        }
        if later < 8 * 24 {
            assert_eq!(minutes.len() as i64, 30 + later - 23, "after {later} hours");
        }
    }
    assert_eq!(kept(&spool, 1)[0], BEGAN + 5 * DAY - HOUR);
    assert_eq!(kept_minutes(&spool, 2)[0], BEGAN + 5 * DAY - HOUR);
    assert_eq!(kept_minutes(&spool, 3), Vec::<i64>::new());
    assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever comes, fails or is started again: the account is what is there, and within the bound.
    #[test]
    fn the_account_of_what_is_kept_is_right(
        steps in prop::collection::vec((1u64..5, 1u64..120, 0i64..30, 0u8..10), 1..60),
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
                        add_minutes(transaction, device, count, now)?;
                        transaction.trim_kept(UnixMillis(now))?;
                        Err(rusqlite::Error::InvalidQuery)
                    });
                    prop_assert!(failed.is_err());
                }
                2 => now -= 3 * DAY,
                3..6 => {
                    take_minutes(&mut spool, device, count, now, now);
                    added += count.cast_signed();
                }
                _ => {
                    take(&mut spool, device, count, now, now);
                    added += count.cast_signed();
                }
            }
            let there = total(&spool);
            prop_assert!(there <= 1_000);
            prop_assert_eq!(spool.kept.total, there);
            let totals = spool.totals();
            prop_assert!(there + totals.readings_evicted + totals.minutes_evicted <= added);
            prop_assert_eq!(spool.reader().unwrap().verify().unwrap(), Vec::<String>::new());
        }
    }
}
