//! Events that went because the outbox was full, or because a broker refused too many, are an event of their own, under the matter of lost
//! records.
//!
//! The spool counts what it lets go, durable in the transaction in which it goes. The next transaction tells it, and then one
//! in an hour at most ([`TOLD_EVERY_MS`]) as long as it goes on: 168 such events in a week's outage. Telling it may let others go, which
//! is told an hour later: it does not feed itself. Each says the sum since ever too, so that one that is lost itself leaves no hole.

use gridpost_protocol::time::UnixMillis;

use crate::event::cloudevent::EvictedData;
use crate::event::make::{District, rfc3339};
use crate::event::rank::CLASSES;
use crate::spool::Transaction;

/// How far apart such events are at least, in milliseconds.
pub const TOLD_EVERY_MS: i64 = 3_600_000;

/// Puts an event about what was let go and not told yet into the transaction, when there is some and it is time; returns its row.
///
/// # Errors
/// When SQLite fails.
pub fn tell(
    transaction: &Transaction<'_>,
    district: &District,
    now: UnixMillis,
) -> rusqlite::Result<Option<i64>> {
    let totals = transaction.totals();
    let events: i64 = totals.untold.iter().sum();
    if events == 0 {
        return Ok(None);
    }
    let since = now.0.saturating_sub(totals.told_ms);
    // A clock that was set back is no reason to be silent.
    if (0..TOLD_EVERY_MS).contains(&since) {
        return Ok(None);
    }
    let counts = CLASSES.iter().zip(totals.untold).filter(|(_, count)| *count > 0);
    let data = EvictedData {
        events: events.unsigned_abs(),
        total: totals.let_go().unsigned_abs(),
        phases: counts.map(|(class, count)| ((*class).to_owned(), count.into())).collect(),
        from: rfc3339(UnixMillis(totals.untold_from_ms)),
        to: rfc3339(UnixMillis(totals.untold_to_ms)),
    };
    let Some(event) = district.evicted(data, now) else { return Ok(None) };
    tracing::error!(
        events,
        total = totals.let_go(),
        "there is no room for more events, or for more that the broker refused: the least important of the oldest were let go"
    );
    let row = transaction.add_event(&event)?;
    transaction.told(now);
    Ok(Some(row))
}

#[cfg(test)]
mod tests {
    use gridpost_protocol::id::{DeviceId, Seq};
    use gridpost_protocol::session::gateway::Gap;

    use super::*;
    use crate::demo::sample;
    use crate::event::cloudevent::CloudEvent;
    use crate::spool::{Spool, SpoolLimits};
    use crate::uplink::Outbox as _;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);

    #[test]
    fn what_was_let_go_is_told_once_an_hour_and_adds_up() {
        let district = District { pack: sample::pack().unwrap(), gateway: "gw".to_owned() };
        let dir = tempfile::tempdir().unwrap();
        // Room for some ten events.
        let limits = SpoolLimits { outbox_bytes_max: 12_000, ..SpoolLimits::default() };
        let mut spool = Spool::open_with(&dir.path().join("spool.db"), limits).unwrap();
        let begin = 1_795_399_200_000;
        // A gap a minute for five hours.
        for minute in 1..=300 {
            let now = UnixMillis(begin + minute * 60_000);
            let seq = Seq(minute.unsigned_abs());
            let event = district.gap(DEVICE, Gap { first: seq, last: seq }, now).unwrap();
            spool
                .commit(|transaction| {
                    transaction.add_event(&event)?;
                    tell(transaction, &district, now)
                })
                .unwrap();
        }
        let waiting = spool.outbox().unwrap().read_after(0, usize::MAX).unwrap();
        let told: Vec<_> = waiting
            .iter()
            .filter_map(|row| serde_json::from_slice::<CloudEvent>(&row.payload).unwrap().data.evicted)
            .collect();
        assert_eq!(told.len(), 5, "none of these went, though they are as old as the others");
        let sum: u64 = told.iter().map(|data| data.events).sum();
        assert_eq!(sum, told[4].total);
        let totals = spool.totals();
        let untold: i64 = totals.untold.iter().sum();
        assert_eq!(totals.events_evicted, sum.cast_signed() + untold);
        assert_eq!(300 + 5, waiting.len() as i64 + totals.events_evicted, "each event waits or is counted");
        assert_eq!(told[1].phases.get("gap"), Some(&told[1].events.into()));
        assert!(told[1].from > told[0].to && told[1].from < told[1].to, "{told:?}");
    }
}
