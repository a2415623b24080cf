//! What devices that decide themselves tell beside their episodes: minutes, and seconds that somebody asked for.

use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::reading::Reading;
use gridpost_protocol::rule::Statistic;
use gridpost_protocol::summary::SummaryValue;
use gridpost_protocol::time::UnixMillis;
use rusqlite::params;

use super::kept::Kind;
use super::mark::Newest;
use super::{Transaction, to_row};

/// Stands in the column `clock_quality` for "fetched": no rule was or will be run over it here.
const FETCHED: u8 = 3;

/// The name of a statistic, as in the events.
#[must_use]
pub const fn statistic_name(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Last => "last",
        Statistic::Mean => "mean",
        Statistic::EnergyMean => "energy-mean",
        Statistic::Max => "max",
        Statistic::Min => "min",
        Statistic::L5 => "L5",
        Statistic::L10 => "L10",
        Statistic::L50 => "L50",
        Statistic::L90 => "L90",
        Statistic::L95 => "L95",
        Statistic::Change => "change",
    }
}

/// The statistic of a name that [`statistic_name`] gave.
pub(super) fn statistic_of(name: &str) -> Option<Statistic> {
    use Statistic as S;
    [S::Last, S::Mean, S::EnergyMean, S::Max, S::Min, S::L5, S::L10, S::L50, S::L90, S::L95, S::Change]
        .into_iter()
        .find(|statistic| statistic_name(*statistic) == name)
}

impl Transaction<'_> {
    /// Keeps one value of a minute that begins at `at`; returns its row.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_summary(
        &self,
        device: DeviceId,
        at: UnixMillis,
        value: &SummaryValue,
    ) -> rusqlite::Result<i64> {
        let row = self
            .inner
            .prepare_cached(
                "INSERT INTO summary (device, at_ms, quantity, statistic, readings, quality, value) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .insert(params![
                to_row(device),
                at.0,
                value.quantity.code(),
                statistic_name(value.statistic),
                value.count,
                value.quality.0,
                value.value.0
            ])?;
        self.keeping.added(to_row(device), Kind::Minute, row);
        self.newest.set(Newest { minute: row, ..self.newest.get() });
        Ok(row)
    }

    /// Keeps a reading that the device kept itself and sent because somebody asked; returns its row.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_fetched(
        &self,
        device: DeviceId,
        seq: Seq,
        at: UnixMillis,
        reading: &Reading,
    ) -> rusqlite::Result<i64> {
        self.add_reading_of(device, seq, at, FETCHED, reading)
    }
}
