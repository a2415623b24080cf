//! What the standards ask for, class 1.

use std::f64::consts::LN_10;

/// The base-ten octave ratio (IEC 61260-1 5.2).
const G: f64 = 1.995_262_314_968_879_6;

/// A limit of the error: below and above in dB.
pub type Limits = (f64, f64);
const NONE: f64 = f64::NEG_INFINITY;

/// Nominal frequency in Hz and acceptance limits of the weightings (IEC 61672-1:2013 Table 3).
pub const WEIGHTING_LIMITS: [(&str, Limits); 34] = [
    ("10", (NONE, 3.0)),
    ("12.5", (NONE, 2.5)),
    ("16", (-4.0, 2.0)),
    ("20", (-2.0, 2.0)),
    ("25", (-1.5, 2.0)),
    ("31.5", (-1.5, 1.5)),
    ("40", (-1.0, 1.0)),
    ("50", (-1.0, 1.0)),
    ("63", (-1.0, 1.0)),
    ("80", (-1.0, 1.0)),
    ("100", (-1.0, 1.0)),
    ("125", (-1.0, 1.0)),
    ("160", (-1.0, 1.0)),
    ("200", (-1.0, 1.0)),
    ("250", (-1.0, 1.0)),
    ("315", (-1.0, 1.0)),
    ("400", (-1.0, 1.0)),
    ("500", (-1.0, 1.0)),
    ("630", (-1.0, 1.0)),
    ("800", (-1.0, 1.0)),
    ("1000", (-0.7, 0.7)),
    ("1250", (-1.0, 1.0)),
    ("1600", (-1.0, 1.0)),
    ("2000", (-1.0, 1.0)),
    ("2500", (-1.0, 1.0)),
    ("3150", (-1.0, 1.0)),
    ("4000", (-1.0, 1.0)),
    ("5000", (-1.5, 1.5)),
    ("6300", (-2.0, 1.5)),
    ("8000", (-2.5, 1.5)),
    ("10000", (-3.0, 2.0)),
    ("12500", (-5.0, 2.0)),
    ("16000", (-16.0, 2.5)),
    ("20000", (NONE, 3.0)),
];

/// The exact frequency of the row of [`WEIGHTING_LIMITS`].
#[must_use]
pub fn exact_frequency(row: usize) -> f64 {
    1000.0 * 10f64.powf((row as f64 - 20.0) / 10.0)
}

/// A tone burst of 4 kHz: its length in ms, and the limits of LAFmax and LAE, and of LASmax (Table 4).
pub const BURSTS: [(f64, Limits, Option<Limits>); 12] = [
    (1000.0, (-0.5, 0.5), Some((-0.5, 0.5))),
    (500.0, (-0.5, 0.5), Some((-0.5, 0.5))),
    (200.0, (-0.5, 0.5), Some((-0.5, 0.5))),
    (100.0, (-1.0, 1.0), Some((-1.0, 1.0))),
    (50.0, (-1.0, 1.0), Some((-1.0, 1.0))),
    (20.0, (-1.0, 1.0), Some((-1.5, 1.0))),
    (10.0, (-1.0, 1.0), Some((-2.0, 1.0))),
    (5.0, (-1.0, 1.0), Some((-2.5, 1.0))),
    (2.0, (-1.5, 1.0), Some((-3.0, 1.0))),
    (1.0, (-2.0, 1.0), None),
    (0.5, (-2.5, 1.0), None),
    (0.25, (-3.0, 1.0), None),
];

/// What a burst of `seconds` reads above the steady tone with a time constant: 10 lg(1 - exp(-T/τ)) (equation 7).
#[must_use]
pub fn burst_response(seconds: f64, tau: f64) -> f64 {
    10.0 * (-(-seconds / tau).exp_m1()).log10()
}

/// C-peak signals: name, frequency in Hz, turns, polarity, LCpeak - LC and its limits (Table 5).
pub const C_PEAKS: [(&str, f64, f64, f64, f64, Limits); 5] = [
    ("one cycle, 31.5 Hz", 31.622_776_601_683_793, 1.0, 1.0, 2.5, (-2.0, 2.0)),
    ("one cycle, 500 Hz", 501.187_233_627_272_2, 1.0, 1.0, 3.5, (-1.0, 1.0)),
    ("one cycle, 8 kHz", 7_943.282_347_242_815, 1.0, 1.0, 3.4, (-2.0, 2.0)),
    ("positive half cycle, 500 Hz", 501.187_233_627_272_2, 0.5, 1.0, 2.4, (-1.0, 1.0)),
    ("negative half cycle, 500 Hz", 501.187_233_627_272_2, 0.5, -1.0, 2.4, (-1.0, 1.0)),
];

/// The analytic A or C weighting in dB (Annex E).
#[must_use]
pub fn weighting(frequency: f64, a: bool) -> f64 {
    let response = |frequency: f64| {
        let (f1, f2, f3, f4) = (20.598_997_06_f64, 107.652_65_f64, 737.862_23_f64, 12_194.217_f64);
        let square = frequency * frequency;
        let c = square * f4 * f4 / ((square + f1 * f1) * (square + f4 * f4));
        if a { c * square / ((square + f2 * f2) * (square + f3 * f3)).sqrt() } else { c }
    };
    20.0 * (response(frequency) / response(1000.0)).log10()
}

/// Exponents of G at which the mask of an octave filter turns, with the most it may attenuate up to there; then with the
/// least it has to from there (IEC 61260-1:2014 Table 1).
const PASS_BAND: [(f64, f64); 5] = [(0.0, 0.4), (0.125, 0.5), (0.25, 0.7), (0.375, 1.4), (0.5, 5.3)];
const STOP_BAND: [(f64, f64); 5] = [(0.5, 1.2), (1.0, 16.6), (2.0, 40.5), (3.0, 60.0), (4.0, 70.0)];
/// In its band a filter may amplify by this, in dB.
const MOST_GAIN: f64 = 0.4;

/// The mid-band frequency of the `index`-th of filters with `fraction` (1 or 3) to the octave, 0 being at 1 kHz.
#[must_use]
pub fn mid_band(index: i32, fraction: u32) -> f64 {
    1000.0 * G.powf(f64::from(index) / f64::from(fraction))
}

/// The ratio to the mid-band frequency that corresponds to G^exponent of an octave filter (5.10, formula 9).
#[must_use]
pub fn mapped(exponent: f64, fraction: u32) -> f64 {
    let half = 1.0 / (2.0 * f64::from(fraction));
    let upper = |exponent: f64| 1.0 + (G.powf(half) - 1.0) / (G.sqrt() - 1.0) * (G.powf(exponent) - 1.0);
    if exponent >= 0.0 { upper(exponent) } else { 1.0 / upper(-exponent) }
}

/// The exponents at which masks turn, on both sides.
#[must_use]
pub fn breakpoints() -> Vec<f64> {
    let above = PASS_BAND.iter().chain(&STOP_BAND[1..]).map(|(exponent, _)| *exponent);
    above
        .flat_map(|exponent| if exponent > 0.0 { vec![-exponent, exponent] } else { vec![exponent] })
        .collect()
}

/// The least and most attenuation in dB at a ratio to the mid-band frequency, and whether it is in the band.
#[must_use]
pub fn mask(ratio: f64, fraction: u32) -> (f64, f64, bool) {
    let ratio = ratio.max(1.0 / ratio);
    let between = |points: &[(f64, f64); 5]| {
        let lg = |exponent: f64| mapped(exponent, fraction).ln() / LN_10;
        let at = ratio.ln() / LN_10;
        let segment = points.windows(2).find(|pair| at <= lg(pair[1].0));
        segment.map_or(points[4].1, |pair| {
            let share = ((at - lg(pair[0].0)) / (lg(pair[1].0) - lg(pair[0].0))).max(0.0);
            pair[0].1 + share * (pair[1].1 - pair[0].1)
        })
    };
    let edge = mapped(0.5, fraction);
    if (ratio / edge - 1.0).abs() < 1e-9 {
        // Both sides' limits hold.
        (STOP_BAND[0].1, PASS_BAND[4].1, true)
    } else if ratio < edge {
        (-MOST_GAIN, between(&PASS_BAND), true)
    } else {
        (between(&STOP_BAND), f64::INFINITY, false)
    }
}
