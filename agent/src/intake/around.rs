//! What is measured around devices, site by site: for rules that look at other devices of their site.
//!
//! A reading is known to a site's rules from the moment at which it is taken, in the order of the records; a start reads what
//! is stored, so rules know the same after it. Sites whose rules ask nothing cost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::Surroundings;
use gridpost_protocol::reading::Reading;
use gridpost_protocol::time::UnixMillis;

use crate::decide::District;
use crate::spool::{Spool, SpoolError};

/// One site's surroundings, shared by the rules of its devices.
type Shared = Arc<Mutex<Surroundings>>;

/// All sites that a device has spoken from.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// By the site's place in the pack; [`None`] where no rule asks.
    sites: HashMap<usize, Option<Shared>>,
    /// A transaction failed: what is known is not what is stored.
    stale: bool,
}

impl Around {
    /// The surroundings of a device that is in the pack, with what is stored; [`None`] where no rule asks.
    pub(super) fn of(
        &mut self,
        district: &District,
        device: DeviceId,
        spool: &Spool,
    ) -> Result<Option<Shared>, SpoolError> {
        let Some(placed) = district.pack.device(device) else { return Ok(None) };
        if let Some(known) = self.sites.get(&placed.site) {
            return Ok(known.clone());
        }
        let mut around = district.pack.surroundings_of(district.pack.site_of(placed));
        let shared = if around.is_empty() {
            None
        } else {
            fill(&mut around, placed.site, district, spool)?;
            Some(Arc::new(Mutex::new(around)))
        };
        self.sites.insert(placed.site, shared.clone());
        Ok(shared)
    }

    /// A reading that was stored, of a device that has a time.
    pub(super) fn take(&self, district: &District, device: DeviceId, at: UnixMillis, reading: &Reading) {
        let site = district.pack.device(device).and_then(|placed| self.sites.get(&placed.site));
        if let Some(Some(around)) = site {
            around.lock().unwrap_or_else(PoisonError::into_inner).take(at, reading);
        }
    }

    /// The transaction failed: its readings were not stored.
    pub(super) const fn rolled_back(&mut self) {
        self.stale = true;
    }

    /// Reads again what is stored, if a transaction failed.
    pub(super) fn renew(&mut self, district: &District, spool: &Spool) -> Result<(), SpoolError> {
        if !self.stale {
            return Ok(());
        }
        for (site, shared) in &self.sites {
            let Some(shared) = shared else { continue };
            let mut around = shared.lock().unwrap_or_else(PoisonError::into_inner);
            around.forget();
            fill(&mut around, *site, district, spool)?;
        }
        self.stale = false;
        Ok(())
    }
}

fn fill(
    around: &mut Surroundings,
    site: usize,
    district: &District,
    spool: &Spool,
) -> Result<(), SpoolError> {
    for device in district.pack.devices().iter().filter(|device| device.site == site) {
        spool.readings(device.id, 0, UnixMillis(0), |stored| around.take(stored.at, &stored.reading))?;
    }
    Ok(())
}
