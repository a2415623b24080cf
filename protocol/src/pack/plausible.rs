//! Which limits a quantity can have: what lies beyond is a slip, or in another unit, such as 35000 Pa of a pressure in hPa.

use crate::quantity::Quantity;
use crate::reading::Milli;
use crate::rule::Statistic;

/// From where to where limits make sense, in the quantity's unit. Wide: a limit that nobody would set may pass, one that
/// somebody sets may not be refused. [`None`] for a district's own quantities, of which nothing is known.
fn bounds(quantity: Quantity) -> Option<(i32, i32)> {
    Some(match quantity {
        Quantity::ImpulseProminence
        | Quantity::LowFrequencyShare
        | Quantity::Tonality
        | Quantity::ModulationDepth
        | Quantity::LevelDeviation => (-100, 100),
        // Below 10 dB(A) there is no place on earth, above 200 dB no sound in air.
        quantity if quantity.unit() == "dB" => (10, 200),
        Quantity::Temperature => (-100, 200),
        Quantity::Humidity | Quantity::BatteryCharge => (0, 100),
        Quantity::Pressure => (300, 1200),
        Quantity::Pm1 | Quantity::Pm25 | Quantity::Pm10 | Quantity::Tsp => (1, 100_000),
        Quantity::Co2 => (10, 100_000),
        Quantity::Voc => (1, 1_000_000),
        Quantity::WaterLevel => (-20, 100),
        Quantity::Tilt => (-180, 180),
        Quantity::WindSpeed => (0, 150),
        Quantity::WindDirection => (0, 360),
        Quantity::Rain | Quantity::RainRate => (0, 2000),
        Quantity::BatteryVoltage => (0, 1000),
        Quantity::Vibration => (0, 10_000),
        _ => return None,
    })
}

/// What is wrong with a limit of a quantity, and the way out; [`None`] when it makes sense.
pub(super) fn wrong_limit(
    quantity: Quantity,
    statistic: Statistic,
    limit: Milli,
) -> Option<(String, String)> {
    let (least, most) = match (bounds(quantity)?, statistic) {
        // The rise over a window, which may be a fall.
        ((least, most), Statistic::Change) => (least - most, most - least),
        (bounds, _) => bounds,
    };
    // Bounds are far below what an i32 holds in thousandths.
    if (least * 1000..=most * 1000).contains(&limit.0) {
        return None;
    }
    let unit = match quantity.unit() {
        "1" => String::new(),
        unit => format!(" {unit}"),
    };
    Some((
        format!("{}{unit} is no limit for {quantity}", limit.to_f64()),
        format!("write it in the quantity's own unit, from {least} to {most}{unit}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_another_unit_are_seen() {
        let wrong = |quantity: &str, limit: i32| {
            wrong_limit(quantity.parse().unwrap(), Statistic::Last, Milli(limit)).is_some()
        };
        for (quantity, right, other) in [
            ("LAeq", 55_000, 55_000_000),          // thousandths of a dB
            ("LAeq", 10_000, 20),                  // Pa
            ("temperature", 35_000, 308_150),      // K
            ("pressure", 1_013_000, 101_300),      // kPa
            ("PM10", 150_000, 150),                // mg/m3
            ("CO2", 1_000_000, 100),               // %
            ("water_level", 300, 300_000),         // mm
            ("wind_speed", 5_000, 5_000_000),      // mm/s
            ("battery_voltage", 3_300, 3_300_000), // mV
            ("low_frequency_share", -3_000, 200_000),
        ] {
            assert!(!wrong(quantity, right), "{quantity} {right}");
            assert!(wrong(quantity, other), "{quantity} {other}");
        }
        assert!(!wrong("custom5", i32::MAX), "nothing is known of a district's own");
        assert!(wrong_limit(Quantity::LAeq, Statistic::Change, Milli(5000)).is_none());
        assert!(wrong_limit(Quantity::LAeq, Statistic::Change, Milli(500_000)).is_some());
    }
}
