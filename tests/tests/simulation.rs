//! The whole chain, simulated from seeds: nothing is lost, and the simulation would notice if it were.

use gridpost_tests::sim::{Plan, Sabotage, Summary, run};

const STEPS: u32 = 1_500;

/// Each thread has its own seeds, so that both of two cores are used.
fn holds(seeds: std::ops::Range<u64>) {
    let mut sum = Summary::default();
    for seed in seeds {
        let again = format!("cargo run -p gridpost-tests --bin sim -- --seed {seed} --steps {STEPS}");
        let ran = run(Plan { seed, steps: STEPS, sabotage: None }).map_err(|failure| failure.to_string());
        assert_eq!(ran.as_ref().err(), None, "{again}");
        sum += ran.unwrap_or_default();
    }
    assert!(sum.minutes > 1_000 && sum.hours > 100 && sum.given_up > 0, "{sum:?}");
}

#[test]
fn nothing_is_lost_whatever_is_killed() {
    holds(0..150);
}

#[test]
fn nothing_is_lost_whatever_is_killed_with_other_seeds() {
    holds(150..300);
}

#[test]
fn a_seed_replays_exactly() {
    let plan = Plan { seed: 7, steps: STEPS, sabotage: None };
    let (one, other) = (run(plan).unwrap(), run(plan).unwrap());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

/// What the simulation must notice, as the beginning of what it says about it.
#[test]
fn whatever_is_broken_on_purpose_is_noticed() {
    for (name, sabotage) in Sabotage::ALL {
        let expected = match sabotage {
            Sabotage::ReuseNonces | Sabotage::AcceptUnauthenticated => "invariant 6",
            Sabotage::OwnerlessEvent => "invariant 2",
            Sabotage::SilentDrop | Sabotage::LoseMinutes => "invariant 4",
            Sabotage::UnboundedWindow => "invariant 5",
            Sabotage::ForgetStates | Sabotage::ForgetSilences | Sabotage::ForgetHours => "invariant 3",
            _ => "invariant 1",
        };
        // What is broken may show elsewhere first: a device that an intruder drove away does not come to rest.
        let found = (0..100).find_map(|seed| {
            let failure = run(Plan { seed, steps: STEPS, sabotage: Some(sabotage) }).err();
            failure.filter(|failure| failure.what.starts_with(expected))
        });
        assert!(found.is_some(), "{name} was not noticed as a breach of {expected}");
    }
}
