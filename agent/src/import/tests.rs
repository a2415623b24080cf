use gridpost_protocol::pack::Pack;
use rust_xlsxwriter::{Format, Workbook};

use super::*;

const SITES: &str = include_str!("../../sample/sites.csv");
const DEVICES: &str = include_str!("../../sample/devices.csv");

/// The pack that an import's files make, with the sample's places and no rules.
fn pack(imported: &Imported) -> Pack {
    let lost = &imported.matters[0].code;
    let manifest = format!("name = \"p\"\nversion = 1\ndivision = \"440310\"\nlost_records = \"{lost}\"\n");
    let catalogue = write::catalogue(imported).unwrap();
    let departments = write::departments(&imported.departments).unwrap();
    Pack::from_files(&[
        ("pack.toml", manifest.as_bytes()),
        ("departments.csv", &departments),
        ("catalogue.csv", &catalogue),
        ("sites.csv", SITES.as_bytes()),
        ("devices.csv", DEVICES.as_bytes()),
        ("rules.toml", b""),
    ])
    .unwrap_or_else(|errors| panic!("{errors}"))
}

fn csv(text: &str) -> Imported {
    import(text.as_bytes(), Departments::default(), &Options::default()).unwrap()
}

fn unreadable(bytes: &[u8], options: &Options) -> String {
    import(bytes, Departments::default(), options).unwrap_err().to_string()
}

const HEADER: &str = "编码,一级事项,二级事项,事项名称,主管部门,实施层级,办理时限\n";

#[test]
fn a_workbook_with_titles_merged_cells_and_full_width_digits() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.merge_range(0, 0, 0, 7, "某区责任清单(样例)", &Format::new()).unwrap();
    let header =
        ["序号", "一级事项", "二级事项", "事项名称", "责任部门", "实施层级", "办理时限(工作日)", "12345编码"];
    for (column, text) in header.iter().enumerate() {
        sheet.write(1, column as u16, *text).unwrap();
    }
    sheet.merge_range(2, 1, 4, 1, "噪声管理", &Format::new()).unwrap();
    sheet.merge_range(2, 2, 3, 2, "施工噪声", &Format::new()).unwrap();
    sheet.write(4, 2, "社会生活噪声").unwrap();
    sheet.merge_range(2, 4, 3, 4, "区住房和建设局", &Format::new()).unwrap();
    sheet.write(4, 4, "区城管局").unwrap();
    for (row, (name, level, days)) in
        [("昼间 施工噪声", "街道", "2"), ("夜间施工噪声", "街道级", "1"), ("商铺噪声", "区级", "0.5")]
            .into_iter()
            .enumerate()
    {
        let row = row as u32 + 2;
        sheet.write(row, 0, row - 1).unwrap();
        sheet.write(row, 3, name).unwrap();
        sheet.write(row, 5, level).unwrap();
        sheet.write(row, 6, days).unwrap();
    }
    let bytes = book.save_to_buffer().unwrap();
    let told = Options {
        columns: vec![("12345编码".to_owned(), Field::Crosswalk("12345".to_owned()))],
        ..Options::default()
    };
    let imported = import(&bytes, Departments::default(), &told).unwrap();
    assert_eq!(imported.problems, []);
    let said: Vec<_> = imported
        .matters
        .iter()
        .map(|m| (m.code.as_str(), m.name_zh.as_str(), m.department.as_str(), m.deadline_h))
        .collect();
    assert_eq!(
        said,
        [
            ("0101001", "昼间 施工噪声", "dept-001", 48),
            ("0101002", "夜间施工噪声", "dept-001", 24),
            ("0102001", "商铺噪声", "dept-002", 12)
        ]
    );
    let groups: Vec<_> = imported.groups.iter().map(|g| (g.code.as_str(), g.name_zh.as_str())).collect();
    assert_eq!(groups, [("01", "噪声管理"), ("0101", "施工噪声"), ("0102", "社会生活噪声")]);
    let pack = pack(&imported);
    let matter = pack.matter("0101002").unwrap();
    assert_eq!(
        (matter.level_1(), matter.level_2(), pack.department_of(matter).name_zh.as_str()),
        ("01", "0101", "区住房和建设局")
    );
}

#[test]
fn gb18030_and_utf_8_with_a_mark_say_the_same() {
    let text = format!(
        "{HEADER}0102003,噪声管理,施工噪声,夜间施工噪声,区住建局,街道,2小时\n,,,昼间施工噪声,区住建局,街道,1天\n"
    );
    let (gb, ..) = encoding_rs::GB18030.encode(&text);
    let gb = import(&gb, Departments::default(), &Options::default()).unwrap();
    let utf_8 = csv(&format!("\u{feff}{text}"));
    assert_eq!((gb.source.as_str(), utf_8.source.as_str()), ("CSV in GB18030", "CSV in UTF-8"));
    assert_eq!(gb.matters, utf_8.matters);
    let codes: Vec<_> = gb.matters.iter().map(|m| (m.code.as_str(), m.parent.as_str())).collect();
    assert_eq!(
        codes,
        [("0102003", "0102"), ("0102001", "0102")],
        "groups' codes are those in the matters' codes"
    );
    pack(&gb);
}

#[test]
fn english_headers_and_levels_whose_deepest_is_the_matter() {
    let imported = csv(
        "Level 1;Level 2;Level 3;Department;Implementation level;Deadline (hours);code:city\n\
         Noise;Building;By night;housing;sub-district;2;C-1\n;;By day;housing;district;24;C-2\nDust;Road dust;;urban;city;48;\n",
    );
    let said: Vec<_> = imported
        .matters
        .iter()
        .map(|m| (m.path.join("/"), m.name_zh.as_str(), m.crosswalk[0].as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("Noise/Building".to_owned(), "By night", "C-1"),
            ("Noise/Building".to_owned(), "By day", "C-2"),
            ("Dust".to_owned(), "Road dust", "")
        ]
    );
    let pack = pack(&imported);
    assert_eq!(pack.matter("0101001").unwrap().crosswalk, [("city".to_owned(), "C-1".to_owned())]);
}

#[test]
fn what_is_not_usable_is_said_by_row_column_and_way_out() {
    let cases = [
        (",噪声,施工,甲,A局、B局,区,1天", "主管部门", "2 departments", "配合部门"),
        (",噪声,施工,甲,A局\u{ff0c}B局,区,1天", "主管部门", "2 departments", "配合部门"),
        (",噪声,施工,甲,,区,1天", "主管部门", "empty", "fill it in"),
        (",噪声,施工,甲,A局,区级和街道,1天", "实施层级", "not one level", "区级"),
        (",噪声,施工,甲,A局,区,48", "办理时限", "no unit", "--deadline-unit"),
        (",噪声,施工,甲,A局,区,尽快", "办理时限", "not a deadline", "48h"),
        (",噪声,施工,甲,A局,区,0小时", "办理时限", "out of range", "1 to"),
        (",噪声,施工,,A局,区,1天", "事项名称", "no name", "fill it in"),
        ("a/b,噪声,施工,甲,A局,区,1天", "编码", "`a/b`", "clear it"),
        ("X1,噪声,施工,甲,A局,区,1天", "编码", "row 2 already", "correct one"),
    ];
    for (row, column, what, way_out) in cases {
        let imported = csv(&format!("{HEADER}x1,噪声,施工,乙,A局,区,1天\n{row}\n"));
        assert_eq!((imported.problems.len(), imported.bad_rows, imported.matters.len()), (1, 1, 1), "{row}");
        let said = imported.problems[0].to_string();
        assert!(said.starts_with(&format!("row 3, {column}: ")), "{said}");
        assert!(said.contains(what) && said.contains(way_out), "{said}");
        assert_eq!(imported.departments.list().len(), 1, "{said}");
    }
}

#[test]
fn rows_are_counted_as_an_editor_does() {
    let header = HEADER.trim();
    let text = format!("{header}\r\n\r\n,a,b,\"甲\r\n乙\",A局,区,1天\r\n,a,b,丙,A局,区,?\r\n");
    let imported = csv(&text);
    assert_eq!((imported.matters[0].row, imported.matters[0].name_zh.as_str()), (3, "甲 乙"));
    assert_eq!(imported.problems[0].row, 5);
}

#[test]
fn departments_keep_the_ids_that_they_have() {
    let there =
        Departments::read("id,name_zh,name_en\nhousing,区住建局,Housing\ndept-007,某局,\n".as_bytes())
            .unwrap();
    let text = format!("{HEADER},a,b,甲,新局,区,1天\n,a,b,乙,区住建局,区,1天\n,a,b,丙,housing,区,1天\n");
    let imported = import(text.as_bytes(), there, &Options::default()).unwrap();
    let ids: Vec<_> = imported.matters.iter().map(|matter| matter.department.as_str()).collect();
    assert_eq!(ids, ["dept-008", "housing", "housing"]);
    assert_eq!(imported.departments.list().len(), 3);
}

#[test]
fn files_that_are_no_list() {
    let none = Options::default();
    assert!(unreadable(b"", &none).contains("no header"));
    assert!(unreadable(b"PK\x03\x04rubbish", &none).contains("cannot be read as a workbook"));
    assert!(unreadable(&[0xd0, 0xcf, 0x11, 0xe0, 0], &none).contains("save it as .xlsx"));
    assert!(unreadable(&[0xff, 0x00, 0x80, 0x81, 0xff], &none).contains("neither UTF-8 nor GB18030"));
    assert!(
        unreadable("编码,事项名称,实施层级,办理时限\n".as_bytes(), &none).contains("department (主管部门)")
    );
    let twice = unreadable(format!("责任部门,{HEADER}").as_bytes(), &none);
    assert!(
        twice.contains("`责任部门`") && twice.contains("`主管部门`") && twice.contains("--column"),
        "{twice}"
    );
    let mut book = Workbook::new();
    book.add_worksheet().write(0, 300, "x").unwrap();
    let bytes = book.save_to_buffer().unwrap();
    assert!(unreadable(&bytes, &none).contains("beyond column 256"));
    let other = Options { sheet: Some("清单".to_owned()), ..Options::default() };
    assert!(unreadable(&bytes, &other).contains("its sheets are Sheet1"));
}

#[test]
fn codes_that_a_workbook_keeps_as_numbers() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (column, text) in HEADER.trim().split(',').enumerate() {
        sheet.write(0, column as u16, text).unwrap();
    }
    sheet.write(1, 0, 102_003).unwrap();
    for (column, text) in ["噪声", "施工", "甲", "A局", "区", "1天"].iter().enumerate() {
        sheet.write(1, column as u16 + 1, *text).unwrap();
    }
    let bytes = book.save_to_buffer().unwrap();
    let imported = import(&bytes, Departments::default(), &Options::default()).unwrap();
    assert!(
        imported.matters[0].code == "102003" && imported.notes[0].contains("--code-digits"),
        "{:?}",
        imported.notes
    );
    let told = Options { code_digits: Some(7), ..Options::default() };
    let imported = import(&bytes, Departments::default(), &told).unwrap();
    assert_eq!((imported.matters[0].code.as_str(), imported.matters[0].parent.as_str()), ("0102003", "0102"));
}

#[test]
fn a_hundred_thousand_matters() {
    let mut text = HEADER.to_owned();
    for number in 0..100_000 {
        let (first, second) = (number / 5000, number / 500);
        text += &format!(",一{first},二{second},事项{number},部门{},区,1天\n", number % 40);
    }
    let imported = csv(&text);
    assert_eq!((imported.matters.len(), imported.groups.len(), imported.problems.len()), (100_000, 220, 0));
    assert_eq!(pack(&imported).matters().len(), 100_000);
}

#[test]
fn a_list_on_another_sheet_and_what_is_no_list_at_all_say_what_to_do() {
    let mut book = Workbook::new();
    book.add_worksheet().set_name("说明").unwrap().write(0, 0, "本表说明").unwrap();
    let sheet = book.add_worksheet().set_name("清单").unwrap();
    for (column, text) in HEADER.trim().split(',').enumerate() {
        sheet.write(0, column as u16, text).unwrap();
        sheet.write(1, column as u16, ["0102003", "噪声", "施工", "甲", "A局", "区", "1天"][column]).unwrap();
    }
    book.add_worksheet().set_name("秘密").unwrap().set_hidden(true);
    let bytes = book.save_to_buffer().unwrap();
    let said = unreadable(&bytes, &Options::default());
    assert!(said.starts_with("sheet `说明`: no header was found"), "{said}");
    assert!(said.ends_with("where another sheet has the list, name it with --sheet: 清单"), "{said}");
    let told = Options { sheet: Some("清单".to_owned()), ..Options::default() };
    assert_eq!(import(&bytes, Departments::default(), &told).unwrap().matters.len(), 1);

    for (bytes, what) in [(&b"%PDF-1.4"[..], "is a PDF,"), (b"\r\n<!DOCTYPE html><table>", "is a web page,")]
    {
        let said = unreadable(bytes, &Options::default());
        assert!(said.starts_with(what) && said.contains("save it as .xlsx"), "{said}");
    }
}

#[test]
fn english_headers_as_offices_write_them() {
    let imported = csv("Category,Subcategory,Matter,Department,Level,Deadline,Closing standard\n\
                        Noise,Building,Piling,Housing,district,2 h,checked\n");
    assert_eq!((imported.groups.len(), imported.matters[0].closing_zh.as_str()), (2, "checked"));
}
