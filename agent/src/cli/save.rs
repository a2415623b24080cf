//! Files that commands write.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::exit::Failure;
use super::print;
use crate::config::folder_of;

/// Writes a file: old or new, never half of it. A symbolic link is followed. What is no file, such as `/dev/stdout` or
/// `/dev/null`, is written to as it is: a file in its place would take it from everybody.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    has_folder(path)?;
    write(path, bytes).map_err(|error| {
        Failure::running(format!("cannot write {}: {}", path.display(), without_path(&error)))
    })
}

/// Refuses a file whose folder is not there: for commands that work long, before they begin.
pub(super) fn has_folder(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "cannot write {}: there is no folder {}; make it, or correct the path",
        path.display(),
        folder.display()
    )))
}

/// Says what was written, unless it went to where this would stand in it, such as `/dev/stdout`.
pub(super) fn wrote(path: &Path, what: &str) -> Result<(), Failure> {
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    if is_file && !is_special(path) {
        print::all(&format!("wrote {}{what}\n", path.display()))
    } else {
        Ok(())
    }
}

/// Where files of no disk are. `/dev/stdout` may lead to one of a disk all the same.
fn is_special(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_file = fs::metadata(path).map(|found| found.is_file());
    if is_special(path) || matches!(is_file, Ok(false)) {
        let mut file = OpenOptions::new().write(true).open(path)?;
        return file.write_all(bytes).and_then(|()| file.flush());
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match folder_of(&target) {
        folder if folder.as_os_str().is_empty() => PathBuf::from("."),
        folder => folder,
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all())?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// What went wrong, without the path of a file that nobody asked for.
fn without_path(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// Refuses to write over what the command reads.
pub(super) fn not_over(output: &Path, read: &[&Path]) -> Result<(), Failure> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match read.iter().find(|path| real(path) == real(output)) {
        None => Ok(()),
        Some(path) => Err(Failure::usage(format!(
            "{} is read by this command, and would be written over; write to another file",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("of").join("catalogue.csv");
        let error = save(&path, b"x").unwrap_err().to_string();
        assert!(error.contains("there is no folder") && error.contains("make it"), "{error}");
        has_folder(Path::new("catalogue.csv")).unwrap();
        has_folder(&folder.path().join("catalogue.csv")).unwrap();
    }

    #[test]
    fn a_link_is_followed_and_what_is_no_file_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        save(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        save(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let null = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        save(&null, b"nothing").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let error = write(&folder.path().join("none/file"), b"").unwrap_err();
        assert_eq!(without_path(&error), "No such file or directory (os error 2)");
    }

    #[test]
    fn what_is_read_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(not_over(&link, &[&file]).is_err());
        assert!(not_over(&folder.path().join("new"), &[&file]).is_ok());
        assert!(not_over(Path::new("new"), &[Path::new("new")]).is_err());
    }
}
