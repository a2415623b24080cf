//! Devices that are to decide themselves.

use super::*;
use crate::share::ShareError;

const DECIDING: &str = "device,site,model,decides
6770000000000001,S-1,noise,device
6770000000000002,S-2,noise,
6770000000000003,S-1,noise,gateway
";

#[test]
fn a_device_that_decides_itself_gets_its_rules_with_their_names() {
    let pack = with("devices.csv", |_| DECIDING.to_owned()).unwrap();
    let share = pack.share_for(DeviceId(0x6770_0000_0000_0001)).unwrap().unwrap();
    assert_eq!((share.names()[0].as_str(), share.rules().len()), ("night", 1));
    assert_eq!(share.rules(), &*pack.compile_for(DeviceId(0x6770_0000_0000_0001)).unwrap().rules);
    assert!(pack.share_for(DeviceId(0x6770_0000_0000_0002)).is_none());
    assert!(pack.share_for(DeviceId(0x6770_0000_0000_0003)).is_none());
    assert!(pack.share_for(DeviceId(7)).is_none());
    assert!(pack.notes().is_empty());
}

#[test]
fn who_decides_is_one_of_two_words() {
    let error = one("devices.csv", DEVICES, &DECIDING.replace(",device\n", ",devcie\n"));
    assert_eq!(error, "devices.csv:2: decides: `devcie` is not known here; did you mean `device`?");
}

#[test]
fn more_rules_than_a_device_can_run_are_noted() {
    let many = |count: usize| {
        let rule = RULES.split("[[rule]]").nth(1).unwrap();
        let rules: Vec<_> = (0..count)
            .map(|n| format!("[[rule]]{}", rule.replace("\"night\"\ngroup", &format!("\"r{n}\"\ngroup"))))
            .collect();
        format!("{}{}", RULES.split("[[rule]]").next().unwrap(), rules.concat())
    };
    let files = [PACK, DEPARTMENTS, CATALOGUE, SITES, DECIDING, &many(13)];
    let files: Vec<_> = FILES.into_iter().zip(files).map(|(name, text)| (name, text.as_bytes())).collect();
    let pack = Pack::from_files(&files).unwrap();
    let share = pack.share_for(DeviceId(0x6770_0000_0000_0001)).unwrap();
    assert_eq!(share, Err(ShareError::TooManyRules));
    assert_eq!(
        pack.notes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "devices.csv: decides: device 6770000000000001 cannot run its rules itself: more than 12 rules, or 1280 bytes of them; its gateway decides for it and for \
             others at such sites; name sites or area_classes in more of the rules, or leave deciding to the gateway"
        ]
    );
}
