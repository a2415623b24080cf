//! What is wrong with a TOML file of the agent: where, which key and why, and nothing of what stands there. A line that
//! cannot be read may hold a secret, and errors go to terminals, logs and tickets.

use std::fmt::Write as _;

use toml::de::Error;

use crate::cli::print::without_controls;

/// What an error says, without the value that it is about.
#[must_use]
pub(crate) fn reason(error: &Error) -> String {
    let message = error.message().replace('\n', ", ");
    // serde quotes the value: `invalid type: string "...", expected a sequence`. Names of keys are ours, or are to be shown.
    let quotes = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if quotes.iter().any(|quote| message.starts_with(quote)) => {
            format!("the value is not what it should be: expected {}", plain(expected))
        }
        // Of a key that takes one of some words.
        _ if message == "wanted string or table" => {
            "the value is not what it should be: write it in quotes".to_owned()
        }
        _ => message,
    }
}

/// serde's names of types, as a person knows them.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" => "a string: a text in quotes",
        "path string" => "a path in quotes",
        "a sequence" => "a list such as [\"a\", \"b\"]",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative, nor too large",
        "f64" => "a number",
        other => other,
    }
}

/// The line of an error, from 1, as far as it is known.
#[must_use]
pub(crate) fn line(text: &str, error: &Error) -> usize {
    before(text, error).matches('\n').count() + 1
}

/// The whole of it: line, column, key and reason.
#[must_use]
pub(crate) fn describe(text: &str, error: &Error) -> String {
    let before = before(text, error);
    let last = before.rsplit('\n').next().unwrap_or("");
    let mut said = format!("line {}, column {}: ", line(text, error), last.chars().count() + 1);
    let table = before.lines().chain(current_line(text, before)).map(str::trim).rfind(|l| l.starts_with('['));
    if let Some(header) = table.and_then(|header| header.split_inclusive(']').next()) {
        // `[[...]]` ends with two.
        let _ = write!(said, "{header}{} ", if header.starts_with("[[") { "]" } else { "" });
    }
    if let Some(key) = current_line(text, before).and_then(key) {
        let _ = write!(said, "{key}: ");
    }
    without_controls(&(said + &reason(error)))
}

fn before<'t>(text: &'t str, error: &Error) -> &'t str {
    text.get(..error.span().map_or(0, |span| span.start)).unwrap_or("")
}

fn current_line<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let begins = before.rfind('\n').map_or(0, |at| at + 1);
    text.get(begins..)?.lines().next()
}

/// The key of a line, if it has one and nothing but a key stands before the `=`.
fn key(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!key.is_empty() && key.bytes().all(plain)).then_some(key)
}
