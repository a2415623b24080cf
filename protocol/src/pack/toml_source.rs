//! TOML, read so that every mistake is found in one go, each with its line and column.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{CONTROLS, Place, Problems, Words, did_you_mean, has_controls};
use crate::reading::Milli;

/// A TOML file and what is wrong with it.
pub(super) struct Source<'s> {
    file: &'static str,
    text: &'s str,
    /// Where each line begins: asked for once a rule, so it is not counted anew.
    lines: Vec<usize>,
    problems: RefCell<&'s mut Problems>,
}

impl<'s> Source<'s> {
    pub(super) fn new(file: &'static str, text: &'s str, problems: &'s mut Problems) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, problems: RefCell::new(problems) }
    }

    /// The file's top table; `None` when it is not TOML.
    pub(super) fn parse(&self) -> Option<DeTable<'s>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            self.wrong(&span, "", error.message().replace('\n', ", "), "correct the TOML");
        }
        errors.is_empty().then(|| table.into_inner())
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = if self.text.is_char_boundary(span.start) { span.start } else { self.text.len() };
        // At least 1: the first line begins at 0.
        let line = self.lines.partition_point(|begins| *begins <= start);
        let begins = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(begins..start).unwrap_or("").chars().count() + 1;
        Place { file: self.file, line: Some(line as u64), column: Some(column) }
    }

    pub(super) fn wrong(
        &self,
        span: &Range<usize>,
        field: &str,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) {
        self.problems.borrow_mut().add(self.place(span), field, what, way_out);
    }

    pub(super) fn note(&self, span: &Range<usize>, field: &str, english: Words<'_>, chinese: Words<'_>) {
        self.problems.borrow_mut().note(self.place(span), field, english, chinese);
    }

    /// A name that the pack gives to something may have no control characters.
    pub(super) fn check_name(&self, key: &Spanned<std::borrow::Cow<'_, str>>) {
        if has_controls(key.get_ref(), false) {
            self.wrong(&key.span(), key.get_ref(), CONTROLS, "remove them");
        }
    }

    pub(super) fn count(&self) -> usize {
        self.problems.borrow().count()
    }
}

/// A value and where it stands.
pub(super) struct Found<'v, T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
    pub(super) key: &'v str,
}

/// One table, to be asked for its keys; keys that nobody asked for are errors.
pub(super) struct Fields<'v, 's> {
    source: &'v Source<'s>,
    table: &'v DeTable<'s>,
    /// Where the table stands, for what is missing in it.
    pub(super) span: Range<usize>,
}

impl<'v, 's> Fields<'v, 's> {
    /// Checks at once that there are no keys but `known`.
    pub(super) fn new(
        source: &'v Source<'s>,
        table: &'v DeTable<'s>,
        span: Range<usize>,
        known: &[&str],
    ) -> Self {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let otherwise = format!("the keys here are {}", known.join(", "));
                let way_out = did_you_mean(name, known.iter().copied(), otherwise);
                source.wrong(&key.span(), name, "there is no such key", way_out);
            }
        }
        Self { source, table, span }
    }

    /// A table whose keys are names that its reader checks itself.
    pub(super) fn any(source: &'v Source<'s>, table: &'v DeTable<'s>, span: Range<usize>) -> Self {
        Self { source, table, span }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the key's value stands; where the table does, if there is none.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), |value| value.span())
    }

    fn get(&self, key: &'v str) -> Option<&'v Spanned<DeValue<'s>>> {
        self.table.get(key)
    }

    pub(super) fn missing(&self, key: &str, way_out: impl Into<String>) {
        self.source.wrong(&self.span, key, "the key is missing", way_out);
    }

    fn typed<T>(
        &self,
        key: &'v str,
        what: &str,
        read: impl FnOnce(&'v DeValue<'s>) -> Option<T>,
    ) -> Option<Found<'v, T>> {
        let found = self.get(key)?;
        let value = read(found.get_ref());
        if value.is_none() {
            let is = found.get_ref().type_str();
            self.source.wrong(&found.span(), key, format!("this must be {what}, and is of type {is}"), "");
        }
        Some(Found { value: value?, span: found.span(), key })
    }

    pub(super) fn text(&self, key: &'v str) -> Option<Found<'v, &'v str>> {
        let found = self.long_text(key)?;
        if has_controls(found.value, false) {
            self.source.wrong(&found.span, key, CONTROLS, "remove them");
            return None;
        }
        Some(found)
    }

    /// A text that may have several lines.
    pub(super) fn long_text(&self, key: &'v str) -> Option<Found<'v, &'v str>> {
        let found = self.typed(key, "a text in quotes", |value| value.as_str())?;
        if has_controls(found.value, true) {
            self.source.wrong(&found.span, key, CONTROLS, "remove them");
            return None;
        }
        Some(found)
    }

    pub(super) fn switch(&self, key: &'v str) -> Option<Found<'v, bool>> {
        self.typed(key, "`true` or `false`", |value| value.as_bool())
    }

    pub(super) fn table(&self, key: &'v str) -> Option<Found<'v, &'v DeTable<'s>>> {
        self.typed(key, "a table", |value| value.as_table())
    }

    /// Where the key's list stands, if it is empty.
    pub(super) fn empty_list(&self, key: &str) -> Option<Range<usize>> {
        let found = self.table.get(key)?;
        found.get_ref().as_array()?.is_empty().then(|| found.span())
    }

    /// A list of tables (`[[key]]`); each with where it stands.
    pub(super) fn tables(&self, key: &'v str, way_out: &str) -> Vec<(&'v DeTable<'s>, Range<usize>)> {
        let Some(list) = self.typed(key, "a list of tables", |value| value.as_array()) else {
            return Vec::new();
        };
        list.value
            .iter()
            .filter_map(|item| {
                let table = item.get_ref().as_table();
                if table.is_none() {
                    self.source.wrong(&item.span(), key, "this is not a table", way_out);
                }
                Some((table?, item.span()))
            })
            .collect()
    }

    /// A list of texts; each with where it stands.
    pub(super) fn texts(&self, key: &'v str) -> Vec<Found<'v, &'v str>> {
        let Some(list) = self.typed(key, "a list such as [\"a\", \"b\"]", |value| value.as_array()) else {
            return Vec::new();
        };
        list.value
            .iter()
            .filter_map(|item| {
                let text = item.get_ref().as_str();
                if text.is_none() {
                    self.source.wrong(&item.span(), key, "every item must be a text in quotes", "");
                }
                if text.is_some_and(|text| has_controls(text, false)) {
                    self.source.wrong(&item.span(), key, CONTROLS, "remove them");
                    return None;
                }
                Some(Found { value: text?, span: item.span(), key })
            })
            .collect()
    }

    /// A list of numbers.
    pub(super) fn numbers(&self, key: &'v str) -> Option<Found<'v, Vec<Milli>>> {
        let list = self.typed(key, "a list such as [5, 10]", |value| value.as_array())?;
        let values: Vec<_> =
            list.value.iter().map(|item| milli(self.source, key, item.get_ref(), &item.span())).collect();
        let value = values.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Found { value, span: list.span, key })
    }

    pub(super) fn number(&self, key: &'v str) -> Option<Found<'v, Milli>> {
        let found = self.get(key)?;
        let value = milli(self.source, key, found.get_ref(), &found.span())?;
        Some(Found { value, span: found.span(), key })
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &'v str, range: Range<u32>) -> Option<Found<'v, u32>> {
        let Range { start, end } = range;
        let what = format!("a whole number from {start} to {}", end - 1);
        let found = self.typed(key, &what, |value| value.as_integer())?;
        let value = found.value.as_str().parse().ok().filter(|n| (start..end).contains(n));
        if value.is_none() {
            self.source.wrong(&found.span, key, format!("this must be {what}"), "");
        }
        Some(Found { value: value?, span: found.span, key })
    }

    /// A length of time in milliseconds, within bounds.
    pub(super) fn duration_ms(&self, key: &'v str, min_ms: u32, max_ms: u32) -> Option<Found<'v, u32>> {
        let found = self.text(key)?;
        let way_out = "write it as \"5min\", \"60s\", \"1h 30min\" or \"500ms\"";
        let Ok(duration) = found.value.parse::<jiff::SignedDuration>() else {
            self.source.wrong(
                &found.span,
                key,
                format!("`{}` is not a length of time", found.value),
                way_out,
            );
            return None;
        };
        let value = u32::try_from(duration.as_millis()).ok().filter(|ms| (min_ms..=max_ms).contains(ms));
        if value.is_none() {
            let show = |ms: u32| format!("{:#}", jiff::SignedDuration::from_millis(i64::from(ms)));
            let what = format!("this must be {} to {}", show(min_ms), show(max_ms));
            self.source.wrong(&found.span, key, what, way_out);
        }
        Some(Found { value: value?, span: found.span, key })
    }

    /// A number, or a name.
    pub(super) fn number_or_name(&self, key: &'v str) -> Option<Found<'v, Result<Milli, &'v str>>> {
        if let Some(name) = self.get(key)?.get_ref().as_str() {
            return Some(Found { value: Err(name), span: self.get(key)?.span(), key });
        }
        let number = self.number(key)?;
        Some(Found { value: Ok(number.value), span: number.span, key })
    }
}

/// A number in thousandths.
pub(super) fn milli(
    source: &Source<'_>,
    field: &str,
    value: &DeValue<'_>,
    span: &Range<usize>,
) -> Option<Milli> {
    let number: Option<f64> = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let Some(number) = number.filter(|number| number.is_finite()) else {
        let way_out =
            if value.as_str().is_some() { "write it without quotes and without a unit" } else { "" };
        source.wrong(span, field, "this must be a number such as 55 or 0.5", way_out);
        return None;
    };
    let thousandths = (number * 1000.0).round();
    if thousandths.abs() > f64::from(i32::MAX) {
        // Not all digits of 1e300.
        let shown = if number.abs() < 1e15 { number.to_string() } else { format!("{number:e}") };
        source.wrong(span, field, format!("{shown} is out of range"), "values go to 2147483");
        return None;
    }
    if (number * 1000.0 - thousandths).abs() > 1e-6 {
        source.wrong(
            span,
            field,
            format!("{number} is finer than a thousandth"),
            "round it to three decimals",
        );
        return None;
    }
    Some(Milli(thousandths as i32))
}
