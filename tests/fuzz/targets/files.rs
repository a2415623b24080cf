//! The files that the agent reads: its configuration, keys, and a district's list.

use std::path::Path;

use gridpost_agent::config::Config;
use gridpost_agent::import::{Departments, Options, import, write};
use gridpost_agent::keys::Keys;
use gridpost_protocol::pack::Pack;

/// A name, and what it does with the bytes.
type Target = (&'static str, fn(&[u8]));

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    ("gridpost_toml", gridpost_toml),
    ("keys_toml", keys_toml),
    ("import_csv", import_csv),
    ("import_xlsx", import_xlsx),
];

/// A secret that stands in the seeds of the corpus: no error repeats it.
const SECRET: &str = "hunter2";

/// `gridpost.toml`.
fn gridpost_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(Path::new("/etc/gridpost/gridpost.toml"), text) {
        Ok(config) => assert!(config.link.names().next().is_some(), "a gateway has a link"),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("/etc/gridpost/gridpost.toml: "), "{said}");
            assert!(!said.chars().any(|c| c.is_control()), "{said:?}");
        }
    }
}

/// The keys file.
fn keys_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Keys::parse(Path::new("keys.toml"), text) {
        Ok(keys) => keys.devices().for_each(|device| assert!(keys.get(device).is_some())),
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(SECRET) || !text.contains(SECRET), "{said}");
        }
    }
}

/// A list as CSV, whatever its encoding.
fn import_csv(data: &[u8]) {
    if !data.starts_with(b"PK") {
        import_any(data);
    }
}

/// A list as a workbook.
fn import_xlsx(data: &[u8]) {
    import_any(data);
}

/// What is taken over can be read by a pack, or the row that cannot is named.
fn import_any(data: &[u8]) {
    let Ok(imported) = import(data, Departments::default(), &Options::default()) else { return };
    for problem in &imported.problems {
        let said = problem.to_string();
        assert!(!said.chars().any(|c| c.is_control()), "{said:?}");
    }
    if imported.bad_rows > 0 || imported.matters.is_empty() {
        return;
    }
    let catalogue = write::catalogue(&imported).expect("memory can be written to");
    let departments = write::departments(&imported.departments).expect("memory can be written to");
    let sample = |name| match name {
        "catalogue.csv" => catalogue.as_slice(),
        "departments.csv" => departments.as_slice(),
        "pack.toml" => include_bytes!("../../../agent/sample/pack.toml"),
        "sites.csv" => include_bytes!("../../../agent/sample/sites.csv"),
        "devices.csv" => include_bytes!("../../../agent/sample/devices.csv"),
        _ => include_bytes!("../../../agent/sample/rules.toml"),
    };
    let files = gridpost_protocol::pack::FILES.map(|name| (name, sample(name)));
    // Rules and the pack's own matters are the sample's, and need not be in this list.
    if let Err(errors) = Pack::from_files(&files) {
        let of_list = |file: &str| file == "catalogue.csv" || file == "departments.csv";
        let wrong = errors.shown().iter().find(|error| of_list(&error.file));
        assert!(wrong.is_none(), "{}", wrong.map(ToString::to_string).unwrap_or_default());
    }
}
