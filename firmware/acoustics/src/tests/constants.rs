//! Every constant that was computed elsewhere is computed again.

use super::*;
use crate::{CHUNK, peak, time_weighting, weighting};

/// IEC 61672-1 Annex E: |C| or |A| squared, not yet 1 at 1 kHz.
fn analytic(frequency: f64, a: bool) -> f64 {
    let [f1, f2, f3, f4] = weighting::POLES_HZ;
    let square = frequency * frequency;
    let c = (square / (square + f1 * f1)).powi(2) / (1.0 + square / (f4 * f4)).powi(2);
    if a { c * square / (square + f2 * f2) * square / (square + f3 * f3) } else { c }
}

#[test]
fn weightings_follow_annex_e_from_10_hz_to_20_khz() {
    let mut worst = 0f32;
    for twentieth in -40..=26 {
        let frequency = 1000.0 * 10f64.powf(f64::from(twentieth) / 20.0);
        let heard = hear(&sine(frequency, 0.5, 3.0));
        let second = heard.seconds[2];
        let z = 10.0 * (0.125f32 / 4e-10).log10();
        let expected = |a| (10.0 * (analytic(frequency, a) / analytic(1000.0, a)).log10()) as f32;
        for error in
            [second.laeq() - z - expected(true), second.lceq() - z - expected(false), second.lzeq() - z]
        {
            assert!(error.abs() < 0.1, "{frequency} Hz: {error} dB");
            worst = worst.max(error.abs());
        }
    }
    assert!(worst < 0.06, "{worst}");
}

#[test]
fn high_passes_are_bilinear() {
    for (k, pole) in weighting::HIGH_PASS.iter().zip(weighting::POLES_HZ) {
        let tan = (TAU / 2.0 * pole / 48_000.0).tan();
        assert!((f64::from(*k) - (1.0 - (1.0 - tan) / (1.0 + tan))).abs() < 1e-8);
    }
}

#[test]
fn time_constants() {
    for (constant, expected) in time_weighting::expected_constants() {
        assert!((f64::from(constant) - expected).abs() < 1e-9 + 6e-8 * expected, "{constant} {expected}");
    }
}

/// The modified Bessel function of order 0.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[test]
fn interpolation_taps_are_a_windowed_sinc() {
    let tap = |at: f64, k: i32| {
        let x = at - f64::from(k);
        let sinc = (TAU / 2.0 * x).sin() / (TAU / 2.0 * x);
        sinc * bessel(4.0 * (1.0 - (x / 6.0).powi(2)).sqrt()) / bessel(4.0)
    };
    for (k, quarter) in (-5..).zip(peak::QUARTER) {
        assert!((f64::from(quarter) - tap(0.25, k)).abs() < 1e-7);
    }
    for (k, half) in (-5..).zip(peak::HALF) {
        assert!((f64::from(half) - tap(0.5, k)).abs() < 1e-7);
    }
}

#[test]
fn a_peak_between_samples_is_found() {
    for frequency in [1000.0, 3150.0, 7943.282, 10_007.0, 12_500.0] {
        for phase in 0..7 {
            let mut peak = peak::Peak::default();
            let phase = f64::from(phase) / 14.0;
            let value = |n: usize| (TAU * (frequency * n as f64 / 48_000.0 + phase)).sin() as f32;
            let samples: Vec<f32> = (0..480).map(value).collect();
            // The first samples are an onset, which rings.
            samples.chunks_exact(CHUNK).take(5).for_each(|chunk| peak.run(chunk.try_into().unwrap()));
            peak.take();
            samples.chunks_exact(CHUNK).skip(5).for_each(|chunk| peak.run(chunk.try_into().unwrap()));
            let error = 20.0 * peak.take().log10();
            assert!((-0.25..0.05).contains(&error), "{frequency} Hz, {phase}: {error} dB");
        }
    }
}
