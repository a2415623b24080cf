//! The platform's side, for watching and trying: receives what is published.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::{self, Step};
use super::config::Connection;
use crate::links::backoff::Backoff;

/// Messages that wait for whoever asked for them. When it is full, the broker is made to wait.
pub const MESSAGES_QUEUED_MAX: usize = 1024;

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The subscription stands (again): what is published from now on comes.
    Subscribed,
    /// A message.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
    },
    /// The connection is lost; it is being made again.
    Lost(String),
}

/// Receives messages until shutdown, or until nobody wants them any more; reconnects for ever. What is published while
/// there is no connection is missed.
pub async fn run(
    connection: Connection,
    filter: String,
    to: mpsc::Sender<Received>,
    shutdown: CancellationToken,
) {
    receive(connection, filter, None, to, shutdown).await;
}

/// As [`run`], in a session: what is published while there is no connection comes afterwards.
///
/// The session belongs to the connection's client id and to one broker, which keeps it for `keep_s` seconds while the
/// client is away (on MQTT 3.1.1, as long as the broker likes). A message is acknowledged when it is received, so what
/// still waits in the queue when the process ends is lost.
pub async fn run_in_session(
    connection: Connection,
    filter: String,
    keep_s: u32,
    to: mpsc::Sender<Received>,
    shutdown: CancellationToken,
) {
    receive(connection, filter, Some(keep_s), to, shutdown).await;
}

async fn receive(
    connection: Connection,
    filter: String,
    session_s: Option<u32>,
    to: mpsc::Sender<Received>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::default();
    let mut turn = 0;
    loop {
        let broker = connection.brokers[turn % connection.brokers.len()].clone();
        let (requests, mut driver) = match session_s {
            Some(keep_s) => client::open_in_session(&connection, &broker, keep_s),
            None => client::open(&connection, &broker, None),
        };
        let reason = loop {
            let step = tokio::select! {
                step = driver.poll() => step,
                // Dropped with the whole connection, so nothing is left half-done.
                () = shutdown.cancelled() => return,
            };
            let received = match step {
                Ok(Step::Connected { .. }) => {
                    backoff.works(Instant::now());
                    if requests.subscribe(&filter).is_err() {
                        break "the client takes no more requests".to_owned();
                    }
                    continue;
                }
                Ok(Step::Subscribed) => Received::Subscribed,
                Ok(Step::NotSubscribed(reason)) => {
                    break format!(
                        "the broker refuses the subscription to {filter} ({reason}); look at its access list"
                    );
                }
                Ok(Step::Message { topic, payload, .. }) => Received::Message { topic, payload },
                Ok(_) => continue,
                Err(reason) => break reason,
            };
            if to.send(received).await.is_err() {
                return;
            }
        };
        turn += 1;
        let wait = backoff.failed(Instant::now());
        if to.send(Received::Lost(format!("{broker}: {reason}"))).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::uplink::config::{Broker, Version};

    /// A broker that lets everybody in and answers a subscription with these bytes.
    async fn broker_that_answers(connack: &'static [u8], suback: &'static [u8]) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                for answer in [connack, suback] {
                    if stream.read(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                    let _ = stream.write_all(answer).await;
                }
                // Open until the client has had enough of it.
                while stream.read(&mut request).await.unwrap_or(0) > 0 {}
            }
        });
        Broker { host: "127.0.0.1".to_owned(), port, tls: false }
    }

    #[tokio::test]
    async fn a_subscription_that_the_broker_refuses_does_not_pass_for_one_that_stands() {
        // CONNACK and SUBACK of each version (MQTT 5, 3.2 and 3.9; 3.1.1, the same), the latter for packet 1.
        let v5: [&[u8]; 2] = [&[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 1, 0, 0x87]];
        let v311: [&[u8]; 2] = [&[0x20, 2, 0, 0], &[0x90, 3, 0, 1, 0x80]];
        for (version, [connack, suback]) in [(Version::V5, v5), (Version::V311, v311)] {
            let broker = broker_that_answers(connack, suback).await;
            let connection = Connection { version, ..Connection::plain(broker, "test".to_owned()) };
            let (to, mut received) = mpsc::channel(4);
            tokio::spawn(run(connection, "a/#".to_owned(), to, CancellationToken::new()));
            let Some(Received::Lost(reason)) = received.recv().await else {
                panic!("{version:?}: a refused subscription was taken for one that stands");
            };
            assert!(reason.contains("a/#") && reason.contains("access list"), "{reason}");
        }
    }
}
