//! The program's own subscriber against a real Mosquitto that is killed under it.

use std::collections::BTreeSet;

use anyhow::{Context, Error, Result};
use gridpost_agent::uplink::config::{Connection, Version};
use gridpost_agent::uplink::subscriber::{self, MESSAGES_QUEUED_MAX, Received};
use gridpost_agent::uplink::topics;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gateway::{PATIENCE, event, id_of, start};
use super::{ids_of, uplink_config};

/// Seconds for which the broker keeps the session.
const KEEP_S: u32 = 3600;

pub(crate) struct Subscriber {
    received: mpsc::Receiver<Received>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Subscriber {
    pub(crate) fn start(connection: Connection, keep_s: Option<u32>) -> Self {
        let (to, received) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let (stop, filter) = (CancellationToken::new(), topics::ALL_EVENTS.to_owned());
        let task = match keep_s {
            None => tokio::spawn(subscriber::run(connection, filter, to, stop.clone())),
            Some(keep_s) => {
                tokio::spawn(subscriber::run_in_session(connection, filter, keep_s, to, stop.clone()))
            }
        };
        Self { received, stop, task }
    }

    pub(crate) async fn next(&mut self) -> Result<Received> {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.context("the subscriber says nothing")?.context("the subscriber ended")
    }

    /// The ids that come until `last` has come.
    async fn ids_until(&mut self, last: &str) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        while !ids.contains(last) {
            if let Received::Message { payload, .. } = self.next().await? {
                ids.insert(id_of(&payload)?);
            }
        }
        Ok(ids)
    }

    /// The ids that come until there are `count` different ones.
    pub(crate) async fn ids_until_there_are(&mut self, count: usize) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        while ids.len() < count {
            if let Received::Message { payload, .. } = self.next().await? {
                ids.insert(id_of(&payload)?);
            }
        }
        Ok(ids)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

#[tokio::test]
async fn a_subscriber_finds_back_to_a_broker_that_was_killed() -> Result<()> {
    let Some(mut broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
    let connection = Connection::plain(broker.url().parse().map_err(Error::msg)?, "watch".to_owned());
    let mut subscriber = Subscriber::start(connection, None);
    assert_eq!(subscriber.next().await?, Received::Subscribed);
    broker.kill()?;
    assert!(matches!(subscriber.next().await?, Received::Lost(_)));
    broker.restart()?;
    // It may have tried in vain a few times.
    while subscriber.next().await? != Received::Subscribed {}

    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
    gateway.add((0..100).map(event).collect()).await?;
    assert_eq!(subscriber.ids_until(&event(99).id).await?, ids_of(0..100));
    gateway.stop().await?;
    subscriber.stop().await
}

#[tokio::test]
async fn a_subscriber_with_a_session_receives_what_was_published_while_it_was_away() -> Result<()> {
    for version in [Version::V5, Version::V311] {
        let Some(broker) = Mosquitto::start(&MosquittoOptions::default())? else { return Ok(()) };
        let address = broker.url().parse().map_err(Error::msg)?;
        let connection = Connection { version, ..Connection::plain(address, "platform".to_owned()) };
        let mut subscriber = Subscriber::start(connection.clone(), Some(KEEP_S));
        assert_eq!(subscriber.next().await?, Received::Subscribed);
        subscriber.stop().await?;

        let folder = TempDir::with_prefix("gridpost-uplink-")?;
        let mut gateway = start(folder.path(), &uplink_config(&broker.url(), "5"))?;
        gateway.add((0..500).map(event).collect()).await?;
        gateway.wait_released(500).await?;
        gateway.stop().await?;

        let mut subscriber = Subscriber::start(connection, Some(KEEP_S));
        assert_eq!(subscriber.ids_until(&event(499).id).await?, ids_of(0..500), "{version:?}");
        subscriber.stop().await?;
    }
    Ok(())
}
