//! The outermost layer of the device link: a header that everybody can read, and where a frame begins and ends.
//!
//! A frame, before it is wrapped for a stream (integers little-endian):
//!
//! ```text
//! offset  bytes  field
//!      0      1  version   1
//!      1      1  kind      the message's kind; the high bit is set from gateway to device
//!      2      1  suite     how the body is sealed (see `seal`)
//!      3      8  device    the device, whichever way the frame goes
//!     11      4  boot      the device's boot counter, whichever way the frame goes
//!     15      4  counter   the sender's frame counter
//!    [19      4  start]    only from gateway to device: the gateway's start counter, never 0
//!   19|23     n  body      one message, sealed
//!     ..     16  tag
//! ```
//!
//! On a *stream* (UART, RS-485, USB-CDC, TCP) each frame is COBS-coded and ends with a zero byte; a zero byte before the
//! first frame ends whatever noise came before. A *datagram* (UDP, LoRa) is one bare frame.
//!
//! Bounds: a frame has at most [`FRAME_BYTES_MAX`] bytes; a longer one is dropped while it arrives, and counted.

use core::fmt;

use heapless::Vec;

use crate::id::DeviceId;

/// The longest frame, before COBS, in bytes.
pub const FRAME_BYTES_MAX: usize = 512;
/// The longest frame on a stream: COBS adds a byte for each 254 begun, and the delimiters one each end.
pub const STREAM_FRAME_BYTES_MAX: usize = FRAME_BYTES_MAX + FRAME_BYTES_MAX / 254 + 1 + 2;
/// The header of a frame from a device to a gateway, in bytes.
pub const HEADER_BYTES_UP: usize = 19;
/// The header of a frame from a gateway to a device, in bytes.
pub const HEADER_BYTES_DOWN: usize = HEADER_BYTES_UP + 4;
/// The version of the frame layout that this code speaks.
pub const FRAME_VERSION: u8 = 1;
/// Set in a message's kind when it goes from gateway to device.
pub const KIND_DOWN: u8 = 0x80;

/// The longest run of bytes that COBS writes as they are.
const COBS_RUN_MAX: usize = 254;

/// A frame, before COBS.
pub type FrameBuf = Vec<u8, FRAME_BYTES_MAX>;
/// A frame as it goes onto a stream.
pub type StreamBuf = Vec<u8, STREAM_FRAME_BYTES_MAX>;

/// What stands before the sealed body: authenticated, not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's kind; the high bit tells the direction.
    pub kind: u8,
    /// The suite's byte, known or not.
    pub suite: u8,
    /// The device that speaks or is spoken to.
    pub device: DeviceId,
    /// That device's boot counter.
    pub boot: u32,
    /// The sender's frame counter within this boot (device) or start (gateway).
    pub counter: u32,
    /// The gateway's start counter; 0 from a device.
    pub start: u32,
}

/// Why bytes are not a frame that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Too short for its header.
    Truncated,
    /// A layout that this version does not speak.
    Version(u8),
    /// A frame down without a start counter: its nonce could be one of the device's own.
    NoStart,
    /// Not COBS, or cut in the middle.
    NotCobs,
    /// Longer than [`FRAME_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the frame is shorter than its header"),
            Self::Version(v) => {
                write!(f, "the frame has layout version {v}, this is version {FRAME_VERSION}")
            }
            Self::NoStart => f.write_str("the gateway's frame has no start counter"),
            Self::NotCobs => f.write_str("the frame is damaged (not COBS)"),
            Self::TooLong => write!(f, "the frame is longer than {FRAME_BYTES_MAX} bytes"),
        }
    }
}

impl core::error::Error for FrameError {}

impl Header {
    /// Whether the frame goes from gateway to device.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.kind & KIND_DOWN != 0
    }

    /// How long this header is, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        if self.is_down() { HEADER_BYTES_DOWN } else { HEADER_BYTES_UP }
    }

    /// Never: a header has bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Appends the header to an empty buffer, which has room for it by its type.
    pub fn write(&self, out: &mut FrameBuf) {
        // Cannot fail: the buffer is cleared first and holds far more than a header.
        out.clear();
        let _ = out.extend_from_slice(&[FRAME_VERSION, self.kind, self.suite]);
        let _ = out.extend_from_slice(&self.device.0.to_le_bytes());
        let _ = out.extend_from_slice(&self.boot.to_le_bytes());
        let _ = out.extend_from_slice(&self.counter.to_le_bytes());
        if self.is_down() {
            let _ = out.extend_from_slice(&self.start.to_le_bytes());
        }
    }

    /// Reads the header at the start of a frame.
    ///
    /// # Errors
    /// When the bytes are too few, of another layout version, or a frame down has no start counter.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        let (&[version, kind, suite], rest) = frame.split_first_chunk::<3>().ok_or(FrameError::Truncated)?;
        if version != FRAME_VERSION {
            return Err(FrameError::Version(version));
        }
        let (device, rest) = rest.split_first_chunk::<8>().ok_or(FrameError::Truncated)?;
        let (boot, rest) = rest.split_first_chunk::<4>().ok_or(FrameError::Truncated)?;
        let (counter, rest) = rest.split_first_chunk::<4>().ok_or(FrameError::Truncated)?;
        let mut header = Self {
            kind,
            suite,
            device: DeviceId(u64::from_le_bytes(*device)),
            boot: u32::from_le_bytes(*boot),
            counter: u32::from_le_bytes(*counter),
            start: 0,
        };
        if header.is_down() {
            let (start, _) = rest.split_first_chunk::<4>().ok_or(FrameError::Truncated)?;
            header.start = u32::from_le_bytes(*start);
            if header.start == 0 {
                return Err(FrameError::NoStart);
            }
        }
        Ok(header)
    }
}

/// Wraps a frame for a stream: delimiter, COBS, delimiter.
#[must_use]
pub fn to_stream(frame: &FrameBuf) -> StreamBuf {
    let mut out = StreamBuf::new();
    // Cannot fail: the buffer is as long as the longest frame can become.
    let _ = out.resize_default(STREAM_FRAME_BYTES_MAX);
    let coded = cobs::encode(frame, &mut out[1..]);
    out.truncate(coded + 2);
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
    out
}

/// [`to_stream`] in pieces, without the delimiters: a byte, and the part of the frame that follows it. For who has no room for all of it.
pub fn stream_pieces(frame: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = Some(frame);
    core::iter::from_fn(move || {
        let left = rest?;
        let whole = &left[..left.len().min(COBS_RUN_MAX)];
        let run = whole.iter().position(|byte| *byte == 0).map_or(whole, |zero| &whole[..zero]);
        let ended = run.len() == left.len();
        // A full run stands for no zero.
        let zero = usize::from(run.len() < COBS_RUN_MAX);
        rest = (!ended).then(|| &left[run.len() + zero..]);
        // At most 255.
        Some((run.len() as u8 + 1, run))
    })
}

/// Cuts a stream of bytes into frames. Bytes in, frames out; nothing it is fed makes it fail for good.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8, STREAM_FRAME_BYTES_MAX>,
    too_long: bool,
}

impl Deframer {
    /// A deframer at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), too_long: false }
    }

    /// Takes one byte; at the end of a frame hands the frame out, or says why there is none.
    pub fn push(&mut self, byte: u8) -> Option<Result<FrameBuf, FrameError>> {
        if byte != 0 {
            if !self.too_long && self.buffer.push(byte).is_err() {
                self.too_long = true;
            }
            return None;
        }
        let too_long = core::mem::take(&mut self.too_long);
        if too_long {
            self.buffer.clear();
            return Some(Err(FrameError::TooLong));
        }
        if self.buffer.is_empty() {
            return None;
        }
        let decoded = cobs::decode_in_place(&mut self.buffer)
            .map_err(|_| FrameError::NotCobs)
            .and_then(|len| FrameBuf::from_slice(&self.buffer[..len]).map_err(|_| FrameError::TooLong));
        self.buffer.clear();
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all_frames(bytes: &[u8]) -> std::vec::Vec<Result<FrameBuf, FrameError>> {
        let mut deframer = Deframer::new();
        bytes.iter().filter_map(|b| deframer.push(*b)).collect()
    }

    proptest! {
        #[test]
        fn a_frame_comes_off_the_stream_as_it_went_on(frame in prop::collection::vec(any::<u8>(), 1..=FRAME_BYTES_MAX)) {
            let frame = FrameBuf::from_slice(&frame).unwrap();
            prop_assert_eq!(all_frames(&to_stream(&frame)), vec![Ok(frame)]);
        }

        #[test]
        fn in_pieces_it_is_the_same(frame in prop::collection::vec(prop_oneof![Just(0u8), Just(1)], 0..=FRAME_BYTES_MAX), ones in 0..FRAME_BYTES_MAX) {
            // Also runs that are as long as COBS has them, and longer.
            for frame in [frame.clone(), frame.iter().enumerate().map(|(at, byte)| if at < ones { 7 } else { *byte }).collect()] {
                let pieces = stream_pieces(&frame).flat_map(|(code, bytes)| core::iter::once(code).chain(bytes.iter().copied()));
                let all: std::vec::Vec<_> = core::iter::once(0).chain(pieces).chain([0]).collect();
                prop_assert_eq!(&all, &to_stream(&FrameBuf::from_slice(&frame).unwrap())[..]);
            }
        }

        #[test]
        fn noise_before_a_frame_does_not_cost_the_frame(
            noise in prop::collection::vec(any::<u8>(), 0..2000),
            frame in prop::collection::vec(any::<u8>(), 1..=FRAME_BYTES_MAX),
        ) {
            let frame = FrameBuf::from_slice(&frame).unwrap();
            let mut bytes = noise;
            bytes.extend_from_slice(&to_stream(&frame));
            prop_assert_eq!(all_frames(&bytes).pop(), Some(Ok(frame)));
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(header) = Header::parse(&bytes) {
                let mut again = FrameBuf::new();
                header.write(&mut again);
                prop_assert_eq!(&again[..], &bytes[..header.len()]);
            }
        }
    }

    #[test]
    fn a_frame_that_never_ends_is_dropped_and_the_next_one_is_not() {
        let mut bytes = vec![1u8; 10_000];
        bytes.push(0);
        let frame = FrameBuf::from_slice(b"next").unwrap();
        bytes.extend_from_slice(&to_stream(&frame));
        assert_eq!(all_frames(&bytes), [Err(FrameError::TooLong), Ok(frame)]);
    }
}
