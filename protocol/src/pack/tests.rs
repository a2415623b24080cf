//! What a district's clerk does wrong, and what they are told; and that the sample pack is right.

mod conditions;
mod inputs;
mod likeness;
mod overlaps;
mod shares;
mod silence;

use super::*;
use crate::engine::{BoxedEngine, Periods, Window};
use crate::rule::{PeriodId, Statistic};
use crate::time::UnixMillis;

const PACK: &str = r#"
name = "test"
version = 3
division = "440310"
lost_records = "0901006"
"#;

const DEPARTMENTS: &str = "id,name_zh,name_en
housing,区住房和建设局,Housing Bureau
data,区政务服务和数据管理局,Data Bureau
";

const CATALOGUE: &str = "kind,code,parent,name_zh,name_en,department,level,deadline_h,code:12345
group,01,,噪声管理,Noise,,,,
group,0102,01,建筑施工噪声,Construction noise,,,,
matter,0102003,0102,建筑施工夜间噪声,Construction noise at night,housing,sub-district,2,N-17
matter,0901006,,数据缺失,Data missing,data,district,48,
";

const SITES: &str = "site,name_zh,kind,area_class,division,cell,lon,lat,time_zone
S-1,工地,construction,2,440310,c1,114.3461,22.6908,Asia/Shanghai
S-2,道路,road,4a,440310002,c2,114.3399,22.6951,Asia/Shanghai
";

const DEVICES: &str = "device,site,model
6770000000000001,S-1,noise
6770000000000002,S-2,noise
";

const RULES: &str = r#"
[limits.boundary]
"2" = { day = 60, night = 50 }

[[rule]]
id = "night"
group = "noise"
matter = "0102003"
quantity = "LAeq"
window = "5min"
above = "boundary"
during = "night"
sites = ["construction"]
early_warning = 3
hold = "60s"
severity = [5, 10.5]
"#;

/// The files of a right pack, one of them changed.
fn with(name: &str, change: impl Fn(&str) -> String) -> Result<Pack, PackErrors> {
    let texts = [PACK, DEPARTMENTS, CATALOGUE, SITES, DEVICES, RULES];
    let texts: Vec<(&str, String)> = FILES
        .into_iter()
        .zip(texts)
        .map(|(file, text)| (file, if file == name { change(text) } else { text.to_owned() }))
        .collect();
    let files: Vec<_> = texts.iter().map(|(file, text)| (*file, text.as_bytes())).collect();
    Pack::from_files(&files)
}

fn right() -> Pack {
    with("", str::to_owned).unwrap()
}

/// What is said about a file in which `from` is replaced.
#[track_caller]
fn said(file: &str, from: &str, to: &str) -> Vec<String> {
    let errors = with(file, |text| {
        assert!(text.contains(from), "the test's own text: {from}");
        text.replacen(from, to, 1)
    })
    .unwrap_err();
    errors.shown().iter().map(PackError::to_string).collect()
}

/// What is said, when it is one thing.
#[track_caller]
fn one(file: &str, from: &str, to: &str) -> String {
    let said = said(file, from, to);
    assert_eq!(said.len(), 1, "{said:#?}");
    said.into_iter().next().unwrap()
}

#[test]
fn a_right_pack_answers_what_an_event_needs() {
    let pack = right();
    let matter = pack.matter("0102003").unwrap();
    assert_eq!((matter.level_1(), matter.level_2(), matter.deadline_h), ("01", "0102", 2));
    assert_eq!(
        (matter.level, matter.crosswalk[0].clone()),
        (Level::SubDistrict, ("12345".into(), "N-17".into()))
    );
    assert_eq!(pack.department_of(matter).id.as_str(), "housing");
    let unlevelled = pack.lost_records_matter();
    assert_eq!((unlevelled.level_1(), unlevelled.level_2(), unlevelled.crosswalk.len()), ("-", "-", 0));
    let site = pack.site_of(pack.device(DeviceId(0x6770_0000_0000_0001)).unwrap());
    assert_eq!(
        (site.area_class, site.kind, site.position.longitude_e7),
        (AreaClass::Class2, SiteKind::Construction, 1_143_461_000)
    );
    let ten_at_night = "2026-01-01T14:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(pack.periods_for(site).is_active(PeriodId::NIGHT, UnixMillis(ten_at_night)), Some(true));
}

#[test]
fn a_device_gets_the_rules_of_its_site_with_the_limits_of_its_area() {
    let pack = right();
    let compiled = pack.compile_for(DeviceId(0x6770_0000_0000_0001)).unwrap();
    assert_eq!(&*compiled.source, [0]);
    let rule = &compiled.rules[0];
    assert_eq!((rule.limit_day, rule.limit_night), (Milli(60_000), Milli(50_000)));
    assert_eq!((rule.statistic, rule.window_ms, rule.interval_ms), (Statistic::EnergyMean, 300_000, 1000));
    assert_eq!(
        (rule.early_warning, rule.hold_ms, rule.clear_ms),
        (Some(Milli(3000)), 60_000, CLEAR_DEFAULT_MS)
    );
    assert_eq!(
        (&rule.severity[..], rule.group, rule.period),
        (&[Milli(5000), Milli(10_500)][..], Some(0), PeriodId::NIGHT)
    );
    assert_eq!(pack.compile_for(DeviceId(0x6770_0000_0000_0002)).unwrap().rules.len(), 0, "a road");
    assert!(pack.compile_for(DeviceId(7)).is_none());
}

#[test]
fn the_digest_is_of_what_is_said_and_not_of_how() {
    let digest = right().digest();
    let same = |file: &str, from: &str, to: &str| {
        with(file, |text| text.replace(from, to)).unwrap().digest() == digest
    };
    assert!(same("rules.toml", "hold = \"60s\"", "hold = \"1min\"   # a minute"));
    assert!(same("sites.csv", "\n", "\r\n"));
    assert!(same("departments.csv", "id,name_zh", "\u{feff}id,name_zh"));
    assert!(!same("rules.toml", "hold = \"60s\"", "hold = \"61s\""));
    assert!(!same("departments.csv", "Housing Bureau", "Housing bureau"));
    assert!(!same("catalogue.csv", "N-17", "N-18"));
    assert_eq!((digest.to_string().len(), digest.short().len()), (64, 12));
}

#[test]
fn a_rule_without_an_owner_does_not_load() {
    assert_eq!(
        one("rules.toml", "matter = \"0102003\"", ""),
        "rules.toml:5:1: matter: the key is missing; add matter = \"...\": an event without an owner helps nobody"
    );
    assert_eq!(
        one("rules.toml", "0102003", "0102004"),
        "rules.toml:8:10: matter: there is no matter `0102004` in the catalogue; did you mean `0102003` (建筑施工夜间噪声 · Construction noise at night)?"
    );
    assert!(
        one("rules.toml", "0102003", "０１０２００３").contains("; did you mean `0102003` (建筑施工夜间噪声"),
        "a code in full width is that code"
    );
    assert_eq!(
        one("rules.toml", "0102003", "0102"),
        "rules.toml:8:10: matter: there is no matter `0102` in the catalogue; that is a group: name one of its matters"
    );
    assert_eq!(
        one(
            "catalogue.csv",
            "matter,0102003,0102,建筑施工夜间噪声,Construction noise at night,",
            "retired,0102003,0102,,,,,,\nmatter,0102004,0102,夜间噪声,Noise at night,"
        ),
        "rules.toml:8:10: matter: there is no matter `0102003` in the catalogue; it is retired (catalogue.csv:4): name the matter that took its place"
    );
}

#[test]
fn a_matter_without_a_department_level_or_deadline_does_not_load() {
    assert_eq!(
        one("catalogue.csv", "housing,", ","),
        "catalogue.csv:4: department: the field is empty; fill it in"
    );
    assert_eq!(
        one("catalogue.csv", "sub-district,", ","),
        "catalogue.csv:4: level: the field is empty; fill it in"
    );
    assert_eq!(
        one("catalogue.csv", ",2,N-17", ",0,N-17"),
        "catalogue.csv:4: deadline_h: `0` is not a deadline; write a whole number of hours from 1 to 87600"
    );
    assert_eq!(
        one("catalogue.csv", "housing,", "hosing,"),
        "catalogue.csv:4: department: there is no department `hosing`; did you mean `housing`?"
    );
    assert_eq!(
        one("catalogue.csv", "sub-district,", "subdistrict,"),
        "catalogue.csv:4: level: `subdistrict` is not known here; did you mean `sub-district`?"
    );
}

#[test]
fn codes_are_there_once_and_their_parents_exist() {
    assert_eq!(
        one("catalogue.csv", "matter,0901006,", "matter,0102003,,数据,,data,district,1,\nmatter,0901006,"),
        "catalogue.csv:5: code: `0102003` is on line 4 already; remove one of the two, or correct its code"
    );
    assert_eq!(
        one("catalogue.csv", "0102003,0102,", "0102003,0192,"),
        "catalogue.csv:4: parent: there is no group `0192`; did you mean `0102` (建筑施工噪声 · Construction noise)?"
    );
    assert_eq!(
        one("catalogue.csv", "0102003,0102,", "0102003,0901006,"),
        "catalogue.csv:4: parent: there is no group `0901006`; that is a matter; only groups have entries below them"
    );
    assert_eq!(
        said("catalogue.csv", "group,01,,", "group,01,0102,"),
        [
            "catalogue.csv:2: parent: the group's parents come back to itself, over 0102; leave the topmost group's parent empty",
            "catalogue.csv:3: parent: the group's parents come back to itself, over 01; leave the topmost group's parent empty",
        ]
    );
    assert_eq!(
        said("catalogue.csv", "matter,0901006", "matter,0901.06")[0].split(';').next().unwrap(),
        "catalogue.csv:5: code: `0901.06` cannot stand in a topic"
    );
}

#[test]
fn a_circle_or_a_tower_of_groups_ends() {
    let tower = |depth: usize, top: &str| {
        with("catalogue.csv", |text| {
            let mut text = text.to_owned();
            for n in 0..depth {
                let parent = if n == 0 { top.to_owned() } else { format!("g{}", n - 1) };
                text += &format!("group,g{n},{parent},组,,,,,\n");
            }
            text + &format!("matter,m,g{},事项,,data,city,1,\n", depth - 1)
        })
    };
    let deep = tower(GROUP_DEPTH_MAX, "").unwrap();
    assert_eq!(deep.matter("m").unwrap().groups.len(), GROUP_DEPTH_MAX);
    assert_eq!((deep.matter("m").unwrap().level_1(), deep.matter("m").unwrap().level_2()), ("g0", "g1"));
    assert!(tower(GROUP_DEPTH_MAX + 1, "").is_err());
    assert!(tower(50, "g49").is_err());
}

#[test]
fn devices_have_a_site_and_are_there_once() {
    assert_eq!(one("devices.csv", "S-1", ""), "devices.csv:2: site: the field is empty; fill it in");
    assert_eq!(
        one("devices.csv", "S-1", "S-9"),
        "devices.csv:2: site: there is no site `S-9`; did you mean `S-2`?"
    );
    assert_eq!(
        one("devices.csv", "6770000000000002", "6770000000000001"),
        "devices.csv:3: device: `6770000000000001` is on line 2 already; remove one of the two, or correct its code"
    );
    assert!(
        one("devices.csv", "6770000000000002", "677")
            .starts_with("devices.csv:3: device: `677` is not a device id")
    );
}

#[test]
fn sites_are_of_known_kinds_and_places() {
    assert!(one("sites.csv", "Asia/Shanghai", "UTC+8").ends_with("`UTC+8`; write Asia/Shanghai"));
    assert!(one("sites.csv", "construction", "constructon").ends_with("did you mean `construction`?"));
    assert!(
        one("sites.csv", ",4a,", ",5,")
            .contains("sites.csv:3: area_class: `5` is not known here; use one of 0, 1, 2")
    );
    assert!(one("sites.csv", "Asia/Shanghai", "Asia/Shanghia").ends_with("did you mean `Asia/Shanghai`?"));
    assert!(
        one("sites.csv", "114.3461", "1143461").contains("sites.csv:2: lon: `1143461` is not in degrees")
    );
    assert!(
        one("sites.csv", "440310002", "440307").contains("`440307` is not in the pack's division, 440310")
    );
}

#[test]
fn unknown_columns_and_keys_are_errors_with_a_suggestion() {
    assert_eq!(
        said("departments.csv", "name_zh", "name_cn"),
        [
            "departments.csv:1: name_cn: there is no such column; did you mean `name_zh`?",
            "departments.csv:1: name_zh: the column is missing; add it to the first line",
        ],
        "and nothing about departments that could not be read"
    );
    assert_eq!(
        one("rules.toml", "early_warning", "early_warnig"),
        "rules.toml:14:1: early_warnig: there is no such key; did you mean `early_warning`?"
    );
    assert_eq!(
        one("rules.toml", "LAeq", "LAEQ5"),
        "rules.toml:9:12: quantity: there is no quantity `LAEQ5`; did you mean `LAeq`?"
    );
    assert!(
        one("pack.toml", "version = 3", "version = \"3\"")
            .starts_with("pack.toml:3:11: version: this must be a whole number")
    );
    assert_eq!(
        one("pack.toml", "0901006", "0901007").split(';').next().unwrap(),
        "pack.toml:5:16: lost_records: there is no matter `0901007` in the catalogue"
    );
}

#[test]
fn numbers_and_times_of_rules_have_bounds() {
    let starts = |from: &str, to: &str, expected: &str| {
        let said = one("rules.toml", from, to);
        assert!(said.starts_with(expected), "{said}");
    };
    starts("\"5min\"", "\"25h\"", "rules.toml:10:10: window: this must be 1s to 24h");
    starts(
        "\"5min\"",
        "\"5 parsecs\"",
        "rules.toml:10:10: window: `5 parsecs` is not a length of time; write it as \"5min\"",
    );
    starts("\"60s\"", "60", "rules.toml:15:8: hold: this must be a text in quotes, and is of type integer");
    starts("[5, 10.5]", "[10, 5]", "rules.toml:16:12: severity: the steps must be positive and ascending");
    starts("[5, 10.5]", "[1,2,3,4,5]", "rules.toml:16:12: severity: there are more than 4 steps");
    starts(
        "early_warning = 3",
        "early_warning = -3",
        "rules.toml:14:17: early_warning: this must not be negative",
    );
    starts(
        "early_warning = 3",
        "early_warning = 3e9",
        "rules.toml:14:17: early_warning: 3000000000 is out of range",
    );
    starts("early_warning = 3", "early_warning = 0.0001", "rules.toml:14:17: early_warning: 0.0001 is finer");
    starts(
        "during = \"night\"",
        "during = \"nigth\"",
        "rules.toml:12:10: during: there is no period `nigth`; did you mean `night`?",
    );
    starts("\"construction\"", "", "rules.toml:13:9: sites: the list is empty");
    starts(
        "window = \"5min\"",
        "statistic = \"mean\"",
        "rules.toml:5:1: window: the key is missing; `mean` needs one",
    );
    starts("group =", "statistic = \"last\"\ngroup =", "rules.toml:7:13: statistic: `last` takes no window");
}

#[test]
fn a_rule_has_one_limit_and_it_exists_where_the_rule_applies() {
    assert!(
        one("rules.toml", "above =", "below = 3\nabove =").contains("the rule has both `above` and `below`")
    );
    assert!(one("rules.toml", "above = \"boundary\"", "").contains("above: the key is missing"));
    assert!(
        one("rules.toml", "above = \"boundary\"", "above = \"bondary\"")
            .ends_with("did you mean `boundary`?")
    );
    assert!(
        one("rules.toml", "[\"construction\"]", "[\"road\"]")
            .contains("limit table `boundary` has no limit for area class 4a, which site S-2 has")
    );
    assert_eq!(
        said("rules.toml", "night = 50", "nigth = 50"),
        [
            "rules.toml:3:7: night: the key is missing; write { day = 60, night = 50 }",
            "rules.toml:3:19: nigth: there is no such key; did you mean `night`?",
        ]
    );
}

#[test]
fn rules_have_names_of_their_own() {
    let twice = with("rules.toml", |text| format!("{text}\n{}", &text[text.find("[[rule]]").unwrap()..]))
        .unwrap_err();
    assert_eq!(
        twice.shown()[0].to_string(),
        "rules.toml:19:6: id: `night` is the id of the rule on line 5 already; give the rule a name of its own"
    );
}

#[test]
fn all_mistakes_are_shown_at_once_in_order() {
    let texts: [(&str, &str); 6] = [
        (
            "rules.toml",
            "[[rule]]\nid = \"a\"\nquantity = \"LAeq\"\nabove = 1\nmatter = \"x\"\n[[rule]]\nid = \"b/c\"\nmatter = \"y\"\n",
        ),
        ("pack.toml", "nam = \"x\"\nversion = 0\ndivision = \"44/03\"\n"),
        ("departments.csv", DEPARTMENTS),
        (
            "catalogue.csv",
            "kind,code,parent,name_zh,department,level,deadline_h\nmater,1,,x,housing,city,1\nmatter,1,2\n",
        ),
        ("sites.csv", SITES),
        ("devices.csv", "device,site,model\n\n,,\nx,y,z\n"),
    ];
    let files: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let errors = Pack::from_files(&files).unwrap_err();
    let text = errors.to_string();
    let places: Vec<_> = errors.shown().iter().map(|error| (error.file.clone(), error.line)).collect();
    assert!(places.is_sorted(), "{text}");
    for expected in [
        "catalogue.csv:2: kind: `mater` is not known here; did you mean `matter`?",
        "catalogue.csv:3: the row has 3 fields, and the header 7",
        "devices.csv:4: device: `x` is not a device id",
        "pack.toml:1:1: nam: there is no such key; did you mean `name`?",
        "pack.toml:2:11: version: this must be a whole number from 1",
        "pack.toml:3:12: division: this cannot stand in a topic",
        "rules.toml:5:10: matter: there is no matter `x`",
        "rules.toml:7:6: id: `b/c` cannot be an id",
        "rules.toml:6:1: quantity: the key is missing",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    assert!(text.starts_with(&format!("the pack has {} errors and was not loaded:", errors.count())));
}

#[test]
fn a_thousand_mistakes_are_counted_and_not_all_shown() {
    let errors = with("catalogue.csv", |text| {
        (0..1000).fold(text.to_owned(), |text, n| text + &format!("matter,x{n},,名,,nobody,city,1,\n"))
    })
    .unwrap_err();
    assert_eq!((errors.count(), errors.shown().len()), (1000, ERRORS_SHOWN_MAX));
    assert!(errors.to_string().ends_with("and 800 more"));
}

#[test]
fn a_file_in_the_wrong_encoding_says_how_to_save_it() {
    let gbk = b"id,name_zh\nhousing,\xc7\xf8\xd7\xa1\n";
    let files = [("pack.toml", PACK.as_bytes()), ("departments.csv", gbk)];
    let errors = Pack::from_files(&files).unwrap_err().to_string();
    assert!(errors.contains("departments.csv:2: the text is not UTF-8; save it as `CSV UTF-8`"), "{errors}");
    assert!(errors.contains("catalogue.csv: the file is missing"), "{errors}");

    let files = [("pack.toml", &b"name = \"\xc7\xf8\"\n"[..])];
    let errors = Pack::from_files(&files).unwrap_err().to_string();
    assert!(errors.contains("pack.toml:1: the text is not UTF-8; save it as `UTF-8`"), "{errors}");
    assert!(!errors.contains("CSV"), "{errors}");
}

#[test]
fn broken_toml_says_where() {
    let said = said("rules.toml", "above = \"boundary\"", "above = = 3");
    assert!(said[0].starts_with("rules.toml:11:"), "{said:#?}");
}

#[test]
fn periods_of_the_district_are_read() {
    let noon = "\n[periods.noon]\nfrom = \"12:00\"\nto = \"24:00\"\ndays = [\"mon\", \"sun\"]\nfirst = \"2026-06-07\"\n";
    let pack = with("pack.toml", |text| format!("{text}{noon}")).unwrap();
    let at = |text: &str| UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let periods = pack.periods_for(&pack.sites()[0]);
    let on = |text| periods.is_active(PeriodId::FIRST_EXPLICIT, at(text)).unwrap();
    assert!(on("2026-06-07T23:59:00+08:00") && !on("2026-06-07T11:00:00+08:00"), "a Sunday");
    assert!(
        on("2026-06-08T12:00:00+08:00")
            && !on("2026-06-09T12:00:00+08:00")
            && !on("2026-05-31T12:00:00+08:00")
    );

    let wrong = with("pack.toml", |text| {
        format!("{text}{}", noon.replace("24:00", "24:01").replace("sun", "Sunday"))
    });
    let wrong = wrong.unwrap_err().to_string();
    assert!(
        wrong.contains("pack.toml:9:6: to: `24:01` is not a time of day; write it as \"06:00\""),
        "{wrong}"
    );
    assert!(wrong.contains("pack.toml:10:16: days: `Sunday` is not a weekday"), "{wrong}");
}

#[test]
fn the_sample_pack_is_right_and_covers_what_it_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/sample");
    let pack = Pack::load(&folder).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(pack.is_sample);
    assert_eq!((pack.matters().len(), pack.departments().len(), pack.sites().len()), (57, 11, 12));
    assert!(pack.devices().len() >= 8 && pack.rules().len() >= 12);
    let mut used = vec![false; pack.rules().len()];
    for device in pack.devices() {
        let compiled = pack.compile_for(device.id).unwrap();
        assert!(!compiled.rules.is_empty(), "{}", device.id);
        compiled.source.iter().for_each(|index| used[*index] = true);
        let windows = crate::engine::windows_needed(&compiled.rules) * size_of::<Window>();
        assert!(windows < 16 * 1024, "{} needs {windows} bytes of windows", device.id);
        BoxedEngine::boxed(compiled.rules).unwrap();
    }
    for (rule, used) in pack.rules().iter().zip(used) {
        assert!(used, "{} applies at no site of the sample", rule.id);
        assert!(pack.matter_of(rule).is_some());
    }
    // rules.toml says so of each matter that no rule raises.
    let rules = std::fs::read_to_string(folder.join("rules.toml")).unwrap();
    let head: String = rules.lines().take_while(|line| !line.starts_with("# ---")).collect();
    for matter in pack.matters() {
        let code = matter.code.as_str();
        let is_raised = pack.rules().iter().any(|rule| rule.matter.as_str() == code);
        assert_ne!(is_raised, head.contains(code), "{code}: raised by a rule, or said to be raised by none");
        assert!(!matter.name_en.is_empty(), "{code}");
        assert!(matter.crosswalk.iter().all(|(_, code)| code.starts_with("SAMPLE")), "{code}");
    }
}

#[test]
fn a_hand_on_the_heat_node_warns_exceeds_and_clears() {
    use crate::event::Phase;
    use crate::id::Seq;
    use crate::quantity::Quantity;
    use crate::reading::{Quality, Reading};

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/sample");
    let pack = Pack::load(&folder).unwrap();
    let device = DeviceId(0x6770_0000_0000_000a);
    let compiled = pack.compile_for(device).unwrap();
    let periods = pack.periods_for(pack.site_of(pack.device(device).unwrap()));
    let mut engine = BoxedEngine::boxed(compiled.rules).unwrap();
    let mut said = Vec::new();
    for second in 0..90i64 {
        let degrees = if (20..50).contains(&second) { 36 } else { 25 };
        let reading =
            Reading { quantity: Quantity::Temperature, value: Milli(degrees * 1000), quality: Quality::GOOD };
        let at = UnixMillis(1_790_000_000_000 + second * 1000);
        engine.on_reading(Seq(second as u64 + 1), at, &reading, &periods, |decision| {
            let rule = &pack.rules()[compiled.source[usize::from(decision.rule)]];
            said.push((rule.matter.as_str(), decision.phase));
        });
    }
    assert_eq!(
        said,
        [("0501002", Phase::EarlyWarning), ("0501002", Phase::Exceeded), ("0501002", Phase::Cleared)]
    );
}

#[test]
fn a_pack_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&right());
}

mod any_input {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn some_cuts() -> impl Strategy<Value = Vec<(Index, Index, u8)>> {
        proptest::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// A right pack with some bytes overwritten, removed or doubled: wrong or right, but never a panic, and what
        /// is wrong is in a file that exists.
        #[test]
        fn nothing_in_a_file_makes_it_panic(file in 0usize..6, cuts in some_cuts()) {
            let mut texts =
                [PACK, DEPARTMENTS, CATALOGUE, SITES, DEVICES, RULES].map(|text| text.as_bytes().to_vec());
            for (at, other, byte) in cuts {
                let text = &mut texts[file];
                if text.is_empty() {
                    break;
                }
                let (at, other) = (at.index(text.len()), other.index(text.len()));
                let between = at.min(other)..at.max(other);
                match byte % 4 {
                    0 => text[at] = byte,
                    1 => text.truncate(at),
                    2 => drop(text.drain(between)),
                    _ => {
                        let copy = text[between].to_vec();
                        text.splice(at..at, copy);
                    }
                }
            }
            let files: Vec<_> = FILES.into_iter().zip(texts.iter().map(Vec::as_slice)).collect();
            if let Err(errors) = Pack::from_files(&files) {
                prop_assert!(errors.count() > 0);
                prop_assert!(errors.shown().iter().all(|error| FILES.contains(&error.file.as_str())));
            }
        }
    }
}
