//! Readings and minutes out of the spool, for whoever asks for evidence.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Row, params};

use super::{SpoolError, SpoolReader, to_row};

/// What is wanted of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The device.
    pub device: DeviceId,
    /// From this time on.
    pub from: UnixMillis,
    /// To this time, not included.
    pub to: UnixMillis,
    /// Only these quantities; all when empty.
    pub quantities: Vec<Quantity>,
    /// Only rows after this one.
    pub after: i64,
}

/// A reading as it is kept, with how sure its time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptReading {
    /// The row: later ones were stored later.
    pub row: i64,
    /// The record's number.
    pub seq: Seq,
    /// Its time.
    pub at: UnixMillis,
    /// `device`, `resolved`, `arrival`, or `fetched` when the device kept it and was asked for it.
    pub clock: &'static str,
    /// The reading.
    pub reading: Reading,
}

/// A value of a minute, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMinute {
    /// The row.
    pub row: i64,
    /// When the minute began.
    pub at: UnixMillis,
    /// Of what.
    pub quantity: Quantity,
    /// How the readings became one value.
    pub statistic: String,
    /// From how many.
    pub readings: u32,
    /// What was found against any of them.
    pub quality: Quality,
    /// The value.
    pub value: Milli,
}

impl Wanted {
    /// The condition on the quantity, as SQL. Codes are numbers: nothing in it comes from outside.
    fn of_quantities(&self) -> String {
        if self.quantities.is_empty() {
            return String::new();
        }
        let codes: Vec<String> = self.quantities.iter().map(|one| one.code().to_string()).collect();
        format!("AND quantity IN ({})", codes.join(","))
    }
}

impl SpoolReader {
    /// The newest reading's row; 0 when there is none.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn newest_reading(&self) -> Result<i64, SpoolError> {
        self.query(|connection| {
            connection.query_row("SELECT ifnull(max(id), 0) FROM reading", [], |row| row.get(0))
        })
    }

    /// Hands out readings in the order in which they were stored, which is that of the device's records, until `each` has enough.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn readings(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(KeptReading) -> bool,
    ) -> Result<(), SpoolError> {
        let columns = "id, seq, at_ms, clock_quality, quantity, value, quality";
        self.rows(wanted, "reading", columns, |row| {
            Ok(each(KeptReading {
                row: row.get(0)?,
                seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                at: UnixMillis(row.get(2)?),
                clock: match row.get(3)? {
                    0 => "device",
                    1 => "resolved",
                    2 => "arrival",
                    _ => "fetched",
                },
                reading: Reading {
                    quantity: Quantity::from_code(row.get(4)?),
                    value: Milli(row.get(5)?),
                    quality: Quality(row.get(6)?),
                },
            }))
        })
    }

    /// Hands out minutes in the order in which they were stored, until `each` has enough.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn minutes(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(KeptMinute) -> bool,
    ) -> Result<(), SpoolError> {
        let columns = "id, at_ms, quantity, statistic, readings, quality, value";
        self.rows(wanted, "summary", columns, |row| {
            Ok(each(KeptMinute {
                row: row.get(0)?,
                at: UnixMillis(row.get(1)?),
                quantity: Quantity::from_code(row.get(2)?),
                statistic: row.get(3)?,
                readings: row.get(4)?,
                quality: Quality(row.get(5)?),
                value: Milli(row.get(6)?),
            }))
        })
    }

    /// Hands out the rows of a table that are wanted, in their order, until `each` has enough.
    fn rows(
        &self,
        wanted: &Wanted,
        table: &str,
        columns: &str,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), SpoolError> {
        self.query(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {columns} FROM {table} \
                 WHERE device = ?1 AND id > ?2 AND at_ms >= ?3 AND at_ms < ?4 {} ORDER BY id",
                wanted.of_quantities()
            ))?;
            let mut rows =
                statement.query(params![to_row(wanted.device), wanted.after, wanted.from.0, wanted.to.0])?;
            while let Some(row) = rows.next()? {
                if !each(row)? {
                    break;
                }
            }
            Ok(())
        })
    }
}
