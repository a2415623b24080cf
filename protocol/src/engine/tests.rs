//! What people rely on, told as stories; and the engine held against its slow reference.

use std::vec::Vec;

use proptest::prelude::*;

use super::reference::Reference;
use super::*;
use crate::event::{Cause, Phase};
use crate::quantity::Quantity;
use crate::reading::{Milli, Quality};
use crate::rule::{Direction, SEVERITY_STEPS_MAX};

/// Construction noise by day and night, as in the sample pack.
pub(crate) fn rule() -> Rule {
    Rule {
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 300_000,
        direction: Direction::Above,
        limit_day: Milli(70_000),
        limit_night: Milli(55_000),
        early_warning: Some(Milli(3_000)),
        hold_ms: 60_000,
        clear_ms: 300_000,
        hysteresis: Milli(2_000),
        severity: heapless::Vec::from_slice(&[Milli(5_000), Milli(10_000)]).unwrap(),
        period: PeriodId::ALWAYS,
        group: Some(0),
        min_capture: 50,
        interval_ms: 1000,
        conditions: heapless::Vec::new(),
    }
}

/// The blows of a pile driver in the last minute.
pub(crate) fn condition() -> Condition {
    Condition {
        role: Role::Guard,
        origin: Origin::Device,
        quantity: Quantity::ImpulseProminence,
        statistic: Statistic::Last,
        window_ms: 0,
        direction: Direction::Above,
        limit: Milli(5_000),
        within_ms: 60_000,
    }
}

/// Temperature above 35 degrees, decided on each reading.
fn heat() -> Rule {
    Rule {
        quantity: Quantity::Temperature,
        statistic: Statistic::Last,
        window_ms: 0,
        limit_day: Milli(35_000),
        limit_night: Milli(35_000),
        hold_ms: 20_000,
        clear_ms: 30_000,
        hysteresis: Milli(1_000),
        early_warning: Some(Milli(2_000)),
        severity: heapless::Vec::from_slice(&[Milli(3_000)]).unwrap(),
        group: None,
        interval_ms: 10_000,
        ..rule()
    }
}

/// Day for 50 s, night for 50 s; a third period for 7 s of every 30; nothing known for a while.
struct FastDays;

impl Periods for FastDays {
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool> {
        let day = at.0.rem_euclid(100_000) < 50_000;
        match period {
            _ if at.0.rem_euclid(1_000_000) > 980_000 => None,
            PeriodId::DAY => Some(day),
            PeriodId::NIGHT => Some(!day),
            _ => Some(at.0.rem_euclid(30_000) < 7_000),
        }
    }

    /// It blows at the site for 4 s of every 20.
    fn was_beyond(&self, _: &Condition, at: UnixMillis) -> bool {
        at.0.rem_euclid(20_000) < 4_000
    }
}

fn reading(quantity: Quantity, value: i32) -> Reading {
    Reading { quantity, value: Milli(value), quality: Quality::GOOD }
}

/// An engine and all it has said.
struct Bench {
    engine: BoxedEngine,
    seq: Seq,
    said: Vec<Decision>,
    last: Outcome,
}

impl Bench {
    fn new(rules: &[Rule]) -> Self {
        let engine = BoxedEngine::boxed(rules.into()).unwrap();
        Self { engine, seq: Seq::NONE, said: Vec::new(), last: Outcome::default() }
    }

    fn reading(&mut self, second: i64, reading: Reading) -> &mut Self {
        self.seq = self.seq.next();
        let said = &mut self.said;
        let at = UnixMillis(second * 1000);
        self.last = self.engine.on_reading(self.seq, at, &reading, &FastDays, |decision| said.push(decision));
        self
    }

    fn temperature(&mut self, second: i64, degrees: i32) -> &mut Self {
        self.reading(second, reading(Quantity::Temperature, degrees * 1000))
    }

    fn level(&mut self, second: i64, decibels: i32) -> &mut Self {
        self.reading(second, reading(Quantity::LAeq, decibels * 1000))
    }

    /// What was said since last asked: rule, phase, revision, severity.
    fn heard(&mut self) -> Vec<(u16, Phase, u16, u8)> {
        self.said.drain(..).map(|d| (d.rule, d.phase, d.revision, d.severity)).collect()
    }
}

#[test]
fn an_episode_warns_exceeds_worsens_and_clears() {
    let mut bench = Bench::new(&[heat()]);
    bench.temperature(0, 30).temperature(10, 34);
    assert_eq!(bench.heard(), [(0, Phase::EarlyWarning, 0, 0)]);
    bench.temperature(20, 36).temperature(30, 36);
    assert_eq!(bench.heard(), [], "the hold time runs");
    bench.temperature(40, 36);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 1, 0)]);
    bench.temperature(50, 38).temperature(60, 38);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 2, 1)], "the step is said once");
    bench.temperature(70, 34).temperature(80, 35).temperature(90, 34).temperature(110, 34);
    assert_eq!(bench.heard(), [], "35 is not under the hysteresis: the clear time began anew");
    bench.temperature(120, 33);
    let cleared = bench.said[0];
    assert_eq!((cleared.phase, cleared.cause), (Phase::Cleared, Some(Cause::BelowLimit)));
    assert_eq!((cleared.onset, cleared.from, cleared.peak), (Seq(2), UnixMillis(10_000), Milli(38_000)));
    assert_eq!((cleared.revision, cleared.severity, cleared.value), (3, 1, Milli(33_000)));
}

#[test]
fn a_value_that_stays_near_the_limit_after_an_episode_does_not_warn_again() {
    let mut bench = Bench::new(&[Rule { hold_ms: 0, clear_ms: 0, ..heat() }]);
    bench.temperature(0, 36).temperature(10, 34);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0), (0, Phase::Cleared, 1, 0)]);
    bench.temperature(20, 34).temperature(30, 33).temperature(40, 34);
    assert_eq!(bench.heard(), [], "still within 2 degrees and the hysteresis of 1");
    bench.temperature(50, 32).temperature(60, 34);
    assert_eq!(bench.heard(), [(0, Phase::EarlyWarning, 0, 0)], "it had been far below");
    bench.temperature(70, 36).temperature(80, 34).temperature(90, 36);
    assert_eq!(
        bench.heard(),
        [(0, Phase::Exceeded, 1, 0), (0, Phase::Cleared, 2, 0), (0, Phase::Exceeded, 0, 0)],
        "a new episode is said all the same"
    );
}

#[test]
fn without_a_margin_the_onset_is_the_first_reading_beyond_the_limit() {
    let mut bench = Bench::new(&[Rule { early_warning: None, ..heat() }]);
    bench.temperature(0, 34).temperature(10, 36).temperature(20, 39).temperature(30, 36);
    let exceeded = bench.said[0];
    assert_eq!((exceeded.phase, exceeded.revision), (Phase::Exceeded, 0));
    assert_eq!(
        (exceeded.onset, exceeded.from, exceeded.at),
        (Seq(2), UnixMillis(10_000), UnixMillis(30_000))
    );
    assert_eq!(exceeded.peak, Milli(39_000), "the peak counts from the onset");
}

#[test]
fn a_rule_against_low_values_mirrors_all_of_it() {
    let battery = Rule { direction: Direction::Below, hold_ms: 0, clear_ms: 0, ..heat() };
    let mut bench = Bench::new(&[battery]);
    bench.temperature(0, 38).temperature(10, 36).temperature(20, 34).temperature(30, 31).temperature(40, 36);
    assert_eq!(
        bench.heard(),
        [
            (0, Phase::EarlyWarning, 0, 0),
            (0, Phase::Exceeded, 1, 0),
            (0, Phase::Exceeded, 2, 1),
            (0, Phase::Cleared, 3, 1),
        ]
    );
}

#[test]
fn silence_breaks_a_hold() {
    let mut bench = Bench::new(&[heat()]);
    bench.temperature(0, 36).temperature(600, 36);
    assert_eq!(bench.heard(), [(0, Phase::EarlyWarning, 0, 0)], "nobody knows what was in between");
    bench.temperature(610, 36).temperature(620, 36);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 1, 0)]);
}

#[test]
fn a_window_with_too_few_readings_decides_nothing_and_says_so() {
    let window = Rule { window_ms: 10_000, hold_ms: 0, ..rule() };
    let mut bench = Bench::new(&[window]);
    for second in 0..4 {
        bench.level(second, 90);
        assert!(bench.last.undecided.has(0), "after {second} s");
    }
    bench.level(4, 90);
    assert!(bench.last.undecided.is_empty());
    assert_eq!(bench.said[0].capture_percent, 50);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 2)]);
}

#[test]
fn readings_of_a_faulty_sensor_decide_nothing() {
    let mut bench = Bench::new(&[Rule { hold_ms: 0, ..heat() }]);
    bench.reading(0, Reading { quality: Quality::FAULT, ..reading(Quantity::Temperature, 90_000) });
    assert!(bench.last.excluded && bench.said.is_empty());
}

#[test]
fn the_end_of_the_period_ends_the_episode() {
    let night = Rule { period: PeriodId::NIGHT, early_warning: None, hold_ms: 0, ..heat() };
    let mut bench = Bench::new(&[night]);
    bench.temperature(40, 36).temperature(50, 36);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0)], "night begins at 50 s here");
    bench.temperature(100, 36);
    assert_eq!(bench.said[0].cause, Some(Cause::PeriodEnded));
}

#[test]
fn by_night_the_night_limit_holds() {
    let both = Rule { window_ms: 1000, hold_ms: 0, early_warning: None, ..rule() };
    let mut bench = Bench::new(&[both]);
    bench.level(49, 60).level(50, 60);
    assert_eq!((bench.said[0].limit, bench.said[0].at), (Milli(55_000), UnixMillis(50_000)));
}

#[test]
fn in_a_group_the_first_rule_takes_over() {
    let first =
        Rule { group: Some(7), limit_day: Milli(40_000), limit_night: Milli(40_000), hold_ms: 0, ..heat() };
    let second = Rule { group: Some(7), hold_ms: 0, ..heat() };
    let mut bench = Bench::new(&[first, second]);
    bench.temperature(0, 36);
    assert_eq!(bench.heard(), [(1, Phase::Exceeded, 0, 0)]);
    bench.temperature(10, 41);
    assert_eq!(bench.said[1].cause, Some(Cause::Superseded));
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0), (1, Phase::Cleared, 1, 0)]);
    bench.temperature(20, 36).temperature(50, 36);
    assert_eq!(bench.heard(), [(0, Phase::Cleared, 1, 0), (1, Phase::Exceeded, 0, 0)]);
}

#[test]
fn a_clock_set_back_restarts_windows_and_keeps_the_episode() {
    let mut bench = Bench::new(&[Rule { hold_ms: 0, ..heat() }]);
    bench.temperature(10_000, 36);
    bench.temperature(10_000 - 60, 36);
    assert!(!bench.last.restarted, "late, as far as that goes");
    bench.temperature(10_000 - 61, 36);
    assert!(bench.last.restarted);
    assert_eq!(bench.engine.newest(), Some(UnixMillis(9_939_000)));
    bench.temperature(9_940, 30).temperature(9_950, 30).temperature(9_960, 30).temperature(9_970, 30);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 0), (0, Phase::Cleared, 1, 0)]);
}

#[test]
fn a_clock_far_ahead_heals_with_the_next_true_time() {
    let mut bench = Bench::new(&[rule(), heat()]);
    bench.reading(i64::MAX / 1000, reading(Quantity::Temperature, 20_000));
    bench.temperature(0, 34);
    assert!(bench.last.restarted);
    assert_eq!(bench.heard(), [(1, Phase::EarlyWarning, 0, 0)]);
}

#[test]
fn a_late_reading_enters_its_slot_or_is_counted() {
    let window = Rule { window_ms: 10_000, statistic: Statistic::Max, hold_ms: 0, min_capture: 0, ..rule() };
    let mut bench = Bench::new(&[window]);
    bench.level(100, 50).level(95, 80);
    assert!(!bench.last.late);
    assert_eq!(bench.heard(), [(0, Phase::Exceeded, 0, 2)]);
    bench.level(89, 90);
    assert!(bench.last.late);
}

#[test]
fn a_withdrawn_rule_closes_its_episode() {
    let mut bench = Bench::new(&[Rule { hold_ms: 0, ..heat() }]);
    bench.temperature(0, 36);
    let mut state = bench.engine.states()[0];
    let last = state.withdraw(Cause::RuleWithdrawn, 0, Milli(35_000), UnixMillis(5)).unwrap();
    assert_eq!((last.phase, last.cause, last.revision), (Phase::Cleared, Some(Cause::RuleWithdrawn), 1));
    assert_eq!(state.withdraw(Cause::RuleWithdrawn, 0, Milli(35_000), UnixMillis(5)), None);
}

#[test]
fn rules_with_the_same_window_share_it() {
    let same = Rule { limit_day: Milli(80_000), ..rule() };
    let last = Rule { quantity: Quantity::LAeq, ..heat() };
    assert_eq!(windows_needed(&[last.clone(), rule(), same, heat(), heat()]), 2);
    assert_eq!(windows_needed(&[last, Rule { window_ms: 60_000, ..rule() }, rule()]), 2);
}

#[test]
fn a_node_runs_it_in_arrays() {
    let rules = [rule(), heat()];
    let few = Engine::new(rules.clone(), [Window::EMPTY; 0], [RuleState::default(); 2]);
    assert_eq!(few.err(), Some(EngineError::TooFewWindows { needed: 2 }));
    let engine = Engine::new(rules, [const { Window::EMPTY }; 3], [RuleState::default(); 4]).unwrap();
    assert_eq!(engine.states().len(), 2);
    assert!(size_of::<Window>() <= 1200, "{} bytes a window", size_of::<Window>());
    assert!(size_of::<RuleState>() <= 96, "{} bytes a state", size_of::<RuleState>());
}

#[derive(Clone, Debug)]
struct Fed {
    at: UnixMillis,
    reading: Reading,
}

fn some_condition() -> impl Strategy<Value = Condition> {
    let statistic = prop_oneof![
        Just((Statistic::Last, 0u32)),
        (
            prop_oneof![
                Just(Statistic::Mean),
                Just(Statistic::Max),
                Just(Statistic::Min),
                Just(Statistic::L10),
                Just(Statistic::Change)
            ],
            prop_oneof![Just(1000u32), Just(10_000), Just(61_000)]
        ),
    ];
    let within = prop_oneof![Just(1u32), Just(3_000), 1u32..30_000];
    let kind = (any::<bool>(), 0u8..4, any::<bool>());
    (prop::sample::select(&QUANTITIES), statistic, kind, -5_000i32..5_000, within).prop_map(
        |(quantity, (statistic, window_ms), (guards, at_site, above), limit, within_ms)| {
            let origin = if at_site == 0 { Origin::Site } else { Origin::Device };
            let of_site = origin == Origin::Site;
            Condition {
                role: if guards { Role::Guard } else { Role::Exclusion },
                origin,
                quantity,
                statistic: if of_site { Statistic::Last } else { statistic },
                window_ms: if of_site { 0 } else { window_ms },
                direction: if above { Direction::Above } else { Direction::Below },
                limit: Milli(limit),
                within_ms,
            }
        },
    )
}

const QUANTITIES: [Quantity; 2] = [Quantity::LAeq, Quantity::Temperature];

fn some_rule() -> impl Strategy<Value = Rule> {
    let spans = || prop_oneof![Just(0u32), Just(1000), Just(5000), 0u32..20_000];
    let statistic = prop_oneof![
        Just((Statistic::Last, 0u32)),
        (
            prop_oneof![
                Just(Statistic::Mean),
                Just(Statistic::EnergyMean),
                Just(Statistic::Max),
                Just(Statistic::Min),
                Just(Statistic::L10),
                Just(Statistic::L90),
                Just(Statistic::Change)
            ],
            prop_oneof![Just(1000u32), Just(7500), Just(10_000), Just(61_000), Just(200_000)]
        ),
    ];
    let limits = (-5_000i32..5_000, prop_oneof![Just(0i32), -3_000..3_000]);
    let margins = (proptest::option::of(0i32..4_000), 0i32..3_000, 0i32..2_000, 0usize..=SEVERITY_STEPS_MAX);
    let group = proptest::option::of(0u8..2);
    (prop::sample::select(&QUANTITIES), statistic, any::<bool>(), limits, margins, (spans(), spans()), group)
        .prop_flat_map(|(quantity, (statistic, window_ms), above, limits, margins, spans, group)| {
            let conditions = proptest::collection::vec(some_condition(), 0..3);
            (0u8..5, prop_oneof![Just(0u8), Just(50), 0u8..=100], 1u32..4, conditions).prop_map(
                move |(period, min_capture, interval, conditions)| Rule {
                    quantity,
                    statistic,
                    window_ms,
                    direction: if above { Direction::Above } else { Direction::Below },
                    limit_day: Milli(limits.0),
                    limit_night: Milli(limits.0 + limits.1),
                    early_warning: margins.0.map(Milli),
                    hysteresis: Milli(margins.1),
                    severity: (1..=margins.3 as i32).map(|n| Milli(n * (margins.2 + 1))).collect(),
                    hold_ms: spans.0,
                    clear_ms: spans.1,
                    period: PeriodId(period.saturating_sub(1)),
                    group,
                    min_capture,
                    interval_ms: interval * 1000,
                    conditions: conditions.into_iter().collect(),
                },
            )
        })
}

/// A street's time: mostly a second or two on, sometimes late, sometimes a gap, seldom set back.
fn some_readings(count: usize) -> impl Strategy<Value = Vec<Fed>> {
    let step = prop_oneof![
        20 => 0i64..2_500,
        3 => -8_000i64..0,
        2 => 5_000i64..30_000,
        1 => prop_oneof![Just(-60_000i64), Just(-60_001), Just(400_000), -200_000..-61_000i64],
    ];
    let reading = (prop::sample::select(&QUANTITIES), -9_000i32..9_000, 0u8..12);
    proptest::collection::vec((step, reading), 1..count).prop_map(|steps| {
        let mut at = 1_000_000i64;
        let mut last = 0;
        steps
            .into_iter()
            .map(|(step, (quantity, value, dice))| {
                at += step;
                // Runs of the same value make holds and clears happen.
                let value = if dice % 3 == 0 { value } else { last };
                last = value;
                let quality = if dice == 11 { Quality::FAULT } else { Quality::GOOD };
                Fed { at: UnixMillis(at), reading: Reading { quantity, value: Milli(value), quality } }
            })
            .collect()
    })
}

fn feed(engine: &mut BoxedEngine, seq: usize, fed: &Fed) -> (Vec<Decision>, Outcome) {
    let mut said = Vec::new();
    let outcome = engine.on_reading(Seq(seq as u64 + 1), fed.at, &fed.reading, &FastDays, |d| said.push(d));
    (said, outcome)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_says_what_the_reference_says(
        rules in proptest::collection::vec(some_rule(), 1..6),
        readings in some_readings(120),
    ) {
        let mut engine = BoxedEngine::boxed(rules.clone().into()).unwrap();
        let mut reference = Reference::new(rules);
        for (seq, fed) in readings.iter().enumerate() {
            let (said, outcome) = feed(&mut engine, seq, fed);
            let (expected, undecided) =
                reference.on_reading(Seq(seq as u64 + 1), fed.at, &fed.reading, &FastDays);
            prop_assert_eq!(said, expected, "at reading {}", seq);
            prop_assert_eq!(outcome.undecided.iter().collect::<Vec<_>>(), undecided, "at reading {}", seq);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Stop at every reading; keep only the states, the newest time, and the readings a gateway would have stored.
    #[test]
    fn a_restart_changes_nothing(
        rules in proptest::collection::vec(some_rule(), 1..5),
        readings in some_readings(50),
    ) {
        let mut engine = BoxedEngine::boxed(rules.clone().into()).unwrap();
        let mut stored: Vec<RuleState> = engine.states().to_vec();
        let mut replay_from = 0;
        for (seq, fed) in readings.iter().enumerate() {
            let mut restarted = BoxedEngine::boxed(rules.clone().into()).unwrap();
            let bytes: Vec<_> =
                stored.iter().map(|state| postcard::to_slice(state, &mut [0; 96]).unwrap().to_vec()).collect();
            let states = bytes.iter().zip(&stored).map(|(bytes, stored)| {
                postcard::from_bytes::<RuleState>(bytes).unwrap().with_excluded(stored.excluded())
            });
            restarted.restore(engine.newest(), states.enumerate());
            if let Some(newest) = engine.newest() {
                let oldest = newest.plus(-engine.replay_span_ms());
                for old in readings[replay_from..seq].iter().filter(|old| old.at >= oldest) {
                    restarted.replay(old.at, &old.reading);
                }
            }
            prop_assert_eq!(restarted.newest(), engine.newest());

            let (expected, outcome) = feed(&mut engine, seq, fed);
            prop_assert_eq!(feed(&mut restarted, seq, fed), (expected, outcome));
            prop_assert_eq!(restarted.states(), engine.states());
            // And what is stored is what the outcome says has changed.
            for index in outcome.changed.iter() {
                stored[index] = engine.states()[index];
            }
            prop_assert_eq!(&stored, engine.states());
            if outcome.restarted {
                replay_from = seq;
            }
        }
    }

    #[test]
    fn no_input_makes_it_panic(
        rules in proptest::collection::vec(some_rule(), 1..6),
        readings in proptest::collection::vec(
            (prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0i64..9], any::<i32>(), any::<u8>()),
            1..60,
        ),
    ) {
        let mut engine = BoxedEngine::boxed(rules.into()).unwrap();
        for (seq, (at, value, dice)) in readings.into_iter().enumerate() {
            let reading = Reading {
                quantity: QUANTITIES[usize::from(dice & 1)],
                value: Milli(value),
                quality: if dice > 200 { Quality::CALIBRATION } else { Quality::GOOD },
            };
            feed(&mut engine, seq, &Fed { at: UnixMillis(at), reading });
        }
    }
}

mod conditions {
    //! Guards and exclusions, as stories.
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
}
