//! Codes that look alike, limits in another unit, and mistakes that would be said twice.

use super::*;

#[test]
fn codes_that_people_do_not_tell_apart_are_refused() {
    assert_eq!(
        one(
            "catalogue.csv",
            "matter,0901006,",
            "matter,n-1,,数据,,data,district,1,\nmatter,N-1,,数据,,data,district,1,\nmatter,0901006,"
        ),
        "catalogue.csv:6: code: `N-1` differs from `n-1` on line 5 by case alone; remove one of the two, or correct its code"
    );
    assert_eq!(
        said("catalogue.csv", "matter,0901006,", "matter,０９０１００６,")[0],
        "catalogue.csv:5: code: `０９０１００６` cannot stand in a topic; write it in half-width: 0901006"
    );
}

#[test]
fn a_limit_in_another_unit_is_said_once() {
    let limit = |text: &str| one("rules.toml", "above = \"boundary\"", &format!("above = {text}"));
    let expected = "rules.toml:11:9: above: 55000 dB is no limit for LAeq; write it in the quantity's own unit, from 10 to 200 dB";
    assert_eq!(limit("55000"), expected);
    assert!(limit("\"55 dB\"").contains("`55 dB` is a text, and no number; write the number alone"));
    // In a table it is said at the first rule that uses it.
    let table = one("rules.toml", "night = 50", "night = 50000");
    assert!(
        table.contains("limit table `boundary`, area class") && table.contains("night: 50000 dB"),
        "{table}"
    );
    let text = one("rules.toml", "night = 50", "night = \"50 dB\"");
    assert!(text.ends_with("write it without quotes and without a unit"), "{text}");
}

#[test]
fn what_is_wrong_with_a_period_is_not_said_of_its_rules_too() {
    let wrong = [
        ("version = 3", "version = 0", "pack.toml:3:11: version"),
        (
            "lost_records",
            "[periods.quiet]\nfrom = \"25:00\"\nto = \"06:00\"\n[x]\nlost_records",
            "pack.toml:6:8: from",
        ),
    ];
    for (from, to, expected) in wrong {
        let (pack, rules) = (PACK.replace(from, to), RULES.replace("\"night\"\nsites", "\"quiet\"\nsites"));
        let files = [&pack, DEPARTMENTS, CATALOGUE, SITES, DEVICES, &rules];
        let files: Vec<_> = FILES.into_iter().zip(files.map(str::as_bytes)).collect();
        let errors = Pack::from_files(&files).unwrap_err().to_string();
        assert!(errors.contains(expected) && !errors.contains("rules.toml"), "{errors}");
    }
}

#[test]
fn a_circle_of_groups_is_said_by_those_in_it_alone() {
    let said = said("catalogue.csv", "group,01,,噪声管理", "group,01,01,噪声管理");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("catalogue.csv:2: parent: the group is its own parent"), "{said:#?}");
}

#[test]
fn names_that_terminals_would_obey_are_refused_wherever_they_stand() {
    for (file, from, to) in [
        ("catalogue.csv", "code:12345", "code:\u{1b}[2J"),
        ("rules.toml", "[limits.boundary]", "[limits.\"a\\u001b\"]\n\"2\" = 60\n[limits.boundary]"),
        ("rules.toml", "[\"construction\"]", "[\"construction\\u001b\"]"),
        ("pack.toml", "lost_records", "overlays = [\"a\\u001b[2J\"]\nlost_records"),
    ] {
        let said = one(file, from, to);
        assert!(said.contains("control characters, which terminals would obey"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}
