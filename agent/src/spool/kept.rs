//! How long readings stay, and whose go when there are too many.
//!
//! - By age: what was stored longer than [`SpoolLimits::readings_days_max`] ago goes, but for what a restart fills a device's windows
//!   with: its last [`REPLAYED_MS`] before its newest reading. That stays while the device is silent, [`SILENT_DAYS`] longer
//!   at most. Age counts from when a reading was stored, so that what comes late is evidence for as long as everything else.
//! - By number: beyond [`SpoolLimits::readings_max`] the device with most readings gives its oldest, so a flood costs its own device and
//!   nobody else. This is before their time: it is counted ([`Totals::readings_evicted`](super::Totals)).
//!
//! Neither looks for what it deletes. Table `kept` has each device's count, in memory too. Table `hour` has the first row of each hour in
//! which something came; with each new one, devices are gone through once, [`DEVICES_AT_ONCE`] in a transaction. A clock that runs ahead for
//! an hour takes [`HOURS_AT_ONCE`] hours' readings at most, because no more are taken with each new hour.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;

use gridpost_protocol::engine::CLOCK_STEP_BACK_MS;
use gridpost_protocol::rule::SPAN_MS_MAX;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SpoolLimits, Transaction};

/// How many readings are deleted at most in one transaction, so that none takes long; more than one can add (the readings of
/// [`FRAMES_AT_ONCE`](crate::pipeline::FRAMES_AT_ONCE) frames, some 50 each), or else a flood would outgrow its bound.
pub const READINGS_DELETED_AT_ONCE: i64 = 10_000;
/// Devices that are looked at in one transaction for what is too old.
const DEVICES_AT_ONCE: usize = 64;
/// Of an hour's expired hours, so many are taken.
const HOURS_AT_ONCE: i64 = 4;
/// How much longer the last readings of a silent device stay than others: a month's outage. A device that is gone for good keeps them no longer.
const SILENT_DAYS: i64 = 30;
/// What a restart may need of a device before its newest reading, in milliseconds: the longest window, with its oldest slot.
pub(super) const REPLAYED_MS: i64 = 2 * SPAN_MS_MAX as i64;
const _: () = assert!(REPLAYED_MS > CLOCK_STEP_BACK_MS);
/// A device that has too many gives this part of them at once, so that not each transaction deletes row by row.
const PART_GIVEN: i64 = 8;

const HOUR_MS: i64 = 3_600_000;

/// How many readings there are of each device, as of the last commit.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_device: BTreeMap<i64, i64>,
    total: i64,
}

impl Kept {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare("SELECT device, readings FROM kept WHERE readings > 0")?;
        let by_device: BTreeMap<i64, i64> = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { total: by_device.values().sum(), by_device })
    }

    pub(super) fn add(&mut self, changes: &BTreeMap<i64, i64>) {
        for (device, change) in changes {
            let count = self.by_device.entry(*device).or_default();
            *count += change;
            self.total += change;
            if *count <= 0 {
                self.total -= *count;
                self.by_device.remove(device);
            }
        }
    }
}

/// How far it is with what is too old.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aging {
    /// The hour since 1970 of the newest mark; [`None`] before the first.
    hour: Option<i64>,
    /// Rows before this one are too old.
    before: i64,
    /// Rows before this one are too old also for a device that is silent.
    before_silent: i64,
    /// The devices up to this one were looked at.
    after: Option<i64>,
    /// Whether all were.
    done: bool,
    /// In this hour it was said that there are too many readings.
    said: bool,
}

impl Aging {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let hour = connection
            .query_row("SELECT hour FROM hour ORDER BY reading DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        // What a stop left over is seen to with the next hour.
        Ok(Self { hour, done: true, ..Self::default() })
    }
}

/// What a transaction does with the readings that are kept.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    /// As of the last commit.
    kept: &'a Kept,
    pub(super) changes: RefCell<BTreeMap<i64, i64>>,
    pub(super) aging: Cell<Aging>,
    /// The first reading that this transaction added.
    first: Cell<Option<i64>>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(kept: &'a Kept, aging: Aging) -> Self {
        Self { kept, changes: RefCell::default(), aging: Cell::new(aging), first: Cell::new(None) }
    }

    pub(super) fn added(&self, device: i64, row: i64) {
        *self.changes.borrow_mut().entry(device).or_default() += 1;
        if self.first.get().is_none() {
            self.first.set(Some(row));
        }
    }

    fn deleted(&self, device: i64, rows: i64) {
        *self.changes.borrow_mut().entry(device).or_default() -= rows;
    }

    fn total(&self) -> i64 {
        self.kept.total + self.changes.borrow().values().sum::<i64>()
    }

    /// How many there are in this transaction of each device, the most first.
    fn counts(&self) -> BinaryHeap<(i64, i64)> {
        let changes = self.changes.borrow();
        let new = changes.iter().filter(|(device, _)| !self.kept.by_device.contains_key(device));
        let change = |device: &i64| changes.get(device).copied().unwrap_or(0);
        let known = self.kept.by_device.iter().map(|(device, count)| (*count + change(device), *device));
        known.chain(new.map(|(device, count)| (*count, *device))).collect()
    }

    /// The devices after this one, some at a time.
    fn devices(&self, after: Option<i64>) -> Vec<i64> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.kept
            .by_device
            .range((from, Bound::Unbounded))
            .take(DEVICES_AT_ONCE)
            .map(|(one, _)| *one)
            .collect()
    }
}

impl Transaction<'_> {
    /// Lets readings go that are too old or too many, some at a time: to be called when some were added.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn trim_readings(&self, now: UnixMillis) -> rusqlite::Result<()> {
        let Some(first) = self.keeping.first.get() else { return Ok(()) };
        self.mark_hour(first, now.0.div_euclid(HOUR_MS))?;
        let mut left = READINGS_DELETED_AT_ONCE;
        self.let_old_readings_go(&mut left)?;
        self.let_readings_go_beyond_bound(left)
    }

    /// Notes where an hour begins, and what is too old from here on.
    fn mark_hour(&self, first: i64, hour: i64) -> rusqlite::Result<()> {
        let SpoolLimits { readings_days_max, .. } = self.limits;
        match self.keeping.aging.get().hour {
            Some(last) if last == hour => return Ok(()),
            Some(last) if last > hour => {
                // The clock was set back: what is marked as later came before now all the same.
                self.inner.execute("UPDATE hour SET hour = ?1 WHERE hour > ?1", [hour])?;
            }
            _ => {
                self.inner
                    .execute("INSERT OR IGNORE INTO hour (reading, hour) VALUES (?1, ?2)", [first, hour])?;
            }
        }
        let oldest_kept = hour - 24 * i64::from(readings_days_max);
        let until = |name: &str, hour: i64| -> rusqlite::Result<i64> {
            let so_far = self.meta(name)?.unwrap_or(0);
            let next: Option<i64> = self.inner.query_row(
                "SELECT max(reading) FROM (SELECT reading FROM hour WHERE reading > ?1 AND hour <= ?2 ORDER BY reading LIMIT ?3)",
                [so_far, hour, HOURS_AT_ONCE],
                |row| row.get(0),
            )?;
            match next {
                Some(next) => self.set_meta(name, next).map(|()| next),
                None => Ok(so_far),
            }
        };
        let before = until("readings_aged_to", oldest_kept)?;
        let before_silent = until("readings_aged_to_silent", oldest_kept - 24 * SILENT_DAYS)?;
        self.inner.execute("DELETE FROM hour WHERE reading < ?1", [before_silent])?;
        self.keeping.aging.set(Aging {
            hour: Some(hour),
            before,
            before_silent,
            after: None,
            done: before == 0,
            said: false,
        });
        Ok(())
    }

    fn let_old_readings_go(&self, left: &mut i64) -> rusqlite::Result<()> {
        let mut aging = self.keeping.aging.get();
        if aging.done {
            return Ok(());
        }
        let devices = self.keeping.devices(aging.after);
        aging.done = devices.len() < DEVICES_AT_ONCE;
        for device in devices {
            let gone = self.let_old_readings_go_of(device, aging, *left)?;
            *left -= gone;
            if *left <= 0 {
                // There may be more of this one.
                aging.done = false;
                break;
            }
            aging.after = Some(device);
        }
        self.keeping.aging.set(aging);
        Ok(())
    }

    fn let_old_readings_go_of(&self, device: i64, aging: Aging, max: i64) -> rusqlite::Result<i64> {
        let (replay_from, newest): (i64, i64) = self
            .inner
            .prepare_cached("SELECT replay_from, newest_ms FROM device WHERE device = ?1")?
            .query_row([device], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .unwrap_or((i64::MAX, i64::MAX));
        let since = newest.saturating_sub(REPLAYED_MS);
        let mut statement = self.inner.prepare_cached(
            "SELECT id, at_ms, clock_quality FROM reading WHERE device = ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = statement.query([device, aging.before, max])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let (id, at, clock): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let is_replayed = clock < 2 && id >= replay_from && at >= since;
            if is_replayed && id >= aging.before_silent {
                break;
            }
            last = Some(id);
        }
        drop(rows);
        let Some(last) = last else { return Ok(0) };
        let gone = self
            .inner
            .prepare_cached("DELETE FROM reading WHERE device = ?1 AND id <= ?2")?
            .execute([device, last])?;
        let gone = i64::try_from(gone).unwrap_or(i64::MAX);
        self.keeping.deleted(device, gone);
        Ok(gone)
    }

    fn let_readings_go_beyond_bound(&self, mut left: i64) -> rusqlite::Result<()> {
        let mut over = self.keeping.total() - self.limits.readings_max;
        if over <= 0 {
            return Ok(());
        }
        let mut counts = self.keeping.counts();
        while over > 0 && left > 0 {
            let Some((most, device)) = counts.pop() else { break };
            let second = counts.peek().map_or(0, |(count, _)| *count);
            let part = most / PART_GIVEN;
            let give = (most - second).max(part).min(over.max(part)).clamp(1, left);
            let gone = self
                .inner
                .prepare_cached(
                    "DELETE FROM reading WHERE id IN (SELECT id FROM reading WHERE device = ?1 ORDER BY id LIMIT ?2)",
                )?
                .execute([device, give])?;
            let gone = i64::try_from(gone).unwrap_or(i64::MAX);
            // Fewer than by its account: then it has none.
            let fewer = if gone < give { most } else { gone };
            self.keeping.deleted(device, fewer);
            counts.push((most - fewer, device));
            self.count(|totals| totals.readings_evicted += gone);
            over -= fewer;
            left -= gone;
            let aging = self.keeping.aging.get();
            if !aging.said {
                tracing::warn!(
                    device = %gridpost_protocol::id::DeviceId(device.cast_unsigned()), of = most,
                    "there are more readings than are kept; the device with most gives its oldest ([spool] readings_mb_max)"
                );
                self.keeping.aging.set(Aging { said: true, ..aging });
            }
        }
        Ok(())
    }

    /// Writes down how many readings there are of each device that changed.
    pub(super) fn store_kept(&self) -> rusqlite::Result<()> {
        for (device, change) in &*self.keeping.changes.borrow() {
            self.inner
                .prepare_cached(
                    "INSERT INTO kept (device, readings) VALUES (?1, max(?2, 0)) \
                     ON CONFLICT (device) DO UPDATE SET readings = max(readings + ?2, 0)",
                )?
                .execute(params![device, change])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
