//! What came of a calibration is an event of its own matter, and later events say when the meter was calibrated.

use anyhow::{Result, ensure};
use gridpost_protocol::calibration::{CalibrationOutcome, CalibrationRefusal};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::Record;
use serde_json::Value;

use super::bench::{Bench, DEVICE, noise};

fn level(value: i32, quality: Quality) -> Record<'static> {
    Record::Reading(Reading { quantity: Quantity::LAeq, value: Milli(value), quality })
}

fn calibration(measured: i32, refused: Option<CalibrationRefusal>) -> Record<'static> {
    Record::Calibration(CalibrationOutcome {
        nominal: Milli(94_000),
        measured: Some(Milli(measured)),
        full_scale_upa: 20_000_000,
        refused,
    })
}

#[test]
fn calibrations_are_events_and_later_events_name_the_last_one() -> Result<()> {
    let mut bench = Bench::new(&noise())?;
    let loud_and_quiet_again = |bench: &mut Bench| -> Result<()> {
        bench.keep(&level(70_000, Quality::GOOD))?;
        (0..6).try_for_each(|_| bench.keep(&level(50_000, Quality::GOOD)))
    };
    loud_and_quiet_again(&mut bench)?;
    // The calibrator is on: nothing is decided on what it makes.
    bench.keep(&level(94_300, Quality::CALIBRATION))?;
    bench.keep(&calibration(95_100, Some(CalibrationRefusal::Drift)))?;
    bench.keep(&calibration(94_300, None))?;
    loud_and_quiet_again(&mut bench)?;
    bench.restart_gateway(&noise())?;
    loud_and_quiet_again(&mut bench)?;

    let events = bench.events()?;
    let phases: Vec<_> = events.iter().map(|event| event["phase"].as_str().unwrap_or("-")).collect();
    let expected =
        ["exceeded", "cleared", "calibration", "calibration", "exceeded", "cleared", "exceeded", "cleared"];
    ensure!(phases == expected, "{phases:?}");
    for event in &events[2..4] {
        ensure!(event["type"] == "gridpost.calibration" && event["matter"] == "0901002", "{event:#}");
        ensure!(event["department"].as_str().is_some_and(|name| !name.is_empty()), "{event:#}");
    }
    let (refused, accepted) = (&events[2]["data"]["calibration"], &events[3]["data"]["calibration"]);
    ensure!(
        refused["accepted"] == false && refused["reason"] == "drift" && refused["drift_db"] == 1.1,
        "{refused}"
    );
    ensure!(accepted["accepted"] == true && accepted["drift_db"] == 0.3, "{accepted}");
    ensure!(accepted["nominal_db"] == 94.0 && accepted["full_scale_pa"] == 20.0, "{accepted}");
    let calibrated = |event: &Value| event["data"]["quality"]["calibration"].clone();
    ensure!(calibrated(&events[0]).is_null(), "{:#}", events[0]);
    for event in &events[4..] {
        let last = calibrated(event);
        ensure!(last["drift_db"] == 0.3 && last["time"] == events[3]["time"], "{event:#}");
    }
    Ok(())
}

#[test]
fn a_device_is_told_to_calibrate_and_answers_what_came_of_it() -> Result<()> {
    let mut bench = Bench::new(&noise())?;
    let refused = |asked: Result<()>| asked.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused(bench.calibrate(DEVICE)).contains("not been heard"));
    ensure!(refused(bench.calibrate(DeviceId(5))).contains("no such device"));
    bench.keep(&level(50_000, Quality::GOOD))?;
    bench.calibrate(DEVICE)?;
    // This node does not listen to anything.
    let events = bench.events()?;
    let [event] = &events[..] else { anyhow::bail!("{events:#?}") };
    let outcome = &event["data"]["calibration"];
    ensure!(outcome["accepted"] == false && outcome["reason"] == "no-meter", "{event:#}");
    ensure!(outcome["measured_db"].is_null() && outcome["nominal_db"] == 94.0, "{event:#}");
    Ok(())
}
