//! Features, percentiles, days.

use gridpost_protocol::reading::Milli;

use super::*;
use crate::{
    aggregate::{background_correction, day_night_level, mean_level},
    bands::{THIRD_OCTAVE_NOMINALS, THIRD_OCTAVES},
    features::impulse_adjustment,
    modulation::ModulationWindow,
    onset::OnsetDetector,
    percentiles::{MinutePercentiles, Percentiles},
    tonality,
};

/// Noise whose amplitude follows `envelope` of the time in s.
fn shaped(seconds: f64, envelope: impl Fn(f64) -> f64) -> Vec<f32> {
    let mut samples = noise(11, 1.0, seconds);
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample *= envelope(n as f64 / 48_000.0) as f32;
    }
    samples
}

fn prominences(samples: &[f32]) -> Vec<f32> {
    let mut detector = OnsetDetector::default();
    let ticks = hear(samples).ticks;
    let onsets = ticks.iter().skip(100).filter_map(|tick| detector.add(tick.laf()));
    onsets.map(|onset| onset.prominence()).collect()
}

#[test]
fn hammering_is_impulsive_and_traffic_is_not() {
    let hammering = shaped(10.0, |time| 0.001 + 0.5 * (-(time.fract() / 0.02)).exp());
    let prominent = prominences(&hammering).iter().filter(|p| **p > 10.0).count();
    assert!((8..=10).contains(&prominent), "{prominent} blows in nine seconds");
    let passing = shaped(10.0, |time| 0.001 + 0.1 * (-((time - 5.0) / 1.2).powi(2)).exp());
    assert!(prominences(&passing).iter().all(|p| *p < 7.0), "{:?}", prominences(&passing));
    let second = |samples: &[f32]| hear(samples).seconds[5];
    assert_eq!(impulse_adjustment(second(&hammering).laieq_minus_laeq()), 3);
    assert_eq!(impulse_adjustment(second(&passing).laieq_minus_laeq()), 0);
}

#[test]
fn an_onset_is_measured_on_a_straight_line() {
    let mut detector = OnsetDetector::default();
    let mut onset = None;
    // 40 dB, then 0.5 dB a tick for 20 ticks, then level.
    for tick in 0..60 {
        onset = onset.or(detector.add(40.0 + 0.5 * (tick as f32 - 20.0).clamp(0.0, 20.0)));
    }
    let onset = onset.unwrap();
    assert!((onset.rate - 50.0).abs() < 0.01 && (onset.difference - 10.0).abs() < 0.01, "{onset:?}");
    assert!((onset.prominence() - (3.0 * 50f32.log10() + 2.0)).abs() < 1e-3);
    assert!((onset.adjustment() - 1.8 * (onset.prominence() - 5.0)).abs() < 1e-3);
}

#[test]
fn a_beat_is_modulation_and_noise_is_none() {
    let measure = |samples: &[f32]| {
        let mut window = ModulationWindow::default();
        hear(samples).ticks.iter().skip(100).for_each(|tick| window.add(tick.laf()));
        window.measure().unwrap()
    };
    let beat = measure(&shaped(12.0, |time| 0.1 * (1.0 + 0.8 * (TAU * time).sin())));
    assert!(beat.is_modulated() && (beat.period - 1.0).abs() < 0.11, "{beat:?}");
    let steady = measure(&noise(2, 0.1, 12.0));
    assert!(!steady.is_modulated() && steady.depth < 3.0, "{steady:?}");
    let tone = measure(&sine(1000.0, 0.1, 12.0));
    assert!(!tone.is_modulated() && tone.depth < 0.1, "{tone:?}");
    assert!(ModulationWindow::default().measure().is_none());
}

#[test]
fn a_swing_is_as_deep_as_it_is_however_fast() {
    // LAF that swings by 4 dB, each 10 ms.
    for rate in [0.5, 1.0, 1.3, 1.7, 2.0, 2.5, 3.3, 4.0, 5.0] {
        for phase in [0.0, 0.9, 2.3] {
            let mut window = ModulationWindow::default();
            let levels =
                (0..1_000).map(|tick| 60.0 + 2.0 * (TAU * rate * f64::from(tick) / 100.0 + phase).sin());
            levels.for_each(|level| window.add(level as f32));
            let measured = window.measure().unwrap();
            assert!((measured.depth - 4.0).abs() < 0.2, "{rate} Hz: {measured:?}");
            assert!(measured.is_modulated() || rate > 4.0, "{rate} Hz: {measured:?}");
        }
    }
}

#[test]
fn tones_stand_above_their_neighbours() {
    let mut levels = [50.0; THIRD_OCTAVES];
    assert_eq!(tonality::tones(&levels).count(), 0);
    let band = |nominal: f32| THIRD_OCTAVE_NOMINALS.iter().position(|f| (f - nominal).abs() < 0.1).unwrap();
    levels[band(100.0)] = 66.0;
    levels[band(250.0)] = 57.0;
    levels[band(2000.0)] = 55.5;
    let tones: Vec<f32> = tonality::tones(&levels).map(|tone| tone.frequency()).collect();
    assert_eq!(tones, [100.0, 2000.0], "7 dB are no tone at 250 Hz");
}

#[test]
fn percentiles_of_a_ramp() {
    let mut percentiles = Percentiles::new();
    assert_eq!((percentiles.exceeded(50.0), percentiles.standard_deviation()), (None, None));
    (0..10_000).for_each(|n| percentiles.add(40.0 + n as f32 * 0.005));
    for (percent, level) in [(5.0, 87.5), (10.0, 85.0), (50.0, 65.0), (90.0, 45.0), (95.0, 42.5), (0.0, 90.0)]
    {
        let exceeded = percentiles.exceeded(percent).unwrap();
        assert!((exceeded - level).abs() < 0.06, "L{percent} {exceeded}");
    }
    assert!((percentiles.standard_deviation().unwrap() - 50.0 / 12f32.sqrt()).abs() < 0.05);
    // What no class is for is counted at the ends.
    [f32::NAN, -300.0, 1e30].into_iter().for_each(|level| percentiles.add(level));
    assert_eq!(percentiles.total(), 10_003);
    assert!(percentiles.exceeded(0.0).unwrap() > 139.0 && percentiles.exceeded(100.0).unwrap() < 10.1);
}

#[test]
fn a_minute_s_percentiles_are_those_of_the_large_ones_whatever_overflows() {
    let minutes: [&dyn Fn(u32) -> f32; 5] = [
        &|_| 55.0,
        &|n| if n % 3 == 0 { 40.0 } else { 70.0 },
        &|n| 40.0 + (n % 24) as f32 * 0.1,
        &|n| 139.9 - (n % 23) as f32 * 5.0,
        &|n| [f32::NAN, -300.0, 1e30][n as usize % 3],
    ];
    let mut small = MinutePercentiles::new();
    for minute in minutes {
        let mut large = Percentiles::new();
        small.clear();
        for n in 0..6_000 {
            large.add(minute(n));
            small.add(minute(n));
            if n % 500 == 499 {
                for percent in [0.0, 5.0, 10.0, 50.0, 90.0, 95.0, 100.0] {
                    assert_eq!(small.exceeded(percent), large.exceeded(percent), "L{percent} at {n}");
                }
                assert_eq!(small.standard_deviation(), large.standard_deviation(), "at {n}");
            }
        }
        // More than it is for is left out.
        (0..6_000).for_each(|n| small.add(minute(n)));
        assert!((6_000..7_000).contains(&small.total()));
    }
}

#[test]
fn days_and_backgrounds() {
    assert_eq!(mean_level(&[]), None);
    assert_eq!(mean_level(&[Milli(60_000), Milli(60_000)]), Some(Milli(60_000)));
    assert_eq!(day_night_level(Milli(55_000), Milli(55_000)), Some(Milli(61_021)));
    assert_eq!(day_night_level(Milli(i32::MAX), Milli(i32::MAX)), None);
    let correction = |difference| background_correction(Milli(50_000 + difference), Milli(50_000));
    let table = [
        (-1000, None),
        (2999, None),
        (3000, Some(-3)),
        (3499, Some(-3)),
        (3500, Some(-2)),
        (5499, Some(-2)),
        (5500, Some(-1)),
        (10_000, Some(-1)),
        (10_001, Some(0)),
        (40_000, Some(0)),
    ];
    table
        .into_iter()
        .for_each(|(difference, expected)| assert_eq!(correction(difference), expected, "{difference}"));
}
