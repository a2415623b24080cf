//! The files of a pack: one of them is the fuzzer's, the others are the sample district's.

use gridpost_protocol::pack::{FILES, Pack, PackErrors};

/// A name, and what it does with the bytes.
type Target = (&'static str, fn(&[u8]));

/// The targets: one a file.
pub(crate) const TARGETS: &[Target] = &[
    ("pack_toml", |data| with("pack.toml", data)),
    ("rules_toml", |data| with("rules.toml", data)),
    ("departments_csv", |data| with("departments.csv", data)),
    ("catalogue_csv", |data| with("catalogue.csv", data)),
    ("sites_csv", |data| with("sites.csv", data)),
    ("devices_csv", |data| with("devices.csv", data)),
];

macro_rules! sample {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../agent/sample/", $name)).as_slice())),*]
    };
}

const SAMPLE: [(&str, &[u8]); 6] =
    sample!("pack.toml", "departments.csv", "catalogue.csv", "sites.csv", "devices.csv", "rules.toml");

/// Loads the sample with this file in the place of its own.
fn with(file: &str, data: &[u8]) {
    let files = SAMPLE.map(|(name, sample)| (name, if name == file { data } else { sample }));
    match Pack::from_files(&files) {
        Ok(pack) => look_at(&pack),
        Err(errors) => look_at_errors(&errors),
    }
}

/// What loads can be used: all of it, for every device.
fn look_at(pack: &Pack) {
    for rule in pack.rules() {
        assert!(pack.matter_of(rule).is_some(), "rule {} has no owner", rule.id);
    }
    for matter in pack.matters() {
        let _ = pack.department_of(matter);
    }
    for device in pack.devices() {
        let _ = pack.periods_for(pack.site_of(device));
        let rules = pack.compile_for(device.id).expect("a device of the pack has rules, if none at all");
        for rule in rules.rules.iter() {
            rule.check().expect("what is compiled runs");
        }
        let _ = pack.share_for(device.id);
    }
    pack.notes().iter().for_each(|note| harmless(&note.to_string()));
    let _ = (pack.lost_records_matter(), pack.sensor_faults_matter(), pack.digest().short());
}

fn look_at_errors(errors: &PackErrors) {
    assert!(errors.count() > 0, "a pack that does not load says why");
    for error in errors.shown() {
        assert!(FILES.contains(&error.file.as_str()), "{error}");
        harmless(&error.to_string());
    }
}

/// An error is shown on a terminal, and must not command it.
fn harmless(text: &str) {
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
