//! What would have been said if nothing had ever been killed: the engine over all readings that the spool has, in one go.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use gridpost_agent::event::hourly;
use gridpost_agent::event::make::{District, Provenance};
use gridpost_agent::hourly::{HOUR_MS, Hour, Turn};
use gridpost_protocol::engine::{BoxedEngine, CLOCK_STEP_BACK_MS};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::AtSite;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::summary::{SummaryValue, statistics_of};
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use super::ledger::{Kept, Ledger};
use super::minutes::TakenMinute;

/// A reading of a spool: which, when, how that is known, and what.
pub(crate) type KeptReading = (Kept, UnixMillis, ClockQuality, Reading);

/// Reads all readings of a spool.
pub(crate) fn kept(spool: &Path) -> Result<Vec<KeptReading>> {
    let connection = rusqlite::Connection::open(spool)?;
    let mut statement = connection.prepare(
        "SELECT device, seq, at_ms, clock_quality, quantity, value, quality FROM reading ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        let clock = match row.get::<_, u8>(3)? {
            0 => ClockQuality::Device,
            1 => ClockQuality::Resolved,
            _ => ClockQuality::Arrival,
        };
        let value = Milli(row.get(5)?);
        let reading =
            Reading { quantity: Quantity::from_code(row.get(4)?), value, quality: Quality(row.get(6)?) };
        let device = DeviceId(row.get::<_, i64>(0)?.cast_unsigned());
        let seq = Seq(row.get::<_, i64>(1)?.cast_unsigned());
        Ok((Kept { device, seq, value }, UnixMillis(row.get(2)?), clock, reading))
    })?;
    rows.collect::<rusqlite::Result<_>>().context("the spool's readings")
}

/// The events that the readings call for, by id.
pub(crate) fn expected(district: &District, readings: &[KeptReading]) -> Result<HashMap<String, Vec<u8>>> {
    let mut expected: HashMap<String, Vec<u8>> = HashMap::new();
    let mut engines = HashMap::new();
    let mut around = HashMap::new();
    for (kept, at, clock, reading) in readings {
        if *clock == ClockQuality::Arrival {
            continue;
        }
        let device = kept.device;
        let site = district.pack.device(device).context("a device that the pack does not know")?.site;
        let around =
            around.entry(site).or_insert_with(|| district.pack.surroundings_of(&district.pack.sites()[site]));
        around.take(*at, reading);
        if let std::collections::hash_map::Entry::Vacant(place) = engines.entry(device) {
            let rules = district.pack.compile_for(device).context("a device that the pack does not know")?;
            let placed = district.pack.device(device).context("a device without a place")?;
            let periods = district.pack.periods_for(district.pack.site_of(placed));
            let engine = BoxedEngine::boxed(rules.rules).map_err(|error| anyhow!("{error}"))?;
            place.insert((engine, rules.source, periods));
        }
        let Some((engine, source, periods)) = engines.get_mut(&device) else { continue };
        let mut decisions = Vec::new();
        let at_site = AtSite { periods, around };
        engine.on_reading(kept.seq, *at, reading, &at_site, |decision| decisions.push(decision));
        for decision in decisions {
            let index = usize::from(decision.rule);
            let rule = &district.pack.rules()[source[index]];
            let compiled = &engine.rules()[index];
            let provenance = Provenance { clock: *clock, calibration: None, trend: engine.trend(index) };
            let event = district
                .decision(device, rule, compiled, &decision, kept.seq, provenance)
                .context("a decision without an event")?;
            expected.insert(event.id, event.payload);
        }
    }
    Ok(expected)
}

/// A record from which hours are told.
pub(super) struct Heard<'a> {
    device: DeviceId,
    seq: Seq,
    at: UnixMillis,
    what: Of<'a>,
}

enum Of<'a> {
    Reading(&'a Reading),
    Minute(&'a [SummaryValue]),
}

impl Heard<'_> {
    /// How many readings it stands for.
    fn readings(&self) -> u64 {
        match self.what {
            Of::Reading(_) => 1,
            // A quantity's minute comes as several values.
            Of::Minute(values) => values
                .iter()
                .filter(|one| statistics_of(one.quantity).first() == Some(&one.statistic))
                .map(|one| u64::from(one.count))
                .sum(),
        }
    }
}

/// What a device's hours are told from, in the order of its records.
pub(super) fn in_order<'a>(readings: &'a [KeptReading], minutes: &'a [TakenMinute]) -> Vec<Heard<'a>> {
    let known = readings.iter().filter(|(_, _, clock, _)| *clock != ClockQuality::Arrival);
    let readings = known.map(|(kept, at, _, reading)| Heard {
        device: kept.device,
        seq: kept.seq,
        at: *at,
        what: Of::Reading(reading),
    });
    let minutes = minutes.iter().map(|minute| Heard {
        device: minute.device,
        seq: minute.seq,
        at: minute.at,
        what: Of::Minute(&minute.summary.values),
    });
    let mut heard: Vec<_> = readings.chain(minutes).collect();
    heard.sort_by_key(|one| (one.device, one.seq));
    heard
}

/// The hours that the records call for, by id.
fn hours(district: &District, heard: &[Heard<'_>]) -> HashMap<String, Vec<u8>> {
    let (mut hours, mut told) = (HashMap::<DeviceId, Hour>::new(), HashMap::new());
    for Heard { device, seq, at, what } in heard {
        let hour = hours.entry(*device).or_default();
        match hour.turn(*at, *seq) {
            Turn::Late => continue,
            Turn::On => {}
            Turn::Begins(_, ended) => {
                let ended = ended.filter(|ended| !ended.of.is_empty());
                let event = ended.and_then(|ended| district.hour(*device, &ended));
                told.extend(event.map(|event| (event.id, event.payload)));
            }
        }
        match what {
            Of::Reading(reading) => hour.take(*at, reading),
            Of::Minute(values) => {
                for one in *values {
                    let SummaryValue { quantity, statistic, count, quality, value } = *one;
                    hour.take_minute(*at, quantity, statistic, count.into(), quality, value);
                }
            }
        }
    }
    told
}

/// Each hour that was told has as many readings as were kept of it, those in minutes too: from its first record on those that lie in it, up
/// to the first that belongs to another.
pub(super) fn check_hours(heard: &[Heard<'_>], ledger: &Ledger) -> Result<()> {
    for hour in ledger.hours() {
        let hour = hour?;
        let (device, from) = (&hour.data.device.id, hour.data.from.parse::<jiff::Timestamp>()?);
        let first = hour.id.rsplit_once('-').and_then(|(_, first)| first.parse().ok()).map(Seq);
        let first = first.context("an hour without its first record")?;
        let (begin, end) = (from.as_millisecond(), from.as_millisecond() + HOUR_MS);
        let kept: u64 = heard
            .iter()
            .filter(|one| one.device.to_string() == *device)
            .skip_while(|one| one.seq < first)
            .take_while(|one| one.at.0 < end && one.at.0 >= begin - CLOCK_STEP_BACK_MS)
            .filter(|one| one.at.0 >= begin)
            .map(Heard::readings)
            .sum();
        let told: u64 = hour.data.quantities.iter().map(|of| of.readings + of.left_out).sum();
        ensure!(told == kept, "invariant 4: hour {} tells {told} readings, and {kept} were kept", hour.id);
    }
    Ok(())
}

/// Holds the events that were committed against those that the readings call for.
pub(super) fn check(
    district: &District,
    hourly: Option<&[Heard<'_>]>,
    readings: &[KeptReading],
    ledger: &Ledger,
) -> Result<usize> {
    let mut expected = expected(district, readings)?;
    if let Some(heard) = hourly {
        expected.extend(hours(district, heard));
    }
    for (id, payload) in &expected {
        let made = ledger.events.get(id);
        ensure!(made.is_some(), "invariant 3: event {id} should have been made and was not");
        ensure!(
            made.is_some_and(|made| made.payload == *payload),
            "invariant 3: event {id} is not what the same readings make of it"
        );
    }
    for (id, made) in &ledger.events {
        ensure!(
            expected.contains_key(id)
                || !made.kind.starts_with("gridpost.event.") && made.kind != hourly::TYPE,
            "invariant 3: event {id} was made, and the readings do not call for it"
        );
    }
    Ok(expected.len())
}
