//! Where a window keeps its slots: a node in an array, a gateway on the heap from the first reading on.
//!
//! A pack's rules apply to a device whatever it measures, and a gateway has thousands of devices: windows of what a device does not
//! measure cost it next to nothing. A node has few windows and little memory: there a slot takes 12 bytes and not 16.

use super::window::Slot;

#[cfg(not(any(test, feature = "std")))]
type Kept = heapless::Vec<Packed, { super::window::SLOTS }>;
#[cfg(any(test, feature = "std"))]
type Kept = std::vec::Vec<Packed>;

/// A slot without the four bytes that its alignment would take: its count, and both halves of its content.
#[derive(Clone, Copy, Debug)]
struct Packed([u32; 3]);

impl Packed {
    const EMPTY: Self = Self([0; 3]);

    const fn new(Slot { count, content }: Slot) -> Self {
        let content = content.cast_unsigned();
        // The low half, as it is meant.
        Self([count, (content >> 32) as u32, content as u32])
    }

    fn slot(self) -> Slot {
        let Self([count, high, low]) = self;
        Slot { count, content: (u64::from(high) << 32 | u64::from(low)).cast_signed() }
    }
}

/// The slots of one window; all are empty at first.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    used: usize,
    kept: Kept,
}

impl Slots {
    /// None yet: [`Self::begin`] says how many.
    pub(super) const NONE: Self = Self { used: 0, kept: Kept::new() };

    /// So many slots, at least one and at most [`super::SLOTS`].
    pub(super) fn begin(&mut self, used: usize) {
        self.used = used;
        self.kept.clear();
    }

    /// How many there are.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// One of them.
    pub(super) fn get(&self, index: usize) -> Slot {
        self.kept.get(index).map_or(Slot::EMPTY, |slot| slot.slot())
    }

    /// Puts something into one of them.
    pub(super) fn set(&mut self, index: usize, slot: Slot) {
        if self.kept.is_empty() {
            // There is room for as many as a window may have.
            self.kept.extend(core::iter::repeat_n(Packed::EMPTY, self.used));
        }
        self.kept[index] = Packed::new(slot);
    }

    /// Empties one of them, and says what was in it.
    pub(super) fn take(&mut self, index: usize) -> Slot {
        self.kept.get_mut(index).map_or(Slot::EMPTY, |slot| core::mem::replace(slot, Packed::EMPTY).slot())
    }

    /// Empties all of them.
    pub(super) fn clear(&mut self) {
        self.kept.fill(Packed::EMPTY);
    }

    /// Those that have something in them, in no particular order.
    pub(super) fn filled(&self) -> impl Iterator<Item = Slot> {
        self.kept.iter().map(|slot| slot.slot()).filter(|slot| slot.count > 0)
    }
}
