//! The files that the agent reads: its configuration, keys, a district's list, packs, and what rule authors write.

use std::path::Path;
use std::sync::LazyLock;

use gridpost_agent::config::Config;
use gridpost_agent::import::{Departments, Earlier, Options, import, write};
use gridpost_agent::keys::Keys;
use gridpost_agent::pack::container::{BODY_BYTES_MAX, PACK_FILE_BYTES_MAX, PackFiles};
use gridpost_agent::pack::envelope;
use gridpost_agent::pack::source::Loaded;
use gridpost_agent::pack::trust::{Anchor, Trust};
use gridpost_agent::spool::Progress;
use gridpost_agent::trial::{Trial, cases, given};
use gridpost_firmware::provision::{IDENTITY_BYTES, Identity};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{FILES, Pack};
use sha2::{Digest as _, Sha256};

/// A name, and what it does with the bytes.
type Target = (&'static str, fn(&[u8]));

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    ("gridpost_toml", gridpost_toml),
    ("keys_toml", keys_toml),
    ("import_csv", import_csv),
    ("import_xlsx", import_xlsx),
    ("import_earlier", import_earlier),
    ("import_departments", import_departments),
    ("overlay", overlay),
    ("pack_file", pack_file),
    ("pack_body", pack_body),
    ("minisig", minisig),
    ("tests_toml", tests_toml),
    ("readings_csv", readings_csv),
    ("mark", mark),
    ("identity", identity),
];

/// The sample district's files.
const SAMPLE: [(&str, &[u8]); 6] = [
    ("pack.toml", include_bytes!("../../../agent/sample/pack.toml")),
    ("departments.csv", include_bytes!("../../../agent/sample/departments.csv")),
    ("catalogue.csv", include_bytes!("../../../agent/sample/catalogue.csv")),
    ("sites.csv", include_bytes!("../../../agent/sample/sites.csv")),
    ("devices.csv", include_bytes!("../../../agent/sample/devices.csv")),
    ("rules.toml", include_bytes!("../../../agent/sample/rules.toml")),
];

fn sample_file(name: &str) -> &'static [u8] {
    SAMPLE.iter().find(|(have, _)| *have == name).map_or(&[], |(_, bytes)| *bytes)
}

/// The sample district.
static DISTRICT: LazyLock<Pack> = LazyLock::new(|| Pack::from_files(&SAMPLE).expect("the sample is a pack"));

/// What is shown on a terminal does not command it.
fn harmless(text: &str) {
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

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
            harmless(&said);
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
    import_with(data, Departments::default(), Options::default());
}

/// The catalogue that an earlier import wrote: codes that it gave stay.
fn import_earlier(data: &[u8]) {
    match Earlier::read(data) {
        Ok(earlier) => {
            let options = Options { earlier: Some(earlier), ..Options::default() };
            import_with(LIST, Departments::default(), options);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// The departments that were there before.
fn import_departments(data: &[u8]) {
    match Departments::read(data) {
        Ok(departments) => import_with(LIST, departments, Options::default()),
        Err(error) => drop(error.to_string()),
    }
}

/// A list that is good by itself.
const LIST: &[u8] = include_bytes!("../corpus/import_csv/utf8");

fn import_with(data: &[u8], departments: Departments, options: Options) {
    let Ok(imported) = import(data, departments, &options) else { return };
    for problem in &imported.problems {
        let said = problem.to_string();
        assert!(!said.chars().any(|c| c.is_control()), "{said:?}");
    }
    if imported.bad_rows > 0 || imported.matters.is_empty() {
        return;
    }
    let catalogue = write::catalogue(&imported).expect("memory can be written to");
    let departments = write::departments(&imported.departments).expect("memory can be written to");
    let files = FILES.map(|name| {
        let bytes = match name {
            "catalogue.csv" => catalogue.as_slice(),
            "departments.csv" => departments.as_slice(),
            _ => sample_file(name),
        };
        (name, bytes)
    });
    // Rules and the pack's own matters are the sample's, and need not be in this list.
    if let Err(errors) = Pack::from_files(&files) {
        let of_list = |file: &str| file == "catalogue.csv" || file == "departments.csv";
        let wrong = errors.shown().iter().find(|error| of_list(&error.file));
        assert!(wrong.is_none(), "{}", wrong.map(ToString::to_string).unwrap_or_default());
    }
}

/// The list of an upper level: what it makes of the sample is a pack, or what does not agree is said.
fn overlay(data: &[u8]) {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    std::fs::write(folder.path().join("catalogue.csv"), data).expect("it can be written to");
    let mut loaded = Loaded::from_bytes(include_bytes!("../corpus/pack_file/sample")).expect("it is a pack");
    if let Err(error) = loaded.overlay(Path::new("district"), folder.path()) {
        harmless(&error.to_string());
    }
}

/// A pack as one file, with its signature or without.
fn pack_file(data: &[u8]) {
    let (signature, pack) = envelope::open(data);
    if let Some(signature) = signature {
        let closed = envelope::close(Some(signature), pack);
        assert_eq!(envelope::open(&closed).1, pack, "a pack is what it was behind its signature");
    }
    match Loaded::from_bytes(data) {
        Ok(loaded) => {
            let again = Loaded::from_bytes(&loaded.to_bytes().expect("what was read can be written"));
            assert_eq!(again.expect("and read again").files, loaded.files);
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// What lies in a pack behind header and digest, which are right here: the files, not packed yet when the first byte is even.
fn pack_body(data: &[u8]) {
    let Some((&[packed, low, high, ..], body)) = data.split_first_chunk::<4>() else { return };
    let (body, stream) = if packed.is_multiple_of(2) {
        (body.to_vec(), miniz_oxide::deflate::compress_to_vec(body, 1))
    } else {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let body = miniz_oxide::inflate::decompress_to_vec_with_limit(body, length).unwrap_or_default();
        (body, data[4..].to_vec())
    };
    let mut file = b"gridpost-pack 1\n".to_vec();
    for length in [stream.len(), body.len()] {
        file.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    file.extend_from_slice(&Sha256::digest(&body));
    file.extend_from_slice(&stream);
    assert!(file.len() <= PACK_FILE_BYTES_MAX && body.len() <= BODY_BYTES_MAX);
    match PackFiles::from_bytes(&file) {
        Ok(files) => {
            let again = files.to_bytes().expect("what was read can be written");
            assert_eq!(PackFiles::from_bytes(&again).expect("and read again"), files);
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// A pack that is signed, and whose key is known.
const SIGNED: &[u8] = include_bytes!("../corpus/pack_file/signed");
const KEY: &str = "RWQL1MzImshFgWQ31bMlvXfx16DBbkB2tt3/mBkScTVk0ZSnanUp59ie";

/// A signature: one by another key, or of something else, is none.
fn minisig(data: &[u8]) {
    static TRUST: LazyLock<Trust> = LazyLock::new(|| {
        let anchor = Anchor::read(KEY, Path::new("/")).expect("it is a key");
        Trust { anchors: vec![anchor], allow_unsigned: false }
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (good, pack) = envelope::open(SIGNED);
    match TRUST.verify(pack, Some(text)) {
        Ok(_) => {
            let mut signed = good.unwrap_or_default().lines().skip(1);
            // The first comment is not signed, and what follows the signature is no part of it.
            assert!(
                text.lines().skip(1).zip(&mut signed).all(|(is, was)| is.trim() == was),
                "nobody guesses a signature: {text:?}"
            );
            assert_eq!(signed.next(), None);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// Cases of rule authors. Those that are not long are run.
fn tests_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match cases::read(text, &DISTRICT) {
        Ok(cases) => {
            let readings: usize = cases.iter().map(cases::Case::readings).sum();
            assert!(readings <= cases::FILE_READINGS_MAX);
            if readings <= 5_000 && !text.contains("listen") {
                for case in cases {
                    let _ = case.run(&DISTRICT).is_as_expected();
                }
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

/// Readings to be explained: a CSV file, or with a `=` in its first line that line as on the command line.
fn readings_csv(data: &[u8]) {
    let device = DeviceId(0x6770_0000_0000_0001);
    let mut readings = Vec::new();
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let read = match std::str::from_utf8(line) {
        Ok(line) if line.contains('=') => given::one(line, device, &mut readings),
        _ => given::rows(data, Some(device), &mut readings),
    };
    assert!(readings.len() <= given::READINGS_MAX + 1);
    if let Err(error) = read {
        assert!(!error.is_empty());
        return;
    }
    readings.sort_by_key(|(at, ..)| *at);
    let mut trial = Trial::new(&DISTRICT);
    for (at, device, reading) in readings.iter().take(5_000) {
        let _ = trial.take(*device, *at, reading);
    }
}

/// The mark beside a spool.
fn mark(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(progress) = Progress::parse(text) {
        assert_eq!(Progress::parse(&progress.text()), Some(progress), "a mark is what it was");
    }
}

/// Who a node is, in its flash.
fn identity(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<IDENTITY_BYTES>() else { return };
    match Identity::decode(bytes) {
        Ok(identity) => assert_eq!(Identity::decode(&identity.encode()), Ok(identity)),
        Err(error) => drop(error.to_string()),
    }
}
