//! What one transaction can do with events, and how their bounds are held.

use std::ops::RangeInclusive;

use gridpost_protocol::time::UnixMillis;
use rusqlite::params;

use super::mark::Newest;
use super::{
    EVENT_BYTES_MAX, EVENT_OVERHEAD_BYTES, PAGES_GIVEN_BACK_AT_ONCE, REFUSED_MAX, Totals, Transaction,
};
use crate::event::{Event, rank};
use crate::uplink::topics;

/// Events evicted at once, before it is looked again whether that was enough.
const EVICTED_AT_ONCE: i64 = 32;
/// How the names of [`Totals::untold`] begin in the table `meta`.
const UNTOLD: &str = "untold:";
/// Within so many bytes of its beginning an event says its time: before it come id, source, type and subject.
const TIME_WITHIN: i64 = 1_024;

/// The time that a CloudEvent says, in milliseconds.
fn time_of(beginning: &[u8]) -> Option<i64> {
    const KEY: &[u8] = b"\"time\":\"";
    let at = beginning.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    let text = beginning.get(at..)?.split(|byte| *byte == b'"').next()?;
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(time.as_millisecond())
}

impl Totals {
    pub(super) fn load(connection: &rusqlite::Connection) -> rusqlite::Result<Self> {
        let mut totals = Self { untold_from_ms: i64::MAX, untold_to_ms: i64::MIN, ..Self::default() };
        let mut statement = connection.prepare("SELECT name, value FROM meta")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let value = row.get(1)?;
            match row.get_ref(0)?.as_str()? {
                "events" => totals.events = value,
                "event_bytes" => totals.event_bytes = value,
                "events_evicted" => totals.events_evicted = value,
                "refused_dropped" => totals.refused_dropped = value,
                "readings_evicted" => totals.readings_evicted = value,
                "minutes_evicted" => totals.minutes_evicted = value,
                "untold_from_ms" => totals.untold_from_ms = value,
                "untold_to_ms" => totals.untold_to_ms = value,
                "told_ms" => totals.told_ms = value,
                name => {
                    let class = name.strip_prefix(UNTOLD).and_then(|class| class.parse::<usize>().ok());
                    if let Some(untold) = class.and_then(|class| totals.untold.get_mut(class)) {
                        *untold = value;
                    }
                }
            }
        }
        Ok(totals)
    }

    /// Takes down what an event was that goes, by its rank and its beginning: that is to be told.
    fn take_down(&mut self, rank: u8, beginning: Option<&[u8]>) {
        self.untold[rank::class(rank)] += 1;
        if let Some(at) = beginning.and_then(time_of) {
            self.untold_from_ms = self.untold_from_ms.min(at);
            self.untold_to_ms = self.untold_to_ms.max(at);
        }
    }

    pub(super) fn store(self, before: Self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for (name, value, was) in [
            ("events", self.events, before.events),
            ("event_bytes", self.event_bytes, before.event_bytes),
            ("events_evicted", self.events_evicted, before.events_evicted),
            ("refused_dropped", self.refused_dropped, before.refused_dropped),
            ("readings_evicted", self.readings_evicted, before.readings_evicted),
            ("minutes_evicted", self.minutes_evicted, before.minutes_evicted),
            ("untold_from_ms", self.untold_from_ms, before.untold_from_ms),
            ("untold_to_ms", self.untold_to_ms, before.untold_to_ms),
            ("told_ms", self.told_ms, before.told_ms),
        ] {
            if value != was {
                transaction.set_meta(name, value)?;
            }
        }
        for (class, (value, was)) in self.untold.iter().zip(before.untold).enumerate() {
            if *value != was {
                transaction.set_meta(&format!("{UNTOLD}{class}"), *value)?;
            }
        }
        Ok(())
    }
}

impl Transaction<'_> {
    /// Puts an event into the outbox; returns its row. One that no broker would take (larger than
    /// [`EVENT_BYTES_MAX`], or with a topic that cannot be published to) is set aside at once.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_event(&self, event: &Event) -> rusqlite::Result<i64> {
        self.raise_for_event(event)?;
        let row = self.put_event(event)?;
        self.made.borrow_mut().push(event.labels());
        Ok(row)
    }

    /// As [`Self::add_event`], for one that was made, and counted, before.
    pub(crate) fn put_event(&self, event: &Event) -> rusqlite::Result<i64> {
        let size = event.topic.len() + event.payload.len();
        let bytes =
            i64::try_from(size + event.id.len()).unwrap_or(i64::MAX).saturating_add(EVENT_OVERHEAD_BYTES);
        let id = self
            .inner
            .prepare_cached(
                "INSERT INTO event (severity, bytes, event_id, topic, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .insert(params![event.severity, bytes, event.id, event.topic, event.payload])?;
        self.newest.set(Newest { event: id, ..self.newest.get() });
        self.count(|totals| {
            totals.events += 1;
            totals.event_bytes += bytes;
        });
        if size > EVENT_BYTES_MAX {
            self.refuse_event(id, &format!("{size} bytes; an event has at most {EVENT_BYTES_MAX}"))?;
        } else if !topics::is_publishable(&event.topic) {
            self.refuse_event(id, "its topic cannot be published to")?;
        }
        Ok(id)
    }

    /// The platform has these rows: lets them go. Returns how many went.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn release_events(&self, rows: &RangeInclusive<i64>) -> rusqlite::Result<i64> {
        self.delete_events(
            "DELETE FROM event WHERE id BETWEEN ?1 AND ?2 RETURNING bytes",
            params![rows.start(), rows.end()],
        )
    }

    /// The broker refused an event for good: sets it aside, so that it holds up nobody and is not lost.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn refuse_event(&self, id: i64, reason: &str) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "INSERT OR IGNORE INTO refused (id, severity, event_id, topic, payload, reason) \
                 SELECT id, severity, event_id, topic, payload, ?2 FROM event WHERE id = ?1",
            )?
            .execute(params![id, reason])?;
        self.refused.set(true);
        self.delete_events("DELETE FROM event WHERE id = ?1 RETURNING bytes", params![id])?;
        Ok(())
    }

    /// Puts what was refused back into the outbox, with new rows. Returns how many.
    pub(super) fn send_refused_again(&self) -> rusqlite::Result<usize> {
        let refused: Vec<Event> = self
            .inner
            .prepare_cached("SELECT event_id, topic, severity, payload FROM refused ORDER BY id")?
            .query_map([], |row| {
                Ok(Event { id: row.get(0)?, topic: row.get(1)?, severity: row.get(2)?, payload: row.get(3)? })
            })?
            .collect::<rusqlite::Result<_>>()?;
        self.inner.prepare_cached("DELETE FROM refused")?.execute([])?;
        for event in &refused {
            self.put_event(event)?;
        }
        Ok(refused.len())
    }

    /// Deletes with a statement that returns the `bytes` of what it deletes, and keeps the totals right.
    fn delete_events(&self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<i64> {
        let (mut events, mut bytes) = (0, 0);
        let mut statement = self.inner.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            events += 1;
            bytes += row.get::<_, i64>(0)?;
        }
        self.count(|totals| {
            totals.events -= events;
            totals.event_bytes -= bytes;
        });
        Ok(events)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        change(&mut totals);
        self.totals.set(totals);
    }

    /// While the outbox is over its bound, the oldest of the least severe events go.
    pub(super) fn evict_events(&self) -> rusqlite::Result<()> {
        let bytes_max = i64::try_from(self.limits.outbox_bytes_max).unwrap_or(i64::MAX);
        loop {
            let totals = self.totals.get();
            if totals.event_bytes <= bytes_max || totals.events <= 0 {
                return Ok(());
            }
            // One by one near the bound, so that nothing goes that need not.
            let over = totals.event_bytes - bytes_max;
            let mean = (totals.event_bytes / totals.events).max(1);
            let count = (over / mean).clamp(1, EVICTED_AT_ONCE);
            if self.evict(count)? == 0 {
                return Ok(());
            }
        }
    }

    /// Lets so many events go, and takes down what they were.
    fn evict(&self, count: i64) -> rusqlite::Result<i64> {
        let mut statement = self.inner.prepare_cached(
            "DELETE FROM event WHERE id IN (SELECT id FROM event ORDER BY severity, id LIMIT ?1) \
             RETURNING bytes, severity, substr(payload, 1, ?2)",
        )?;
        let mut rows = statement.query(params![count, TIME_WITHIN])?;
        let (mut gone, mut totals) = (0, self.totals.get());
        while let Some(row) = rows.next()? {
            gone += 1;
            totals.events -= 1;
            totals.event_bytes -= row.get::<_, i64>(0)?;
            totals.events_evicted += 1;
            totals.take_down(row.get(1)?, row.get_ref(2)?.as_blob().ok());
        }
        self.totals.set(totals);
        Ok(gone)
    }

    /// What a spool counted that this one takes the place of. Events that wait are counted as they are brought over.
    pub(super) fn go_on_counting(&self, before: &Totals) {
        self.count(|totals| {
            *totals = Totals { events: totals.events, event_bytes: totals.event_bytes, ..*before }
        });
    }

    /// The sums as they are in this transaction so far. What goes because it makes the outbox too large goes at its end.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.get()
    }

    /// What was evicted is told of now.
    pub(crate) fn told(&self, now: UnixMillis) {
        self.count(|totals| {
            totals.untold = Default::default();
            (totals.untold_from_ms, totals.untold_to_ms) = (i64::MAX, i64::MIN);
            totals.told_ms = now.0;
        });
    }

    /// Beyond its bound, the least severe of what was refused goes, and of that the oldest.
    pub(super) fn drop_refused(&self) -> rusqlite::Result<()> {
        let count: i64 =
            self.inner.prepare_cached("SELECT count(*) FROM refused")?.query_row([], |row| row.get(0))?;
        if count > REFUSED_MAX {
            let mut statement = self.inner.prepare_cached(
                "DELETE FROM refused WHERE id IN (SELECT id FROM refused ORDER BY severity, id LIMIT ?1) \
                 RETURNING severity, substr(payload, 1, ?2)",
            )?;
            let mut rows = statement.query(params![count - REFUSED_MAX, TIME_WITHIN])?;
            let mut totals = self.totals.get();
            while let Some(row) = rows.next()? {
                totals.refused_dropped += 1;
                totals.take_down(row.get(0)?, row.get_ref(1)?.as_blob().ok());
            }
            self.totals.set(totals);
        }
        Ok(())
    }

    /// Gives some of the pages back to the disk that deletions left free.
    pub(super) fn give_back_pages(&self) -> rusqlite::Result<()> {
        let free: i64 =
            self.inner.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
        let back = (free - self.free_pages_kept).min(PAGES_GIVEN_BACK_AT_ONCE);
        if back > 0 {
            // Gives back one page each time it is asked for the next row.
            let mut statement = self.inner.prepare(&format!("PRAGMA incremental_vacuum({back})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }
}
