//! Files as they come: from other systems and editors, with what does not belong there, or with hardly anything.

use super::*;

#[test]
fn a_missing_folder_is_one_error_and_says_what_belongs_there() {
    let errors = Pack::load(Path::new("no/such/folder")).unwrap_err();
    assert_eq!(errors.count(), 1);
    let said = errors.to_string();
    assert!(
        said.contains("no/such/folder: the folder cannot be read") && said.contains("put pack.toml, "),
        "{said}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(Pack::load(&file).unwrap_err().to_string().contains("Cargo.toml: is no folder"));
}

#[test]
fn lines_are_those_that_an_editor_shows() {
    for (end, before) in [("\n", ""), ("\r\n", ""), ("\r", ""), ("\r\n", "\u{feff}"), ("\r\n", "\r\n\r\n")] {
        let errors = with("departments.csv", |text| {
            let text = text.replace("区住房和建设局", "\"区住房\n和建设局\"").replace("data,区", "da/ta,区");
            format!("{before}{}", text.replace('\n', end))
        });
        let errors = errors.unwrap_err();
        let blank = before.matches("\r\n").count() as u64;
        let said: Vec<_> = errors
            .shown()
            .iter()
            .filter(|error| error.file == "departments.csv")
            .map(|error| (error.line.unwrap() - blank, error.field.clone().unwrap()))
            .collect();
        // The name of two lines is on the second and third.
        assert_eq!(said, [(2, "name_zh".to_owned()), (4, "id".to_owned())], "{end:?} {before:?}");
    }
}

#[test]
fn what_a_terminal_would_obey_is_refused_and_not_repeated() {
    let escape = "\u{1b}[2J";
    let cases = [
        ("departments.csv", "区住房和建设局", "区\u{1b}[2J局", "departments.csv:2: name_zh: "),
        ("sites.csv", "工地", "工\u{202e}地", "sites.csv:2: name_zh: "),
        ("sites.csv", ",c1,", ",c\u{7}1,", "sites.csv:2: cell: "),
        ("devices.csv", "S-1,noise", "S-1,no\u{9b}ise", "devices.csv:2: model: "),
        ("catalogue.csv", "建筑施工夜间噪声", "建筑\u{8}噪声", "catalogue.csv:4: name_zh: "),
        ("pack.toml", "\"test\"", "\"te\\u001b[2Jst\"", "pack.toml:2:8: name: "),
        ("rules.toml", "\"noise\"", "\"no\\nise\"", "rules.toml:7:9: group: "),
    ];
    for (file, from, to, place) in cases {
        let said = one(file, from, to);
        assert!(said.starts_with(place) && said.contains("control characters"), "{said}");
    }
    // Where a wrong text is quoted, it is quoted harmlessly.
    let said = said("sites.csv", "construction", &format!("con{escape}"));
    assert!(said.iter().all(|said| !said.contains('\u{1b}')), "{said:?}");
    let header = with("sites.csv", |text| text.replacen("cell", &format!("ce{escape}"), 1)).unwrap_err();
    assert!(!header.to_string().contains('\u{1b}'), "{header}");
    // A closing standard may be a list.
    let long = with("catalogue.csv", |text| {
        text.replacen("code:12345", "closing_zh", 1).replacen("N-17", "\"一\n二\"", 1)
    });
    assert_eq!(long.unwrap().matter("0102003").unwrap().closing_zh, "一\n二");
}

#[test]
fn a_date_of_installation_is_a_date() {
    let with_date = |date: &str| {
        with("devices.csv", |_| {
            format!(
                "device,site,model,installed\n6770000000000001,S-1,noise,{date}\n6770000000000002,S-2,noise,\n"
            )
        })
    };
    assert_eq!(with_date("2026-02-28").unwrap().devices()[0].installed, "2026-02-28");
    for bad in ["2026-02-30", "28.2.2026", "2026/02/28", "20260228", "2026-02-28T10:00", "soon"] {
        let said = with_date(bad).unwrap_err().to_string();
        assert!(said.contains(&format!("devices.csv:2: installed: `{bad}` is not a date")), "{said}");
        assert!(said.contains("2026-01-15"), "{said}");
    }
}

#[test]
fn what_is_allowed_and_hardly_meant_is_noted() {
    let notes = |file: &str, change: &dyn Fn(&str) -> String| {
        let pack = with(file, change).unwrap();
        pack.notes().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(notes("", &str::to_owned), none);
    for empty in ["", "# nothing yet\n", "rule = []"] {
        let said = notes("rules.toml", &|_| empty.to_owned());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("rules.toml:1:1: rule: there is no rule"), "{said:?}");
        assert!(said[0].contains("[[rule]]"), "{said:?}");
    }
    let capture = notes("rules.toml", &|text| text.replace("group =", "min_capture = 0\ngroup ="));
    assert!(capture.len() == 1 && capture[0].starts_with("rules.toml:7:15: min_capture: "), "{capture:?}");
    let interval = notes("rules.toml", &|text| text.replace("group =", "interval = \"10min\"\ngroup ="));
    assert!(interval.len() == 1 && interval[0].starts_with("rules.toml:11:10: window: "), "{interval:?}");
    assert!(interval[0].contains("10m"), "{interval:?}");
    let days = notes("pack.toml", &|text| {
        format!("{text}[periods.noon]\nfrom = \"11:00\"\nto = \"13:00\"\ndays = []\n")
    });
    assert!(days.len() == 1 && days[0].starts_with("pack.toml:9:8: days: the list is empty"), "{days:?}");
}

#[test]
fn a_quotation_that_does_not_end_swallows_no_rows() {
    // The last column's text may have lines, so that the rows that follow would be one.
    let errors = with("catalogue.csv", |text| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[0].push_str(",closing_zh");
        for (index, line) in lines.iter_mut().enumerate().skip(1) {
            line.push_str(if index == 2 { ",\"复测" } else { ",复测" });
        }
        lines.join("\n")
    });
    let said = errors.unwrap_err().to_string();
    assert!(said.contains("catalogue.csv:3: the quotation that begins here does not end"), "{said}");
}

#[test]
fn what_an_office_is_likely_to_write_is_told_what_to_write() {
    let degrees = one("sites.csv", "114.3461,22.6908", "22.6908,114.3461");
    assert!(degrees.contains("lat: `114.3461`") && degrees.contains("Exchange lon and lat"), "{degrees}");
    let zone = one("sites.csv", "Asia/Shanghai", "Asia/Beijing");
    assert!(zone.contains("write Asia/Shanghai"), "{zone}");
    let hours = one("catalogue.csv", ",2,N-17", ",２,N-17");
    assert!(hours.contains("deadline_h: `２`") && hours.contains("half-width: 2"), "{hours}");
}

#[test]
fn a_day_that_is_the_night_or_has_none_is_noted_and_none_begins_at_24() {
    let notes = |from: &str, to: &str| {
        let day = format!("\n[periods.day]\nfrom = \"{from}\"\nto = \"{to}\"\n");
        with("pack.toml", |text| format!("{text}{day}"))
            .map(|pack| pack.notes().iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert!(notes("06:00", "22:00").unwrap().is_empty());
    assert!(notes("22:00", "06:00").unwrap()[0].contains("is this the night?"));
    assert!(notes("00:00", "24:00").unwrap()[0].contains("no rule by night"));
    assert!(notes("24:00", "06:00").unwrap_err().to_string().contains("begins at 24:00"));
}
