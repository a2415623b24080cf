//! What is durable, as whoever writes asks for it: a start goes on from there.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::session::gateway::Durable;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Spool, SpoolError, sqlite_error, to_row};

/// An event that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEvent {
    /// Its CloudEvents id.
    pub event_id: String,
    /// Where it was to be published.
    pub topic: String,
    /// Why it was refused.
    pub reason: String,
}

/// What is durable of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Cursor and newest frame.
    pub durable: Durable,
    /// The reading from which the engine's windows are to be rebuilt (a row id): the first after the device's clock
    /// was last set back.
    pub replay_from: i64,
    /// The newest time the device has said.
    pub newest: UnixMillis,
    /// The digest of the pack under which the rules' states were made.
    pub pack: String,
}

/// A reading as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredReading {
    /// The row.
    pub id: i64,
    /// The record's number.
    pub seq: Seq,
    /// Its time, resolved.
    pub at: UnixMillis,
    /// The reading.
    pub reading: Reading,
}

impl Spool {
    /// What is durable of a device; [`None`] for one never heard of.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT cursor, boot, counter, replay_from, newest_ms, pack FROM device WHERE device = ?1",
                )?
                .query_row([to_row(device)], |row| {
                    let cursor: i64 = row.get(0)?;
                    Ok(DeviceRow {
                        durable: Durable {
                            // 0: heard of, but no record yet.
                            cursor: (cursor != 0).then_some(Seq(cursor.cast_unsigned())),
                            boot: row.get(1)?,
                            counter: row.get(2)?,
                        },
                        replay_from: row.get(3)?,
                        newest: UnixMillis(row.get(4)?),
                        pack: row.get(5)?,
                    })
                })
                .optional()
        })
    }

    /// A device's clock offsets: (boot, milliseconds).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clock(&self, device: DeviceId) -> Result<Vec<(u32, i64)>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT boot, offset_ms FROM clock WHERE device = ?1 ORDER BY boot")?
                .query_map([to_row(device)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Where a device's rules stand: (rule id, state).
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rule_states(&self, device: DeviceId) -> Result<Vec<(String, Vec<u8>)>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT rule, state FROM rule_state WHERE device = ?1")?
                .query_map([to_row(device)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Hands out a device's readings from row `from` on that are not older than `since`, in the order in which they
    /// came, without those whose time nobody knows.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn readings(
        &self,
        device: DeviceId,
        from: i64,
        since: UnixMillis,
        mut each: impl FnMut(StoredReading),
    ) -> Result<(), SpoolError> {
        self.query(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, seq, at_ms, quantity, value, quality FROM reading \
                 WHERE device = ?1 AND id >= ?2 AND at_ms >= ?3 AND clock_quality < 2 ORDER BY id",
            )?;
            let mut rows = statement.query(params![to_row(device), from, since.0])?;
            while let Some(row) = rows.next()? {
                each(StoredReading {
                    id: row.get(0)?,
                    seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                    at: UnixMillis(row.get(2)?),
                    reading: Reading {
                        quantity: Quantity::from_code(row.get(3)?),
                        value: Milli(row.get(4)?),
                        quality: Quality(row.get(5)?),
                    },
                });
            }
            Ok(())
        })
    }

    /// The newest event's id, whether it is still there or not; 0 when there never was one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn newest_event(&self) -> Result<i64, SpoolError> {
        self.query(|connection| {
            connection
                .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'event'", [], |row| row.get(0))
                .optional()
                .map(|found| found.unwrap_or(0))
        })
    }

    /// How many events wait for the platform.
    ///
    /// # Errors
    /// None; as the other questions.
    pub fn events_waiting(&self) -> Result<i64, SpoolError> {
        Ok(self.totals.events)
    }

    /// The events that were refused for good, the oldest first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn refused(&self) -> Result<Vec<RefusedEvent>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT event_id, topic, reason FROM refused ORDER BY id")?
                .query_map([], |row| {
                    Ok(RefusedEvent { event_id: row.get(0)?, topic: row.get(1)?, reason: row.get(2)? })
                })?
                .collect()
        })
    }

    pub(super) fn query<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        ask(&self.connection).map_err(|source| {
            let error = sqlite_error(&self.path, source);
            self.health.note(&error);
            error
        })
    }
}
