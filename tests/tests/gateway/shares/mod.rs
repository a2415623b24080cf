//! Who decides, node or gateway: rules are handed over, changed and taken back under way, with the real node and the real gateway's
//! committer, and the platform sees every episode end under the department under which it began.

mod bench;
mod calibrations;

use anyhow::{Result, ensure};
use bench::{Bench, PACK_OF_DEVICE, PACK_OF_GATEWAY};

/// Hot enough for the heat rule, and not at all.
const HOT: i32 = 38_000;
const MILD: i32 = 20_000;

#[test]
fn a_gateways_episode_ends_when_the_device_takes_over_and_back() -> Result<()> {
    let mut bench = Bench::new(&PACK_OF_GATEWAY)?;
    bench.live(5, HOT)?;
    bench.restart_gateway(&PACK_OF_DEVICE)?;
    bench.live(5, HOT)?;
    bench.restart_gateway(&PACK_OF_GATEWAY)?;
    bench.live(5, HOT)?;
    bench.live(70, MILD)?;
    let said = bench.said()?;
    // The gateway's, the device's, and the gateway's again: each begins and ends.
    let expected = [
        ("exceeded", "-", false),
        ("cleared", "handed-over", false),
        ("exceeded", "-", true),
        ("cleared", "handed-over", true),
        ("exceeded", "-", false),
        ("cleared", "below-limit", false),
    ];
    ensure!(said.iter().map(|e| (e.phase.as_str(), e.cause.as_str(), e.by_device)).eq(expected), "{said:#?}");
    for pair in said.chunks(2) {
        ensure!(pair[0].episode == pair[1].episode && pair[1].revision == pair[0].revision + 1, "{pair:#?}");
    }
    Ok(())
}

#[test]
fn a_rule_that_is_withdrawn_while_the_device_is_away_ends_under_its_own_matter() -> Result<()> {
    let mut bench = Bench::new(&PACK_OF_DEVICE)?;
    bench.live(5, HOT)?;
    bench.measure(5, HOT)?;
    bench.restart_gateway(&bench::without_the_rule())?;
    ensure!(bench.said()?.len() == 1, "the device is still there: it ends its episode itself");
    bench.live(5, HOT)?;
    let said = bench.said()?;
    let expected = [("exceeded", "-"), ("cleared", "rule-withdrawn")];
    ensure!(said.iter().map(|e| (e.phase.as_str(), e.cause.as_str())).eq(expected), "{said:#?}");
    ensure!(said[0].matter == said[1].matter && said[0].department == said[1].department, "{said:#?}");
    ensure!(said[0].episode == said[1].episode, "{said:#?}");
    Ok(())
}

#[test]
fn the_episode_of_a_device_that_is_taken_away_ends() -> Result<()> {
    let mut bench = Bench::new(&PACK_OF_DEVICE)?;
    bench.live(5, HOT)?;
    bench.restart_gateway(&bench::without_the_device())?;
    let said = bench.said()?;
    let expected = [("exceeded", "-", 0), ("cleared", "rule-withdrawn", 1)];
    ensure!(said.iter().map(|e| (e.phase.as_str(), e.cause.as_str(), e.revision)).eq(expected), "{said:#?}");
    Ok(())
}

#[test]
fn what_a_device_decided_by_a_rule_that_nobody_knows_any_more_is_reported_as_lost() -> Result<()> {
    let mut bench = Bench::new(&PACK_OF_DEVICE)?;
    bench.live(2, MILD)?;
    // Decided while the gateway is away, which comes back with another pack.
    bench.measure(5, HOT)?;
    bench.restart_gateway(&bench::without_the_rule())?;
    bench.live(5, MILD)?;
    let said = bench.said()?;
    ensure!(said[0].phase == "gap" && said[0].matter == "0901006", "{said:#?}");
    ensure!(said.iter().skip(1).all(|e| e.phase == "gap"), "{said:#?}");
    Ok(())
}

#[test]
fn gateway_and_device_may_be_killed_at_any_time() -> Result<()> {
    let mut bench = Bench::new(&PACK_OF_DEVICE)?;
    for round in 0..40 {
        bench.live(3 + round % 5, HOT)?;
        if round % 3 == 0 {
            bench.restart_node()?;
        }
        if round % 4 == 1 {
            bench.restart_gateway(&PACK_OF_DEVICE)?;
        }
        bench.measure(round % 7, HOT)?;
        bench.live(65, MILD)?;
    }
    let said = bench.said()?;
    ensure!(said.len() >= 80, "{}", said.len());
    let mut ids = std::collections::BTreeSet::new();
    for pair in said.chunks(2) {
        let phases = (pair[0].phase.as_str(), pair[1].phase.as_str());
        ensure!(phases == ("exceeded", "cleared") && pair[0].episode == pair[1].episode, "{pair:#?}");
        ensure!(ids.insert(&pair[0].episode), "an id twice: {pair:#?}");
    }
    Ok(())
}
