//! What is known against a measurement.

use core::{fmt, ops::BitOr};

/// A set of findings. Empty: nothing is known against it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A sample went over the meter's upper limit (IEC 61672-1 5.11). What was measured may be too low.
    pub const OVERLOAD: Self = Self(1);
    /// The level was below the range in which the meter is linear (IEC 61672-1 5.12). What was measured may be too high.
    /// Where nothing was measured it was too: so a gap does not lift it off what is around.
    pub const UNDER_RANGE: Self = Self(1 << 1);
    /// A sample was at the end of the converter's range: the signal was cut there.
    pub const CLIPPED: Self = Self(1 << 2);
    /// Samples did not change for half a second: no microphone is connected, or it is dead.
    pub const STUCK: Self = Self(1 << 3);
    /// The samples' mean is far from zero. It was removed; the microphone or converter wants looking at.
    pub const DC_OFFSET: Self = Self(1 << 4);
    /// Samples are missing in between; they are left out of every mean.
    pub const GAP: Self = Self(1 << 5);
    /// An f32 sample was NaN or infinite. The sample before it was taken in its stead.
    pub const NOT_FINITE: Self = Self(1 << 6);
    /// Within two seconds of a start or a gap: filters still swing.
    pub const SETTLING: Self = Self(1 << 7);
    /// The samples do not come at 48 kHz: see [`clock`](super::clock). The caller sets it.
    pub const RATE_SLIP: Self = Self(1 << 8);

    const NAMES: [&'static str; 9] = [
        "overload",
        "under-range",
        "clipped",
        "stuck",
        "dc-offset",
        "gap",
        "not-finite",
        "settling",
        "rate-slip",
    ];

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with these bits; those that this version does not know are left out.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & ((1 << Self::NAMES.len()) - 1))
    }

    /// The bits, for a record; those that this version does not know are never set.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Adds what is in `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes out what is in `other`.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// The flags of two parts of a measurement together: everything that was found in either, latched (IEC 61672-1
    /// 5.11), but under-range only if both were: a mean over both is above the limit if one of them is.
    #[must_use]
    pub const fn latched(self, other: Self) -> Self {
        let either = (self.0 | other.0) & !Self::UNDER_RANGE.0;
        Self(either | (self.0 & other.0))
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (bit, name) in Self::NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{comma}{name}")?;
                comma = ", ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}
