//! How long readings and minutes stay, and whose go when there are too many.
//!
//! - By age: what was stored longer than [`SpoolLimits::readings_days_max`] ago goes ([`age`]), but for what a restart fills a device's
//!   windows with. Age counts from when something was stored, so that what comes late is evidence for as long as everything else.
//! - By number: beyond [`SpoolLimits::readings_max`], readings and minutes together, the device with most of one of them gives its oldest,
//!   so a flood costs its own device and nobody else. This is before their time: it is counted ([`Totals::readings_evicted`](super::Totals),
//!   [`Totals::minutes_evicted`](super::Totals)).
//!
//! Neither looks for what it deletes. Table `kept` has each device's counts, in memory too. Table `hour` has the first rows of each hour in
//! which something came.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;

use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, params};

use super::{SpoolLimits, Totals, Transaction};

mod age;

pub(super) use age::Aging;
use age::DEVICES_AT_ONCE;

/// How many readings and minutes are deleted at most in one transaction, so that none takes long; more than one can add (those of
/// [`FRAMES_AT_ONCE`](crate::pipeline::FRAMES_AT_ONCE) frames, some 50 each), or else a flood would outgrow its bound.
pub const ROWS_DELETED_AT_ONCE: i64 = 10_000;
/// A device that has too many gives this part of them at once, so that not each transaction deletes row by row.
const PART_GIVEN: i64 = 8;

/// What is kept as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Rows of the table `reading`.
    Reading,
    /// Rows of the table `summary`: values of minutes of devices that decide themselves.
    Minute,
}

/// How many kinds there are: what has a place for each has it at `kind as usize`.
const KINDS: usize = 2;

/// Of which device, and what.
type Account = (i64, Kind);

impl Kind {
    /// Deletes the oldest of a device, so many.
    const fn give(self) -> &'static str {
        match self {
            Self::Reading => {
                "DELETE FROM reading WHERE id IN (SELECT id FROM reading WHERE device = ?1 ORDER BY id LIMIT ?2)"
            }
            Self::Minute => {
                "DELETE FROM summary WHERE id IN (SELECT id FROM summary WHERE device = ?1 ORDER BY id LIMIT ?2)"
            }
        }
    }

    /// Changes a device's count.
    const fn store(self) -> &'static str {
        match self {
            Self::Reading => {
                "INSERT INTO kept (device, readings, minutes) VALUES (?1, max(?2, 0), 0) \
                 ON CONFLICT (device) DO UPDATE SET readings = max(readings + ?2, 0)"
            }
            Self::Minute => {
                "INSERT INTO kept (device, readings, minutes) VALUES (?1, 0, max(?2, 0)) \
                 ON CONFLICT (device) DO UPDATE SET minutes = max(minutes + ?2, 0)"
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Reading => "readings",
            Self::Minute => "minutes",
        }
    }

    const fn evicted(self, totals: &mut Totals) -> &mut i64 {
        match self {
            Self::Reading => &mut totals.readings_evicted,
            Self::Minute => &mut totals.minutes_evicted,
        }
    }
}

/// How many rows there are of each device, as of the last commit.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_account: BTreeMap<Account, i64>,
    total: i64,
}

impl Kept {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut kept = Self::default();
        let mut statement = connection.prepare("SELECT device, readings, minutes FROM kept")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let device = row.get(0)?;
            for (kind, count) in [(Kind::Reading, row.get(1)?), (Kind::Minute, row.get(2)?)] {
                if count > 0 {
                    kept.by_account.insert((device, kind), count);
                    kept.total += count;
                }
            }
        }
        Ok(kept)
    }

    pub(super) fn add(&mut self, changes: &BTreeMap<Account, i64>) {
        for (account, change) in changes {
            let count = self.by_account.entry(*account).or_default();
            *count += change;
            self.total += change;
            if *count <= 0 {
                self.total -= *count;
                self.by_account.remove(account);
            }
        }
    }
}

/// What a transaction does with what is kept.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    /// As of the last commit.
    kept: &'a Kept,
    pub(super) changes: RefCell<BTreeMap<Account, i64>>,
    pub(super) aging: Cell<Aging>,
    /// The first row of each kind that this transaction added.
    first: Cell<[Option<i64>; KINDS]>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(kept: &'a Kept, aging: Aging) -> Self {
        Self { kept, changes: RefCell::default(), aging: Cell::new(aging), first: Cell::default() }
    }

    pub(super) fn added(&self, device: i64, kind: Kind, row: i64) {
        *self.changes.borrow_mut().entry((device, kind)).or_default() += 1;
        let mut first = self.first.get();
        first[kind as usize].get_or_insert(row);
        self.first.set(first);
    }

    fn deleted(&self, account: Account, rows: i64) {
        *self.changes.borrow_mut().entry(account).or_default() -= rows;
    }

    fn total(&self) -> i64 {
        self.kept.total + self.changes.borrow().values().sum::<i64>()
    }

    /// How many there are in this transaction of each device, the most first.
    fn counts(&self) -> BinaryHeap<(i64, Account)> {
        let changes = self.changes.borrow();
        let new = changes.iter().filter(|(account, _)| !self.kept.by_account.contains_key(account));
        let change = |account: &Account| changes.get(account).copied().unwrap_or(0);
        let known = self.kept.by_account.iter().map(|(account, count)| (*count + change(account), *account));
        known.chain(new.map(|(account, count)| (*count, *account))).collect()
    }

    /// What there is after this one, some at a time.
    fn accounts(&self, after: Option<Account>) -> Vec<Account> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let accounts = self.kept.by_account.range((from, Bound::Unbounded));
        accounts.take(DEVICES_AT_ONCE).map(|(one, _)| *one).collect()
    }
}

impl Transaction<'_> {
    /// Lets readings and minutes go that are too old or too many, some at a time: to be called when some were added.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn trim_kept(&self, now: UnixMillis) -> rusqlite::Result<()> {
        let first = self.keeping.first.get();
        if first.iter().all(Option::is_none) {
            return Ok(());
        }
        self.mark_hour(first, now)?;
        let mut left = ROWS_DELETED_AT_ONCE;
        self.let_old_go(&mut left)?;
        self.let_go_beyond_bound(left)
    }

    fn let_go_beyond_bound(&self, mut left: i64) -> rusqlite::Result<()> {
        let SpoolLimits { readings_max, .. } = self.limits;
        let mut over = self.keeping.total() - readings_max;
        if over <= 0 {
            return Ok(());
        }
        let mut counts = self.keeping.counts();
        while over > 0 && left > 0 {
            let Some((most, account)) = counts.pop() else { break };
            let (device, kind) = account;
            let second = counts.peek().map_or(0, |(count, _)| *count);
            let part = most / PART_GIVEN;
            let give = (most - second).max(part).min(over.max(part)).clamp(1, left);
            let gone = self.inner.prepare_cached(kind.give())?.execute([device, give])?;
            let gone = i64::try_from(gone).unwrap_or(i64::MAX);
            // Fewer than by its account: then it has none.
            let fewer = if gone < give { most } else { gone };
            self.keeping.deleted(account, fewer);
            counts.push((most - fewer, account));
            self.count(|totals| *kind.evicted(totals) += gone);
            over -= fewer;
            left -= gone;
            let mut aging = self.keeping.aging.get();
            if !aging.said {
                tracing::warn!(
                    device = %gridpost_protocol::id::DeviceId(device.cast_unsigned()), of = most, what = kind.name(),
                    "there are more readings and minutes than are kept; the device with most gives its oldest ([spool] readings_mb_max)"
                );
                aging.said = true;
                self.keeping.aging.set(aging);
            }
        }
        Ok(())
    }

    /// Writes down how many rows there are of each device that changed.
    pub(super) fn store_kept(&self) -> rusqlite::Result<()> {
        for ((device, kind), change) in &*self.keeping.changes.borrow() {
            self.inner.prepare_cached(kind.store())?.execute(params![device, change])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
