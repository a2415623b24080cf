//! Devices on a serial port: the agent opens it, and opens it again for ever when it goes away.

use std::sync::Arc;
use std::time::Instant;

use tokio_serial::SerialPortBuilderExt;
use tokio_util::sync::CancellationToken;

use super::Frames;
use super::backoff::Backoff;
use super::stream::{End, serve};
use crate::counters::Counters;

/// Keeps the port open until shutdown. A port that is not there (yet, or any more) is waited for.
pub async fn run(
    port: String,
    baud: u32,
    link: Arc<str>,
    frames: Frames,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    let counted = counters.link(&link);
    let mut backoff = Backoff::default();
    loop {
        let reason = match tokio_serial::new(&port, baud).open_native_async() {
            Ok(stream) => {
                tracing::info!(%link, port, baud, "serial port open");
                backoff.works(Instant::now());
                let _open = counted.open();
                match serve(stream, link.clone(), None, frames.clone(), counters.clone(), shutdown.clone())
                    .await
                {
                    End::Shutdown => return,
                    End::Closed => "the device was unplugged".to_owned(),
                    End::Failed(error) => error.to_string(),
                    // Not on a line that needs no proof.
                    End::CutOff(why) => why.reason().to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        counted.close(&reason);
        Counters::count(&counters.link_failures);
        let wait = backoff.failed(Instant::now());
        tracing::warn!(%link, port, reason, "serial port not usable; trying again in {wait:.1?}");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
