//! Whether samples come at the rate that the filters are designed for.
//!
//! Samples are the meter's clock; nothing in it reads another. So a step of the wall clock cannot touch a window. But a
//! converter on a wrong clock, or lost buffers that nobody reported, would shift frequencies and lengths unseen: the caller
//! tells from time to time how many samples came by a monotonic clock.

use super::SAMPLE_RATE;

/// The shortest stretch that is judged: 10 s, within which a millisecond of jitter is 100 ppm.
const SHORTEST_US: u64 = 10_000_000;
/// The longest: then a new stretch begins, so that a late slip shows too.
const LONGEST_US: u64 = 600_000_000;

/// The slip that is too much, in parts per million, unless said otherwise: 0.1 %, a twentieth of what class 1 leaves a
/// filter's mid-band frequency. Two crystals differ by 100 at most.
pub const LIMIT_PPM: u32 = 1000;

/// Counts samples against a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct RateCheck {
    limit: u32,
    /// Samples and time at the stretch's begin and at the last note.
    stretch: Option<[(u64, u64); 2]>,
}

/// What a stretch showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much faster than 48 kHz samples came, in parts per million; held at ±1,000,000.
    pub slip_ppm: i32,
    /// Whether that is too much: then [`Flags::RATE_SLIP`](super::Flags::RATE_SLIP) is due.
    pub slipped: bool,
}

impl RateCheck {
    /// With a limit in parts per million, such as [`LIMIT_PPM`].
    #[must_use]
    pub fn new(limit_ppm: u32) -> Self {
        Self { limit: limit_ppm, stretch: None }
    }

    /// Takes [`Meter::position`](super::Meter::position) and the time in µs at which its last sample came. `None` for the
    /// first 10 s, and when either went back, which begins anew.
    pub fn note(&mut self, position: u64, now_us: u64) -> Option<Rate> {
        let now = (position, now_us);
        let begin = match self.stretch {
            Some([begin, last]) if position >= last.0 && now_us >= last.1 => begin,
            _ => now,
        };
        let (samples, elapsed) = (position - begin.0, now_us - begin.1);
        self.stretch = Some([if elapsed < LONGEST_US { begin } else { now }, now]);
        if elapsed < SHORTEST_US {
            return None;
        }
        // Twice the true rate is as wrong as anything beyond; u128 holds every product.
        let expected = u128::from(elapsed) * u128::from(SAMPLE_RATE);
        let came = (u128::from(samples) * 1_000_000).min(2 * expected);
        let slip_ppm = (came as i128 - expected as i128) * 1_000_000 / expected as i128;
        let slip_ppm = slip_ppm as i32;
        Some(Rate { slip_ppm, slipped: slip_ppm.unsigned_abs() > self.limit })
    }
}
