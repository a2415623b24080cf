//! The engine once more, slow and obvious: everything is kept, and everything is worked out anew at every reading.

use std::vec::Vec;

use super::{CLOCK_STEP_BACK_MS, Periods, SLOTS, window};
use crate::event::{Cause, Decision, Phase};
use crate::id::Seq;
use crate::quantity::Quantity;
use crate::reading::{Milli, Reading};
use crate::rule::{Condition, Direction, Origin, PeriodId, Role, Rule, Statistic};
use crate::time::UnixMillis;

/// One evaluation of one rule.
#[derive(Clone, Debug)]
struct Evaluation {
    seq: Seq,
    now: UnixMillis,
    value: Milli,
    excess: i64,
    /// The rule could act on it.
    free: bool,
    /// Its guards were met.
    guarded: bool,
    /// The exclusions that were met, when the rule would else have decided.
    excluded: u8,
    /// There were enough readings, in the rule's period.
    enough: bool,
    in_period: bool,
    /// What came before says nothing about this.
    gap_before: bool,
    said: Option<Decision>,
    /// What had excluded the rule before does not count from here on.
    resets: bool,
}

pub(super) struct Reference {
    rules: Vec<Rule>,
    /// All that can still matter: since the clock was last set back.
    readings: Vec<(UnixMillis, Reading)>,
    newest: Option<UnixMillis>,
    evaluations: Vec<Vec<Evaluation>>,
    /// How many evaluations of each rule there were when the clock was last set back.
    stepped: Vec<usize>,
}

impl Reference {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let evaluations = vec![Vec::new(); rules.len()];
        let stepped = vec![0; rules.len()];
        Self { rules, readings: Vec::new(), newest: None, evaluations, stepped }
    }

    /// What is said, and which rules were undecided.
    pub(super) fn on_reading(
        &mut self,
        seq: Seq,
        at: UnixMillis,
        reading: &Reading,
        periods: &impl Periods,
    ) -> (Vec<Decision>, Vec<usize>) {
        if self.newest.is_some_and(|newest| at.0 < newest.0 - CLOCK_STEP_BACK_MS) {
            self.newest = None;
            self.readings.clear();
            self.stepped = self.evaluations.iter().map(Vec::len).collect();
        }
        let now = self.newest.map_or(at, |newest| newest.max(at));
        self.newest = Some(now);
        if !reading.quality.decides() {
            return (Vec::new(), Vec::new());
        }
        let before = self.newest_of(reading.quantity);
        self.readings.push((at, *reading));

        let mut said = Vec::new();
        let mut undecided = Vec::new();
        for index in 0..self.rules.len() {
            let rule = self.rules[index].clone();
            if rule.quantity != reading.quantity {
                continue;
            }
            let Some((value, window_from, capture_percent)) = self.value(&rule, at, now, before) else {
                continue;
            };
            let gap_before = before.is_none_or(|before| now.0 - before.0 > rule.continuity_ms());
            let Some((on, limit)) = in_force(&rule, now, periods) else {
                // Unknown: as good as a gap.
                self.evaluations[index].push(Evaluation {
                    seq,
                    now,
                    value,
                    excess: 0,
                    free: false,
                    guarded: false,
                    excluded: 0,
                    enough: false,
                    in_period: true,
                    gap_before: true,
                    said: None,
                    resets: false,
                });
                undecided.push(index);
                continue;
            };
            let met = |role| {
                let of_role = rule.conditions.iter().enumerate().filter(move |(_, of)| of.role == role);
                of_role.map(|(place, of)| (place, self.is_met(of, now, periods))).collect::<Vec<_>>()
            };
            let guarded = met(Role::Guard).iter().all(|(_, met)| *met);
            let excluded =
                met(Role::Exclusion).iter().map(|(place, met)| u8::from(*met) << place).sum::<u8>();
            let has_enough = capture_percent >= rule.min_capture;
            let enough = has_enough && excluded == 0;
            let blocked = (0..index).any(|other| {
                rule.group.is_some() && self.rules[other].group == rule.group && self.owns(other, now)
            });
            self.evaluations[index].push(Evaluation {
                seq,
                now,
                value,
                excess: rule.excess(value, limit),
                free: on && enough && !blocked,
                guarded,
                excluded: if on && !blocked { excluded } else { 0 },
                enough: enough && on,
                in_period: on,
                gap_before,
                said: None,
                resets: false,
            });
            let decision = self.decide(index, on, blocked).map(|(phase, cause, severity)| {
                let (onset, first, revision) = self.episode(index);
                let peak = self.peak(index, first);
                Decision {
                    rule: index as u16,
                    phase,
                    cause,
                    onset,
                    revision,
                    severity,
                    value,
                    limit,
                    peak,
                    at: now,
                    from: self.evaluations[index][first].now,
                    window_from,
                    capture_percent,
                    excluded: if blocked { 0 } else { self.excluded_before(index) },
                }
            });
            self.evaluations[index].last_mut().unwrap().said = decision;
            let is_quiet = self.open(index).is_none() && self.run(index, raises).is_none();
            self.evaluations[index].last_mut().unwrap().resets =
                !on || blocked || enough && (decision.is_some() || is_quiet);
            said.extend(decision);
            if on && !blocked && !has_enough && excluded == 0 {
                undecided.push(index);
            }
        }
        (said, undecided)
    }

    fn newest_of(&self, quantity: Quantity) -> Option<UnixMillis> {
        self.readings.iter().filter(|(_, old)| old.quantity == quantity).map(|(at, _)| *at).max()
    }

    /// The statistic, from when on, and how many percent of it were there; `None` when this reading has no part in
    /// it.
    fn value(
        &self,
        rule: &Rule,
        at: UnixMillis,
        now: UnixMillis,
        before: Option<UnixMillis>,
    ) -> Option<(Milli, UnixMillis, u8)> {
        if rule.statistic == Statistic::Last {
            let newest = before.is_none_or(|before| at >= before);
            return newest.then(|| (self.readings.last().unwrap().1.value, now, 100));
        }
        let (value, from, count) = self.window(rule.quantity, rule.statistic, rule.window_ms, now)?;
        if at < from {
            return None;
        }
        let expected = (now.0 - from.0) / i64::from(rule.interval_ms) + 1;
        Some((value, from, (100 * count / expected).min(100) as u8))
    }

    /// A window's value, from when on, and of how many readings; `None` when it is empty.
    fn window(
        &self,
        quantity: Quantity,
        statistic: Statistic,
        window_ms: u32,
        now: UnixMillis,
    ) -> Option<(Milli, UnixMillis, i64)> {
        let slot_ms = i64::from(window_ms.div_ceil(SLOTS as u32).max(1000));
        let slots = (i64::from(window_ms) + slot_ms - 1) / slot_ms;
        let from = UnixMillis((now.0.div_euclid(slot_ms) - slots + 1) * slot_ms);
        let within: Vec<(i64, i64)> = self
            .readings
            .iter()
            .filter(|(time, old)| old.quantity == quantity && *time >= from)
            .map(|(time, old)| (time.0.div_euclid(slot_ms), i64::from(old.value.0)))
            .collect();
        if within.is_empty() {
            return None;
        }
        let values: Vec<i64> = within.iter().map(|(_, value)| *value).collect();
        let count = values.len() as i64;
        // The mean of each slot, in the order of time.
        let mut slots: std::collections::BTreeMap<i64, Vec<i64>> = std::collections::BTreeMap::new();
        for (slot, value) in within {
            slots.entry(slot).or_default().push(value);
        }
        let mean =
            |values: &Vec<i64>| (values.iter().sum::<i64>() as f64 / values.len() as f64).round() as i64;
        let means: Vec<i64> = slots.values().map(mean).collect();
        let value = match statistic {
            Statistic::Change => means[means.len() - 1] - means[0],
            Statistic::L5 | Statistic::L10 | Statistic::L50 | Statistic::L90 | Statistic::L95 => {
                let percent = usize::from(statistic.exceeded_percent().unwrap());
                // The greatest value that enough slots reach.
                let reached = |level: i64| means.iter().filter(|mean| **mean >= level).count();
                let enough = |level: &i64| 100 * reached(*level) >= percent * means.len();
                means.iter().copied().filter(enough).max().unwrap()
            }
            Statistic::Max => *values.iter().max().unwrap(),
            Statistic::Min => *values.iter().min().unwrap(),
            Statistic::Mean => {
                let mean = values.iter().sum::<i64>() as f64 / count as f64;
                mean.round() as i64
            }
            Statistic::EnergyMean => {
                let energies: i64 = values.iter().map(|v| window::energy_of(Milli(*v as i32))).sum();
                let level = 10.0 * libm::log10(energies as f64 / (64.0 * count as f64));
                (level * 1000.0).round() as i64
            }
            Statistic::Last => unreachable!("handled by the callers"),
        };
        Some((Milli(value as i32), from, count))
    }

    fn is_met(&self, of: &Condition, now: UnixMillis, periods: &impl Periods) -> bool {
        if of.origin == Origin::Site {
            return periods.was_beyond(of, now);
        }
        let Some(newest) = self.newest_of(of.quantity) else { return false };
        let value = match of.statistic {
            // The last of the newest.
            Statistic::Last => self
                .readings
                .iter()
                .rfind(|(at, old)| old.quantity == of.quantity && *at == newest)
                .map(|(_, old)| old.value),
            statistic => self.window(of.quantity, statistic, of.window_ms, now).map(|(value, ..)| value),
        };
        now.0 - newest.0 <= i64::from(of.within_ms) && value.is_some_and(|value| of.is_beyond(value))
    }

    /// The exclusions since the last message, or since the rule was last quiet; the last evaluation is the one that speaks.
    fn excluded_before(&self, index: usize) -> u8 {
        let evaluations = &self.evaluations[index];
        let (current, before) = evaluations.split_last().unwrap();
        let mut excluded = current.excluded;
        for evaluation in before.iter().rev().take_while(|before| !before.resets) {
            excluded |= evaluation.excluded;
        }
        excluded
    }

    /// Whether this rule has its group: an open episode, or a value beyond its first threshold, lately.
    fn owns(&self, index: usize, now: UnixMillis) -> bool {
        let rule = &self.rules[index];
        let margin = rule.early_warning.map_or(0, |margin| i64::from(margin.0));
        let lately = |last: &Evaluation| {
            self.newest_of(rule.quantity).is_some_and(|at| now.0 - at.0 <= rule.continuity_ms())
                && last.enough
                && last.guarded
                && last.excess > -margin
        };
        // What was seen before the clock was set back says nothing about now.
        let since_step = &self.evaluations[index][self.stepped[index]..];
        self.open(index).is_some() || since_step.last().is_some_and(lately)
    }

    /// The last message, if it left an episode open.
    fn open(&self, index: usize) -> Option<Decision> {
        self.evaluations[index].iter().rev().find_map(|e| e.said).filter(|last| last.phase != Phase::Cleared)
    }

    /// Where the run of free, unbroken evaluations with this property, up to now, began.
    fn run(&self, index: usize, holds: impl Fn(&Evaluation) -> bool) -> Option<usize> {
        let evaluations = &self.evaluations[index];
        let mut first = None;
        for (place, evaluation) in evaluations.iter().enumerate().skip(self.stepped[index]).rev() {
            if !evaluation.free || !holds(evaluation) {
                break;
            }
            first = Some(place);
            if evaluation.gap_before {
                break;
            }
        }
        first
    }

    fn lasted(&self, index: usize, ms: u32, holds: impl Fn(&Evaluation) -> bool) -> bool {
        let evaluations = &self.evaluations[index];
        self.run(index, holds).is_some_and(|first| {
            evaluations.last().unwrap().now.0 - evaluations[first].now.0 >= i64::from(ms)
        })
    }

    fn decide(&self, index: usize, on: bool, blocked: bool) -> Option<(Phase, Option<Cause>, u8)> {
        let rule = &self.rules[index];
        let current = self.evaluations[index].last().unwrap();
        let open = self.open(index);
        let over = |cause| open.map(|last| (Phase::Cleared, Some(cause), last.severity));
        if !on {
            return over(Cause::PeriodEnded);
        }
        if blocked {
            return over(Cause::Superseded);
        }
        if !current.enough {
            return None;
        }
        let margin = rule.early_warning.map_or(0, |margin| i64::from(margin.0));
        let hysteresis = i64::from(rule.hysteresis.0);
        let severity = rule.severity_of(current.excess);
        let exceeded = open.is_some_and(|last| last.phase == Phase::Exceeded);
        if exceeded {
            if current.guarded && open.is_some_and(|last| severity > last.severity) {
                return Some((Phase::Exceeded, None, severity));
            }
        } else if self.lasted(index, rule.hold_ms, raises) {
            return Some((Phase::Exceeded, None, severity));
        } else if open.is_none() {
            let warns = rule.early_warning.is_some()
                && current.guarded
                && current.excess > -margin
                && !self.muted(index);
            return warns.then_some((Phase::EarlyWarning, None, 0));
        }
        let within = if exceeded { -hysteresis } else { -margin - hysteresis };
        if self.lasted(index, rule.clear_ms, |e| e.excess <= within) {
            return over(Cause::BelowLimit);
        }
        None
    }

    /// Whether the value has been near the limit ever since an exceeded episode ended.
    fn muted(&self, index: usize) -> bool {
        let rule = &self.rules[index];
        let far = -rule.early_warning.map_or(0, |m| i64::from(m.0)) - i64::from(rule.hysteresis.0);
        let evaluations = &self.evaluations[index];
        let Some(ended) =
            evaluations.iter().rposition(|e| e.said.is_some_and(|said| said.phase == Phase::Cleared))
        else {
            return false;
        };
        // An episode that was never exceeded mutes nothing, and leaves what muted before it as it was.
        let onset = evaluations[ended].said.unwrap().onset;
        let was_exceeded = evaluations
            .iter()
            .any(|e| e.said.is_some_and(|said| said.onset == onset && said.phase == Phase::Exceeded));
        was_exceeded && evaluations[ended..].iter().all(|e| e.in_period && !(e.enough && e.excess <= far))
    }

    /// The onset, its place, and the number of the next message, of the open episode or the one that begins now.
    fn episode(&self, index: usize) -> (Seq, usize, u16) {
        let evaluations = &self.evaluations[index];
        if let Some(open) = self.open(index) {
            let first = evaluations.iter().position(|e| e.seq == open.onset).unwrap();
            return (open.onset, first, open.revision + 1);
        }
        let first = self.run(index, raises).unwrap_or(evaluations.len() - 1);
        (evaluations[first].seq, first, 0)
    }

    fn peak(&self, index: usize, first: usize) -> Milli {
        let values = self.evaluations[index][first..].iter().filter(|e| e.free).map(|e| e.value);
        match self.rules[index].direction {
            Direction::Above => values.max().unwrap(),
            Direction::Below => values.min().unwrap(),
        }
    }
}

/// Whether an evaluation counts towards an exceeding.
fn raises(evaluation: &Evaluation) -> bool {
    evaluation.guarded && evaluation.excess > 0
}

/// Whether the rule's period is on, and the limit; `None` where one of the two is not known.
fn in_force(rule: &Rule, now: UnixMillis, periods: &impl Periods) -> Option<(bool, Milli)> {
    let on = if rule.period == PeriodId::ALWAYS { true } else { periods.is_active(rule.period, now)? };
    let day = match rule.period {
        PeriodId::DAY => true,
        PeriodId::NIGHT => false,
        _ if rule.limit_day == rule.limit_night => true,
        _ => periods.is_active(PeriodId::DAY, now)?,
    };
    Some((on, if day { rule.limit_day } else { rule.limit_night }))
}
