//! Readings as a person writes them down: one on the command line, or many in a CSV file.

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Lines, default_interval_ms};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::time::UnixMillis;

use crate::event::make::rfc3339;

/// The most readings that are taken: of a spool, the newest. More than the longest window of a noisy site.
pub const READINGS_MAX: usize = 1_000_000;
/// The longest CSV file of readings: so many, each with some spare cells.
pub const READINGS_BYTES_MAX: u64 = 128 << 20;

/// When, whose, and what.
pub type Given = (UnixMillis, DeviceId, Reading);

/// Adds the readings of a CSV file: columns `time`, `quantity`, `value`, and where need be `device`; this one otherwise.
///
/// # Errors
/// What is wrong, with the line.
pub fn rows(csv: &[u8], device: Option<DeviceId>, given: &mut Vec<Given>) -> Result<(), String> {
    let mut reader = csv::Reader::from_reader(csv);
    let headers = reader.headers().map_err(|error| error.to_string())?.clone();
    let mut lines = Lines::new(csv);
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = lines.of(&record);
        let row: Row =
            record.deserialize(Some(&headers)).map_err(|error| format!("line {line}: {}", reason(&error)))?;
        given.push(row.given(device).map_err(|what| format!("line {line}: {what}"))?);
        if given.len() > READINGS_MAX {
            return Err(format!(
                "line {line}: there are more than {READINGS_MAX} readings; leave out the oldest"
            ));
        }
    }
    Ok(())
}

/// What is wrong with a row; the place is said already.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    }
}

#[derive(serde::Deserialize)]
struct Row {
    time: String,
    quantity: String,
    value: f32,
    #[serde(default)]
    device: Option<String>,
}

impl Row {
    fn given(&self, device: Option<DeviceId>) -> Result<Given, String> {
        let own = self.device.as_deref().filter(|id| !id.is_empty());
        let device = match own {
            Some(id) => id.parse().map_err(|error| format!("`{id}` is not a device id: {error}"))?,
            None => device.ok_or("there is no column device, and no --device")?,
        };
        Ok((millis(&self.time)?, device, reading(&self.quantity, self.value)?))
    }
}

/// Adds what one text says: a reading, `LAeq=71.4@2026-11-22T23:10:00+08:00`, or with `..` and a second time one at each interval of the
/// quantity.
///
/// # Errors
/// What is wrong.
pub fn one(text: &str, device: DeviceId, given: &mut Vec<Given>) -> Result<(), String> {
    let form = "write it as LAeq=71.4@2026-11-22T23:10:00+08:00";
    let (quantity, rest) = text.split_once('=').ok_or(form)?;
    let (value, when) = rest.split_once('@').ok_or(form)?;
    let value: f32 = value.trim().parse().map_err(|_| format!("`{value}` is no number; {form}"))?;
    let reading = reading(quantity.trim(), value)?;
    let (from, to) = match when.split_once("..") {
        Some((from, to)) => (millis(from)?, millis(to)?),
        None => (millis(when)?, millis(when)?),
    };
    let every = i64::from(default_interval_ms(reading.quantity));
    let span = to.since(from);
    if span < 0 || span / every > READINGS_MAX as i64 {
        return Err(format!(
            "from {} to {} is backwards, or more than {READINGS_MAX} readings",
            rfc3339(from),
            rfc3339(to)
        ));
    }
    given.extend((0..=span / every).map(|step| (from.plus(step * every), device, reading)));
    Ok(())
}

/// A time as a person writes it.
///
/// # Errors
/// When it is none, or has no zone.
pub(crate) fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is no time with its zone; write it as 2026-11-22T23:10:00+08:00"))
}

fn millis(text: &str) -> Result<UnixMillis, String> {
    time(text).map(|at| UnixMillis(at.as_millisecond()))
}

fn reading(quantity: &str, value: f32) -> Result<Reading, String> {
    let quantity: Quantity = quantity.parse().map_err(|error| format!("`{quantity}` is {error}"))?;
    let value = Milli::from_f32(value).ok_or("the value is no number")?;
    if value.0.abs() == i32::MAX {
        return Err(format!("{} is out of range; values go to {}", value.to_f64(), i32::MAX / 1000));
    }
    Ok(Reading { quantity, value, quality: Quality::GOOD })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);

    fn taken(csv: &str) -> Result<Vec<Given>, String> {
        let mut given = Vec::new();
        rows(csv.as_bytes(), Some(DEVICE), &mut given).map(|()| given)
    }

    #[test]
    fn a_row_is_named_by_its_line_also_in_a_file_of_windows() {
        let csv = "time,quantity,value\r\n2026-11-22T23:00:00+08:00,LAeq,71.4\r\n2026-11-22T23:00:01+08:00,LAeq,loud\r\n";
        assert!(taken(csv).unwrap_err().starts_with("line 3: "));
    }

    #[test]
    fn a_row_without_a_device_is_of_the_one_that_is_named() {
        let given = taken(
            "time,quantity,value,device\n2026-11-22T23:00:00+08:00,LAeq,71.4,\n2026-11-22T23:00:01+08:00,LAeq,70,6770000000000002\n",
        )
        .unwrap();
        assert_eq!(given.iter().map(|(_, device, _)| device.0 & 0xf).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(given[1].0.since(given[0].0), 1_000);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let head = "time,quantity,value\n2026-11-22T23:00:00+08:00,LAeq,71.4\n";
        for (row, said) in [
            ("yesterday,LAeq,71.4", "line 3: `yesterday` is no time"),
            ("2026-11-22T23:00:00+08:00,noise,71.4", "line 3: `noise` is "),
            ("2026-11-22T23:00:00+08:00,LAeq,loud", "line 3: "),
            ("2026-11-22T23:00:00+08:00,LAeq,3000000", "line 3: 2147483"),
        ] {
            let error = taken(&format!("{head}{row}\n")).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let missing = taken("time,value\n2026-11-22T23:00:00+08:00,71.4\n").unwrap_err();
        assert!(missing.contains("quantity"), "{missing}");
    }
}
