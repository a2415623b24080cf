//! Where a pack is read from: a folder, or one file that `gridpost pack build` made.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gridpost_protocol::pack::{FILE_BYTES_MAX, FILES, Pack, PackErrors};

use super::container::{ContainerError, PACK_FILE_BYTES_MAX, PackFiles};

/// Why a pack was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder's files are wrong.
    #[error(transparent)]
    Folder(PackErrors),
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
    /// The one file that they came in; [`None`] from a folder.
    pub bytes: Option<Vec<u8>>,
}

impl Loaded {
    /// Of the content of one file.
    ///
    /// # Errors
    /// When it is no pack, or not a right one.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ContainerError> {
        let files = PackFiles::from_bytes(&bytes)?;
        Ok(Self { pack: files.load()?, files, bytes: Some(bytes) })
    }
}

/// Loads the pack in a folder or in one file.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, SourceError> {
    // A path that leads nowhere is most likely meant as a folder: that error says what belongs there.
    if !path.is_file() {
        let files = read_folder(path)?;
        let (files, pack) = PackFiles::check(files).map_err(SourceError::Folder)?;
        return Ok(Loaded { pack, files, bytes: None });
    }
    let bytes = read_bounded(path, PACK_FILE_BYTES_MAX as u64)
        .map_err(|source| SourceError::Unreadable { path: path.to_owned(), source })?;
    Loaded::from_bytes(bytes).map_err(|error| SourceError::File { path: path.to_owned(), error })
}

/// The files of a pack's folder, without looking into them.
fn read_folder(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, SourceError> {
    let read = |name| read_bounded(&folder.join(name), FILE_BYTES_MAX).map(|bytes| (name, bytes));
    FILES.into_iter().map(read).collect::<io::Result<Vec<_>>>().map_err(|source| match Pack::load(folder) {
        // All that cannot be read, and not only the first.
        Err(errors) => SourceError::Folder(errors),
        // It can be read by now.
        Ok(_) => SourceError::Unreadable { path: folder.to_owned(), source },
    })
}

/// The file's bytes; of one that is too large one more than may be, so that this is seen.
fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
