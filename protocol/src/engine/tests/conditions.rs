//! Guards, exclusions, percentiles and change, told as stories.

use super::*;

fn prominence(bench: &mut Bench, second: i64, value: i32) {
    bench.reading(second, reading(Quantity::ImpulseProminence, value * 1000));
}

fn with(conditions: &[Condition], rule: Rule) -> Rule {
    Rule { conditions: heapless::Vec::from_slice(conditions).unwrap(), ..rule }
}

fn piling() -> Rule {
    with(&[condition()], Rule { hold_ms: 0, clear_ms: 0, ..heat() })
}

#[test]
fn a_guard_tells_two_sources_of_one_noise_apart() {
    let first = Rule { group: Some(1), ..piling() };
    let other = Rule { group: Some(1), hold_ms: 0, clear_ms: 0, ..heat() };
    let mut bench = Bench::new(&[first, other]);
    bench.temperature(0, 36);
    assert_eq!(bench.heard(), [(1, Phase::Exceeded, 0, 0)], "nobody drives piles");
    assert!(bench.last.unguarded.has(0));
    prominence(&mut bench, 5, 9);
    bench.temperature(10, 36);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0), (1, Phase::Cleared, 1, 0)]);
}

#[test]
fn an_episode_goes_on_while_its_guard_pauses_and_gets_no_worse() {
    let mut bench = Bench::new(&[piling()]);
    prominence(&mut bench, 0, 9);
    bench.temperature(1, 36);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0)]);
    prominence(&mut bench, 10, 0);
    bench.temperature(11, 39);
    assert_eq!(bench.heard(), [], "three degrees more, and no blow");
    prominence(&mut bench, 20, 9);
    bench.temperature(21, 39);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 1, 1)]);
    prominence(&mut bench, 30, 0);
    bench.temperature(31, 30);
    assert_eq!(bench.heard(), [(0, Phase::Cleared, 2, 1)], "that needs no guard");
}

#[test]
fn a_guard_that_is_too_old_is_not_met() {
    let mut bench = Bench::new(&[piling()]);
    prominence(&mut bench, 0, 9);
    bench.temperature(61, 36);
    assert_eq!(bench.heard(), []);
}

#[test]
fn what_is_excluded_decides_nothing_and_is_named_in_the_next_message() {
    let windy = Condition {
        role: Role::Exclusion,
        quantity: Quantity::WindSpeed,
        statistic: Statistic::Max,
        window_ms: 10_000,
        ..condition()
    };
    let mut bench = Bench::new(&[with(&[condition(), windy], Rule { hold_ms: 0, ..heat() })]);
    prominence(&mut bench, 0, 9);
    bench.reading(1, reading(Quantity::WindSpeed, 6_000));
    bench.temperature(2, 36).temperature(9, 36);
    assert!(bench.last.kept_out.has(0) && bench.heard().is_empty());
    bench.temperature(20, 36);
    assert_eq!((bench.said[0].phase, bench.said[0].excluded), (Phase::Exceeded, 0b10));
    bench.temperature(30, 39);
    assert_eq!((bench.said[1].severity, bench.said[1].excluded), (1, 0), "once");
}

#[test]
fn percentiles_and_changes_are_of_the_windows_slots() {
    let of = |statistic, limit: i32, above| Rule {
        statistic,
        window_ms: 20_000,
        limit_day: Milli(limit),
        limit_night: Milli(limit),
        direction: if above { Direction::Above } else { Direction::Below },
        early_warning: None,
        hold_ms: 0,
        group: None,
        ..rule()
    };
    let rules = [
        of(Statistic::L10, 70_000, true),
        of(Statistic::L90, 45_000, true),
        of(Statistic::Change, 25_000, true),
    ];
    let mut bench = Bench::new(&rules);
    for second in 0..20 {
        bench.level(second, if second < 18 { 50 } else { 80 });
    }
    let values: Vec<_> = bench.said.iter().map(|d| (d.rule, d.value.0)).collect();
    assert_eq!(values, [(1, 50_000), (2, 30_000), (0, 80_000)]);
}
