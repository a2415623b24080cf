//! The platform's side of a broker: a subscriber with a session that outlives its connections, as a platform should have
//! one, which remembers everything it was given.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::PATIENCE;

/// The longest packet that it takes: a batch of events is longer than what the client library takes by itself.
const PACKET_BYTES_MAX: u32 = 1024 * 1024;
/// Seconds for which the broker keeps the session of a listener that is away.
const SESSION_S: u32 = 3600;
/// How long it waits before it connects again; it has no other broker to try.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Of what type it is said to be.
    pub content_type: Option<String>,
    /// Whether the broker had kept it from before the subscription.
    pub retained: bool,
    /// When it came.
    pub at: Instant,
}

/// A subscriber. Dropping it ends it.
pub struct Listener {
    heard: watch::Receiver<Vec<Heard>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Subscribes to `filter` at the plain broker on `port`; returns when the subscription stands.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn start(port: u16, filter: &str) -> Result<Self> {
        Self::start_as("listener", port, filter).await
    }

    /// As [`Self::start`], under a name of its own beside another listener.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn start_as(name: &str, port: u16, filter: &str) -> Result<Self> {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options
            .set_keep_alive(Duration::from_secs(30))
            .set_clean_start(false)
            .set_max_packet_size(Some(PACKET_BYTES_MAX))
            .set_session_expiry_interval(Some(SESSION_S));
        let (client, mut driver) = AsyncClient::new(options, 16);
        client.try_subscribe(filter, QoS::AtLeastOnce)?;
        // The first error is the test's error: nobody has killed anything yet.
        while !matches!(driver.poll().await.context("the listener")?, Event::Incoming(Packet::SubAck(_))) {}
        let (sender, heard) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            // The client ends the connection when it is dropped.
            let _client = client;
            loop {
                match driver.poll().await {
                    Ok(Event::Incoming(Packet::Publish(message))) => sender.send_modify(|heard| {
                        heard.push(Heard {
                            topic: String::from_utf8_lossy(&message.topic).into_owned(),
                            payload: message.payload.to_vec(),
                            content_type: message.properties.and_then(|properties| properties.content_type),
                            retained: message.retain,
                            at: Instant::now(),
                        });
                    }),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
                }
            }
        });
        Ok(Self { heard, task })
    }

    /// Waits until what was heard satisfies `enough`, and returns all of it.
    ///
    /// # Errors
    /// It does not come to that in two minutes; says how much was heard.
    pub async fn wait_until(&mut self, enough: impl FnMut(&Vec<Heard>) -> bool) -> Result<Vec<Heard>> {
        if let Ok(heard) = tokio::time::timeout(PATIENCE, self.heard.wait_for(enough)).await {
            return Ok(heard.context("the listener ended")?.clone());
        }
        anyhow::bail!("waited in vain; {} messages were heard", self.heard.borrow().len())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
