//! `pack.toml`: what the pack is, and the district's periods and intervals.

use std::ops::Range;

use serde::Serialize;
use toml::de::DeTable;

use super::calendar::{ALL_DAYS, Calendar, Dates, EXPLICIT_MAX, Period};
use super::error::{Problems, did_you_mean};
use super::name::DivisionCode;
use super::rules::{REOPEN_AFTER_DEFAULT_MS, REOPEN_AFTER_MS_MAX};
use super::toml_source::{Fields, Found, Source};
use crate::quantity::Quantity;
use crate::rule::SPAN_MS_MAX;

/// The file's name.
pub(super) const FILE: &str = "pack.toml";

/// How many dates, or stretches of dates, a list may have: more than a year's.
const DATES_MAX: usize = 400;

/// How many upper levels a district may have.
const OVERLAYS_MAX: usize = 8;

/// 24:00.
const MINUTES_OF_DAY: u16 = 24 * 60;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) division: DivisionCode,
    pub(super) sample: bool,
    pub(super) periods: Vec<Period>,
    pub(super) calendar: Calendar,
    pub(super) intervals: Vec<(Quantity, u32)>,
    /// For how long after its case is closed an exceedance still belongs to it, where the rule does not say.
    pub(super) reopen_after_ms: u32,
    /// Whose matter it is that records are gone for good.
    pub(super) lost_records: String,
    #[serde(skip)]
    pub(super) lost_records_span: Range<usize>,
    /// Whose matter sensors' faults are; as lost records, if not said.
    pub(super) sensor_faults: Option<String>,
    #[serde(skip)]
    pub(super) sensor_faults_span: Range<usize>,
    /// Whose matter calibrations are; as sensors' faults, if not said.
    pub(super) calibrations: Option<String>,
    #[serde(skip)]
    pub(super) calibrations_span: Range<usize>,
    /// Folders of upper levels' lists. What they add is in the other files, so they say nothing themselves.
    #[serde(skip)]
    pub(super) overlays: Vec<String>,
    /// Periods that are there and wrong: whatever names them need not say that they are not there.
    #[serde(skip)]
    pub(super) wrong_periods: Vec<String>,
}

pub(super) fn read(text: &str, problems: &mut Problems) -> Option<Manifest> {
    let source = Source::new(FILE, text, problems);
    let table = source.parse()?;
    let known = [
        "name",
        "version",
        "division",
        "description",
        "sample",
        "lost_records",
        "sensor_faults",
        "calibrations",
        "reopen_after",
        "periods",
        "calendar",
        "intervals",
        "overlays",
    ];
    let fields = Fields::new(&source, &table, 0..0, &known);

    let name = needed(&fields, fields.text("name"), "name", "name = \"my-district\"");
    let version = needed(&fields, fields.whole("version", 1..u32::MAX), "version", "version = 1");
    let division = needed(&fields, fields.text("division"), "division", "division = \"440310\"");
    let lost_records = needed(
        &fields,
        fields.text("lost_records"),
        "lost_records",
        "lost_records = \"...\", the code of the matter under which missing data is reported",
    );
    let sensor_faults = fields.text("sensor_faults");
    let calibrations = fields.text("calibrations");
    let reopen_after = fields.duration_ms("reopen_after", 0, REOPEN_AFTER_MS_MAX);
    let division = division.and_then(|found| {
        let code = found.value.parse();
        if let Err(way_out) = &code {
            source.wrong(&found.span, "division", "this cannot stand in a topic", format!("{way_out}"));
        }
        code.ok()
    });
    if let Some(found) = &name
        && !(1..=64).contains(&found.value.chars().count())
    {
        source.wrong(&found.span, "name", "the name must have 1 to 64 characters", "");
    }
    let _ = fields.long_text("description");
    let sample = fields.switch("sample").is_some_and(|found| found.value);
    let mut wrong_periods = Vec::new();
    let periods = fields
        .table("periods")
        .map_or_else(|| vec![Period::day()], |found| read_periods(&source, &found, &mut wrong_periods));
    let calendar =
        fields.table("calendar").map_or_else(Calendar::default, |found| read_calendar(&source, &found));
    if let Some(found) = fields.table("periods") {
        note_periods(&source, &found, &periods, &calendar);
    }
    let intervals = fields.table("intervals").map_or_else(Vec::new, |found| read_intervals(&source, &found));
    let overlays = fields.texts("overlays");
    if let Some(more) = overlays.get(OVERLAYS_MAX) {
        let way_out = "put the upper levels' lists together in one folder";
        source.wrong(&more.span, "overlays", format!("there are more than {OVERLAYS_MAX}"), way_out);
    }
    let lost_records = lost_records?;
    Some(Manifest {
        name: name?.value.to_owned(),
        version: version?.value,
        division: division?,
        sample,
        periods,
        calendar,
        intervals,
        reopen_after_ms: reopen_after.map_or(REOPEN_AFTER_DEFAULT_MS, |found| found.value),
        lost_records: lost_records.value.to_owned(),
        lost_records_span: lost_records.span,
        sensor_faults_span: sensor_faults.as_ref().map_or(0..0, |found| found.span.clone()),
        sensor_faults: sensor_faults.map(|found| found.value.to_owned()),
        calibrations_span: calibrations.as_ref().map_or(0..0, |found| found.span.clone()),
        calibrations: calibrations.map(|found| found.value.to_owned()),
        overlays: overlays.iter().map(|found| found.value.to_owned()).collect(),
        wrong_periods,
    })
}

/// Says that a key is missing, unless it is there and wrong, which has been said already.
fn needed<'v, T>(
    fields: &Fields<'v, '_>,
    found: Option<Found<'v, T>>,
    key: &'v str,
    example: &str,
) -> Option<Found<'v, T>> {
    if found.is_none() && !fields.has(key) {
        fields.missing(key, format!("add {example}"));
    }
    found
}

/// The day first, then the others in the order of their names.
fn read_periods<'v, 's>(
    source: &'v Source<'s>,
    found: &Found<'v, &'v DeTable<'s>>,
    wrong: &mut Vec<String>,
) -> Vec<Period> {
    let mut periods = vec![Period::day()];
    for (key, value) in found.value {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        source.check_name(key);
        let Some(table) = value.get_ref().as_table() else {
            source.wrong(&span, name, "a period is a table", "write [periods.name] with from and to");
            continue;
        };
        if ["always", "night"].contains(&name) {
            source.wrong(&span, name, "this name is taken: night is all that is not day", "choose another");
            continue;
        }
        let known = ["from", "to", "days", "first", "last", "dates"];
        let fields = Fields::new(source, table, span.clone(), &known);
        let Some(period) = read_period(source, &fields, name) else {
            wrong.push(name.to_owned());
            continue;
        };
        if name == "day" {
            periods[0] = period;
        } else if periods.len() > EXPLICIT_MAX {
            source.wrong(&span, name, format!("there are more than {EXPLICIT_MAX} periods"), "remove one");
            break;
        } else {
            periods.push(period);
        }
    }
    periods
}

fn read_period(source: &Source<'_>, fields: &Fields<'_, '_>, name: &str) -> Option<Period> {
    let before = source.count();
    let from = minute_of_day(source, fields, "from");
    let to = minute_of_day(source, fields, "to");
    if from == Some(MINUTES_OF_DAY) {
        source.wrong(&fields.span, name, "the period begins at 24:00", "write 00:00; only `to` may be 24:00");
    }
    if from.is_some() && from == to {
        source.wrong(
            &fields.span,
            name,
            "the period begins and ends at the same time",
            "a whole day is 00:00 to 24:00",
        );
    }
    let (mut days, mut on_workdays, mut on_holidays) = (0, false, false);
    if let Some(span) = fields.empty_list("days") {
        source.note(
            &span,
            "days",
            ("the list is empty, which means every day", "name the days, or remove the key"),
            ("列表为空，即每天都算", "请写明哪些天，或删去此项"),
        );
    }
    for found in fields.texts("days") {
        match WEEKDAYS.iter().position(|day| *day == found.value) {
            Some(index) => days |= 1 << index,
            None if found.value == "workday" => on_workdays = true,
            None if found.value == "holiday" => on_holidays = true,
            None => {
                let way_out = format!("use {}, workday, holiday", WEEKDAYS.join(", "));
                source.wrong(&found.span, "days", format!("`{}` is not a weekday", found.value), way_out);
            }
        }
    }
    let [first, last] = ["first", "last"].map(|key| {
        let found = fields.text(key)?;
        let date = found.value.parse();
        if date.is_err() {
            source.wrong(&found.span, key, "this is not a date", "write it as \"2026-06-07\"");
        }
        date.ok()
    });
    if first.is_some() && last.is_some() && first > last {
        source.wrong(&fields.span, name, "the period's last day is before its first", "exchange them");
    }
    let days = if days == 0 && !on_workdays && !on_holidays { ALL_DAYS } else { days };
    let dates = read_dates(source, fields, "dates");
    (source.count() == before).then_some(Period {
        name: name.to_owned(),
        from_minute: from?,
        to_minute: to?,
        days,
        first,
        last,
        on_workdays,
        on_holidays,
        dates,
    })
}

fn read_calendar<'v, 's>(source: &'v Source<'s>, found: &Found<'v, &'v DeTable<'s>>) -> Calendar {
    let fields = Fields::new(source, found.value, found.span.clone(), &["holidays", "workdays"]);
    let calendar = Calendar {
        holidays: read_dates(source, &fields, "holidays"),
        workdays: read_dates(source, &fields, "workdays"),
    };
    let both = |day: &&Dates| calendar.holidays.iter().any(|other| day.meets(other));
    if let Some(day) = calendar.workdays.iter().find(both) {
        let what = format!("{} is both a holiday and a workday", day.first);
        source.wrong(&fields.span, "workdays", what, "remove it from one of the two");
    }
    calendar
}

/// A list of dates, or of two dates with a slash between them, as ISO 8601 writes stretches.
fn read_dates(source: &Source<'_>, fields: &Fields<'_, '_>, key: &'static str) -> Vec<Dates> {
    let mut all = Vec::new();
    for found in fields.texts(key) {
        let (first, last) = found.value.split_once('/').unwrap_or((found.value, found.value));
        // Only as it is written back: jiff takes other forms too.
        let date = |text: &str| text.parse().ok().filter(|date: &jiff::civil::Date| date.to_string() == text);
        match (date(first), date(last)) {
            (Some(first), Some(last)) if first <= last => all.push(Dates { first, last }),
            (Some(first), Some(last)) => {
                let what = format!("`{}` ends before it begins", found.value);
                source.wrong(&found.span, key, what, format!("write it as \"{last}/{first}\""));
            }
            _ => {
                let what = format!("`{}` is neither a date nor a stretch of dates", found.value);
                source.wrong(
                    &found.span,
                    key,
                    what,
                    "write it as \"2026-06-07\" or \"2026-10-01/2026-10-07\"",
                );
            }
        }
    }
    if all.len() > DATES_MAX {
        let what = format!("there are more than {DATES_MAX} dates");
        source.wrong(&fields.span, key, what, "write stretches as \"2026-10-01/2026-10-07\"");
        all.truncate(DATES_MAX);
    }
    all
}

/// A day that is none, and workdays that no calendar tells.
fn note_periods(
    source: &Source<'_>,
    found: &Found<'_, &DeTable<'_>>,
    periods: &[Period],
    calendar: &Calendar,
) {
    let span = |name: &str| {
        let key = found.value.keys().find(|key| key.get_ref().as_ref() == name);
        key.map_or_else(|| found.span.clone(), |key| key.span())
    };
    let (day, own) = periods.split_first().map_or((None, periods), |(day, own)| (Some(day), own));
    if let Some(day) = day {
        let way_out = "write when the day begins and ends; night is all that is not day";
        let way_out_zh = "请写明昼间的起止时间；其余为夜间";
        if day.to_minute < day.from_minute && day.to_minute > 0 {
            source.note(
                &span("day"),
                "day",
                ("the day runs across midnight: is this the night?", way_out),
                ("昼间跨过零点：是否把夜间写成了昼间？", way_out_zh),
            );
        }
        if day.from_minute == 0 && day.to_minute == MINUTES_OF_DAY {
            source.note(
                &span("day"),
                "day",
                ("the day never ends, so no rule by night ever decides", way_out),
                ("全天都是昼间，夜间规则永远不会判定", way_out_zh),
            );
        }
    }
    let by_calendar = own.iter().find(|period| period.on_workdays || period.on_holidays);
    if let Some(period) = by_calendar.filter(|_| *calendar == Calendar::default()) {
        source.note(
            &span(&period.name),
            &period.name,
            (
                "there is no [calendar], so workdays are Monday to Friday",
                "add [calendar] with holidays and workdays (调休)",
            ),
            ("没有 [calendar]，工作日即周一至周五", "请增加 [calendar]，写明节假日和调休上班日"),
        );
    }
}

fn minute_of_day(source: &Source<'_>, fields: &Fields<'_, '_>, key: &'static str) -> Option<u16> {
    let found = needed_here(fields, key)?;
    let minute = found.value.split_once(':').and_then(|(hour, minute)| {
        let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        (minute < 60).then_some(hour * 60 + minute).filter(|minute| *minute <= MINUTES_OF_DAY)
    });
    if minute.is_none() {
        let what = format!("`{}` is not a time of day", found.value);
        source.wrong(&found.span, key, what, "write it as \"06:00\"");
    }
    minute
}

fn needed_here<'v>(fields: &Fields<'v, '_>, key: &'static str) -> Option<Found<'v, &'v str>> {
    needed(fields, fields.text(key), key, &format!("{key} = \"06:00\""))
}

fn read_intervals<'v, 's>(
    source: &'v Source<'s>,
    found: &Found<'v, &'v DeTable<'s>>,
) -> Vec<(Quantity, u32)> {
    let mut intervals = Vec::new();
    let fields = Fields::any(source, found.value, found.span.clone());
    for key in found.value.keys() {
        let name: &str = key.get_ref();
        let interval = fields.duration_ms(name, 1, SPAN_MS_MAX);
        let Some(quantity) = quantity(source, name, &key.span(), "intervals") else { continue };
        intervals.extend(interval.map(|interval| (quantity, interval.value)));
    }
    intervals
}

pub(super) fn quantity(
    source: &Source<'_>,
    name: &str,
    span: &Range<usize>,
    field: &str,
) -> Option<Quantity> {
    let quantity = name.parse().ok();
    if quantity.is_none() {
        let names: Vec<String> = Quantity::NAMED.iter().map(Quantity::to_string).collect();
        let otherwise = format!("use one of {}, or custom0 to custom16383", names.join(", "));
        let way_out = did_you_mean(name, names.iter().map(String::as_str), otherwise);
        source.wrong(span, field, format!("there is no quantity `{name}`"), way_out);
    }
    quantity
}
