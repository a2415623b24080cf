//! Which frames have been seen: a frame is taken once.

/// How many frames behind the newest one may still arrive, in frames. Datagrams overtake each other; streams do not.
pub const REPLAY_WINDOW_FRAMES: u32 = 64;

/// A sliding window over (epoch, counter): a device's boot and frame counters, or a gateway's start and frame counters.
///
/// A later epoch begins anew; an earlier one is over for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    epoch: u32,
    newest: u32,
    /// Bit n: the frame `newest - n` was seen. No bit set: nothing of this epoch yet.
    seen: u64,
}

/// The frame was seen before, or is too old to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed;

impl ReplayWindow {
    /// A window that has seen all frames up to (`epoch`, `counter`): what a restart goes on from.
    #[must_use]
    pub const fn after(epoch: u32, counter: u32) -> Self {
        Self { epoch, newest: counter, seen: u64::MAX }
    }

    /// The newest frame taken.
    #[must_use]
    pub const fn newest(&self) -> (u32, u32) {
        (self.epoch, self.newest)
    }

    /// Whether a frame is new. Asks only: [`Self::accept`] it once it proved authentic.
    ///
    /// # Errors
    /// [`Replayed`] when it is not.
    pub const fn check(&self, epoch: u32, counter: u32) -> Result<(), Replayed> {
        if epoch < self.epoch {
            return Err(Replayed);
        }
        if epoch > self.epoch || self.seen == 0 || counter > self.newest {
            return Ok(());
        }
        let behind = self.newest - counter;
        if behind >= REPLAY_WINDOW_FRAMES || self.seen & (1 << behind) != 0 { Err(Replayed) } else { Ok(()) }
    }

    /// Takes a frame that passed [`Self::check`] and is authentic.
    pub const fn accept(&mut self, epoch: u32, counter: u32) {
        if epoch != self.epoch || self.seen == 0 {
            *self = Self { epoch, newest: counter, seen: 1 };
        } else if counter > self.newest {
            let step = counter - self.newest;
            self.seen = if step < REPLAY_WINDOW_FRAMES { self.seen << step } else { 0 } | 1;
            self.newest = counter;
        } else {
            let behind = self.newest - counter;
            if behind < REPLAY_WINDOW_FRAMES {
                self.seen |= 1 << behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn no_frame_is_taken_twice_and_none_in_order_is_refused(
            frames in prop::collection::vec((0u32..4, 0u32..200), 0..400)
        ) {
            let mut window = ReplayWindow::default();
            let mut taken = HashSet::new();
            for (epoch, counter) in frames {
                let newest = window.newest();
                let fresh = window.check(epoch, counter).is_ok();
                if fresh {
                    window.accept(epoch, counter);
                    prop_assert!(taken.insert((epoch, counter)), "taken twice");
                } else {
                    prop_assert!((epoch, counter) <= newest, "refused though newer than all");
                }
            }
        }
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let window = ReplayWindow::after(3, 100);
        assert!(window.check(3, 100).is_err());
        assert!(window.check(3, 99).is_err());
        assert!(window.check(2, 500).is_err());
        assert!(window.check(3, 101).is_ok());
        assert!(window.check(4, 0).is_ok());
    }
}
