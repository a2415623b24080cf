//! Levels exceeded for a part of the time (L5, L10, L50, L90, L95) and their standard deviation.
//!
//! Of LAF sampled once per tick, in classes of 0.1 dB as HJ 906 and ISO 1996-2 have them. No limit of IEC 61672 applies;
//! classes and sampling cost at most 0.05 dB.

/// The middle of the lowest class in dB. Lower levels are counted there.
pub const LOWEST_CLASS: f32 = 10.0;
/// Classes: to 139.9 dB. Higher levels are counted in the last.
pub const CLASSES: usize = 1300;

const PER_DB: f32 = 10.0;

/// What classes count with. Levels beyond the most that they can count are left out, so that no class says less than it has.
pub trait Counts {
    /// None in any class.
    const NONE: Self;
    /// The most levels that all classes together count.
    const MOST: u32;

    /// One more in this class, which [`Self::MOST`] has room for.
    fn add(&mut self, class: usize);

    /// None in any class, without making another one on the stack.
    fn clear(&mut self);

    /// The classes in which there are any, the highest first, and how many.
    fn highest_first(&self) -> impl Iterator<Item = (usize, u32)>;
}

impl Counts for [u32; CLASSES] {
    const NONE: Self = [0; CLASSES];
    const MOST: u32 = u32::MAX;

    fn add(&mut self, class: usize) {
        self[class] += 1;
    }

    fn clear(&mut self) {
        self.fill(0);
    }

    fn highest_first(&self) -> impl Iterator<Item = (usize, u32)> {
        self.iter().copied().enumerate().rev().filter(|(_, count)| *count > 0)
    }
}

/// How often bytes may overflow: in a minute's 6,000 ticks 23 times at most.
const OVERFLOWS_MAX: usize = 24;

/// A byte a class, and a note of each time that one of them overflowed: few can.
#[derive(Clone, Debug)]
pub struct Bytes {
    counts: [u8; CLASSES],
    /// Classes, the highest first; those that overflowed more than once stand there as often.
    overflows: [u16; OVERFLOWS_MAX],
    overflowed: usize,
}

impl Counts for Bytes {
    const NONE: Self = Self { counts: [0; CLASSES], overflows: [0; OVERFLOWS_MAX], overflowed: 0 };
    // One more might overflow once too often.
    const MOST: u32 = (OVERFLOWS_MAX as u32 + 1) * 256 - 1;

    fn add(&mut self, class: usize) {
        let count = &mut self.counts[class];
        *count = count.wrapping_add(1);
        if *count == 0 {
            let mut place = self.overflowed;
            while place > 0 && usize::from(self.overflows[place - 1]) < class {
                self.overflows[place] = self.overflows[place - 1];
                place -= 1;
            }
            // Below CLASSES, so it fits.
            self.overflows[place] = class as u16;
            self.overflowed += 1;
        }
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.overflowed = 0;
    }

    fn highest_first(&self) -> impl Iterator<Item = (usize, u32)> {
        let mut overflows = self.overflows[..self.overflowed].iter().peekable();
        self.counts.iter().enumerate().rev().filter_map(move |(class, count)| {
            let mut count = u32::from(*count);
            while overflows.next_if(|overflow| usize::from(**overflow) == class).is_some() {
                count += 256;
            }
            (count > 0).then_some((class, count))
        })
    }
}

/// Of any window up to 497 days: 5.2 KiB.
pub type Percentiles = Histogram<[u32; CLASSES]>;
/// Of a window up to a minute: 1.4 KiB.
pub type MinutePercentiles = Histogram<Bytes>;

/// A histogram of levels.
#[derive(Clone, Debug)]
pub struct Histogram<C> {
    counts: C,
    total: u32,
}

impl<C: Counts> Default for Histogram<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Counts> Histogram<C> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: C::NONE, total: 0 }
    }

    /// Empty again. (A new one would be made on the stack first.)
    pub fn clear(&mut self) {
        self.counts.clear();
        self.total = 0;
    }

    /// Counts a level in dB: [`Interval::laf`](super::Interval::laf) of a tick that lacks nothing.
    pub fn add(&mut self, level: f32) {
        if self.total == C::MOST {
            return;
        }
        // `as` holds what is below the lowest class at 0, and NaN too.
        let class = ((level - LOWEST_CLASS) * PER_DB + 0.5) as usize;
        self.counts.add(class.min(CLASSES - 1));
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
        for (class, count) in self.counts.highest_first() {
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
        for (class, count) in self.counts.highest_first() {
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
