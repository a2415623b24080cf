//! Whose packs are taken: signatures are minisign's (<https://jedisct1.github.io/minisign/>), made by its own program or by
//! `gridpost pack sign`. A gateway has one trust anchor or more; with two, packs signed by the old or by the new key are
//! taken, so keys can be changed without a gap.
//!
//! Only prehashed signatures are taken, which `minisign` makes since version 0.8.

use std::path::Path;

use minisign_verify::{Error, PublicKey, Signature};

use crate::files;

/// A public key's file has two lines.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// A minisign public key begins so, in base64.
const KEY_BEGINS: &str = "RW";
/// And is so long.
const KEY_CHARS: usize = 56;
/// The most anchors: one, and another while keys change; some offices have two signers.
pub const ANCHORS_MAX: usize = 8;

/// Why a pack is not trusted, or an anchor cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TrustError {
    /// An anchor is none.
    #[error("{anchor}: {what}; name a minisign public key file, or write the key itself (RW…)")]
    Anchor {
        /// As it is written.
        anchor: String,
        /// What is wrong.
        what: String,
    },
    /// There are more than [`ANCHORS_MAX`].
    #[error("there are more than {ANCHORS_MAX} trust anchors")]
    TooManyAnchors,
    /// The pack has no signature.
    #[error(
        "the pack is not signed, and this gateway takes signed packs only; sign it: gridpost pack sign FILE --key KEY"
    )]
    Unsigned,
    /// The signature is no minisign signature.
    #[error("the signature cannot be read ({0}); sign the pack again")]
    Unreadable(String),
    /// No anchor made this signature.
    #[error(
        "the signature is by none of the {0} trusted keys; sign the pack with a trusted key, or trust the key that signed it"
    )]
    Untrusted(usize),
    /// A trusted key made this signature, of something else.
    #[error(
        "the signature is by the trusted key {0}, and of something else: the pack was changed or cut off after it was signed; copy it again, or sign it again"
    )]
    Changed(String),
    /// As old versions of minisign sign.
    #[error(
        "the signature by the trusted key {0} is of minisign's old kind, which is not taken; sign with gridpost pack sign, or minisign -S -H"
    )]
    OldKind(String),
}

/// A public key that is trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Anchor {
    /// As it is written in the configuration.
    pub name: String,
    key: PublicKey,
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Anchor").field(&self.name).finish()
    }
}

impl Anchor {
    /// From a key's file, relative to `folder`, or the key itself.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(text: &str, folder: &Path) -> Result<Self, TrustError> {
        let wrong = |what: String| TrustError::Anchor { anchor: text.to_owned(), what };
        let decoded = if text.len() == KEY_CHARS && text.starts_with(KEY_BEGINS) {
            PublicKey::from_base64(text)
        } else {
            let content = files::text(&folder.join(text), KEY_FILE_BYTES_MAX)
                .map_err(|error| wrong(format!("cannot be read: {error}")))?;
            // The file as minisign writes it, or the line of the key alone.
            PublicKey::decode(&content).or_else(|_| PublicKey::from_base64(content.trim()))
        };
        let key = decoded.map_err(|_| wrong("is no minisign public key".to_owned()))?;
        Ok(Self { name: text.to_owned(), key })
    }
}

/// Whose packs are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys.
    pub anchors: Vec<Anchor>,
    /// Whether packs without a signature are taken from this machine's disk all the same.
    pub allow_unsigned: bool,
}

/// What is known of a pack's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Signed by the anchor with this name; with the comment that was signed along.
    Signed {
        /// The anchor.
        by: String,
        /// The signed comment.
        comment: String,
    },
    /// Nobody looked, because there is no anchor, or because unsigned packs are allowed.
    Local,
}

impl Trust {
    /// These anchors.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn read(anchors: &[String], folder: &Path, allow_unsigned: bool) -> Result<Self, TrustError> {
        if anchors.len() > ANCHORS_MAX {
            return Err(TrustError::TooManyAnchors);
        }
        let anchors = anchors.iter().map(|anchor| Anchor::read(anchor, folder)).collect::<Result<_, _>>()?;
        Ok(Self { anchors, allow_unsigned })
    }

    /// Whether one of the anchors signed these bytes.
    ///
    /// # Errors
    /// When there is no signature, or none that counts.
    pub fn verify(&self, pack: &[u8], signature: Option<&str>) -> Result<Origin, TrustError> {
        let signature = signature.ok_or(TrustError::Unsigned)?;
        let signature =
            Signature::decode(signature).map_err(|error| TrustError::Unreadable(error.to_string()))?;
        let mut refused = TrustError::Untrusted(self.anchors.len());
        for anchor in &self.anchors {
            let by = || anchor.name.clone();
            match anchor.key.verify(pack, &signature, false) {
                Ok(()) => {
                    return Ok(Origin::Signed { by: by(), comment: signature.trusted_comment().to_owned() });
                }
                // By another key, which no name of a key in the signature tells.
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => refused = TrustError::OldKind(by()),
                Err(_) => refused = TrustError::Changed(by()),
            }
        }
        Err(refused)
    }

    /// As [`Self::verify`], for a pack that lies on this machine's disk: without anchors whoever may write there is trusted.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_local(&self, pack: &[u8], signature: Option<&str>) -> Result<Origin, TrustError> {
        let unsigned_is_fine = self.anchors.is_empty() || self.allow_unsigned && signature.is_none();
        if unsigned_is_fine { Ok(Origin::Local) } else { self.verify(pack, signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the program minisign writes them: a key, another one, and two signatures by the first of the same 16 bytes.
    const KEY: &str = "RWShjzYJpmnmfrLbXPdnTqFmVtGroLW3jjubwynyxMe5kOjpZTq0KO1x";
    const OTHER: &str = "RWQPYpOhsSFDXB++TquMVBtu4DRGN5NJAoYIVFv/GNu+3ISPOY0CGghj";
    const PACK: &[u8] = b"gridpost-pack 1\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUShjzYJpmnmfsx0j4FNQK0cdQeWJpqaJT3MPcz+uaQhmQV0OGeXvWQH5WQmjgXnSdbHw7ej3DOuPw5lSiJO1VFwAzfrJPQubAU=
trusted comment: new
HOktzJ57IjarSTyxZtoISHmEy5nz3Y2QxZiGZEnjIzZv8MnCv37nLHsBqT9Ho9V12FyysnBkOpW+M9K4KCWwAg==
";
    const OLD_KIND: &str = "untrusted comment: signature from minisign secret key
RWShjzYJpmnmfkyB3kmLSPySfdqvgW58vlgSHbOO4dwFoYzLZqot4H7wxrbldTWMbBmtoNnjagTvyq87sLiPKxEO3yIBlN9pDQI=
trusted comment: old
7VjHbFJkq5awd+m2kHNj5u1fphSmUUeOWdO19fhjWJ5hlKKSNQDLWP142q91M0WxsgLC0FxBFTy4W6xK2pJIAA==
";

    #[test]
    fn why_a_signature_does_not_count_is_told_apart() {
        let trust = |anchors: &[&str]| {
            let anchors: Vec<_> = anchors.iter().map(|anchor| (*anchor).to_owned()).collect();
            Trust::read(&anchors, Path::new(""), false).unwrap()
        };
        let both = trust(&[OTHER, KEY]);
        assert!(matches!(both.verify(PACK, Some(SIGNATURE)), Ok(Origin::Signed { by, .. }) if by == KEY));
        let why = |trust: &Trust, pack: &[u8], signature| trust.verify(pack, Some(signature)).unwrap_err();
        assert_eq!(why(&both, &PACK[..9], SIGNATURE), TrustError::Changed(KEY.to_owned()));
        assert_eq!(why(&both, PACK, OLD_KIND), TrustError::OldKind(KEY.to_owned()));
        assert_eq!(why(&trust(&[OTHER]), PACK, SIGNATURE), TrustError::Untrusted(1));
        // Who signed a comment signed the pack too.
        let forged = SIGNATURE.replace("comment: new", "comment: old");
        assert_eq!(why(&both, PACK, &forged), TrustError::Changed(KEY.to_owned()));
    }
}
