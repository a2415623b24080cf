//! Another pack, between two readings.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::around::Around;
use super::share::Tell;
use super::{Answer, Intake};
use crate::decide::District;

impl Intake {
    /// The district that decides.
    #[must_use]
    pub const fn district(&self) -> &Arc<District> {
        &self.district
    }

    /// From here on this district decides. Each device's rules are loaded anew from the spool before its next frame is taken,
    /// as after a restart; its session goes on, whose counters must not begin anew under the same key. Devices that decide
    /// themselves and were heard since the start are told their new share with the next [`Self::committed`]; the others with
    /// their next `Hello`.
    ///
    /// To be called between two transactions.
    pub fn change_district(&mut self, district: Arc<District>) {
        debug_assert!(self.touched.is_empty(), "a transaction is under way");
        self.counters.devices.store(district.pack.devices().len() as u64, Ordering::Relaxed);
        self.district = district;
        self.around = Around::default();
        self.silences.forget();
        for (id, device) in &mut self.devices {
            device.stale = true;
            if !self.district.knows(*id) {
                continue;
            }
            let tell = device.share.change(&self.district, *id);
            if tell != Tell::Nothing
                && let Some(answers) = &device.answers
            {
                self.answers.push((*id, answers.clone(), Answer::Share(tell)));
            }
        }
    }
}
