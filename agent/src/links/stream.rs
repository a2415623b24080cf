//! One connection that carries COBS frames, whatever carries the bytes.

use std::io;
use std::sync::Arc;

use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ANSWERS_QUEUED_MAX, FrameIn, Frames};
use crate::counters::Counters;

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Why a connection ended.
#[derive(Debug)]
pub enum End {
    /// The other side closed it.
    Closed,
    /// It failed.
    Failed(io::Error),
    /// The agent is shutting down.
    Shutdown,
}

/// Reads frames from a connection and writes answers to it, until it ends or the agent shuts down.
pub async fn serve<S>(
    stream: S,
    link: Arc<str>,
    frames: Frames,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut to_write) = mpsc::channel::<FrameBuf>(ANSWERS_QUEUED_MAX);
    let read = async {
        let mut deframer = Deframer::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            let count = match reader.read(&mut buffer).await {
                Ok(0) => return End::Closed,
                Ok(count) => count,
                Err(error) => return End::Failed(error),
            };
            for byte in &buffer[..count] {
                match deframer.push(*byte) {
                    None => {}
                    Some(Ok(frame)) => {
                        let frame = FrameIn { link: link.clone(), frame, answers: answers.clone() };
                        // Waits while the intake is busy: the sender is held back by its own transport.
                        if frames.send(frame).await.is_err() {
                            return End::Shutdown;
                        }
                    }
                    Some(Err(_)) => Counters::count(&counters.frames_damaged),
                }
            }
        }
    };
    let write = async {
        while let Some(frame) = to_write.recv().await {
            if let Err(error) = writer.write_all(&to_stream(&frame)).await {
                return End::Failed(error);
            }
            if to_write.is_empty()
                && let Err(error) = writer.flush().await
            {
                return End::Failed(error);
            }
        }
        End::Closed
    };
    tokio::select! {
        end = read => end,
        end = write => end,
        () = shutdown.cancelled() => End::Shutdown,
    }
}
