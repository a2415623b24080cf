//! Two periods that are on together are noted where both would make an event of one noise, and nowhere else.

use super::*;

const PERIODS: &str = r#"
[periods.evening]
from = "19:00"
to = "23:00"

[periods.examination]
from = "06:00"
to = "22:00"
dates = ["2026-06-07/2026-06-10"]
"#;

/// A rule about sound in this period; its group and sites in `more`.
fn rule(id: &str, during: &str, more: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nmatter = \"0102003\"\nquantity = \"LAeq\"\nabove = 55\nduring = \"{during}\"\n{more}\n"
    )
}

/// The notes of a pack with these rules.
fn notes(rules: &[String]) -> Vec<String> {
    let (pack, rules) = (format!("{PACK}{PERIODS}"), rules.concat());
    let files = [&pack, DEPARTMENTS, CATALOGUE, SITES, DEVICES, &rules];
    let files: Vec<_> = FILES.into_iter().zip(files.map(str::as_bytes)).collect();
    let pack = Pack::from_files(&files).unwrap();
    pack.notes().iter().map(ToString::to_string).collect()
}

#[test]
fn two_special_periods_that_overlap_are_noted_with_their_rules() {
    assert_eq!(
        notes(&[rule("a", "evening", ""), rule("b", "examination", "")]),
        [
            "rules.toml:8:1: during: periods `evening` and `examination` overlap from 19:00 to 22:00, on some day at least: rules \
             `a` and `b` both decide then; put them into one group, the stricter one first, so that one noise makes one event"
        ]
    );
}

#[test]
fn a_special_period_within_the_day_or_the_night_is_noted_too() {
    let day = notes(&[rule("a", "day", ""), rule("b", "examination", "")]);
    assert!(
        day.len() == 1 && day[0].contains("`day` and `examination` overlap from 06:00 to 22:00"),
        "{day:#?}"
    );
    let night = notes(&[rule("a", "night", ""), rule("b", "evening", "")]);
    assert!(
        night.len() == 1 && night[0].contains("`night` and `evening` overlap from 22:00 to 23:00"),
        "{night:#?}"
    );
    assert_eq!(notes(&[rule("a", "night", ""), rule("b", "examination", "")]), [""; 0], "never at night");
    assert_eq!(notes(&[rule("a", "day", ""), rule("b", "night", "")]), [""; 0]);
}

#[test]
fn one_group_other_places_and_other_quantities_are_no_overlap() {
    let group = "group = \"noise\"";
    assert_eq!(notes(&[rule("a", "evening", group), rule("b", "examination", group)]), [""; 0]);
    let (road, works) = ("sites = [\"road\"]", "sites = [\"construction\"]");
    assert_eq!(notes(&[rule("a", "evening", road), rule("b", "examination", works)]), [""; 0]);
    let other = rule("b", "examination", "").replace("LAeq", "LAFmax");
    assert_eq!(notes(&[rule("a", "evening", ""), other]), [""; 0]);
    // Of two groups both speak.
    assert_eq!(notes(&[rule("a", "evening", group), rule("b", "examination", "group = \"other\"")]).len(), 1);
}

#[test]
fn a_note_is_in_chinese_too_and_dates_that_are_turned_round_are_told_how_to_stand() {
    let rules = [rule("a", "evening", ""), rule("b", "day", "")].concat();
    let (pack, evening) = (format!("{PACK}{PERIODS}"), PERIODS.replace("07/2026-06-10", "10/2026-06-07"));
    let load = |pack: &str| {
        let files = [pack, DEPARTMENTS, CATALOGUE, SITES, DEVICES, &rules];
        let files: Vec<_> = FILES.into_iter().zip(files.map(str::as_bytes)).collect();
        Pack::from_files(&files)
    };
    let (pack, turned) = (load(&pack).unwrap(), load(&format!("{PACK}{evening}")).unwrap_err());
    let chinese = pack.notes()[0].chinese();
    assert!(
        chinese.contains(": during: 时段 `day` 与 `evening` 至少在某一天的 19:00 至 22:00 重叠"),
        "{chinese}"
    );
    assert!(chinese.contains("规则 `a` 与 `b`") || chinese.contains("规则 `b` 与 `a`"), "{chinese}");
    let said = turned.to_string();
    let expected =
        "dates: `2026-06-10/2026-06-07` ends before it begins; write it as \"2026-06-07/2026-06-10\"";
    assert!(said.contains(expected), "{said}");
}
