//! Runs cases and judges what was measured.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gridpost_firmware::acoustics::Flags;

use super::{
    case::{Case, Expected},
    fields::Fields,
    measure::{Aligned, Filters, Format, Measured, measure},
    quantity::{self, Bands},
    signal,
    window::measure_window,
};

/// The kinds of cases there are.
pub const KINDS: [&str; 14] = [
    "tone_weighting",
    "toneburst",
    "toneburst_repeated",
    "toneburst_impulse_I",
    "time_weighting_decay",
    "level_linearity",
    "percentiles",
    "leq_two_level",
    "c_peak",
    "octave_tone",
    "third_octave_tone",
    "noise",
    "feature_scene",
    "aggregation",
];

/// One value of a case, judged.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What was expected.
    pub expected: Expected,
    /// What was measured.
    pub measured: Option<f64>,
    /// Whether the meter said that its range did not do.
    pub overload: bool,
}

impl Row {
    /// The distance in dB to the nearer limit; negative: out of tolerance. Infinite if there is no limit.
    #[must_use]
    pub fn margin(&self) -> f64 {
        match (self.measured, self.expected.value) {
            (None, None) => f64::INFINITY,
            (Some(measured), Some(expected)) => {
                let error = measured - expected;
                let below = self.expected.lower.map_or(f64::INFINITY, |lower| error - lower);
                let above = self.expected.upper.map_or(f64::INFINITY, |upper| upper - error);
                below.min(above)
            }
            _ => f64::NEG_INFINITY,
        }
    }

    /// Whether it is within tolerance. Limits as exact numbers, such as 0, are met by what is a rounding error away.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.margin() >= -1e-9
    }
}

/// Runs a signal through a meter somewhere: here, or on a microcontroller.
pub trait Bench: Sync {
    /// Measures the window.
    ///
    /// # Errors
    /// The bench is out of order.
    fn measure(&self, aligned: &Aligned, filters: Filters) -> Result<Measured>;
    /// How many signals may be measured at once.
    fn at_once(&self) -> usize;
    /// Whether it is quick enough for hundreds of tones.
    fn is_quick(&self) -> bool;
}

/// The meter as part of this program.
#[derive(Clone, Copy, Debug)]
pub struct Host(pub Format);

impl Bench for Host {
    fn measure(&self, aligned: &Aligned, filters: Filters) -> Result<Measured> {
        Ok(measure(aligned, self.0, filters))
    }

    fn at_once(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from).min(8)
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// Runs all cases; rows are in the order of the file.
///
/// # Errors
/// A case cannot be understood: the error names it and the field.
pub fn check_all(cases: &[Case], bench: &impl Bench) -> Result<Vec<Row>> {
    let rows = in_parallel(cases.len(), bench.at_once(), |index| check(&cases[index], cases, bench))?;
    Ok(rows.into_iter().flatten().collect())
}

/// Does `work` for 0 to `count` on so many threads; results are in order.
///
/// # Errors
/// The first error in that order.
pub fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(index)));
        }
    };
    let mut results = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        for thread in threads {
            results.extend(thread.join().map_err(|_| anyhow!("a measurement ended its thread"))?);
        }
        Ok::<(), anyhow::Error>(())
    })?;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn check(case: &Case, all: &[Case], bench: &impl Bench) -> Result<Vec<Row>> {
    let fields = case.fields()?;
    ensure!(KINDS.contains(&case.kind.as_str()), "{}: unknown kind {:?}", fields.place("kind"), case.kind);
    let (expected, quantities) = (case.expected()?, case.quantities()?);
    let generator = fields.object("generator")?;
    let row = |expected: Expected, measured, overload| Row {
        id: case.id.clone(),
        kind: case.kind.clone(),
        expected,
        measured,
        overload,
    };
    let place = |name: &str| fields.place(&format!("expected.{name}"));
    if case.kind == "aggregation" {
        for name in &quantities {
            quantity::of_levels(name, &fields.place("measure.quantities"), &generator)?;
        }
        let rows = expected.into_iter().map(|expected| {
            let value = quantity::of_levels(&expected.name, &place(&expected.name), &generator)?;
            Ok(row(expected, value, false))
        });
        return rows.collect();
    }
    let others = |id: &str| {
        let other = all.iter().find(|case| case.id == id)?;
        other.fields().ok()?.object("generator").ok()
    };
    let signal = signal::generate(&generator, &others)?;
    ensure!(signal.iter().all(|sample| sample.is_finite()), "{}: no such sound", fields.place("generator"));
    let window = fields.object("measure")?;
    let (start, end) = (window.number("start_s")?, window.number("end_s")?);
    ensure!(start >= 0.0, "{}: below 0 s", window.place("start_s"));
    ensure!(
        signal::samples(end) > signal::samples(start),
        "{}: not a sample after start_s",
        window.place("end_s")
    );
    ensure!(
        signal::samples(start) < signal.len(),
        "{}: beyond the end of the signal",
        window.place("start_s")
    );
    // Whole samples: an end in decimals may round to one more.
    ensure!(
        signal::samples(end) <= signal.len() + 1,
        "{}: beyond the end of the signal",
        window.place("end_s")
    );
    let bands = bands(&quantities)?;
    let filters = Filters { octaves: bands == Some(Bands::Octaves), thirds: bands == Some(Bands::Thirds) };
    let measured =
        measure_window(bench, &signal, start, end, filters).with_context(|| format!("case {}", case.id))?;
    let names: Vec<&str> = expected.iter().map(|expected| expected.name.as_str()).collect();
    let value = |name: &str| quantity::of_window(name, &measured, bands, &names);
    for name in quantities.iter().filter(|name| !name.starts_with("band_level_")) {
        value(name).with_context(|| fields.place("measure.quantities"))?;
    }
    let overload = measured.window.flags.contains(Flags::OVERLOAD);
    let mut rows = Vec::new();
    for expected in &expected {
        let value = value(&expected.name).with_context(|| place(&expected.name))?;
        rows.push(row(expected.clone(), value, overload));
    }
    for limit in other_bands(&fields)? {
        let value = value(&limit.name).with_context(|| fields.place("info"))?;
        rows.push(row(limit, value, overload));
    }
    Ok(rows)
}

fn bands(quantities: &[&str]) -> Result<Option<Bands>> {
    let mut bands = None;
    for name in quantities.iter().filter(|name| name.starts_with("band_level")) {
        bands = Some(match *name {
            "band_level_1_1" => Bands::Octaves,
            "band_level_1_3" => Bands::Thirds,
            unknown => bail!("unknown quantity {unknown:?}"),
        });
    }
    Ok(bands)
}

/// A tone of one band may be told in the others up to a level that `info` has: the filters' stop bands.
fn other_bands(fields: &Fields<'_>) -> Result<Vec<Expected>> {
    let Some(info) = fields.object_if_any("info")? else { return Ok(Vec::new()) };
    let Some(others) = info.object_if_any("max_level_in_other_bands")? else { return Ok(Vec::new()) };
    others
        .names()
        .map(|nominal| {
            let value = Some(others.number(nominal)?);
            Ok(Expected { name: format!("band_{nominal}"), value, lower: None, upper: Some(0.0) })
        })
        .collect()
}
