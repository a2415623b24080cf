//! Whose packs are taken: signatures are minisign's (<https://jedisct1.github.io/minisign/>), made by its own program or by
//! `gridpost pack sign`. A gateway has one trust anchor or more; with two, packs signed by the old or by the new key are
//! taken, so keys can be changed without a gap.
//!
//! Only prehashed signatures are taken, which `minisign` makes since version 0.8.

use std::path::Path;

use minisign_verify::{PublicKey, Signature};

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
        "the signature is by none of the {0} trusted keys, or the pack was changed after it was signed; sign it with a trusted key, or trust the key that signed it"
    )]
    Untrusted(usize),
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
        let by = self.anchors.iter().find(|anchor| anchor.key.verify(pack, &signature, false).is_ok());
        let by = by.ok_or(TrustError::Untrusted(self.anchors.len()))?.name.clone();
        Ok(Origin::Signed { by, comment: signature.trusted_comment().to_owned() })
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
