//! Where devices are: sites, and the devices at them.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::calendar::time_zone;
use super::catalogue::is_twice;
use super::error::{Problems, did_you_mean};
use super::name::{AreaClass, DecidesAt, DivisionCode, SiteId, SiteKind};
use super::table::{self, Columns, Row};
use crate::id::DeviceId;
use crate::quantity::Quantity;
use crate::record::Position;

/// The files' names.
pub(super) const SITES_FILE: &str = "sites.csv";
pub(super) const DEVICES_FILE: &str = "devices.csv";

/// The most sites, and the most devices: what one district's pack holds.
pub const PLACES_MAX: usize = 100_000;

/// A site (点位).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// 名称.
    pub name_zh: String,
    /// Its English name; may be empty.
    pub name_en: String,
    /// What kind of place it is.
    pub kind: SiteKind,
    /// Its functional area class.
    pub area_class: AreaClass,
    /// Its administrative division: the pack's, or one within it.
    pub division: DivisionCode,
    /// The code of its grid cell; may be empty.
    pub cell: String,
    /// Where it is.
    pub position: Position,
    /// Its time zone, by its IANA name.
    pub time_zone: String,
    #[serde(skip)]
    pub(super) zone: TimeZone,
}

/// A device (设备).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its identity.
    pub id: DeviceId,
    /// Which site of the pack it is at.
    pub site: usize,
    /// Its model.
    pub model: String,
    /// Its serial number; may be empty.
    pub serial: String,
    /// Since when it is there (ISO 8601); may be empty.
    pub installed: String,
    /// Who decides on its readings.
    pub decides: DecidesAt,
    /// What it measures, in ascending order; empty when that is not said.
    pub measures: Vec<Quantity>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Places {
    pub(super) sites: Vec<Site>,
    pub(super) devices: Vec<Device>,
    /// Whether the sites could be read: if not, what refers to them is not said to be wrong.
    #[serde(skip)]
    pub(super) sites_readable: bool,
    #[serde(skip)]
    pub(super) site_index: HashMap<SiteId, usize>,
    #[serde(skip)]
    pub(super) device_index: HashMap<DeviceId, usize>,
}

pub(super) fn read_sites(
    text: &str,
    division: Option<&DivisionCode>,
    places: &mut Places,
    problems: &mut Problems,
) {
    let columns = Columns {
        required: &["site", "name_zh", "kind", "area_class", "division", "lon", "lat", "time_zone"],
        optional: &["name_en", "cell"],
        long: &[],
        prefix: None,
    };
    let mut lines = HashMap::new();
    let readable = table::read(SITES_FILE, text, &columns, PLACES_MAX, problems, |row| {
        let id = row.code::<SiteId>("site");
        let name_zh = row.needed("name_zh");
        let kind = row.word("kind", SiteKind::from_word, SiteKind::words());
        let area_class = row.word("area_class", AreaClass::from_word, AreaClass::words());
        let own_division = read_division(row, division);
        let (longitude, latitude) = (read_degrees(row, "lon", 180.0), read_degrees(row, "lat", 90.0));
        let zone = read_zone(row);
        let Some(id) = id else { return };
        if is_twice(row, "site", &mut lines, &id) {
            return;
        }
        // The id is known from here on, so that the site's devices do not say that it is not there.
        places.site_index.insert(id.clone(), places.sites.len());
        places.sites.push(Site {
            id,
            name_zh: name_zh.unwrap_or_default().to_owned(),
            name_en: row.text("name_en").to_owned(),
            // Stand-ins where something is wrong: the pack does not load then.
            kind: kind.unwrap_or(SiteKind::Other),
            area_class: area_class.unwrap_or(AreaClass::Class2),
            division: own_division.unwrap_or_else(DivisionCode::stand_in),
            cell: row.text("cell").to_owned(),
            position: Position { latitude_e7: latitude.unwrap_or(0), longitude_e7: longitude.unwrap_or(0) },
            time_zone: row.text("time_zone").to_owned(),
            zone: zone.unwrap_or(TimeZone::UTC),
        });
    });
    places.sites_readable = readable;
}

fn read_division(row: &Row<'_>, pack: Option<&DivisionCode>) -> Option<DivisionCode> {
    let division: DivisionCode = row.code("division")?;
    if let Some(pack) = pack
        && !division.as_str().starts_with(pack.as_str())
    {
        let what = format!("`{division}` is not in the pack's division, {pack}");
        row.wrong("division", what, "correct it, or put the site into its own district's pack");
        return None;
    }
    Some(division)
}

/// Degrees as ten-millionths.
fn read_degrees(row: &Row<'_>, column: &str, most: f64) -> Option<i32> {
    let cell = row.needed(column)?;
    let degrees: Option<f64> = cell.parse().ok().filter(|degrees: &f64| degrees.abs() <= most);
    if degrees.is_none() {
        let what = format!("`{cell}` is not in degrees from -{most} to {most}");
        let way_out = match cell.parse().is_ok_and(|degrees: f64| degrees.abs() <= 180.0) {
            true => "is it the longitude? Exchange lon and lat",
            false => "write decimal degrees, such as 114.3461 for lon and 22.6908 for lat (WGS 84)",
        };
        row.wrong(column, what, way_out);
    }
    // 180 degrees are 1.8e9, within an i32.
    degrees.map(|degrees| (degrees * 1e7).round() as i32)
}

fn read_zone(row: &Row<'_>) -> Option<TimeZone> {
    let name = row.needed("time_zone")?;
    let zone = time_zone(name);
    if zone.is_none() {
        let known: Vec<String> =
            jiff::tz::TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
        // One time for all of China, under the name of one city.
        let in_china = ["beijing", "peking", "china", "+8", "+08", "北京", "中国", "上海"]
            .iter()
            .any(|word| name.to_lowercase().contains(word));
        let way_out = match in_china {
            true => "write Asia/Shanghai".to_owned(),
            false => {
                did_you_mean(name, known.iter().map(String::as_str), "use an IANA name such as Asia/Shanghai")
            }
        };
        row.wrong("time_zone", format!("there is no time zone `{name}`"), way_out);
    }
    zone
}

pub(super) fn read_devices(text: &str, places: &mut Places, problems: &mut Problems) {
    let columns = Columns {
        required: &["device", "site", "model"],
        optional: &["serial", "installed", "decides", "measures"],
        long: &[],
        prefix: None,
    };
    let mut lines = HashMap::new();
    let _ = table::read(DEVICES_FILE, text, &columns, PLACES_MAX, problems, |row| {
        let id = row.needed("device").and_then(|cell| {
            cell.parse::<DeviceId>()
                .map_err(|way_out| {
                    row.wrong("device", format!("`{cell}` is not a device id"), way_out.to_string())
                })
                .ok()
        });
        let site = read_site(row, places);
        let installed = read_date(row, "installed");
        let decides = match row.text("decides") {
            "" => Some(DecidesAt::Gateway),
            _ => row.word("decides", DecidesAt::from_word, DecidesAt::words()),
        };
        let measures = read_quantities(row, "measures");
        let (Some(id), Some(site)) = (id, site) else { return };
        if is_twice(row, "device", &mut lines, &id) {
            return;
        }
        places.device_index.insert(id, places.devices.len());
        places.devices.push(Device {
            id,
            site,
            model: row.text("model").to_owned(),
            serial: row.text("serial").to_owned(),
            installed: installed.unwrap_or_default().to_owned(),
            decides: decides.unwrap_or(DecidesAt::Gateway),
            measures,
        });
    });
}

/// Quantities, with blanks or `;` between them.
fn read_quantities(row: &Row<'_>, column: &str) -> Vec<Quantity> {
    let words = row.text(column).split([' ', ';']).filter(|word| !word.is_empty());
    let mut quantities: Vec<Quantity> = words
        .filter_map(|word| {
            let found = word.parse().ok();
            if found.is_none() {
                let names: Vec<String> = Quantity::NAMED.iter().map(Quantity::to_string).collect();
                let otherwise = format!("use some of {}", names.join(", "));
                let way_out = did_you_mean(word, names.iter().map(String::as_str), otherwise);
                row.wrong(column, format!("there is no quantity `{word}`"), way_out);
            }
            found
        })
        .collect();
    quantities.sort_unstable();
    quantities.dedup();
    quantities
}

/// A date, or nothing.
fn read_date<'r>(row: &'r Row<'_>, column: &str) -> Option<&'r str> {
    let cell = row.text(column);
    // Only as it is written back: jiff also takes `20260115` and what has a time behind it.
    let is_date = cell.parse::<Date>().is_ok_and(|date| date.to_string() == cell);
    if !cell.is_empty() && !is_date {
        row.wrong(column, format!("`{cell}` is not a date"), "write it as 2026-01-15, or leave it empty");
        return None;
    }
    Some(cell)
}

fn read_site(row: &Row<'_>, places: &Places) -> Option<usize> {
    let id = row.needed("site")?;
    let found = places.site_index.get(id).copied();
    if found.is_none() && places.sites_readable {
        let ids = places.sites.iter().map(|site| site.id.as_str());
        let way_out = did_you_mean(id, ids, format!("add it to {SITES_FILE}"));
        row.wrong("site", format!("there is no site `{id}`"), way_out);
    }
    found
}
