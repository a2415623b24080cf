//! The last event of each open episode: what is needed to clear it at the platform when its rule is gone, and with it the
//! pack that knew whose matter it was.

use gridpost_protocol::id::DeviceId;
use rusqlite::{OptionalExtension, params};

use super::{Spool, SpoolError, Transaction, to_row};
use crate::event::Event;

/// An episode that is open at the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEpisode {
    /// The device.
    pub device: DeviceId,
    /// The rule's id.
    pub rule: String,
    /// Where its last event was published.
    pub topic: String,
    /// Its last event.
    pub payload: Vec<u8>,
}

impl Spool {
    /// The episodes that are open, without those that were opened by a version that did not keep their events and have said
    /// nothing since.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn open_episodes(&self) -> Result<Vec<OpenEpisode>, SpoolError> {
        self.query(|connection| {
            connection
                .prepare("SELECT device, rule, topic, payload FROM episode ORDER BY device, rule")?
                .query_map([], |row| {
                    Ok(OpenEpisode {
                        device: DeviceId(row.get::<_, i64>(0)?.cast_unsigned()),
                        rule: row.get(1)?,
                        topic: row.get(2)?,
                        payload: row.get(3)?,
                    })
                })?
                .collect()
        })
    }
}

impl Transaction<'_> {
    /// Puts an event of an episode into the outbox, as [`Transaction::add_event`] does, with the case to which it belongs, and
    /// keeps it as the episode's last one while the episode is open.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_event_of_episode(
        &self,
        device: DeviceId,
        rule: &str,
        is_open: bool,
        event: &Event,
    ) -> rusqlite::Result<i64> {
        let in_case = self.in_its_case(device, rule, event)?;
        let event = in_case.as_ref().unwrap_or(event);
        if is_open {
            self.inner
                .prepare_cached(
                    "INSERT INTO episode (device, rule, topic, payload) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (device, rule) DO UPDATE SET topic = excluded.topic, payload = excluded.payload",
                )?
                .execute(params![to_row(device), rule, event.topic, event.payload])?;
        } else {
            self.drop_episode(device, rule)?;
        }
        self.add_event(event)
    }

    /// The last event of a rule's episode, if it is open: its topic and its payload.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn episode(&self, device: DeviceId, rule: &str) -> rusqlite::Result<Option<(String, Vec<u8>)>> {
        self.inner
            .prepare_cached("SELECT topic, payload FROM episode WHERE device = ?1 AND rule = ?2")?
            .query_row(params![to_row(device), rule], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    }

    /// Forgets the last event of a rule's episode.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drop_episode(&self, device: DeviceId, rule: &str) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached("DELETE FROM episode WHERE device = ?1 AND rule = ?2")?
            .execute(params![to_row(device), rule])?;
        Ok(())
    }
}
