//! The project's acoustic test cases, on the host.

use std::path::Path;

use anyhow::Result;
use gridpost_tests::metrology::{
    board::{Beside, OnBoard},
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

/// Two cases of each kind; `metrology --qemu` runs all.
#[test]
fn the_microcontroller_measures_the_same() -> Result<()> {
    let Some(board) = OnBoard::new(Format::F32)? else { return Ok(()) };
    let mut cases = cases()?;
    let all = cases.clone();
    cases.retain(|case| {
        let mut same = all.iter().filter(|other| other.kind == case.kind);
        same.position(|other| other.id == case.id).is_some_and(|index| index < 2)
    });
    let measured =
        |rows: Vec<Row>| -> Vec<_> { rows.into_iter().map(|row| (row.id, row.measured)).collect() };
    let on_board = measured(check::check_all(&cases, &board)?);
    assert!(on_board.len() > 60);
    assert_eq!(on_board, measured(check::check_all(&cases, &Host(Format::F32))?), "to the last bit");
    Ok(())
}

#[test]
fn the_meter_costs_at_most_120_instructions_per_sample() -> Result<()> {
    let Some(board) = OnBoard::new(Format::I24)? else { return Ok(()) };
    let mut state = 1u32;
    let noise: Vec<f64> = (0..96_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state) / 4_294_967_296.0 - 0.5
        })
        .collect();
    let instructions = board.instructions_per_sample(&noise, Beside::default())?;
    assert!(instructions <= 120.0, "{instructions}");
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
        ("\"end_s\": 2", "\"end_s\": 3", "case one.measure.end_s: beyond the end of the signal"),
        ("\"level_db\": 94", "\"level_db\": 9400", "case one.generator: no such sound"),
        ("{\"LAeq\": 94}", "{}", "case one.expected: nothing is expected"),
        ("\"one\"", "\"o\\u001bne\"", "case number 0.id: has control characters"),
        (
            "\"sine\"",
            "\"burst_train\", \"count\": 1e15, \"period_s\": 0",
            "case one.generator.count: above 10000",
        ),
        (
            "\"sine\"",
            r#""log_multisine", "f_start_hz": 1e-300, "f_end_hz": 9, "lines_per_octave": 99, "slope_db_per_octave": 0"#,
            "case one.generator.lines_per_octave: above 10000 lines",
        ),
    ] {
        assert_eq!(complaint(text, from, to)?, expected);
    }
    // What would measure nothing, or something else, and say that all is well.
    let list = text.trim_start_matches("{\"cases\": ").trim_end_matches('}');
    let one = &list[1..list.len() - 1];
    for (text, expected) in [
        (r#"{"cases": []}"#.to_owned(), "the list `cases` is empty"),
        (format!("[{one}, {one}]"), "case one: the file has two of this id"),
        (
            format!(r#"{{"meta": {{"sample_rate_hz": 44100}}, "cases": [{one}]}}"#),
            "meta.sample_rate_hz: 44100, and this meter measures at 48000",
        ),
    ] {
        let said = complaint(&text, "", "")?;
        assert!(said.ends_with(expected), "{said}");
    }
    Ok(())
}
