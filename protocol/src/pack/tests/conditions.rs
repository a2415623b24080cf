//! Guards and exclusions, as they are written.

use super::*;
use crate::quantity::Quantity;
use crate::rule::{Condition, Direction, Origin, Role};

/// The right pack with these lines added to its rule.
fn rule_with(lines: &str) -> Result<Vec<Condition>, Vec<String>> {
    let pack = with("rules.toml", |text| format!("{text}{lines}\n"));
    match pack {
        Ok(pack) => Ok(pack.rules()[0].conditions().to_vec()),
        Err(errors) => Err(errors.shown().iter().map(PackError::to_string).collect()),
    }
}

#[test]
fn guards_and_exclusions_are_what_a_node_runs() {
    let all = rule_with(
        r#"guards = [{ quantity = "impulse_prominence", above = 5 },
                     { quantity = "LCeq", statistic = "energy-mean", window = "1min", at_most = 80 }]
exclude = [{ quantity = "wind_speed", at_least = 5, within = "10min" },
           { quantity = "rain_rate", above = 0, of = "site" }]"#,
    )
    .unwrap();
    let plain = Condition {
        role: Role::Guard,
        origin: Origin::Device,
        quantity: Quantity::ImpulseProminence,
        statistic: Statistic::Last,
        window_ms: 0,
        direction: Direction::Above,
        limit: Milli(5_000),
        within_ms: GUARD_WITHIN_DEFAULT_MS,
    };
    let level = Condition {
        quantity: Quantity::LCeq,
        statistic: Statistic::EnergyMean,
        window_ms: 60_000,
        direction: Direction::Below,
        limit: Milli(80_001),
        within_ms: 60_000,
        ..plain.clone()
    };
    let wind = Condition {
        role: Role::Exclusion,
        quantity: Quantity::WindSpeed,
        statistic: Statistic::Max,
        window_ms: 600_000,
        limit: Milli(4_999),
        within_ms: 600_000,
        ..plain.clone()
    };
    let rain = Condition {
        role: Role::Exclusion,
        origin: Origin::Site,
        quantity: Quantity::RainRate,
        limit: Milli(0),
        // The rule's window: one in which it rained is no measurement.
        within_ms: 300_000,
        ..plain.clone()
    };
    assert_eq!(all, [plain, level, wind, rain]);
}

#[test]
fn what_is_wrong_with_a_condition_is_said_with_its_place() {
    let wrong = |lines: &str| rule_with(lines).unwrap_err();
    for (lines, said) in [
        (r#"guards = [{ quantity = "wind", above = 5 }]"#, "there is no quantity `wind`"),
        (r#"guards = [{ above = 5 }]"#, "quantity: the key is missing"),
        (r#"guards = [{ quantity = "LCeq" }]"#, "exactly one of above, below, at_least, at_most"),
        (r#"guards = [{ quantity = "LCeq", above = 65, below = 3 }]"#, "exactly one of"),
        (r#"guards = [{ quantity = "LCeq", above = 65, window = "1min" }]"#, "statistic other than `last`"),
        (r#"guards = [{ quantity = "LCeq", above = 65, statistic = "L10" }]"#, "window: the key is missing"),
        (r#"guards = [{ quantity = "LCeq", above = 65, statistic = "l10" }]"#, "there is no statistic `l10`"),
        (r#"exclude = [{ quantity = "rain", above = 5, of = "street" }]"#, "`device` or `site`"),
        (
            r#"exclude = [{ quantity = "rain", above = 0, of = "site", statistic = "max", window = "1min" }]"#,
            "only the readings themselves",
        ),
        (r#"exclude = [{ quantity = "rain", above = 0, within = "25h" }]"#, "this must be 1s to 24h"),
        (r#"exclude = [{ quantity = "rain", above = 0, untill = "1h" }]"#, "there is no such key"),
        (r#"exclude = { quantity = "rain", above = 0 }"#, "a list of tables"),
    ] {
        let errors = wrong(lines);
        assert!(errors.len() == 1 && errors[0].contains(said), "{lines}: {errors:#?}");
        assert!(errors[0].starts_with("rules.toml:"), "{errors:#?}");
    }
    let five = r#"{ quantity = "rain", above = 0 },"#.repeat(5);
    assert!(wrong(&format!("exclude = [{five}]"))[0].contains("at most 4 guards and exclusions"));
}

#[test]
fn a_rule_that_looks_at_other_devices_is_decided_by_the_gateway() {
    let deciding = DEVICES
        .replace("device,site,model", "device,site,model,decides")
        .replace("S-1,noise", "S-1,noise,device")
        .replace("S-2,noise", "S-2,noise,");
    let rules = format!("{RULES}exclude = [{{ quantity = \"wind_speed\", at_least = 5, of = \"site\" }}]\n");
    let files = [PACK, DEPARTMENTS, CATALOGUE, SITES, &deciding, &rules];
    let files: Vec<_> = FILES.into_iter().zip(files).map(|(name, text)| (name, text.as_bytes())).collect();
    let pack = Pack::from_files(&files).unwrap();
    let share = pack.share_for(DeviceId(0x6770_0000_0000_0001)).unwrap();
    assert_eq!(share, Err(crate::share::ShareError::OtherDevices(0)));
    let note = &pack.notes()[0];
    assert!(
        note.to_string().contains("rule `night` looks at what other devices at the site measure"),
        "{note}"
    );
    assert!(
        note.chinese()
            .starts_with("devices.csv: decides: 设备 6770000000000001 不能自行判定：规则 `night` 要看")
    );
    assert!(!pack.surroundings_of(&pack.sites()[0]).is_empty());
    assert!(pack.surroundings_of(&pack.sites()[1]).is_empty(), "no rule asks there");
}
