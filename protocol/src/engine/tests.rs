//! What people rely on, told as stories.

mod conditions;
mod random;

use std::vec::Vec;

use super::*;
use crate::event::{Cause, Phase};
use crate::quantity::Quantity;
use crate::reading::{Milli, Quality};
use crate::rule::{Direction, PeriodId, SEVERITY_STEPS_MAX};

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
