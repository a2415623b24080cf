//! Devices behind a Unix socket: emulated boards, and programs on the same box that speak the device link.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Frames;
use super::stream::serve;
use crate::counters::Counters;

/// Opens the listening socket; one that an earlier run left behind is replaced.
///
/// # Errors
/// When the folder is missing or not writable, or another process listens there.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            use std::os::unix::fs::FileTypeExt as _;
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
            // Only a socket that nobody serves any more is in the way by accident.
            if !is_socket || tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

/// Accepts connections until shutdown.
pub async fn run(
    listener: UnixListener,
    link: Arc<str>,
    frames: Frames,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    let counted = counters.link(&link);
    let mut open = Some(counted.open());
    let tasks = TaskTracker::new();
    let mut backoff = super::backoff::Backoff::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                open.get_or_insert_with(|| counted.open());
                tracing::info!(%link, "device connected");
                let (link, frames) = (link.clone(), frames.clone());
                let (counters, shutdown) = (counters.clone(), shutdown.clone());
                tasks.spawn(async move {
                    serve(stream, link.clone(), None, frames, counters, shutdown).await;
                    tracing::info!(%link, "device disconnected");
                });
            }
            Err(error) => {
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
