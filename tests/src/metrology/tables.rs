//! The tables of IEC 61672-1 and IEC 61260-1, measured.

use std::f64::consts::{SQRT_2, TAU};

use anyhow::Result;
use gridpost_firmware::acoustics::Interval;

use super::{
    check::{Bench, in_parallel},
    measure::Filters,
    report::{Table, margin},
    signal::{RATE, pressure, samples, sine},
    standard::{BURSTS, C_PEAKS, Limits, WEIGHTING_LIMITS, burst_response, exact_frequency, weighting},
    window::measure_window,
};

/// All tables but the filters'.
///
/// # Errors
/// The bench is out of order.
pub fn meter_tables(bench: &impl Bench) -> Result<Vec<Table>> {
    Ok(vec![weightings(bench)?, bursts(bench)?, linearity(bench)?, c_peaks(bench)?])
}

fn window(bench: &impl Bench, signal: Vec<f64>, start: f64, end: f64) -> Result<Interval> {
    Ok(measure_window(bench, &signal, start, end, Filters::default())?.window)
}

/// The distance to the nearer limit.
fn within(error: f64, limits: Limits) -> f64 {
    (error - limits.0).min(limits.1 - error)
}

fn weightings(bench: &impl Bench) -> Result<Table> {
    let mut table = Table::new(
        "Frequency weighting (IEC 61672-1:2013 5.5, Table 3)",
        "Error in dB against the analytic weighting (Annex E) at the exact frequency, of Leq of a tone at 94 dB (110 dB below \
         40 Hz); margin to the nearer class 1 acceptance limit.",
        &["nominal Hz", "A", "C", "Z", "limits", "margin"],
    );
    let errors = in_parallel(WEIGHTING_LIMITS.len(), bench.at_once(), |row| {
        let frequency = exact_frequency(row);
        let level = if frequency < 39.0 { 110.0 } else { 94.0 };
        let window = window(bench, sine(frequency, level, 6.0), 2.0, 6.0)?;
        let error = |measured: f32, weighting: f64| f64::from(measured) - level - weighting;
        Ok([
            error(window.laeq(), weighting(frequency, true)),
            error(window.lceq(), weighting(frequency, false)),
            error(window.lzeq(), 0.0),
        ])
    })?;
    for ((nominal, limits), errors) in WEIGHTING_LIMITS.iter().zip(errors) {
        let least = errors.iter().map(|error| within(*error, *limits)).fold(f64::INFINITY, f64::min);
        let lower = if limits.0.is_finite() { format!("{:+.1}", limits.0) } else { "-∞".to_owned() };
        let mut cells = vec![(*nominal).to_owned()];
        cells.extend(errors.iter().map(|error| format!("{error:+.3}")));
        cells.extend([format!("{lower}; {:+.1}", limits.1), margin(least)]);
        table.push(cells, least >= 0.0);
    }
    Ok(table)
}

fn bursts(bench: &impl Bench) -> Result<Table> {
    let mut table = Table::new(
        "Tone bursts (IEC 61672-1:2013 5.9, Table 4)",
        "4 kHz at 94 dB; levels in dB above the steady A-weighted level, with the error against equations (7) and (8) in brackets.",
        &["burst ms", "LAFmax", "LASmax", "LAE", "margin"],
    );
    let windows = in_parallel(BURSTS.len(), bench.at_once(), |row| {
        let seconds = BURSTS[row].0 / 1000.0;
        let mut signal = vec![0.0; samples(1.0)];
        signal.extend(sine(4000.0, 94.0, seconds));
        signal.resize(samples(5.0), 0.0);
        window(bench, signal, 0.0, 5.0)
    })?;
    let steady = 94.0 + weighting(4000.0, true);
    for ((milliseconds, limits, slow_limits), window) in BURSTS.iter().zip(windows) {
        let seconds = milliseconds / 1000.0;
        let mut least = f64::INFINITY;
        let mut cell = |measured: f32, reference: f64, limits: Limits| {
            let response = f64::from(measured) - steady;
            least = least.min(within(response - reference, limits));
            format!("{response:.2} ({:+.3})", response - reference)
        };
        let cells = [
            cell(window.lafmax(), burst_response(seconds, 0.125), *limits),
            slow_limits.map_or_else(
                || "-".to_owned(),
                |limits| cell(window.lasmax(), burst_response(seconds, 1.0), limits),
            ),
            cell(window.lae(), 10.0 * seconds.log10(), *limits),
        ];
        let mut row = vec![milliseconds.to_string()];
        row.extend(cells);
        row.push(margin(least));
        table.push(row, least >= 0.0);
    }
    Ok(table)
}

fn linearity(bench: &impl Bench) -> Result<Table> {
    const TONES: [(&str, f64, u32); 3] = [
        ("31.5 Hz", 31.622_776_601_683_793, 60),
        ("1 kHz", 1000.0, 30),
        ("8 kHz", 7_943.282_347_242_815, 30),
    ];
    /// IEC 61672-1 5.6.5.
    const LIMIT: f64 = 0.8;
    /// 5.6.6: of any change of 1 to 10 dB.
    const STEP_LIMIT: f64 = 0.3;
    let mut table = Table::new(
        "Level linearity (IEC 61672-1:2013 5.6)",
        "Largest errors in dB of LAeq, LAF and LAS of steady tones in steps of 5 dB, against the level at 94 dB (limit ±0.8), \
         and largest difference of the errors of any two levels up to 10 dB apart (limit ±0.3). At 31.5 Hz the A level is \
         39.5 dB lower.",
        &["tone", "from", "to", "LAeq", "LAF", "LAS", "step", "margin"],
    );
    for (name, frequency, from) in TONES {
        let levels: Vec<f64> = std::iter::once(94.0).chain((from..=120).step_by(5).map(f64::from)).collect();
        let all = in_parallel(levels.len(), bench.at_once(), |index| {
            // S has to come within a hundredth of a dB.
            let signal = sine(frequency, levels[index], 9.0);
            let measured = measure_window(bench, &signal, 8.0, 9.0, Filters::default())?;
            let window = &measured.window;
            // F ripples at 31.5 Hz: its energy mean.
            let fast = measured.ticks.iter().map(|tick| f64::from(tick.end.fast)).sum::<f64>();
            let fast = 10.0 * (fast / measured.ticks.len() as f64 / 4e-10).log10();
            Ok([f64::from(window.laeq()), fast, f64::from(window.las())].map(|level| level - levels[index]))
        })?;
        let errors: Vec<[f64; 3]> =
            all[1..].iter().map(|error| std::array::from_fn(|i| error[i] - all[0][i])).collect();
        let worst: [f64; 3] =
            std::array::from_fn(|i| errors.iter().map(|error| error[i].abs()).fold(0.0, f64::max));
        // Two steps of 5 dB.
        let steps = (1..=2).flat_map(|apart| errors.iter().zip(&errors[apart..]));
        let step = steps
            .flat_map(|(one, other)| one.iter().zip(other).map(|(one, other)| (one - other).abs()))
            .fold(0.0, f64::max);
        let least = worst.iter().map(|error| LIMIT - error).fold(STEP_LIMIT - step, f64::min);
        let mut cells = vec![name.to_owned(), from.to_string(), "120".to_owned()];
        cells.extend(worst.iter().map(|error| format!("{error:.3}")));
        cells.extend([format!("{step:.3}"), margin(least)]);
        table.push(cells, least >= 0.0);
    }
    Ok(table)
}

fn c_peaks(bench: &impl Bench) -> Result<Table> {
    let mut table = Table::new(
        "C-weighted peak (IEC 61672-1:2013 5.13, Table 5)",
        "LCpeak - LC in dB; LC is the analytic level of the steady tone.",
        &["signal", "measured", "reference", "limits", "margin"],
    );
    for (name, frequency, turns, polarity, reference, limits) in C_PEAKS {
        let amplitude = polarity * SQRT_2 * pressure(94.0);
        let cycle = (0..).map(|n| f64::from(n) / RATE).take_while(|time| *time < turns / frequency);
        let mut signal = vec![0.0; samples(0.5)];
        signal.extend(cycle.map(|time| amplitude * (TAU * frequency * time).sin()));
        signal.resize(samples(2.0), 0.0);
        let steady = 94.0 + weighting(frequency, false);
        let measured = f64::from(window(bench, signal, 0.0, 2.0)?.lcpeak()) - steady;
        let least = within(measured - reference, limits);
        let limits = format!("±{:.0}", limits.1);
        let cells =
            vec![name.to_owned(), format!("{measured:.3}"), format!("{reference:.1}"), limits, margin(least)];
        table.push(cells, least >= 0.0);
    }
    Ok(table)
}
