//! Cases in the spool: raised with the events, changed by dispositions, summed up by rule. See [`crate::cases`].

use std::path::Path;
use std::time::Duration;

use gridpost_protocol::id::DeviceId;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{SpoolError, Transaction, look, sqlite_error, to_row};
use crate::cases::{CASES_MAX, Case, State};
use crate::event::Event;
use crate::event::cloudevent::{CaseData, CloudEvent};

/// How long reading waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many of a rule's newest cases at a device are looked at for one that is open: while the platform took its time to file it,
/// others may have been raised beside it.
const LOOKED_AT_MAX: i64 = 32;

const COLUMNS: &str = "case_id, department, rule, episode, previous, state, state_ms, until_ms, number, \
                       reclassified_ms, reclassified, rejected";

/// What became of a rule's cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// The rule's id; a sensor (`sensor:sht4x`), or empty for reports and losses, where none decided.
    pub rule: String,
    /// Cases that it raised.
    pub raised: i64,
    /// Further episodes that went on in one of them.
    pub continued: i64,
    /// Of the cases, how many the platform has answered.
    pub answered: i64,
    /// How many are closed.
    pub closed: i64,
    /// How many were rejected.
    pub rejected: i64,
    /// How many were reclassified.
    pub reclassified: i64,
    /// To which matters, and how often; without cases that are too old to be kept one by one.
    pub went_to: Vec<(String, i64)>,
}

/// Sums up what became of each rule's cases since the spool began. Reads beside a gateway that runs.
///
/// # Errors
/// When there is no spool of this version, or it cannot be read.
pub fn tallies(path: &Path) -> Result<Vec<RuleTally>, SpoolError> {
    look(path)?;
    let failed = |source| sqlite_error(path, source);
    // Not read-only: a reader of a WAL database may have to make its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    sums(&connection).map_err(failed)
}

fn sums(connection: &Connection) -> rusqlite::Result<Vec<RuleTally>> {
    let mut tallies: Vec<RuleTally> = connection
        .prepare(&format!(
            "SELECT rule, sum(raised), sum(continued), sum(answered), sum(closed), sum(rejected), sum(reclassified) FROM \
             ({SUMS} FROM casefile UNION ALL SELECT rule, raised, continued, answered, closed, rejected, reclassified FROM case_tally) \
             GROUP BY rule ORDER BY rule"
        ))?
        .query_map([], |row| {
            Ok(RuleTally {
                rule: row.get(0)?,
                raised: row.get(1)?,
                continued: row.get(2)?,
                answered: row.get(3)?,
                closed: row.get(4)?,
                rejected: row.get(5)?,
                reclassified: row.get(6)?,
                went_to: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(
        "SELECT rule, reclassified, count(*) AS cases FROM casefile WHERE reclassified IS NOT NULL \
         GROUP BY rule, reclassified ORDER BY rule, cases DESC, reclassified",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let rule: String = row.get(0)?;
        if let Some(tally) = tallies.iter_mut().find(|tally| tally.rule == rule) {
            tally.went_to.push((row.get(1)?, row.get(2)?));
        }
    }
    Ok(tallies)
}

/// A case's share in its rule's sums.
const SUMS: &str = "SELECT rule, 1 AS raised, episodes - 1 AS continued, state <> 'raised' AS answered, state = 'closed' AS closed, \
                    rejected, reclassified IS NOT NULL AS reclassified";

fn case(row: &Row<'_>) -> rusqlite::Result<Case> {
    let reclassified_ms: Option<i64> = row.get(9)?;
    Ok(Case {
        id: row.get(0)?,
        department: row.get(1)?,
        rule: row.get(2)?,
        episode: row.get(3)?,
        previous: row.get(4)?,
        // A word of a later version does not get here: its spool is refused.
        state: State::from_word(row.get_ref(5)?.as_str()?).unwrap_or(State::Raised),
        state_ms: row.get(6)?,
        until_ms: row.get(7)?,
        number: row.get(8)?,
        reclassified: reclassified_ms.zip(row.get(10)?),
        rejected: row.get(11)?,
    })
}

impl Transaction<'_> {
    /// The case that an event is about: by its own id, that of its episode, or the event's.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn case_of(&self, event: &str) -> rusqlite::Result<Option<Case>> {
        if let Some(found) = self.case_where("case_id = ?1 OR episode = ?1", event)? {
            return Ok(Some(found));
        }
        // An event's id is its episode's, and the message's number.
        match event.rsplit_once('-') {
            Some((episode, revision)) if revision.parse::<u32>().is_ok() => {
                self.case_where("case_id = ?1 OR episode = ?1", episode)
            }
            _ => Ok(None),
        }
    }

    fn case_where(&self, condition: &str, value: &str) -> rusqlite::Result<Option<Case>> {
        self.inner
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM casefile WHERE {condition} ORDER BY id DESC LIMIT 1"
            ))?
            .query_row([value], case)
            .optional()
    }

    /// Writes down what became of a case.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn change_case(&self, case: &Case) -> rusqlite::Result<()> {
        self.inner
            .prepare_cached(
                "UPDATE casefile SET state = ?2, state_ms = ?3, until_ms = ?4, number = ?5, reclassified_ms = ?6, \
                 reclassified = ?7, rejected = ?8 WHERE case_id = ?1",
            )?
            .execute(params![
                case.id,
                case.state.as_str(),
                case.state_ms,
                case.until_ms,
                case.number,
                case.reclassified.as_ref().map(|(at, _)| at),
                case.reclassified.as_ref().map(|(_, matter)| matter),
                case.rejected,
            ])?;
        Ok(())
    }

    /// Raises a case for an event without an episode: a report, or records that are gone.
    pub(super) fn raise_for_event(&self, event: &Event) -> rusqlite::Result<()> {
        let Ok(said) = serde_json::from_slice::<CloudEvent>(&event.payload) else { return Ok(()) };
        if said.data.episode.is_some() {
            return Ok(());
        }
        let opened =
            Opened { id: &event.id, device: None, rule: "", previous: None, at_ms: millis(&said.time) };
        self.raise(&opened, &said.department)
    }

    /// Says in an episode's event to which case it belongs, if that is not one of its own; an exceedance that belongs to none
    /// raises one.
    pub(super) fn in_its_case(
        &self,
        device: DeviceId,
        rule: &str,
        event: &Event,
    ) -> rusqlite::Result<Option<Event>> {
        let Ok(mut said) = serde_json::from_slice::<CloudEvent>(&event.payload) else { return Ok(None) };
        let Some(episode) = said.data.episode.as_ref().map(|episode| episode.id.clone()) else {
            return Ok(None);
        };
        let at_ms = millis(&said.time);
        let cases = self.newest_cases(device, rule)?;
        let own = cases.iter().find(|case| case.episode == episode);
        let open = cases.iter().find(|case| case.takes(at_ms));
        let raises = ["exceeded", "fault"].contains(&said.phase.as_str());
        let data = match (own, open) {
            // It belongs to that case already.
            (Some(case), _) => case_data(case, &episode),
            (None, Some(case)) => {
                if raises {
                    self.inner
                        .prepare_cached(
                            "UPDATE casefile SET episode = ?2, episodes = episodes + 1 WHERE case_id = ?1",
                        )?
                        .execute(params![case.id, episode])?;
                }
                case_data(case, &episode)
            }
            (None, None) if raises => {
                // What the platform has answered is over now; what it has not is a case beside this one.
                let previous = cases.iter().find(|case| case.state != State::Raised);
                let previous = previous.map(|case| case.id.clone());
                let opened =
                    Opened { id: &episode, device: Some(device), rule, previous: previous.as_deref(), at_ms };
                self.raise(&opened, &said.department)?;
                previous.map(|previous| CaseData {
                    id: episode,
                    relation: "reopens".to_owned(),
                    state: State::Raised.as_str().to_owned(),
                    number: None,
                    reclassified_to: None,
                    previous: Some(previous),
                })
            }
            _ => None,
        };
        if said.data.case == data {
            return Ok(None);
        }
        said.data.case = data;
        // Plain data: serialising it cannot fail.
        let Ok(payload) = serde_json::to_vec(&said) else { return Ok(None) };
        Ok(Some(Event { payload, ..event.clone() }))
    }

    /// The newest cases of a rule at a device, newest first.
    fn newest_cases(&self, device: DeviceId, rule: &str) -> rusqlite::Result<Vec<Case>> {
        self.inner
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM casefile WHERE device = ?1 AND rule = ?2 ORDER BY id DESC LIMIT {LOOKED_AT_MAX}"
            ))?
            .query_map(params![to_row(device), rule], case)?
            .collect()
    }

    fn raise(&self, opened: &Opened<'_>, department: &str) -> rusqlite::Result<()> {
        let Opened { id, device, rule, previous, at_ms } = opened;
        self.inner
            .prepare_cached(
                "INSERT OR IGNORE INTO casefile (case_id, device, rule, department, episode, previous, state, state_ms, until_ms, episodes, rejected) \
                 VALUES (?1, ?2, ?3, ?4, ?1, ?5, 'raised', ?6, ?7, 1, 0)",
            )?
            .execute(params![id, device.map(to_row), rule, department, previous, at_ms, i64::MIN])?;
        self.trim_cases()
    }

    /// Beyond their bound the oldest cases go, into their rules' sums.
    fn trim_cases(&self) -> rusqlite::Result<()> {
        let newest: i64 =
            self.inner.prepare_cached("SELECT max(id) FROM casefile")?.query_row([], |row| row.get(0))?;
        let keep_after = newest - CASES_MAX;
        let oldest: i64 =
            self.inner.prepare_cached("SELECT min(id) FROM casefile")?.query_row([], |row| row.get(0))?;
        if oldest > keep_after {
            return Ok(());
        }
        self.inner
            .prepare_cached(&format!(
                "INSERT INTO case_tally (rule, raised, continued, answered, closed, rejected, reclassified) \
                 {SUMS} FROM casefile WHERE id <= ?1 \
                 ON CONFLICT (rule) DO UPDATE SET raised = raised + excluded.raised, continued = continued + excluded.continued, \
                 answered = answered + excluded.answered, closed = closed + excluded.closed, \
                 rejected = rejected + excluded.rejected, reclassified = reclassified + excluded.reclassified"
            ))?
            .execute([keep_after])?;
        self.inner.prepare_cached("DELETE FROM casefile WHERE id <= ?1")?.execute([keep_after])?;
        Ok(())
    }
}

/// A case that an event raises.
struct Opened<'a> {
    id: &'a str,
    device: Option<DeviceId>,
    rule: &'a str,
    previous: Option<&'a str>,
    at_ms: i64,
}

/// What an episode's event says of its case; nothing while that is the episode's own, and the platform has not answered.
fn case_data(case: &Case, episode: &str) -> Option<CaseData> {
    let is_own = case.id == episode;
    if is_own && case.previous.is_none() && case.state == State::Raised {
        return None;
    }
    let relation = match (is_own, &case.previous) {
        (true, None) => "opens",
        (true, Some(_)) => "reopens",
        (false, _) => "continues",
    };
    Some(CaseData {
        id: case.id.clone(),
        relation: relation.to_owned(),
        state: case.state.as_str().to_owned(),
        number: case.number.clone(),
        reclassified_to: case.reclassified.as_ref().map(|(_, matter)| matter.clone()),
        previous: case.previous.clone(),
    })
}

/// An event's time, in milliseconds; it was written by this program.
fn millis(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Change;
    use crate::spool::Spool;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_0001);

    fn opened(id: &str) -> Opened<'_> {
        Opened { id, device: Some(DEVICE), rule: "night", previous: None, at_ms: 1000 }
    }

    fn closed(case: &Case) -> Case {
        let mut case = case.clone();
        assert!(case.apply(&Change { state: State::Closed, at_ms: 2000, number: None, matter: None }, 600));
        case
    }

    #[test]
    fn beyond_their_bound_the_oldest_go_and_stay_in_their_rules_sums() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let mut spool = Spool::open(&path).unwrap();
        let more = 5;
        spool
            .commit(|t| {
                for n in 0..CASES_MAX + more {
                    t.raise(&opened(&format!("night-{n}")), "housing")?;
                    // The first of those that go was closed.
                    if let (0, Some(case)) = (n, t.case_of("night-0")?) {
                        t.change_case(&closed(&case))?;
                    }
                }
                Ok(())
            })
            .unwrap();
        let kept: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM casefile", [], |row| row.get(0))
            .unwrap();
        assert_eq!(kept, CASES_MAX);
        let gone = format!("night-{}", more - 1);
        spool
            .commit(|t| {
                assert_eq!(t.case_of(&gone)?, None);
                assert!(t.case_of(&format!("night-{more}"))?.is_some());
                Ok(())
            })
            .unwrap();
        let all = tallies(&path).unwrap();
        assert_eq!((all[0].raised, all[0].closed, all[0].answered), (CASES_MAX + more, 1, 1));
    }

    /// The exceedance of an episode of rule `night`, at this time.
    fn exceedance(episode: &str, at_ms: i64) -> Event {
        let name = serde_json::json!({"zh": "名", "en": "name"});
        let time = Timestamp::from_millisecond(at_ms).unwrap().to_string();
        let payload = serde_json::json!({
            "specversion": "1.0", "id": format!("{episode}-1"), "source": "/", "type": "gridpost.event.exceeded", "subject": "s",
            "time": time, "datacontenttype": "application/json", "matter": "m", "department": "housing",
            "level": "city", "division": "4", "phase": "exceeded",
            "data": {
                "matter": {"code": "m", "name": name, "department": {"id": "housing", "name": name}, "level": "city", "deadline_h": 1},
                "phase": "exceeded", "episode": {"id": episode, "revision": 1, "since": time, "severity": 0},
                "pack": {"name": "p", "version": 1, "digest": "0"}, "quality": {"clock": "device", "record": 1}
            }
        });
        let (id, payload) = (format!("{episode}-1"), payload.to_string().into_bytes());
        Event { id, topic: "t".to_owned(), severity: 0, payload }
    }

    /// What the exceedance of an episode says of its case.
    fn said(spool: &mut Spool, episode: &str, at_ms: i64) -> Option<CaseData> {
        let event = exceedance(episode, at_ms);
        let other = spool.commit(|t| t.in_its_case(DEVICE, "night", &event)).unwrap();
        serde_json::from_slice::<CloudEvent>(&other.unwrap_or(event).payload).unwrap().data.case
    }

    fn change(spool: &mut Spool, case: &str, change: &Change) {
        let changed = spool.commit(|t| {
            let mut case = t.case_of(case)?.unwrap();
            assert!(case.apply(change, 600));
            t.change_case(&case)
        });
        changed.unwrap();
    }

    #[test]
    fn a_case_that_was_filed_after_the_next_one_was_raised_takes_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(&folder.path().join("spool.db")).unwrap();
        let (first, second) = ("night-1", "night-2");
        assert_eq!(
            (said(&mut spool, first, 1_000), said(&mut spool, second, 2_000)),
            (None, None),
            "nothing is filed yet"
        );
        let filed = Change { state: State::Filed, at_ms: 1_500, number: None, matter: None };
        change(&mut spool, first, &filed);
        assert_eq!(said(&mut spool, second, 2_500), None, "it has a case of its own");
        let case = said(&mut spool, "night-3", 3_000).unwrap();
        assert_eq!((case.id.as_str(), case.relation.as_str()), (first, "continues"));
        change(&mut spool, first, &Change { state: State::Closed, at_ms: 4_000, ..filed });
        let case = said(&mut spool, "night-4", 5_000).unwrap();
        assert_eq!((case.relation.as_str(), case.previous.as_deref()), ("reopens", Some(first)));
    }

    #[test]
    fn a_restart_finds_cases_as_they_were_and_a_replay_raises_none_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let mut spool = Spool::open(&path).unwrap();
        spool.commit(|t| t.raise(&opened("night-7"), "housing")).unwrap();
        let case = spool.commit(|t| t.case_of("night-7-1")).unwrap().unwrap();
        spool.commit(|t| t.change_case(&closed(&case))).unwrap();
        drop(spool);
        let mut spool = Spool::open(&path).unwrap();
        let after = spool.commit(|t| t.case_of("night-7")).unwrap().unwrap();
        assert_eq!(after, closed(&case));
        assert!(after.takes(2599) && !after.takes(2600));
        // The readings behind the last commit are decided on again: the same episode, the same case.
        spool.commit(|t| t.raise(&opened("night-7"), "housing")).unwrap();
        assert_eq!(spool.commit(|t| t.case_of("night-7")).unwrap().unwrap(), after);
        assert_eq!(tallies(&path).unwrap()[0].raised, 1);
    }
}
