//! The sound level meter alone: measures a file of samples on the emulated microcontroller.
//!
//! `job.bin`, in the folder that QEMU was started in, holds a header of five words (format: 0 f32, 1 24 bits in 32,
//! 2 16 bits; what to run beside the meter: see [`meter`]; pascals at full scale as f32; the first tick of the window and
//! the one after its last) and the samples. `result.bin` gets a header of four words (samples; microseconds that the meter
//! took, which under `-icount shift=0` are thousands of instructions; how many octaves and third-octaves follow), the
//! bands' levels, and the window's ticks. Everything is little-endian; `tests/src/metrology/board.rs` is the other side.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build qemu metrology");
}

#[cfg(target_os = "none")]
mod meter {
    use core::ops::Range;

    use embassy_time::Instant;
    use gridpost_board_qemu::semihosting::{File, Refused, exit};
    use gridpost_firmware::acoustics::{
        self, CHUNK, Interval, Meter, Sensitivity, Sink, TICKS_PER_SECOND,
        bands::{OCTAVES, Octaves, Spectrum, THIRD_OCTAVES, ThirdOctaves},
        modulation::ModulationWindow,
        onset::OnsetDetector,
        percentiles::Percentiles,
        tonality,
    };
    use static_cell::StaticCell;

    const OCTAVES_TOO: u32 = 1;
    const THIRDS_TOO: u32 = 1 << 1;
    const FEATURES_TOO: u32 = 1 << 2;

    /// A tenth of a second of f32.
    const BLOCK_BYTES: usize = 4800 * 4;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        gridpost_board_qemu::start(|spawner, _board| {
            spawner.spawn(job()?);
            Ok(())
        })
    }

    #[embassy_executor::task]
    async fn job() {
        static WORK: StaticCell<Work> = StaticCell::new();
        static BUFFER: StaticCell<[u8; BLOCK_BYTES]> = StaticCell::new();
        if let Err(what) = run(WORK.init_with(Work::new), BUFFER.init_with(|| [0; BLOCK_BYTES])) {
            log::error!("{what}");
        }
        exit();
    }

    fn run(work: &mut Work, buffer: &mut [u8; BLOCK_BYTES]) -> Result<(), &'static str> {
        let refused = |_: Refused| "the host cannot write";
        let mut input = File::open(c"job.bin").map_err(|_| "there is no job.bin")?;
        let mut header = [0; 20];
        if input.read(&mut header) < header.len() {
            return Err("job.bin has no header");
        }
        let (words, _) = header.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let sensitivity = Sensitivity::from_pascals(f32::from_bits(word(2))).ok_or("no such sensitivity")?;
        work.begin(word(1), sensitivity, word(3)..word(4));
        let mut meter = Meter::new(sensitivity, acoustics::Range::default());

        // The ticks are put into a file of their own place: behind the header, which is known last.
        let mut ticks = File::create(c"ticks.bin").map_err(refused)?;
        let (mut samples, mut micros) = (0u32, 0u64);
        loop {
            let (bytes, _) = buffer.as_chunks_mut::<4>();
            let read = input.read(bytes.as_flattened_mut());
            if read == 0 {
                break;
            }
            let (words, _) = buffer[..read].as_chunks::<4>();
            let begin = Instant::now();
            match word(0) {
                0 => words.as_chunks::<CHUNK>().0.iter().for_each(|words| {
                    meter.process_f32(&words.map(f32::from_le_bytes), work);
                }),
                1 => words.as_chunks::<CHUNK>().0.iter().for_each(|words| {
                    meter.process_i24(&words.map(i32::from_le_bytes), work);
                }),
                2 => buffer[..read].as_chunks::<2>().0.as_chunks::<CHUNK>().0.iter().for_each(|shorts| {
                    meter.process_i16(&shorts.map(i16::from_le_bytes), work);
                }),
                _ => return Err("no such format"),
            }
            micros += begin.elapsed().as_micros();
            samples += (read / if word(0) == 2 { 2 } else { 4 }) as u32;
            for tick in work.ticks.iter().take(work.filled) {
                ticks.write(&encode(tick)).map_err(refused)?;
            }
            work.filled = 0;
        }

        let mut output = File::create(c"result.bin").map_err(refused)?;
        let bands = |on: u32, bands: usize| if work.beside & on != 0 { bands } else { 0 };
        let (octaves, thirds) = (bands(OCTAVES_TOO, OCTAVES), bands(THIRDS_TOO, THIRD_OCTAVES));
        for word in [samples, micros as u32, octaves as u32, thirds as u32] {
            output.write(&word.to_le_bytes()).map_err(refused)?;
        }
        let (octave_levels, third_levels) = (work.octave_sum.levels(), work.third_sum.levels());
        for level in octave_levels.iter().take(octaves).chain(third_levels.iter().take(thirds)) {
            output.write(&level.to_le_bytes()).map_err(refused)?;
        }
        log::info!("measured");
        Ok(())
    }

    /// The most ticks that a block can end.
    const TICKS: usize = BLOCK_BYTES / 2 / 480 + 1;

    /// What runs beside the meter, and its ticks until they are written.
    struct Work {
        beside: u32,
        sensitivity: Sensitivity,
        window: Range<u32>,
        tick: u32,
        octaves: Octaves,
        octave_sum: Spectrum<OCTAVES>,
        thirds: ThirdOctaves,
        third_sum: Spectrum<THIRD_OCTAVES>,
        percentiles: Percentiles,
        onsets: OnsetDetector,
        impulsive: u32,
        modulation: ModulationWindow,
        modulated: u32,
        tones: u32,
        ticks: [Interval; TICKS],
        filled: usize,
    }

    impl Work {
        fn new() -> Self {
            Self {
                beside: 0,
                sensitivity: Sensitivity::ONE_PASCAL,
                window: 0..0,
                tick: 0,
                octaves: Octaves::new(),
                octave_sum: Spectrum::empty(),
                thirds: ThirdOctaves::new(),
                third_sum: Spectrum::empty(),
                percentiles: Percentiles::new(),
                onsets: OnsetDetector::default(),
                impulsive: 0,
                modulation: ModulationWindow::default(),
                modulated: 0,
                tones: 0,
                ticks: [Interval::default(); TICKS],
                filled: 0,
            }
        }

        fn begin(&mut self, beside: u32, sensitivity: Sensitivity, window: Range<u32>) {
            (self.beside, self.sensitivity, self.window) = (beside, sensitivity, window);
        }

        fn take(&mut self, keep: bool) {
            if self.beside & OCTAVES_TOO != 0 {
                let spectrum = self.octaves.take(self.sensitivity);
                if keep {
                    self.octave_sum.merge(&spectrum);
                }
            }
            if self.beside & THIRDS_TOO != 0 {
                let spectrum = self.thirds.take(self.sensitivity);
                if keep {
                    self.third_sum.merge(&spectrum);
                }
            }
        }
    }

    impl Sink for Work {
        fn chunk(&mut self, samples: &[f32; CHUNK]) {
            if self.beside & OCTAVES_TOO != 0 {
                self.octaves.run(samples);
            }
            if self.beside & THIRDS_TOO != 0 {
                self.thirds.run(samples);
            }
        }

        fn tick(&mut self, tick: &Interval) {
            let inside = self.window.contains(&self.tick);
            if inside && let Some(place) = self.ticks.get_mut(self.filled) {
                *place = *tick;
                self.filled += 1;
            }
            if self.beside & FEATURES_TOO != 0 {
                let level = tick.laf();
                self.percentiles.add(level);
                self.modulation.add(level);
                let onset = self.onsets.add(level);
                self.impulsive += u32::from(onset.is_some_and(|onset| onset.adjustment() > 0.0));
            }
            self.tick += 1;
            if inside && (self.tick == self.window.end || self.tick.is_multiple_of(TICKS_PER_SECOND as u32)) {
                self.take(true);
            } else if self.tick == self.window.start {
                self.take(false);
            }
        }

        fn second(&mut self, second: &Interval) {
            if self.beside & FEATURES_TOO != 0 {
                // A node would keep these; here they have to be computed, not to be told.
                let differences = second.lceq_minus_laeq() + second.laieq_minus_laeq() + second.lcpeak();
                self.modulated += u32::from(self.modulation.measure().is_some_and(|m| m.is_modulated()));
                self.tones += tonality::tones(&self.third_sum.levels()).count() as u32;
                self.impulsive += u32::from(differences > 200.0);
            }
        }
    }

    /// Seven long and ten short words.
    const TICK_BYTES: usize = 7 * 8 + 10 * 4;

    fn encode(tick: &Interval) -> [u8; TICK_BYTES] {
        let (energy, extremes) = (tick.energy, tick.extremes);
        let doubles = [energy.a, energy.c, energy.z, energy.i];
        let singles = [
            extremes.fast_max,
            extremes.fast_min,
            extremes.slow_max,
            extremes.slow_min,
            extremes.impulse_max,
            tick.end.fast,
            tick.end.slow,
            tick.peak,
            tick.dc,
        ];
        let mut bytes = [0; TICK_BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        let mut places = words.iter_mut();
        let mut put = |word: u32| {
            if let Some(place) = places.next() {
                *place = word.to_le_bytes();
            }
        };
        for long in [tick.start, tick.samples, tick.missing].into_iter().chain(doubles.map(f64::to_bits)) {
            put(long as u32);
            put((long >> 32) as u32);
        }
        singles.into_iter().for_each(|single| put(single.to_bits()));
        put(u32::from(tick.flags.bits()));
        bytes
    }
}
