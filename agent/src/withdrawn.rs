//! What happens, with another pack, to episodes whose rule is no longer there, no longer applies to its device, or has become
//! another department's: they are cleared at the platform, under the matter that they had. What goes on begins anew under the
//! new one. Costs as much as there are open episodes.

use std::sync::Arc;

use gridpost_protocol::engine::RuleState;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::time::{ClockQuality, UnixMillis};

use crate::counters::Counters;
use crate::event::cloudevent::CloudEvent;
use crate::event::make::District;
use crate::event::{fault, silence, withdraw};
use crate::spool::{OpenEpisode, Spool, SpoolError};

/// Clears them, in one transaction.
///
/// # Errors
/// When the spool fails; then nothing of it happened, and the next start does it.
pub fn clear(
    spool: &mut Spool,
    district: &District,
    counters: &Arc<Counters>,
    now: UnixMillis,
) -> Result<(), SpoolError> {
    let mut withdrawn = Vec::new();
    for episode in spool.open_episodes()?.into_iter().filter(|open| !applies(district, open)) {
        let states = spool.rule_states(episode.device)?;
        let state = states.into_iter().find(|(rule, _)| *rule == episode.rule);
        let state = state.and_then(|(_, bytes)| postcard::from_bytes::<RuleState>(&bytes).ok());
        let OpenEpisode { device, rule, topic, payload } = episode;
        let event = match (state, withdraw::is_of_device(&payload)) {
            _ if fault::is_key(&rule) => {
                fault::next(&topic, &payload, None, Seq::NONE, now, ClockQuality::Arrival)
            }
            _ if silence::rule_of(&rule).is_some() => {
                silence::over(&topic, &payload, silence::WITHDRAWN, now)
            }
            // The device ends it itself when it is told its new rules.
            (_, true) if district.knows(device) => continue,
            (_, true) => withdraw::cleared_for_device(&topic, &payload, now),
            (state, false) => {
                state.and_then(|mut state| withdraw::cleared(&mut state, &topic, &payload, now))
            }
        };
        match &event {
            Some(event) => {
                tracing::info!(%device, rule, id = event.id, "the rule is withdrawn; its open episode is cleared");
            }
            None => tracing::error!(%device, rule, topic,
                "the rule is withdrawn, and what the spool has of its open episode cannot be read; it stays open at the platform"),
        }
        withdrawn.push((device, rule, event));
    }
    if withdrawn.is_empty() {
        return Ok(());
    }
    spool.commit(|transaction| {
        for (device, rule, event) in &withdrawn {
            transaction.drop_rule_state(*device, rule)?;
            match event {
                Some(event) => drop(transaction.add_event_of_episode(*device, rule, false, event)?),
                None => transaction.drop_episode(*device, rule)?,
            }
        }
        Ok(())
    })?;
    let made = withdrawn.iter().filter(|(_, _, event)| event.is_some()).count();
    Counters::add(&counters.events_made, made as u64);
    Ok(())
}

fn applies(district: &District, OpenEpisode { device, rule, payload, .. }: &OpenEpisode) -> bool {
    if fault::is_key(rule) {
        return district.knows(*device);
    }
    fn found(district: &District, device: DeviceId, rule: &str, last: &[u8]) -> Option<bool> {
        let pack = &district.pack;
        let site = pack.site_of(pack.device(device)?);
        let device = pack.device(device)?;
        let (matter, is_here) = match silence::rule_of(rule) {
            Some(id) => {
                let rule = pack.silences().iter().find(|one| one.id.as_str() == id)?;
                (pack.matter(rule.matter.as_str())?, rule.applies_to(device, site))
            }
            None => {
                let rule = pack.rules().iter().find(|one| one.id.as_str() == rule)?;
                (pack.matter_of(rule)?, rule.applies_at(site))
            }
        };
        // What cannot be read says nothing against it.
        let is_whose_it_was = serde_json::from_slice::<CloudEvent>(last).map_or(true, |event| {
            event.matter == matter.code.as_str()
                && event.department == pack.department_of(matter).id.as_str()
                && event.level == matter.level.as_str()
        });
        Some(is_here && is_whose_it_was)
    }
    found(district, *device, rule, payload).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gridpost_protocol::id::Seq;
    use gridpost_protocol::pack::{FILES, Pack};
    use gridpost_protocol::quantity::Quantity;
    use gridpost_protocol::reading::{Milli, Quality, Reading};
    use gridpost_protocol::session::gateway::Durable;
    use gridpost_protocol::time::ClockQuality;

    use super::*;
    use crate::decide::Decider;
    use crate::uplink::Outbox as _;

    const DEVICE: DeviceId = DeviceId(0x6770_0000_0000_000a);
    const RULE: &str = "outdoor-work-heat";
    const BEGAN: UnixMillis = UnixMillis(1_790_000_000_000);

    /// The sample district, with one file changed.
    fn district(name: &str, change: impl Fn(&str) -> String) -> District {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
        let texts = FILES.map(|file| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            if file == name { change(&text) } else { text }
        });
        let files: Vec<_> = FILES.into_iter().zip(texts.iter().map(|text| text.as_bytes())).collect();
        District { pack: Pack::from_files(&files).unwrap(), gateway: "gw-1".to_owned() }
    }

    fn without_the_rule(text: &str) -> String {
        let rules: Vec<_> = text.split("[[rule]]").filter(|rule| !rule.contains(RULE)).collect();
        rules.join("[[rule]]")
    }

    /// A spool in which the heat rule's episode is open, as the pipeline leaves it, and the newest event there.
    fn spool_with_an_open_episode(dir: &Path, district: &District) -> (Spool, CloudEvent) {
        let mut spool = Spool::open(&dir.join("spool.db")).unwrap();
        let mut decider = Decider::load(district, DEVICE, &spool).unwrap();
        let mut last = None;
        spool
            .commit(|transaction| {
                for second in 1..40 {
                    let reading = Reading {
                        quantity: Quantity::Temperature,
                        value: Milli(38_000 - second * 10),
                        quality: Quality::GOOD,
                    };
                    let (seq, at) = (Seq(second as u64), BEGAN.plus(i64::from(second) * 1000));
                    decider.on_reading(
                        district,
                        0,
                        seq,
                        at,
                        ClockQuality::Device,
                        &reading,
                        |rule, open, event| {
                            last = serde_json::from_slice(&event.payload).ok();
                            transaction.add_event_of_episode(DEVICE, rule.as_str(), open, &event).unwrap();
                        },
                    );
                }
                decider.store(district, DEVICE, Durable::default(), transaction)
            })
            .unwrap();
        (spool, last.unwrap())
    }

    fn newest(spool: &Spool) -> CloudEvent {
        let events = spool.outbox().unwrap().read_after(0, 100).unwrap();
        serde_json::from_slice(&events.last().unwrap().payload).unwrap()
    }

    #[test]
    fn an_episode_whose_rule_is_withdrawn_is_cleared_once_and_under_its_matter() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let before = district("", str::to_owned);
        let (mut spool, last) = spool_with_an_open_episode(dir.path(), &before);
        assert_eq!((last.phase.as_str(), last.matter.as_str()), ("exceeded", "0501002"));
        let waiting = spool.events_waiting().unwrap();

        clear(&mut spool, &before, &counters, BEGAN).unwrap();
        assert_eq!(spool.events_waiting().unwrap(), waiting, "the rule is still there");

        let after = district("rules.toml", without_the_rule);
        let now = BEGAN.plus(3_600_000);
        clear(&mut spool, &after, &counters, now).unwrap();
        assert_eq!(spool.events_waiting().unwrap(), waiting + 1);
        assert_eq!(Counters::get(&counters.events_made), 1);
        let cleared = newest(&spool);
        let (episode, was) = (cleared.data.episode.clone().unwrap(), last.data.episode.clone().unwrap());
        assert_eq!((cleared.phase.as_str(), cleared.kind.as_str()), ("cleared", "gridpost.event.cleared"));
        assert_eq!(episode.cause.as_deref(), Some("rule-withdrawn"));
        assert_eq!((&episode.id, episode.revision), (&was.id, was.revision + 1));
        assert_eq!(cleared.id, format!("{}-{}", episode.id, episode.revision));
        assert_eq!((&cleared.data.matter, &cleared.department), (&last.data.matter, &last.department));
        assert_eq!(cleared.time, "2026-09-21T15:13:20.000Z");
        let measurement = cleared.data.measurement.unwrap();
        assert_eq!((measurement.limit, measurement.value), (35.0, measurement.peak));
        assert!(measurement.peak > 37.0 && (measurement.excess - (measurement.peak - 35.0)).abs() < 1e-9);

        clear(&mut spool, &after, &counters, now).unwrap();
        assert_eq!(spool.events_waiting().unwrap(), waiting + 1, "once");
        assert!(spool.rule_states(DEVICE).unwrap().iter().all(|(rule, _)| rule != RULE));
        // With the rule back, a new episode has an id of its own.
        let decider = Decider::load(&before, DEVICE, &spool);
        assert!(decider.is_ok());
    }

    #[test]
    fn an_episode_that_becomes_another_departments_ends_under_the_one_that_had_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, last) = spool_with_an_open_episode(dir.path(), &district("", str::to_owned));
        let (had, gets) = (last.department.clone(), "ecology");
        assert_ne!(had, gets);
        let after = district("catalogue.csv", |text| {
            text.lines()
                .map(|line| match line.starts_with("matter,0501002,") {
                    true => line.replacen(&format!(",{had},"), &format!(",{gets},"), 1) + "\n",
                    false => format!("{line}\n"),
                })
                .collect()
        });
        clear(&mut spool, &after, &Arc::default(), BEGAN).unwrap();
        let cleared = newest(&spool);
        assert_eq!((cleared.phase.as_str(), &cleared.department), ("cleared", &had));
        assert_eq!(spool.open_episodes().unwrap(), []);
    }

    #[test]
    fn an_episode_of_a_device_that_is_gone_is_cleared_too() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = spool_with_an_open_episode(dir.path(), &district("", str::to_owned));
        let after = district("devices.csv", |text| {
            text.lines()
                .filter(|line| !line.starts_with("677000000000000a"))
                .map(|line| format!("{line}\n"))
                .collect()
        });
        clear(&mut spool, &after, &Arc::default(), BEGAN).unwrap();
        assert_eq!(newest(&spool).data.episode.unwrap().cause.as_deref(), Some("rule-withdrawn"));
        assert_eq!(spool.open_episodes().unwrap(), []);
    }

    #[test]
    fn an_episode_that_ended_by_itself_is_not_cleared_again() {
        let dir = tempfile::tempdir().unwrap();
        let before = district("", str::to_owned);
        let (mut spool, _) = spool_with_an_open_episode(dir.path(), &before);
        let mut decider = Decider::load(&before, DEVICE, &spool).unwrap();
        spool
            .commit(|transaction| {
                for second in 40..120 {
                    let reading = Reading {
                        quantity: Quantity::Temperature,
                        value: Milli(20_000),
                        quality: Quality::GOOD,
                    };
                    let (seq, at) = (Seq(second as u64), BEGAN.plus(second * 1000));
                    decider.on_reading(
                        &before,
                        0,
                        seq,
                        at,
                        ClockQuality::Device,
                        &reading,
                        |rule, open, event| {
                            transaction.add_event_of_episode(DEVICE, rule.as_str(), open, &event).unwrap();
                        },
                    );
                }
                decider.store(&before, DEVICE, Durable::default(), transaction)
            })
            .unwrap();
        assert_eq!(newest(&spool).data.episode.unwrap().cause.as_deref(), Some("below-limit"));
        let waiting = spool.events_waiting().unwrap();
        clear(&mut spool, &district("rules.toml", without_the_rule), &Arc::default(), BEGAN).unwrap();
        assert_eq!(spool.events_waiting().unwrap(), waiting);
    }
}
