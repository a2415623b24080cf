//! Days and nights, and what the background adds (GB 3096-2008, GB 12348-2008, HJ 906-2017).
//!
//! Levels are [`Milli`] dB, as records have them.

use gridpost_protocol::reading::{Milli, ten_to};

/// By how much the night counts more in Ldn.
const NIGHT_PENALTY: Milli = Milli(10_000);
/// Day is 06:00 to 22:00 unless the local government says otherwise (GB 3096-2008).
pub const DAY_HOURS: u32 = 16;
/// Night is the rest.
pub const NIGHT_HOURS: u32 = 8;

/// The energy mean of levels of equally long stretches; `None` of none at all.
#[must_use]
pub fn mean_level(levels: &[Milli]) -> Option<Milli> {
    of_energy(levels.iter().map(|level| energy(*level)).sum::<f64>() / levels.len() as f64)
}

/// The energy mean of a day's and a night's level, by their hours; `None` if there are no hours.
#[must_use]
pub fn mean_of_day_and_night(day: Milli, night: Milli, day_hours: u32, night_hours: u32) -> Option<Milli> {
    let sum = f64::from(day_hours) * energy(day) + f64::from(night_hours) * energy(night);
    of_energy(sum / f64::from(day_hours.saturating_add(night_hours)))
}

/// Ldn = 10 lg{[16·10^(Ld/10) + 8·10^((Ln+10)/10)]/24}, for the usual 16 and 8 hours.
#[must_use]
pub fn day_night_level(day: Milli, night: Milli) -> Option<Milli> {
    let night = Milli(night.0.saturating_add(NIGHT_PENALTY.0));
    mean_of_day_and_night(day, night, DAY_HOURS, NIGHT_HOURS)
}

/// What is to be added to a measured level because of the background, in whole dB (GB 12348-2008 5.7, Table 4; the same
/// in GB 22337-2008 and GB 12523): nothing above 10 dB of difference, -1 from 6, -2 from 4, -3 at 3. Differences from 3 to
/// 10 are rounded to whole dB first. `None` below 3 dB: then the measurement is not valid.
#[must_use]
pub fn background_correction(measured: Milli, background: Milli) -> Option<i32> {
    let difference = i64::from(measured.0) - i64::from(background.0);
    match difference {
        ..3000 => None,
        10_001.. => Some(0),
        // Halves go up; that even ones would go down (GB/T 8170) makes no difference: 4.5 and 6.5 stay in their row.
        _ => match (difference + 500) / 1000 {
            ..=3 => Some(-3),
            4..=5 => Some(-2),
            _ => Some(-1),
        },
    }
}

fn energy(level: Milli) -> f64 {
    ten_to(level.to_f64() / 10.0)
}

/// `None` for 0/0, which is what the mean of nothing is.
fn of_energy(energy: f64) -> Option<Milli> {
    // A level that i32 thousandths hold can be beyond what an f64 energy holds: that has no mean either.
    (energy.is_finite() && energy > 0.0).then(|| Milli(libm::round(10_000.0 * libm::log10(energy)) as i32))
}
