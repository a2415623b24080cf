//! Which sensors were told to fail, and not yet to work again: by name, because firmware that is brought up to date may have others, in
//! another order.
//!
//! Bound: [`FAILING_MAX`] sensors at a time. Of one more it is not remembered over a restart that it failed.

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::fault::SENSOR_NAME_BYTES_MAX;
use heapless::{String, Vec};

use super::{Store, StoreError, state};

/// How many sensors are remembered.
pub const FAILING_MAX: usize = 8;
/// Their names, each with its length.
const BYTES_MAX: usize = FAILING_MAX * (SENSOR_NAME_BYTES_MAX + 1) + 1;

/// The sensors' names.
pub(super) type Failing = Vec<String<SENSOR_NAME_BYTES_MAX>, FAILING_MAX>;

impl<F: MultiwriteNorFlash> Store<F> {
    /// Whether a sensor was told to fail, and not yet to work again.
    #[must_use]
    pub fn is_failing(&self, sensor: &str) -> bool {
        self.failing.iter().any(|name| name == sensor)
    }

    /// Remembers that a sensor was told to fail, or to work.
    ///
    /// # Errors
    /// When the flash fails.
    pub async fn set_failing(&mut self, sensor: &str, failing: bool) -> Result<(), StoreError<F::Error>> {
        if self.is_failing(sensor) == failing {
            return Ok(());
        }
        let mut now = self.failing.clone();
        now.retain(|name| name != sensor);
        if failing && let Ok(name) = String::try_from(sensor) {
            // Beyond the bound it is not remembered.
            let _ = now.push(name);
        }
        let mut bytes = [0; BYTES_MAX];
        let bytes = postcard::to_slice(&now, &mut bytes).map_err(|_| StoreError::Record)?;
        state::put_bytes(&mut self.flash, &self.state, state::FAILING, bytes).await?;
        self.failing = now;
        Ok(())
    }

    /// At a start.
    pub(super) async fn look_up_failing(&mut self) -> Result<(), StoreError<F::Error>> {
        let mut buffer = [0; state::ITEM_BYTES_MAX];
        let bytes = state::get_bytes(&mut self.flash, &self.state, state::FAILING, &mut buffer).await?;
        // What another version wrote is not understood, and forgotten.
        self.failing = bytes.and_then(|bytes| postcard::from_bytes(bytes).ok()).unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embassy_futures::block_on;

    use super::super::tests::{flash, open};
    use super::*;

    #[test]
    fn each_sensor_is_remembered_for_itself_over_a_restart() {
        let mut store = open(flash());
        for (sensor, failing) in [("sht4x", true), ("sht4x-2", true), ("tmp105", true), ("sht4x", false)] {
            block_on(store.set_failing(sensor, failing)).unwrap();
        }
        let mut store = open(store.close());
        let failing = |name| store.is_failing(name);
        assert!(!failing("sht4x") && failing("sht4x-2") && failing("tmp105") && !failing("sps30"));
        // One beyond the bound costs nobody else anything.
        for n in 0..FAILING_MAX {
            block_on(store.set_failing(&std::format!("a-sensor-with-a-name-{n:03}"), true)).unwrap();
        }
        let store = open(store.close());
        assert!(store.is_failing("sht4x-2") && store.is_failing("a-sensor-with-a-name-005"));
        assert!(!store.is_failing("a-sensor-with-a-name-006"));
    }
}
