//! LAeq of the last ten minutes, to half a decibel: from which an episode's message takes how the noise began.

use gridpost_protocol::reading::Milli;
use gridpost_protocol::time::UnixMillis;
use gridpost_protocol::told::{PROFILE_SECONDS_MAX, PROFILE_UNKNOWN, Profile};

/// How many seconds are kept; a byte each.
const SECONDS: usize = 600;
/// How many of a profile's seconds lie before the onset.
const BEFORE_S: i64 = 10;

/// The levels, by second.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The newest second since 1970.
    newest: Option<i64>,
    levels: [u8; SECONDS],
}

impl History {
    pub(super) const fn new() -> Self {
        // The first level makes all the others unknown.
        Self { newest: None, levels: [0; SECONDS] }
    }

    /// As before the first.
    pub(super) fn clear(&mut self) {
        self.newest = None;
    }

    fn place(second: i64) -> usize {
        // Within 0..SECONDS by the remainder.
        second.rem_euclid(SECONDS as i64) as usize
    }

    pub(super) fn put(&mut self, at: UnixMillis, level: Milli) {
        let second = at.0.div_euclid(1000);
        if self.newest.is_some_and(|newest| second <= newest.saturating_sub(SECONDS as i64)) {
            // The clock was set back.
            self.clear();
        }
        let newest = self.newest.unwrap_or(second.saturating_sub(SECONDS as i64));
        for skipped in newest.saturating_add(1).max(second.saturating_sub(SECONDS as i64 - 1))..second {
            self.levels[Self::place(skipped)] = PROFILE_UNKNOWN;
        }
        self.newest = Some(self.newest.map_or(second, |newest| newest.max(second)));
        // 0 to 127 dB.
        self.levels[Self::place(second)] = (level.0.saturating_add(250) / 500).clamp(0, 254) as u8;
    }

    /// The seconds around the onset of an episode of which a message is made at `at`; of one that began too long ago, the last ones.
    pub(super) fn profile(&self, onset: UnixMillis, at: UnixMillis) -> Option<Profile> {
        let newest = self.newest?;
        let length = PROFILE_SECONDS_MAX as i64;
        let oldest = newest.saturating_sub(SECONDS as i64 - 1);
        let onset = onset.0.div_euclid(1000);
        let first = if onset.saturating_sub(BEFORE_S) >= oldest {
            onset.saturating_sub(BEFORE_S)
        } else {
            newest.saturating_sub(length - 1)
        };
        let last = first.saturating_add(length - 1).min(newest);
        let begins_before_ms = u32::try_from(at.0.saturating_sub(first.saturating_mul(1000))).ok()?;
        let half_decibels = (first..=last).map(|second| self.levels[Self::place(second)]).collect();
        Some(Profile { begins_before_ms, half_decibels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_shows_how_the_noise_began() {
        let mut history = History::new();
        for second in 0..100_i64 {
            if second != 45 {
                let level = if second < 50 { 48_000 } else { 71_300 };
                history.put(UnixMillis(second * 1000 + 500), Milli(level));
            }
        }
        let profile = history.profile(UnixMillis(50_500), UnixMillis(99_500)).unwrap();
        assert_eq!(profile.begins_before_ms, 59_500, "from second 40");
        assert_eq!(profile.half_decibels[..11], [96, 96, 96, 96, 96, 255, 96, 96, 96, 96, 143]);
        assert_eq!(profile.half_decibels.len(), PROFILE_SECONDS_MAX);
        // At its first message the rest is still to come.
        let early = history.profile(UnixMillis(99_500), UnixMillis(99_500)).unwrap();
        assert_eq!((early.half_decibels.len(), early.begins_before_ms), (11, 10_500));
        // It began before the history.
        let late = history.profile(UnixMillis(-600_000), UnixMillis(99_500)).unwrap();
        assert_eq!((late.half_decibels.len(), late.begins_before_ms), (40, 39_500));
    }

    #[test]
    fn what_lies_ten_minutes_back_is_not_taken_for_new() {
        let mut history = History::new();
        history.put(UnixMillis(0), Milli(80_000));
        history.put(UnixMillis(700_000), Milli(50_000));
        let profile = history.profile(UnixMillis(690_000), UnixMillis(700_000)).unwrap();
        assert_eq!(profile.half_decibels.iter().filter(|level| **level != PROFILE_UNKNOWN).count(), 1);
        // A clock that is set back, and the ends of time.
        for at in [-10_000_000, i64::MAX, i64::MIN, 0] {
            history.put(UnixMillis(at), Milli(i32::MIN));
            let _ = history.profile(UnixMillis(i64::MIN), UnixMillis(at));
        }
    }
}
