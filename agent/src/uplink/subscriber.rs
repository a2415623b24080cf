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

/// Receives messages until shutdown, or until nobody wants them any more; reconnects for ever.
pub async fn run(
    connection: Connection,
    filter: String,
    to: mpsc::Sender<Received>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::default();
    let mut turn = 0;
    loop {
        let broker = connection.brokers[turn % connection.brokers.len()].clone();
        let (requests, mut driver) = client::open(&connection, &broker, None);
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
                Ok(Step::Message { topic, payload }) => Received::Message { topic, payload },
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
