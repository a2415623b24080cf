//! A NOR flash in a file: what was written stays when the process is killed, even in the middle of a record.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes in a sector.
const SECTOR_BYTES: usize = 4096;
/// Bytes in a word, which are written at once.
const WORD_BYTES: usize = 4;

/// The flash. Each write goes to the system at once, a word at a time as a chip takes it.
#[derive(Debug)]
pub(super) struct FileFlash {
    file: File,
    bytes: usize,
}

impl FileFlash {
    /// Opens an image that is there.
    pub(super) fn open(image: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(image)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self { file, bytes })
    }
}

/// The file failed, or the place is outside of it.
#[derive(Debug)]
pub(super) struct FileFlashError(#[expect(dead_code, reason = "for whoever prints it")] io::Error);

impl From<io::Error> for FileFlashError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl NorFlashError for FileFlashError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for FileFlash {
    type Error = FileFlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FileFlashError> {
        Ok(self.file.read_exact_at(bytes, offset.into())?)
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = SECTOR_BYTES;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FileFlashError> {
        for sector in (from..to).step_by(SECTOR_BYTES) {
            self.file.write_all_at(&[0xff; SECTOR_BYTES], sector.into())?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileFlashError> {
        let mut old = vec![0; bytes.len()];
        self.file.read_exact_at(&mut old, offset.into())?;
        // Writing only clears bits.
        old.iter_mut().zip(bytes).for_each(|(old, new)| *old &= new);
        let words = old.chunks(WORD_BYTES).zip((u64::from(offset)..).step_by(WORD_BYTES));
        for (word, at) in words {
            self.file.write_all_at(word, at)?;
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for FileFlash {}
