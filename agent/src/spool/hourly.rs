//! The hour of a device that is on: where it begins is stored, and what was measured in it is with the readings and minutes.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use rusqlite::{OptionalExtension, params};

use super::evidence::statistic_of;
use super::{Spool, SpoolError, Transaction, to_row};
use crate::hourly::{Begun, HOUR_MS, Hour};

impl Transaction<'_> {
    /// Another hour of a device is on. To be called before what was measured in it is added.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_hour(&self, device: DeviceId, begun: Begun) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO hourly (device, from_ms, first, reading, summary) VALUES (?1, ?2, ?3, \
                 ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'reading'), 0), \
                 ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'summary'), 0)) \
                 ON CONFLICT (device) DO UPDATE SET from_ms = excluded.from_ms, first = excluded.first, \
                 reading = excluded.reading, summary = excluded.summary",
            )?
            .execute(params![to_row(device), begun.from.0, begun.first.0.cast_signed()])?;
        Ok(())
    }
}

impl Spool {
    /// The hour of a device that is on, with what was measured in it so far.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn hour(&self, device: DeviceId) -> Result<Hour, SpoolError> {
        self.query(|connection| {
            let on: Option<(i64, i64, i64, i64)> = connection
                .prepare_cached("SELECT from_ms, first, reading, summary FROM hourly WHERE device = ?1")?
                .query_row([to_row(device)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            let Some((from, first, reading, summary)) = on else { return Ok(Hour::default()) };
            let to = from.saturating_add(HOUR_MS);
            let mut hour =
                Hour::begun(Some(Begun { from: UnixMillis(from), first: Seq(first.cast_unsigned()) }));
            let mut statement = connection.prepare_cached(
                "SELECT at_ms, quantity, value, quality FROM reading \
                 WHERE device = ?1 AND id > ?2 AND at_ms >= ?3 AND at_ms < ?4 AND clock_quality < 2 ORDER BY id",
            )?;
            let mut rows = statement.query(params![to_row(device), reading, from, to])?;
            while let Some(row) = rows.next()? {
                let reading = Reading {
                    quantity: Quantity::from_code(row.get(1)?),
                    value: Milli(row.get(2)?),
                    quality: Quality(row.get(3)?),
                };
                hour.take(UnixMillis(row.get(0)?), &reading);
            }
            let mut statement = connection.prepare_cached(
                "SELECT at_ms, quantity, statistic, readings, quality, value FROM summary \
                 WHERE device = ?1 AND at_ms >= ?3 AND at_ms < ?4 AND id > ?2 ORDER BY id",
            )?;
            let mut rows = statement.query(params![to_row(device), summary, from, to])?;
            while let Some(row) = rows.next()? {
                let Some(statistic) = statistic_of(row.get_ref(2)?.as_str()?) else { continue };
                let (quantity, quality) = (Quantity::from_code(row.get(1)?), Quality(row.get(4)?));
                let (at, value) = (UnixMillis(row.get(0)?), Milli(row.get(5)?));
                hour.take_minute(at, quantity, statistic, row.get(3)?, quality, value);
            }
            Ok(hour)
        })
    }
}
