//! How much a reading costs in a large district: `cargo bench -p gridpost-protocol --bench engine -- [READINGS]`.
//!
//! A pack of 1,659 matters, 5,000 rules and 2,000 sites, each with a noise node of 14 quantities: some 60 rules hold at each
//! site (64 may), a sixth of them with a guard; some are for places where there is no site. Beside it the same readings
//! under a pack with 50 matters and none but the rules of LAeq: what a reading costs must not grow with rules of other
//! quantities, nor with the catalogue.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use gridpost_protocol::engine::BoxedEngine;
use gridpost_protocol::id::Seq;
use gridpost_protocol::message::ShareRule;
use gridpost_protocol::pack::{FILES, Pack, SitePeriods};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::share::Share;
use gridpost_protocol::time::UnixMillis;

const MATTERS: usize = 1_659;
const SITES: usize = 2_000;
const RULES: usize = 5_000;
/// Kinds of places that have sites here.
const KINDS: [&str; 10] = [
    "construction",
    "industrial",
    "commercial",
    "residential",
    "road",
    "rail",
    "school",
    "hospital",
    "park",
    "water",
];
/// Places, by kind and class, that rules are written for: 60 with sites, the rest without.
const PLACES: usize = 84;
const CLASSES: [&str; 6] = ["0", "1", "2", "3", "4a", "4b"];
/// What rules are about, beside LAeq: with it as often as all others together.
const OTHERS: [&str; 13] = [
    "LCeq",
    "LAFmax",
    "L10",
    "L90",
    "LCpeak",
    "temperature",
    "humidity",
    "PM10",
    "PM2.5",
    "TSP",
    "CO2",
    "wind_speed",
    "vibration",
];
/// Readings of one device that come together, as in a frame.
const TOGETHER: usize = 47;
const BEGAN: i64 = 1_790_000_000_000;

/// A pack's files; with `levels_only` only those of the rules that are about LAeq.
fn files(matters: usize, levels_only: bool) -> [String; 6] {
    let manifest =
        "name = \"bench\"\nversion = 1\ndivision = \"440310\"\nlost_records = \"0000000\"\n".to_owned();
    let departments = "id,name_zh\nd0,区住房和建设局\nd1,区生态环境局\n".to_owned();
    let mut catalogue = "kind,code,parent,name_zh,department,level,deadline_h\n".to_owned();
    for n in 0..matters {
        writeln!(catalogue, "matter,{n:07},,事项{n},d{},district,24", n % 2).unwrap();
    }
    let mut sites = "site,name_zh,kind,area_class,division,cell,lon,lat,time_zone\n".to_owned();
    let mut devices = "device,site,model\n".to_owned();
    for n in 0..SITES {
        let (kind, class) = (KINDS[n % KINDS.len()], CLASSES[n / KINDS.len() % CLASSES.len()]);
        writeln!(sites, "S-{n},点位{n},{kind},{class},440310,c{n},114.3,22.7,Asia/Shanghai").unwrap();
        writeln!(devices, "{:016x},S-{n},noise", 0x6770_0000_0000_0000_u64 + n as u64).unwrap();
    }
    let mut text = String::new();
    for n in 0..RULES {
        // Places get the rules in turn, so some 60 hold at each, of 64 that may.
        let (place, turn) = (n % PLACES, n / PLACES);
        let (kind, class) = match CLASSES.get(place / KINDS.len()) {
            Some(class) => (KINDS[place % KINDS.len()], *class),
            None => ("other", CLASSES[place % CLASSES.len()]),
        };
        // Every seventh of a place's rules is about the level, the rest about one of the other quantities.
        let (quantity, window) = match turn % 7 {
            0 => ("LAeq", ["1min", "5min", "15min", "1h"][turn / 7 % 4]),
            _ => (OTHERS[turn % OTHERS.len()], "5min"),
        };
        if levels_only && quantity != "LAeq" {
            continue;
        }
        writeln!(
            text,
            "[[rule]]\nid = \"r{n}\"\nmatter = \"{:07}\"\nquantity = \"{quantity}\"\nwindow = \"{window}\"\nabove = {}\n\
             during = \"night\"\nsites = [\"{kind}\"]\narea_classes = [\"{class}\"]\nearly_warning = 3\nhold = \"60s\"\n\
             clear = \"5min\"\nhysteresis = 2\nseverity = [5, 10]\ngroup = \"{quantity}\"",
            n % matters,
            60 + turn % 20
        )
        .unwrap();
        if turn % 6 == 0 {
            text.push_str("guards = [{ quantity = \"impulse_prominence\", at_least = 5 }]\n");
        }
    }
    [manifest, departments, catalogue, sites, devices, text]
}

fn load(files: &[String; 6]) -> Pack {
    let files: Vec<_> = FILES.into_iter().zip(files).map(|(name, text)| (name, text.as_bytes())).collect();
    Pack::from_files(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The least of several times: what others do on the machine only adds.
fn least(times: usize, mut what: impl FnMut()) -> Duration {
    let time = |()| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    std::iter::repeat_n((), times).map(time).min().unwrap_or_default()
}

fn engines(pack: &Pack) -> Vec<(BoxedEngine, SitePeriods)> {
    pack.devices()
        .iter()
        .map(|device| {
            let rules = pack.compile_for(device.id).unwrap().rules;
            (BoxedEngine::boxed(rules).unwrap(), pack.periods_for(pack.site_of(device)))
        })
        .collect()
}

/// Feeds readings as they come from devices that send a frame each in turn; how many decisions came of it.
fn feed(
    engines: &mut [(BoxedEngine, SitePeriods)],
    readings: usize,
    quantity: impl Fn(usize) -> Quantity,
) -> usize {
    let mut said = 0;
    for n in 0..readings {
        let (frame, within) = (n / TOGETHER, n % TOGETHER);
        let (turn, device) = (frame / engines.len(), frame % engines.len());
        let second = (turn * TOGETHER + within) as i64;
        let value =
            Milli(50_000 + (n * 7_919 % 4_000) as i32 + if second / 600 % 3 == 1 { 22_000 } else { 0 });
        let reading = Reading { quantity: quantity(within), value, quality: Quality::GOOD };
        let (engine, periods) = &mut engines[device];
        let at = UnixMillis(BEGAN + second * 1000);
        engine.on_reading(Seq(second as u64 + 1), at, &reading, periods, |_| said += 1);
    }
    said
}

/// The bytes in which a typical post's rules go to its device.
fn share_bytes(pack: &Pack) -> (usize, usize) {
    let rules = pack.compile_for(pack.devices()[0].id).unwrap();
    let mut share = Share::new();
    let mut bytes = 0;
    for (index, rule) in rules.rules.iter().enumerate() {
        let name = format!("construction-noise-night-{index}");
        if share.push(&name, rule.clone()).is_err() {
            break;
        }
        let message = ShareRule { share: u32::MAX, index: index as u8, name: &name, rule: rule.clone() };
        bytes += postcard::to_slice(&message, &mut [0; 512]).unwrap().len();
    }
    (share.rules().len(), bytes)
}

fn main() {
    let readings = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(4_000_000);
    let large = files(MATTERS, false);
    let pack = load(&large);
    let reads = least(5, || drop(load(&large)));
    println!(
        "pack of {} matters, {} rules, {} sites: read and checked in {reads:.0?}",
        pack.matters().len(),
        pack.rules().len(),
        pack.sites().len()
    );
    let compiles = least(3, || drop(engines(&pack)));
    println!("all {} devices' engines made in {compiles:.0?}", pack.devices().len());
    let (rules, bytes) = share_bytes(&pack);
    println!("a share of {rules} rules: {bytes} bytes");
    let small = load(&files(50, true));
    for (name, pack) in [("large", &pack), ("rules of LAeq only, 50 matters", &small)] {
        let mut engines = engines(pack);
        let of_device = engines[0].0.rules().len();
        for (what, quantity) in [
            ("readings of LAeq", (|_| Quantity::LAeq) as fn(usize) -> Quantity),
            ("readings of four quantities", |n| {
                [Quantity::LAeq, Quantity::LCeq, Quantity::Pm10, Quantity::L90][n % 4]
            }),
        ] {
            let concerned = engines[0].0.rules().iter().filter(|rule| rule.quantity == quantity(0)).count();
            let began = Instant::now();
            let said = feed(&mut engines, readings, quantity);
            let took = began.elapsed();
            println!(
                "{name}, {what}: {of_device} rules a device, {concerned} of its first quantity: {:.2} million readings/s, {:.0} ns each ({said} decisions)",
                readings as f64 / took.as_secs_f64() / 1e6,
                took.as_nanos() as f64 / readings as f64
            );
        }
    }
}
