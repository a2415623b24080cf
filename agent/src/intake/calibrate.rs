//! Starting the calibration of a device's meter. What comes of it arrives as a record.

use std::fmt;

use gridpost_protocol::calibration::Calibrate;
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::session::node::SessionError;

use super::Intake;

/// Why a device could not be told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTold {
    /// The pack places no such device, or there is no key for it.
    Unknown,
    /// It has not been heard since this gateway started.
    NotHeard,
    /// Its connection is gone, or takes nothing.
    Gone,
    /// The frame cannot be made.
    Frame(SessionError),
}

impl fmt::Display for NotTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("there is no such device: it is not in the pack's devices.csv, or has no key")
            }
            Self::NotHeard => f.write_str("the device has not been heard since this gateway started"),
            Self::Gone => {
                f.write_str("the device's connection is gone, or takes nothing; ask again when it is back")
            }
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotTold {}

impl Intake {
    /// Tells a device that the calibrator is being put on. Says nothing of whether it arrives: whoever waits for the event in vain asks
    /// again.
    ///
    /// # Errors
    /// When the device cannot be told now.
    pub fn calibrate(&mut self, device: DeviceId, calibrate: &Calibrate) -> Result<(), NotTold> {
        if self.keys.get(device).is_none() || !self.district.knows(device) {
            return Err(NotTold::Unknown);
        }
        let known = self.devices.get_mut(&device).ok_or(NotTold::NotHeard)?;
        let answers = known.answers.as_ref().ok_or(NotTold::NotHeard)?;
        let frame = known.session.calibrate(calibrate).map_err(NotTold::Frame)?;
        answers.try_send(Box::new(frame)).map_err(|_| NotTold::Gone)?;
        tracing::info!(%device, nominal = %calibrate.nominal, "the device is told to calibrate its meter");
        Ok(())
    }
}
