//! The platform: a subscriber with a session, which counts what it gets by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Seconds for which the broker keeps the session.
const SESSION_S: u32 = 3600;
/// How long it waits before it connects again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What came under one id.
#[derive(Clone, Debug)]
pub(super) struct Got {
    /// What came first.
    pub(super) payload: Vec<u8>,
    /// How often it came.
    pub(super) times: u64,
    /// Something else came under the same id.
    pub(super) differs: bool,
}

/// The subscriber. Dropping it ends it.
pub(super) struct Platform {
    got: Arc<Mutex<HashMap<String, Got>>>,
    task: JoinHandle<()>,
}

impl Platform {
    /// Subscribes at a broker that runs, and returns when the subscription stands.
    pub(super) fn start(handle: &Handle, port: u16) -> Result<Self> {
        let mut options = MqttOptions::new("platform", "127.0.0.1", port);
        options
            .set_keep_alive(Duration::from_secs(30))
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_S));
        // The broker hands on at once, and queues nothing that it would lose when it is killed.
        options.set_receive_maximum(Some(u16::MAX));
        let got = Arc::new(Mutex::new(HashMap::<String, Got>::new()));
        let shared = got.clone();
        let task = handle.block_on(async move {
            let (client, mut driver) = AsyncClient::new(options, 16);
            client.try_subscribe(gridpost_agent::uplink::topics::ALL_EVENTS, QoS::AtLeastOnce)?;
            while !matches!(driver.poll().await.context("the platform")?, Event::Incoming(Packet::SubAck(_)))
            {
            }
            anyhow::Ok(tokio::spawn(async move {
                let client = client;
                loop {
                    match driver.poll().await {
                        Ok(Event::Incoming(Packet::Publish(message))) => put(&shared, &message.payload),
                        // A broker that was killed before it saved anything knows no subscription.
                        Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                            let filter = gridpost_agent::uplink::topics::ALL_EVENTS;
                            let _ = client.try_subscribe(filter, QoS::AtLeastOnce);
                        }
                        Ok(_) => {}
                        Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
                    }
                }
            }))
        })?;
        Ok(Self { got, task })
    }

    /// How many different events came.
    pub(super) fn count(&self) -> usize {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether all of these came.
    pub(super) fn has_all<'a>(&self, mut ids: impl Iterator<Item = &'a String>) -> bool {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        ids.all(|id| got.contains_key(id))
    }

    /// All that came.
    pub(super) fn got(&self) -> HashMap<String, Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn put(got: &Mutex<HashMap<String, Got>>, payload: &[u8]) {
    let id = serde_json::from_slice::<serde_json::Value>(payload)
        .ok()
        .and_then(|event| event["id"].as_str().map(str::to_owned))
        // Whatever it is, it is counted, and nobody expects it.
        .unwrap_or_else(|| String::from_utf8_lossy(payload).into_owned());
    let mut got = got.lock().unwrap_or_else(PoisonError::into_inner);
    let one = got.entry(id).or_insert(Got { payload: payload.to_vec(), times: 0, differs: false });
    one.times += 1;
    one.differs |= one.payload != payload;
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}
