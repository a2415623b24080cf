//! Runs signals through the meter.

use gridpost_firmware::acoustics::{
    CHUNK, Interval, Meter, Range, Sensitivity, Sink, TICK, TICKS_PER_SECOND,
    bands::{OCTAVES, Octaves, Spectrum, THIRD_OCTAVES, ThirdOctaves},
};

use super::signal::{RATE, samples};

/// Full scale of the converter in Pa: the peaks of a sine of 137 dB, so that everything up to 120 dB with a crest factor of
/// 5 fits.
pub const FULL_SCALE_PA: f64 = 200.0;

/// What the samples are given as. The numbers of the blocks' sizes have nothing to do with the meter's own.
const BLOCKS: [usize; 8] = [1, 7, 113, 480, 997, 16, 4801, 3];

/// In what form the meter gets its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// f32.
    F32,
    /// 24 bits in an i32.
    I24,
    /// i16.
    I16,
}

impl Format {
    /// As on a command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "f32" => Some(Self::F32),
            "i24" => Some(Self::I24),
            "i16" => Some(Self::I16),
            _ => None,
        }
    }
}

/// Which filters are to run beside the meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Octaves.
    pub octaves: bool,
    /// Third-octaves.
    pub thirds: bool,
}

/// What a meter told of a window.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The window's length in s.
    pub seconds: f64,
    /// Its ticks.
    pub ticks: Vec<Interval>,
    /// The Leq of its octaves in dB, if they were asked for.
    pub octaves: Vec<f32>,
    /// That of its third-octaves.
    pub thirds: Vec<f32>,
}

impl Measured {
    /// The window as one interval.
    #[must_use]
    pub fn window(&self) -> Interval {
        let mut window = Interval::default();
        for tick in &self.ticks {
            window.merge(tick);
        }
        window
    }
}

/// A signal cut so that its window begins and ends with a tick.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// The samples in Pa.
    pub signal: Vec<f64>,
    /// The ticks of the window.
    pub ticks: std::ops::Range<usize>,
    /// The window's length in s.
    pub seconds: f64,
}

/// Puts silence, in which a meter at rest stays at rest, before a signal so that the window begins with a tick; cuts what
/// follows the window, and fills its last tick up with silence.
#[must_use]
pub fn align(mut signal: Vec<f64>, start: f64, end: f64) -> Aligned {
    let (from, to) = (samples(start), samples(end).min(signal.len()));
    signal.truncate(to);
    let before = (TICK - from % TICK) % TICK;
    signal.splice(0..0, std::iter::repeat_n(0.0, before));
    let last = signal.len().div_ceil(TICK);
    signal.resize(last * TICK, 0.0);
    Aligned { signal, ticks: (from + before) / TICK..last, seconds: to.saturating_sub(from) as f64 / RATE }
}

/// The sensitivity that goes with [`FULL_SCALE_PA`].
#[must_use]
pub fn sensitivity() -> Sensitivity {
    Sensitivity::from_pascals(FULL_SCALE_PA as f32).unwrap_or_else(|| unreachable!("200 Pa is in range"))
}

/// Measures a window of a signal, from rest.
#[must_use]
pub fn measure(aligned: &Aligned, format: Format, filters: Filters) -> Measured {
    let mut meter = Meter::new(sensitivity(), Range::default());
    let mut recorder = Recorder::new(aligned, filters);
    let scaled = aligned.signal.iter().map(|pressure| pressure / FULL_SCALE_PA);
    match format {
        Format::F32 => {
            let all: Vec<f32> = scaled.map(|sample| sample as f32).collect();
            in_blocks(&all, |block| meter.process_f32(block, &mut recorder));
        }
        Format::I24 => {
            let all: Vec<i32> = scaled.map(to_i24).collect();
            in_blocks(&all, |block| meter.process_i24(block, &mut recorder));
        }
        Format::I16 => {
            let all: Vec<i16> = scaled.map(to_i16).collect();
            in_blocks(&all, |block| meter.process_i16(block, &mut recorder));
        }
    }
    recorder.finish()
}

/// A sample as a converter of 24 bits gives it; what is beyond its range is held at its end.
#[must_use]
pub fn to_i24(sample: f64) -> i32 {
    ((sample * 8_388_608.0).round() as i32).clamp(-8_388_608, 8_388_607)
}

/// The same of 16 bits. `as` holds what is beyond the range.
#[must_use]
pub fn to_i16(sample: f64) -> i16 {
    (sample * 32_768.0).round() as i16
}

fn in_blocks<T>(mut samples: &[T], mut process: impl FnMut(&[T])) {
    for size in BLOCKS.into_iter().cycle() {
        if samples.is_empty() {
            return;
        }
        let (block, rest) = samples.split_at(size.min(samples.len()));
        process(block);
        samples = rest;
    }
}

/// Keeps what belongs to the window.
struct Recorder {
    octaves: Option<(Octaves, Spectrum<OCTAVES>)>,
    thirds: Option<(ThirdOctaves, Spectrum<THIRD_OCTAVES>)>,
    window: std::ops::Range<usize>,
    ticks: usize,
    measured: Measured,
}

impl Recorder {
    fn new(aligned: &Aligned, filters: Filters) -> Self {
        let measured = Measured {
            seconds: aligned.seconds,
            ticks: Vec::with_capacity(aligned.ticks.len()),
            octaves: Vec::new(),
            thirds: Vec::new(),
        };
        Self {
            octaves: filters.octaves.then(|| (Octaves::new(), Spectrum::empty())),
            thirds: filters.thirds.then(|| (ThirdOctaves::new(), Spectrum::empty())),
            window: aligned.ticks.clone(),
            ticks: 0,
            measured,
        }
    }

    /// Takes what came through the filters; before the window's begin it is let go.
    fn take(&mut self, keep: bool) {
        if let Some((bank, sum)) = &mut self.octaves {
            let spectrum = bank.take(sensitivity());
            if keep {
                sum.merge(&spectrum);
            }
        }
        if let Some((bank, sum)) = &mut self.thirds {
            let spectrum = bank.take(sensitivity());
            if keep {
                sum.merge(&spectrum);
            }
        }
    }

    fn finish(mut self) -> Measured {
        self.measured.octaves = self.octaves.map_or_else(Vec::new, |(_, sum)| sum.levels().to_vec());
        self.measured.thirds = self.thirds.map_or_else(Vec::new, |(_, sum)| sum.levels().to_vec());
        self.measured
    }
}

impl Sink for Recorder {
    fn chunk(&mut self, samples: &[f32; CHUNK]) {
        if let Some((bank, _)) = &mut self.octaves {
            bank.run(samples);
        }
        if let Some((bank, _)) = &mut self.thirds {
            bank.run(samples);
        }
    }

    fn tick(&mut self, tick: &Interval) {
        let inside = self.window.contains(&self.ticks);
        if inside {
            self.measured.ticks.push(*tick);
        }
        self.ticks += 1;
        if inside && (self.ticks == self.window.end || self.ticks.is_multiple_of(TICKS_PER_SECOND)) {
            self.take(true);
        } else if self.ticks == self.window.start {
            self.take(false);
        }
    }
}
