//! Whether samples come at the rate that the filters are designed for.
//!
//! Samples are the meter's clock; nothing in it reads another. So a step of the wall clock cannot touch a window. But a
//! converter on a wrong clock, or lost buffers that nobody reported, would shift frequencies and lengths unseen: the caller
//! tells from time to time how many samples came by a monotonic clock.
//!
//! Samples are taken late, by a buffer, or by as long as a flash is erased, and never early. So of each window only the note that was
//! the least late is believed: a busy program is no slip, and a slip of parts in a million is seen all the same.

use super::SAMPLE_RATE;

/// How long notes are gathered before the least late of them counts: longer than anything that makes a program late.
const WINDOW_US: u64 = 10_000_000;
/// Over how long a slip is judged at the most: then a new stretch begins, so that a late slip shows too.
const LONGEST_US: u64 = 600_000_000;

/// The slip that is too much, in parts per million, unless said otherwise: 0.1 %, a twentieth of what class 1 leaves a
/// filter's mid-band frequency. Two crystals differ by 100 at most.
pub const LIMIT_PPM: u32 = 1000;

/// Counts samples against a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct RateCheck {
    limit: u32,
    /// Samples and time of the last note.
    last: Option<(u64, u64)>,
    /// The least late note of the stretch's first window.
    begin: Option<Note>,
    /// The least late of this window, and when that began.
    window: Option<(u64, Note)>,
}

/// How late samples were by the clock, and when.
#[derive(Clone, Copy, Debug)]
struct Note {
    late_us: i64,
    at_us: u64,
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
        Self { limit: limit_ppm, last: None, begin: None, window: None }
    }

    /// Takes [`Meter::position`](super::Meter::position) and the time in µs at which its last sample came. Says what a window of 10 s
    /// showed when it ends, but for the first. When either went back, all begins anew.
    pub fn note(&mut self, position: u64, now_us: u64) -> Option<Rate> {
        if self.last.is_some_and(|(samples, at)| position < samples || now_us < at) {
            *self = Self::new(self.limit);
        }
        self.last = Some((position, now_us));
        // Held within what a thousand centuries have.
        let length_us = position.saturating_mul(1_000_000) / u64::from(SAMPLE_RATE);
        let late_us = now_us.min(i64::MAX as u64).cast_signed() - length_us.cast_signed();
        let now = Note { late_us, at_us: now_us };
        let (from, least) = self.window.get_or_insert((now_us, now));
        if late_us < least.late_us {
            *least = now;
        }
        if now_us - *from < WINDOW_US {
            return None;
        }
        let least = *least;
        self.window = None;
        let begin = *self.begin.get_or_insert(least);
        // None in the first window, which the others are compared with.
        let elapsed = least.at_us.checked_sub(begin.at_us).filter(|elapsed| *elapsed > 0)?;
        if elapsed > LONGEST_US {
            self.begin = Some(least);
        }
        let elapsed_us = elapsed.min(i64::MAX as u64).cast_signed();
        let slip = begin.late_us.saturating_sub(least.late_us).saturating_mul(1_000_000) / elapsed_us;
        let slip_ppm = slip.clamp(-1_000_000, 1_000_000) as i32;
        Some(Rate { slip_ppm, slipped: slip_ppm.unsigned_abs() > self.limit })
    }
}
