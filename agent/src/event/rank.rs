//! How much an event matters when there is no room or no time for all: what goes first when the spool is full, and what
//! need not wait behind what.
//!
//! | rank | what | why there |
//! | --- | --- | --- |
//! | 0 | statistics | the next hour has some again |
//! | 10-19 | `early-warning`, by severity | what it warns of is an event of its own |
//! | 20 | `cleared` | a case stays open that a person would close |
//! | 30 | `gap` | a device can make many of them |
//! | 40 | `fault` of a sensor | said once, and the sensor stays silent |
//! | 50-59 | `exceeded`, by severity | what all this is for |
//! | 60 | `reported` by a grid worker, `calibration` | a person's work, said once |
//! | 70 | about this gateway's own losses | few, and without them others would be silent |
//!
//! The spool lets the lowest rank go first, and of one rank the oldest. From [`URGENT`] on an event is sent before fresh ones of
//! lower rank.

use super::cloudevent::CloudEvent;

/// What may be had again.
pub const STATISTICS: u8 = 0;
/// An `early-warning` of the lowest severity.
pub const EARLY_WARNING: u8 = 10;
/// The end of an episode.
pub const CLEARED: u8 = 20;
/// Records that a device gave up.
pub const GAP: u8 = 30;
/// A sensor that does not work.
pub const FAULT: u8 = 40;
/// An exceedance of the lowest severity.
pub const EXCEEDED: u8 = 50;
/// A grid worker's report, or a calibration.
pub const REPORTED: u8 = 60;
/// What the gateway itself lost.
pub const OWN_LOSS: u8 = 70;
/// From here on events do not wait behind fresh ones of lower rank.
pub const URGENT: u8 = GAP;

/// Severities that are told apart within a rank.
const SEVERITY_MAX: u8 = 9;
/// The classes of ten ranks each, by the phases that are in them.
pub const CLASSES: [&str; 8] =
    ["statistics", "early-warning", "cleared", "gap", "fault", "exceeded", "reported", "own-loss"];

/// The rank of an event.
#[must_use]
pub fn of(event: &CloudEvent) -> u8 {
    let severity = event.data.episode.as_ref().map_or(0, |episode| episode.severity.min(SEVERITY_MAX));
    match event.phase.as_str() {
        "early-warning" => EARLY_WARNING + severity,
        "cleared" => CLEARED,
        "gap" => GAP,
        "fault" => FAULT,
        "exceeded" => EXCEEDED + severity,
        "reported" | "calibration" => REPORTED,
        _ => OWN_LOSS,
    }
}

/// Which of [`CLASSES`] a rank belongs to.
#[must_use]
pub fn class(rank: u8) -> usize {
    usize::from(rank / 10).min(CLASSES.len() - 1)
}
