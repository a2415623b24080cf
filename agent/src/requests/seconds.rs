//! `seconds`: what a device that decides itself keeps in its own ring, fetched over its link.

use std::time::Duration;

use gridpost_protocol::id::DeviceId;
use gridpost_protocol::message::Fetch;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::evidence::{QuantityText, TimeText};
use super::reply::Refusal;
use super::status::DeviceText;
use super::{Ask, Desk};
use crate::event::make::rfc3339;
use crate::intake::CannotFetch;
use crate::spool::Wanted;

/// The longest stretch in one question: a device sends an hour of seconds at once, and an answer holds half of it.
pub(super) const SECONDS_SPAN_MS_MAX: i64 = 30 * 60_000;
/// Values in one answer at most: at some 40 bytes each, below [`super::REPLY_BYTES_MAX`].
const SECONDS_MAX: usize = 3_000;
/// How long a device may take to send the first of it. A node on a slow serial line sends 4 frames a second.
const FIRST_WITHIN: Duration = Duration::from_secs(15);
/// A device that has sent nothing more for so long has sent all that it has: its link says no end.
const QUIET_AFTER: Duration = Duration::from_secs(3);
/// How long all of it may take.
const ALL_WITHIN: Duration = Duration::from_secs(25);
/// How often it is looked whether something came.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is asked of a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecondsKeys {
    device: DeviceText,
    quantity: QuantityText,
    from: TimeText,
    to: TimeText,
}

impl Desk {
    pub(super) async fn seconds(&mut self, keys: SecondsKeys) -> Result<Value, Refusal> {
        let SecondsKeys { device: DeviceText(device), quantity, from, to } = keys;
        let span = to.0.since(from.0);
        if !(1..=SECONDS_SPAN_MS_MAX).contains(&span) {
            return Err(Refusal::bad(
                "from `from` to `to` are more than 30 minutes, or none",
                "ask for at most 30 minutes at once, and for the next ones after that",
            ));
        }
        let after = self.read(|spool| spool.newest_reading()).await?;
        let fetch = Fetch { quantity: quantity.0, from: from.0, until: to.0 };
        self.ask(|answer| Ask::Fetch { device, fetch, answer }).await?.map_err(|why| refusal(device, why))?;
        let wanted = Wanted { device, from: from.0, to: to.0, quantities: vec![quantity.0], after };
        let rows = self.wait_for(&wanted).await?;
        if rows.is_empty() {
            return Err(Refusal::away(
                format!("the device {device} sent nothing of this time"),
                "only devices that decide themselves keep seconds, for some hours: look at `decides` and `heard` in status; \
                 for other devices ask for readings",
            ));
        }
        let seconds: Vec<Value> =
            rows.iter().take(SECONDS_MAX).map(|(at, value)| json!([rfc3339(*at), value])).collect();
        Ok(json!({
            "device": device.to_string(),
            "quantity": quantity.0.to_string(),
            "unit": quantity.0.unit(),
            "seconds": seconds,
            "truncated": rows.len() > SECONDS_MAX,
        }))
    }

    /// What came, by time, when all of it has come or the device is quiet.
    async fn wait_for(
        &mut self,
        wanted: &Wanted,
    ) -> Result<Vec<(gridpost_protocol::time::UnixMillis, f64)>, Refusal> {
        let started = Instant::now();
        let (mut seen, mut last_change) = (0, None);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let asked = wanted.clone();
            let mut rows = self
                .read(move |spool| {
                    let mut rows = Vec::new();
                    spool.readings(&asked, |kept| {
                        if kept.clock == "fetched" {
                            rows.push((kept.at, kept.reading.value.to_f64()));
                        }
                        rows.len() <= SECONDS_MAX
                    })?;
                    Ok(rows)
                })
                .await?;
            if rows.len() > seen {
                (seen, last_change) = (rows.len(), Some(Instant::now()));
            }
            let quiet = match last_change {
                Some(last) => last.elapsed() >= QUIET_AFTER,
                None => started.elapsed() >= FIRST_WITHIN,
            };
            if quiet || rows.len() > SECONDS_MAX || started.elapsed() >= ALL_WITHIN {
                rows.sort_by_key(|(at, _)| *at);
                rows.dedup_by_key(|(at, _)| *at);
                return Ok(rows);
            }
        }
    }
}

fn refusal(device: DeviceId, why: CannotFetch) -> Refusal {
    match why {
        CannotFetch::NeverHeard => Refusal::away(
            format!("the device {device} was not heard since this gateway started"),
            "look at its power and its link; ask for status to see which devices are heard",
        ),
        CannotFetch::Away => Refusal::away(
            format!("the device {device} is away: its link is down"),
            "ask again when status shows that it is heard; it keeps its seconds for some hours",
        ),
    }
}
