//! A pack with its signature in one piece: the text of the `.minisig` file, and right behind it the pack.
//!
//! `cat district.pack.minisig district.pack` makes it, without any tool of ours. It is what goes over MQTT, which has one
//! payload, and what a gateway keeps, so that pack and signature cannot come apart. A pack begins with `gridpost-pack`, a
//! signature with `untrusted comment:`, so it is seen which of them comes.

/// How a minisign signature begins.
pub(super) const SIGNATURE_BEGINS: &[u8] = b"untrusted comment:";
/// The most bytes of a signature: its four lines have some 350, and a comment can be long.
pub const SIGNATURE_BYTES_MAX: usize = 4096;
/// A minisign signature has so many lines.
const SIGNATURE_LINES: usize = 4;

/// The signature, if there is one, and the pack.
#[must_use]
pub fn open(bytes: &[u8]) -> (Option<&str>, &[u8]) {
    if !bytes.starts_with(SIGNATURE_BEGINS) {
        return (None, bytes);
    }
    let ends = bytes.iter().enumerate().take(SIGNATURE_BYTES_MAX).filter(|(_, byte)| **byte == b'\n');
    let Some((end, _)) = ends.into_iter().nth(SIGNATURE_LINES - 1) else { return (None, bytes) };
    let (signature, pack) = bytes.split_at(end + 1);
    match std::str::from_utf8(signature) {
        Ok(text) => (Some(text), pack),
        Err(_) => (None, bytes),
    }
}

/// Both in one piece.
#[must_use]
pub fn close(signature: Option<&str>, pack: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(signature.map_or(0, str::len) + 1 + pack.len());
    // What a file has behind its signature is none of it.
    for line in signature.iter().flat_map(|signature| signature.lines().take(SIGNATURE_LINES)) {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(pack);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_opens_again() {
        let signature = "untrusted comment: a\nRUR\ntrusted comment: b\nabc\n";
        assert_eq!(
            open(&close(Some(signature), b"gridpost-pack 1\n")),
            (Some(signature), &b"gridpost-pack 1\n"[..])
        );
        assert_eq!(open(&close(None, b"gridpost-pack 1\n")), (None, &b"gridpost-pack 1\n"[..]));
        // Blank lines behind it, and blank lines that are part of what passes for one.
        let longer = format!("{signature}\n\n");
        assert_eq!(close(Some(&longer), b"p"), close(Some(signature), b"p"));
        let blank = "untrusted comment: a\n\n\n\n";
        assert_eq!(open(&close(Some(blank), b"p")), (Some(blank), &b"p"[..]));
    }

    #[test]
    fn half_a_signature_is_none() {
        for bytes in [
            &b"untrusted comment: a\nRUR\n"[..],
            b"untrusted comment:",
            b"",
            b"untrusted comment: \xff\n\n\n\n",
        ] {
            assert_eq!(open(bytes), (None, bytes));
        }
        let endless =
            [b"untrusted comment:".as_slice(), &[b'x'; 2 * SIGNATURE_BYTES_MAX], b"\n\n\n\n"].concat();
        assert_eq!(open(&endless), (None, endless.as_slice()));
    }
}
