//! The devices' keys, as this gateway holds them: a file of its own, because a pack is public and keys are not.
//!
//! ```toml
//! [keys]
//! 6770000000000001 = "64 hexadecimal digits"
//! ```

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::seal::Key;
use serde::Deserialize;
use toml::Spanned;

use crate::config::toml_error;
use crate::files;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("cannot read the keys file {path}: {source}; the agent's user must be able to read it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the file.
    #[error("the keys file {path} can be read by others (mode {mode:o}); run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what it should be.
    #[error("{path}:{line}: {what}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the way out.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: HashMap<Spanned<String>, Spanned<String>>,
}

/// The devices' keys.
#[derive(Debug, Default)]
pub struct Keys(HashMap<DeviceId, Key>);

impl Keys {
    /// Reads a keys file.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or a line is not a device id and a key.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let unreadable = |source| KeysError::Unreadable { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeysError::Exposed { path: path.to_owned(), mode });
            }
        }
        let text = files::text(path, files::TEXT_BYTES_MAX).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// As [`Self::load`], of a text that was read from `path`.
    ///
    /// # Errors
    /// When a line is not a device id and a key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, KeysError> {
        let invalid = |offset: usize, what: String| KeysError::Invalid {
            path: path.to_owned(),
            line: text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1,
            what,
        };
        let file: KeysFile = toml::from_str(text).map_err(|error| KeysError::Invalid {
            path: path.to_owned(),
            line: toml_error::line(text, &error),
            what: toml_error::reason(&error),
        })?;
        let mut keys = HashMap::new();
        for (device, key) in file.keys {
            let id: DeviceId =
                device.get_ref().parse().map_err(|error| invalid(device.span().start, format!("{error}")))?;
            let key = parse_key(key.get_ref()).ok_or_else(|| {
                invalid(key.span().start, format!("the key of {id} is not 64 hexadecimal digits"))
            })?;
            keys.insert(id, key);
        }
        Ok(Self(keys))
    }

    /// A set of keys that were not read from a file.
    #[must_use]
    pub fn from_pairs(pairs: impl IntoIterator<Item = (DeviceId, Key)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The key of a device, when there is one.
    #[must_use]
    pub fn get(&self, device: DeviceId) -> Option<&Key> {
        self.0.get(&device)
    }

    /// The devices that have a key.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.0.keys().copied()
    }
}

/// A key from 64 hexadecimal digits.
#[must_use]
pub fn parse_key(text: &str) -> Option<Key> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "keys.toml";

    fn error(text: &str) -> String {
        Keys::parse(Path::new(PATH), text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_found_by_its_device() {
        let text = format!("[keys]\n6770000000000001 = \"{}\"\n", "ab".repeat(32));
        let keys = Keys::parse(Path::new(PATH), &text).unwrap();
        assert_eq!(keys.get(DeviceId(0x6770_0000_0000_0001)), Some(&Key([0xab; 32])));
        assert_eq!(keys.get(DeviceId(2)), None);
    }

    #[test]
    fn errors_name_the_line_and_never_the_key() {
        let short = error("[keys]\n\n6770000000000001 = \"abcdef\"\n");
        assert_eq!(short, "keys.toml:3: the key of 6770000000000001 is not 64 hexadecimal digits");
        let device = error("[keys]\nlamp-post = \"00\"\n");
        assert!(device.starts_with("keys.toml:2: a device id is 16 hexadecimal digits"), "{device}");
        let broken = error("[keys]\n6770000000000001 = \"abc\n");
        assert!(broken.starts_with("keys.toml:2: ") && !broken.contains("abc"), "{broken}");
        let digits = error("[keys]\n6770000000000001 = 1234567\n");
        assert!(digits.starts_with("keys.toml:2: ") && !digits.contains("1234567"), "{digits}");
        let unknown = error("[key]\n");
        assert!(unknown.contains("unknown field `key`"), "{unknown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, "[keys]\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Keys::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        assert!(Keys::load(&dir.path().join("none.toml")).unwrap_err().to_string().contains("none.toml"));
    }
}
