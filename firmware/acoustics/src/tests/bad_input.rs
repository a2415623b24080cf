//! Every kind of bad input has its result.

use super::*;
use crate::{
    CHUNK,
    bands::Octaves,
    clock::{LIMIT_PPM, Rate, RateCheck},
    level,
};

#[test]
fn silence_reads_the_lowest_level() {
    let heard = hear(&[0.0; 96_000]);
    heard.assert_sane();
    assert!((heard.seconds[1].laeq() - level::LOWEST).abs() < f32::EPSILON);
    assert!(heard.flags().contains(Flags::STUCK | Flags::UNDER_RANGE));
}

#[test]
fn a_dead_microphone_is_noticed_at_any_level() {
    let heard = hear(&[0.25; 96_000]);
    heard.assert_sane();
    assert!(heard.seconds[1].flags.contains(Flags::STUCK | Flags::DC_OFFSET));
    // A quiet one is not dead.
    let heard = hear(&noise(3, 1e-4, 2.0));
    assert!(!heard.flags().contains(Flags::STUCK));
}

#[test]
fn an_offset_is_removed_and_told() {
    let mut samples = sine(1000.0, 0.01, 8.0);
    let clean = hear(&samples);
    samples.iter_mut().for_each(|sample| *sample += 0.3);
    let heard = hear(&samples);
    let (heard, clean) = (heard.seconds[7], clean.seconds[7]);
    assert!(heard.flags.contains(Flags::DC_OFFSET) && !clean.flags.contains(Flags::DC_OFFSET));
    assert!((heard.dc - 0.3).abs() < 1e-3, "{}", heard.dc);
    for (with, without) in
        [(heard.laeq(), clean.laeq()), (heard.lceq(), clean.lceq()), (heard.lzeq(), clean.lzeq())]
    {
        assert!((with - without).abs() < 0.02, "{with} {without}");
    }
}

#[test]
fn a_low_tone_is_no_offset() {
    assert!(!hear(&sine(10.0, 0.5, 4.0)).flags().contains(Flags::DC_OFFSET));
}

#[test]
fn overload_and_clipping_are_latched() {
    let mut samples = sine(1000.0, 0.5, 3.0);
    samples[30_000] = 0.97;
    let heard = hear(&samples);
    assert!(
        heard.seconds[0].flags.contains(Flags::OVERLOAD) && !heard.seconds[0].flags.contains(Flags::CLIPPED)
    );
    assert!(!heard.seconds[1].flags.contains(Flags::OVERLOAD));
    let mut window = Interval::default();
    heard.seconds.iter().for_each(|second| window.merge(second));
    assert!(window.flags.contains(Flags::OVERLOAD), "latched for the window");
    assert!(!window.flags.contains(Flags::UNDER_RANGE));

    let mut clipped = Heard::default();
    meter().process_i16(&[i16::MIN; 48_000], &mut clipped);
    assert!(clipped.flags().contains(Flags::OVERLOAD | Flags::CLIPPED));
    clipped.assert_sane();
}

#[test]
fn what_is_cut_off_is_told_whatever_the_range() {
    let mut cut = sine(1000.0, 1.2, 1.0);
    cut.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
    for upper in [0.5, 0.9999, 1.0, 2.0, f32::NAN] {
        let mut heard = Heard::default();
        Meter::new(one_pascal(), Range { upper, ..Range::default() }).process_f32(&cut, &mut heard);
        assert!(heard.flags().contains(Flags::OVERLOAD | Flags::CLIPPED), "{upper}");
    }
}

#[test]
fn what_is_not_finite_does_no_harm() {
    let good = sine(1000.0, 0.5, 4.0);
    let mut bad = good.clone();
    for (index, sample) in [(50_000, f32::NAN), (50_001, f32::INFINITY), (60_000, f32::NEG_INFINITY)] {
        bad[index] = sample;
    }
    let (heard, good) = (hear(&bad), hear(&good));
    heard.assert_sane();
    assert_eq!(heard.seconds[0], good.seconds[0]);
    assert!(heard.seconds[1].flags.contains(Flags::NOT_FINITE));
    assert!(!heard.seconds[2].flags.contains(Flags::NOT_FINITE));
    assert!((heard.seconds[3].laeq() - good.seconds[3].laeq()).abs() < 1e-3, "the filters are unharmed");
    hear(&[f32::NAN; 48_000]).assert_sane();
    // Huge but finite: held, told, survived.
    let mut huge = sine(1000.0, 0.5, 8.0);
    huge[10] = f32::MAX;
    huge[11] = -1e30;
    let heard = hear(&huge);
    heard.assert_sane();
    assert!(heard.seconds[0].flags.contains(Flags::OVERLOAD | Flags::CLIPPED));
    assert!((heard.seconds[7].laeq() - good.seconds[3].laeq()).abs() < 1e-3);
}

#[test]
fn a_gap_is_left_out_and_time_goes_on() {
    let samples = sine(1000.0, 0.5, 6.0);
    for lost in [1u32, 15, 16, 17, 480, 1234, 48_000, 200_000] {
        let (mut meter, mut heard) = (meter(), Heard::default());
        meter.process_f32(&samples[..100_003], &mut heard);
        meter.gap(lost, &mut heard);
        assert_eq!(meter.position(), 100_003 + u64::from(lost));
        let before = heard.seconds.len();
        meter.process_f32(&samples[100_003..], &mut heard);
        heard.assert_sane();
        assert!(heard.seconds[2].flags.contains(Flags::GAP), "{lost}");
        let total: u64 = heard.seconds.iter().map(|second| second.samples + second.missing).sum();
        assert_eq!(total, heard.seconds.len() as u64 * 48_000);
        let starts: Vec<u64> = heard.seconds.iter().map(|second| second.start).collect();
        assert!(starts.iter().enumerate().all(|(n, start)| *start == n as u64 * 48_000), "{starts:?}");
        let missing: u64 = heard.seconds.iter().map(|second| second.missing).sum();
        assert!(missing.abs_diff(u64::from(lost)) < CHUNK as u64);
        let last = heard.seconds.last().unwrap();
        assert!(heard.seconds.len() > before && (last.laeq() - 84.949).abs() < 0.02, "{}", last.laeq());
    }
}

#[test]
fn where_nothing_was_heard_nothing_is_told() {
    let twenty_pascal = Sensitivity::from_pascals(20.0).unwrap();
    let (mut meter, mut heard) = (Meter::new(twenty_pascal, Range::default()), Heard::default());
    meter.process_f32(&sine(1000.0, 0.5, 2.0), &mut heard);
    meter.gap(96_000 + 4800, &mut heard);
    let missing: Vec<&Interval> = heard.ticks.iter().filter(|tick| tick.samples == 0).collect();
    assert_eq!(missing.len(), 10);
    for interval in missing.into_iter().chain(&heard.seconds[2..]) {
        for level in [interval.laf(), interval.las(), interval.lafmin(), interval.lafmax(), interval.laeq()] {
            assert!((level - level::LOWEST).abs() < f32::EPSILON, "{interval:?}");
        }
    }
    // Nor does it lower the second of which it is a part: F goes on from where it was.
    let before = heard.seconds[1].lafmin();
    meter.process_f32(&sine(1000.0, 0.5, 1.0), &mut heard);
    let lowest = heard.seconds[4].lafmin();
    assert!((lowest - before).abs() < 0.1, "{lowest} {before}");
}

#[test]
fn a_gap_of_a_day_costs_a_call_a_second() {
    let (mut meter, mut calls) = (meter(), 0);
    meter.gap(u32::MAX, &mut |second: &Interval| {
        calls += 1;
        assert!(second.samples == 0 && second.flags.contains(Flags::GAP));
    });
    assert_eq!(calls, u32::MAX / 48_000);
}

#[test]
fn under_range_is_of_the_mean() {
    let told = |amplitude| hear(&sine(1000.0, amplitude, 3.0)).seconds[2].flags.contains(Flags::UNDER_RANGE);
    // 26.5 and 23 dB.
    assert!(!told(6e-4) && told(4e-4));
    let silent = hear(&noise(5, 1e-5, 3.0));
    assert!(silent.seconds[2].flags.contains(Flags::UNDER_RANGE));
}

#[test]
fn a_gap_does_not_say_that_a_window_is_in_range() {
    let (mut meter, mut heard) = (meter(), Heard::default());
    meter.process_f32(&noise(5, 1e-5, 2.0), &mut heard);
    meter.gap(96_000, &mut heard);
    meter.process_f32(&noise(5, 1e-5, 1.0), &mut heard);
    for from in 0..=4 {
        let mut window = Interval::default();
        heard.seconds[from..].iter().for_each(|second| window.merge(second));
        assert!(window.flags.contains(Flags::UNDER_RANGE | Flags::GAP) || from == 4, "from {from}");
        assert!(window.flags.contains(Flags::UNDER_RANGE));
    }
}

#[test]
fn filters_settle_after_a_start() {
    let heard = hear(&noise(5, 0.1, 4.0));
    let settling: Vec<bool> =
        heard.seconds.iter().map(|second| second.flags.contains(Flags::SETTLING)).collect();
    assert_eq!(settling, [true, true, false, false]);
}

#[test]
fn filters_settle_after_a_gap_however_long() {
    for lost in [1, 480, 100 * 480, 198 * 480, 200 * 480, 1_000_000] {
        let (mut meter, mut heard) = (meter(), Heard::default());
        meter.process_f32(&noise(5, 0.1, 3.01), &mut heard);
        meter.gap(lost, &mut heard);
        let end = meter.position();
        meter.process_f32(&noise(6, 0.1, 3.0), &mut heard);
        for tick in &heard.ticks {
            let settling = tick.start < 96_000 || (144_480..end + 95_520).contains(&tick.start);
            let after = tick.start >= end + 96_000;
            let told = tick.flags.contains(Flags::SETTLING);
            assert!(told || !settling, "{lost} lost: not told at {}", tick.start);
            assert!(!told || !after, "{lost} lost: told at {}", tick.start);
        }
    }
}

#[test]
fn bands_of_silence_are_sane() {
    let mut bank = Octaves::new();
    bank.run(&[0.0; CHUNK]);
    assert!(bank.take(one_pascal()).levels().iter().all(|level| (level - level::LOWEST).abs() < 1e-6));
    // Nothing at all has been taken in since.
    assert!(bank.take(one_pascal()).levels().iter().all(|level| level.is_finite()));
}

/// What a check says of so many seconds, when samples come at this rate and are taken as late as `late_us` says of a second.
fn rates(samples_a_second: u64, seconds: u64, late_us: impl Fn(u64) -> u64) -> Vec<Rate> {
    let mut check = RateCheck::new(LIMIT_PPM);
    (0..=seconds)
        .filter_map(|second| check.note(second * samples_a_second, 5 + second * 1_000_000 + late_us(second)))
        .collect()
}

#[test]
fn a_slipping_rate_is_noticed() {
    let steady = rates(48_000, 60, |_| 0);
    assert!(steady.len() >= 4 && steady.iter().all(|rate| *rate == Rate { slip_ppm: 0, slipped: false }));
    // One buffer of 1024 samples a second lost, unreported.
    let lossy = rates(48_000 - 1024, 60, |_| 0);
    assert!(
        lossy.iter().all(|rate| rate.slipped && (-22_000..-21_000).contains(&rate.slip_ppm)),
        "{lossy:?}"
    );
    let fast = rates(48_058, 60, |_| 0);
    assert!(fast.iter().all(|rate| rate.slipped && (1_150..1_250).contains(&rate.slip_ppm)), "{fast:?}");
}

#[test]
fn a_program_that_is_late_now_and_then_is_no_slip() {
    // A tenth of a second, while flash is erased: of most seconds, and never of all.
    for seldom in 2..9 {
        let late = rates(48_000, 700, |second| if second % seldom == 1 { 0 } else { 100_000 });
        assert!(late.len() > 40 && late.iter().all(|rate| !rate.slipped), "{seldom}: {late:?}");
    }
}

#[test]
fn a_count_or_a_clock_that_goes_back_begins_anew() {
    let mut check = RateCheck::new(LIMIT_PPM);
    for second in 0..15 {
        assert_eq!(check.note(second * 48_000, second * 1_000_000), None, "too early to say");
    }
    assert_eq!(check.note(10, 40_000_000), None);
    assert_eq!(check.note(20, 30_000_000), None);
    assert_eq!(check.note(30, 41_000_000), None);
    assert_eq!(check.note(u64::MAX, 60_000_000), None, "a window begins");
    let rate = check.note(u64::MAX, 70_000_000).unwrap();
    assert_eq!((rate.slip_ppm, rate.slipped), (1_000_000, true));
    // The ends of all numbers.
    let said = [check.note(u64::MAX, u64::MAX), check.note(u64::MAX, u64::MAX), check.note(0, 0)];
    assert_eq!(said, [None; 3]);
}
