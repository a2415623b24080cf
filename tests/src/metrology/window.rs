//! Windows of any length, from a meter that tells whole ticks.

use anyhow::Result;
use gridpost_firmware::acoustics::{Interval, TICK, interval::Energies, level};

use super::{
    check::Bench,
    measure::{Filters, Measured, align},
    signal::samples,
};

/// Measures a signal from `start` to `end` (in s, within the signal), from rest.
///
/// Nothing is put behind a signal to fill up its last tick: the cut would click, and louder than a low tone's A level. If the window
/// is no whole number of ticks, energies are those to its end less those to its begin, and extremes those of the ticks
/// inside, counted from either end. A window shorter than a tick has the extremes of the 10 ms before its end.
///
/// # Errors
/// The bench is out of order.
pub fn measure_window(
    bench: &impl Bench,
    signal: &[f64],
    start: f64,
    end: f64,
    filters: Filters,
) -> Result<Measured> {
    let (from, to) = (samples(start), samples(end).min(signal.len()));
    let length = to.saturating_sub(from);
    if length.is_multiple_of(TICK) {
        return bench.measure(&align(signal, from, to), filters);
    }
    let mut all = bench.measure(&align(signal, 0, to), filters)?;
    let before = if from > 0 {
        bench.measure(&align(signal, 0, from), filters)?
    } else {
        // Not heard, as there is nothing to hear.
        let none = |levels: &[f32]| vec![level::LOWEST; levels.len()];
        Measured::new(Vec::new(), none(&all.octaves), none(&all.thirds))
    };
    let ticks = [&all, &before].map(|measured| measured.ticks.len() as f64);
    let band = |levels: (&mut f32, &f32)| {
        let energy = |level: f32, ticks: f64| ticks * TICK as f64 * level::to_mean_square(level);
        let inside = energy(*levels.0, ticks[0]) - energy(*levels.1, ticks[1]);
        *levels.0 = level::of_mean_square_f64(inside / length as f64);
    };
    all.octaves.iter_mut().zip(&before.octaves).for_each(band);
    all.thirds.iter_mut().zip(&before.thirds).for_each(band);
    let (whole, earlier) = (all.window.energy, before.window.energy);
    let ended = all.ticks.len() - length.div_ceil(TICK);
    let ticks = all.ticks.split_off(ended);
    // The first of them began before the window.
    let mut inside = if length < TICK {
        ticks[0]
    } else {
        let first = bench.measure(&align(signal, from, from + TICK), Filters::default())?;
        ticks[1..].iter().fold(first.window, |mut inside, tick| {
            inside.merge(tick);
            inside
        })
    };
    inside.samples = length as u64;
    inside.energy = Energies {
        a: whole.a - earlier.a,
        c: whole.c - earlier.c,
        z: whole.z - earlier.z,
        i: whole.i - earlier.i,
    };
    Ok(Measured { window: Interval { start: from as u64, ..inside }, ticks, ..all })
}
