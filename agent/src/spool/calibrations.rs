//! The last accepted calibration of each device: what later events name as the state of its meter.

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::reading::Milli;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Spool, SpoolError, Transaction, to_row};

/// A device's last accepted calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCalibration {
    /// When it was.
    pub at: UnixMillis,
    /// How far the meter had drifted since the one before, in dB.
    pub drift: Milli,
    /// What a sample at full scale is since then, in micropascals.
    pub full_scale_upa: u64,
}

fn of(connection: &Connection, device: DeviceId) -> rusqlite::Result<Option<LastCalibration>> {
    connection
        .prepare_cached("SELECT at_ms, drift, full_scale_upa FROM calibration WHERE device = ?1")?
        .query_row([to_row(device)], |row| {
            Ok(LastCalibration {
                at: UnixMillis(row.get(0)?),
                drift: Milli(row.get(1)?),
                full_scale_upa: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })
        .optional()
}

impl Spool {
    /// The last accepted calibration of a device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn calibration(&self, device: DeviceId) -> Result<Option<LastCalibration>, SpoolError> {
        self.query(|connection| of(connection, device))
    }
}

impl Transaction<'_> {
    /// The last accepted calibration of a device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn calibration(&self, device: DeviceId) -> rusqlite::Result<Option<LastCalibration>> {
        of(&self.inner, device)
    }

    /// A device was calibrated.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_calibration(&self, device: DeviceId, last: &LastCalibration) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO calibration (device, at_ms, drift, full_scale_upa) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (device) DO UPDATE SET at_ms = excluded.at_ms, drift = excluded.drift, \
                 full_scale_upa = excluded.full_scale_upa",
            )?
            .execute(params![to_row(device), last.at.0, last.drift.0, last.full_scale_upa.cast_signed()])?;
        Ok(())
    }
}
