//! What one transaction of the spool can do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::time::{ClockQuality, UnixMillis};
use rusqlite::{OptionalExtension, params};

use super::kept::{Aging, Keeping, Kept, Kind};
use super::mark::Newest;
use super::{DeviceRow, FREE_PAGES_KEPT, SpoolLimits, Totals, to_row};
use crate::event::Labels;

/// A transaction under way; see [`super::Spool::commit`].
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) inner: rusqlite::Transaction<'a>,
    pub(super) limits: SpoolLimits,
    /// As they will be when this is committed.
    pub(super) totals: Cell<Totals>,
    before: Totals,
    /// Events that were put into the outbox for the first time.
    pub(super) made: RefCell<Vec<Labels>>,
    /// Whether something was refused, so that its bound is worth looking at.
    pub(super) refused: Cell<bool>,
    pub(super) keeping: Keeping<'a>,
    pub(super) newest: Cell<Newest>,
    /// Free pages that may stay in the file.
    pub(super) free_pages_kept: i64,
}

/// What is durable once a transaction is.
pub(super) struct Committed {
    pub(super) totals: Totals,
    /// How many readings and minutes more there are of each device.
    pub(super) kept: BTreeMap<(i64, Kind), i64>,
    pub(super) aging: Aging,
    pub(super) newest: Newest,
}

/// Pages that the database has, as this transaction sees it.
pub(super) fn pages(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))
}

/// A transaction that holds all bounds, and is to be committed.
pub(super) struct Ready<'a> {
    transaction: Transaction<'a>,
    /// Pages that the database will have.
    pub(super) pages: i64,
}

impl Ready<'_> {
    /// The newest rows that it added.
    pub(super) fn newest(&self) -> Newest {
        self.transaction.newest.get()
    }

    /// The sums as they will be.
    pub(super) fn totals(&self) -> Totals {
        self.transaction.totals.get()
    }

    /// Commits. Returns what is durable now.
    pub(super) fn commit(self) -> rusqlite::Result<Committed> {
        let Transaction { inner, keeping, totals, newest, .. } = self.transaction;
        inner.commit()?;
        let Keeping { changes, aging, .. } = keeping;
        Ok(Committed {
            totals: totals.get(),
            kept: changes.into_inner(),
            aging: aging.into_inner(),
            newest: newest.get(),
        })
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        inner: rusqlite::Transaction<'a>,
        limits: SpoolLimits,
        totals: Totals,
        kept: &'a Kept,
        aging: Aging,
    ) -> Self {
        Self {
            inner,
            limits,
            totals: Cell::new(totals),
            before: totals,
            refused: Cell::new(false),
            made: RefCell::new(Vec::new()),
            keeping: Keeping::new(kept, aging),
            newest: Cell::default(),
            free_pages_kept: FREE_PAGES_KEPT,
        }
    }

    /// Holds the bounds.
    pub(super) fn ready(self) -> rusqlite::Result<Ready<'a>> {
        self.evict_events()?;
        if self.refused.get() {
            self.drop_refused()?;
        }
        self.totals.get().store(self.before, &self)?;
        self.store_kept()?;
        self.give_back_pages()?;
        let pages = pages(&self.inner)?;
        Ok(Ready { transaction: self, pages })
    }

    pub(super) fn meta(&self, name: &str) -> rusqlite::Result<Option<i64>> {
        self.inner
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    pub(super) fn set_meta(&self, name: &str, value: i64) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")?
            .execute(params![name, value])?;
        Ok(())
    }

    /// Writes down that the spool could be written to then.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn note_probe(&self, now: UnixMillis) -> rusqlite::Result<()> {
        self.set_meta("probed_ms", now.0)
    }

    /// Writes down what is durable of a device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_device(&self, device: DeviceId, row: &DeviceRow) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO device (device, cursor, boot, counter, replay_from, newest_ms, pack) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                 ON CONFLICT (device) DO UPDATE SET cursor = excluded.cursor, boot = excluded.boot, \
                 counter = excluded.counter, replay_from = excluded.replay_from, \
                 newest_ms = excluded.newest_ms, pack = excluded.pack",
            )?
            .execute(params![
                to_row(device),
                row.durable.cursor.unwrap_or(Seq::NONE).0.cast_signed(),
                row.durable.boot,
                row.durable.counter,
                row.replay_from,
                row.newest.0,
                row.pack
            ])?;
        Ok(())
    }

    /// Writes down a boot's offset; of a device's boots only the newest `keep` stay.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_clock(
        &self,
        device: DeviceId,
        boot: u32,
        offset_ms: i64,
        keep: usize,
    ) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO clock (device, boot, offset_ms) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (device, boot) DO UPDATE SET offset_ms = excluded.offset_ms",
            )?
            .execute(params![to_row(device), boot, offset_ms])?;
        self.inner
            .prepare_cached(
                "DELETE FROM clock WHERE device = ?1 AND boot NOT IN \
                 (SELECT boot FROM clock WHERE device = ?1 ORDER BY boot DESC LIMIT ?2)",
            )?
            .execute(params![to_row(device), i64::try_from(keep).unwrap_or(i64::MAX)])?;
        Ok(())
    }

    /// Keeps a reading; returns its row.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_reading(
        &self,
        device: DeviceId,
        seq: Seq,
        at: UnixMillis,
        clock: ClockQuality,
        reading: &Reading,
    ) -> rusqlite::Result<i64> {
        let clock: u8 = match clock {
            ClockQuality::Device => 0,
            ClockQuality::Resolved => 1,
            ClockQuality::Arrival => 2,
        };
        self.add_reading_of(device, seq, at, clock, reading)
    }

    pub(super) fn add_reading_of(
        &self,
        device: DeviceId,
        seq: Seq,
        at: UnixMillis,
        clock: u8,
        reading: &Reading,
    ) -> rusqlite::Result<i64> {
        let row = self
            .inner
            .prepare_cached(
                "INSERT INTO reading (device, seq, at_ms, clock_quality, quantity, value, quality) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .insert(params![
                to_row(device),
                seq.0.cast_signed(),
                at.0,
                clock,
                reading.quantity.code(),
                reading.value.0,
                reading.quality.0
            ])?;
        self.keeping.added(to_row(device), Kind::Reading, row);
        self.newest.set(Newest { reading: row, ..self.newest.get() });
        Ok(row)
    }

    /// Writes down where a rule of a device stands.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_rule_state(&self, device: DeviceId, rule: &str, state: &[u8]) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO rule_state (device, rule, state) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (device, rule) DO UPDATE SET state = excluded.state",
            )?
            .execute(params![to_row(device), rule, state])?;
        Ok(())
    }

    /// Forgets where a rule of a device stands: the rule is no longer there.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drop_rule_state(&self, device: DeviceId, rule: &str) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached("DELETE FROM rule_state WHERE device = ?1 AND rule = ?2")?
            .execute(params![to_row(device), rule])?;
        Ok(())
    }
}
