//! What a device keeps until it is acknowledged: one record, with its kind and its time.
//!
//! Stored (in a node's flash): `kind | stamp | body`. On the wire the kind and the body's length stand outside the body, so that a
//! gateway that does not know a kind counts it and steps over it; kinds are append-only. Stamp and body are postcard.
//!
//! Bounds: a stored record has at most [`RECORD_BYTES_MAX`] bytes.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::calibration::CalibrationOutcome;
use crate::fault::SensorState;
use crate::id::Seq;
use crate::reading::Reading;
use crate::series::Series;
use crate::summary::Summary;
use crate::time::Stamp;
use crate::told::{Decides, ToldEpisode};

/// The longest stored record, in bytes.
pub const RECORD_BYTES_MAX: usize = 200;
/// The longest note of a report or log line, in bytes of UTF-8.
pub const NOTE_BYTES_MAX: usize = 96;
/// How many attachments a report may name.
pub const ATTACHMENTS_MAX: usize = 2;

/// A record as stored.
pub type RecordBuf = Vec<u8, RECORD_BYTES_MAX>;

/// The kind of a record. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// One measured value.
    Reading = 1,
    /// An episode's message that the device decided itself.
    Episode = 2,
    /// A grid worker's own observation.
    Report = 3,
    /// A line for the technician.
    Log = 4,
    /// Records were given up because the device's store was full.
    Evicted = 5,
    /// How a sensor is.
    Sensor = 6,
    /// A device's minute.
    Summary = 7,
    /// From here on the device decides itself.
    Decides = 8,
    /// Readings at even distances.
    Series = 9,
    /// What came of a calibration.
    Calibration = 10,
}

/// A place on earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Degrees north, in ten-millionths.
    pub latitude_e7: i32,
    /// Degrees east, in ten-millionths.
    pub longitude_e7: i32,
}

/// A grid worker's own observation, which names its matter itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// The matter's code.
    pub matter: &'a str,
    /// Where it is, when the handheld knows.
    pub position: Option<Position>,
    /// What was seen, at most [`NOTE_BYTES_MAX`] bytes.
    pub note: &'a str,
    /// SHA-256 digests of photographs and other attachments, which travel on their own.
    pub attachments: Vec<[u8; 32], ATTACHMENTS_MAX>,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Good to know.
    Info,
    /// Works, and should be looked at.
    Warning,
    /// Does not work.
    Error,
}

/// A line for the technician.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log<'a> {
    /// How much it matters.
    pub level: LogLevel,
    /// What happened, at most [`NOTE_BYTES_MAX`] bytes.
    pub text: &'a str,
}

/// Records were given up because the store was full: which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The first that is gone.
    pub first: Seq,
    /// The last that is gone.
    pub last: Seq,
}

/// A record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// One measured value.
    Reading(Reading),
    /// A grid worker's own observation.
    Report(Report<'a>),
    /// A line for the technician.
    Log(Log<'a>),
    /// Records were given up.
    Evicted(Evicted),
    /// An episode's message that the device decided itself.
    Episode(ToldEpisode<'a>),
    /// How a sensor is.
    Sensor(SensorState<'a>),
    /// A device's minute.
    Summary(Summary),
    /// From here on the device decides itself.
    Decides(Decides),
    /// Readings at even distances.
    Series(Series<'a>),
    /// What came of a calibration.
    Calibration(CalibrationOutcome),
    /// A kind of a later version, or a body that is not what its kind says.
    Unknown {
        /// The kind's byte.
        kind: u8,
        /// The body, as it came.
        body: &'a [u8],
    },
}

/// A record does not fit into [`RECORD_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordTooLong;

impl fmt::Display for RecordTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record is longer than {RECORD_BYTES_MAX} bytes")
    }
}

impl core::error::Error for RecordTooLong {}

/// Bytes that are not a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARecord;

impl fmt::Display for NotARecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these bytes are not a stored record")
    }
}

impl core::error::Error for NotARecord {}

impl<'a> Record<'a> {
    fn kind(&self) -> u8 {
        match self {
            Self::Reading(_) => RecordKind::Reading as u8,
            Self::Report(_) => RecordKind::Report as u8,
            Self::Log(_) => RecordKind::Log as u8,
            Self::Evicted(_) => RecordKind::Evicted as u8,
            Self::Episode(_) => RecordKind::Episode as u8,
            Self::Sensor(_) => RecordKind::Sensor as u8,
            Self::Summary(_) => RecordKind::Summary as u8,
            Self::Decides(_) => RecordKind::Decides as u8,
            Self::Series(_) => RecordKind::Series as u8,
            Self::Calibration(_) => RecordKind::Calibration as u8,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The record as it is stored.
    ///
    /// # Errors
    /// [`RecordTooLong`] when it has more than [`RECORD_BYTES_MAX`] bytes.
    pub fn store(&self, stamp: &Stamp) -> Result<RecordBuf, RecordTooLong> {
        let mut out = RecordBuf::new();
        self.store_in(stamp, &mut out)?;
        Ok(out)
    }

    /// [`Self::store`], into a place of the caller's: what is returned lies on a node's stack more than once.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn store_in(&self, stamp: &Stamp, out: &mut RecordBuf) -> Result<(), RecordTooLong> {
        out.clear();
        out.resize_default(RECORD_BYTES_MAX).map_err(|_| RecordTooLong)?;
        out[0] = self.kind();
        let mut used = 1;
        used += encode(stamp, &mut out[used..])?;
        used += match self {
            Self::Reading(body) => encode(body, &mut out[used..])?,
            Self::Report(body) => encode(body, &mut out[used..])?,
            Self::Log(body) => encode(body, &mut out[used..])?,
            Self::Evicted(body) => encode(body, &mut out[used..])?,
            Self::Episode(body) => encode(body, &mut out[used..])?,
            Self::Sensor(body) => encode(body, &mut out[used..])?,
            Self::Summary(body) => encode(body, &mut out[used..])?,
            Self::Decides(body) => encode(body, &mut out[used..])?,
            Self::Series(body) => encode(body, &mut out[used..])?,
            Self::Calibration(body) => encode(body, &mut out[used..])?,
            Self::Unknown { body, .. } => {
                out.get_mut(used..used + body.len()).ok_or(RecordTooLong)?.copy_from_slice(body);
                body.len()
            }
        };
        out.truncate(used);
        Ok(())
    }

    /// The record of a kind and a body; total: what is not understood is [`Record::Unknown`].
    #[must_use]
    pub fn decode(kind: u8, body: &'a [u8]) -> Self {
        // Fields that a later version appends to a body are stepped over.
        // A function of each kind's own: in one, all kinds would lie on a node's stack side by side.
        #[inline(never)]
        fn take<'a, T: Deserialize<'a>>(body: &'a [u8], make: fn(T) -> Record<'a>) -> Option<Record<'a>> {
            postcard::take_from_bytes(body).ok().map(|(value, _)| make(value))
        }
        const READING: u8 = RecordKind::Reading as u8;
        const REPORT: u8 = RecordKind::Report as u8;
        const LOG: u8 = RecordKind::Log as u8;
        const EVICTED: u8 = RecordKind::Evicted as u8;
        const EPISODE: u8 = RecordKind::Episode as u8;
        const SENSOR: u8 = RecordKind::Sensor as u8;
        const SUMMARY: u8 = RecordKind::Summary as u8;
        const DECIDES: u8 = RecordKind::Decides as u8;
        const SERIES: u8 = RecordKind::Series as u8;
        const CALIBRATION: u8 = RecordKind::Calibration as u8;
        match kind {
            READING => take(body, Self::Reading),
            REPORT => take(body, Self::Report),
            LOG => take(body, Self::Log),
            EVICTED => take(body, Self::Evicted),
            EPISODE => take(body, Self::Episode),
            SENSOR => take(body, Self::Sensor),
            SUMMARY => take(body, Self::Summary),
            DECIDES => take(body, Self::Decides),
            SERIES => take(body, Self::Series),
            CALIBRATION => take(body, Self::Calibration),
            _ => None,
        }
        .unwrap_or(Self::Unknown { kind, body })
    }
}

fn encode<T: Serialize>(value: &T, out: &mut [u8]) -> Result<usize, RecordTooLong> {
    postcard::to_slice(value, out).map(|used| used.len()).map_err(|_| RecordTooLong)
}

/// A stored record, looked at without understanding its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// The kind's byte.
    pub kind: u8,
    /// When it was made, on the device's clock.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Takes the bytes of a store apart.
    ///
    /// # Errors
    /// [`NotARecord`] when they are not what [`Record::store`] made.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotARecord> {
        let (&kind, rest) = bytes.split_first().ok_or(NotARecord)?;
        let (stamp, body) = postcard::take_from_bytes(rest).map_err(|_| NotARecord)?;
        Ok(Self { kind, stamp, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UptimeMillis;
    use proptest::prelude::*;

    #[test]
    fn a_kind_of_a_later_version_is_carried_as_it_came() {
        let later = Record::Unknown { kind: 200, body: &[1, 2, 3] };
        let stored = later.store(&Stamp::Uptime { boot: 1, at: UptimeMillis(0) }).unwrap();
        let parsed = Stored::parse(&stored).unwrap();
        assert_eq!(Record::decode(parsed.kind, parsed.body), later);
    }

    proptest! {
        #[test]
        fn decoding_is_total(kind: u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::decode(kind, &bytes);
            let _ = Stored::parse(&bytes);
        }
    }
}
