//! Dispositions: what the platform, or a department, says became of a case.
//!
//! A message is a JSON object: `id` (the platform's for this disposition), `event` (the id of the event, its episode or its case), `state`,
//! `time`, and with it `number`, `reason` and `matter`. Each is answered on the gateway's reply topic through the spool, so that an answer is
//! out once its effect is durable: with the case's state, or with what is wrong and the way out; then nothing has changed.

use gridpost_protocol::time::UnixMillis;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Intake;
use crate::cases::{Change, State};
use crate::counters::Counters;
use crate::event::Event;
use crate::inbound::{TooLong, id_of};
use crate::spool::Transaction;
use crate::uplink::topics;

/// The longest of the texts, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// The longest description of what cannot be read.
const ERROR_CHARS_MAX: usize = 300;
/// How far a disposition's time may be ahead of the gateway's, in milliseconds: a day. One from further away would hold against all
/// that follow.
const AHEAD_MS_MAX: i64 = 24 * 3_600_000;

/// What comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disposition {
    id: String,
    event: String,
    state: String,
    time: String,
    number: Option<String>,
    reason: Option<String>,
    matter: Option<String>,
}

/// Why nothing has changed.
#[derive(Debug)]
struct Refusal {
    kind: &'static str,
    what: String,
    way_out: String,
}

fn refusal(kind: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Refusal {
    Refusal { kind, what: what.into(), way_out: way_out.into() }
}

/// One that is too long to be read.
fn too_long(long: &TooLong) -> Refusal {
    let TooLong { bytes, most, .. } = long;
    let what = format!("a disposition of {bytes} bytes; at most {most} are taken");
    refusal("malformed", what, "shorten it: files and long texts stay at the platform, under `number`")
}

/// The message, and what it changes, as far as it says so itself.
fn read(payload: &[u8], now: UnixMillis) -> Result<(Disposition, Change), Refusal> {
    let said: Disposition = serde_json::from_slice(payload).map_err(|error| {
        // It may quote what it does not know.
        let error: String = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
        refusal("malformed", format!("no disposition: {error}"), "see `gridpost schema disposition`")
    })?;
    let texts = [
        Some(&said.id),
        Some(&said.event),
        Some(&said.state),
        Some(&said.time),
        said.number.as_ref(),
        said.reason.as_ref(),
        said.matter.as_ref(),
    ];
    if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        let what = format!("a text is empty, or longer than {TEXT_BYTES_MAX} bytes");
        return Err(refusal("malformed", what, "leave out what there is not, and shorten the reason"));
    }
    let state = state(&said.state)?;
    let at_ms = said.time.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| {
        refusal(
            "malformed",
            format!("`time`: {:?} is no time", said.time),
            "write RFC 3339, such as 2026-11-22T14:05:12Z",
        )
    })?;
    if at_ms > now.0.saturating_add(AHEAD_MS_MAX) {
        return Err(refusal(
            "malformed",
            "its time is more than a day ahead of the gateway's clock",
            "correct the clock that is wrong",
        ));
    }
    if state == State::Rejected && said.reason.is_none() {
        return Err(refusal("malformed", "a rejection says why", "add `reason`"));
    }
    if (state == State::Reclassified) != said.matter.is_some() {
        return Err(refusal(
            "malformed",
            "`matter` belongs to `reclassified`, and to nothing else",
            "add it, or leave it out",
        ));
    }
    let change = Change { state, at_ms, number: said.number.clone(), matter: said.matter.clone() };
    Ok((said, change))
}

/// The state with this word, of those that a platform may send.
fn state(word: &str) -> Result<State, Refusal> {
    let what = match State::from_word(word) {
        Some(State::Raised) => "`state`: only a gateway raises a case".to_owned(),
        Some(state) => return Ok(state),
        None => format!("`state`: there is no state {word:?}"),
    };
    let known = State::ALL.into_iter().filter(|state| *state != State::Raised).map(State::as_str);
    let way_out = format!("say what became of the case: {}", known.collect::<Vec<_>>().join(", "));
    Err(refusal("malformed", what, way_out))
}

impl Intake {
    /// Takes a disposition; the same one twice changes nothing more. `department` is who says so; [`None`] for the platform.
    ///
    /// # Errors
    /// When the transaction fails; then it is tried again.
    pub(crate) fn take_disposition(
        &mut self,
        payload: Result<&[u8], &TooLong>,
        department: Option<&str>,
        now: UnixMillis,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let outcome = match payload.map_err(too_long).and_then(|payload| read(payload, now)) {
            Ok((said, change)) => self.dispose(&said, &change, department, transaction)?,
            Err(refusal) => Err(refusal),
        };
        // Also what a message that cannot be taken calls itself, if it says.
        let id = payload.map_or_else(|long| long.id.clone(), id_of);
        let mut reply = json!({ "id": id, "name": "disposition", "gateway": self.district.gateway });
        match outcome {
            Ok(result) => {
                Counters::count(&self.counters.dispositions_taken);
                reply["result"] = result;
            }
            Err(Refusal { kind, what, way_out }) => {
                Counters::count(&self.counters.dispositions_refused);
                tracing::warn!(id, kind, what, way_out, "a disposition is refused; the case stays as it was");
                reply["error"] = json!({ "kind": kind, "what": what, "way_out": way_out });
            }
        }
        let (division, gateway) = (self.district.pack.division.as_str(), self.district.gateway.as_str());
        let topic = topics::disposition_reply(division, gateway, department);
        self.newest_event = transaction.put_event(&Event {
            id: id.unwrap_or_default(),
            topic,
            severity: 0,
            payload: reply.to_string().into_bytes(),
        })?;
        Ok(())
    }

    fn dispose(
        &self,
        said: &Disposition,
        change: &Change,
        department: Option<&str>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Result<Value, Refusal>> {
        let pack = &self.district.pack;
        if let Some(matter) = &change.matter
            && pack.matter(matter).is_none()
        {
            let otherwise = format!("name a matter of pack {} version {}", pack.name, pack.version);
            let way_out = pack.instead_of_matter(matter, &otherwise);
            return Ok(Err(refusal("unknown-matter", format!("there is no matter {matter:?}"), way_out)));
        }
        let Some(mut case) = transaction.case_of(&said.event)? else {
            let what = format!("no case of {:?} is known here", said.event);
            let way_out = "name an event of this gateway that exceeded a limit, or its episode; very old ones are forgotten";
            return Ok(Err(refusal("unknown-event", what, way_out)));
        };
        let owns = |department: &str| {
            let other = case.reclassified.as_ref().and_then(|(_, matter)| pack.matter(matter));
            case.department == department
                || other.is_some_and(|matter| pack.department_of(matter).id.as_str() == department)
        };
        if let Some(department) = department
            && !owns(department)
        {
            let what = format!("case {} is not {department}'s", case.id);
            return Ok(Err(refusal(
                "not-competent",
                what,
                "leave it to the competent department, or to the platform",
            )));
        }
        let reopen_after_ms = pack.reopen_after_ms(&case.rule);
        let changed = case.apply(change, reopen_after_ms);
        if changed {
            transaction.change_case(&case)?;
            tracing::info!(case = case.id, rule = case.rule, state = %said.state.as_str(), reason = said.reason, matter = said.matter, "disposition");
        }
        Ok(Ok(json!({ "case": case.id, "state": case.state.as_str(), "changed": changed })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_none_is_answered_with_those_that_a_platform_may_send() {
        for state in ["done", "raised"] {
            let message =
                json!({ "id": "d-1", "event": "e-1", "state": state, "time": "2026-11-22T14:08:00Z" });
            let refused = read(message.to_string().as_bytes(), UnixMillis(1_800_000_000_000)).unwrap_err();
            assert!(refused.what.contains("`state`"), "{refused:?}");
            assert_eq!(
                refused.way_out,
                "say what became of the case: filed, dispatched, reclassified, handled, rejected, closed"
            );
        }
    }
}
