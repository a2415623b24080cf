//! Files that are broken, or made to break what reads them.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const BOOK: &str = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const ROOT: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;

/// A workbook of one sheet, with what stands in `worksheet` and these shared texts.
fn book(sheet: &str, shared: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let sheet = format!("<worksheet>{sheet}</worksheet>");
    for (name, content) in [
        ("_rels/.rels", ROOT),
        ("xl/workbook.xml", BOOK),
        ("xl/_rels/workbook.xml.rels", RELATIONS),
        ("xl/worksheets/sheet1.xml", &sheet),
        ("xl/sharedStrings.xml", shared),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn texts(texts: &[&str]) -> String {
    let texts: String = texts.iter().map(|text| format!("<si><t>{text}</t></si>")).collect();
    format!("<sst>{texts}</sst>")
}

fn said(bytes: &[u8]) -> String {
    import(bytes, Departments::default(), &Options::default()).unwrap_err().to_string()
}

const HEADER: &str = "编码,一级事项,二级事项,事项名称,主管部门,实施层级,办理时限\n";

#[test]
fn references_that_run_backwards_or_lead_nowhere() {
    let cases = [
        (r#"<sheetData/><mergeCells><mergeCell ref="B5:A1"/></mergeCells>"#, "region `B5:A1`"),
        (r#"<dimension ref="C3:A1"/><sheetData/>"#, "region `C3:A1`"),
        (r#"<dimension ref="A1:B2:C3"/><sheetData/>"#, "region `A1:B2:C3`"),
        (r#"<sheetData><row r="99999999999"/></sheetData>"#, "no row `99999999999`"),
        (r#"<sheetData><row r="1"><c r="ZZZZZZZZ1"/></row></sheetData>"#, "no cell `ZZZZZZZZ1`"),
        (r#"<sheetData><row r="1"><c r="A0"/></row></sheetData>"#, "no cell `A0`"),
        (r#"<sheetData><row r="1"><c r="XFE1"/></row></sheetData>"#, "no cell `XFE1`"),
    ];
    for (sheet, what) in cases {
        let said = said(&book(sheet, &texts(&["x"])));
        assert!(said.starts_with("xl/worksheets/sheet1.xml") && said.contains(what), "{said}");
        assert!(said.contains("save it again"), "{said}");
    }
    let shared = r#"<sst uniqueCount="18446744073709551615"><si><t>x</t></si></sst>"#;
    let said = said(&book("<sheetData/>", shared));
    assert!(said.contains("sharedStrings.xml: says that it holds 18446744073709551615 texts"), "{said}");
}

#[test]
fn a_text_that_is_not_there_is_not_taken_for_the_first() {
    for number in ["-1", "7", "1x", "99999999999999999999"] {
        let sheet = format!(
            r#"<sheetData><row r="3"><c r="B3" t="s"><v>0</v></c><c r="C3" t="s"><v>{number}</v></c></row></sheetData>"#
        );
        let said = said(&book(&sheet, &texts(&["x"])));
        assert!(said.contains("cell C3: names the shared text") && said.contains(number), "{said}");
    }
}

#[test]
fn a_text_counts_as_often_as_cells_say_it() {
    let long = "长".repeat(CELL_CHARS_MAX);
    let mut sheet = String::from("<sheetData>");
    for row in 1..=2000 {
        write!(sheet, r#"<row r="{row}"><c r="A{row}" t="s"><v>0</v></c></row>"#).unwrap();
    }
    let repeated = said(&book(&format!("{sheet}</sheetData>"), &texts(&[&long])));
    assert!(repeated.starts_with("row 1366: ") && repeated.contains("128 MiB of text"), "{repeated}");

    let mut sheet = String::from("<sheetData>");
    for row in 1..=2000 {
        let text = usize::from(row > 1);
        write!(sheet, r#"<row r="{row}"><c r="{}{row}" t="s"><v>{text}</v></c></row>"#, ["A", "B"][text])
            .unwrap();
    }
    sheet += r#"</sheetData><mergeCells><mergeCell ref="A1:A2000"/></mergeCells>"#;
    let merged = said(&book(&sheet, &texts(&[&long, "x"])));
    assert!(merged.contains("128 MiB of text"), "{merged}");

    let mut sheet = String::from(r#"<sheetData><row r="1">"#);
    for _ in 0..2000 {
        sheet += r#"<c r="A1" t="s"><v>0</v></c>"#;
    }
    let in_place = said(&book(&format!("{sheet}</row></sheetData>"), &texts(&[&long])));
    assert!(in_place.contains("128 MiB of text"), "{in_place}");
}

#[test]
fn many_regions_over_many_rows_and_wide_empty_rows_end() {
    let mut sheet = String::from("<sheetData>");
    for row in 1..=20_000 {
        write!(sheet, r#"<row r="{row}"><c r="A{row}"><v>1</v></c></row>"#).unwrap();
    }
    sheet += "</sheetData><mergeCells>";
    for _ in 0..400 {
        sheet += r#"<mergeCell ref="A1:A20000"/>"#;
    }
    let merged = said(&book(&format!("{sheet}</mergeCells>"), "<sst/>"));
    assert!(merged.contains("more than 4000000 cells, with merged and empty ones"), "{merged}");

    let row = format!("{}x\n", ",".repeat(COLUMNS_MAX - 1));
    let wide = said(row.repeat(CELLS_MAX / COLUMNS_MAX + 1).as_bytes());
    assert!(wide.contains("more than 4000000 cells"), "{wide}");

    // What is empty behind the last text takes no room.
    let text = format!("{HEADER},噪声,施工,甲,A局,区,1天{}\n", ",".repeat(1000));
    let imported = import(text.as_bytes(), Departments::default(), &Options::default()).unwrap();
    assert_eq!((imported.matters.len(), imported.problems.len()), (1, 0));
}

#[test]
fn a_text_of_many_megabytes_is_not_held_in_memory() {
    let text = " ".repeat(17 << 20);
    let sheet = format!(
        "<sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>{text}</t></is></c></row></sheetData>"
    );
    let long = said(&book(&sheet, "<sst/>"));
    assert!(
        long.starts_with("xl/worksheets/sheet1.xml, cell A1: has a text that is longer than any list"),
        "{long}"
    );
}

#[test]
fn a_long_name_is_not_filled_down() {
    let long = "长".repeat(30_000);
    let text = format!("{HEADER},{long},施工,甲,A局,区,1天\n{}", ",,,乙,A局,区,1天\n".repeat(2000));
    let imported = import(text.as_bytes(), Departments::default(), &Options::default()).unwrap();
    assert_eq!((imported.matters.len(), imported.bad_rows), (0, 2001));
    let said = imported.problems[0].to_string();
    assert!(said.contains("more than 200 characters") && said.contains("shorten it"), "{said}");
    assert!(said.chars().count() < 400, "{said}");
}

#[test]
fn what_is_no_text_is_said_by_line_and_way_out() {
    let row = ",噪声管理,施工噪声,夜间施工噪声,区住建局,街道,2小时\n";
    let gb = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let big5 = |text: &str| encoding_rs::BIG5.encode(text).0.into_owned();
    let utf_16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases = [
        (format!("{HEADER}{row},a\0b\n").into_bytes(), "line 3: there is a NUL"),
        (utf_16, "line 1: "),
        ([HEADER.as_bytes(), &gb(row)].concat(), "line 1: is UTF-8, and line 2 is not"),
        ([gb(HEADER), row.into()].concat(), "line 2: is UTF-8, and line 1 is not"),
        (big5("編碼,一級事項,事項名稱,主管部門,實施層級,辦理時限\n"), "line 1: is not UTF-8"),
    ];
    for (bytes, what) in cases {
        let said = said(&bytes);
        assert!(said.starts_with(what) && said.contains("save the list as `CSV UTF-8`"), "{said}");
    }
    let told = Options { encoding: Some(Encoding::Gb18030), ..Options::default() };
    let told = |bytes: &[u8]| import(bytes, Departments::default(), &told).unwrap_err().to_string();
    assert!(told(&big5("編碼,一級事項\n")).contains("no header"), "taken as it is told");
    let mixed = told(&[gb(HEADER), b"\xff\n".to_vec()].concat());
    assert!(mixed.starts_with("line 2: the text is neither UTF-8 nor GB18030"), "{mixed}");
}

#[test]
fn a_quotation_mark_that_is_missing_is_found_where_it_begins() {
    let rows = ",噪声,施工,乙,A局,区,1天\n".repeat(3);
    let open = said(format!("{HEADER},噪声,施工,\"甲,A局,区,1天\n{rows}").as_bytes());
    assert!(open.starts_with("line 2: the quotation that begins here does not end"), "{open}");
    let paired = format!("{HEADER},噪声,施工,\"甲,A局,区,1天\n{rows},噪声,施工,\"丙\",A局,区,1天\n");
    let paired = said(paired.as_bytes());
    assert!(paired.starts_with("line 2: ") && paired.contains("ends in line 6"), "{paired}");
    let sound = format!("{HEADER},噪声,\"施\n\"\"工\"\" \" ,甲 \"x,A局,区,1天\n");
    let imported = import(sound.as_bytes(), Departments::default(), &Options::default()).unwrap();
    assert_eq!(
        (imported.matters[0].path[1].as_str(), imported.matters[0].name_zh.as_str()),
        ("施 \"工\"", "甲 \"x")
    );
}

#[test]
fn a_line_of_millions_of_delimiters_is_not_split() {
    let commas = ",".repeat(ELEMENTS_MAX + 1);
    let said = said(format!("{HEADER}{commas}\n").as_bytes());
    assert!(said.starts_with("line 2: ") && said.contains("clear the columns"), "{said}");
}

#[test]
fn a_formula_without_its_value_is_not_taken_for_an_empty_cell() {
    let sheet = |cell: &str| {
        format!(
            r#"<sheetData><row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2"{cell}</c></row></sheetData>"#
        )
    };
    for cell in ["><f>B2&amp;1</f>", "><f>B2&amp;1</f><v/>", "><f>B2&amp;1</f><v></v>", r#" t="n"><f/>"#] {
        let said = said(&book(&sheet(cell), &texts(&["编码"])));
        assert!(
            said.starts_with(
                "xl/worksheets/sheet1.xml, cell A2: is a formula whose value is not in the file"
            ),
            "{said}"
        );
    }
    // With its value, or with a text that is empty, it is a cell as any other.
    for cell in
        ["><f>1+1</f><v>2</v>", r#" t="str"><f>B2</f><v></v>"#, "><v>2</v>", r#" t="e"><f>B2</f><v>#N/A</v>"#]
    {
        let said = said(&book(&sheet(cell), &texts(&["编码"])));
        assert!(said.contains("no header was found"), "{said}");
    }
}
