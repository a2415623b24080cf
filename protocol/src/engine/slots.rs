//! Where a window keeps its slots: a node in an array, a gateway on the heap from the first reading on.
//!
//! A pack's rules apply to a device whatever it measures, and a gateway has thousands of devices: windows of what a device does not
//! measure cost it next to nothing.

#[cfg(not(any(test, feature = "std")))]
use super::window::SLOTS;
use super::window::Slot;

#[cfg(not(any(test, feature = "std")))]
type Kept = [Slot; SLOTS];
#[cfg(any(test, feature = "std"))]
type Kept = std::vec::Vec<Slot>;

#[cfg(not(any(test, feature = "std")))]
const NOTHING: Kept = [Slot::EMPTY; SLOTS];
#[cfg(any(test, feature = "std"))]
const NOTHING: Kept = Kept::new();

/// The slots of one window; all are empty at first.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    used: usize,
    kept: Kept,
}

impl Slots {
    /// So many slots, at least one and at most [`super::SLOTS`].
    pub(super) const fn new(used: usize) -> Self {
        Self { used, kept: NOTHING }
    }

    /// How many there are.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// One of them.
    pub(super) fn get(&self, index: usize) -> Slot {
        self.kept.get(index).copied().unwrap_or(Slot::EMPTY)
    }

    /// Puts something into one of them.
    pub(super) fn set(&mut self, index: usize, slot: Slot) {
        #[cfg(any(test, feature = "std"))]
        if self.kept.is_empty() {
            self.kept = std::vec![Slot::EMPTY; self.used];
        }
        self.kept[index] = slot;
    }

    /// Empties one of them, and says what was in it.
    pub(super) fn take(&mut self, index: usize) -> Slot {
        self.kept.get_mut(index).map_or(Slot::EMPTY, |slot| core::mem::replace(slot, Slot::EMPTY))
    }

    /// Empties all of them.
    pub(super) fn clear(&mut self) {
        self.kept.fill(Slot::EMPTY);
    }

    /// Those that have something in them, in no particular order.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Slot> {
        self.kept.iter().take(self.used).filter(|slot| slot.count > 0)
    }
}
