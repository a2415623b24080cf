//! Whether the spool is still sound: whoever reads or writes it says here when SQLite finds damage, and the gateway listens.

use std::sync::Arc;

use tokio::sync::watch;

use super::SpoolError;

/// What is known of a spool's soundness. All clones are of the same spool.
#[derive(Clone, Debug)]
pub struct Health(Arc<watch::Sender<Option<String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Health {
    /// Damage was found. The first that is found stays.
    pub(super) fn found(&self, damage: &str) {
        self.0.send_if_modified(|known| {
            let is_new = known.is_none();
            if is_new {
                *known = Some(damage.to_owned());
            }
            is_new
        });
    }

    /// Takes note of an error, when it is damage.
    pub(super) fn note(&self, error: &SpoolError) {
        if let SpoolError::Damaged { what, .. } = error {
            self.found(what);
        }
    }

    /// The damage that was found, if any.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until damage is found, and says which. Never ends while the spool is sound.
    pub async fn damaged(&self) -> String {
        let mut known = self.0.subscribe();
        loop {
            if let Some(damage) = known.borrow_and_update().clone() {
                return damage;
            }
            // Not closed while this holds the sender.
            if known.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
