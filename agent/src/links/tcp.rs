//! Devices that come over TCP: the agent listens.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Frames;
use super::stream::{End, serve};
use crate::counters::Counters;

/// Connections at a time on one listener; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 4096;

/// Opens the listening socket.
///
/// # Errors
/// When the address is not one of this machine's, or is in use.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Accepts connections until shutdown.
pub async fn run(
    listener: TcpListener,
    link: Arc<str>,
    frames: Frames,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%link, %address, "listening");
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    let mut backoff = super::backoff::Backoff::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await.ok();
                (listener.accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok((stream, peer)), place) => {
                tracing::info!(%link, %peer, "device connected");
                // Acknowledgements are small and wanted at once.
                let _ = stream.set_nodelay(true);
                let (link, frames) = (link.clone(), frames.clone());
                let (counters, shutdown) = (counters.clone(), shutdown.clone());
                tasks.spawn(async move {
                    let end = serve(stream, link.clone(), frames, counters, shutdown).await;
                    drop(place);
                    match end {
                        End::Failed(error) => {
                            tracing::info!(%link, %peer, %error, "device's connection failed")
                        }
                        End::Closed => tracing::info!(%link, %peer, "device disconnected"),
                        End::Shutdown => {}
                    }
                });
            }
            (Err(error), _) => {
                // Out of file descriptors, mostly: wait for some to come free.
                let wait = backoff.failed(std::time::Instant::now());
                tracing::warn!(%link, %error, "cannot accept a connection; trying again in {wait:.1?}");
                tokio::time::sleep(wait).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}
