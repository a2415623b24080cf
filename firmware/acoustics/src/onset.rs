//! Onsets of LAF and their prominence (NT ACOU 112:2002): what tells hammering and piling from what swells slowly.
//!
//! An onset begins where LAF, sampled every tick, rises faster than 10 dB/s and ends where it does not any more. Its rate
//! is the slope of the straight line through the samples between, its difference the rise from begin to end.

use super::TICKS_PER_SECOND;

/// The gradient above which LAF is in an onset, in dB/s (NT ACOU 112).
pub const GRADIENT: f32 = 10.0;
/// The prominence above which a sound is impulsive.
pub const IMPULSIVE: f32 = 5.0;

/// Ticks after which an onset is cut off: 5 s. What rises that long is no impulse.
const LONGEST: u32 = 5 * TICKS_PER_SECOND as u32;

/// A rise of LAF.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Onset {
    /// Its rate in dB/s.
    pub rate: f32,
    /// LAF at its end less LAF at its begin, in dB.
    pub difference: f32,
    /// Ticks from begin to end.
    pub ticks: u32,
}

impl Onset {
    /// P = 3 lg(rate) + 2 lg(difference), at least 0 (NT ACOU 112).
    #[must_use]
    pub fn prominence(&self) -> f32 {
        // Both are positive by construction; the smallest float keeps the logarithm finite all the same.
        let lg = |value: f32| libm::log10f(value.max(f32::MIN_POSITIVE));
        (3.0 * lg(self.rate) + 2.0 * lg(self.difference)).max(0.0)
    }

    /// What is to be added to LAeq of the 30 minutes with this onset, in dB: 1.8·(P - 5) for P > 5.
    #[must_use]
    pub fn adjustment(&self) -> f32 {
        (1.8 * (self.prominence() - IMPULSIVE)).max(0.0)
    }
}

/// Finds onsets.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnsetDetector {
    last: Option<f32>,
    rising: Option<Rise>,
}

/// Sums for the straight line, from the begin: so numbers stay small.
#[derive(Clone, Copy, Debug)]
struct Rise {
    from: f32,
    ticks: u32,
    levels: f32,
    moments: f32,
}

impl OnsetDetector {
    /// Takes LAF in dB of the next tick; gives the onset that ended with it, if one did.
    pub fn add(&mut self, level: f32) -> Option<Onset> {
        let last = self.last.replace(level)?;
        let steep = (level - last) * TICKS_PER_SECOND as f32 > GRADIENT;
        if steep {
            let rise = self.rising.get_or_insert(Rise { from: last, ticks: 0, levels: 0.0, moments: 0.0 });
            rise.ticks += 1;
            rise.levels += level - rise.from;
            rise.moments += (level - rise.from) * rise.ticks as f32;
            if rise.ticks < LONGEST {
                return None;
            }
            return self.rising.take().map(|rise| rise.end(level));
        }
        self.rising.take().map(|rise| rise.end(last))
    }

    /// Forgets the tick before, as after a gap.
    pub fn interrupt(&mut self) {
        *self = Self::default();
    }
}

impl Rise {
    /// The line through the samples 0 to `ticks`, of which number 0 is 0.
    fn end(&self, level: f32) -> Onset {
        let last = self.ticks as f32;
        let count = last + 1.0;
        let mean_time = last / 2.0;
        // Σ(t - mean)² of t = 0..=last
        let spread = count * (count * count - 1.0) / 12.0;
        let slope = (self.moments - mean_time * self.levels) / spread;
        Onset { rate: slope * TICKS_PER_SECOND as f32, difference: level - self.from, ticks: self.ticks }
    }
}
