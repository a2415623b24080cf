//! Whether the spool is still sound: whoever reads or writes it says here when SQLite finds damage, and the gateway listens.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::SpoolError;

/// What was found, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// What the file holds is damaged: what can be read is to be brought over.
    Inside(String),
    /// The files that are open are not those at the spool's path any more: what is there is to be opened.
    TakenAway(String),
}

impl Damage {
    /// What was found, in words.
    #[must_use]
    pub fn what(&self) -> &str {
        let (Self::Inside(what) | Self::TakenAway(what)) = self;
        what
    }

    pub(super) fn into_error(self, path: &Path) -> SpoolError {
        let path = path.to_owned();
        match self {
            Self::Inside(what) => SpoolError::Damaged { path, what },
            Self::TakenAway(what) => SpoolError::TakenAway { path, what },
        }
    }
}

/// What is known of a spool's soundness. All clones are of the same spool.
#[derive(Clone, Debug)]
pub struct Health(Arc<watch::Sender<Option<Damage>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Health {
    /// Damage was found. The first that is found stays.
    pub(super) fn found(&self, damage: Damage) {
        self.0.send_if_modified(|known| {
            let is_new = known.is_none();
            known.get_or_insert(damage);
            is_new
        });
    }

    /// Takes note of an error, when it is damage.
    pub(super) fn note(&self, error: &SpoolError) {
        match error {
            SpoolError::Damaged { what, .. } => self.found(Damage::Inside(what.clone())),
            SpoolError::TakenAway { what, .. } => self.found(Damage::TakenAway(what.clone())),
            _ => {}
        }
    }

    /// The damage that was found, if any.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.0.borrow().clone()
    }

    /// Waits until damage is found, and says which. Never ends while the spool is sound.
    pub async fn damaged(&self) -> Damage {
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
