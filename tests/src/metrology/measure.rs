//! Runs signals through the meter.

use gridpost_firmware::acoustics::{
    CHUNK, Interval, Meter, Range, Sensitivity, Sink, TICK, TICKS_PER_SECOND,
    bands::{OCTAVES, Octaves, Spectrum, THIRD_OCTAVES, ThirdOctaves},
};

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
    /// The window as one interval.
    pub window: Interval,
    /// The ticks that end in it.
    pub ticks: Vec<Interval>,
    /// The Leq of its octaves in dB, if they were asked for.
    pub octaves: Vec<f32>,
    /// That of its third-octaves.
    pub thirds: Vec<f32>,
}

impl Measured {
    /// Of a window that is whole ticks.
    #[must_use]
    pub fn new(ticks: Vec<Interval>, octaves: Vec<f32>, thirds: Vec<f32>) -> Self {
        let mut window = Interval::default();
        ticks.iter().for_each(|tick| window.merge(tick));
        Self { window, ticks, octaves, thirds }
    }
}

/// A signal cut so that it ends with a tick.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// The samples in Pa.
    pub signal: Vec<f64>,
    /// The ticks that are told.
    pub ticks: std::ops::Range<usize>,
}

/// The signal as far as sample `to`, which ends a tick: silence, in which a meter at rest stays at rest, is put before it. Told
/// are the ticks that end after sample `from`.
#[must_use]
pub fn align(signal: &[f64], from: usize, to: usize) -> Aligned {
    let before = (TICK - to % TICK) % TICK;
    let signal = [&vec![0.0; before], &signal[..to]].concat();
    Aligned { ticks: (from + before) / TICK..signal.len() / TICK, signal }
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
    told: Vec<Interval>,
}

impl Recorder {
    fn new(aligned: &Aligned, filters: Filters) -> Self {
        Self {
            octaves: filters.octaves.then(|| (Octaves::new(), Spectrum::empty())),
            thirds: filters.thirds.then(|| (ThirdOctaves::new(), Spectrum::empty())),
            window: aligned.ticks.clone(),
            ticks: 0,
            told: Vec::with_capacity(aligned.ticks.len()),
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

    fn finish(self) -> Measured {
        let octaves = self.octaves.map_or_else(Vec::new, |(_, sum)| sum.levels().to_vec());
        let thirds = self.thirds.map_or_else(Vec::new, |(_, sum)| sum.levels().to_vec());
        Measured::new(self.told, octaves, thirds)
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
            self.told.push(*tick);
        }
        self.ticks += 1;
        if inside && (self.ticks == self.window.end || self.ticks.is_multiple_of(TICKS_PER_SECOND)) {
            self.take(true);
        } else if self.ticks == self.window.start {
            self.take(false);
        }
    }
}
