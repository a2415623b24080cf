//! Where a pack is read from: a folder, with the upper levels' lists that its `pack.toml` names, or one file that `gridpost pack build`
//! made.

use std::io;
use std::path::{Path, PathBuf};

use gridpost_protocol::pack::{FILE_BYTES_MAX, FILES, Pack, PackErrors};

use super::above;
use super::container::{ContainerError, PACK_FILE_BYTES_MAX, PackFiles};
use super::envelope::{self, SIGNATURE_BYTES_MAX};
use super::overlay::{Added, Layers, OverlayError};
use crate::files;

/// The most bytes of a pack with its signature.
pub const PIECE_BYTES_MAX: usize = PACK_FILE_BYTES_MAX + SIGNATURE_BYTES_MAX;

/// Why a pack was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder's files are wrong.
    #[error(transparent)]
    Folder(PackErrors),
    /// An upper level's list does not fit.
    #[error("{error}")]
    Overlay {
        /// Why.
        error: OverlayError,
    },
    /// With an upper level's rows the files are wrong.
    #[error("with the upper level's list in {folder}: {errors}", folder = folder.display())]
    Overlaid {
        /// The upper level's folder.
        folder: PathBuf,
        /// What is wrong.
        errors: PackErrors,
    },
    /// The file cannot be read.
    #[error("cannot read the pack {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no pack, or not a right one.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: ContainerError,
    },
}

/// A pack, and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    /// The pack, checked.
    pub pack: Pack,
    /// Its files.
    pub files: PackFiles,
    /// The one file that they came in, without its signature; [`None`] from a folder.
    pub bytes: Option<Vec<u8>>,
    /// Its minisign signature, which nobody has looked at yet.
    pub signature: Option<String>,
    /// Upper levels' lists that were put over it, and what they added.
    pub overlaid: Vec<(PathBuf, Added)>,
    layers: Layers,
}

impl Loaded {
    /// Of one piece: a pack, or its signature and the pack.
    ///
    /// # Errors
    /// When it is no pack, or not a right one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ContainerError> {
        let (signature, bytes) = envelope::open(bytes);
        if signature.is_some() && bytes.is_empty() {
            return Err(ContainerError::Signature);
        }
        let files = PackFiles::from_bytes(bytes)?;
        let (signature, bytes) = (signature.map(str::to_owned), Some(bytes.to_vec()));
        Ok(Self {
            pack: files.load()?,
            files,
            bytes,
            signature,
            overlaid: Vec::new(),
            layers: Layers::default(),
        })
    }

    /// Puts the list of an upper level over it, and those that stand over that one. `district` is the folder that it came from.
    ///
    /// # Errors
    /// When they do not agree, or what they make is wrong.
    pub fn overlay(&mut self, district: &Path, folder: &Path) -> Result<(), SourceError> {
        let overlay = |error| SourceError::Overlay { error };
        let there: Vec<PathBuf> = self.overlaid.iter().map(|(folder, _)| folder.clone()).collect();
        for one in above::of(district, folder, &there).map_err(overlay)? {
            let added = self.layers.put(&mut self.files, district, &one).map_err(overlay)?;
            self.overlaid.push((one, added));
        }
        let loaded = self.files.load();
        self.pack = loaded.map_err(|mut errors| {
            errors.relocate(|file, line, field| self.layers.place(file, line, field));
            SourceError::Overlaid { folder: folder.to_owned(), errors }
        })?;
        Ok(())
    }

    /// As one piece, signature and all: what a gateway keeps.
    ///
    /// # Errors
    /// When a folder's files are more than a pack may hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        match &self.bytes {
            Some(bytes) => Ok(envelope::close(self.signature.as_deref(), bytes)),
            None => self.files.to_bytes(),
        }
    }
}

/// Where a pack's signature lies: beside it.
#[must_use]
pub fn signature_path(pack: &Path) -> PathBuf {
    let mut name = pack.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Loads the pack in a folder or in one file.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, SourceError> {
    // A path that leads nowhere is most likely meant as a folder: that error says what belongs there.
    if path.is_dir() || !path.exists() {
        let files = read_folder(path)?;
        let (files, pack) = PackFiles::check(files).map_err(SourceError::Folder)?;
        let (signature, overlaid, layers) = (None, Vec::new(), Layers::default());
        let mut loaded = Loaded { pack, files, bytes: None, signature, overlaid, layers };
        for folder in loaded.pack.overlays.clone() {
            loaded.overlay(path, &path.join(folder))?;
        }
        return Ok(loaded);
    }
    let unreadable = |path: &Path, source| SourceError::Unreadable { path: path.to_owned(), source };
    let bytes = files::up_to(path, PIECE_BYTES_MAX as u64).map_err(|source| unreadable(path, source))?;
    let mut loaded =
        Loaded::from_bytes(&bytes).map_err(|error| SourceError::File { path: path.to_owned(), error })?;
    if loaded.signature.is_none() {
        let beside = signature_path(path);
        match files::up_to(&beside, SIGNATURE_BYTES_MAX as u64) {
            // What is no text is no signature, and is said to be none where it is looked at.
            Ok(bytes) => loaded.signature = Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(unreadable(&beside, source)),
        }
    }
    Ok(loaded)
}

/// The files of a pack's folder, without looking into them.
fn read_folder(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, SourceError> {
    let read = |name| files::up_to(&folder.join(name), FILE_BYTES_MAX).map(|bytes| (name, bytes));
    FILES.into_iter().map(read).collect::<io::Result<Vec<_>>>().map_err(|source| match Pack::load(folder) {
        // All that cannot be read, and not only the first.
        Err(errors) => SourceError::Folder(errors),
        // It can be read by now.
        Ok(_) => SourceError::Unreadable { path: folder.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_an_upper_levels_list_is_said_with_its_own_file_and_line() {
        let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sample"));
        let city = tempfile::tempdir().unwrap();
        let list = "kind,code,parent,name_zh,department,level,deadline_h,assisting_zh\n\n\
                    matter,C1,01,甲,housing,district,1,\"a\nb\"\nmatter,C2,01,乙,nobody,district,1,\n";
        std::fs::write(city.path().join("catalogue.csv"), list).unwrap();
        let mut loaded = load(sample).unwrap();
        let said = loaded.overlay(sample, city.path()).unwrap_err().to_string();
        let expected = format!(
            "{}:5: department: there is no department `nobody`",
            city.path().join("catalogue.csv").display()
        );
        assert!(said.contains(&expected), "{said}");
    }

    #[test]
    fn what_lists_over_lists_say_is_located_in_the_list_that_says_it() {
        let root = tempfile::tempdir().unwrap();
        let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sample"));
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        };
        let said = || {
            let mut loaded = load(sample).unwrap();
            loaded.overlay(sample, &root.path().join("city")).unwrap_err().to_string()
        };
        write("city/pack.toml", "overlays = [\"../province\"]");
        write("city/catalogue.csv", "kind,code,code:city\n\nmatter,0102003,SZ-1\n");
        // Of a row that the district and the city have, the province's field is wrong.
        write("province/catalogue.csv", "kind,code,code:gd\nmatter,0102001,1\nmatter,0102003,G 1\u{202e}\n");
        assert!(said().contains("province/catalogue.csv:3: code:gd"), "{}", said());
        // A column that nobody knows.
        write("province/catalogue.csv", "kind,code,colour\nmatter,0102001,red\n");
        assert!(said().contains("province/catalogue.csv:1: colour"), "{}", said());
        // What the city says, and not the district.
        write("province/catalogue.csv", "kind,code,code:city\nmatter,0102003,SZ-2\n");
        let conflict = said();
        assert!(conflict.contains("city/catalogue.csv:3 and "), "{conflict}");
        assert!(conflict.contains("province/catalogue.csv:2: code 0102003, code:city"), "{conflict}");
    }
}
