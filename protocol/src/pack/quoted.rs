//! Quotations in CSV that do not end where their cell ends. A reader takes such a mark for the beginning of a cell of many
//! lines, and whatever rows stand in it are gone without a word.

/// The line, from 1, on which a quotation begins that does not end, or that ends in the middle of a cell.
#[must_use]
pub fn broken_quotation(text: &str) -> Option<u64> {
    let mut bytes = text.bytes().peekable();
    let (mut line, mut began) = (1, 0);
    // At the beginning of a cell; in a quotation; behind its end.
    let (mut begins, mut quoted, mut ended) = (true, false, false);
    while let Some(byte) = bytes.next() {
        let ends_line = byte == b'\n' || byte == b'\r' && bytes.peek() != Some(&b'\n');
        line += u64::from(ends_line);
        if quoted {
            if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                (quoted, ended) = (false, true);
            }
            continue;
        }
        match byte {
            b'"' if begins => (quoted, began) = (true, line),
            b',' | b'\r' | b'\n' => ended = false,
            b' ' | b'\t' => {}
            _ if ended => return Some(began),
            _ => {}
        }
        begins = matches!(byte, b',' | b'\r' | b'\n');
    }
    quoted.then_some(began)
}

#[cfg(test)]
mod tests {
    use super::broken_quotation;

    #[test]
    fn a_mark_that_is_not_closed_is_found_on_its_line() {
        for good in [
            "",
            "a,b\n",
            "\"a\",\"b\"\n\"c\"",
            "a,\"b\nc\",d\r\n",
            "5\" pipe,b\n",
            "\"say \"\"a\"\"\" ,b\n",
            "a,\"\"\n",
        ] {
            assert_eq!(broken_quotation(good), None, "{good:?}");
        }
        // At the end of the file; and where the next cell's mark seems to close it.
        assert_eq!(broken_quotation("a,b\nc,\"d\ne,f\n"), Some(2));
        assert_eq!(broken_quotation("a,b\r\nc,\"d\r\ne,\"f\"\r\n"), Some(2));
        assert_eq!(broken_quotation("a,\"b\"c\n"), Some(1));
    }
}
