//! When it is day: the engine asks, because it knows neither clock nor time zone.
//!
//! A gateway answers from the site's time zone. A node has no time zone data: it is given the next days' boundaries
//! ([`PrecomputedPeriods`]), and beyond them it does not know, so rules that depend on a period decide nothing there.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::rule::{Condition, PERIODS_MAX, PeriodId};
use crate::time::UnixMillis;

/// How many boundaries a node keeps: 24 days of days and nights, or five days with three more periods. They fit into one frame.
pub const BOUNDARIES_MAX: usize = 48;

/// Who knows what stands in no reading of the device: whether a period is on, and how it is around the device.
pub trait Periods {
    /// Whether `period` is on at `at`; `None` if that is not known here.
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool>;

    /// Whether any device at the site measured what meets this condition ([`Origin::Site`](crate::rule::Origin::Site)),
    /// at most [`Condition::within_ms`] before `at`. A node does not know, and is given no such rule.
    fn was_beyond(&self, _condition: &Condition, _at: UnixMillis) -> bool {
        false
    }
}

impl<P: Periods> Periods for &P {
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool> {
        (**self).is_active(period, at)
    }

    fn was_beyond(&self, condition: &Condition, at: UnixMillis) -> bool {
        (**self).was_beyond(condition, at)
    }
}

/// Knows nothing about periods: a node that was not told, or rules that need none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeriods;

impl Periods for NoPeriods {
    fn is_active(&self, _: PeriodId, _: UnixMillis) -> Option<bool> {
        None
    }
}

/// From this instant to the next boundary, these periods are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// The instant.
    pub from: UnixMillis,
    /// One bit per [`PeriodId`].
    pub active: u16,
}

/// A boundary in 10 bytes, where it takes 16: a node keeps 96 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Boundary", into = "Boundary")]
struct Packed([u8; 10]);

impl Packed {
    fn get(self) -> Boundary {
        let [a, b, c, d, e, f, g, h, i, j] = self.0;
        Boundary {
            from: UnixMillis(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
            active: u16::from_le_bytes([i, j]),
        }
    }
}

impl From<Boundary> for Packed {
    fn from(boundary: Boundary) -> Self {
        let [a, b, c, d, e, f, g, h] = boundary.from.0.to_le_bytes();
        let [i, j] = boundary.active.to_le_bytes();
        Self([a, b, c, d, e, f, g, h, i, j])
    }
}

impl From<Packed> for Boundary {
    fn from(packed: Packed) -> Self {
        packed.get()
    }
}

/// The periods of a stretch of time, worked out beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecomputedPeriods {
    boundaries: Vec<Packed, BOUNDARIES_MAX>,
    until: UnixMillis,
}

impl PrecomputedPeriods {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { boundaries: Vec::new(), until: UnixMillis(0) };

    /// Boundaries in ascending order, known up to (and not including) `until`. What does not fit shortens the known
    /// stretch; a boundary out of order ends it.
    #[must_use]
    pub fn new(boundaries: impl IntoIterator<Item = Boundary>, until: UnixMillis) -> Self {
        let mut known = Self { boundaries: Vec::new(), until };
        for boundary in boundaries {
            let ascends = known.boundaries.last().is_none_or(|last| last.get().from < boundary.from);
            if boundary.from >= until {
                break;
            }
            if !ascends || known.boundaries.push(boundary.into()).is_err() {
                known.until = boundary.from;
                break;
            }
        }
        known
    }

    /// Takes over what was told, in place.
    pub fn set(&mut self, told: EncodedPeriods<'_>) {
        let boundaries = &mut self.boundaries;
        boundaries.clear();
        // They are as many as fit, and can be read: the other one is made of no others.
        let until = read(told.0, |boundary| boundaries.push(boundary.into()).is_ok());
        self.until = until.unwrap_or(UnixMillis(0));
    }

    /// Up to when this knows.
    #[must_use]
    pub const fn until(&self) -> UnixMillis {
        self.until
    }
}

/// [`PrecomputedPeriods`] as they came, checked: a node has no room for them a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedPeriods<'a>(&'a [u8]);

impl<'a> EncodedPeriods<'a> {
    /// What begins with them; [`None`] when it does not.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut count = 0;
        read(bytes, |_| {
            count += 1;
            count <= BOUNDARIES_MAX
        })?;
        Some(Self(bytes))
    }
}

/// Reads what [`PrecomputedPeriods`] are serialized as, boundary by boundary, while they are wanted; up to when they are known.
fn read(bytes: &[u8], mut take: impl FnMut(Boundary) -> bool) -> Option<UnixMillis> {
    let (count, mut rest) = postcard::take_from_bytes::<usize>(bytes).ok()?;
    for _ in 0..count {
        let (boundary, behind) = postcard::take_from_bytes(rest).ok()?;
        if !take(boundary) {
            return None;
        }
        rest = behind;
    }
    postcard::take_from_bytes(rest).ok().map(|(until, _)| until)
}

impl Periods for PrecomputedPeriods {
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool> {
        if at >= self.until || period.0 >= PERIODS_MAX {
            return None;
        }
        let after = self.boundaries.partition_point(|boundary| boundary.get().from <= at);
        let current = self.boundaries.get(after.checked_sub(1)?)?.get();
        Some(period == PeriodId::ALWAYS || current.active & (1 << period.0) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_known_stretch_nothing_is_known() {
        let day = 1 << PeriodId::DAY.0;
        let night = 1 << PeriodId::NIGHT.0;
        let periods = PrecomputedPeriods::new(
            [
                Boundary { from: UnixMillis(100), active: day },
                Boundary { from: UnixMillis(200), active: night },
            ],
            UnixMillis(300),
        );
        let day_at = |at| periods.is_active(PeriodId::DAY, UnixMillis(at));
        assert_eq!(
            [day_at(99), day_at(100), day_at(199), day_at(200), day_at(299), day_at(300)],
            [None, Some(true), Some(true), Some(false), Some(false), None]
        );
        assert_eq!(periods.is_active(PeriodId(200), UnixMillis(100)), None);
    }

    #[test]
    fn what_does_not_fit_is_not_known() {
        let boundaries =
            (0..BOUNDARIES_MAX as i64 + 5).map(|n| Boundary { from: UnixMillis(n * 10), active: 2 });
        let periods = PrecomputedPeriods::new(boundaries, UnixMillis(i64::MAX));
        assert_eq!(periods.until(), UnixMillis(BOUNDARIES_MAX as i64 * 10));
    }

    #[test]
    fn a_boundary_takes_ten_bytes_and_is_serialized_as_ever() {
        assert_eq!(size_of::<Packed>(), 10);
        let boundaries = [
            Boundary { from: UnixMillis(i64::MIN), active: 0 },
            Boundary { from: UnixMillis(-1), active: u16::MAX },
            Boundary { from: UnixMillis(1_790_000_000_000), active: 0x1234 },
        ];
        let until = UnixMillis(i64::MAX);
        let (mut bytes, mut plain) = ([0; 64], [0; 64]);
        let periods = PrecomputedPeriods::new(boundaries, until);
        let bytes = postcard::to_slice(&periods, &mut bytes).unwrap();
        assert_eq!(bytes, postcard::to_slice(&(&boundaries[..], until), &mut plain).unwrap());
        assert_eq!(postcard::from_bytes(bytes), Ok(periods));
    }

    #[test]
    fn what_was_told_is_taken_over_as_it_was_and_nothing_else_is() {
        let boundary = |n: i64| Boundary { from: UnixMillis(n * 10), active: n as u16 };
        for count in [0, 1, 47, BOUNDARIES_MAX as i64] {
            let told = PrecomputedPeriods::new((0..count).map(boundary), UnixMillis(1_790_000_000_000));
            let mut bytes = [0; 1024];
            let bytes = postcard::to_slice(&told, &mut bytes).unwrap();
            let mut periods = PrecomputedPeriods::new([boundary(7)], UnixMillis(80));
            periods.set(EncodedPeriods::parse(bytes).unwrap());
            assert_eq!(periods, told);
            for cut in 0..bytes.len() {
                assert_eq!(EncodedPeriods::parse(&bytes[..cut]), None, "{count} boundaries, cut at {cut}");
            }
        }
        // More than fit: as many as it says, and one more than there is room for.
        let mut bytes = [1; 2 * BOUNDARIES_MAX + 4];
        bytes[0] = BOUNDARIES_MAX as u8;
        assert!(EncodedPeriods::parse(&bytes).is_some());
        bytes[0] += 1;
        assert_eq!(EncodedPeriods::parse(&bytes), None);
    }
}
