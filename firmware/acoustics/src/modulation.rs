//! How LAF goes up and down, regularly or not: music's beat, a cyclic plant.
//!
//! Western Australia's regulations call a noise modulated that varies by more than 3 dB LAF, regularly, for at least a
//! tenth of the time. What "regularly" means in numbers is ours: an autocorrelation of at least [`REGULAR`].

/// The smallest and the largest LAF of each 100 ms: of one taken then and there, depth would be lost that lies in between.
const TICKS_PER_LEVEL: u32 = 10;
/// Levels are kept in parts of a decibel.
const PARTS: f32 = 100.0;
/// What varies by less than this, squares of half [`PARTS`] summed up, is constant.
const FLAT: f32 = 1e-6 * 4.0 * PARTS * PARTS;
/// Levels that are looked at together: 10 s.
const LEVELS: usize = 100;
/// Periods that are looked for, in levels: 0.2 s to 4 s.
const PERIODS: core::ops::RangeInclusive<usize> = 2..=40;

/// A cycle deeper than this is modulated, in dB.
pub const DEEP: f32 = 3.0;
/// The part of the cycles that has to be [`DEEP`].
pub const OFTEN: f32 = 0.1;
/// The autocorrelation from which a variation is regular.
pub const REGULAR: f32 = 0.5;

/// The last 10 s of LAF.
#[derive(Clone, Debug)]
pub struct ModulationWindow {
    levels: [Extremes; LEVELS],
    next: usize,
    filled: usize,
    ticks: u32,
    /// Of the ticks since the last level.
    low: f32,
    high: f32,
}

/// The smallest and the largest of 100 ms, in [`PARTS`].
#[derive(Clone, Copy, Debug, Default)]
struct Extremes {
    low: i16,
    high: i16,
}

impl Extremes {
    fn of(low: f32, high: f32) -> Self {
        // Levels are some hundreds of decibels at the most, and `as` keeps what is not in bounds.
        Self { low: (low * PARTS) as i16, high: (high * PARTS) as i16 }
    }
}

/// What the variation of LAF is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modulation {
    /// The mean, over the cycles, of largest less smallest LAF in dB.
    pub depth: f32,
    /// The part of the cycles that is deeper than [`DEEP`]: 0 to 1.
    pub deep_share: f32,
    /// The period that repeats best, in s.
    pub period: f32,
    /// The normalised autocorrelation at that period: 1 repeats perfectly, 0 not at all.
    pub regularity: f32,
}

impl Modulation {
    /// Whether the noise counts as modulated.
    #[must_use]
    pub fn is_modulated(&self) -> bool {
        self.depth > DEEP && self.deep_share >= OFTEN && self.regularity >= REGULAR
    }
}

impl Default for ModulationWindow {
    fn default() -> Self {
        let levels = [Extremes::default(); LEVELS];
        Self { levels, next: 0, filled: 0, ticks: 0, low: f32::MAX, high: f32::MIN }
    }
}

impl ModulationWindow {
    /// Takes LAF in dB of the next tick.
    pub fn add(&mut self, level: f32) {
        (self.low, self.high) = (self.low.min(level), self.high.max(level));
        self.ticks += 1;
        if self.ticks == TICKS_PER_LEVEL {
            self.levels[self.next] = Extremes::of(self.low, self.high);
            (self.ticks, self.low, self.high) = (0, f32::MAX, f32::MIN);
            self.next = (self.next + 1) % LEVELS;
            self.filled = (self.filled + 1).min(LEVELS);
        }
    }

    /// Forgets everything, as after a gap.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// From the oldest on.
    #[inline(never)]
    fn extremes(&self, index: usize) -> Extremes {
        self.levels[(self.next + index) % LEVELS]
    }

    /// The middle between the smallest and the largest, in half [`PARTS`]. As the other a function of its own for its size: once a second or
    /// less is seldom.
    #[inline(never)]
    fn middle(&self, index: usize) -> f32 {
        let Extremes { low, high } = self.extremes(index);
        (i32::from(low) + i32::from(high)) as f32
    }

    /// Of the last 10 s; `None` until there are as many. Some 4000 multiplications: for once a second or less.
    #[must_use]
    pub fn measure(&self) -> Option<Modulation> {
        if self.filled < LEVELS {
            return None;
        }
        let at = |index: usize| self.middle(index);
        let mean = (0..LEVELS).map(at).sum::<f32>() / LEVELS as f32;
        let mut best = (0.0, *PERIODS.start());
        let mut fell = false;
        for period in 1..=*PERIODS.end() {
            let (mut product, mut one, mut other) = (0.0, 0.0, 0.0);
            for index in 0..LEVELS - period {
                let (x, y) = (at(index) - mean, at(index + period) - mean);
                product += x * y;
                one += x * x;
                other += y * y;
            }
            // A constant level repeats nothing.
            let power = libm::sqrtf(one * other);
            let correlation = if power > FLAT { product / power } else { 0.0 };
            // Neighbours are alike in everything that varies slowly: a period is looked for beyond the first trough.
            fell |= correlation < REGULAR / 2.0;
            // By a margin, so that a period is preferred to its multiples.
            if fell && PERIODS.contains(&period) && correlation > best.0 + 0.05 {
                best = (correlation, period);
            }
        }
        let (regularity, period) = best;
        // Without a period, cycles of a second.
        let cycle = if regularity > 0.0 { period } else { 10 };
        let (mut depth, mut deep, cycles) = (0.0, 0.0, LEVELS / cycle);
        for start in (0..cycles).map(|number| number * cycle) {
            let (mut low, mut high) = (i16::MAX, i16::MIN);
            for Extremes { low: least, high: most } in
                (start..start + cycle).map(|index| self.extremes(index))
            {
                low = low.min(least);
                high = high.max(most);
            }
            let swing = (f32::from(high) - f32::from(low)) / PARTS;
            depth += swing;
            deep += f32::from(u8::from(swing > DEEP));
        }
        let cycles = cycles as f32;
        let period = cycle as f32 / 10.0;
        Some(Modulation { depth: depth / cycles, deep_share: deep / cycles, period, regularity })
    }
}
