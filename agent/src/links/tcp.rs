//! Devices that come over TCP: the agent listens. Anybody may come, so who is no device does not stay
//! ([`trust`](super::trust)).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Frames;
use super::stream::{End, serve};
use super::trust::{Peers, Unwanted, Warnings};
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
    let counted = counters.link(&link);
    let mut open = Some(counted.open());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (peers, warnings) = (Arc::new(Peers::default()), Arc::new(Warnings::default()));
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
                open.get_or_insert_with(|| counted.open());
                let Some(admitted) = peers.admit(peer.ip()) else {
                    Counters::count(&counters.connections_refused);
                    warn(&warnings, &link, peer, Unwanted::TooMany);
                    continue;
                };
                tracing::info!(%link, %peer, "device connected");
                // Acknowledgements are small and wanted at once.
                let _ = stream.set_nodelay(true);
                let (link, frames) = (link.clone(), frames.clone());
                let (counters, shutdown) = (counters.clone(), shutdown.clone());
                let warnings = warnings.clone();
                tasks.spawn(async move {
                    let proof = Some(admitted.proof.clone());
                    let end = serve(stream, link.clone(), proof, frames, counters.clone(), shutdown).await;
                    drop((place, admitted));
                    match end {
                        End::Failed(error) => {
                            tracing::info!(%link, %peer, %error, "device's connection failed")
                        }
                        End::CutOff(why) => {
                            Counters::count(&counters.connections_cut_off);
                            warn(&warnings, &link, peer, why);
                        }
                        End::Closed => tracing::info!(%link, %peer, "device disconnected"),
                        End::Shutdown => {}
                    }
                });
            }
            (Err(error), _) => {
                // Out of file descriptors, mostly: wait for some to come free.
                open = None;
                counted.close(&error.to_string());
                let wait = backoff.failed(std::time::Instant::now());
                tracing::warn!(%link, %error, "cannot accept a connection; trying again in {wait:.1?}");
                tokio::time::sleep(wait).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// One warning for many, because whoever wants to can cause as many as there is time for.
fn warn(warnings: &Warnings, link: &str, peer: SocketAddr, why: Unwanted) {
    if let Some(unsaid) = warnings.due() {
        let reason = why.reason();
        tracing::warn!(link, %peer, reason, since_last_warning = unsaid, "connection cut off");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::super::trust::UNPROVEN_PER_PEER_MAX;
    use super::*;

    #[tokio::test]
    async fn one_peer_does_not_take_all_connections() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counters, shutdown) = (Arc::new(Counters::default()), CancellationToken::new());
        let (frames, _taken) = mpsc::channel(1);
        let served = tokio::spawn(run(listener, "lan".into(), frames, counters.clone(), shutdown.clone()));
        let mut connections = Vec::new();
        for _ in 0..UNPROVEN_PER_PEER_MAX {
            connections.push(TcpStream::connect(address).await.unwrap());
        }
        // Accepted in the order of their coming, so this one is one too many.
        let mut surplus = TcpStream::connect(address).await.unwrap();
        assert_eq!(surplus.read(&mut [0]).await.unwrap(), 0, "it is closed");
        assert_eq!(Counters::get(&counters.connections_refused), 1);
        shutdown.cancel();
        served.await.unwrap();
    }
}
