//! One direction of a device's link: bytes go in, and come out late, twice, torn, flipped, in another order, or not at all.

use std::collections::VecDeque;

use fastrand::Rng;

/// How bad a link is, as one in so many chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) lose: u32,
    pub(super) double: u32,
    pub(super) damage: u32,
    pub(super) overtake: u32,
}

impl Weather {
    /// Nothing happens to a byte.
    pub(super) const FINE: Self = Self { lose: 0, double: 0, damage: 0, overtake: 0 };

    pub(super) fn some(rng: &mut Rng) -> Self {
        let mut one_in = || if rng.bool() { rng.u32(3..60) } else { 0 };
        Self { lose: one_in(), double: one_in(), damage: one_in(), overtake: one_in() }
    }
}

/// Chunks under way; at most this many: a socket's buffer is not endless either.
const CHUNKS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Wire {
    chunks: VecDeque<Vec<u8>>,
}

impl Wire {
    pub(super) fn send(&mut self, bytes: &[u8], weather: Weather, rng: &mut Rng) {
        if self.chunks.len() >= CHUNKS_MAX || happens(weather.lose, rng) {
            return;
        }
        let mut chunk = bytes.to_vec();
        if happens(weather.double, rng) {
            self.chunks.push_back(chunk.clone());
        }
        if happens(weather.damage, rng) {
            let at = rng.usize(..chunk.len());
            match rng.u8(..3) {
                0 => chunk[at] ^= 1 << rng.u8(..8),
                1 => chunk.truncate(at),
                _ => chunk.insert(at, rng.u8(..)),
            }
        }
        self.chunks.push_back(chunk);
    }

    pub(super) fn receive(&mut self, weather: Weather, rng: &mut Rng) -> Option<Vec<u8>> {
        if self.chunks.len() > 1 && happens(weather.overtake, rng) {
            return self.chunks.remove(rng.usize(1..self.chunks.len()));
        }
        self.chunks.pop_front()
    }

    /// The link went down: what is under way is gone.
    pub(super) fn cut(&mut self) {
        self.chunks.clear();
    }
}

/// Whether a thing that happens once in `one_in` times happens now; 0 is never.
pub(super) fn happens(one_in: u32, rng: &mut Rng) -> bool {
    one_in > 0 && rng.u32(..one_in) == 0
}
