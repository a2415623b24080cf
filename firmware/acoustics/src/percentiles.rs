//! Levels exceeded for a part of the time (L5, L10, L50, L90, L95) and their standard deviation.
//!
//! Of LAF sampled once per tick, in classes of 0.1 dB as HJ 906 and ISO 1996-2 have them. No limit of IEC 61672 applies;
//! classes and sampling cost at most 0.05 dB.

/// The middle of the lowest class in dB. Lower levels are counted there.
pub const LOWEST_CLASS: f32 = 10.0;
/// Classes: to 139.9 dB. Higher levels are counted in the last.
pub const CLASSES: usize = 1300;

const PER_DB: f32 = 10.0;

/// What a class counts with. Levels beyond the most that it can count are left out, so that no class says less than it has.
pub trait Count: Copy + Into<u32> {
    /// None.
    const ZERO: Self;
    /// The most levels that all classes together count.
    const MOST: u32;

    /// One more, which [`Self::MOST`] has room for.
    #[must_use]
    fn more(self) -> Self;
}

impl Count for u32 {
    const ZERO: Self = 0;
    const MOST: u32 = u32::MAX;

    fn more(self) -> Self {
        self + 1
    }
}

impl Count for u16 {
    const ZERO: Self = 0;
    const MOST: u32 = u16::MAX as u32;

    fn more(self) -> Self {
        self + 1
    }
}

/// Of any window up to 497 days: 5.2 KiB.
pub type Percentiles = Histogram<u32>;
/// Of a window up to ten minutes: 2.6 KiB.
pub type ShortPercentiles = Histogram<u16>;

/// A histogram of levels.
#[derive(Clone, Debug)]
pub struct Histogram<C> {
    counts: [C; CLASSES],
    total: u32,
}

impl<C: Count> Default for Histogram<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Count> Histogram<C> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [C::ZERO; CLASSES], total: 0 }
    }

    /// Empty again. (A new one would be made on the stack first.)
    pub fn clear(&mut self) {
        self.counts.fill(C::ZERO);
        self.total = 0;
    }

    /// Counts a level in dB: [`Interval::laf`](super::Interval::laf) of a tick that lacks nothing.
    pub fn add(&mut self, level: f32) {
        if self.total == C::MOST {
            return;
        }
        // `as` holds what is below the lowest class at 0, and NaN too.
        let class = ((level - LOWEST_CLASS) * PER_DB + 0.5) as usize;
        let count = &mut self.counts[class.min(CLASSES - 1)];
        *count = count.more();
        self.total += 1;
    }

    /// How many levels were counted.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The level in dB that was exceeded `percent` (0 to 100) of the time; `None` if nothing was counted. Within a class
    /// levels are taken to be spread evenly.
    #[must_use]
    pub fn exceeded(&self, percent: f32) -> Option<f32> {
        if self.total == 0 {
            return None;
        }
        let wanted = self.total as f32 * percent.clamp(0.0, 100.0) / 100.0;
        let mut above = 0;
        let mut lowest = LOWEST_CLASS;
        let counts = self.counts.iter().map(|count| -> u32 { (*count).into() });
        for (class, count) in counts.enumerate().rev().filter(|(_, count)| *count > 0) {
            let upper = LOWEST_CLASS + (class as f32 + 0.5) / PER_DB;
            let inside = wanted - above as f32;
            if inside <= count as f32 {
                return Some(upper - inside.max(0.0) / count as f32 / PER_DB);
            }
            above += count;
            lowest = upper - 1.0 / PER_DB;
        }
        // Only by rounding: everything is above the lowest class in use.
        Some(lowest)
    }

    /// The standard deviation of the levels in dB; `None` if nothing was counted.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f32> {
        if self.total == 0 {
            return None;
        }
        // In whole classes nothing is rounded: 1300² · 2³² fits a u64.
        let (mut sum, mut squares) = (0u64, 0u64);
        for (class, &count) in self.counts.iter().enumerate() {
            let count: u32 = count.into();
            let moment = class as u64 * u64::from(count);
            sum += moment;
            squares += moment * class as u64;
        }
        let total = f64::from(self.total);
        let mean = sum as f64 / total;
        let variance = (squares as f64 / total - mean * mean).max(0.0);
        Some(libm::sqrt(variance) as f32 / PER_DB)
    }
}
