//! The sound level meter as a node's sensor: samples in, readings out.
//!
//! Every second LAeq and LAFmax; every 60 seconds what describes a minute: LCeq, LCpeak, LAFmin, percentiles of LAF, the share of low
//! frequencies, the prominence of impulses and the depth of modulation; with the cargo feature `octaves` the unweighted level of each octave,
//! and with `tonality`, which costs a Cortex-M4F of 64 MHz a quarter of its time, tonality too. A second's time is counted in samples from the first block
//! on, so seconds are at even distances; when that is more than [`REANCHOR_US`] from the node's clock, it is taken from there anew.
//!
//! What is found against a second goes into its quality: overload and under-range as they are; samples that are missing make it
//! incomplete; a dead microphone or samples at a wrong rate make it faulty, and no rule decides on it. The two seconds in which filters
//! settle after a start or a gap are not told at all. Seconds of a calibration, and minutes with such, are marked.

use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UptimeMillis;

use super::SensorError;
use super::calibrating::{AFTER_SECONDS, Calibrating};
#[cfg(feature = "octaves")]
use crate::acoustics::bands::{OCTAVES, Octaves};
use crate::acoustics::calibration::{Calibration, CalibrationLimits, CalibrationRefused, Calibrator};
use crate::acoustics::clock::{LIMIT_PPM, RateCheck};
use crate::acoustics::modulation::ModulationWindow;
use crate::acoustics::onset::OnsetDetector;
use crate::acoustics::percentiles::MinutePercentiles;
#[cfg(any(feature = "octaves", feature = "tonality"))]
use crate::acoustics::{
    CHUNK,
    bands::{Bank, Spectrum},
};
use crate::acoustics::{Flags, Interval, Meter, Range, SAMPLE_RATE, Sensitivity, Sink};
#[cfg(feature = "tonality")]
use crate::acoustics::{
    bands::{THIRD_OCTAVES, ThirdOctaves},
    tonality::tones,
};

/// Samples in a block: 10 ms.
pub const BLOCK: usize = 480;
/// Samples that are measured at once: a millisecond's, so that a block need not be converted as a whole.
pub const PART: usize = 48;
/// The most readings that one block can end with: a second's and a minute's.
pub const READINGS_AT_ONCE: usize = if cfg!(feature = "octaves") { 26 } else { 16 };
/// How far samples and the node's clock may be apart, in microseconds.
pub const REANCHOR_US: u64 = 500_000;

/// How many seconds are described together.
const MINUTE_SECONDS: u32 = 60;
/// How often the modulation is looked at, in seconds: its window.
const MODULATION_SECONDS: u32 = 10;

/// Where samples come from.
#[allow(async_fn_in_trait, reason = "a node runs on one thread; nothing needs to be Send")]
pub trait Microphone {
    /// Its name in log lines.
    const NAME: &'static str;

    /// A block as it comes, or where it is.
    type Block;

    /// Waits for the next block of samples.
    ///
    /// # Errors
    /// When there are none.
    async fn block(&mut self) -> Result<Heard<Self::Block>, SensorError>;

    /// The samples of a part of the block ([`PART`] of [`BLOCK`]), in order: at 48 kHz, 24 bits, right-aligned.
    fn samples(&mut self, block: &Self::Block, part: usize, samples: &mut [i32; PART]);
}

/// A block that was heard.
#[derive(Clone, Debug)]
pub struct Heard<B> {
    /// The block.
    pub block: B,
    /// How many samples were lost before it.
    pub lost: u32,
}

/// The readings of one block, each with the uptime at which what it describes ended.
pub type SoundReadings = heapless::Vec<(UptimeMillis, Reading), READINGS_AT_ONCE>;

/// The sensor. Some 3 KiB, 0.8 KiB more with octaves and 1.5 KiB more with tonality.
#[derive(Clone, Debug)]
pub struct SoundLevel {
    meter: Meter,
    ear: Ear,
    rate: RateCheck,
    slipped: bool,
    /// The uptime at the meter's first sample, in microseconds.
    anchor_us: Option<u64>,
}

impl SoundLevel {
    /// A sensor at rest.
    #[must_use]
    pub fn new(sensitivity: Sensitivity, range: Range) -> Self {
        let mut new = Self {
            meter: Meter::new(sensitivity, range),
            ear: Ear::default(),
            rate: RateCheck::new(LIMIT_PPM),
            slipped: false,
            anchor_us: None,
        };
        new.set_sensitivity(sensitivity);
        new
    }

    /// Takes a block that has just ended, at this uptime in microseconds, and before which so many samples were lost.
    pub fn process(&mut self, lost: u32, samples: &[i32; BLOCK], now_us: u64) -> SoundReadings {
        let parts = samples.as_chunks::<PART>().0;
        let mut out = SoundReadings::new();
        let part = |part: usize, samples: &mut [i32; PART]| samples.copy_from_slice(&parts[part]);
        self.process_parts(lost, now_us, part, |at, reading| {
            // As many as the ear tells at once.
            let _ = out.push((at, reading));
        });
        out
    }

    /// [`Self::process`] of a block whose parts are asked for one after the other; each reading is told by itself, because a node has no
    /// room for all of a minute's on its stack.
    pub fn process_parts(
        &mut self,
        lost: u32,
        now_us: u64,
        mut part: impl FnMut(usize, &mut [i32; PART]),
        mut tell: impl FnMut(UptimeMillis, Reading),
    ) {
        self.meter.gap(lost, &mut self.ear);
        let mut samples = [0; PART];
        for number in 0..BLOCK / PART {
            part(number, &mut samples);
            self.meter.process_i24(&samples, &mut self.ear);
        }
        let position = self.meter.position();
        if let Some(rate) = self.rate.note(position, now_us) {
            self.slipped = rate.slipped;
        }
        let length_us = micros(position);
        let anchor = match self.anchor_us {
            Some(anchor) if (anchor + length_us).abs_diff(now_us) <= REANCHOR_US => anchor,
            _ => now_us.saturating_sub(length_us),
        };
        self.anchor_us = Some(anchor);
        if let Some((end, told)) = &self.ear.done {
            let at = UptimeMillis((anchor + micros(*end)) / 1000);
            for reading in told {
                let Reading { quantity, value, mut quality } = *reading;
                if self.slipped {
                    quality = quality.with(Quality::FAULT);
                }
                tell(at, Reading { quantity, value, quality });
            }
            self.ear.done = None;
        }
    }

    /// Begins a calibration; one that is under way is begun anew. Ask [`Self::judge_calibration`] after each block.
    pub fn calibrate(&mut self, calibrator: Calibrator, limits: CalibrationLimits) {
        self.ear.calibrating = Some(Calibrating::new(calibrator, limits));
    }

    /// What came of a calibration, once, when that is certain. The sensitivity stays as it is.
    pub fn judge_calibration(&mut self) -> Option<Result<Calibration, CalibrationRefused>> {
        let judged = self.ear.calibrating.as_mut()?.judge(self.meter.sensitivity())?;
        self.ear.calibrating = None;
        self.ear.marked_seconds = AFTER_SECONDS;
        Some(judged)
    }

    /// The meter's sensitivity.
    #[must_use]
    pub fn sensitivity(&self) -> Sensitivity {
        self.meter.sensitivity()
    }

    /// Changes the sensitivity, as after a calibration.
    pub fn set_sensitivity(&mut self, sensitivity: Sensitivity) {
        self.meter.set_sensitivity(sensitivity);
        #[cfg(feature = "octaves")]
        {
            self.ear.sensitivity = sensitivity;
        }
    }
}

fn micros(samples: u64) -> u64 {
    samples.saturating_mul(1_000_000) / u64::from(SAMPLE_RATE)
}

/// Listens to the meter.
#[derive(Clone, Debug)]
struct Ear {
    /// Of a minute: 6,000 ticks.
    percentiles: MinutePercentiles,
    onsets: OnsetDetector,
    prominence: f32,
    modulation: ModulationWindow,
    depth: f32,
    minute: Interval,
    seconds: u32,
    #[cfg(feature = "octaves")]
    octaves: Bands<OCTAVES>,
    #[cfg(feature = "tonality")]
    tones: Bands<THIRD_OCTAVES>,
    #[cfg(feature = "octaves")]
    sensitivity: Sensitivity,
    calibrating: Option<Calibrating>,
    /// So many more seconds are marked.
    marked_seconds: u32,
    /// A second of the minute was.
    marked_minute: bool,
    /// The second that has just ended: where it ended, in samples, and what is to be told.
    done: Option<(u64, heapless::Vec<Reading, READINGS_AT_ONCE>)>,
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            percentiles: MinutePercentiles::new(),
            onsets: OnsetDetector::default(),
            prominence: 0.0,
            modulation: ModulationWindow::default(),
            depth: 0.0,
            minute: Interval::default(),
            seconds: 0,
            #[cfg(feature = "octaves")]
            octaves: Bands::of(Octaves::new()),
            #[cfg(feature = "tonality")]
            tones: Bands::of(ThirdOctaves::new()),
            #[cfg(feature = "octaves")]
            sensitivity: Sensitivity::ONE_PASCAL,
            calibrating: None,
            marked_seconds: 0,
            marked_minute: false,
            done: None,
        }
    }
}

/// What flags mean for a reading.
fn quality(interval: &Interval) -> Quality {
    let mut quality = Quality::GOOD;
    for (flags, means) in [
        (Flags::OVERLOAD, Quality::OVERLOAD),
        (Flags::CLIPPED, Quality::OVERLOAD),
        (Flags::UNDER_RANGE, Quality::UNDER_RANGE),
        (Flags::GAP, Quality::INCOMPLETE),
        (Flags::STUCK, Quality::FAULT),
        (Flags::RATE_SLIP, Quality::FAULT),
    ] {
        if interval.flags.contains(flags) {
            quality = quality.with(means);
        }
    }
    quality
}

/// To a hundredth, which is finer than anything that is claimed and takes fewer bytes.
fn level(quantity: Quantity, value: f32, quality: Quality) -> Option<Reading> {
    let Milli(value) = Milli::from_f32(value)?;
    Some(Reading { quantity, value: Milli((value + 5).div_euclid(10) * 10), quality })
}

/// Band levels of a minute.
#[cfg(any(feature = "octaves", feature = "tonality"))]
#[derive(Clone, Debug)]
struct Bands<const N: usize> {
    bank: Bank<N>,
    minute: Spectrum<N>,
}

#[cfg(any(feature = "octaves", feature = "tonality"))]
impl<const N: usize> Bands<N> {
    fn of(bank: Bank<N>) -> Self {
        Self { bank, minute: Spectrum::empty() }
    }

    /// A second ended; one that does not count is left out.
    fn second(&mut self, counts: bool, sensitivity: Sensitivity) {
        let second = self.bank.take(sensitivity);
        if counts {
            self.minute.merge(&second);
        }
    }

    fn begin_minute(&mut self) {
        self.minute = Spectrum::empty();
    }
}

/// By how many dB the most prominent tone stands above its neighbours; 0 when there is none.
#[cfg(feature = "tonality")]
fn prominence(minute: &Spectrum<THIRD_OCTAVES>) -> f32 {
    tones(&minute.levels()).map(|tone| tone.prominence).fold(0.0, f32::max)
}

impl Sink for Ear {
    #[cfg(any(feature = "octaves", feature = "tonality"))]
    fn chunk(&mut self, samples: &[f32; CHUNK]) {
        #[cfg(feature = "octaves")]
        self.octaves.bank.run(samples);
        #[cfg(feature = "tonality")]
        self.tones.bank.run(samples);
    }

    fn tick(&mut self, tick: &Interval) {
        if let Some(calibrating) = &mut self.calibrating {
            calibrating.add(tick);
        }
        if tick.samples == 0 || tick.flags.contains(Flags::SETTLING) {
            self.onsets.interrupt();
            self.modulation.clear();
            return;
        }
        let laf = tick.laf();
        self.percentiles.add(laf);
        self.modulation.add(laf);
        if let Some(onset) = self.onsets.add(laf) {
            self.prominence = self.prominence.max(onset.prominence());
        }
    }

    fn second(&mut self, second: &Interval) {
        // In its place: it is large.
        let (_, told) =
            self.done.insert((second.start + second.samples + second.missing, heapless::Vec::new()));
        let mut tell = |reading: Option<Reading>| {
            if let Some(reading) = reading {
                // Two of a second and at most fourteen of a minute, and ten octaves.
                let _ = told.push(reading);
            }
        };
        let settled = second.samples > 0 && !second.flags.contains(Flags::SETTLING);
        let marked = self.calibrating.is_some() || self.marked_seconds > 0;
        self.marked_seconds = self.marked_seconds.saturating_sub(1);
        self.marked_minute |= marked;
        let mark =
            |quality: Quality, marked| if marked { quality.with(Quality::CALIBRATION) } else { quality };
        if settled {
            let quality = mark(quality(second), marked);
            tell(level(Quantity::LAeq, second.laeq(), quality));
            tell(level(Quantity::LAFmax, second.lafmax(), quality));
            self.minute.merge(second);
        }
        #[cfg(feature = "octaves")]
        self.octaves.second(settled, self.sensitivity);
        // Only differences between bands are told: pascals do not matter.
        #[cfg(feature = "tonality")]
        self.tones.second(settled && !second.flags.contains(Flags::GAP), Sensitivity::ONE_PASCAL);
        self.seconds += 1;
        if self.seconds.is_multiple_of(MODULATION_SECONDS)
            && let Some(modulation) = self.modulation.measure()
        {
            self.depth = self.depth.max(if modulation.is_modulated() { modulation.depth } else { 0.0 });
        }
        if self.seconds >= MINUTE_SECONDS {
            if self.minute.samples > 0 {
                let (minute, quality) = (&self.minute, mark(quality(&self.minute), self.marked_minute));
                tell(level(Quantity::LCeq, minute.lceq(), quality));
                tell(level(Quantity::LCpeak, minute.lcpeak(), quality));
                tell(level(Quantity::LAFmin, minute.lafmin(), quality));
                for (quantity, percent) in [
                    (Quantity::L5, 5.0),
                    (Quantity::L10, 10.0),
                    (Quantity::L50, 50.0),
                    (Quantity::L90, 90.0),
                    (Quantity::L95, 95.0),
                ] {
                    tell(
                        self.percentiles.exceeded(percent).and_then(|value| level(quantity, value, quality)),
                    );
                }
                let deviation = self.percentiles.standard_deviation();
                tell(deviation.and_then(|value| level(Quantity::LevelDeviation, value, quality)));
                tell(level(Quantity::LowFrequencyShare, minute.lceq_minus_laeq(), quality));
                tell(level(Quantity::ImpulseProminence, self.prominence, quality));
                tell(level(Quantity::ModulationDepth, self.depth, quality));
                #[cfg(feature = "tonality")]
                tell(level(Quantity::Tonality, prominence(&self.tones.minute), quality));
                #[cfg(feature = "octaves")]
                for (quantity, value) in Quantity::OCTAVES.into_iter().zip(self.octaves.minute.levels()) {
                    tell(level(quantity, value, quality));
                }
            }
            self.minute = Interval::default();
            #[cfg(feature = "octaves")]
            self.octaves.begin_minute();
            #[cfg(feature = "tonality")]
            self.tones.begin_minute();
            self.percentiles.clear();
            (self.seconds, self.prominence, self.depth) = (0, 0.0, 0.0);
            self.marked_minute = false;
        }
        if told.is_empty() {
            self.done = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// A 1 kHz tone of so many decibels, when full scale is 1 Pa (91 dB for a sine).
    fn tone(second: usize, decibels: f32) -> Vec<[i32; BLOCK]> {
        let amplitude = 8_388_607.0 * 10_f32.powf((decibels - 90.97) / 20.0);
        (0..100)
            .map(|block| {
                core::array::from_fn(|n| {
                    let n = (second * 100 + block) * BLOCK + n;
                    (amplitude * (n as f32 * 1000.0 / 48_000.0 * core::f32::consts::TAU).sin()) as i32
                })
            })
            .collect()
    }

    fn sensor() -> SoundLevel {
        SoundLevel::new(Sensitivity::ONE_PASCAL, Range::default())
    }

    /// Feeds so many seconds, and returns what was told.
    fn listen(sensor: &mut SoundLevel, from: usize, seconds: usize, decibels: f32) -> Vec<(u64, Reading)> {
        let mut told = Vec::new();
        for second in from..from + seconds {
            for (block, samples) in tone(0, decibels).iter().enumerate() {
                let now_us = (second as u64 * 100 + block as u64 + 1) * 10_000 + 3_000_000;
                told.extend(sensor.process(0, samples, now_us).iter().map(|(at, reading)| (at.0, *reading)));
            }
        }
        told
    }

    fn of(told: &[(u64, Reading)], quantity: Quantity) -> Vec<(u64, i32, Quality)> {
        told.iter()
            .filter(|(_, r)| r.quantity == quantity)
            .map(|(at, r)| (*at, r.value.0, r.quality))
            .collect()
    }

    #[test]
    fn every_second_has_its_level_and_every_minute_its_percentiles() {
        let told = listen(&mut sensor(), 0, 61, 80.0);
        let seconds = of(&told, Quantity::LAeq);
        assert_eq!(seconds.len(), 59, "the first two settle");
        assert!(
            seconds
                .iter()
                .all(|(_, value, quality)| (value - 80_000).abs() <= 30 && *quality == Quality::GOOD)
        );
        let times: Vec<_> = seconds.iter().map(|(at, ..)| *at).collect();
        assert_eq!(times, (6..=64).map(|second| second * 1000).collect::<Vec<_>>());
        for quantity in [Quantity::L10, Quantity::L50, Quantity::LAFmin] {
            let [(at, value, _)] = of(&told, quantity)[..] else { panic!("{quantity}: {told:?}") };
            assert!(at == 63_000 && (value - 80_000).abs() <= 100, "{quantity} {at} {value}");
        }
        assert_eq!(of(&told, Quantity::ModulationDepth)[0].1, 0);
    }

    #[test]
    fn what_is_wrong_with_the_samples_stands_in_the_quality() {
        let mut sensor = sensor();
        let _ = listen(&mut sensor, 0, 5, 60.0);
        let loud = listen(&mut sensor, 5, 2, 93.0);
        assert!(of(&loud, Quantity::LAeq).iter().any(|(.., quality)| quality.has(Quality::OVERLOAD)));
        let mut dead = Vec::new();
        for block in 0..300_u64 {
            dead.extend(sensor.process(0, &[0; BLOCK], 10_000_000 + (block + 1) * 10_000));
        }
        let (_, last) = dead.last().unwrap();
        assert!(last.quality.has(Quality::FAULT) && !last.quality.decides(), "{last:?}");
    }

    #[test]
    fn a_lost_block_costs_two_seconds_and_is_not_made_up() {
        let mut sensor = sensor();
        let _ = listen(&mut sensor, 0, 5, 60.0);
        let samples = tone(0, 60.0);
        let mut told = Vec::new();
        for (block, samples) in samples.iter().cycle().take(600).enumerate() {
            let lost = if block == 50 { 960 } else { 0 };
            let now_us = 8_000_000 + (block as u64 + 1 + if block >= 50 { 2 } else { 0 }) * 10_000;
            told.extend(sensor.process(lost, samples, now_us).iter().map(|(at, reading)| (at.0, *reading)));
        }
        let seconds = of(&told, Quantity::LAeq);
        assert_eq!(seconds.first().map(|(at, ..)| *at), Some(12_000), "settled again: {seconds:?}");
        assert!(seconds.iter().all(|(_, value, _)| (value - 60_000).abs() < 50), "{seconds:?}");
    }

    #[test]
    fn a_calibrator_is_waited_for_and_what_it_makes_is_marked() {
        // 8 dB more than the tones are made for, so that 94 dB fit.
        let mut sensor = SoundLevel::new(Sensitivity::from_pascals(2.512).unwrap(), Range::default());
        let _ = listen(&mut sensor, 0, 5, 60.0);
        sensor.calibrate(Calibrator::Db94, CalibrationLimits { drift: 3.0, ..CalibrationLimits::default() });
        // It is put on after ten seconds; the microphone reads 1 dB too low.
        let (mut told, mut judged) = (Vec::new(), None);
        let mut second = 5;
        while judged.is_none() && second < 80 {
            let level = if second < 15 { 60.0 } else { 85.0 };
            told.extend(listen(&mut sensor, second, 1, level));
            second += 1;
            judged = sensor.judge_calibration();
        }
        let calibration = judged.unwrap().unwrap();
        assert!((calibration.drift + 1.0).abs() < 0.05, "{calibration:?}");
        assert!((20..=27).contains(&second), "{second}");
        told.extend(listen(&mut sensor, second, 60, 60.0));
        let marks: Vec<bool> =
            of(&told, Quantity::LAeq).iter().map(|(.., quality)| quality.has(Quality::CALIBRATION)).collect();
        let marked = second - 5 + AFTER_SECONDS as usize;
        assert!(
            marks[..marked].iter().all(|marked| *marked) && !marks[marked..].iter().any(|marked| *marked)
        );
        let minutes = of(&told, Quantity::L50);
        assert!(minutes[0].2.has(Quality::CALIBRATION) && !minutes[0].2.decides(), "{minutes:?}");
    }

    #[test]
    fn a_calibrator_that_never_comes_is_refused() {
        let mut sensor = sensor();
        sensor.calibrate(Calibrator::Db94, CalibrationLimits::default());
        let mut second = 0;
        let judged = loop {
            let _ = listen(&mut sensor, second, 1, 60.0);
            second += 1;
            if let Some(judged) = sensor.judge_calibration() {
                break judged;
            }
        };
        assert!(matches!(judged, Err(CalibrationRefused::OutOfRange(level)) if (level - 60.0).abs() < 0.1));
        assert_eq!(second, 60);
    }

    #[cfg(feature = "octaves")]
    #[test]
    fn each_octave_has_its_level_of_the_minute() {
        // Full scale is 1 Pa first and 2 Pa later: the energies of the tone's octave are 80 and 86.02 dB.
        let mut sensor = sensor();
        let _ = listen(&mut sensor, 0, 31, 80.0);
        sensor.set_sensitivity(Sensitivity::from_pascals(2.0).unwrap());
        let told = listen(&mut sensor, 31, 30, 80.0);
        let levels = Quantity::OCTAVES.map(|octave| {
            let [(at, value, quality)] = of(&told, octave)[..] else { panic!("{octave}: {told:?}") };
            assert!(at == 63_000 && quality == Quality::GOOD, "{octave}");
            value
        });
        assert!((levels[5] - 83_980).abs() < 150, "{levels:?}");
        // Class 1 has a neighbour's mid-band 16.6 dB down at the least, and the next 40.5.
        assert!(levels[4].max(levels[6]) < levels[5] - 16_600, "{levels:?}");
        assert!(
            levels[..4].iter().chain(&levels[7..]).all(|level| *level < levels[5] - 40_500),
            "{levels:?}"
        );
    }

    #[cfg(feature = "tonality")]
    #[test]
    fn a_tone_is_told_from_noise() {
        let told = listen(&mut sensor(), 0, 61, 70.0);
        let [(_, value, _)] = of(&told, Quantity::Tonality)[..] else { panic!("{told:?}") };
        assert!(value > 20_000, "a pure tone: {value}");
        let mut noisy = sensor();
        let (mut told, mut state) = (Vec::new(), 1_u32);
        for block in 0..6_100_u64 {
            let samples = core::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 12) as i32 - (1 << 19)
            });
            told.extend(noisy.process(0, &samples, (block + 1) * 10_000).iter().map(|(at, r)| (at.0, *r)));
        }
        assert_eq!(of(&told, Quantity::Tonality).iter().map(|(_, value, _)| *value).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_clock_that_steps_in_mid_minute_moves_times_and_no_level() {
        let run = |step_us: u64| {
            let mut sensor = sensor();
            let mut told = Vec::new();
            for second in 0..61_u64 {
                for (block, samples) in tone(0, 60.0 + (second % 7) as f32).iter().enumerate() {
                    let step = if second < 30 { 0 } else { step_us };
                    let now_us = (second * 100 + block as u64 + 1) * 10_000 + step;
                    told.extend(sensor.process(0, samples, now_us).iter().map(|(at, r)| (at.0, *r)));
                }
            }
            told
        };
        let (steady, stepped) = (run(0), run(3_600_000_000));
        let values =
            |told: &[(u64, Reading)]| told.iter().map(|(_, r)| (r.quantity, r.value)).collect::<Vec<_>>();
        assert_eq!(values(&steady), values(&stepped));
        let times: Vec<u64> = of(&stepped, Quantity::LAeq).iter().map(|(at, ..)| *at).collect();
        assert_eq!(times[..28], (3..=30).map(|second| second * 1000).collect::<Vec<_>>());
        assert_eq!(times[28..], (31..=61).map(|second| second * 1000 + 3_600_000).collect::<Vec<_>>());
    }

    #[test]
    fn samples_at_a_wrong_rate_decide_nothing() {
        let mut sensor = sensor();
        let samples = tone(0, 60.0);
        let mut last = None;
        for (block, samples) in samples.iter().cycle().take(3_000).enumerate() {
            // 1 % slow.
            last = sensor.process(0, samples, (block as u64 + 1) * 10_100).last().copied().or(last);
        }
        assert!(last.unwrap().1.quality.has(Quality::FAULT));
    }
}
