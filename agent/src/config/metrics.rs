//! Where metrics and health can be read.

use serde::Deserialize;

use super::links::Address;

/// The listener for metrics and health.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port, such as `127.0.0.1:9464`.
    pub listen: String,
    /// Whether other machines may read them. Nobody is asked for a password, and nothing is encrypted.
    #[serde(default)]
    pub allow_remote: bool,
}

impl MetricsConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        let address = Address::parse(&self.listen).map_err(|what| format!("[metrics] listen: {what}"))?;
        if address.is_loopback() || self.allow_remote {
            return Ok(());
        }
        Err(format!(
            "[metrics] listen: {} can be reached from other machines, and whoever reaches it may read; write 127.0.0.1:9464, or add \
             allow_remote = true if the network is trusted",
            self.listen
        ))
    }
}
