//! The signals of the cases, computed in f64: sound pressures in Pa at 48 kHz.

use std::f64::consts::{SQRT_2, TAU};

use anyhow::{Result, bail, ensure};

use super::fields::Fields;

/// Samples per second.
pub const RATE: f64 = 48_000.0;
/// An hour: whatever a file says, nothing longer is made.
const LONGEST: f64 = 3600.0;
/// Bursts, impacts, or lines of a spectrum.
const MOST: u64 = 10_000;

/// 20 µPa times 10^(level/20).
#[must_use]
pub fn pressure(level: f64) -> f64 {
    20e-6 * 10f64.powf(level / 20.0)
}

/// The sample at which `seconds` have passed.
#[must_use]
pub fn samples(seconds: f64) -> usize {
    (seconds * RATE).round() as usize
}

/// A sine that begins with the signal.
#[must_use]
pub fn sine(frequency: f64, level: f64, seconds: f64) -> Vec<f64> {
    let amplitude = SQRT_2 * pressure(level);
    (0..samples(seconds)).map(|n| amplitude * unit_sine(frequency, n)).collect()
}

/// The signal of a case's `generator`; `others` finds another case's generator, which one may refer to.
///
/// # Errors
/// The type is unknown, or a field is missing or makes no sense: the error names it.
pub fn generate<'a>(generator: &Fields<'a>, others: &dyn Fn(&str) -> Option<Fields<'a>>) -> Result<Vec<f64>> {
    let g = generator;
    match g.text("type")? {
        "sine" => Ok(sine(audible(g, "freq_hz")?, g.number("level_db")?, duration(g)?)),
        "burst" => burst_train(g, 1, 0.0),
        "burst_train" => burst_train(g, few(g, "count")?, bounded(g, "period_s")?),
        "stepped_sine" => {
            let levels = g.numbers("levels_db")?;
            let steps = vec![bounded(g, "step_s")?; levels.len()];
            stepped(g, "step_s", &levels, &steps)
        }
        "stepped_sine_durations" => {
            let (levels, steps) = (g.numbers("levels_db")?, g.numbers("durations_s")?);
            ensure!(levels.len() == steps.len(), "{}: not as many as levels", g.place("durations_s"));
            stepped(g, "durations_s", &levels, &steps)
        }
        "ramp_sine" => ramp(g),
        "single_cycle" => cycles(g, 1.0),
        "single_half_cycle" => cycles(g, 0.5),
        "white_lcg" => white(g, duration(g)?),
        "log_multisine" => multisine(g, duration(g)?),
        "log_multisine_am" => modulated(g, others),
        "white_plus_impacts" => impacts(g),
        "white_plus_passbys" => passbys(g),
        unknown => bail!("{}: unknown type {unknown:?}", g.place("type")),
    }
}

fn duration(g: &Fields<'_>) -> Result<f64> {
    bounded(g, "duration_s")
}

fn bounded(g: &Fields<'_>, name: &str) -> Result<f64> {
    let seconds = g.number(name)?;
    ensure!((0.0..=LONGEST).contains(&seconds), "{}: not within 0 to {LONGEST} s", g.place(name));
    Ok(seconds)
}

/// A frequency that samples can have: another would be heard at one that nobody wrote.
fn audible(g: &Fields<'_>, name: &str) -> Result<f64> {
    let frequency = g.number(name)?;
    let possible = frequency > 0.0 && frequency < RATE / 2.0;
    ensure!(possible, "{}: not above 0 and below {} Hz", g.place(name), RATE / 2.0);
    Ok(frequency)
}

fn few(g: &Fields<'_>, name: &str) -> Result<u64> {
    let count = g.count(name)?;
    ensure!(count <= MOST, "{}: above {MOST}", g.place(name));
    Ok(count)
}

/// sin(2π·f·n/48000), with the whole turns taken off first: exact also after minutes.
fn unit_sine(frequency: f64, n: usize) -> f64 {
    (TAU * (frequency * n as f64 / RATE).fract()).sin()
}

fn burst_train(g: &Fields<'_>, count: u64, period: f64) -> Result<Vec<f64>> {
    let (frequency, amplitude) = (audible(g, "freq_hz")?, SQRT_2 * pressure(g.number("level_db")?));
    let (start, length) = (bounded(g, "start_s")?, samples(bounded(g, "burst_s")?));
    let mut signal = vec![0.0; samples(duration(g)?)];
    for number in 0..count {
        let from = samples(start + number as f64 * period).min(signal.len());
        for (n, sample) in signal[from..].iter_mut().take(length).enumerate() {
            *sample = amplitude * unit_sine(frequency, n);
        }
    }
    Ok(signal)
}

/// `name` is the field that `steps`, in s, come from.
fn stepped(g: &Fields<'_>, name: &str, levels: &[f64], steps: &[f64]) -> Result<Vec<f64>> {
    let frequency = audible(g, "freq_hz")?;
    let total: f64 = steps.iter().sum();
    let possible = steps.iter().all(|step| *step >= 0.0) && total <= LONGEST;
    ensure!(possible, "{}: below 0 s, or together above {LONGEST} s", g.place(name));
    let mut signal = Vec::new();
    let mut end = 0.0;
    for (level, step) in levels.iter().zip(steps) {
        end += step;
        let amplitude = SQRT_2 * pressure(*level);
        signal.extend((signal.len()..samples(end)).map(|n| amplitude * unit_sine(frequency, n)));
    }
    Ok(signal)
}

fn ramp(g: &Fields<'_>) -> Result<Vec<f64>> {
    let (from, to) = (g.number("level_start_db")?, g.number("level_end_db")?);
    let (frequency, count) = (audible(g, "freq_hz")?, samples(duration(g)?));
    let level = |n: usize| from + (to - from) * n as f64 / count as f64;
    Ok((0..count).map(|n| SQRT_2 * pressure(level(n)) * unit_sine(frequency, n)).collect())
}

fn cycles(g: &Fields<'_>, turns: f64) -> Result<Vec<f64>> {
    let (frequency, start) = (audible(g, "freq_hz")?, bounded(g, "start_s")?);
    let amplitude = g.number("polarity")? * SQRT_2 * pressure(g.number("level_db")?);
    let value = |n: usize| {
        let time = n as f64 / RATE - start;
        if (0.0..turns / frequency).contains(&time) {
            amplitude * (TAU * frequency * time).sin()
        } else {
            0.0
        }
    };
    Ok((0..samples(duration(g)?)).map(value).collect())
}

/// The generator of Numerical Recipes.
struct Lcg(u32);

impl Lcg {
    fn new(g: &Fields<'_>, name: &str) -> Result<Self> {
        // A seed beyond 32 bits means its remainder, as in the formula.
        Ok(Self(g.count(name)? as u32))
    }

    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0) / 4_294_967_296.0
    }
}

fn white(g: &Fields<'_>, seconds: f64) -> Result<Vec<f64>> {
    let mut random = Lcg::new(g, "seed")?;
    let amplitude = 12f64.sqrt() * pressure(g.number("level_db")?);
    Ok((0..samples(seconds)).map(|_| (random.next() - 0.5) * amplitude).collect())
}

fn multisine(g: &Fields<'_>, seconds: f64) -> Result<Vec<f64>> {
    let (from, to) = (g.number("f_start_hz")?, g.number("f_end_hz")?);
    let (per_octave, slope) = (g.number("lines_per_octave")?, g.number("slope_db_per_octave")?);
    let possible = from > 0.0 && to >= from && to < RATE / 2.0 && per_octave > 0.0;
    ensure!(possible, "{}: no such lines from there to f_end_hz", g.place("f_start_hz"));
    let octaves = (to / from).log2();
    ensure!(octaves * per_octave < MOST as f64, "{}: above {MOST} lines", g.place("lines_per_octave"));
    let mut random = Lcg::new(g, "phase_seed")?;
    let lines: Vec<f64> = (0..)
        .map(|k| from * 2f64.powf(f64::from(k) / per_octave))
        // The last line may be the end itself, but for rounding.
        .take_while(|frequency| *frequency <= to * (1.0 + 1e-12))
        .collect();
    let weights: Vec<f64> = lines.iter().map(|f| 10f64.powf(slope * (f / 1000.0).log2() / 10.0)).collect();
    let total: f64 = weights.iter().sum();
    let level = pressure(g.number("total_level_db")?);
    let mut signal = vec![0.0; samples(seconds)];
    for (frequency, weight) in lines.iter().zip(&weights) {
        let amplitude = (2.0 * weight / total).sqrt() * level;
        add_sine(&mut signal, *frequency, amplitude, TAU * random.next());
    }
    Ok(signal)
}

/// By turning a pointer, which is set anew every 4096 samples: a tenth of the time of as many sines.
fn add_sine(signal: &mut [f64], frequency: f64, amplitude: f64, phase: f64) {
    const STRETCH: usize = 4096;
    let (turn_sin, turn_cos) = (TAU * frequency / RATE).sin_cos();
    for (number, stretch) in signal.chunks_mut(STRETCH).enumerate() {
        let turns = (frequency * (number * STRETCH) as f64 / RATE).fract();
        let (sin, cos) = (TAU * turns + phase).sin_cos();
        let (mut sin, mut cos) = (amplitude * sin, amplitude * cos);
        for sample in stretch {
            *sample += sin;
            (sin, cos) = (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
        }
    }
}

/// Multisines that a modulated one may be based on without the file having them.
const LOW_MUSIC: &str = r#"{"f_start_hz": 31.5, "f_end_hz": 4000, "lines_per_octave": 24,
    "slope_db_per_octave": -4.5, "total_level_db": 90.0, "phase_seed": 13}"#;

/// `base` is "<case> parameters, field=value, …": another case's multisine with some fields replaced.
fn modulated<'a>(g: &Fields<'a>, others: &dyn Fn(&str) -> Option<Fields<'a>>) -> Result<Vec<f64>> {
    let mut line = serde_json::Map::new();
    if let Ok(base) = g.text("base") {
        let mut parts = base.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default().trim_end_matches("parameters").trim();
        if let Some(other) = others(name) {
            for field in other.names() {
                line.insert(field.to_owned(), other.value(field)?.clone());
            }
        } else if name == "multisine_lowfreq_music" {
            line = serde_json::from_str(LOW_MUSIC)?;
        } else {
            bail!("{}: there is no case {name:?}", g.place("base"));
        }
        for part in parts {
            let replaced = part.split_once('=').and_then(|(field, value)| {
                Some((field.trim().to_owned(), value.trim().parse::<f64>().ok()?))
            });
            let Some((field, value)) = replaced else { bail!("{}: {part:?} is no number", g.place("base")) };
            line.insert(field, value.into());
        }
    }
    for field in g.names().filter(|name| !["type", "base", "formula"].contains(name)) {
        line.insert(field.to_owned(), g.value(field)?.clone());
    }
    let line = serde_json::Value::Object(line);
    let mut signal = multisine(&Fields::new(g.place("base"), &line)?, duration(g)?)?;
    let (frequency, depth) = (g.number("am_hz")?, g.number("am_depth")?);
    let norm = (1.0 + depth * depth / 2.0).sqrt();
    for (n, sample) in signal.iter_mut().enumerate() {
        *sample *= (1.0 + depth * unit_sine(frequency, n)) / norm;
    }
    Ok(signal)
}

fn impacts(g: &Fields<'_>) -> Result<Vec<f64>> {
    let mut signal = white(&g.object("white")?, duration(g)?)?;
    let i = g.object("impact")?;
    let (first, period) = (bounded(&i, "first_s")?, bounded(&i, "period_s")?);
    let (length, decay) = (bounded(&i, "length_s")?, i.number("decay_s")?);
    let (frequency, amplitude) = (audible(&i, "freq_hz")?, SQRT_2 * pressure(i.number("level_db")?));
    for number in 0..few(&i, "count")? {
        let from = samples(first + number as f64 * period).min(signal.len());
        for (n, sample) in signal[from..].iter_mut().take(samples(length)).enumerate() {
            let time = n as f64 / RATE;
            *sample += amplitude * (-time / decay).exp() * (TAU * frequency * time).sin();
        }
    }
    Ok(signal)
}

fn passbys(g: &Fields<'_>) -> Result<Vec<f64>> {
    let seconds = duration(g)?;
    let mut signal = white(&g.object("white")?, seconds)?;
    let p = g.object("passby")?;
    let (times, peaks) = (p.numbers("times_s")?, p.numbers("peak_gain_db")?);
    ensure!(times.len() == peaks.len(), "{}: not as many as times", p.place("peak_gain_db"));
    for (n, (sample, car)) in signal.iter_mut().zip(multisine(&p, seconds)?).enumerate() {
        let time = n as f64 / RATE;
        let gains = times.iter().zip(&peaks).map(|(at, peak)| peak - 12.0 * ((time - at) / 1.2).powi(2));
        let gain = gains.fold(f64::NEG_INFINITY, f64::max);
        *sample += car * 10f64.powf(gain / 20.0);
    }
    Ok(signal)
}
