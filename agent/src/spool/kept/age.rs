//! What goes because it is old.
//!
//! Of a device that is silent the last [`REPLAYED_MS`] before its newest reading stay [`SILENT_DAYS`] longer: a restart fills the windows
//! with them. Minutes fill no window. With each new hour in which something comes devices are gone through once, [`DEVICES_AT_ONCE`] in a
//! transaction. A clock that runs ahead for an hour takes [`HOURS_AT_ONCE`] hours' rows at most, because no more are taken with each new
//! hour.

use gridpost_protocol::engine::CLOCK_STEP_BACK_MS;
use gridpost_protocol::rule::SPAN_MS_MAX;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Account, KINDS, Kind};
use crate::spool::{SpoolLimits, Transaction};

/// Devices (their readings, or their minutes) that are looked at in one transaction for what is too old.
pub(super) const DEVICES_AT_ONCE: usize = 64;
/// Of an hour's expired hours, so many are taken.
const HOURS_AT_ONCE: i64 = 4;
/// How much longer the last readings of a silent device stay than others: a month's outage. A device that is gone for good keeps them no longer.
const SILENT_DAYS: i64 = 30;
/// What a restart may need of a device before its newest reading, in milliseconds: the longest window, with its oldest slot.
pub(super) const REPLAYED_MS: i64 = 2 * SPAN_MS_MAX as i64;
const _: () = assert!(REPLAYED_MS > CLOCK_STEP_BACK_MS);

pub(super) const HOUR_MS: i64 = 3_600_000;

/// How far it is with what is too old.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::spool) struct Aging {
    /// The hour since 1970 of the newest mark; [`None`] before the first.
    hour: Option<i64>,
    /// Rows before these are too old.
    before: [i64; KINDS],
    /// Readings before this one are too old also for a device that is silent.
    before_silent: i64,
    /// The devices up to this one were looked at.
    after: Option<Account>,
    /// Whether all were.
    done: bool,
    /// In this hour it was said that there are too many.
    pub(super) said: bool,
}

impl Aging {
    pub(in crate::spool) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let hour = connection
            .query_row("SELECT hour FROM hour ORDER BY mark DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        // What a stop left over is seen to with the next hour.
        Ok(Self { hour, done: true, ..Self::default() })
    }
}

impl Transaction<'_> {
    /// Notes where an hour begins, and what is too old from here on.
    pub(super) fn mark_hour(&self, first: [Option<i64>; KINDS], now: UnixMillis) -> rusqlite::Result<()> {
        let (hour, SpoolLimits { readings_days_max, .. }) = (now.0.div_euclid(HOUR_MS), self.limits);
        match self.keeping.aging.get().hour {
            Some(last) if last == hour => return Ok(()),
            Some(last) if last > hour => {
                // The clock was set back: what is marked as later came before now all the same.
                self.inner.execute("UPDATE hour SET hour = ?1 WHERE hour > ?1", [hour])?;
            }
            _ => {
                // Of what did not come, the next one will be later too.
                self.inner.execute(
                    "INSERT INTO hour (hour, reading, summary) VALUES (?1, \
                     ifnull(?2, (SELECT 1 + ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'reading')), \
                     ifnull(?3, (SELECT 1 + ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'summary')))",
                    params![hour, first[Kind::Reading as usize], first[Kind::Minute as usize]],
                )?;
            }
        }
        let oldest_kept = hour - 24 * i64::from(readings_days_max);
        let before = self.aged_to("aged_to", oldest_kept)?;
        let before_silent = self.aged_to("aged_to_silent", oldest_kept - 24 * SILENT_DAYS)?;
        self.inner.execute("DELETE FROM hour WHERE mark < ?1", [before_silent])?;
        let before = self.rows_before(before)?;
        self.keeping.aging.set(Aging {
            hour: Some(hour),
            before,
            before_silent: self.rows_before(before_silent)?[Kind::Reading as usize],
            after: None,
            done: before == [0; KINDS],
            said: false,
        });
        Ok(())
    }

    /// Moves a mark on to this hour, by some hours at most; 0 before there was one.
    fn aged_to(&self, name: &str, hour: i64) -> rusqlite::Result<i64> {
        let so_far = self.meta(name)?.unwrap_or(0);
        let next: Option<i64> = self.inner.query_row(
            "SELECT max(mark) FROM (SELECT mark FROM hour WHERE mark > ?1 AND hour <= ?2 ORDER BY mark LIMIT ?3)",
            [so_far, hour, HOURS_AT_ONCE],
            |row| row.get(0),
        )?;
        match next {
            Some(next) => self.set_meta(name, next).map(|()| next),
            None => Ok(so_far),
        }
    }

    fn rows_before(&self, mark: i64) -> rusqlite::Result<[i64; KINDS]> {
        let found = self
            .inner
            .query_row("SELECT reading, summary FROM hour WHERE mark = ?1", [mark], |row| {
                Ok([row.get(0)?, row.get(1)?])
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    pub(super) fn let_old_go(&self, left: &mut i64) -> rusqlite::Result<()> {
        let mut aging = self.keeping.aging.get();
        if aging.done {
            return Ok(());
        }
        let accounts = self.keeping.accounts(aging.after);
        aging.done = accounts.len() < DEVICES_AT_ONCE;
        for account in accounts {
            let gone = match account {
                (device, Kind::Reading) => self.let_old_readings_go_of(device, aging, *left)?,
                (device, Kind::Minute) => self
                    .inner
                    .prepare_cached(
                        "DELETE FROM summary WHERE id IN \
                         (SELECT id FROM summary WHERE device = ?1 AND id < ?2 ORDER BY id LIMIT ?3)",
                    )?
                    .execute([device, aging.before[Kind::Minute as usize], *left])?,
            };
            let gone = i64::try_from(gone).unwrap_or(i64::MAX);
            self.keeping.deleted(account, gone);
            *left -= gone;
            if *left <= 0 {
                // There may be more of this one.
                aging.done = false;
                break;
            }
            aging.after = Some(account);
        }
        self.keeping.aging.set(aging);
        Ok(())
    }

    fn let_old_readings_go_of(&self, device: i64, aging: Aging, max: i64) -> rusqlite::Result<usize> {
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
        let mut rows = statement.query([device, aging.before[Kind::Reading as usize], max])?;
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
        self.inner
            .prepare_cached("DELETE FROM reading WHERE device = ?1 AND id <= ?2")?
            .execute([device, last])
    }
}
