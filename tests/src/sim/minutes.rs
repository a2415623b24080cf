//! Minutes of nodes that sum up what they measure, held against what the spool has of them. A row of the spool does not say in which record
//! it came, so rows are counted: each record takes its own away, and none may be left.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use gridpost_agent::spool::statistic_name;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::summary::Summary;
use gridpost_protocol::time::UnixMillis;
use rusqlite::{Connection, Row};

/// What a row holds.
pub(super) const COLUMNS: &str = "device, at_ms, quantity, statistic, readings, quality, value";

/// A row of the spool's minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MinuteRow {
    pub(super) device: DeviceId,
    pub(super) at: UnixMillis,
    quantity: i64,
    statistic: String,
    readings: i64,
    quality: i64,
    value: i64,
}

/// A record with a minute that is in the spool.
#[derive(Clone, Debug)]
pub(super) struct TakenMinute {
    pub(super) device: DeviceId,
    pub(super) seq: Seq,
    pub(super) at: UnixMillis,
    pub(super) summary: Summary,
}

impl MinuteRow {
    /// From [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            device: DeviceId(row.get::<_, i64>(0)?.cast_unsigned()),
            at: UnixMillis(row.get(1)?),
            quantity: row.get(2)?,
            statistic: row.get(3)?,
            readings: row.get(4)?,
            quality: row.get(5)?,
            value: row.get(6)?,
        })
    }
}

/// The rows that a record becomes.
pub(super) fn rows(device: DeviceId, at: UnixMillis, summary: &Summary) -> impl Iterator<Item = MinuteRow> {
    summary.values.iter().map(move |one| MinuteRow {
        device,
        at,
        quantity: one.quantity.code().into(),
        statistic: statistic_name(one.statistic).to_owned(),
        readings: one.count.into(),
        quality: one.quality.0.into(),
        value: one.value.0.into(),
    })
}

/// The rows that no record has taken away yet, with how many there are of each.
#[derive(Debug)]
pub(super) struct Untaken(HashMap<MinuteRow, u32>);

impl Untaken {
    /// All minutes of a spool.
    pub(super) fn load(spool: &Path) -> Result<Self> {
        let connection = Connection::open(spool)?;
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM summary"))?;
        let mut untaken = HashMap::new();
        for row in statement.query_map([], MinuteRow::read)? {
            *untaken.entry(row.context("the spool's minutes")?).or_default() += 1;
        }
        Ok(Self(untaken))
    }

    /// Takes a record's rows away; whether all of them were there.
    pub(super) fn take(&mut self, device: DeviceId, at: UnixMillis, summary: &Summary) -> bool {
        let all: Vec<MinuteRow> = rows(device, at, summary).collect();
        let is_there = all.iter().all(|row| self.0.get(row).is_some_and(|count| *count > 0));
        if is_there {
            for row in &all {
                self.0.entry(row.clone()).and_modify(|count| *count -= 1);
            }
        }
        is_there
    }

    /// One that is left.
    pub(super) fn left(&self) -> Option<&MinuteRow> {
        self.0.iter().find(|(_, count)| **count > 0).map(|(row, _)| row)
    }
}
