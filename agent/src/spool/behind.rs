//! What stands behind an event: the event itself, and the readings that led to it, for whoever wants it explained.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use rusqlite::{OptionalExtension as _, params};

use super::{SpoolError, SpoolReader, to_row};

/// Readings that are gone through at most, of all devices; those before them are left out.
pub const BEHIND_MAX: i64 = 5_000_000;

impl SpoolReader {
    /// The event with this id, while it waits, after it was refused, or as the last message of an episode that is open.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn event(&self, id: &str) -> Result<Option<Vec<u8>>, SpoolError> {
        self.query(|connection| {
            connection
                .query_row(
                    "SELECT payload FROM event WHERE event_id = ?1 UNION ALL SELECT payload FROM refused WHERE event_id = ?1 \
                     UNION ALL SELECT payload FROM episode WHERE instr(payload, CAST(?2 AS BLOB)) > 0 LIMIT 1",
                    [id, &format!("\"id\":\"{id}\"")],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    /// The readings that rules were run over, in the order in which they came, to the record `last` of this device and with it.
    /// Whether that record is there.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn readings_until(
        &self,
        device: DeviceId,
        last: Seq,
        mut each: impl FnMut(DeviceId, UnixMillis, Reading),
    ) -> Result<bool, SpoolError> {
        self.query(|connection| {
            let end: Option<i64> = connection
                .query_row(
                    "SELECT id FROM reading WHERE device = ?1 AND seq = ?2 AND clock_quality < 2 ORDER BY id LIMIT 1",
                    params![to_row(device), last.0.cast_signed()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(end) = end else { return Ok(false) };
            let mut statement = connection.prepare(
                "SELECT device, at_ms, quantity, value, quality FROM reading \
                 WHERE id > ?1 AND id <= ?2 AND clock_quality < 2 ORDER BY id",
            )?;
            let mut rows = statement.query([end - BEHIND_MAX, end])?;
            while let Some(row) = rows.next()? {
                let reading = Reading {
                    quantity: Quantity::from_code(row.get(2)?),
                    value: Milli(row.get(3)?),
                    quality: Quality(row.get(4)?),
                };
                each(DeviceId(row.get::<_, i64>(0)?.cast_unsigned()), UnixMillis(row.get(1)?), reading);
            }
            Ok(true)
        })
    }
}
