//! The sample district, built in: the demo needs no files.

use gridpost_protocol::pack::{Pack, PackErrors};

/// The files of `agent/sample`.
const FILES: &[(&str, &[u8])] = &[
    ("pack.toml", include_bytes!("../../sample/pack.toml")),
    ("departments.csv", include_bytes!("../../sample/departments.csv")),
    ("catalogue.csv", include_bytes!("../../sample/catalogue.csv")),
    ("sites.csv", include_bytes!("../../sample/sites.csv")),
    ("devices.csv", include_bytes!("../../sample/devices.csv")),
    ("rules.toml", include_bytes!("../../sample/rules.toml")),
];

/// The sample district's pack.
///
/// # Errors
/// When the sample is not sound, which a test excludes.
pub fn pack() -> Result<Pack, PackErrors> {
    Pack::from_files(FILES)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sample_is_sound_and_says_that_it_is_one() {
        let pack = super::pack().unwrap();
        assert!(pack.is_sample);
        assert!(pack.devices().len() >= 8 && pack.rules().len() >= 12);
    }
}
