//! The chain from samples to intervals.

use super::{
    CHUNK, Flags, Interval, SAMPLE_RATE, Sensitivity, TICK, TICKS_PER_SECOND,
    inspect::Inspect,
    interval::{Energies, Exponential, Extremes},
    level,
    peak::Peak,
    time_weighting::Detectors,
    weighting::{GAIN_A, GAIN_C, Sums, Weighting},
};

const CHUNKS_PER_TICK: u32 = (TICK / CHUNK) as u32;
const CHUNKS_PER_SECOND: u32 = CHUNKS_PER_TICK * TICKS_PER_SECOND as u32;
/// How long filters are taken to swing after a start or a gap: 2 s.
const SETTLING_TICKS: u16 = 2 * TICKS_PER_SECOND as u16;
/// A mean further from zero than this part of full scale is told.
const DC_LIMIT: f32 = 0.02;
/// Below where [`Inspect`] takes a sample to be cut off.
const UPPER_MOST: f32 = 0.9999;

/// Gets what a [`Meter`] measures, in the order of time. Every method does nothing unless implemented.
pub trait Sink {
    /// [`CHUNK`] samples, in full scales: for the filter banks in [`bands`](super::bands). After faults were mended.
    fn chunk(&mut self, _samples: &[f32; CHUNK]) {}

    /// 10 ms. LAF for percentiles and features is [`Interval::laf`].
    fn tick(&mut self, _tick: &Interval) {}

    /// 1 s: the hundred ticks before it.
    fn second(&mut self, _second: &Interval) {}
}

/// A sink for those who want seconds only.
impl<F: FnMut(&Interval)> Sink for F {
    fn second(&mut self, second: &Interval) {
        self(second);
    }
}

/// In which range a meter may be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// A sample of more than this part of full scale is an overload: 0.01 to 0.9999, as one that is cut off always is.
    pub upper: f32,
    /// Seconds (and ticks) whose LAeq is below this are under range, in dB.
    pub lower: f32,
}

impl Default for Range {
    /// 0.5 dB below full scale; 25 dB, which good MEMS microphones' own noise is just above.
    fn default() -> Self {
        Self { upper: 0.944, lower: 25.0 }
    }
}

/// The sound level meter. About 600 bytes; nothing is allocated.
#[derive(Clone, Debug)]
pub struct Meter {
    sensitivity: Sensitivity,
    /// [`Range::upper`].
    upper: f32,
    /// [`Range::lower`] as a mean square in Pa².
    lower: f64,
    /// The chunk that is being filled.
    chunk: [f32; CHUNK],
    filled: usize,
    inspect: Inspect,
    weighting: Weighting,
    detectors: Detectors,
    peak: Peak,
    tick: Tick,
    second: Interval,
    ticks: u32,
    settling: u16,
    /// Samples before the tick that is being filled.
    position: u64,
}

/// A tick in the making, in squared full scales and without the weightings' gains.
#[derive(Clone, Copy, Debug, Default)]
struct Tick {
    chunks: u32,
    missing: u32,
    sums: Sums,
    impulse: f32,
    extremes: Extremes,
    flags: Flags,
}

impl Meter {
    /// A meter at rest: every filter and detector holds zero.
    ///
    /// A limit of the range that makes no sense is held at one that does.
    #[must_use]
    pub fn new(sensitivity: Sensitivity, range: Range) -> Self {
        // NaN is not below it either.
        let upper = if range.upper < UPPER_MOST { range.upper.max(0.01) } else { UPPER_MOST };
        Self {
            sensitivity,
            upper,
            lower: level::to_mean_square(range.lower),
            chunk: [0.0; CHUNK],
            filled: 0,
            inspect: Inspect::default(),
            weighting: Weighting::default(),
            detectors: Detectors::default(),
            peak: Peak::default(),
            tick: Tick::default(),
            second: Interval::default(),
            ticks: 0,
            settling: SETTLING_TICKS,
            position: 0,
        }
    }

    /// Changes the sensitivity, as after a calibration; from the tick on that is being filled.
    pub fn set_sensitivity(&mut self, sensitivity: Sensitivity) {
        self.sensitivity = sensitivity;
    }

    /// The sensitivity in use.
    #[must_use]
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// Samples since the start, missing ones included.
    #[must_use]
    pub fn position(&self) -> u64 {
        let chunks = self.tick.chunks;
        self.position + u64::from(chunks) * CHUNK as u64 + self.filled as u64
    }

    /// Takes 16-bit samples.
    pub fn process_i16(&mut self, samples: &[i16], sink: &mut impl Sink) {
        self.process(samples, from_i16, sink);
    }

    /// Takes 24-bit samples, sign-extended to 32 bits (right-aligned). Shift left-aligned ones right by 8 before.
    pub fn process_i24(&mut self, samples: &[i32], sink: &mut impl Sink) {
        self.process(samples, from_i24, sink);
    }

    /// Takes samples of which ±1 is full scale. NaN and infinity are flagged and do no harm.
    pub fn process_f32(&mut self, samples: &[f32], sink: &mut impl Sink) {
        self.process(samples, <[f32]>::copy_from_slice, sink);
    }

    fn process<T>(&mut self, mut samples: &[T], convert: impl Fn(&mut [f32], &[T]), sink: &mut impl Sink) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(CHUNK - self.filled));
            convert(&mut self.chunk[self.filled..self.filled + now.len()], now);
            self.filled += now.len();
            samples = later;
            if self.filled == CHUNK {
                self.filled = 0;
                self.run_chunk(sink);
            }
        }
    }

    /// Says that `samples` were lost here: a buffer overran, a block did not come.
    ///
    /// Time goes on by as many samples, and the interval is flagged. Means leave them out. Costs a call of the sink per
    /// second that is missing.
    pub fn gap(&mut self, samples: u32, sink: &mut impl Sink) {
        if samples == 0 {
            return;
        }
        // The chunk that was begun goes too; the one in which samples come again is begun with the last one before.
        let total = self.filled as u64 + u64::from(samples);
        let mut chunks = total / CHUNK as u64;
        self.filled = (total % CHUNK as u64) as usize;
        self.chunk[..self.filled].fill(self.inspect.last());
        self.settling = SETTLING_TICKS;
        self.tick.flags.insert(Flags::GAP);
        while chunks > 0 {
            if self.ticks == 0 && self.tick.chunks == 0 && chunks >= u64::from(CHUNKS_PER_SECOND) {
                chunks -= u64::from(CHUNKS_PER_SECOND);
                self.skip_second(sink);
            } else {
                chunks -= 1;
                self.tick.flags.insert(Flags::GAP);
                self.tick.missing += CHUNK as u32;
                self.next_chunk(sink);
            }
        }
        if self.filled > 0 {
            self.tick.flags.insert(Flags::GAP);
        }
        // The ticks that are missing have used some of it up.
        self.settling = SETTLING_TICKS;
    }

    fn skip_second(&mut self, sink: &mut impl Sink) {
        let missing = u64::from(SAMPLE_RATE);
        let flags = Flags::GAP | Flags::SETTLING | Flags::UNDER_RANGE;
        let second = Interval { start: self.position, missing, flags, ..Interval::default() };
        self.position += missing;
        sink.second(&second);
    }

    fn run_chunk(&mut self, sink: &mut impl Sink) {
        self.tick.flags.insert(self.inspect.run(&mut self.chunk, self.upper));
        sink.chunk(&self.chunk);
        self.weigh_chunk();
        self.next_chunk(sink);
    }

    #[inline(never)]
    fn weigh_chunk(&mut self) {
        let mut c = [0.0; CHUNK];
        let sums = self.weighting.run(&self.chunk, &mut c);
        self.peak.run(&c);
        let tick = &mut self.tick;
        tick.sums.z += sums.z;
        tick.sums.c += sums.c;
        tick.sums.a += sums.a;
        self.detectors.run(sums.a);
        let Detectors { fast, slow, impulse, .. } = self.detectors;
        tick.impulse += impulse;
        let extremes = &mut tick.extremes;
        raise(&mut extremes.fast_max, fast);
        lower(&mut extremes.fast_min, fast);
        raise(&mut extremes.slow_max, slow);
        lower(&mut extremes.slow_min, slow);
        raise(&mut extremes.impulse_max, impulse);
    }

    fn next_chunk(&mut self, sink: &mut impl Sink) {
        self.tick.chunks += 1;
        if self.tick.chunks == CHUNKS_PER_TICK {
            self.close_tick(sink);
        }
    }

    fn close_tick(&mut self, sink: &mut impl Sink) {
        let tick = core::mem::take(&mut self.tick);
        // What the next one begins with is in it: F moves on by chunks, and in the first a bang lifts it by far.
        self.tick.extremes.fast_min = self.detectors.fast;
        self.tick.extremes.slow_min = self.detectors.slow;
        let dc = self.weighting.settle_dc();
        let mut flags = tick.flags;
        if self.settling > 0 {
            self.settling -= 1;
            flags.insert(Flags::SETTLING);
        }
        let square = self.sensitivity.pascals() * self.sensitivity.pascals();
        let (c, a) = (square * GAIN_C, square * GAIN_A);
        let samples = u64::from(TICK as u32 - tick.missing);
        let Extremes { fast_max, fast_min, slow_max, slow_min, impulse_max } = tick.extremes;
        let mut interval = Interval {
            start: self.position,
            samples,
            missing: u64::from(tick.missing),
            energy: Energies {
                a: f64::from(tick.sums.a * a),
                c: f64::from(tick.sums.c * c),
                z: f64::from(tick.sums.z * square),
                i: f64::from(tick.impulse * (a * CHUNK as f32)),
            },
            extremes: Extremes {
                fast_max: fast_max * a,
                // A tick without samples has none.
                fast_min: if samples > 0 { fast_min * a } else { f32::MAX },
                slow_max: slow_max * a,
                slow_min: if samples > 0 { slow_min * a } else { f32::MAX },
                impulse_max: impulse_max * a,
            },
            end: Exponential { fast: self.detectors.fast * a, slow: self.detectors.slow * a },
            peak: libm::sqrtf(c) * self.peak.take(),
            dc,
            flags,
        };
        self.note_under_range(&mut interval);
        self.position += TICK as u64;
        self.second.merge(&interval);
        sink.tick(&interval);
        self.ticks += 1;
        if self.ticks == TICKS_PER_SECOND as u32 {
            self.ticks = 0;
            let mut second = core::mem::take(&mut self.second);
            self.note_under_range(&mut second);
            // Within a second a low tone of 10 Hz looks like an offset for a while; over a second it does not.
            if second.dc.abs() > DC_LIMIT {
                second.flags.insert(Flags::DC_OFFSET);
            }
            sink.second(&second);
        }
    }

    /// By energies rather than levels, which would cost a logarithm every tick.
    fn note_under_range(&self, interval: &mut Interval) {
        // Without samples both are 0.
        if interval.energy.a <= self.lower * interval.samples as f64 {
            interval.flags.insert(Flags::UNDER_RANGE);
        } else {
            interval.flags.remove(Flags::UNDER_RANGE);
        }
    }
}

#[inline(never)]
fn from_i16(chunk: &mut [f32], samples: &[i16]) {
    for (place, &sample) in chunk.iter_mut().zip(samples) {
        *place = f32::from(sample) * (1.0 / 32_768.0);
    }
}

#[inline(never)]
fn from_i24(chunk: &mut [f32], samples: &[i32]) {
    for (place, &sample) in chunk.iter_mut().zip(samples) {
        *place = sample as f32 * (1.0 / 8_388_608.0);
    }
}

fn raise(largest: &mut f32, value: f32) {
    if value > *largest {
        *largest = value;
    }
}

fn lower(smallest: &mut f32, value: f32) {
    if value < *smallest {
        *smallest = value;
    }
}
