use proptest::prelude::*;

use super::*;

const RAISED_MS: i64 = 1_000_000;
const REOPEN_MS: i64 = 600;

fn raised() -> Case {
    Case {
        id: "e".to_owned(),
        department: "housing".to_owned(),
        rule: "r".to_owned(),
        episode: "e".to_owned(),
        previous: None,
        state: State::Raised,
        state_ms: RAISED_MS,
        until_ms: i64::MIN,
        number: None,
        reclassified: None,
        rejected: false,
    }
}

fn change(state: State, at_ms: i64) -> Change {
    let matter = (state == State::Reclassified).then(|| format!("M{at_ms}"));
    Change { state, at_ms, number: None, matter }
}

#[test]
fn a_case_takes_what_comes_from_its_filing_until_some_time_after_its_closing() {
    let mut case = raised();
    assert!(!case.takes(RAISED_MS + 1), "nobody has filed it");
    assert!(case.apply(&change(State::Filed, RAISED_MS + 10), REOPEN_MS));
    assert!(case.takes(i64::MAX - 1));
    assert!(case.apply(&change(State::Closed, RAISED_MS + 20), REOPEN_MS));
    assert!(case.takes(RAISED_MS + 20 + REOPEN_MS - 1) && !case.takes(RAISED_MS + 20 + REOPEN_MS));
    assert!(!case.apply(&change(State::Dispatched, RAISED_MS + 15), REOPEN_MS), "older news");
    assert_eq!(case.state, State::Closed);
}

#[test]
fn the_platforms_clock_may_be_behind_the_devices() {
    let mut case = raised();
    assert!(case.apply(&change(State::Filed, RAISED_MS - 5_000), REOPEN_MS));
    assert_eq!(case.state, State::Filed);
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let one = (1..State::ALL.len(), 0..20_i64, any::<bool>()).prop_map(|(state, after, numbered)| Change {
        // One platform gives a case one number.
        number: numbered.then(|| "2026-1".to_owned()),
        ..change(State::ALL[state], RAISED_MS + after)
    });
    prop::collection::vec(one, 1..8)
}

proptest! {
    #[test]
    fn order_and_repetition_of_dispositions_do_not_matter(
        (changes, shuffled) in changes().prop_flat_map(|changes| {
            let doubled: Vec<_> = changes.iter().chain(&changes).cloned().collect();
            (Just(changes), Just(doubled).prop_shuffle())
        })
    ) {
        let (mut in_order, mut otherwise) = (raised(), raised());
        for change in &changes {
            in_order.apply(change, REOPEN_MS);
        }
        for change in &shuffled {
            otherwise.apply(change, REOPEN_MS);
        }
        prop_assert_eq!(in_order, otherwise);
    }
}
