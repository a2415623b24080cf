//! Whether a path can be a spool, without opening it: SQLite would make files beside it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::lock;
use super::schema::{APPLICATION_ID, VERSION};

/// The header of an SQLite database (fileformat2, section 1.3), in bytes.
const HEADER_BYTES: u64 = 100;
/// What it begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Looks at where the spool is or will be. Makes and changes nothing, and does not tell whether an agent has it: that is no
/// mistake. What is damaged further inside, [`super::Spool::open`] finds.
///
/// # Errors
/// When there can be no spool there: a folder that is missing or cannot be written to, or something else in its place.
pub fn look(path: &Path) -> Result<(), SpoolError> {
    let unusable = |what: String| SpoolError::Unusable { path: path.to_owned(), what };
    let failed = |error: io::Error| unusable(format!("cannot be looked at: {error}"));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(unusable("is a folder; name a file in it, such as spool.db".to_owned()));
        }
        Ok(found) if !found.is_file() => {
            return Err(unusable("is no file; correct the path".to_owned()));
        }
        Ok(_) => {
            let mut file = File::open(path).map_err(failed)?;
            look_at_header(path, &mut file)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    is_writable(path)
}

/// Whether the spool's folder can be written to, without opening anything: to be asked while the spool is in use too. (Whoever
/// closes a file loses the locks that the process has on it, SQLite's among them.)
///
/// # Errors
/// When it cannot: a folder that is missing, a read-only file system, rights.
pub fn is_writable(path: &Path) -> Result<(), SpoolError> {
    let unusable = |what: String| SpoolError::Unusable { path: path.to_owned(), what };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(unusable(format!(
                "is to be in {}, which is no folder; correct the path",
                folder.display()
            )));
        }
        Err(error) => {
            return Err(unusable(format!(
                "is to be in {}: {error}; make the folder, for the agent's user, or correct the path",
                folder.display()
            )));
        }
    }
    // Files come and go beside the database, so the folder itself has to be writable.
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(|error| {
        unusable(format!(
            "cannot be used: {}: {error}; the agent's user must be able to write there",
            folder.display()
        ))
    })
}

fn look_at_header(path: &Path, file: &mut File) -> Result<(), SpoolError> {
    let unusable = |what: String| SpoolError::Unusable { path: path.to_owned(), what };
    let mut header = Vec::new();
    file.take(HEADER_BYTES)
        .read_to_end(&mut header)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if header.is_empty() {
        return Ok(());
    }
    if header.len() < HEADER_BYTES as usize || !header.starts_with(MAGIC) {
        if fs::exists(lock::file_of(path)).unwrap_or(false) {
            // An agent had it: what is damaged is set aside when it is opened.
            return Ok(());
        }
        return Err(unusable(
            "is no spool: it does not begin as a database does. Correct the path; or, if it was a spool of an agent elsewhere, \
             it is damaged: keep it, because of events in it that had not been sent"
                .to_owned(),
        ));
    }
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        i32::from_be_bytes(bytes)
    };
    let (pages, version, application) = (number(28), number(60), number(68));
    match application {
        APPLICATION_ID if i64::from(version) > VERSION => {
            Err(SpoolError::Newer { path: path.to_owned(), found: version.into() })
        }
        APPLICATION_ID => Ok(()),
        // Killed before its tables were made, or they are in the write-ahead log only: opening it will tell.
        0 if pages <= 1 || has_log(path) => Ok(()),
        _ => Err(SpoolError::NotASpool { path: path.to_owned() }),
    }
}

pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|found| found.len() > 0)
}

/// The file with this after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
