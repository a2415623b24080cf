//! Hourly statistics of devices, where the configuration asks for them.

use super::Intake;
use super::told::Place;
use crate::counters::Counters;
use crate::hourly::{Hour, Turn};
use crate::spool::Transaction;

impl Intake {
    /// Has hours told, or not.
    #[must_use]
    pub const fn with_hourly(mut self, hourly: bool) -> Self {
        self.hourly = hourly;
        self
    }

    /// What a record's time means for its device's hour: tells the one before when another begins. To be called before what the
    /// record says is stored. Returns the hour that it is to be taken in.
    pub(super) fn turn_hour<'h>(
        &mut self,
        place: Place,
        hour: &'h mut Option<Hour>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Option<&'h mut Hour>> {
        let Some(hour) = hour else { return Ok(None) };
        match hour.turn(place.at, place.seq) {
            Turn::On => {}
            Turn::Late => return Ok(None),
            Turn::Begins(begun, ended) => {
                transaction.begin_hour(place.device, begun)?;
                let ended = ended.filter(|ended| !ended.of.is_empty());
                if let Some(event) = ended.and_then(|ended| self.district.hour(place.device, &ended)) {
                    self.newest_event = transaction.add_event(&event)?;
                    Counters::count(&self.counters.events_made);
                }
            }
        }
        Ok(Some(hour))
    }
}
