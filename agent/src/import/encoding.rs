//! A CSV file's bytes as text: UTF-8, UTF-16 with its mark, or GB18030.
//!
//! GB18030 has a character for nearly every pair of bytes, so that what can be read as such need not be it. What decides is
//! said: a line of UTF-8 in it, or characters that nobody uses, as text in Big5 has them.

use std::borrow::Cow;

use encoding_rs::GB18030;

use super::Unreadable;
use super::sheet::Encoding;

/// How many Chinese characters a line of UTF-8 has, to be taken for one; as GB18030 it would hardly be text.
const CHINESE_MIN: usize = 2;

const WAY_OUT: &str = "save the list as `CSV UTF-8` or as .xlsx";

pub(super) fn decode(
    bytes: &[u8],
    told: Option<Encoding>,
) -> Result<(Cow<'_, str>, &'static str), Unreadable> {
    let (text, name) = guess(bytes, told)?;
    match text.find('\0') {
        Some(at) => Err(Unreadable(format!(
            "line {}: there is a NUL, which is in no text (is it UTF-16 without a mark, or no list at all?); {WAY_OUT}",
            line(text[..at].as_bytes())
        ))),
        None => Ok((text, name)),
    }
}

fn guess(bytes: &[u8], told: Option<Encoding>) -> Result<(Cow<'_, str>, &'static str), Unreadable> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, wrong) = encoding.decode_without_bom_handling(&bytes[mark..]);
        if wrong {
            let before = text.find('\u{fffd}').map_or("", |at| &text[..at]);
            return Err(Unreadable(format!(
                "line {}: the file begins as {} and this line is not; {WAY_OUT}",
                line(before.as_bytes()),
                encoding.name()
            )));
        }
        return Ok((text, encoding.name()));
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) if told != Some(Encoding::Gb18030) => return Ok((Cow::Borrowed(text), "UTF-8")),
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    let wrong_at = line(&bytes[..valid]);
    if told == Some(Encoding::Utf8) {
        return Err(Unreadable(format!(
            "line {wrong_at}: the text is not UTF-8; leave --encoding away, or {WAY_OUT}"
        )));
    }
    if told.is_none()
        && let Some(index) = bytes.split(|byte| *byte == b'\n').position(is_chinese_utf_8)
    {
        return Err(Unreadable(format!(
            "line {}: is UTF-8, and line {wrong_at} is not: two encodings in one file; {WAY_OUT}",
            index + 1
        )));
    }
    let Some(text) = GB18030.decode_without_bom_handling_and_without_replacement(bytes) else {
        let (shown, _) = GB18030.decode_without_bom_handling(bytes);
        let wrong_at = shown.find('\u{fffd}').map_or(wrong_at, |at| line(shown[..at].as_bytes()));
        return Err(Unreadable(format!("line {wrong_at}: the text is neither UTF-8 nor GB18030; {WAY_OUT}")));
    };
    if told == Some(Encoding::Gb18030) {
        return Ok((text, "GB18030"));
    }
    let unused = |c: char| matches!(c, '\u{e000}'..='\u{f8ff}') || (c.is_control() && !c.is_whitespace());
    if let Some(at) = text.find(unused) {
        return Err(Unreadable(format!(
            "line {}: is not UTF-8, and as GB18030 it has characters that nobody uses (is it Big5?); {WAY_OUT}, or say --encoding gb18030 if it is that all the same",
            line(text[..at].as_bytes())
        )));
    }
    Ok((text, "GB18030"))
}

/// The number of the line behind these bytes.
fn line(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn is_chinese_utf_8(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|text| {
        text.chars().filter(|c| matches!(c, '\u{4e00}'..='\u{9fff}')).take(CHINESE_MIN).count() == CHINESE_MIN
    })
}
