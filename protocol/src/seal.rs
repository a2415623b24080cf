//! Authenticated encryption of a frame's body.
//!
//! Suite 1 is ChaCha20-Poly1305 (RFC 8439) under the device's own key. The nonce is `boot | counter | start`, four bytes
//! each, little-endian: a device's `start` is 0 and a gateway's never is, so the two directions cannot share a nonce;
//! the boot counter and the start counter are persisted before they are used and only grow, so none is used twice and a
//! one-way link needs no handshake. The whole header is authenticated.
//!
//! Suites 0 (plain, for the bench) and 2 (SM4-CCM) have their bytes reserved and are refused by this version.

use core::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

use crate::frame::{FRAME_BYTES_MAX, FrameBuf, FrameError, Header};

/// ChaCha20-Poly1305.
pub const SUITE_CHACHA20_POLY1305: u8 = 1;
/// The authentication tag, in bytes.
pub const TAG_BYTES: usize = 16;

/// A device's key. It shows nothing of itself when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why a frame could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The bytes are no frame.
    Frame(FrameError),
    /// A suite that this version does not have.
    Suite(u8),
    /// The wrong key, or a frame that was changed on its way.
    NotAuthentic,
    /// The message does not fit into a frame.
    TooLong,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Suite(suite) => {
                write!(f, "the frame is sealed with suite {suite}; this version has suite 1")
            }
            Self::NotAuthentic => f.write_str("the frame is not authentic: wrong key, or changed on its way"),
            Self::TooLong => write!(f, "the message does not fit into a frame of {FRAME_BYTES_MAX} bytes"),
        }
    }
}

impl core::error::Error for SealError {}

impl From<FrameError> for SealError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

fn nonce(header: &Header) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&header.boot.to_le_bytes());
    bytes[4..8].copy_from_slice(&header.counter.to_le_bytes());
    bytes[8..].copy_from_slice(&header.start.to_le_bytes());
    bytes.into()
}

/// Puts header, sealed body and tag into `out`. The header's suite is set to the one that is used.
///
/// # Errors
/// [`SealError::TooLong`] when they do not fit into a frame.
pub fn seal(key: &Key, mut header: Header, body: &[u8], out: &mut FrameBuf) -> Result<(), SealError> {
    header.suite = SUITE_CHACHA20_POLY1305;
    header.write(out);
    let head = header.len();
    if head + body.len() + TAG_BYTES > FRAME_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let _ = out.extend_from_slice(body);
    let (aad, text) = out.split_at_mut(head);
    let tag = ChaCha20Poly1305::new(&key.0.into())
        .encrypt_inout_detached(&nonce(&header), aad, text.into())
        .map_err(|_| SealError::TooLong)?;
    let _ = out.extend_from_slice(&tag);
    Ok(())
}

/// Checks a frame and decrypts its body in place.
///
/// # Errors
/// When the bytes are no frame, of an unknown suite, or not authentic; the body then is not to be used.
pub fn open<'a>(key: &Key, frame: &'a mut [u8]) -> Result<(Header, &'a [u8]), SealError> {
    let header = Header::parse(frame)?;
    if header.suite != SUITE_CHACHA20_POLY1305 {
        return Err(SealError::Suite(header.suite));
    }
    let (aad, rest) = frame.split_at_mut_checked(header.len()).ok_or(FrameError::Truncated)?;
    let text_len = rest.len().checked_sub(TAG_BYTES).ok_or(FrameError::Truncated)?;
    let (text, tag) = rest.split_at_mut(text_len);
    let tag: &Tag = (&*tag).try_into().map_err(|_| FrameError::Truncated)?;
    ChaCha20Poly1305::new(&key.0.into())
        .decrypt_inout_detached(&nonce(&header), aad, (&mut *text).into(), tag)
        .map_err(|_| SealError::NotAuthentic)?;
    Ok((header, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeviceId;
    use proptest::prelude::*;

    fn header(kind: u8, start: u32) -> Header {
        Header { kind, suite: 0, device: DeviceId(7), boot: 3, counter: 9, start }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = Key([5; 32]);
        let mut frame = FrameBuf::new();
        seal(&key, header(2, 0), b"LAeq 71.4", &mut frame).unwrap();
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, &mut damaged).is_err(), "bit {bit}");
        }
        assert_eq!(open(&Key([6; 32]), &mut frame.clone()), Err(SealError::NotAuthentic));
        let (_, body) = open(&key, &mut frame).unwrap();
        assert_eq!(body, b"LAeq 71.4");
    }

    #[test]
    fn the_two_directions_never_share_a_nonce() {
        assert_ne!(nonce(&header(1, 0)), nonce(&header(0x81, 1)));
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", Key([0xAB; 32])), "Key(..)");
    }

    proptest! {
        #[test]
        fn opening_arbitrary_bytes_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(open(&Key([5; 32]), &mut bytes).is_err());
        }
    }
}
