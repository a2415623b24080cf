//! What the program `metrology` does not look at: bad input, block sizes, constants, calibration, features.

use std::{f64::consts::TAU, vec::Vec};

use super::{Flags, Interval, Meter, Range, Sensitivity, Sink};

mod bad_input;
mod calibrating;
mod constants;
mod telling_apart;

/// 1 Pa at full scale: a sine at full scale is 91 dB.
fn one_pascal() -> Sensitivity {
    Sensitivity::from_pascals(1.0).unwrap()
}

fn meter() -> Meter {
    Meter::new(one_pascal(), Range::default())
}

/// A sine in full scales.
fn sine(frequency: f64, amplitude: f64, seconds: f64) -> Vec<f32> {
    let value = |n: usize| amplitude * (TAU * (frequency * n as f64 / 48_000.0).fract()).sin();
    (0..(seconds * 48_000.0) as usize).map(|n| value(n) as f32).collect()
}

/// White noise in full scales, the same for the same seed.
fn noise(seed: u32, amplitude: f32, seconds: f64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..(seconds * 48_000.0) as usize).map(|_| next() * amplitude).collect()
}

/// Keeps everything.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    ticks: Vec<Interval>,
    seconds: Vec<Interval>,
}

impl Sink for Heard {
    fn tick(&mut self, tick: &Interval) {
        self.ticks.push(*tick);
    }

    fn second(&mut self, second: &Interval) {
        self.seconds.push(*second);
    }
}

fn hear(samples: &[f32]) -> Heard {
    let mut heard = Heard::default();
    meter().process_f32(samples, &mut heard);
    heard
}

impl Heard {
    /// No level is NaN, infinite, or below the lowest.
    fn assert_sane(&self) {
        for interval in self.ticks.iter().chain(&self.seconds) {
            let levels = [
                interval.laeq(),
                interval.lceq(),
                interval.lzeq(),
                interval.laieq(),
                interval.lae(),
                interval.lafmax(),
                interval.lafmin(),
                interval.lasmax(),
                interval.lasmin(),
                interval.laimax(),
                interval.laf(),
                interval.las(),
                interval.lcpeak(),
            ];
            assert!(levels.iter().all(|level| (super::level::LOWEST..300.0).contains(level)), "{interval:?}");
            assert!(interval.dc.is_finite());
        }
    }

    fn flags(&self) -> Flags {
        self.seconds.iter().fold(Flags::NONE, |all, second| all | second.flags)
    }
}

#[test]
fn a_second_is_its_ticks() {
    let heard = hear(&noise(1, 0.1, 3.0));
    assert_eq!((heard.ticks.len(), heard.seconds.len()), (300, 3));
    let mut window = Interval::default();
    heard.ticks.iter().for_each(|tick| window.merge(tick));
    assert_eq!((window.samples, window.start), (144_000, 0));
    let mut seconds = Interval::default();
    heard.seconds.iter().for_each(|second| seconds.merge(second));
    assert!((window.laeq() - seconds.laeq()).abs() < 1e-4);
    assert_eq!(window.extremes, seconds.extremes);
}

/// F moves on by chunks: a bang at a second's begin lifts it by 20 dB and more before the second's first.
#[test]
fn a_minimum_is_that_of_the_begin_too() {
    let mut samples = sine(1000.0, 0.001, 4.0);
    samples[144_000..].iter_mut().for_each(|sample| *sample *= 1000.0);
    let [.., quiet, loud] = hear(&samples).seconds[..] else { panic!() };
    assert!((loud.lafmin() - quiet.laf()).abs() < 0.01, "{} {}", loud.lafmin(), quiet.laf());
    // From rest it is not the silence before.
    assert!(hear(&samples).seconds[0].lafmin() > 0.0);
}

#[test]
fn the_cut_into_blocks_does_not_matter() {
    let samples = noise(7, 0.5, 2.5);
    let whole = hear(&samples);
    for size in [1, 3, 15, 16, 17, 479, 480, 1000] {
        let (mut meter, mut heard) = (meter(), Heard::default());
        samples.chunks(size).for_each(|block| meter.process_f32(block, &mut heard));
        assert_eq!(heard, whole, "blocks of {size}");
    }
}

#[test]
fn the_formats_agree() {
    let samples = sine(1000.0, 0.1, 3.0);
    let (mut i16s, mut i24s) = (Heard::default(), Heard::default());
    let shorts: Vec<i16> = samples.iter().map(|s| (s * 32_768.0).round() as i16).collect();
    let longs: Vec<i32> = samples.iter().map(|s| (s * 8_388_608.0).round() as i32).collect();
    meter().process_i16(&shorts, &mut i16s);
    meter().process_i24(&longs, &mut i24s);
    let level = hear(&samples).seconds[2].laeq();
    // 0.1 Pa of amplitude.
    assert!((level - 70.969).abs() < 0.02, "{level}");
    assert!((i16s.seconds[2].laeq() - level).abs() < 0.01);
    assert!((i24s.seconds[2].laeq() - level).abs() < 1e-3);
}

#[test]
fn an_hour_adds_up() {
    // The window of a minute, sixty times over: sums in f32 would have stopped growing.
    let heard = hear(&sine(1000.0, 0.5, 4.0));
    let mut window = Interval::default();
    (0..3600).for_each(|_| window.merge(&heard.seconds[3]));
    assert!((window.laeq() - heard.seconds[3].laeq()).abs() < 1e-3);
    assert!((window.lae() - window.laeq() - 10.0 * 3600f32.log10()).abs() < 1e-3);
}

/// What the module documentation says of memory.
#[test]
fn nothing_is_larger_than_told() {
    assert!(size_of::<Meter>() <= 640, "{}", size_of::<Meter>());
    assert!(size_of::<super::percentiles::Percentiles>() <= 5300);
    assert!(size_of::<super::percentiles::MinutePercentiles>() <= 1400);
    assert!(size_of::<super::bands::Octaves>() <= 800, "{}", size_of::<super::bands::Octaves>());
}
