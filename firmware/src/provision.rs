//! Who a node is: written once into the first sector of its flash when it is provisioned, and only read afterwards.
//!
//! ```text
//! offset  bytes
//!      0      4  "GPID"
//!      4      1  version, 1
//!      5      8  device id, little-endian
//!     13     32  key
//!     45      8  first sequence number, little-endian
//!     53      4  CRC-32/ISO-HDLC of the 53 bytes before, little-endian
//! ```
//!
//! The first sequence number is above all that were used before under this device id: a gateway knows the device by its
//! numbers, and would take reused ones for repetitions.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::seal::Key;

/// The length of an encoded identity, in bytes.
pub const IDENTITY_BYTES: usize = 57;
/// Where the identity lies in a node's flash, in bytes from its start.
pub const IDENTITY_OFFSET: u32 = 0;

const MAGIC: &[u8; 4] = b"GPID";
const VERSION: u8 = 1;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub device: DeviceId,
    /// Its key.
    pub key: Key,
    /// The number of its first record.
    pub first_seq: Seq,
}

/// Why there is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoIdentity {
    /// Nothing was ever written there: the node is to be provisioned.
    Blank,
    /// Of a version that this firmware does not know.
    Version(u8),
    /// Damaged.
    Damaged,
}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("this node has no identity yet: provision it"),
            Self::Version(v) => {
                write!(f, "the identity has version {v}, this firmware knows version {VERSION}")
            }
            Self::Damaged => f.write_str("the identity is damaged: provision the node anew"),
        }
    }
}

impl core::error::Error for NoIdentity {}

impl Identity {
    /// The bytes to be written at [`IDENTITY_OFFSET`].
    #[must_use]
    pub fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let mut out = [0; IDENTITY_BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4] = VERSION;
        out[5..13].copy_from_slice(&self.device.0.to_le_bytes());
        out[13..45].copy_from_slice(&self.key.0);
        out[45..53].copy_from_slice(&self.first_seq.0.to_le_bytes());
        let sum = CRC.checksum(&out[..53]);
        out[53..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// When there is none, or it cannot be trusted.
    pub fn decode(bytes: &[u8; IDENTITY_BYTES]) -> Result<Self, NoIdentity> {
        if bytes.iter().all(|b| *b == 0xff) {
            return Err(NoIdentity::Blank);
        }
        let (body, sum) = bytes.split_at(53);
        if &body[..4] != MAGIC || CRC.checksum(body).to_le_bytes() != sum {
            return Err(NoIdentity::Damaged);
        }
        if body[4] != VERSION {
            return Err(NoIdentity::Version(body[4]));
        }
        let (mut device, mut key, mut first) = ([0; 8], [0; 32], [0; 8]);
        device.copy_from_slice(&body[5..13]);
        key.copy_from_slice(&body[13..45]);
        first.copy_from_slice(&body[45..]);
        Ok(Self {
            device: DeviceId(u64::from_le_bytes(device)),
            key: Key(key),
            first_seq: Seq(u64::from_le_bytes(first).max(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { device: DeviceId(0x6770_0000_0000_0001), key: Key([7; 32]), first_seq: Seq(1) }
    }

    #[test]
    fn an_identity_comes_back_and_damage_is_noticed() {
        let bytes = identity().encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity()));
        for bit in 0..IDENTITY_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identity::decode(&damaged), Err(NoIdentity::Damaged), "bit {bit}");
        }
        assert_eq!(Identity::decode(&[0xff; IDENTITY_BYTES]), Err(NoIdentity::Blank));
    }
}
