//! The meter on the emulated microcontroller: the other side of `firmware/boards/qemu/src/bin/metrology.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use gridpost_firmware::acoustics::{
    Flags, Interval,
    interval::{Energies, Exponential, Extremes},
};

use super::{
    check::Bench,
    measure::{Aligned, FULL_SCALE_PA, Filters, Format, Measured, to_i16, to_i24},
};
use crate::qemu::board_image;

/// Bytes of a tick in `ticks.bin`.
const TICK_BYTES: usize = 96;

/// A board that measures.
#[derive(Clone, Debug)]
pub struct OnBoard {
    elf: PathBuf,
    format: Format,
}

/// What runs in a measurement of cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Filters.
    pub filters: Filters,
    /// Percentiles, onsets, modulation, tonality.
    pub features: bool,
}

impl OnBoard {
    /// The board with its image, built if need be; `None` if this machine cannot (the reason has been printed).
    ///
    /// # Errors
    /// The image does not build.
    pub fn new(format: Format) -> Result<Option<Self>> {
        Ok(board_image("qemu", "metrology")?.map(|elf| Self { elf, format }))
    }

    /// Instructions per sample that the meter takes for a signal, on the Cortex-M4F.
    ///
    /// # Errors
    /// QEMU does not run.
    pub fn instructions_per_sample(&self, signal: &[f64], beside: Beside) -> Result<f64> {
        let aligned = Aligned { signal: signal.to_vec(), ticks: 0..signal.len() / 480 };
        let (_, micros, samples) = self.run(&aligned, beside, true)?;
        // One instruction a nanosecond.
        Ok(f64::from(micros) * 1000.0 / f64::from(samples))
    }

    fn run(&self, aligned: &Aligned, beside: Beside, counted: bool) -> Result<(Measured, u32, u32)> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("job.bin"), self.job(aligned, beside))?;
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args([
            "-machine",
            "ast1030-evb,spi-model=w25q32",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args([
            "-semihosting-config",
            "enable=on,target=native",
            "-serial",
            "null",
            "-serial",
            "stdio",
            "-kernel",
        ])
        .arg(&self.elf)
        .current_dir(folder.path())
        .stdin(Stdio::null());
        if counted {
            qemu.args(["-icount", "shift=0"]);
        }
        let said = qemu.output().context("running qemu-system-arm")?;
        let log =
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        ensure!(
            said.status.success() && log.contains("measured"),
            "the board did not measure; it said:\n{log}"
        );
        read_results(folder.path(), aligned)
    }

    fn job(&self, aligned: &Aligned, beside: Beside) -> Vec<u8> {
        let format: u32 = match self.format {
            Format::F32 => 0,
            Format::I24 => 1,
            Format::I16 => 2,
        };
        let bit = |on: bool, place: u32| u32::from(on) << place;
        let what = bit(beside.filters.octaves, 0) | bit(beside.filters.thirds, 1) | bit(beside.features, 2);
        let window = [aligned.ticks.start as u32, aligned.ticks.end as u32];
        let header = [format, what, (FULL_SCALE_PA as f32).to_bits(), window[0], window[1]];
        let mut job: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
        for sample in aligned.signal.iter().map(|pressure| pressure / FULL_SCALE_PA) {
            match self.format {
                Format::F32 => job.extend((sample as f32).to_le_bytes()),
                Format::I24 => job.extend(to_i24(sample).to_le_bytes()),
                Format::I16 => job.extend(to_i16(sample).to_le_bytes()),
            }
        }
        job
    }
}

impl Bench for OnBoard {
    fn measure(&self, aligned: &Aligned, filters: Filters) -> Result<Measured> {
        let beside = Beside { filters, features: false };
        self.run(aligned, beside, false).map(|(measured, ..)| measured)
    }

    fn at_once(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from).min(8)
    }

    /// Three seconds of sound take it 0.2 s of this machine's time, and 0.4 s with third-octaves; there are 700 tones.
    fn is_quick(&self) -> bool {
        false
    }
}

fn read_results(folder: &Path, aligned: &Aligned) -> Result<(Measured, u32, u32)> {
    let result = fs::read(folder.join("result.bin")).context("the board's results")?;
    let (words, _) = result.as_chunks::<4>();
    let [samples, micros, octaves, thirds, levels @ ..] = words else { bail!("the board's results are cut") };
    let [samples, micros, octaves, thirds] =
        [samples, micros, octaves, thirds].map(|word| u32::from_le_bytes(*word));
    let levels: Vec<f32> = levels.iter().map(|word| f32::from_le_bytes(*word)).collect();
    ensure!(levels.len() == (octaves + thirds) as usize, "the board's results are cut");
    let ticks = fs::read(folder.join("ticks.bin")).context("the board's ticks")?;
    let ticks: Vec<Interval> = ticks.as_chunks::<TICK_BYTES>().0.iter().map(decode).collect();
    ensure!(
        samples as usize == aligned.signal.len() && ticks.len() == aligned.ticks.len(),
        "the board took {samples} samples and told {} ticks",
        ticks.len()
    );
    let (octaves, thirds) = levels.split_at(octaves as usize);
    Ok((Measured::new(ticks, octaves.to_vec(), thirds.to_vec()), micros, samples))
}

fn decode(bytes: &[u8; TICK_BYTES]) -> Interval {
    let words = bytes.as_chunks::<4>().0;
    let short = |index: usize| u32::from_le_bytes(words[index]);
    let long = |index: usize| u64::from(short(2 * index)) | u64::from(short(2 * index + 1)) << 32;
    let double = |index: usize| f64::from_bits(long(index));
    let single = |index: usize| f32::from_bits(short(14 + index));
    Interval {
        start: long(0),
        samples: long(1),
        missing: long(2),
        energy: Energies { a: double(3), c: double(4), z: double(5), i: double(6) },
        extremes: Extremes {
            fast_max: single(0),
            fast_min: single(1),
            slow_max: single(2),
            slow_min: single(3),
            impulse_max: single(4),
        },
        end: Exponential { fast: single(5), slow: single(6) },
        peak: single(7),
        dc: single(8),
        flags: Flags::from_bits(short(23) as u16),
    }
}
