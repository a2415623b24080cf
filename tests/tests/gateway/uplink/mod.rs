//! The uplink against a real Mosquitto: what is in the spool arrives, and nothing leaves the spool before a broker has it.

mod cluster;
mod gateway;
mod rates;
mod shared;
mod subscriber;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use gateway::{DIVISION, GATEWAY, event, id_of, start, topic};
use gridpost_agent::uplink::topics;
use gridpost_tests::certificates;
use gridpost_tests::listener::{Heard, Listener};
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use tempfile::TempDir;

fn ids(heard: &[Heard]) -> Result<BTreeSet<String>> {
    heard.iter().map(|message| id_of(&message.payload)).collect()
}

/// The ids of the events of a message, be it one or a batch.
fn ids_in(message: &Heard) -> Result<Vec<String>> {
    let payload: serde_json::Value = serde_json::from_slice(&message.payload)?;
    let id = |event: &serde_json::Value| Ok(event["id"].as_str().context("an id")?.to_owned());
    payload.as_array().map_or_else(|| Ok(vec![id(&payload)?]), |events| events.iter().map(id).collect())
}

fn ids_of(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(|n| event(n).id).collect()
}

fn uplink_config(broker: &str, protocol: &str) -> String {
    format!("brokers = ['{broker}']\nprotocol = '{protocol}'\n")
}

async fn a_backlog_arrives(protocol: &str) -> Result<()> {
    const EVENTS: usize = 5_000;
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), protocol))?;
    gateway.add((0..EVENTS).map(event).collect()).await?;
    let heard = listener.wait_until(|heard| heard.len() >= EVENTS).await?;
    assert_eq!(ids(&heard)?, ids_of(0..EVENTS));
    gateway.wait_released(EVENTS as i64).await?;
    assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    Ok(())
}

#[tokio::test]
async fn a_backlog_arrives_complete_and_leaves_the_spool_over_mqtt_5() -> Result<()> {
    a_backlog_arrives("5").await
}

#[tokio::test]
async fn a_backlog_arrives_complete_and_leaves_the_spool_over_mqtt_3_1_1() -> Result<()> {
    a_backlog_arrives("3.1.1").await
}

#[tokio::test]
async fn a_backlog_goes_in_batches_where_that_was_agreed_and_arrives_complete() -> Result<()> {
    const EVENTS: usize = 5_000;
    const FRESH: usize = 100;
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    // The outage, in which the backlog gathers.
    let mut gateway = start(folder.path(), &uplink_config("mqtt://127.0.0.1:1", "5"))?;
    gateway.add((0..EVENTS).map(event).collect()).await?;
    gateway.stop().await?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let config = uplink_config(&broker.url(), "5") + "batch_events_max = 50\n";
    gateway = start(folder.path(), &config)?;
    gateway.wait_connected(true).await?;
    gateway.add((EVENTS..EVENTS + FRESH).map(event).collect()).await?;
    gateway.wait_released((EVENTS + FRESH) as i64).await?;
    let all = |heard: &[Heard]| -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for message in heard {
            ids.extend(ids_in(message)?);
        }
        Ok(ids)
    };
    let heard = listener.wait_until(|heard| all(heard).is_ok_and(|ids| ids.len() >= EVENTS + FRESH)).await?;
    assert_eq!(all(&heard)?.into_iter().collect::<BTreeSet<_>>(), ids_of(0..EVENTS + FRESH));
    assert!(heard.len() < EVENTS / 10, "{} messages", heard.len());
    for message in &heard {
        let ids = ids_in(message)?;
        assert!(ids.len() <= 50 && ids.is_sorted(), "{ids:?}");
        let is_batch = message.payload.starts_with(b"[");
        let said =
            if is_batch { "application/cloudevents-batch+json" } else { "application/cloudevents+json" };
        assert_eq!(message.content_type.as_deref(), Some(said));
    }
    assert_eq!(gateway.status.acknowledged.load(Ordering::Relaxed), (EVENTS + FRESH) as u64);
    assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    Ok(())
}

#[tokio::test]
async fn what_a_killed_broker_had_not_acknowledged_is_sent_again() -> Result<()> {
    const EVENTS: usize = 20_000;
    let options = MosquittoOptions { persistent: true, ..MosquittoOptions::default() };
    let Some(mut broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    // The listener's session is on disk: the broker queues for it from the first moment after its restart.
    broker.save()?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    gateway.add((0..EVENTS).map(event).collect()).await?;
    listener.wait_until(|heard| heard.len() >= 1_000).await?;
    broker.kill()?;
    gateway.wait_connected(false).await?;
    let before = usize::try_from(gateway.status.acknowledged.load(Ordering::Relaxed))?;
    assert!(before < EVENTS, "killed in mid-stream");

    broker.restart()?;
    gateway.wait_released(EVENTS as i64).await?;
    // The birth's acknowledgement is counted too, so at most `before` events had been acknowledged.
    let owed = ids_of(before..EVENTS);
    // Not until the last is heard: what is fresh has a lane of its own, and may end before the backlog does.
    let heard = listener
        .wait_until(|heard| heard.len() >= owed.len() && ids(heard).is_ok_and(|ids| owed.is_subset(&ids)))
        .await
        .context("an unacknowledged event was lost")?;
    let heard = ids(&heard)?;
    let lost_by_broker = ids_of(0..before).difference(&heard).count();
    println!("{before} acknowledged before the kill, of which the broker itself lost {lost_by_broker}");
    assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_hangs_is_left_even_while_events_keep_coming() -> Result<()> {
    const EVENTS: usize = 2_000;
    let Some(hanging) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let Some(other) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(other.port(), topics::ALL_EVENTS).await?;
    let config = format!(
        "brokers = ['{}', '{}']\nack_timeout_s = 2\nkeep_alive_s = 600\n",
        hanging.url(),
        other.url()
    );
    let mut gateway = start(folder.path(), &config)?;
    gateway.wait_connected(true).await?;
    hanging.freeze()?;
    // One after the other, faster than the watchdog looks, until the other broker has got some.
    let mut added = 0;
    while gateway.status.connections.load(Ordering::Relaxed) < 2 {
        anyhow::ensure!(added < 60_000, "the uplink still waits for the broker that hangs");
        gateway.add(vec![event(added)]).await?;
        added += 1;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    gateway.add((added..added + EVENTS).map(event).collect()).await?;
    gateway.wait_released((added + EVENTS) as i64).await?;
    // What the broker that hung had taken may come again.
    let all = added + EVENTS;
    let heard = listener
        .wait_until(|heard| heard.len() >= all && ids(heard).is_ok_and(|ids| ids.len() >= all))
        .await?;
    assert_eq!(ids(&heard)?, ids_of(0..all));
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn with_a_wrong_password_everything_stays_and_the_message_says_what_to_look_at() -> Result<()> {
    let options =
        MosquittoOptions { user: Some(("gw".into(), "right".into())), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    for protocol in ["5", "3.1.1"] {
        let folder = TempDir::with_prefix("gridpost-uplink-")?;
        let password = folder.path().join("password");
        std::fs::write(&password, "wrong\n")?;
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600))?;
        let config = uplink_config(&broker.url(), protocol) + "username = 'gw'\npassword_file = 'password'\n";
        let gateway = start(folder.path(), &config)?;
        gateway.add((0..100).map(event).collect()).await?;
        gateway
            .wait_status("a refusal", |status| {
                let error = status.last_error();
                error.contains("password_file") || error.contains("user name")
            })
            .await?;
        assert_eq!(gateway.stop().await?.events_waiting()?, 100);

        std::fs::write(&password, "right\n")?;
        let mut gateway = start(folder.path(), &config)?;
        gateway.wait_released(100).await?;
        assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    }
    Ok(())
}

async fn what_is_denied_is_set_aside(extra: &str) -> Result<()> {
    const DENIED: [usize; 4] = [0, 1, 150, 299];
    let acl = format!(
        "topic readwrite {}\ntopic readwrite gridpost/1/{DIVISION}/gateway/#\ntopic read gridpost/#\n",
        topic("0102003")
    );
    let options = MosquittoOptions { acl: Some(acl), extra: extra.to_owned(), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    let mut events: Vec<_> = (0..301).map(event).collect();
    let mut wanted = ids_of(0..301);
    for denied in DENIED {
        events[denied].topic = topic("9999999");
        wanted.remove(&event(denied).id);
    }
    gateway.add(events).await?;
    gateway.wait_released(301).await?;
    let heard = listener.wait_until(|heard| ids(heard).is_ok_and(|ids| ids.len() >= wanted.len())).await?;
    assert_eq!(ids(&heard)?, wanted);
    let mut spool = gateway.stop().await?;
    assert_eq!(spool.events_waiting()?, 0);
    let refused = spool.refused()?;
    let refused_ids: Vec<_> = refused.iter().map(|event| event.event_id.clone()).collect();
    assert_eq!(refused_ids, DENIED.map(|n| event(n).id));
    assert!(refused.iter().all(|r| r.reason.contains("NotAuthorized") && r.topic.contains("9999999")));
    // As at the next start, after somebody corrected the list.
    assert_eq!(spool.send_refused_again()?, DENIED.len());
    assert_eq!((spool.events_waiting()?, spool.refused()?.len()), (4, 0));
    Ok(())
}

#[tokio::test]
async fn what_the_access_list_denies_is_set_aside_and_holds_up_nobody() -> Result<()> {
    what_is_denied_is_set_aside("").await
}

#[tokio::test]
async fn what_is_denied_by_a_broker_that_hangs_up_after_saying_so_holds_up_nobody() -> Result<()> {
    // With this, Mosquitto 2.0.11 ends the connection after each acknowledgement that is a refusal.
    what_is_denied_is_set_aside("max_queued_messages 0").await
}

#[tokio::test]
async fn an_event_that_no_broker_can_take_holds_up_nobody() -> Result<()> {
    // Smaller than some events, and said so to clients of MQTT 5.
    let options =
        MosquittoOptions { extra: "max_packet_size 2000".to_owned(), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    let mut events: Vec<_> = (0..10).map(event).collect();
    events[4].payload = vec![b' '; 3_000];
    gateway.add(events).await?;
    gateway.wait_released(10).await?;
    let heard = listener.wait_until(|heard| heard.len() >= 9).await?;
    assert_eq!(ids(&heard)?.len(), 9);
    let spool = gateway.stop().await?;
    let refused = spool.refused()?;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].reason.contains("2000 bytes"), "{}", refused[0].reason);
    Ok(())
}

#[tokio::test]
async fn an_event_at_which_the_broker_hangs_up_holds_up_nobody() -> Result<()> {
    // Not announced to clients: the broker answers with a reason that ends the connection.
    let options =
        MosquittoOptions { extra: "message_size_limit 2000".to_owned(), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut listener = Listener::start(broker.port(), topics::ALL_EVENTS).await?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    let mut events: Vec<_> = (0..10).map(event).collect();
    events[4].payload = vec![b' '; 3_000];
    gateway.add(events).await?;
    gateway.wait_released(10).await?;
    let heard = listener.wait_until(|heard| ids(heard).is_ok_and(|ids| ids.len() >= 9)).await?;
    assert_eq!(ids(&heard)?.len(), 9);
    assert_eq!(gateway.stop().await?.refused()?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn over_tls_with_a_client_certificate_events_arrive_and_without_one_they_stay() -> Result<()> {
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let (broker_files, gateway_files) = certificates::write(folder.path())?;
    let options = MosquittoOptions { tls: Some(broker_files), ..MosquittoOptions::default() };
    let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
    let url = format!("mqtts://127.0.0.1:{}", broker.port());
    for protocol in ["5", "3.1.1"] {
        let bare = uplink_config(&url, protocol) + &format!("ca_file = '{}'\n", gateway_files.ca.display());
        let gateway = start(folder.path(), &bare)?;
        gateway.add((0..100).map(event).collect()).await?;
        gateway.wait_status("a refusal", |status| !status.last_error().is_empty()).await?;
        assert!(!gateway.status.last_error().contains("UnknownIssuer"), "{}", gateway.status.last_error());
        let spool = gateway.stop().await?;
        assert_eq!(spool.events_waiting()?, 100);
        let newest = spool.newest_event()?;
        drop(spool);

        let full = bare
            + &format!(
                "client_cert_file = '{}'\nclient_key_file = '{}'\n",
                gateway_files.certificate.display(),
                gateway_files.key.display()
            );
        let mut gateway = start(folder.path(), &full)?;
        gateway.wait_released(newest).await?;
        assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn the_platform_sees_birth_goodbye_and_sudden_death_with_one_session_number() -> Result<()> {
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let topic = topics::status(DIVISION, GATEWAY);
    let mut listener = Listener::start(broker.port(), &topic).await?;
    let said = |heard: &[Heard]| -> Result<Vec<(String, u64)>> {
        heard
            .iter()
            .map(|message| {
                let json: serde_json::Value = serde_json::from_slice(&message.payload)?;
                let status = json["status"].as_str().context("a status")?.to_owned();
                Ok((status, json["session"].as_u64().context("a session")?))
            })
            .collect()
    };
    let first = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    first.wait_connected(true).await?;
    listener.wait_until(|heard| heard.len() == 1).await?;
    let n = u64::from(first.session);
    first.stop().await?;
    let heard = listener.wait_until(|heard| heard.len() == 2).await?;
    assert_eq!(said(&heard)?, [("online".to_owned(), n), ("offline".to_owned(), n)]);

    let second = start(folder.path(), &uplink_config(&broker.url(), "3.1.1"))?;
    let m = u64::from(second.session);
    assert!(m > n);
    listener.wait_until(|heard| heard.len() == 3).await?;
    // Sudden death: the connection goes without a goodbye.
    second.die();
    let heard = listener.wait_until(|heard| heard.len() == 4).await?;
    assert_eq!(said(&heard)?[2..], [("online".to_owned(), m), ("offline".to_owned(), m)]);
    let mut late = Listener::start_as("late", broker.port(), &topic).await?;
    let heard = late.wait_until(|heard| heard.len() == 1).await?;
    assert!(heard[0].retained);
    Ok(())
}
