//! A sound level that follows a script: stands in where there is no microphone, and says so by its name.

use embassy_time::Duration;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Milli;

use super::{Readings, Sensor, SensorError, good};

/// For how many readings which level holds, in thousandths of a decibel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many readings.
    pub readings: u32,
    /// The level around which they vary.
    pub level: Milli,
}

/// One-second LAeq levels after a script that begins anew when it is over. The levels vary by up to 1.5 dB around the
/// script's, always in the same way.
#[derive(Clone, Debug)]
pub struct ScriptedLevel<'a> {
    script: &'a [Step],
    interval: Duration,
    step: usize,
    left: u32,
    noise: u32,
}

/// How far a level varies to either side, in thousandths of a decibel.
const VARIATION: i32 = 1_500;

impl<'a> ScriptedLevel<'a> {
    /// A level that follows `script`, read every `interval`.
    #[must_use]
    pub fn new(script: &'a [Step], interval: Duration) -> Self {
        let left = script.first().map_or(0, |step| step.readings);
        Self { script, interval, step: 0, left, noise: 0x2545_f491 }
    }

    /// The next level.
    pub fn next_level(&mut self) -> Milli {
        // xorshift32 (Marsaglia 2003): small, and the same everywhere.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        let Some(step) = self.script.get(self.step) else { return Milli(0) };
        let level = step.level;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.step = (self.step + 1) % self.script.len();
            self.left = self.script[self.step].readings;
        }
        let span = VARIATION.unsigned_abs() * 2 + 1;
        Milli(level.0.saturating_add((self.noise % span).cast_signed() - VARIATION))
    }
}

impl Sensor for ScriptedLevel<'_> {
    const NAME: &'static str = "scripted level";

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn read(&mut self) -> Result<Readings, SensorError> {
        Ok(Readings::from_array([good(Quantity::LAeq, self.next_level().0)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stay_near_the_script_and_begin_anew() {
        let script = [Step { readings: 3, level: Milli(50_000) }, Step { readings: 2, level: Milli(70_000) }];
        let mut source = ScriptedLevel::new(&script, Duration::from_secs(1));
        for _ in 0..100 {
            for expected in [50_000, 50_000, 50_000, 70_000, 70_000] {
                let level = source.next_level().0;
                assert!((level - expected).abs() <= VARIATION, "{level} against {expected}");
            }
        }
    }
}
