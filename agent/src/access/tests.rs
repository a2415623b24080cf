use std::path::Path;

use gridpost_protocol::pack::Pack;

use super::*;

fn sample() -> Pack {
    Pack::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")).unwrap()
}

fn names() -> Names {
    Names { gateways: vec!["gw-1".to_owned()], platform: vec!["platform".to_owned()], ..Names::default() }
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

/// Whether a topic, or a filter taken as one, is within a filter.
fn within(topic: &str, filter: &str) -> bool {
    let (mut topic, mut filter) = (topic.split('/'), filter.split('/'));
    loop {
        match (topic.next(), filter.next()) {
            (_, Some("#")) | (None, None) => return true,
            (Some(at), Some(wanted)) if wanted == "+" || at == wanted => {}
            _ => return false,
        }
    }
}

#[test]
fn a_department_gets_every_matter_of_its_own_and_none_of_anothers() {
    let pack = sample();
    let access = Access::of(&pack, &names()).unwrap();
    for department in pack.departments() {
        let Some(user) = access.users.iter().find(|user| user.name == department.id.as_str()) else {
            assert!(access.without_matters.contains(&department.id.to_string()));
            continue;
        };
        for matter in pack.matters() {
            let owner = pack.department_of(matter);
            let levels = (matter.level_1(), matter.level_2());
            let topic = topics::event("440310", owner.id.as_str(), levels, matter.code.as_str(), "gw-1");
            let reads = user.reads.iter().any(|filter| within(&topic, filter));
            assert_eq!(reads, owner.id == department.id, "{} and {topic}", user.name);
            assert!(!user.writes.iter().any(|filter| within(&topic, filter)), "{} forges events", user.name);
        }
    }
}

#[test]
fn a_gateway_writes_its_own_topics_only() {
    let both = Names { gateways: vec!["gw-1".to_owned(), "gw-2".to_owned()], ..names() };
    let access = Access::of(&sample(), &both).unwrap();
    let gateway = access.users.iter().find(|user| user.name == "gw-1").unwrap();
    let may = |topic: &str| gateway.writes.iter().any(|filter| within(topic, filter));
    for id in ["gw-1", "gw-2"] {
        for topic in [
            topics::event("440310", "housing", ("01", "-"), "0102003", id),
            format!("gridpost/1/440310/summary/{id}/6770000000000001"),
            topics::status("440310", id),
            format!("gridpost/1/440310/gateway/{id}/reply/readings"),
        ] {
            assert_eq!(may(&topic), id == "gw-1", "{topic}");
        }
    }
    assert!(!may("gridpost/1/440311/gateway/gw-1/status"), "another division");
}

#[test]
fn users_have_the_names_that_they_are_given_and_no_two_the_same() {
    let given = Names {
        department_users: vec![pair("hcb-1", "housing"), pair("hcb-2", "housing")],
        gateway_users: vec![pair("CN-gw@district", "gw-1")],
        ..names()
    };
    let access = Access::of(&sample(), &given).unwrap();
    let has = |name: &str| access.users.iter().any(|user| user.name == name);
    assert!(has("hcb-1") && has("hcb-2") && has("CN-gw@district") && has("ecology"));
    assert!(!has("housing") && !has("gw-1"));

    let refused = |names: Names| Access::of(&sample(), &names).unwrap_err().to_string();
    let twice = refused(Names { gateways: vec!["housing".to_owned()], ..names() });
    assert!(twice.contains("`housing` would be two") && twice.contains("--gateway-user"), "{twice}");
    for (wrong, said) in [
        (Names { gateways: vec!["gw/+".to_owned()], ..names() }, "no gateway's id"),
        (Names { platform: vec!["a\ntopic readwrite #".to_owned()], ..names() }, "cannot be a user's name"),
        (Names { department_users: vec![pair("x", "hausing")], ..names() }, "no department `hausing`"),
        (Names { gateway_users: vec![pair("x", "gw-9")], ..names() }, "--gateway"),
    ] {
        let message = refused(wrong);
        assert!(message.contains(said) && !message.contains('\n'), "{message}");
    }
    let alike = Names { gateways: vec!["gw-1".to_owned(), "gw_1".to_owned()], ..names() };
    let access = Access::of(&sample(), &alike).unwrap();
    assert!(access.write(Format::Nats).unwrap_err().to_string().contains("GRIDPOST_PASSWORD_GW_1"));
}

#[test]
fn the_file_for_emqx_is_erlang_terms_that_end_with_a_refusal() {
    let file = Access::of(&sample(), &names()).unwrap().write(Format::Emqx).unwrap();
    let terms: Vec<_> = file.lines().filter(|line| !line.is_empty() && !line.starts_with("%%")).collect();
    let (last, rules) = terms.split_last().unwrap();
    assert_eq!(*last, "{deny, all}.");
    for rule in rules {
        let inner =
            rule.strip_prefix("{allow, {user, \"").and_then(|rest| rest.strip_suffix("\"]}.")).unwrap();
        let (user, rest) = inner.split_once("\"}, ").unwrap();
        let (action, filters) = rest.split_once(", [\"").unwrap();
        assert!(is_user(user) && ["subscribe", "publish"].contains(&action), "{rule}");
        for filter in filters.split("\", \"") {
            assert!(filter.starts_with("gridpost/1/440310/") && !filter.contains('"'), "{rule}");
        }
    }
    assert_eq!(rules.len() % 2, 0);
    assert!(file.contains("{allow, {user, \"gw-1\"}, publish, [\"gridpost/1/440310/event/+/+/+/+/gw-1\""));
}
