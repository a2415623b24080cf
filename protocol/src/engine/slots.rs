//! Where the windows of an engine keep their slots: a node in one array, a gateway on the heap from a window's first reading on.
//!
//! A pack's rules apply to a device whatever it measures, and a gateway has thousands of devices: windows of what a device does not
//! measure cost it next to nothing. A node has little memory, and its windows share it: one of an hour takes sixty slots of it, one of ten
//! seconds ten, and the newest reading one. There a slot takes 10 bytes and not 16.

use super::window::Slot;

/// How many slots the windows of a node's rules may have together.
pub const NODE_SLOTS_MAX: usize = 240;

#[cfg(not(any(test, feature = "std")))]
mod kept {
    pub(super) type Packed = super::Short;
    pub(super) type Kept = heapless::Vec<Packed, { super::NODE_SLOTS_MAX }>;
    /// What windows may have together here.
    pub(super) const ROOM: usize = super::NODE_SLOTS_MAX;
}
#[cfg(any(test, feature = "std"))]
mod kept {
    pub(super) type Packed = super::Long;
    pub(super) type Kept = std::vec::Vec<Packed>;
    /// What windows may have together here: as many as a pack's windows can have.
    pub(super) const ROOM: usize = u16::MAX as usize;
}
use kept::{Kept, Packed};

/// A slot without the four bytes that its alignment would take: its count, and both halves of its content.
#[cfg(any(test, feature = "std"))]
#[derive(Clone, Copy, Debug)]
struct Long([u32; 3]);

#[cfg(any(test, feature = "std"))]
impl Long {
    const EMPTY: Self = Self([0; 3]);
    const COUNT_MAX: u32 = u32::MAX;

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

/// A slot of a node, whose sensors measure some times a second: it counts to 65,535, which takes them an hour at the least.
#[cfg(any(test, not(feature = "std")))]
#[derive(Clone, Copy, Debug)]
struct Short([u16; 5]);

#[cfg(any(test, not(feature = "std")))]
#[cfg_attr(
    test,
    expect(dead_code, reason = "tests have a gateway's slots; what packs and unpacks has a test of its own")
)]
impl Short {
    const EMPTY: Self = Self([0; 5]);
    const COUNT_MAX: u32 = u16::MAX as u32;

    const fn new(Slot { count, content }: Slot) -> Self {
        let content = content.cast_unsigned();
        // Its quarters, as they are meant; no slot has more than COUNT_MAX.
        Self([
            count as u16,
            (content >> 48) as u16,
            (content >> 32) as u16,
            (content >> 16) as u16,
            content as u16,
        ])
    }

    fn slot(self) -> Slot {
        let Self([count, content @ ..]) = self;
        let content = content.iter().fold(0, |high, quarter| high << 16 | u64::from(*quarter));
        Slot { count: count.into(), content: content.cast_signed() }
    }
}

/// The slots of all windows of an engine.
#[derive(Clone, Debug)]
pub(super) struct Pool(Kept);

impl Pool {
    /// What windows may have together.
    pub(super) const ROOM: usize = kept::ROOM;

    /// Without slots.
    pub(super) const fn new() -> Self {
        Self(Kept::new())
    }

    /// Takes all slots from all windows, which have to begin anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives so many empty slots, one after the other; the place of the first. [`None`] when there is not so much room.
    fn give(&mut self, slots: u16) -> Option<u16> {
        let first = self.0.len();
        let all = first + usize::from(slots);
        if all > Self::ROOM {
            return None;
        }
        #[cfg(any(test, feature = "std"))]
        self.0.reserve_exact(slots.into());
        self.0.extend(core::iter::repeat_n(Packed::EMPTY, slots.into()));
        // Below ROOM, so it fits.
        Some(first as u16)
    }
}

/// The slots of one window, in the engine's [`Pool`]; all are empty at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    used: u16,
    /// Where they are, after the first reading.
    first: Option<u16>,
}

impl Slots {
    /// None yet: [`Self::begin`] says how many.
    pub(super) const NONE: Self = Self { used: 0, first: None };
    /// The most that one can count.
    pub(super) const COUNT_MAX: u32 = Packed::COUNT_MAX;

    /// So many slots, at least one and at most [`super::SLOTS`], of a pool that was cleared.
    pub(super) fn begin(used: u16) -> Self {
        Self { used, first: None }
    }

    /// How many there are.
    pub(super) fn used(self) -> usize {
        self.used.into()
    }

    fn all(self, pool: &Pool) -> &[Packed] {
        let first = self.first.map(usize::from);
        first.and_then(|first| pool.0.get(first..first + self.used())).unwrap_or_default()
    }

    fn all_mut(self, pool: &mut Pool) -> &mut [Packed] {
        let first = self.first.map(usize::from);
        first.and_then(|first| pool.0.get_mut(first..first + self.used())).unwrap_or_default()
    }

    /// One of them.
    pub(super) fn get(self, pool: &Pool, index: usize) -> Slot {
        self.all(pool).get(index).map_or(Slot::EMPTY, |slot| slot.slot())
    }

    /// Puts something into one of them.
    pub(super) fn set(&mut self, pool: &mut Pool, index: usize, slot: Slot) {
        if self.first.is_none() {
            // There is room: rules that need more are not taken.
            self.first = pool.give(self.used);
        }
        if let Some(place) = self.all_mut(pool).get_mut(index) {
            *place = Packed::new(slot);
        }
    }

    /// Empties one of them, and says what was in it.
    pub(super) fn take(self, pool: &mut Pool, index: usize) -> Slot {
        let place = self.all_mut(pool).get_mut(index);
        place.map_or(Slot::EMPTY, |slot| core::mem::replace(slot, Packed::EMPTY).slot())
    }

    /// Empties all of them.
    pub(super) fn clear(self, pool: &mut Pool) {
        self.all_mut(pool).fill(Packed::EMPTY);
    }

    /// Those that have something in them, in no particular order.
    pub(super) fn filled(self, pool: &Pool) -> impl Iterator<Item = Slot> {
        self.all(pool).iter().map(|slot| slot.slot()).filter(|slot| slot.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_went_in() {
        for content in [0, 1, -1, 65_536, -65_537, 1 << 40, i64::MAX, i64::MIN, 0x0123_4567_89ab_cdef] {
            for count in [0, 1, 65_535] {
                let short = Short::new(Slot { count, content }).slot();
                let long = Long::new(Slot { count, content }).slot();
                assert_eq!((short.count, short.content), (count, content));
                assert_eq!((long.count, long.content), (count, content));
            }
        }
        assert_eq!((size_of::<Short>(), size_of::<Long>()), (10, 12));
    }

    #[test]
    fn windows_have_slots_of_their_own() {
        let mut pool = Pool::new();
        let (mut one, mut other) = (Slots::begin(3), Slots::begin(2));
        let slot = |content| Slot { count: 1, content };
        one.set(&mut pool, 2, slot(1));
        other.set(&mut pool, 0, slot(2));
        one.set(&mut pool, 0, slot(3));
        let all = |slots: Slots, pool: &Pool| {
            slots.filled(pool).map(|slot| slot.content).collect::<std::vec::Vec<_>>()
        };
        assert_eq!((all(one, &pool), all(other, &pool)), (std::vec![3, 1], std::vec![2]));
        one.clear(&mut pool);
        assert_eq!((all(one, &pool), all(other, &pool)), (std::vec![], std::vec![2]));
        assert_eq!(other.take(&mut pool, 0).content, 2);
        assert_eq!(other.take(&mut pool, 7).count, 0, "there is no such slot");
    }
}
