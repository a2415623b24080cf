//! Sites and devices: where something is measured.

use gridpost_protocol::pack::{Device, Pack, Site};

use super::{About, Change};

pub(super) fn sites(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let mut add = |site: &Site, text: String| {
        let (about, id, departments) = (About::Site, site.id.to_string(), Vec::new());
        changes.push(Change { about, id, text, departments, sites: None });
    };
    for was in old.sites().iter().filter(|was| new.site(was.id.as_str()).is_none()) {
        add(was, format!("site {} {} is gone", was.id, was.name_zh));
    }
    for is in new.sites() {
        let Some(was) = old.site(is.id.as_str()) else {
            add(
                is,
                format!("site {} {} is new: {}, area class {}", is.id, is.name_zh, is.kind, is.area_class),
            );
            continue;
        };
        let mut said = Vec::new();
        let mut compare = |what: &str, was: &dyn ToString, is: &dyn ToString| {
            let (was, is) = (was.to_string(), is.to_string());
            if was != is {
                said.push(format!("its {what} changes from {was} to {is}"));
            }
        };
        compare("name", &was.name_zh, &is.name_zh);
        compare("English name", &was.name_en, &is.name_en);
        compare("kind", &was.kind, &is.kind);
        compare("area class", &was.area_class, &is.area_class);
        compare("division", &was.division, &is.division);
        compare("cell", &was.cell, &is.cell);
        compare("time zone", &was.time_zone, &is.time_zone);
        if was.position != is.position {
            said.push("it is at another place".to_owned());
        }
        if !said.is_empty() {
            add(is, format!("site {} {}: {}", is.id, is.name_zh, said.join("; ")));
        }
    }
}

pub(super) fn devices(old: &Pack, new: &Pack, changes: &mut Vec<Change>) {
    let mut add = |device: &Device, text: String| {
        let (about, id, departments) = (About::Device, device.id.to_string(), Vec::new());
        changes.push(Change { about, id, text, departments, sites: None });
    };
    for was in old.devices().iter().filter(|was| new.device(was.id).is_none()) {
        add(
            was,
            format!("device {} at site {} is gone; its frames are dropped", was.id, old.site_of(was).id),
        );
    }
    for is in new.devices() {
        let place = &new.site_of(is).id;
        let Some(was) = old.device(is.id) else {
            add(is, format!("device {} is new, at site {place}", is.id));
            continue;
        };
        let mut said = Vec::new();
        if old.site_of(was).id != *place {
            said.push(format!("it moves from site {} to {place}", old.site_of(was).id));
        }
        if was.decides != is.decides {
            said.push(format!(
                "the {} decides on its readings, and no longer the {}",
                is.decides, was.decides
            ));
        }
        if was.measures != is.measures {
            said.push("what it measures is said otherwise".to_owned());
        }
        if (&was.model, &was.serial, &was.installed) != (&is.model, &is.serial, &is.installed) {
            said.push(format!("it is now a {} {}", is.model, is.serial).trim_end().to_owned());
        }
        if !said.is_empty() {
            add(is, format!("device {}: {}", is.id, said.join("; ")));
        }
    }
}
