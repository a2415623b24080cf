//! Random rules and readings: the engine against its slow reference, stopped anywhere, and given anything.

use std::vec::Vec;

use proptest::prelude::*;

use super::super::reference::Reference;
use super::*;

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
