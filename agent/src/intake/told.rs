//! Records of a device that decides itself: its episodes become events, its minutes and seconds are kept.

use gridpost_protocol::calibration::CalibrationOutcome;
use gridpost_protocol::event::Phase;
use gridpost_protocol::fault::SensorState;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::RuleId;
use gridpost_protocol::series::Series;
use gridpost_protocol::session::gateway::Gap;
use gridpost_protocol::summary::{Summary, SummaryValue};
use gridpost_protocol::time::{ClockQuality, UnixMillis};
use gridpost_protocol::told::{Decides, ToldEpisode};

use super::Intake;
use crate::counters::Counters;
use crate::decide::Decider;
use crate::event::make::Provenance;
use crate::event::{Event, fault, told};
use crate::hourly::Hour;
use crate::spool::{LastCalibration, Transaction};

/// Which record it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) device: DeviceId,
    pub(super) seq: Seq,
    pub(super) at: UnixMillis,
    pub(super) clock: ClockQuality,
}

impl Intake {
    /// An episode's message. It goes on under the matter under which it began; if neither its beginning nor its rule is known here, it
    /// is reported as a lost record: without an owner it can be no event.
    pub(super) fn take_episode(
        &mut self,
        place: Place,
        message: &ToldEpisode<'_>,
        now: UnixMillis,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Place { device, seq, at, clock } = place;
        let before = transaction.episode(device, message.rule)?;
        let provenance = Provenance { clock, calibration: transaction.calibration(device)?, trend: None };
        let event = before
            .and_then(|(topic, payload)| told::next(&topic, &payload, device, message, seq, at, provenance))
            .or_else(|| self.district.told(device, message, seq, at, provenance));
        if let Some(event) = event {
            tracing::info!(%device, rule = message.rule, phase = %message.phase, value = %message.value, limit = %message.limit, id = event.id, "event of a device that decides itself");
            let is_open = message.phase != Phase::Cleared;
            self.newest_event = transaction.add_event_of_episode(device, message.rule, is_open, &event)?;
            Counters::count(&self.counters.events_made);
            return Ok(());
        }
        Counters::count(&self.counters.episodes_unknown_rule);
        tracing::error!(%device, %seq, rule = message.rule, phase = %message.phase, value = %message.value,
            "the device decided by a rule that is not in this pack: it is reported as a lost record");
        if let Some(event) = self.district.gap(device, Gap { first: seq, last: seq }, now) {
            self.newest_event = transaction.add_event(&event)?;
            Counters::count(&self.counters.events_made);
        }
        Ok(())
    }

    /// From here on the device decides: what this gateway had begun about it ends.
    pub(super) fn take_decides(
        &mut self,
        place: Place,
        decides: Decides,
        decider: &mut Decider,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Place { device, seq, at, clock } = place;
        tracing::info!(%device, share = format_args!("{:08x}", decides.share), "the device decides itself from here on");
        let mut failed = None;
        decider.hand_over(&self.district, seq, at, clock, |rule: &RuleId, event: Event| {
            match transaction.add_event_of_episode(device, rule.as_str(), false, &event) {
                Ok(row) => self.newest_event = row,
                Err(error) => failed = Some(error),
            }
            Counters::count(&self.counters.events_made);
        });
        failed.map_or(Ok(()), Err)
    }

    /// A sensor does not work, or works again. Told twice, it is an event once.
    pub(super) fn take_sensor(
        &mut self,
        place: Place,
        state: &SensorState<'_>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Place { device, seq, at, clock } = place;
        if !state.is_named() {
            Counters::count(&self.counters.records_unknown);
            tracing::error!(%device, %seq, sensor = ?state.sensor, "a sensor's state is left out: this is no name of a sensor");
            return Ok(());
        }
        let key = fault::key(state.sensor);
        let event = match (transaction.episode(device, &key)?, state.fault) {
            (Some((topic, last)), fault) => fault::next(&topic, &last, fault, seq, at, clock),
            (None, Some(kind)) => self.district.fault(device, state.sensor, kind, seq, at, clock),
            (None, None) => None,
        };
        match state.fault {
            Some(kind) => tracing::error!(%device, sensor = state.sensor, %kind, "a sensor does not work"),
            None => tracing::info!(%device, sensor = state.sensor, "a sensor works again"),
        }
        if let Some(event) = event {
            self.newest_event =
                transaction.add_event_of_episode(device, &key, state.fault.is_some(), &event)?;
            Counters::count(&self.counters.events_made);
        }
        Ok(())
    }

    /// What came of a calibration. What is measured from here on names it, if it was accepted.
    pub(super) fn take_calibration(
        &mut self,
        place: Place,
        outcome: &CalibrationOutcome,
        decider: &mut Decider,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let Place { device, seq, at, clock } = place;
        match outcome.refused {
            Some(reason) => {
                tracing::error!(%device, nominal = %outcome.nominal, %reason, "a calibration was refused");
            }
            None => {
                let last = LastCalibration {
                    at,
                    drift: outcome.drift().unwrap_or_default(),
                    full_scale_upa: outcome.full_scale_upa,
                };
                tracing::info!(%device, nominal = %outcome.nominal, drift = %last.drift, "calibrated");
                transaction.put_calibration(device, &last)?;
                decider.calibrated(last);
            }
        }
        if let Some(event) = self.district.calibration(device, outcome, seq, at, clock) {
            self.newest_event = transaction.add_event(&event)?;
            Counters::count(&self.counters.events_made);
        }
        Ok(())
    }

    /// A minute.
    pub(super) fn take_summary(
        &mut self,
        place: Place,
        summary: &Summary,
        hour: &mut Option<Hour>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let mut hour = if place.clock == ClockQuality::Arrival {
            None
        } else {
            self.turn_hour(place, hour, transaction)?
        };
        for value in &summary.values {
            transaction.add_summary(place.device, place.at, value)?;
            if let Some(hour) = &mut hour {
                let SummaryValue { quantity, statistic, count, quality, value } = *value;
                hour.take_minute(place.at, quantity, statistic, count.into(), quality, value);
            }
        }
        Ok(())
    }

    /// Seconds that somebody asked for.
    pub(super) fn take_series(
        &mut self,
        place: Place,
        series: &Series<'_>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        for (at, reading) in series.readings(place.at) {
            transaction.add_fetched(place.device, place.seq, at, &reading)?;
        }
        Ok(())
    }
}
