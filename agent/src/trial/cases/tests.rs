use std::path::Path;

use super::*;

fn sample() -> (Pack, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let text = std::fs::read_to_string(folder.join("tests.toml")).unwrap();
    (Pack::load(&folder).unwrap(), text)
}

#[test]
fn the_samples_cases_are_as_expected() {
    let (pack, text) = sample();
    let cases = read(&text, &pack).unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let outcome = case.run(&pack);
        assert!(outcome.is_as_expected(), "{}: {:#?}", case.name(), outcome.lines);
    }
}

#[test]
fn what_is_not_as_expected_stands_beside_what_is() {
    let (pack, text) = sample();
    let other = text.replacen("severity = 2", "severity = 1", 1);
    let outcome = read(&other, &pack).unwrap()[0].run(&pack);
    assert!(!outcome.is_as_expected());
    let marks: Vec<_> = outcome.lines.iter().map(|line| &line[..2]).collect();
    assert_eq!(marks, ["  ", "  ", "- ", "+ ", "  ", "  "], "{:#?}", outcome.lines);
    assert_eq!(outcome.lines[2], "- exceeded severity 1 (expected, did not happen)");
    let happened = &outcome.lines[3];
    assert!(
        happened.contains("exceeded rule construction-noise-night matter 0102003 at 2026-11-22 23:")
            && happened.contains("severity 2")
            && happened.ends_with("(happened, not expected)"),
        "{happened}"
    );
}

#[test]
fn a_case_that_is_wrong_is_named_with_the_way_out() {
    let (pack, text) = sample();
    let said = |from: &str, to: &str| {
        assert!(text.contains(from), "the test's own text: {from}");
        read(&text.replacen(from, to, 1), &pack).unwrap_err().to_string()
    };
    // The line is that of the value, as an editor counts.
    for (from, to, what) in [
        ("site = \"PS-0001\"", "site = \"PS-9\"", "site: there is no device at site `PS-9`; name a site"),
        ("site = \"PS-0001\"", "", "it needs a device or a site: add"),
        ("2026-11-22T23:00:00+08:00", "23:00", "start: `23:00` is no time; write it as"),
        ("\"LAeq\"", "\"LAek\"", "reading 1: quantity: `LAek` is not a known quantity"),
        ("every = \"1s\"", "every = \"0s\"", "reading 1: every: it must be at least 1ms"),
        ("to = \"10min\"", "to = \"999999h\"", "reading 1: to: these are more than 1000000 readings"),
        ("phase = \"early-warning\"", "phase = \"warning\"", "expected event 1: phase: it is early-warning"),
        ("construction-noise-night", "construction-noise-nite", "did you mean `construction-noise-night`?"),
        ("listen = \"2h\"", "", "say for how long, as `listen"),
        ("listen = \"2h\"", "listen = \"1h\"", "listen: there are readings after its end"),
        ("listen = \"2h\"", "listen = \"999h\"", "not last longer than 32 days"),
        ("value = 48", "valeu = 48", "valeu"),
        ("value = 48", "value = nan", "value: NaN is out of range"),
        ("value = 48", "value = \"loud\"", "expected a number"),
    ] {
        let error = said(from, to);
        assert!(error.contains(what), "{what}: {error}");
        // What is not there has no line: what needs it is named.
        if !to.is_empty() {
            let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
            assert!(error.starts_with(&format!("{line}:")), "line {line}: {error}");
        }
    }
    assert!(read("", &pack).unwrap_err().to_string().contains("[[case]]"));
}

#[test]
fn who_is_silent_is_told_at_the_second_and_only_while_the_gateway_listens() {
    let (pack, _) = sample();
    let lines = |listen: &str, readings: &str| {
        let text = format!(
            "[[case]]\nname = \"one\"\ndevice = \"677000000000000a\"\nstart = \"2026-11-23T09:00:00+08:00\"\n{listen}\nreadings = [{readings}]\nexpect = []\n"
        );
        read(&text, &pack).unwrap()[0].run(&pack).lines
    };
    assert_eq!(lines("", ""), [""; 0], "nobody listens");
    assert_eq!(lines("listen = \"29min\"", ""), [""; 0]);
    // The device spoke some time before.
    let said = lines("listen = \"2h\"", "");
    let [silent] = &said[..] else { panic!("{said:?}") };
    assert!(
        silent.starts_with("+ fault rule device-silent matter 0901001 at 2026-11-23 09:30:00 (30m)")
            && silent.contains("nothing heard since 2026-11-23 09:00:00, device 677000000000000a"),
        "{silent}"
    );
    let each = r#"{ quantity = "temperature", from = "0s", to = "2h", every = "30min", value = 18 }"#;
    let said = lines("listen = \"119min\"", each);
    assert_eq!(said, [""; 0], "a reading in the second in which it would be told is in time");
    let other = r#"{ device = "6770000000000001", quantity = "LAeq", at = "5min", value = 40 }"#;
    let said = lines("listen = \"1h\"", other);
    assert_eq!(said.len(), 2, "each device of the case: {said:?}");
}
