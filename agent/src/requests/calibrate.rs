//! `calibrate`: has a device calibrate its sound level meter. What comes of it is an event.

use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::reading::Milli;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Refusal;
use super::status::DeviceText;
use super::{Ask, Desk};

/// The levels that acoustic calibrators have, in dB.
const LEVELS_DB: [u16; 2] = [94, 114];

/// What is to be calibrated, and with what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CalibrateKeys {
    /// The device.
    device: DeviceText,
    /// The calibrator's level.
    level_db: u16,
    /// A person has looked into a drift that was refused, and takes the new sensitivity.
    #[serde(default)]
    accept_drift: bool,
}

impl Desk {
    pub(super) async fn calibrate(&mut self, keys: CalibrateKeys) -> Result<Value, Refusal> {
        if !LEVELS_DB.contains(&keys.level_db) {
            let way_out = "level_db is the calibrator's level at 1 kHz: 94 or 114";
            return Err(Refusal::bad(format!("no calibrator has {} dB", keys.level_db), way_out));
        }
        let device = keys.device.0;
        let nominal = Milli(i32::from(keys.level_db) * 1000);
        let calibrate = Calibrate { nominal, accept_drift: keys.accept_drift };
        let told = self.ask(|answer| Ask::Calibrate { device, calibrate, answer }).await?;
        match told {
            Ok(()) => Ok(json!({ "device": device.to_string(), "told": true })),
            Err(error) => Err(Refusal::failed(
                error.to_string(),
                "see the device with the request status; ask again when it is connected",
            )),
        }
    }
}
