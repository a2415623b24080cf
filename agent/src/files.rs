//! Files that a person names: read whole, within a bound, and never waited for.

use std::io::{self, Read as _};
use std::path::Path;

pub use gridpost_protocol::pack::open_file as open;

/// The largest file of rules' cases, keys, certificates or one event, in bytes.
pub const TEXT_BYTES_MAX: u64 = 16 << 20;

/// A file's bytes; of one that has more than `most`, one more than that, so that this is seen.
///
/// # Errors
/// When it cannot be read, or is no file.
pub fn up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is no file, or has more bytes than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let bytes = up_to(path, most)?;
    if bytes.len() as u64 > most {
        let what = format!("is larger than {most} bytes: is it the right file?");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(bytes)
}

/// Reads a text in UTF-8.
///
/// # Errors
/// As [`read`], and when it is no such text; with the line.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("line {line} is no text in UTF-8; save it as UTF-8"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_and_what_is_no_text_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"a\nb\n\xff").unwrap();
        assert_eq!(read(&path, 5).unwrap().len(), 5);
        assert!(read(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        assert!(text(&path, 5).unwrap_err().to_string().contains("line 3 is no text"));
    }
}
