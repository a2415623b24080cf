//! `readings` and `summaries`: what the gateway has kept of a device, page by page.

use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::reply::Refusal;
use super::status::DeviceText;
use crate::event::make::rfc3339;
use crate::spool::{SpoolError, SpoolReader, Wanted};

/// Rows in one answer at most: at some 140 bytes each, below [`super::REPLY_BYTES_MAX`].
pub(super) const PAGE_ROWS_MAX: usize = 800;

/// What is asked of the evidence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceKeys {
    device: DeviceText,
    /// From this time on.
    from: TimeText,
    /// To this time, not included.
    to: TimeText,
    /// Only these.
    #[serde(default)]
    quantities: Vec<QuantityText>,
    /// How many rows.
    limit: Option<usize>,
    /// Rows after this one: the `next` of an answer.
    #[serde(default)]
    after: i64,
}

/// A time as text: RFC 3339.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct TimeText(pub(super) UnixMillis);

impl TryFrom<String> for TimeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self(UnixMillis(at.as_millisecond())))
            .map_err(|_| format!("{text:?} is no time: write it as 2026-11-22T22:05:00+08:00"))
    }
}

/// A quantity's name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct QuantityText(pub(super) Quantity);

impl TryFrom<String> for QuantityText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no quantity; such as LAeq or PM10"))
    }
}

impl EvidenceKeys {
    fn wanted(&self) -> Result<(Wanted, usize), Refusal> {
        if self.from.0 >= self.to.0 {
            return Err(Refusal::bad(
                "`from` is not before `to`",
                "`to` is not included: it is later than `from`",
            ));
        }
        let wanted = Wanted {
            device: self.device.0,
            from: self.from.0,
            to: self.to.0,
            quantities: self.quantities.iter().map(|one| one.0).collect(),
            after: self.after,
        };
        Ok((wanted, self.limit.unwrap_or(PAGE_ROWS_MAX).clamp(1, PAGE_ROWS_MAX)))
    }
}

/// Takes a row and what is said of it; returns whether more are wanted.
type Each<'a> = &'a mut dyn FnMut(i64, Value) -> bool;

impl Desk {
    /// So many of the rows that `read` hands out, and the last one's number when there are more.
    async fn page(
        &mut self,
        limit: usize,
        read: impl FnOnce(&SpoolReader, Each<'_>) -> Result<(), SpoolError> + Send + 'static,
    ) -> Result<(Vec<Value>, Option<i64>), Refusal> {
        self.read(move |spool| {
            let (mut rows, mut last, mut next) = (Vec::new(), 0, None);
            read(spool, &mut |row, said| {
                if rows.len() == limit {
                    next = Some(last);
                    return false;
                }
                last = row;
                rows.push(said);
                true
            })?;
            Ok((rows, next))
        })
        .await
    }

    pub(super) async fn readings(&mut self, keys: EvidenceKeys) -> Result<Value, Refusal> {
        let (wanted, limit) = keys.wanted()?;
        let device = wanted.device;
        let (readings, next) = self
            .page(limit, move |spool, each| {
                spool.readings(&wanted, |kept| {
                    each(
                        kept.row,
                        json!({
                            "at": rfc3339(kept.at),
                            "quantity": kept.reading.quantity.to_string(),
                            "value": kept.reading.value.to_f64(),
                            "unit": kept.reading.quantity.unit(),
                            "quality": kept.reading.quality.0,
                            "clock": kept.clock,
                            "record": kept.seq.0,
                        }),
                    )
                })
            })
            .await?;
        Ok(json!({ "device": device.to_string(), "readings": readings, "next": next }))
    }

    pub(super) async fn summaries(&mut self, keys: EvidenceKeys) -> Result<Value, Refusal> {
        let (wanted, limit) = keys.wanted()?;
        let device = wanted.device;
        let (minutes, next) = self
            .page(limit, move |spool, each| {
                spool.minutes(&wanted, |kept| {
                    each(
                        kept.row,
                        json!({
                            "from": rfc3339(kept.at),
                            "quantity": kept.quantity.to_string(),
                            "statistic": kept.statistic,
                            "readings": kept.readings,
                            "value": kept.value.to_f64(),
                            "unit": kept.quantity.unit(),
                            "quality": kept.quality.0,
                        }),
                    )
                })
            })
            .await?;
        Ok(json!({ "device": device.to_string(), "minutes": minutes, "next": next }))
    }
}
