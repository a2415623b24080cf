//! A list that comes again: codes stay with their matters.

use super::*;

const HEADER: &str = "一级事项,二级事项,事项名称,主管部门,实施层级,办理时限\n";
const FIRST: &str = "噪声,施工,打桩,住建局,区,2小时\n噪声,施工,夜间施工,住建局,区,2小时\n噪声,商业,音响,城管局,区,2小时\n扬尘,道路,积尘,城管局,区,2小时\n";

fn list(rows: &str, earlier: Option<&Imported>) -> Imported {
    let earlier = earlier.map(|before| Earlier::read(&write::catalogue(before).unwrap()).unwrap());
    let options = Options { earlier, ..Options::default() };
    let departments = "id,name_zh\nhousing,住建局\nurban,城管局\n".as_bytes();
    import(format!("{HEADER}{rows}").as_bytes(), Departments::read(departments).unwrap(), &options).unwrap()
}

fn codes(imported: &Imported) -> Vec<(&str, &str)> {
    imported.matters.iter().map(|entry| (entry.name_zh.as_str(), entry.code.as_str())).collect()
}

#[test]
fn rows_put_in_between_and_moved_keep_their_codes_and_new_ones_get_new_codes() {
    let first = list(FIRST, None);
    assert_eq!(
        codes(&first),
        [("打桩", "0101001"), ("夜间施工", "0101002"), ("音响", "0102001"), ("积尘", "0201001")]
    );
    let again = list(
        "扬尘,道路,积尘,城管局,区,2小时\n扬尘,工地,裸土,住建局,区,2小时\n噪声,施工,新塔吊,住建局,区,2小时\n\
         噪声,施工, 夜间 施工,住建局,区,2小时\n噪声,商业,音响,城管局,区,2小时\n噪声,施工,打桩,住建局,区,2小时\n",
        Some(&first),
    );
    assert_eq!(
        codes(&again),
        [
            ("积尘", "0201001"),
            ("裸土", "0202001"),
            ("新塔吊", "0101003"),
            ("夜间 施工", "0101002"),
            ("音响", "0102001"),
            ("打桩", "0101001")
        ]
    );
    assert!(again.notes.contains(&"row 3: `裸土` is new and got 0202001".to_owned()), "{:#?}", again.notes);
    assert!(again.notes.contains(&"4 codes stay as they were, 2 are new".to_owned()), "{:#?}", again.notes);
    assert_eq!(again.retired, []);
}

#[test]
fn a_code_that_is_gone_is_never_given_again_and_comes_back_with_its_matter() {
    let first = list(FIRST, None);
    let second = list(&FIRST.replace("噪声,施工,夜间施工,住建局,区,2小时\n", ""), Some(&first));
    assert_eq!(second.retired.iter().map(|old| old.code.as_str()).collect::<Vec<_>>(), ["0101002"]);
    let third =
        list(&FIRST.replace("夜间施工", "混凝土浇筑").replace("道路,积尘", "工地,裸土"), Some(&second));
    assert_eq!(
        codes(&third),
        [("打桩", "0101001"), ("混凝土浇筑", "0101003"), ("音响", "0102001"), ("裸土", "0202001")]
    );
    let fourth = list(FIRST, Some(&third));
    assert_eq!(codes(&fourth), codes(&first));
    let retired: Vec<_> = fourth.retired.iter().map(|old| old.code.as_str()).collect();
    assert_eq!(retired, ["0202", "0101003", "0202001"]);
}

#[test]
fn what_moved_or_was_renamed_is_left_to_a_person() {
    let first = list(FIRST, None);
    let said = |rows: &str, expected: &[&str]| {
        let again = list(rows, Some(&first));
        let notes = again.notes.join("\n");
        assert!(expected.iter().all(|part| notes.contains(part)), "{expected:?}\n{notes}");
    };
    said(
        &FIRST.replace("噪声,商业,音响", "噪声,施工,音响"),
        &[
            "row 4: `音响` is new and got 0101003; that is gone from where it was: 0102001 `噪声 / 商业 / 音响`",
            "write that code into this row",
        ],
    );
    said(
        &FIRST.replace("夜间施工", "夜间作业"),
        &[
            "row 3: `夜间作业` is new and got 0101003; and of its group is gone: 0101002 `噪声 / 施工 / 夜间施工`",
        ],
    );
    // And the person does.
    let given = format!("编码,{HEADER}").replace('\n', "") + "\n";
    let rows: String = FIRST.lines().map(|row| format!(",{row}\n")).collect();
    let rows = rows.replace(",噪声,施工,夜间施工", "0101002,噪声,施工,夜间作业");
    let earlier = Earlier::read(&write::catalogue(&first).unwrap()).unwrap();
    let options = Options { earlier: Some(earlier), ..Options::default() };
    let again = import(format!("{given}{rows}").as_bytes(), Departments::default(), &options).unwrap();
    assert_eq!(codes(&again)[1], ("夜间作业", "0101002"));
    assert_eq!(again.retired, []);
    assert!(
        again.notes.iter().any(|note| note.starts_with("row 3: 0101002 was `噪声 / 施工 / 夜间施工` before"))
    );
}

#[test]
fn a_group_under_another_name_is_known_by_its_matters() {
    let first = list(FIRST, None);
    let again = list(&FIRST.replace(",施工,", ",建筑施工,"), Some(&first));
    assert_eq!(codes(&again), codes(&first));
    assert!(
        again.notes.iter().any(|note| note.starts_with("group 0101 was `施工` before; `建筑施工` has most")),
        "{:#?}",
        again.notes
    );
    // One matter alone, or one that every group has, makes no group the same.
    let other = list(&FIRST.replace("商业,", "交通,"), Some(&first));
    assert_eq!(codes(&other)[2], ("音响", "0103001"));
}

#[test]
fn what_is_there_twice_is_told_apart_by_its_department_or_not_at_all() {
    let twice = "噪声,施工,其他,住建局,区,2小时\n噪声,施工,其他,城管局,区,2小时\n";
    let first = list(twice, None);
    let swapped = "噪声,施工,其他,城管局,区,2小时\n噪声,施工,其他,住建局,区,2小时\n";
    let again = list(swapped, Some(&first));
    assert_eq!(codes(&again), [("其他", "0101002"), ("其他", "0101001")]);
    let third = list(&twice.replace("城管局", "住建局"), Some(&first));
    assert_eq!(codes(&third), [("其他", "0101003"), ("其他", "0101004")]);
    assert!(third.notes.iter().any(|note| note.contains("there twice")), "{:#?}", third.notes);
}

#[test]
fn a_given_code_that_was_anothers_is_refused() {
    let first = list(FIRST, None);
    let earlier = Earlier::read(&write::catalogue(&first).unwrap()).unwrap();
    let rows =
        format!("编码,{HEADER},噪声,施工,打桩,住建局,区,2小时\n0101001,噪声,施工,吊装,住建局,区,2小时\n");
    let options = Options { earlier: Some(earlier), ..Options::default() };
    let again = import(rows.as_bytes(), Departments::default(), &options).unwrap();
    let said = again.problems[0].to_string();
    assert!(said.starts_with("row 3: `0101001` was the code of `打桩` before, which is row 2 now"), "{said}");
}

#[test]
fn what_is_no_catalogue_is_said_by_line() {
    let said = |text: &str| Earlier::read(text.as_bytes()).unwrap_err().to_string();
    assert!(said("a,b\n").contains("no columns kind, code"));
    assert!(
        said("kind,code,parent,name_zh\nmatter,1,,a\nmatter,1,,b\n")
            .starts_with("line 3: code: `1` is there already")
    );
    assert!(said("kind,code,parent,name_zh\nx,1,,a\n").starts_with("line 2: kind"));
    // A circle ends.
    let circle = Earlier::read(
        "kind,code,parent,name_zh\ngroup,01,02,a\ngroup,02,01,b\nmatter,01001,01,c\n".as_bytes(),
    );
    let options = Options { earlier: Some(circle.unwrap()), ..Options::default() };
    import(format!("{HEADER}{FIRST}").as_bytes(), Departments::default(), &options).unwrap();
}
