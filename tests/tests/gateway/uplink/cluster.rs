//! The uplink against a cluster of which a node is killed: another one goes on, and nothing is lost.

use anyhow::{Error, Result};
use gridpost_agent::uplink::config::{Connection, Version};
use gridpost_agent::uplink::subscriber::Received;
use gridpost_tests::nats::NatsCluster;
use tempfile::TempDir;

use super::gateway::{event, start};
use super::ids_of;
use super::subscriber::Subscriber;

/// Seconds for which the broker keeps the platform's session.
const KEEP_S: u32 = 3600;

#[tokio::test]
async fn nothing_is_lost_when_the_node_it_is_connected_to_is_killed_in_mid_stream() -> Result<()> {
    const EVENTS: usize = 6_000;
    let Some(mut cluster) = NatsCluster::start()? else { return Ok(()) };
    let address = cluster.url(2).parse().map_err(Error::msg)?;
    // The cluster speaks MQTT 3.1.1 only.
    let platform = Connection { version: Version::V311, ..Connection::plain(address, "platform".to_owned()) };
    let mut platform = Subscriber::start(platform, Some(KEEP_S));
    // The cluster makes its streams at the first connection, and refuses some until then.
    while platform.next().await? != Received::Subscribed {}

    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let brokers: Vec<_> = (0..3).map(|node| format!("'{}'", cluster.url(node))).collect();
    let config = format!("brokers = [{}]\nprotocol = '3.1.1'\n", brokers.join(", "));
    let mut gateway = start(folder.path(), &config)?;
    gateway.wait_connected(true).await?;
    gateway.add((0..EVENTS).map(event).collect()).await?;
    let mut ids = platform.ids_until_there_are(500).await?;
    cluster.kill(0)?;
    ids.extend(platform.ids_until_there_are(EVENTS - ids.len()).await?);
    while ids.len() < EVENTS {
        ids.extend(platform.ids_until_there_are(1).await?);
    }
    assert_eq!(ids, ids_of(0..EVENTS));
    gateway.wait_released(EVENTS as i64).await?;
    assert_eq!(gateway.stop().await?.events_waiting()?, 0);
    platform.stop().await
}
