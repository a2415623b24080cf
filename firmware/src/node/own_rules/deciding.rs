//! What a node decides, tells and keeps.

use std::vec::Vec;

use gridpost_protocol::engine::{BoxedEngine, NoPeriods};
use gridpost_protocol::event::Decision;
use gridpost_protocol::message::Fetch;
use gridpost_protocol::summary::SUMMARY_MS;

use super::*;

/// All of a decision but what is counted in records, which are others on a node than on a gateway.
fn said(rule: &str, decision: &Decision) -> std::string::String {
    let Decision {
        phase,
        cause,
        revision,
        severity,
        value,
        limit,
        peak,
        at,
        from,
        window_from,
        capture_percent,
        ..
    } = *decision;
    std::format!(
        "{rule} {phase} {cause:?} {revision} {severity} {value} {limit} {peak} {at:?} {from:?} {window_from:?} {capture_percent}"
    )
}

/// A street with works on it: quiet, loud, very loud, missing seconds.
fn street(seconds: u64) -> Vec<(u64, Reading)> {
    let mut random = 0x2545_f491_u32;
    let mut next = |n: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % n
    };
    let (mut base, mut warmth, mut out) = (50_000, 30_000, Vec::new());
    for second in 1..=seconds {
        if next(90) == 0 {
            base = [48_000, 66_000, 69_000, 73_000, 82_000][next(5) as usize];
        }
        if next(40) != 0 {
            out.push((second, level(base + next(4_000) as i32)));
        }
        if next(30) == 0 {
            warmth = [30_000, 33_500, 36_000][next(3) as usize];
        }
        out.push((second, degrees(warmth + next(2_000) as i32)));
    }
    out
}

/// What a gateway's engine says about these readings.
fn by_gateway(
    rules: &[(&str, Rule)],
    readings: impl Iterator<Item = (UnixMillis, Reading)>,
) -> Vec<std::string::String> {
    let mut engine = BoxedEngine::boxed(rules.iter().map(|(_, rule)| rule.clone()).collect()).unwrap();
    let mut all = Vec::new();
    for (number, (at, reading)) in readings.enumerate() {
        engine.on_reading(Seq(number as u64 + 1), at, &reading, &NoPeriods, |decision| {
            all.push(said(rules[usize::from(decision.rule)].0, &decision));
        });
    }
    all
}

#[test]
fn a_node_says_what_its_gateway_would_have_said() {
    let rules = [("noise", noise()), ("heat", heat())];
    let mut bench = Bench::new(&rules);
    let node = node_on(blank_flash(32, 16), 16).unwrap();
    bench.talk(&node, 0);
    let street = street(3_000);
    for (second, reading) in &street {
        assert!(observe(&node, *second, reading));
        if second % 61 == 0 {
            bench.talk(&node, second * 1000);
        }
    }
    bench.talk(&node, 3_001_000);
    let told: Vec<_> =
        bench.episodes().map(|(kept, told)| said(told.rule, &told.decision(kept.at()))).collect();
    let times = |(second, reading): &(u64, Reading)| (UnixMillis(EPOCH + *second as i64 * 1000), *reading);
    let expected = by_gateway(&rules, street.iter().map(times));
    assert!(expected.len() > 60, "something happened: {}", expected.len());
    assert_eq!(told, expected);
    assert_eq!(bench.readings(), 0, "no sample is sent");

    // What the ring has gives the same once more. Seconds are fetched by the hour.
    let mut seconds = Vec::new();
    for quantity in [Quantity::LAeq, Quantity::Temperature] {
        let mut from = UnixMillis(0);
        loop {
            let before = bench.kept.len();
            let until = UnixMillis(i64::MAX);
            let mut frame = bench.session.fetch(&Fetch { quantity, from, until }).unwrap();
            block_on(node.receive(UptimeMillis(3_002_000), &mut frame));
            bench.talk(&node, 3_002_000);
            if bench.kept.len() == before {
                break;
            }
            for kept in &bench.kept[before..] {
                let Record::Series(series) = kept.record() else { panic!("{:?}", kept.record()) };
                for (at, reading) in series.readings(kept.at()) {
                    seconds.push((at, quantity != Quantity::LAeq, reading));
                    from = at.plus(1);
                }
            }
        }
    }
    seconds.sort_by_key(|(at, order, _)| (*at, *order));
    let fetched: Vec<_> = seconds.iter().map(|(at, _, reading)| (*at, *reading)).collect();
    assert_eq!(fetched, street.iter().map(times).collect::<Vec<_>>(), "every second, to the last digit");
}

/// Rules with all that a node can run, from a seed.
fn some_rules(seed: u32) -> Vec<(&'static str, Rule)> {
    use gridpost_protocol::rule::{Condition, Origin, Role};
    let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = |n: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % n
    };
    let windows = [
        (Statistic::Last, 0),
        (Statistic::EnergyMean, 30_000),
        (Statistic::Max, 10_000),
        (Statistic::L10, 60_000),
        (Statistic::L90, 60_000),
        (Statistic::Change, 20_000),
    ];
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut rules = Vec::new();
    for name in names.into_iter().take(2 + next(5) as usize) {
        let (statistic, window_ms) = windows[next(6) as usize];
        let limit = if statistic == Statistic::Change { next(9_000) } else { 60_000 + next(20_000) };
        let mut rule = Rule { statistic, window_ms, hold_ms: next(3) * 5_000, ..noise() };
        (rule.limit_day, rule.limit_night) = (Milli(limit as i32), Milli(limit as i32));
        rule.group = (next(2) == 0).then_some(1);
        for _ in 0..next(3) {
            let (statistic, window_ms) = [(Statistic::Last, 0), (Statistic::Max, 10_000)][next(2) as usize];
            let condition = Condition {
                role: if next(3) == 0 { Role::Exclusion } else { Role::Guard },
                origin: Origin::Device,
                quantity: Quantity::Temperature,
                statistic,
                window_ms,
                direction: Direction::Above,
                limit: Milli(30_000 + next(8_000) as i32),
                within_ms: 1 + next(20_000),
            };
            let _ = rule.conditions.push(condition);
        }
        rules.push((name, rule));
    }
    rules
}

#[test]
fn whatever_rules_a_node_can_run_it_says_what_its_gateway_would_have_said() {
    let (mut ran, mut decisions) = (0, 0);
    for seed in 0..60 {
        let rules = some_rules(seed);
        if share(&rules).check().is_err() {
            // More windows than a node has: its gateway decides.
            continue;
        }
        let mut bench = Bench::new(&rules);
        let node = node_on(blank_flash(32, 0), 0).unwrap();
        bench.talk(&node, 0);
        let street = street(400);
        for (second, reading) in &street {
            assert!(observe(&node, *second, reading));
            if second % 61 == 0 {
                bench.talk(&node, second * 1000);
            }
        }
        bench.talk(&node, 401_000);
        let told: Vec<_> =
            bench.episodes().map(|(kept, told)| said(told.rule, &told.decision(kept.at()))).collect();
        let times =
            |(second, reading): &(u64, Reading)| (UnixMillis(EPOCH + *second as i64 * 1000), *reading);
        assert_eq!(told, by_gateway(&rules, street.iter().map(times)), "seed {seed}: {rules:?}");
        ran += 1;
        decisions += told.len();
    }
    assert!(ran > 20 && decisions > 100, "{ran} {decisions}");
}

#[test]
fn minutes_are_told_where_nothing_happens() {
    let mut bench = Bench::new(&[("noise", noise())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    for second in 1..=600 {
        assert!(observe(&node, second, &level(50_000)));
    }
    bench.talk(&node, 601_000);
    let minutes: Vec<_> = bench
        .kept
        .iter()
        .filter_map(|kept| match kept.record() {
            Record::Summary(summary) => Some((kept.at(), summary.values[0].value.0, summary.values[0].count)),
            _ => None,
        })
        .collect();
    assert!(minutes.iter().all(|(at, value, _)| at.0 % SUMMARY_MS == 0 && *value == 50_000));
    assert_eq!(minutes.iter().filter(|(.., count)| *count == 60).count(), 9, "{minutes:?}");
    assert_eq!(bench.kept.len(), minutes.len() + 1, "and nothing else but that it decides");
}

#[test]
fn an_exceeding_comes_with_how_it_began_and_what_else_was_measured() {
    let mut bench = Bench::new(&[("noise", noise())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    for second in 1..=200 {
        let peak = Reading { quantity: Quantity::LCpeak, ..level(101_000) };
        observe(&node, second, &peak);
        observe(&node, second, &level(if second < 100 { 50_000 } else { 85_000 }));
    }
    bench.talk(&node, 201_000);
    let exceeded = bench.episodes().find(|(_, told)| told.phase == Phase::Exceeded).unwrap();
    let (kept, told) = exceeded;
    assert_eq!(told.features[0].quantity, Quantity::LCpeak);
    assert_eq!(told.features[0].value, Milli(101_000));
    let profile = told.profile.unwrap();
    let began = kept.at().plus(-i64::from(profile.begins_before_ms));
    let onset = kept.at().plus(-(told.began_before_ms as i64));
    let steps = onset.since(began) / 1000;
    assert_eq!(steps, 10, "ten seconds before the onset");
    let levels = &profile.half_decibels;
    assert_eq!((levels[0], levels[levels.len() - 1]), (100, 170), "{levels:?}");
}
