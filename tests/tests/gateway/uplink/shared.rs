//! A platform of several consumers that share one subscription (MQTT 5, 4.8.2), of which one is killed in mid-stream.
//!
//! What holds for a platform: each consumer has a session of its own that outlives it, acknowledges a message after it has dealt
//! with it, and comes back under its name; what had been handed to it waits for it, and for nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use gridpost_agent::uplink::topics;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::gateway::{PATIENCE, event, id_of, start};
use super::{ids_of, uplink_config};

/// Seconds for which the broker keeps the session of a consumer that is away.
const SESSION_S: u32 = 3600;
/// Messages that a consumer has under way.
const RECEIVE_MAX: u16 = 50;
/// How long a consumer waits before it connects again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the group has dealt with: by id, by whom, in order.
#[derive(Default)]
struct Group(Mutex<BTreeMap<String, Vec<usize>>>);

impl Group {
    fn deal_with(&self, id: String, by: usize) -> usize {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        done.entry(id).or_default().push(by);
        done.len()
    }

    fn done(&self) -> BTreeMap<String, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts a consumer, and returns when its subscription stands. Aborting the task is what kill -9 does: its connection goes with it.
async fn consumer(
    name: usize,
    port: u16,
    group: Arc<Group>,
    count: watch::Sender<usize>,
) -> Result<JoinHandle<()>> {
    let mut options = MqttOptions::new(format!("consumer-{name}"), "127.0.0.1", port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(SESSION_S))
        .set_manual_acks(true);
    options.set_receive_maximum(Some(RECEIVE_MAX));
    let (client, mut driver) = AsyncClient::new(options, usize::from(RECEIVE_MAX) * 2);
    client.try_subscribe(format!("$share/platform/{}", topics::ALL_EVENTS), QoS::AtLeastOnce)?;
    let (told, stands) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut told = Some(told);
        loop {
            match driver.poll().await {
                // A session that comes back may bring messages before its subscription is confirmed.
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let Ok(id) = id_of(&message.payload) else { continue };
                    let all = group.deal_with(id, name);
                    let _ = client.try_ack(&message);
                    count.send_if_modified(|count| std::mem::replace(count, all) != all);
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => drop(told.take().map(|told| told.send(()))),
                Ok(_) => {}
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    });
    tokio::time::timeout(PATIENCE, stands).await.context("no subscription")??;
    Ok(task)
}

#[tokio::test]
async fn a_group_of_consumers_gets_every_event_though_one_of_them_is_killed() -> Result<()> {
    const EVENTS: usize = 6_000;
    const CONSUMERS: usize = 4;
    let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let group = Arc::new(Group::default());
    let (count, mut counted) = watch::channel(0);
    let mut consumers = Vec::new();
    for name in 0..CONSUMERS {
        consumers.push(consumer(name, broker.port(), group.clone(), count.clone()).await?);
    }
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    gateway.add((0..EVENTS).map(event).collect()).await?;
    tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= EVENTS / 10)).await??;
    consumers[1].abort();
    assert!(group.done().len() < EVENTS, "killed in mid-stream");
    // The stream goes on without it: the gateway gets rid of all that it has.
    gateway.wait_released(EVENTS as i64).await?;
    let before = group.done();
    consumers[1] = consumer(1, broker.port(), group.clone(), count).await?;
    let waited = tokio::time::timeout(PATIENCE, counted.wait_for(|count| *count >= EVENTS)).await;
    let done = group.done();
    waited.with_context(|| format!("{} of {EVENTS} events came", done.len()))??;
    assert_eq!(done.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids_of(0..EVENTS));
    let of = |name: usize| done.values().filter(|by| by.contains(&name)).count();
    let shares: Vec<_> = (0..CONSUMERS).map(of).collect();
    assert!(shares.iter().all(|share| *share > 0), "all of them have work: {shares:?}");
    println!(
        "{EVENTS} sent, {} received, {} duplicate, 0 lost; each consumer {shares:?}; {} waited for the one that was killed",
        done.len(),
        done.values().map(|by| by.len() - 1).sum::<usize>(),
        done.len() - before.len(),
    );
    assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    Ok(())
}
