//! Deadlines and levels, as people write them.

use gridpost_protocol::pack::{DEADLINE_HOURS_MAX, Level};

use super::half_width;

/// Why a cell is not what it should be: what, and the way out.
pub type Wrong = (String, String);

/// A deadline in hours. A part of an hour counts as one; a working day as 24 hours, as gateways know no holidays.
///
/// # Errors
/// When it is none.
pub fn deadline(cell: &str, unit_hours: Option<u32>) -> Result<u32, Wrong> {
    let wrong = || {
        let way_out = "write a number with its unit, such as 2小时, 3天, 5个工作日, 30分钟 or 48h";
        (format!("`{cell}` is not a deadline"), way_out.to_owned())
    };
    let text: String =
        half_width(cell).chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let minutes = match unit.trim_start_matches('个').trim_end_matches("内") {
        "分钟" | "分" | "min" | "minutes" => 1,
        "小时" | "时" | "钟头" | "h" | "hour" | "hours" => 60,
        "天" | "日" | "工作日" | "自然日" | "d" | "day" | "days" | "workingday" | "workingdays" => {
            24 * 60
        }
        "周" | "星期" | "week" | "weeks" => 7 * 24 * 60,
        "" => match unit_hours {
            Some(hours) => hours * 60,
            None => {
                let way_out =
                    "write it as `48小时`, or say what numbers count with --deadline-unit hours or days";
                return Err((format!("`{cell}` has no unit"), way_out.to_owned()));
            }
        },
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let hours = (number * f64::from(minutes) / 60.0).ceil();
    if hours < 1.0 || hours > f64::from(DEADLINE_HOURS_MAX) {
        return Err((
            format!("`{cell}` is out of range"),
            format!("deadlines are 1 to {DEADLINE_HOURS_MAX} hours"),
        ));
    }
    Ok(hours as u32)
}

/// The level of implementation.
///
/// # Errors
/// When it is none, or more than one.
pub fn level(cell: &str) -> Result<Level, Wrong> {
    let text: String = half_width(cell)
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .collect::<String>()
        .to_lowercase();
    Ok(match text.as_str() {
        "市" | "市级" | "city" | "municipal" => Level::City,
        "区" | "区级" | "县" | "县级" | "区县" | "区县级" | "district" | "county" => {
            Level::District
        }
        "街道" | "街道级" | "镇" | "乡镇" | "镇街" | "镇街级" | "街镇" | "subdistrict" | "street" => {
            Level::SubDistrict
        }
        "社区" | "社区级" | "村" | "村居" | "村社区" | "community" | "village" => Level::Community,
        _ => {
            let way_out = "write one of 市级, 区级, 街道, 社区 (city, district, sub-district, community)";
            return Err((format!("`{cell}` is not one level"), way_out.to_owned()));
        }
    })
}
