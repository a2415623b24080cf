//! The quantities that cases ask for, by name.

use anyhow::{Context, Result, bail, ensure};
use gridpost_firmware::acoustics::{
    TICKS_PER_SECOND,
    aggregate::{background_correction, day_night_level, mean_level, mean_of_day_and_night},
    bands::{OCTAVE_NOMINALS, THIRD_OCTAVE_NOMINALS},
    level,
    percentiles::Percentiles,
};
use gridpost_protocol::reading::Milli;

use super::{fields::Fields, measure::Measured};

/// Which filters a `band_…` value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bands {
    /// 1/1.
    Octaves,
    /// 1/3.
    Thirds,
}

/// One value of a measured window. `bands` says what `band_…` means; `names` are all values of the case, which a sum of
/// bands needs. `None`: there is no such value (of an empty window).
///
/// # Errors
/// Nobody knows such a quantity.
pub fn of_window(
    name: &str,
    measured: &Measured,
    bands: Option<Bands>,
    names: &[&str],
) -> Result<Option<f64>> {
    if let Some((first, second)) = name.split_once("_minus_") {
        ensure!(!second.contains("_minus_"), "unknown quantity {name:?}: a difference is of two");
        let first = of_window(first, measured, bands, names)?;
        let second = of_window(second, measured, bands, names)?;
        return Ok(first.zip(second).map(|(first, second)| first - second));
    }
    if let Some(nominal) = name.strip_prefix("band_") {
        return band(nominal, measured, bands).map(Some);
    }
    let window = &measured.window;
    let value = match name {
        "LAeq" => window.laeq(),
        "LCeq" => window.lceq(),
        "LZeq" => window.lzeq(),
        "LAIeq" => window.laieq(),
        "LAE" => window.lae(),
        "LAFmax" => window.lafmax(),
        "LAFmin" => window.lafmin(),
        "LASmax" => window.lasmax(),
        "LASmin" => window.lasmin(),
        "LAImax" => window.laimax(),
        "LCpeak" => window.lcpeak(),
        // At low frequencies F ripples: the energy mean of the last second stands for its level.
        "LAF_end" => mean_of_last_second(measured),
        "LAF" => window.laf(),
        "LAS_end" | "LAS" => window.las(),
        "fluctuation" => window.fluctuation(),
        "decay_rate_F_db_per_s" => return Ok(fall(measured, |tick| tick.laf())),
        "decay_rate_S_db_per_s" => return Ok(fall(measured, |tick| tick.las())),
        "SD" => return Ok(percentiles(measured).standard_deviation().map(f64::from)),
        "sum_two_bands" => return sum_of_bands(measured, bands, names).map(Some),
        _ => {
            let percent = name.strip_prefix('L').and_then(|percent| percent.parse::<f32>().ok());
            let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent.with_context(|| format!("unknown quantity {name:?}"))?;
            return Ok(percentiles(measured).exceeded(percent).map(f64::from));
        }
    };
    Ok((!measured.ticks.is_empty()).then_some(f64::from(value)))
}

fn percentiles(measured: &Measured) -> Box<Percentiles> {
    let mut percentiles = Box::new(Percentiles::new());
    for tick in &measured.ticks {
        percentiles.add(tick.laf());
    }
    percentiles
}

fn mean_of_last_second(measured: &Measured) -> f32 {
    let last = &measured.ticks[measured.ticks.len().saturating_sub(TICKS_PER_SECOND)..];
    let sum: f64 = last.iter().map(|tick| f64::from(tick.end.fast)).sum();
    level::of_mean_square_f64(sum / last.len().max(1) as f64)
}

/// The slope of the straight line through the ticks' levels, downwards, in dB/s.
fn fall(measured: &Measured, of: impl Fn(&gridpost_firmware::acoustics::Interval) -> f32) -> Option<f64> {
    let levels: Vec<f64> = measured.ticks.iter().map(|tick| f64::from(of(tick))).collect();
    let count = levels.len() as f64;
    let mean = levels.iter().sum::<f64>() / count;
    let middle = (count - 1.0) / 2.0;
    let products = levels.iter().enumerate().map(|(n, level)| (n as f64 - middle) * (level - mean));
    let squares = (0..levels.len()).map(|n| (n as f64 - middle).powi(2));
    let slope = products.sum::<f64>() / squares.sum::<f64>();
    (levels.len() > 1).then_some(-slope * TICKS_PER_SECOND as f64)
}

fn band(nominal: &str, measured: &Measured, bands: Option<Bands>) -> Result<f64> {
    let frequency: f32 = nominal.parse().with_context(|| format!("unknown band {nominal:?}"))?;
    let (nominals, levels): (&[f32], &[f32]) = match bands {
        Some(Bands::Octaves) => (&OCTAVE_NOMINALS, &measured.octaves),
        Some(Bands::Thirds) => (&THIRD_OCTAVE_NOMINALS, &measured.thirds),
        None => bail!("band {nominal:?}, but no band levels are among the quantities"),
    };
    let index = nominals.iter().position(|nominal| (nominal - frequency).abs() < 0.01);
    index.map(|index| f64::from(levels[index])).with_context(|| format!("unknown band {nominal:?}"))
}

fn sum_of_bands(measured: &Measured, bands: Option<Bands>, names: &[&str]) -> Result<f64> {
    let mut energy = 0.0;
    for nominal in names.iter().filter_map(|name| name.strip_prefix("band_")) {
        energy += 10f64.powf(band(nominal, measured, bands)? / 10.0);
    }
    Ok(10.0 * energy.log10())
}

/// One value of a case without a signal. `place` is where the case names it.
///
/// # Errors
/// The generator or the quantity is unknown, or a field is missing.
pub fn of_levels(name: &str, place: &str, generator: &Fields<'_>) -> Result<Option<f64>> {
    let milli = |value: f64| Milli((value * 1000.0).round() as i32);
    match generator.text("type")? {
        "hourly_leq" => {
            let hours = |name: &str| -> Result<Vec<Milli>> {
                Ok(generator.numbers(name)?.into_iter().map(milli).collect())
            };
            let (days, nights) = (hours("hours_06_to_22")?, hours("hours_22_to_06")?);
            let (hours_of_day, hours_of_night) = (days.len() as u32, nights.len() as u32);
            let (Some(day), Some(night)) = (mean_level(&days), mean_level(&nights)) else { return Ok(None) };
            let value = match name {
                "Ld" => Some(day),
                "Ln" => Some(night),
                "Ldn" => day_night_level(day, night),
                "Leq24" => mean_of_day_and_night(day, night, hours_of_day, hours_of_night),
                _ => bail!("{place}: unknown quantity {name:?}"),
            };
            Ok(value.map(Milli::to_f64))
        }
        "background_correction_table" => {
            let measured = milli(generator.number("measured")?);
            let background = milli(generator.number("background")?);
            let correction = background_correction(measured, background);
            match name {
                "correction_db" => Ok(correction.map(f64::from)),
                "corrected" | "corrected_db" => {
                    Ok(correction.map(|correction| measured.to_f64() + f64::from(correction)))
                }
                _ => bail!("{place}: unknown quantity {name:?}"),
            }
        }
        unknown => bail!("{}: unknown type {unknown:?}", generator.place("type")),
    }
}
