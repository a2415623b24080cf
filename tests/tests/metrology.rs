//! The project's acoustic test cases, on the host.

use std::path::Path;

use anyhow::Result;
use gridpost_tests::metrology::{
    board::{Beside, OnBoard},
    case,
    check::{self, Host, Row},
    filters,
    measure::{Filters, Format, Measured},
    report, signal, tables,
    window::measure_window,
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/acoustics_vectors.json");

fn cases() -> Result<Vec<case::Case>> {
    case::read(Path::new(DATA))
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
    assert_eq!(complaint(text, "{\"cases\"", "\u{feff}{\"cases\"")?, "no complaint");
    let three = "LAeq_minus_LCeq_minus_LZeq";
    for (from, to, expected) in [
        ("noise", "nose", r#"case one.kind: unknown kind "nose""#),
        ("\"sine\"", "\"sinus\"", r#"case one.generator.type: unknown type "sinus""#),
        ("\"freq_hz\": 1000, ", "", "case one.generator.freq_hz: missing"),
        ("\"level_db\": 94", "\"level_db\": \"94\"", "case one.generator.level_db: not a number"),
        ("[\"LAeq\"]", "[\"LXeq\"]", r#"case one.measure.quantities: unknown quantity "LXeq""#),
        ("{\"LAeq\": 94}", "{\"LAfoo\": 94}", "case one.tolerance_db.LAfoo: missing"),
        ("\"end_s\": 2", "\"end_s\": 1.00001", "case one.measure.end_s: not a sample after start_s"),
        ("\"end_s\": 2", "\"end_s\": 3", "case one.measure.end_s: beyond the end of the signal"),
        ("\"level_db\": 94", "\"level_db\": 9400", "case one.generator: no such sound"),
        ("{\"LAeq\": 94}", "{}", "case one.expected: nothing is expected"),
        ("\"one\"", "\"o\\u001bne\"", "case number 0.id: has control characters"),
        ("\"one\"", &format!("{:?}", "x".repeat(70_000)), "case number 0.id: not of 1 to 200 characters"),
        ("1000", "47000", "case one.generator.freq_hz: not above 0 and below 24000 Hz"),
        ("[-1, 1]", "[null, null]", "case one.tolerance_db.LAeq: limits nothing"),
        (
            "[-1, 1]",
            "[1, -1]",
            "case one.tolerance_db.LAeq: the first, which is the lower limit, is above the second",
        ),
        (
            "[-1, 1]",
            "[-1, 1], \"LCeq\": [-1, 1]",
            "case one.tolerance_db.LCeq: no such value is expected: add its value to expected, or take this out",
        ),
        (
            "[\"LAeq\"]",
            &format!("[{three:?}]"),
            &format!("case one.measure.quantities: unknown quantity {three:?}: a difference is of two"),
        ),
        (
            "\"sine\"",
            r#""stepped_sine_durations", "levels_db": [60, 70], "durations_s": [3, -1]"#,
            "case one.generator.durations_s: below 0 s, or together above 3600 s",
        ),
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
        assert_eq!(complaint(text, from, to)?, expected, "{from} {to}");
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
        (
            format!(r#"{{"meta": {{"reference_pressure_pa": 1e-6}}, "cases": [{one}]}}"#),
            "meta.reference_pressure_pa: 1e-6, and this meter tells levels re 0.00002",
        ),
    ] {
        let said = complaint(&text, "", "")?;
        assert!(said.ends_with(expected), "{said}");
    }
    Ok(())
}

/// Whose A level a click would drown, as where a signal is cut in mid-swing; in levels that the tone has had before the window too.
#[test]
fn a_window_need_not_be_whole_ticks() -> Result<()> {
    let mut signal = signal::sine(19.952_623_149_688_79, 110.0, 4.0037);
    signal.iter_mut().take(signal::samples(0.5)).for_each(|sample| *sample *= 10.0);
    let filters = Filters { octaves: false, thirds: true };
    for (start, end, tolerance) in
        [(2.0, 4.0, 0.1), (2.0, 3.9931, 0.1), (1.7071, 4.0037, 0.2), (3.0, 3.0503, 0.3), (3.9, 3.905, 3.0)]
    {
        let Measured { window, ticks, thirds, .. } =
            measure_window(&Host(Format::F32), &signal, start, end, filters)?;
        let near = |level: f32, expected: f32, name: &str| {
            assert!((level - expected).abs() < tolerance, "{start} to {end}: {name} {level}, not {expected}");
        };
        near(window.laeq(), 59.548, "LAeq");
        near(window.lceq(), 103.76, "LCeq");
        near(window.lae(), 59.548 + 10.0 * ((end - start) as f32).log10(), "LAE");
        near(window.lafmax(), 59.7, "LAFmax");
        near(window.lafmin(), 59.3, "LAFmin");
        near(thirds[0], 110.0, "the third-octave of 20 Hz");
        if end - start > 0.05 {
            near(window.lcpeak(), 106.77, "LCpeak");
        }
        assert_eq!(window.samples, (signal::samples(end) - signal::samples(start)) as u64);
        assert_eq!(ticks.len(), (window.samples as usize).div_ceil(480));
    }
    Ok(())
}

#[test]
fn what_is_beyond_the_range_is_told() -> Result<()> {
    let mut cases = cases()?;
    cases.retain(|case| case.id == "lin_1000Hz_120dB");
    let told = |format| -> Result<_> { Ok(report::table(&check::check_all(&cases, &Host(format))?)) };
    assert!(!told(Format::I24)?.contains("overload"));
    // The same a thousandfold, which no converter takes.
    let text = std::fs::read_to_string(DATA)?.replace("\"level_db\": 120.0", "\"level_db\": 180.0");
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("cases.json"), text)?;
    cases = case::read(&folder.path().join("cases.json"))?;
    cases.retain(|case| case.id == "lin_1000Hz_120dB");
    let said = report::table(&check::check_all(&cases, &Host(Format::I24))?);
    assert!(said.contains("FAIL, overload"), "{said}");
    Ok(())
}
