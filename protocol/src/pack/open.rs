//! Files that a person names are opened only when they are files: what waits in a named pipe's place may wait forever.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a file for reading. Of what is no regular file only what the caller was started with is taken, such as
/// `/dev/stdin` and a shell's `<(…)`: somebody writes to that already.
///
/// # Errors
/// When there is none, or it is a folder, a named pipe, a socket or a device.
pub fn open_file(path: &Path) -> io::Result<File> {
    let handed_over = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|own| path.starts_with(own));
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || (handed_over && !kind.is_dir()) {
        return File::open(path);
    }
    let what = if kind.is_dir() { "is a folder" } else { "is a pipe, a socket or a device" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}, where a file belongs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let said = |path: &str| open_file(Path::new(path)).unwrap_err().to_string();
        assert!(said("/dev/zero").contains("is a pipe, a socket or a device"));
        assert!(said(env!("CARGO_MANIFEST_DIR")).contains("is a folder"));
        assert!(open_file(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).is_ok());
    }
}
