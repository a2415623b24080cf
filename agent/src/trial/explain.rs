//! What became of a reading, rule by rule, in words; and what applies to a device.

mod silence;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gridpost_protocol::engine::{Periods, Ruling, Verdict};
use gridpost_protocol::event::Phase;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Device, Limit, Matter, Pack, PackRule, Site};
use gridpost_protocol::reading::{Milli, Reading};
use gridpost_protocol::rule::{Condition, Direction, Origin, PERIODS_MAX, PeriodId, Role, Rule};
use gridpost_protocol::time::UnixMillis;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Took;
use crate::event::cloudevent::CloudEvent;
use crate::spool::statistic_name;

/// How many rules that were not considered are named.
const NAMED_MAX: usize = 12;

/// What an event says of itself: whose it is, and what the pack says of that now.
#[must_use]
pub fn event(event: &CloudEvent, pack: &Pack) -> String {
    let data = &event.data;
    let rule = data.pack.rule.as_deref().unwrap_or("-");
    let mut text = format!(
        "event {}\n  {} by rule {rule} of pack {} version {} ({})\n",
        event.id,
        event.phase,
        data.pack.name,
        data.pack.version,
        data.pack.digest.get(..12).unwrap_or(&data.pack.digest)
    );
    if data.pack.digest != pack.digest().to_string() {
        let _ = writeln!(
            text,
            "  the pack here is version {} ({}): what follows is by it",
            pack.version,
            pack.digest().short()
        );
    }
    if let Some(measured) = &data.measurement {
        let _ = writeln!(
            text,
            "  {} {} over {} s: {} {} against {}, from {} to {}",
            measured.quantity,
            measured.statistic,
            measured.window_s,
            measured.value,
            measured.unit,
            measured.limit,
            measured.from,
            measured.to
        );
    }
    if let Some(silence) = &data.silence {
        text.push_str(&silence::of_event(silence, rule, event, pack));
    }
    match pack.matter(&event.matter) {
        Some(matter) => text.push_str(&matter_text(matter, pack)),
        None => {
            let _ = writeln!(text, "  matter {} is not in the pack here", event.matter);
        }
    }
    text
}

/// What the rules made of a reading of a device.
#[must_use]
pub fn reading(pack: &Pack, device: DeviceId, at: UnixMillis, reading: &Reading, took: &Took<'_>) -> String {
    let Some(placed) = pack.device(device) else { return String::new() };
    let site = pack.site_of(placed);
    let mut text = place(pack, placed, site);
    let _ = writeln!(
        text,
        "reading {} = {} {} at {}; it is {}",
        reading.quantity,
        reading.value,
        reading.quantity.unit(),
        local(at, site),
        periods(pack, site, at)
    );
    if took.outcome.excluded {
        text.push_str("its quality lets no rule decide on it: it is kept, and that is all\n");
    }
    if took.outcome.late {
        text.push_str("it came too late for at least one window\n");
    }
    text.push('\n');
    for (rule, compiled, verdict) in &took.verdicts {
        let _ = writeln!(text, "{}: {}", rule.id, verdict_text(pack, rule, compiled, verdict, site));
        for (place, condition) in compiled.conditions.iter().enumerate() {
            let met = verdict.met & (1 << place) != 0;
            let _ =
                writeln!(text, "    {}: {}", condition_text(condition), if met { "met" } else { "not met" });
        }
        if (verdict.said.is_some() || verdict.state.open().is_some())
            && let Some(matter) = pack.matter_of(rule)
        {
            text.push_str(&matter_text(matter, pack));
        }
    }
    if took.verdicts.is_empty() {
        text.push_str("no rule considered it\n");
    }
    text.push_str(&not_considered(pack, site, reading));
    text.push_str(&silence::of_device(pack, placed, site));
    text
}

/// What applies to a device, without a reading: its rules, and when it counts as silent.
#[must_use]
pub fn device(pack: &Pack, placed: &Device) -> String {
    let site = pack.site_of(placed);
    let mut text = place(pack, placed, site);
    let mut by_quantity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in pack.rules().iter().filter(|rule| rule.applies_at(site)) {
        by_quantity.entry(rule.quantity().to_string()).or_default().push(rule.id.to_string());
    }
    text.push_str("\nrules at this site\n");
    for (quantity, rules) in by_quantity {
        let _ = writeln!(text, "    {quantity}: {}", rules.join(", "));
    }
    text.push_str(&silence::of_device(pack, placed, site));
    text
}

fn place(pack: &Pack, placed: &Device, site: &Site) -> String {
    let mut text = format!(
        "\ndevice {} ({}) at site {} {}: {}, area class {}\n",
        placed.id, placed.model, site.id, site.name_zh, site.kind, site.area_class
    );
    let conditions = pack
        .compile_for(placed.id)
        .is_some_and(|own| own.rules.iter().any(|rule| !rule.conditions.is_empty()));
    if conditions && matches!(pack.share_for(placed.id), Some(Ok(_))) {
        text.push_str(
            "it decides itself, and does not tell which guard or exclusion kept it from it; fetch its seconds \
             (gridpost request seconds --format csv) and give them to --readings-csv\n",
        );
    }
    text
}

fn verdict_text(pack: &Pack, rule: &PackRule, compiled: &Rule, verdict: &Verdict, site: &Site) -> String {
    let side = match compiled.direction {
        Direction::Above => "above",
        Direction::Below => "below",
    };
    let limit = verdict.limit.unwrap_or_default();
    let from = match &rule.limit {
        Limit::Number(_) => String::new(),
        Limit::Table(name) => format!(" (limit table {name}, area class {})", site.area_class),
    };
    let compared = format!(
        "{} {} is {}, wrong {side} {limit}{from}, with {} % of the readings",
        compiled.quantity,
        statistic_name(compiled.statistic),
        verdict.value,
        verdict.capture_percent
    );
    let what = match (verdict.ruling, verdict.said) {
        (_, Some(phase)) => format!("SAYS {phase}"),
        (Ruling::PeriodUnknown, _) => "nobody knows whether its period is on".to_owned(),
        (Ruling::OutOfPeriod, _) => {
            return format!("its period, {}, is not on", pack.period_name(compiled.period));
        }
        (Ruling::Blocked, _) => format!(
            "an earlier rule of group `{}` has something to say",
            rule.group.as_deref().unwrap_or_default()
        ),
        (Ruling::Excluded, _) => "an exclusion keeps it from deciding".to_owned(),
        (Ruling::TooLittle, _) => {
            format!("too little data: it needs {} % of the readings", compiled.min_capture)
        }
        (Ruling::Unguarded, _) => "a guard is not met, so it raises nothing".to_owned(),
        (Ruling::Decided, _) => quiet_text(compiled, verdict, limit, site),
    };
    format!("{what}; {compared}")
}

/// Why a rule that decided said nothing.
fn quiet_text(compiled: &Rule, verdict: &Verdict, limit: Milli, site: &Site) -> String {
    let excess = compiled.excess(verdict.value, limit);
    let state = &verdict.state;
    let since =
        |at: Option<UnixMillis>| at.map_or_else(String::new, |at| format!(" since {}", local(at, site)));
    match state.open() {
        Some((phase, episode)) => {
            let mut text = format!("an episode is open ({phase} since {})", local(episode.from, site));
            if phase == Phase::EarlyWarning && excess > 0 {
                let _ = write!(
                    text,
                    ", beyond the limit{}, hold {}",
                    since(state.beyond_since()),
                    span(compiled.hold_ms)
                );
            } else if state.within_since().is_some() {
                let _ = write!(
                    text,
                    ", within{}, clear {}",
                    since(state.within_since()),
                    span(compiled.clear_ms)
                );
            }
            text
        }
        None if excess > 0 => {
            format!(
                "beyond the limit{}, and has to be for {} (hold)",
                since(state.beyond_since()),
                span(compiled.hold_ms)
            )
        }
        None if state.is_muted() => {
            "within the limit, and near it since the last episode: no early warning".to_owned()
        }
        None => "within the limit".to_owned(),
    }
}

fn condition_text(condition: &Condition) -> String {
    let role = match condition.role {
        Role::Guard => "guard",
        Role::Exclusion => "exclusion",
    };
    // Values are whole thousandths, so above 4.999 was written as `at_least = 5`.
    let Milli(limit) = condition.limit;
    let (side, limit) = match condition.direction {
        Direction::Above if limit.rem_euclid(10) == 9 => ("at least", limit + 1),
        Direction::Above => ("above", limit),
        Direction::Below if limit.rem_euclid(10) == 1 => ("at most", limit - 1),
        Direction::Below => ("below", limit),
    };
    let of = match condition.origin {
        Origin::Device => format!("{} of this device", statistic_name(condition.statistic)),
        Origin::Site => "any device at the site".to_owned(),
    };
    format!(
        "{role} {} {side} {} ({of}, within {})",
        condition.quantity,
        Milli(limit),
        span(condition.within_ms)
    )
}

fn matter_text(matter: &Matter, pack: &Pack) -> String {
    let department = pack.department_of(matter);
    format!(
        "    matter {} {} {}\n    department {} {}, level {}, to be handled within {} h\n",
        matter.code,
        matter.name_zh,
        matter.name_en,
        department.id,
        department.name_zh,
        matter.level,
        matter.deadline_h
    )
}

fn not_considered(pack: &Pack, site: &Site, reading: &Reading) -> String {
    let mut text = String::new();
    let of_quantity = pack.rules().iter().filter(|rule| rule.quantity() == reading.quantity);
    let elsewhere: Vec<_> = of_quantity.filter(|rule| !rule.applies_at(site)).collect();
    let names = |rules: &[&PackRule]| {
        let mut names: Vec<_> = rules.iter().take(NAMED_MAX).map(|rule| rule.id.to_string()).collect();
        if rules.len() > NAMED_MAX {
            names.push(format!("and {} more", rules.len() - NAMED_MAX));
        }
        names.join(", ")
    };
    if !elsewhere.is_empty() {
        let _ = writeln!(
            text,
            "\nnot for a {} site of area class {}: {}",
            site.kind,
            site.area_class,
            names(&elsewhere)
        );
    }
    let others = pack.rules().iter().filter(|rule| rule.quantity() != reading.quantity).count();
    let _ = writeln!(text, "of other quantities: {others} rules");
    text
}

fn periods(pack: &Pack, site: &Site, at: UnixMillis) -> String {
    let periods = pack.periods_for(site);
    let on =
        (PeriodId::DAY.0..PERIODS_MAX).map(PeriodId).filter(|id| periods.is_active(*id, at) == Some(true));
    let names: Vec<_> = on.map(|id| pack.period_name(id).to_owned()).collect();
    names.join(", ")
}

fn local(at: UnixMillis, site: &Site) -> String {
    let zone = TimeZone::get(&site.time_zone).unwrap_or(TimeZone::UTC);
    Timestamp::from_millisecond(at.0)
        .map(|at| format!("{} {}", at.to_zoned_datetime(zone).strftime("%F %T"), site.time_zone))
        .unwrap_or_default()
}

fn span(ms: u32) -> String {
    format!("{:#}", SignedDuration::from_millis(i64::from(ms)))
}
