//! `[[silence]]`: what is taken, to whom it applies, and what is said of mistakes.

use super::*;
use crate::id::DeviceId;

const SILENCES: &str = r#"
[[silence]]
id = "no-word"
matter = "0901006"
after = "30min"

[[silence]]
id = "no-level"
matter = "0901006"
quantity = "LAeq"
after = "5min"
sites = ["construction"]
"#;

#[test]
fn a_silence_applies_to_devices_and_to_what_they_are_said_to_measure() {
    let applies = |devices: &str| {
        let texts =
            [PACK, DEPARTMENTS, CATALOGUE, SITES, devices, &(RULES.to_owned() + SILENCES)].map(str::to_owned);
        let files: Vec<_> = FILES.into_iter().zip(texts.iter().map(|text| text.as_bytes())).collect();
        let pack = Pack::from_files(&files).unwrap();
        let device = pack.device(DeviceId(0x6770_0000_0000_0001)).unwrap();
        let of = |index: usize| pack.silences()[index].applies_to(device, pack.site_of(device));
        assert_eq!((pack.silences()[0].after_ms, pack.silences()[0].quantity), (1_800_000, None));
        (of(0), of(1))
    };
    let (head, row) = ("device,site,model,decides,measures\n6770000000000001,", "noise,");
    assert_eq!(applies(DEVICES), (true, false), "nobody says that it measures a level");
    assert_eq!(applies(&format!("{head}S-1,{row}gateway,LAeq\n")), (true, true));
    assert_eq!(applies(&format!("{head}S-2,{row}gateway,LAeq\n")), (true, false), "a road");
    assert_eq!(applies(&format!("{head}S-1,{row}device,LAeq\n")), (true, false), "it sends no readings");
}

#[test]
fn a_silence_changes_the_digest_and_without_one_it_is_as_before() {
    let silent = with("rules.toml", |text| text.to_owned() + SILENCES).unwrap();
    assert_ne!(silent.digest(), right().digest());
    let other = with("rules.toml", |text| text.to_owned() + &SILENCES.replace("30min", "31min")).unwrap();
    assert_ne!(silent.digest(), other.digest());
}

#[test]
fn mistakes_are_named_with_the_way_out() {
    let said = |from: &str, to: &str| {
        let errors = with("rules.toml", |text| {
            let silences = SILENCES.replacen(from, to, 1);
            assert_ne!(silences, SILENCES, "the test's own text: {from}");
            text.to_owned() + &silences
        })
        .unwrap_err();
        let said: Vec<_> = errors.shown().iter().map(PackError::to_string).collect();
        assert_eq!(said.len(), 1, "{said:#?}");
        said.into_iter().next().unwrap()
    };
    for (from, to, what) in [
        ("after = \"30min\"", "", "after = \"30min\""),
        ("30min", "5s", "this must be 2m to"),
        ("0901006", "0901007", "there is no matter `0901007`"),
        ("no-word", "night", "`night` is the id of the rule on line"),
        ("LAeq", "LAek", "there is no quantity `LAek`"),
        ("after = \"5min\"", "after = \"5min\"\nabove = 3", "there is no such key"),
        ("[\"construction\"]", "[]", "the list is empty"),
    ] {
        let said = said(from, to);
        assert!(said.contains(what) && said.contains("rules.toml:"), "{what}: {said}");
    }
}
