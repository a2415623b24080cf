//! How LAF goes up and down, regularly or not: music's beat, a cyclic plant.
//!
//! Western Australia's regulations call a noise modulated that varies by more than 3 dB LAF, regularly, for at least a
//! tenth of the time. What "regularly" means in numbers is ours: an autocorrelation of at least [`REGULAR`].

/// LAF every 100 ms.
const TICKS_PER_LEVEL: u32 = 10;
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
    levels: [f32; LEVELS],
    next: usize,
    filled: usize,
    ticks: u32,
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
        Self { levels: [0.0; LEVELS], next: 0, filled: 0, ticks: 0 }
    }
}

impl ModulationWindow {
    /// Takes LAF in dB of the next tick.
    pub fn add(&mut self, level: f32) {
        self.ticks += 1;
        if self.ticks == TICKS_PER_LEVEL {
            self.ticks = 0;
            self.levels[self.next] = level;
            self.next = (self.next + 1) % LEVELS;
            self.filled = (self.filled + 1).min(LEVELS);
        }
    }

    /// Forgets everything, as after a gap.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Of the last 10 s; `None` until there are as many. Some 4000 multiplications: for once a second or less.
    #[must_use]
    pub fn measure(&self) -> Option<Modulation> {
        if self.filled < LEVELS {
            return None;
        }
        let at = |index: usize| self.levels[(self.next + index) % LEVELS];
        let mean = self.levels.iter().sum::<f32>() / LEVELS as f32;
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
            let correlation = if power > 1e-6 { product / power } else { 0.0 };
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
            let (mut low, mut high) = (f32::MAX, f32::MIN);
            for index in start..start + cycle {
                low = low.min(at(index));
                high = high.max(at(index));
            }
            depth += high - low;
            deep += f32::from(u8::from(high - low > DEEP));
        }
        let cycles = cycles as f32;
        let period = cycle as f32 / 10.0;
        Some(Modulation { depth: depth / cycles, deep_share: deep / cycles, period, regularity })
    }
}
