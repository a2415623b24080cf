//! A sound level meter: 48 kHz samples in, levels in dB re 20 µPa out.
//!
//! ```text
//!            ┌ sample: full scale ┐  ┌ weighting ┐   ┌ time_weighting ┐
//! samples ─→ │ chunks of 16       ├─→│ Z  C  A   ├─→ │ F  S  I        ├─→ tick (10 ms) ─→ second ─→ any window
//!            │ faults             │  └─────┬─────┘   └────────────────┘    Interval       Interval     Interval
//!            └──────────┬─────────┘        └─→ peak (LCpeak)
//!                       └─→ bands (octaves, third-octaves)
//! ```
//!
//! [`Meter`] is the chain; it tells a [`Sink`] what it measured. Everything else works on what the sink gets:
//! [`Interval`]s make windows, [`percentiles`], [`onset`], [`modulation`], [`tonality`] and [`calibration`] make features
//! and records, [`aggregate`] makes days and nights.
//!
//! # What is claimed
//! The digital chain is within the class 1 limits of IEC 61672-1:2013 for frequency weighting, tonebursts, level
//! linearity and C-weighted peak, and within the class 1 masks of IEC 61260-1:2014 for its filters; the program
//! `metrology` prints the tables. "Class 1" itself belongs to a whole instrument, with its microphone, case and
//! temperature range, and is not claimed.
//!
//! # Rules that hold throughout
//! - Samples are counted off in chunks of [`CHUNK`], so a result does not depend on how the input was cut into blocks.
//! - Sums are f32 over at most a tick and f64 across: an f32 sum over minutes stops growing.
//! - Levels are held at [`level::LOWEST`] and above; NaN and infinity never leave.
//! - There is no multiplication that differs between processors: no fused multiply-add, no vector library. A
//!   microcontroller and a PC get the same bits.
//! - What works on every sample is a function that is never inlined and has no type parameters: so it is compiled here, for speed, and not
//!   with its caller, which a small image has compiled for size.
#![cfg_attr(not(test), no_std)]

pub mod aggregate;
pub mod bands;
pub mod calibration;
pub mod clock;
pub mod features;
pub mod flags;
mod inspect;
pub mod interval;
pub mod level;
mod meter;
pub mod modulation;
pub mod onset;
mod peak;
pub mod percentiles;
mod time_weighting;
pub mod tonality;
pub mod upsample;
mod weighting;

#[cfg(test)]
mod tests;

pub use flags::Flags;
pub use interval::Interval;
pub use level::Sensitivity;
pub use meter::{Meter, Range, Sink};

/// Samples per second. The filters are designed for it.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples that are worked on together. Time weightings move, and maxima are looked for, once per chunk: at a third of a
/// millisecond that costs at most 0.006 dB of F and 0.02 dB of I.
pub const CHUNK: usize = 16;
/// Samples in a tick, the interval at which LAF is sampled for percentiles and features: 10 ms.
pub const TICK: usize = 480;
/// Ticks in a second.
pub const TICKS_PER_SECOND: usize = SAMPLE_RATE as usize / TICK;
