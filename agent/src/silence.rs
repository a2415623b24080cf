//! Who is not heard any more, by the pack's `[[silence]]` rules.
//!
//! What is claimed is about this gateway: it has listened for so long and heard nothing. Only time in which it listened counts: a start and a
//! new pack begin anew, and a clock that is set or a machine that slept adds [`STEP_MS_MAX`] at most. So a backlog that comes later
//! contradicts nothing: its readings are decided on by their own times, and the silence is over (`heard-again`).
//!
//! Time comes in with [`Silences::tick`]; nothing here reads a clock or writes. That a silence is open is committed with its event, so after a
//! restart it is neither told twice nor forgotten. A device that never spoke is not silent, it is not there yet. Rule authors' cases
//! ([`crate::trial`]) listen with the same [`Silences`], without a spool ([`Silences::begin`], [`Silences::pass`]).
//!
//! Bounds: a watch for each device and rule that applies to it; costs nothing without such rules.

use std::collections::{HashMap, HashSet};

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::pack::{Pack, RuleId, SilenceRule};
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;

use crate::event::make::District;
use crate::event::silence::{self, HEARD_AGAIN};
use crate::spool::{Spool, SpoolError, Transaction};

/// The most that one tick may add to the time in which was listened, in milliseconds: ticks come each second, and a commit may hold them up.
pub const STEP_MS_MAX: i64 = 30_000;

/// One device under one rule.
#[derive(Clone, Copy, Debug)]
struct Watch {
    device: DeviceId,
    /// Which of the pack's silence rules.
    rule: usize,
    /// It spoke at least once, ever.
    is_known: bool,
    /// It is told that it is silent.
    is_open: bool,
    /// It was heard since the start, or since it was told to be silent.
    heard: bool,
    /// How long had been listened when it was last heard, or when listening began.
    from_ms: i64,
    /// The gateway's time then.
    since: UnixMillis,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    watch: usize,
    /// It is silent, or not any more.
    pub is_silent: bool,
}

/// All devices under all silence rules.
#[derive(Debug, Default)]
pub struct Silences {
    /// They are those of the pack that runs.
    loaded: bool,
    watches: Vec<Watch>,
    of_device: HashMap<DeviceId, Vec<usize>>,
    listened_ms: i64,
    ticked: Option<UnixMillis>,
}

impl Silences {
    /// Another pack runs: listening begins anew with the next tick.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Something authentic came of a device.
    pub fn heard(&mut self, pack: &Pack, device: DeviceId, now: UnixMillis) {
        self.note(pack, device, None, now);
    }

    /// A reading of a device came.
    pub fn read(&mut self, pack: &Pack, device: DeviceId, quantity: Quantity, now: UnixMillis) {
        self.note(pack, device, Some(quantity), now);
    }

    fn note(&mut self, pack: &Pack, device: DeviceId, what: Option<Quantity>, now: UnixMillis) {
        // What the next tick will have listened by now.
        let passed = self.ticked.map_or(0, |last| now.since(last)).clamp(0, STEP_MS_MAX);
        for index in self.of_device.get(&device).into_iter().flatten() {
            let watch = &mut self.watches[*index];
            if pack.silences().get(watch.rule).is_some_and(|rule| rule.quantity == what) {
                *watch = Watch {
                    is_known: true,
                    heard: true,
                    from_ms: self.listened_ms + passed,
                    since: now,
                    ..*watch
                };
            }
        }
    }

    /// The next tick of the gateway's clock: what has changed, and is to be told ([`Silences::tell`]).
    ///
    /// # Errors
    /// When the spool cannot be read, at the first tick.
    pub fn tick(
        &mut self,
        district: &District,
        spool: &Spool,
        now: UnixMillis,
    ) -> Result<Vec<Change>, SpoolError> {
        if !self.loaded {
            self.load(&district.pack, spool, now)?;
        }
        Ok(self.pass(&district.pack, now))
    }

    /// A tick without a spool, after [`Silences::begin`].
    pub fn pass(&mut self, pack: &Pack, now: UnixMillis) -> Vec<Change> {
        let step = self.ticked.replace(now).map_or(0, |last| now.since(last)).clamp(0, STEP_MS_MAX);
        self.listened_ms += step;
        let changes = self.watches.iter().enumerate().filter_map(|(index, watch)| {
            let after_ms = i64::from(pack.silences().get(watch.rule)?.after_ms);
            let is_silent = watch.is_known && self.listened_ms - watch.from_ms >= after_ms;
            let begins = is_silent && !watch.is_open;
            let ends = watch.is_open && watch.heard;
            (begins || ends).then_some(Change { watch: index, is_silent: begins })
        });
        changes.collect()
    }

    /// Whose change it is, by which rule, and since when nothing had been heard.
    #[must_use]
    pub fn about<'p>(
        &self,
        change: Change,
        pack: &'p Pack,
    ) -> Option<(DeviceId, &'p SilenceRule, UnixMillis)> {
        let watch = self.watches.get(change.watch)?;
        Some((watch.device, pack.silences().get(watch.rule)?, watch.since))
    }

    /// Puts the changes' events into a transaction; returns the newest event's row. To be followed by [`Silences::told`] when it is durable.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tell(
        &self,
        changes: &[Change],
        district: &District,
        now: UnixMillis,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut rows = Vec::new();
        for Change { watch, is_silent } in changes {
            let watch = &self.watches[*watch];
            let Some(rule) = district.pack.silences().get(watch.rule) else { continue };
            let key = silence::key(&rule.id);
            let event = if *is_silent {
                district.silence(watch.device, rule, watch.since, now)
            } else {
                let last = transaction.episode(watch.device, &key)?;
                last.and_then(|(topic, last)| silence::over(&topic, &last, HEARD_AGAIN, now))
            };
            match event {
                Some(event) => {
                    tracing::info!(device = %watch.device, rule = %rule.id, is_silent, id = event.id, "event");
                    rows.push(transaction.add_event_of_episode(watch.device, &key, *is_silent, &event)?);
                }
                None => transaction.drop_episode(watch.device, &key)?,
            }
        }
        Ok(rows)
    }

    /// The changes are durable.
    pub fn told(&mut self, changes: &[Change]) {
        for Change { watch, is_silent } in changes {
            let watch = &mut self.watches[*watch];
            watch.is_open = *is_silent;
            watch.heard = false;
        }
    }

    fn load(&mut self, pack: &Pack, spool: &Spool, now: UnixMillis) -> Result<(), SpoolError> {
        let (mut known, mut open) = (HashSet::new(), HashSet::new());
        if !pack.silences().is_empty() {
            open.extend(spool.open_episodes()?.into_iter().map(|open| (open.device, open.rule)));
            for device in pack.devices() {
                if spool.device(device.id)?.is_some() {
                    known.insert(device.id);
                }
            }
        }
        let is_open = |device, rule: &RuleId| open.contains(&(device, silence::key(rule)));
        self.begin(pack, now, |_| true, |device| known.contains(&device), is_open);
        Ok(())
    }

    /// Begins to listen to those devices of a pack that are watched, of which some spoke before, and some are told to be silent.
    pub fn begin(
        &mut self,
        pack: &Pack,
        now: UnixMillis,
        is_watched: impl Fn(DeviceId) -> bool,
        is_known: impl Fn(DeviceId) -> bool,
        is_open: impl Fn(DeviceId, &RuleId) -> bool,
    ) {
        self.forget();
        for placed in pack.devices().iter().filter(|placed| is_watched(placed.id)) {
            let (device, site) = (placed.id, pack.site_of(placed));
            let rules = pack.silences().iter().enumerate();
            for (rule, of) in rules.filter(|(_, rule)| rule.applies_to(placed, site)) {
                self.of_device.entry(device).or_default().push(self.watches.len());
                self.watches.push(Watch {
                    device,
                    rule,
                    is_known: is_known(device),
                    is_open: is_open(device, &of.id),
                    heard: false,
                    from_ms: 0,
                    since: now,
                });
            }
        }
        self.loaded = true;
    }
}

#[cfg(test)]
mod tests;
