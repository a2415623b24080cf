//! Day, night and a district's own periods, in a site's time zone.
//!
//! A period begins on weekdays, on workdays or holidays, on dates, or on all days. Workdays are Monday to Friday but for the
//! calendar's holidays, and its make-up workdays (调休); every other day is a holiday. A period that runs across midnight belongs to
//! the day on which it begins.
//!
//! Time zone data is the bundled IANA data base, not the machine's, so that two gateways of one version agree. Where
//! a clock change skips or repeats a boundary's local time, the boundary is at the later or the earlier instant, as
//! RFC 5545 has it.

use std::cell::Cell;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use serde::{Serialize, Serializer};

use crate::engine::{Boundary, Periods, PrecomputedPeriods};
use crate::rule::{PERIODS_MAX, PeriodId};
use crate::time::UnixMillis;

/// A daily stretch of local time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Period {
    pub(super) name: String,
    /// Minutes since midnight.
    pub(super) from_minute: u16,
    /// Minutes since midnight, up to 1440; not after `from_minute`: on the next day.
    pub(super) to_minute: u16,
    /// On which days it begins: bit 0 is Monday.
    pub(super) days: u8,
    /// The first day on which it begins.
    #[serde(serialize_with = "as_text")]
    pub(super) first: Option<Date>,
    /// The last day on which it begins.
    #[serde(serialize_with = "as_text")]
    pub(super) last: Option<Date>,
    /// Whether it begins on workdays, besides `days`.
    pub(super) on_workdays: bool,
    /// Whether it begins on holidays, besides `days`.
    pub(super) on_holidays: bool,
    /// If there are any, it begins only on these dates.
    pub(super) dates: Vec<Dates>,
}

/// From one date to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Dates {
    #[serde(serialize_with = "date_as_text")]
    pub(super) first: Date,
    #[serde(serialize_with = "date_as_text")]
    pub(super) last: Date,
}

impl Dates {
    fn has(&self, date: Date) -> bool {
        self.first <= date && date <= self.last
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

fn date_as_text<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}

/// The days that are not what their weekday says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Calendar {
    /// Weekdays on which nobody works.
    pub(super) holidays: Vec<Dates>,
    /// Days at a week's end on which people work (调休).
    pub(super) workdays: Vec<Dates>,
}

impl Calendar {
    fn is_workday(&self, date: Date) -> bool {
        let within = |all: &[Dates]| all.iter().any(|dates| dates.has(date));
        within(&self.workdays) || date.weekday().to_monday_zero_offset() < 5 && !within(&self.holidays)
    }
}

fn as_text<S: Serializer>(date: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => serializer.serialize_some(&date.to_string()),
        None => serializer.serialize_none(),
    }
}

/// Every day of the week.
pub(super) const ALL_DAYS: u8 = 0b111_1111;

impl Period {
    /// 06:00 to 22:00 every day: GB 3096-2008, clause 3.
    pub(super) fn day() -> Self {
        Self {
            name: "day".to_owned(),
            from_minute: 6 * 60,
            to_minute: 22 * 60,
            days: ALL_DAYS,
            first: None,
            last: None,
            on_workdays: false,
            on_holidays: false,
            dates: Vec::new(),
        }
    }

    /// The stretch of a day in minutes in which this and another period are both on, if they can be on a same day.
    pub(super) fn overlap(&self, other: &Self) -> Option<(u16, u16)> {
        let by_weekday_only = |one: &Self| !one.on_workdays && !one.on_holidays;
        let across = |one: &Self| one.to_minute <= one.from_minute;
        let never_on_one_day = by_weekday_only(self)
            && by_weekday_only(other)
            && !across(self)
            && !across(other)
            && self.days & other.days == 0;
        let ends = |one: &Self| {
            let (first, last) = (one.first.unwrap_or(Date::MIN), one.last.unwrap_or(Date::MAX));
            let mut all = one.dates.clone();
            if all.is_empty() {
                all.push(Dates { first, last });
            }
            all
        };
        let (mine, theirs) = (ends(self), ends(other));
        if never_on_one_day || !mine.iter().any(|dates| theirs.iter().any(|others| dates.meets(others))) {
            return None;
        }
        let on = |one: &Self, minute: u16| match across(one) {
            true => minute >= one.from_minute || minute < one.to_minute,
            false => (one.from_minute..one.to_minute).contains(&minute),
        };
        let both = |minute: &u16| on(self, *minute) && on(other, *minute);
        let from = (0..1440).find(both)?;
        let to = (from..1440).find(|minute| !both(minute)).unwrap_or(1440);
        Some((from, to))
    }

    /// From when to when the period that begins on `date` is on; `None` if none begins then.
    fn beginning_on(
        &self,
        date: Date,
        zone: &TimeZone,
        calendar: &Calendar,
    ) -> Option<(Timestamp, Timestamp)> {
        let weekday = date.weekday().to_monday_zero_offset();
        let works = calendar.is_workday(date);
        let begins =
            (self.days & (1 << weekday) != 0 || self.on_workdays && works || self.on_holidays && !works)
                && (self.dates.is_empty() || self.dates.iter().any(|dates| dates.has(date)))
                && self.first.is_none_or(|first| first <= date)
                && self.last.is_none_or(|last| date <= last);
        if !begins {
            return None;
        }
        let minutes = |date: Date, minute: u16| {
            let date = if minute < 1440 { date } else { date.tomorrow().ok()? };
            // Below 24 and below 60, so both fit.
            let (hour, minute) = ((minute % 1440 / 60) as i8, (minute % 60) as i8);
            zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0)).compatible().ok()
        };
        let end = if self.to_minute > self.from_minute { date } else { date.tomorrow().ok()? };
        Some((minutes(date, self.from_minute)?, minutes(end, self.to_minute)?))
    }
}

/// A time zone by its IANA name.
pub(super) fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A stretch of time in which nothing changes, and the bits of the periods that are on.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: UnixMillis,
    until: UnixMillis,
    active: u16,
}

/// Answers for one site. The stretch last asked about is remembered, so that asking at every reading costs two
/// comparisons.
#[derive(Clone, Debug)]
pub struct SitePeriods {
    zone: TimeZone,
    /// The day first, then the district's own.
    periods: Arc<[Period]>,
    calendar: Arc<Calendar>,
    last: Cell<Option<Stretch>>,
}

impl SitePeriods {
    pub(super) fn new(zone: TimeZone, periods: Arc<[Period]>, calendar: Arc<Calendar>) -> Self {
        Self { zone, periods, calendar, last: Cell::new(None) }
    }

    /// The boundaries of the next `days` days from `from` on, to be given to a node: up to a local midnight, or as
    /// far as they fit.
    #[must_use]
    pub fn precomputed(&self, from: UnixMillis, days: u16) -> PrecomputedPeriods {
        let mut boundaries: Vec<Boundary> = Vec::new();
        let mut at = from;
        let mut midnights = 0;
        while midnights < days {
            let Some(stretch) = self.stretch(at) else { break };
            if boundaries.last().is_none_or(|last| last.active != stretch.active) {
                boundaries.push(Boundary { from: at, active: stretch.active });
            }
            at = stretch.until;
            if self.local_date(at) != self.local_date(at.plus(-1)) {
                midnights += 1;
            }
        }
        PrecomputedPeriods::new(boundaries, at)
    }

    fn local_date(&self, at: UnixMillis) -> Option<Date> {
        Some(self.zone.to_datetime(Timestamp::from_millisecond(at.0).ok()?).date())
    }

    /// The stretch within one local day around `at`; `None` outside the calendar (years -9999 to 9999).
    fn stretch(&self, at: UnixMillis) -> Option<Stretch> {
        let date = self.local_date(at)?;
        let midnight = |date: Date| {
            let instant = self.zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible().ok()?;
            Some(instant.as_millisecond())
        };
        let mut from = midnight(date)?;
        let mut until = midnight(date.checked_add(1.day()).ok()?)?;
        let mut active = 1 << PeriodId::ALWAYS.0;
        for (index, period) in self.periods.iter().enumerate() {
            // A period is shorter than a day, so only these two can be on today.
            let two_days = [date.checked_sub(1.day()).ok()?, date];
            let mut on = false;
            let begin_on = |date: &Date| period.beginning_on(*date, &self.zone, &self.calendar);
            for (begin, end) in two_days.iter().filter_map(begin_on) {
                let (begin, end) = (begin.as_millisecond(), end.as_millisecond());
                on |= (begin..end).contains(&at.0);
                for boundary in [begin, end] {
                    if boundary <= at.0 {
                        from = from.max(boundary);
                    } else {
                        until = until.min(boundary);
                    }
                }
            }
            if on {
                active |= 1 << id(index).0;
            }
        }
        if active & (1 << PeriodId::DAY.0) == 0 {
            active |= 1 << PeriodId::NIGHT.0;
        }
        Some(Stretch { from: UnixMillis(from), until: UnixMillis(until), active })
    }
}

/// The id of the period at this place: day, then the district's own.
pub(super) fn id(index: usize) -> PeriodId {
    match index {
        0 => PeriodId::DAY,
        // The manifest holds their number below PERIODS_MAX.
        other => PeriodId(PeriodId::FIRST_EXPLICIT.0 + (other - 1) as u8),
    }
}

/// How many periods of its own a pack may have.
pub(super) const EXPLICIT_MAX: usize = (PERIODS_MAX - PeriodId::FIRST_EXPLICIT.0) as usize;

impl Periods for SitePeriods {
    fn is_active(&self, period: PeriodId, at: UnixMillis) -> Option<bool> {
        if period.0 >= PERIODS_MAX {
            return None;
        }
        let remembered = self.last.get().filter(|last| last.from <= at && at < last.until);
        let stretch = match remembered {
            Some(stretch) => stretch,
            None => self.stretch(at)?,
        };
        self.last.set(Some(stretch));
        Some(stretch.active & (1 << period.0) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(zone: &str) -> SitePeriods {
        let noon = Period { name: "noon".into(), from_minute: 12 * 60, to_minute: 14 * 60, ..Period::day() };
        let exam = Period {
            name: "exam".into(),
            from_minute: 23 * 60,
            to_minute: 5 * 60,
            days: 0b001_1111,
            first: Some("2026-03-27".parse().unwrap()),
            last: Some("2026-04-01".parse().unwrap()),
            ..Period::day()
        };
        let works = Period {
            name: "workdays".into(),
            from_minute: 20 * 60,
            to_minute: 4 * 60,
            days: 0,
            on_workdays: true,
            ..Period::day()
        };
        let calendar = Calendar {
            holidays: vec![dates("2026-03-30", "2026-04-06")],
            workdays: vec![dates("2026-03-29", "2026-03-29")],
        };
        let all = Arc::new([Period::day(), noon, exam, works]);
        SitePeriods::new(time_zone(zone).unwrap(), all, Arc::new(calendar))
    }

    fn dates(first: &str, last: &str) -> Dates {
        Dates { first: first.parse().unwrap(), last: last.parse().unwrap() }
    }

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn night_runs_across_midnight_in_local_time() {
        let shenzhen = periods("Asia/Shanghai");
        let night = |text| shenzhen.is_active(PeriodId::NIGHT, at(text)).unwrap();
        assert!(!night("2026-07-01T21:59:59.999+08:00"));
        assert!(night("2026-07-01T22:00:00+08:00"));
        assert!(night("2026-07-02T00:00:00+08:00"));
        assert!(night("2026-07-02T05:59:59.999+08:00"));
        assert!(!night("2026-07-02T06:00:00+08:00"));
    }

    #[test]
    fn a_period_of_weekdays_begins_on_them_and_ends_the_next_morning() {
        let shenzhen = periods("Asia/Shanghai");
        let exam = |text| shenzhen.is_active(PeriodId(4), at(text)).unwrap();
        assert!(!exam("2026-03-27T04:00:00+08:00"), "the first begins that evening");
        assert!(exam("2026-03-28T04:00:00+08:00"), "Friday's, on Saturday morning");
        assert!(!exam("2026-03-28T23:30:00+08:00"), "none begins on Saturday");
        assert!(exam("2026-04-02T04:59:59+08:00"), "the last one's morning");
        assert!(!exam("2026-04-02T23:30:00+08:00"));
    }

    #[test]
    fn holidays_and_make_up_workdays_are_what_the_calendar_says() {
        let shenzhen = periods("Asia/Shanghai");
        let works = |text| shenzhen.is_active(PeriodId(5), at(text)).unwrap();
        assert!(works("2026-03-27T21:00:00+08:00"), "a Friday");
        assert!(works("2026-03-28T03:59:59+08:00"), "Friday's, on Saturday morning");
        assert!(!works("2026-03-28T21:00:00+08:00"), "a Saturday");
        assert!(works("2026-03-29T21:00:00+08:00"), "a Sunday that is worked");
        assert!(works("2026-03-30T03:00:00+08:00"), "its night, on the holiday's morning");
        assert!(!works("2026-03-30T21:00:00+08:00"), "a Monday that is a holiday");
        assert!(works("2026-04-07T21:00:00+08:00"), "the first day after them");
    }

    #[test]
    fn periods_that_are_on_together_are_found() {
        let of = |from: u16, to: u16| Period { from_minute: from * 60, to_minute: to * 60, ..Period::day() };
        assert_eq!(of(19, 22).overlap(&of(21, 6)), Some((21 * 60, 22 * 60)));
        assert_eq!(of(19, 22).overlap(&of(22, 6)), None);
        let in_june = |period| Period { dates: vec![dates("2026-06-07", "2026-06-09")], ..period };
        let in_july = |period| Period { dates: vec![dates("2026-07-01", "2026-07-01")], ..period };
        assert_eq!(in_june(of(0, 24)).overlap(&in_july(of(0, 24))), None);
        assert_eq!(in_june(of(20, 7)).overlap(&of(19, 22)), Some((20 * 60, 22 * 60)));
        let monday = Period { days: 1, ..of(8, 12) };
        assert_eq!(monday.overlap(&Period { days: 2, ..of(8, 12) }), None);
        let workdays = Period { days: 0, on_workdays: true, ..of(8, 12) };
        assert_eq!(monday.overlap(&workdays), Some((8 * 60, 12 * 60)));
    }

    #[test]
    fn what_a_node_is_told_agrees_with_the_gateway_also_when_clocks_change() {
        for zone in ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"] {
            let site = periods(zone);
            // Europe changes its clocks on 2026-03-29, New York on 2026-03-08, Lord Howe on 2026-04-05.
            for start in ["2026-03-27T13:07:00Z", "2026-03-07T23:00:00Z", "2026-04-04T10:00:00Z"] {
                let start = at(start);
                let told = site.precomputed(start, 6);
                assert!(told.until().since(start) > 5 * 86_400_000, "{zone}");
                let mut now = start;
                while now < told.until() {
                    for period in (0..6).map(PeriodId) {
                        let fresh = periods(zone);
                        assert_eq!(
                            told.is_active(period, now),
                            fresh.is_active(period, now),
                            "{zone} {period:?} {now:?}"
                        );
                        assert_eq!(site.is_active(period, now), fresh.is_active(period, now));
                    }
                    now = now.plus(7 * 60_000 + 1);
                }
            }
        }
    }

    #[test]
    fn the_hour_that_a_clock_change_skips_is_no_trouble() {
        let early = Period { from_minute: 2 * 60 + 30, to_minute: 6 * 60, ..Period::day() };
        let berlin = SitePeriods::new(time_zone("Europe/Berlin").unwrap(), Arc::new([early]), Arc::default());
        assert_eq!(berlin.is_active(PeriodId::DAY, at("2026-03-29T00:59:59Z")), Some(false));
        assert_eq!(berlin.is_active(PeriodId::DAY, at("2026-03-29T01:30:00Z")), Some(true), "03:30 local");
    }

    #[test]
    fn outside_the_calendar_nothing_is_known() {
        let site = periods("UTC");
        assert_eq!(site.is_active(PeriodId::DAY, UnixMillis(i64::MAX)), None);
        assert_eq!(site.is_active(PeriodId::DAY, UnixMillis(i64::MIN)), None);
        assert_eq!(site.precomputed(UnixMillis(i64::MAX), 3).until(), UnixMillis(i64::MAX));
    }
}
