//! The project's acoustic test cases, on the host.

use std::path::Path;

use anyhow::Result;
use gridpost_tests::metrology::{
    case,
    check::{self, Host, Row},
    filters,
    measure::Format,
    report, tables,
};

fn cases() -> Result<Vec<case::Case>> {
    case::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/acoustics_vectors.json"))
}

#[test]
fn all_cases_are_within_tolerance() -> Result<()> {
    let rows = check::check_all(&cases()?, &Host(Format::F32))?;
    assert!(rows.len() > 300 && rows.iter().all(Row::passes), "{}", report::table(&rows));
    Ok(())
}

#[test]
fn a_24_bit_converter_is_enough() -> Result<()> {
    let mut cases = cases()?;
    cases.retain(|case| ["level_linearity", "toneburst", "c_peak"].contains(&case.kind.as_str()));
    let rows = check::check_all(&cases, &Host(Format::I24))?;
    assert!(rows.iter().all(Row::passes), "{}", report::table(&rows));
    Ok(())
}

#[test]
fn the_tables_are_within_class_1() -> Result<()> {
    let bench = Host(Format::I24);
    let mut all = tables::meter_tables(&bench)?;
    all.push(filters::octaves(&bench)?);
    all.push(filters::thirds(&bench)?);
    for table in all {
        assert!(table.passes(), "{}", table.text());
    }
    Ok(())
}

#[test]
fn what_is_not_understood_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let complaint = |text: &str, from: &str, to: &str| -> Result<String> {
        let path = folder.path().join("cases.json");
        std::fs::write(&path, text.replace(from, to))?;
        let checked = case::read(&path).and_then(|cases| check::check_all(&cases, &Host(Format::F32)));
        Ok(format!("{:#}", checked.err().unwrap_or_else(|| anyhow::anyhow!("no complaint"))))
    };
    let text = r#"{"cases": [{"id": "one", "kind": "noise",
        "generator": {"type": "sine", "freq_hz": 1000, "level_db": 94, "duration_s": 2},
        "measure": {"quantities": ["LAeq"], "start_s": 1, "end_s": 2},
        "expected": {"LAeq": 94}, "tolerance_db": {"LAeq": [-1, 1]}}]}"#;
    assert_eq!(complaint(text, "", "")?, "no complaint");
    for (from, to, expected) in [
        ("noise", "nose", r#"case one.kind: unknown kind "nose""#),
        ("\"sine\"", "\"sinus\"", r#"case one.generator.type: unknown type "sinus""#),
        ("\"freq_hz\": 1000, ", "", "case one.generator.freq_hz: missing"),
        ("\"level_db\": 94", "\"level_db\": \"94\"", "case one.generator.level_db: not a number"),
        ("[\"LAeq\"]", "[\"LXeq\"]", r#"case one.measure.quantities: unknown quantity "LXeq""#),
        ("{\"LAeq\": 94}", "{\"LAfoo\": 94}", "case one.tolerance_db.LAfoo: missing"),
        ("\"end_s\": 2", "\"end_s\": 1", "case one.measure.end_s: no window"),
    ] {
        assert_eq!(complaint(text, from, to)?, expected);
    }
    Ok(())
}
