//! A pack as one file: the files of its folder, packed. What is signed, delivered and kept.
//!
//! ```text
//! offset  bytes  what
//!      0     16  "gridpost-pack 1\n": what it is, and the version of this format
//!     16      4  length of the packed body (LE)
//!     20      4  length of the body (LE)
//!     24     32  SHA-256 of the body
//!     56         the body as a DEFLATE stream (RFC 1951)
//! ```
//!
//! The body is one postcard message: the files in the order of their names, each its name and its text. It holds the
//! sources, not what was made of them: a gateway checks a pack as hard as the office that built it, and its errors name the
//! same lines.
//!
//! The same files give the same bytes: there is no time, no owner and no path in them, and the compressor is plain Rust that
//! does the same on every processor. A test keeps the bytes of a small pack.
//!
//! Bounds: [`PACK_FILE_BYTES_MAX`] the file, [`BODY_BYTES_MAX`] what it unpacks to. Both lengths are looked at before anything
//! is unpacked, and no more is unpacked than was said.

use gridpost_protocol::pack::{FILES, Pack, PackErrors};
use sha2::{Digest, Sha256};

use super::envelope::SIGNATURE_BEGINS;

/// The most bytes of a pack in one file. A district's has some 100 KiB; one with 100,000 matters 3 MiB.
pub const PACK_FILE_BYTES_MAX: usize = 32 << 20;
/// The most bytes that it unpacks to: the largest catalogue, and not what fills a gateway's memory.
pub const BODY_BYTES_MAX: usize = 128 << 20;

const MAGIC: &[u8] = b"gridpost-pack ";
const FORMAT: &[u8] = b"1\n";
const HEADER_BYTES: usize = 56;
/// Levels above 6 pack a district's files by 1 % better, and take three times as long.
const LEVEL: u8 = 6;

/// Why some bytes are not a pack that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// They do not begin as a pack does.
    #[error("is no pack: it does not begin with \"gridpost-pack 1\"; build one with gridpost pack build")]
    NotAPack,
    /// They are a signature alone.
    #[error(
        "is a signature, and no pack; name the pack: its signature is looked for beside it, in FILE.minisig"
    )]
    Signature,
    /// A format of a later version.
    #[error(
        "is a pack of format {0:?}, and this gridpost reads format 1; update gridpost, or build the pack with this one"
    )]
    UnknownFormat(String),
    /// More than [`PACK_FILE_BYTES_MAX`].
    #[error("has {0} bytes, and a pack at most {PACK_FILE_BYTES_MAX}; is it the right file?")]
    TooLarge(usize),
    /// Says that it unpacks to more than [`BODY_BYTES_MAX`].
    #[error(
        "byte 20: unpacks to {0} bytes, and may to at most {BODY_BYTES_MAX}; it is damaged, or made to do harm"
    )]
    UnpacksTooLarge(usize),
    /// Its length is not what it says.
    #[error(
        "has {found} bytes, and its header says {expected}: it was cut off or added to on its way; copy it again"
    )]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// The body cannot be unpacked, or is not the one that was packed.
    #[error("byte {at}: {what}; it was damaged on its way: copy it again")]
    Damaged {
        /// Where, in bytes from the file's beginning.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A file of a pack of a later version.
    #[error("holds a file {0:?} that this gridpost does not know, or holds it twice; update gridpost")]
    UnknownFile(String),
    /// A folder's files are more than a pack may hold.
    #[error(
        "the files have {0} bytes together, and may have at most {BODY_BYTES_MAX}; split the pack by district"
    )]
    FilesTooLarge(usize),
    /// The files in it are not a right pack.
    #[error(transparent)]
    Pack(#[from] PackErrors),
}

impl ContainerError {
    /// What is wrong with the files, when that is it.
    #[must_use]
    pub const fn pack_errors(&self) -> Option<&PackErrors> {
        match self {
            Self::Pack(errors) => Some(errors),
            _ => None,
        }
    }
}

/// The files of a pack, out of one file or out of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFiles {
    /// Name and text, in the order of [`FILES`].
    files: Vec<(&'static str, String)>,
}

impl PackFiles {
    /// Of files as they lie in a folder; checks them as a whole.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn check(files: Vec<(&'static str, Vec<u8>)>) -> Result<(Self, Pack), PackErrors> {
        let borrowed: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let pack = Pack::from_files(&borrowed)?;
        // A pack loads of UTF-8 only, so nothing is replaced.
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let files = borrowed.iter().map(|(name, bytes)| (*name, text(bytes))).collect();
        Ok((Self { files }, pack))
    }

    /// Checks the files as a whole.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(&self) -> Result<Pack, PackErrors> {
        let files: Vec<_> = self.files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        Pack::from_files(&files)
    }

    /// Name and text of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.files.iter().map(|(name, text)| (*name, text.as_str()))
    }

    /// Puts another text in the place of one that is there.
    pub(super) fn set(&mut self, name: &str, text: String) {
        if let Some((_, has)) = self.files.iter_mut().find(|(have, _)| *have == name) {
            *has = text;
        }
    }

    /// The text of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(have, text)| (have == name).then_some(text))
    }

    /// All of them as one file.
    ///
    /// # Errors
    /// When they are more than a pack may hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        let mut sorted: Vec<_> = self.iter().collect();
        sorted.sort_unstable();
        let body = postcard::to_stdvec(&sorted).unwrap_or_default();
        debug_assert!(!body.is_empty(), "names and texts are not beyond postcard");
        if body.len() > BODY_BYTES_MAX {
            return Err(ContainerError::FilesTooLarge(body.len()));
        }
        let packed = miniz_oxide::deflate::compress_to_vec(&body, LEVEL);
        if HEADER_BYTES + packed.len() > PACK_FILE_BYTES_MAX {
            return Err(ContainerError::TooLarge(HEADER_BYTES + packed.len()));
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(FORMAT);
        // Both are below their bounds, which are below 4 GiB.
        bytes.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&packed);
        Ok(bytes)
    }

    /// Unpacks, and checks nothing of what the files say.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Self::to_bytes`] makes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ContainerError> {
        if bytes.len() > PACK_FILE_BYTES_MAX {
            return Err(ContainerError::TooLarge(bytes.len()));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(match bytes.starts_with(SIGNATURE_BEGINS) {
            true => ContainerError::Signature,
            false => ContainerError::NotAPack,
        })?;
        let Some(rest) = rest.strip_prefix(FORMAT) else {
            // As far as the end of the line, and no further than a format's number needs.
            let format = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let shown = String::from_utf8_lossy(&format[..format.len().min(8)]).into_owned();
            return Err(ContainerError::UnknownFormat(shown));
        };
        let cut = || ContainerError::Length { found: bytes.len(), expected: HEADER_BYTES };
        let (packed_len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (body_len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (digest, packed) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
        let (packed_len, body_len) =
            (u32::from_le_bytes(*packed_len) as usize, u32::from_le_bytes(*body_len) as usize);
        if packed_len != packed.len() {
            let expected = HEADER_BYTES.saturating_add(packed_len);
            return Err(ContainerError::Length { found: bytes.len(), expected });
        }
        if body_len > BODY_BYTES_MAX {
            return Err(ContainerError::UnpacksTooLarge(body_len));
        }
        let damaged = |what| ContainerError::Damaged { at: HEADER_BYTES, what };
        let body = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, body_len)
            .map_err(|_| damaged("cannot be unpacked, or unpacks to more than the header says"))?;
        if body.len() != body_len {
            return Err(damaged("unpacks to less than the header says"));
        }
        if Sha256::digest(&body)[..] != digest[..] {
            return Err(ContainerError::Damaged {
                at: 24,
                what: "the content is not the one that was packed",
            });
        }
        let files: Vec<(&str, &str)> =
            postcard::from_bytes(&body).map_err(|_| damaged("does not unpack to a pack's files"))?;
        if let Some(pair) = files.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(ContainerError::UnknownFile(pair[1].0.to_owned()));
        }
        if let Some((name, _)) = files.iter().find(|(name, _)| !FILES.contains(name)) {
            return Err(ContainerError::UnknownFile((*name).to_owned()));
        }
        // A file that is missing is said by the pack's own check.
        let text =
            |name: &str| files.iter().find(|(have, _)| *have == name).map(|(_, text)| (*text).to_owned());
        Ok(Self { files: FILES.iter().filter_map(|name| Some((*name, text(name)?))).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> PackFiles {
        PackFiles {
            files: FILES.iter().map(|name| (*name, format!("{name}: {}\n", "text ".repeat(40)))).collect(),
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let bytes = small().to_bytes().unwrap();
        assert!(bytes.starts_with(b"gridpost-pack 1\n"));
        assert_eq!(PackFiles::from_bytes(&bytes).unwrap(), small());
    }

    /// A library that packs otherwise would give every pack of every district a new signature.
    #[test]
    fn the_same_files_give_the_same_bytes_today_and_tomorrow() {
        let text = "[[rule]]\nid = \"建筑施工\"\n".repeat(40);
        let files = vec![("rules.toml", text), ("catalogue.csv", String::new())];
        let bytes = PackFiles { files }.to_bytes().unwrap();
        let digest: String =
            Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "80da4827a4f864be");
    }

    #[test]
    fn a_file_cut_anywhere_is_said_to_be_cut() {
        let bytes = small().to_bytes().unwrap();
        for length in 0..bytes.len() {
            let error = PackFiles::from_bytes(&bytes[..length]).unwrap_err();
            let fits = matches!(
                (length, &error),
                (0..14, ContainerError::NotAPack)
                    | (14..16, ContainerError::UnknownFormat(_))
                    | (16.., ContainerError::Length { .. })
            );
            assert!(fits, "{length}: {error}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(PackFiles::from_bytes(&longer), Err(ContainerError::Length { .. })));
    }

    #[test]
    fn a_bit_that_turned_anywhere_is_found() {
        let bytes = small().to_bytes().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut turned = bytes.clone();
                turned[at] ^= 1 << bit;
                // The unused bits behind the end of the stream mean nothing.
                if let Ok(files) = PackFiles::from_bytes(&turned) {
                    assert!(at + 1 == bytes.len() && files == small(), "byte {at}, bit {bit}");
                }
            }
        }
    }

    fn container(format: &str, body: &[u8], said: Option<u32>) -> Vec<u8> {
        let packed = miniz_oxide::deflate::compress_to_vec(body, LEVEL);
        let mut bytes = format!("gridpost-pack {format}\n").into_bytes();
        bytes.extend((packed.len() as u32).to_le_bytes());
        bytes.extend(said.unwrap_or(body.len() as u32).to_le_bytes());
        bytes.extend(&Sha256::digest(body)[..]);
        bytes.extend(packed);
        bytes
    }

    #[test]
    fn what_others_made_is_refused_by_name() {
        let said = |bytes: &[u8]| PackFiles::from_bytes(bytes).unwrap_err().to_string();
        assert!(said(b"PK\x03\x04").contains("gridpost pack build"));
        assert!(said(b"untrusted comment: x\nRU").contains("name the pack"));
        assert!(said(&container("2", b"", None)).contains("format \"2\""));
        let unknown = postcard::to_stdvec(&vec![("limits.toml", "")]).unwrap();
        assert!(said(&container("1", &unknown, None)).contains("limits.toml"));
        let twice = postcard::to_stdvec(&vec![("rules.toml", "a"), ("rules.toml", "b")]).unwrap();
        assert!(said(&container("1", &twice, None)).contains("rules.toml"));
        assert!(said(&container("1", b"\xff\xff\xff\xff\x0f", None)).contains("byte 56"));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![0; 4 << 20];
        let bomb = container("1", &zeros, None);
        assert!(bomb.len() < 5_000, "{}", bomb.len());
        let huge = container("1", &zeros, Some(u32::MAX));
        assert!(matches!(PackFiles::from_bytes(&huge), Err(ContainerError::UnpacksTooLarge(_))));
        let liar = container("1", &zeros, Some(1000));
        assert!(matches!(
            PackFiles::from_bytes(&liar),
            Err(ContainerError::Damaged { at: HEADER_BYTES, .. })
        ));
    }
}
