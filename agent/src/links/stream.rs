//! One connection that carries COBS frames, whatever carries the bytes.

use std::io;
use std::sync::Arc;

use gridpost_protocol::frame::{Deframer, FrameBuf, to_stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::trust::{Proof, Unwanted, Watch};
use super::{ANSWERS_QUEUED_MAX, FRAMES_PER_CONNECTION_MAX, FrameIn, Frames};
use crate::counters::{Counters, Rejected};

/// Bytes read at once: half of the longest frame. Each of thousands of connections has so much to read into, all the time.
const READ_BYTES: usize = 256;

/// Why a connection ended.
#[derive(Debug)]
pub enum End {
    /// The other side closed it.
    Closed,
    /// It failed.
    Failed(io::Error),
    /// Nobody of ours seems to be behind it.
    CutOff(Unwanted),
    /// The agent is shutting down.
    Shutdown,
}

/// Reads frames from a connection and writes answers to it, until it ends or the agent shuts down. With a `proof`, which
/// it has still to give, it is cut off as [`trust`](super::trust) says; without, whoever is there is trusted to be a device.
pub async fn serve<S>(
    stream: S,
    link: Arc<str>,
    proof: Option<Arc<Proof>>,
    frames: Frames,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    // Boxed: a channel has room for 32 messages from the beginning, and there are thousands of connections.
    let (answers, mut to_write) = mpsc::channel::<Box<FrameBuf>>(ANSWERS_QUEUED_MAX);
    let mut watch = proof.clone().map(Watch::new);
    let proof = proof.unwrap_or_default();
    let counted = counters.link(&link);
    let read = async {
        let mut deframer = Deframer::new();
        let places = Arc::new(Semaphore::new(FRAMES_PER_CONNECTION_MAX));
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = reader.read(&mut buffer);
            let read = match watch.as_ref().and_then(Watch::deadline) {
                None => read.await,
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(read) => read,
                    // It may have proven itself while this waited.
                    Err(_) if watch.as_ref().and_then(Watch::deadline).is_none() => continue,
                    Err(_) => return End::CutOff(Unwanted::NoProof),
                },
            };
            let count = match read {
                Ok(0) => return End::Closed,
                Ok(count) => count,
                Err(error) => return End::Failed(error),
            };
            if watch.as_mut().is_some_and(|watch| !watch.took(count)) {
                return End::CutOff(Unwanted::Noise);
            }
            for byte in &buffer[..count] {
                if *byte != 0 {
                    // Only a delimiter ends a frame.
                    let _ = deframer.push(*byte);
                    continue;
                }
                // Waits while the intake is busy: the sender is held back by its own transport. Before the frame is taken out, so
                // that a connection needs no memory for a second one. The semaphore is never closed.
                let place = places.clone().acquire_owned().await.ok();
                let Ok(room) = frames.reserve().await else { return End::Shutdown };
                match deframer.push(*byte) {
                    None => {}
                    Some(Ok(frame)) => {
                        let (link, answers, proof) = (link.clone(), answers.clone(), proof.clone());
                        room.send(FrameIn { link, frame, answers, proof, place });
                    }
                    Some(Err(_)) => counted.reject(Rejected::Damaged),
                }
            }
        }
    };
    let write = async {
        while let Some(frame) = to_write.recv().await {
            let bytes = to_stream(&frame).to_vec();
            drop(frame);
            if let Err(error) = writer.write_all(&bytes).await {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;

    use super::super::FRAMES_QUEUED_MAX;
    use super::super::trust::{NOISE_BYTES_MAX, PROOF_WITHIN};
    use super::*;
    use crate::pipeline::FRAMES_AT_ONCE;

    /// A connection with its far end, and an intake that finds those frames authentic that begin with 1.
    fn connection(proof: Option<Arc<Proof>>) -> (DuplexStream, JoinHandle<End>) {
        let (near, far) = tokio::io::duplex(4096);
        let (frames, mut taken) = mpsc::channel::<FrameIn>(1);
        tokio::spawn(async move {
            while let Some(frame) = taken.recv().await {
                if frame.frame.first() == Some(&1) {
                    frame.proof.authentic();
                }
            }
        });
        let served = serve(
            near,
            "test".into(),
            proof,
            frames,
            Arc::new(Counters::default()),
            CancellationToken::new(),
        );
        (far, tokio::spawn(served))
    }

    #[test]
    fn a_connection_that_is_open_takes_little_memory() {
        let (near, _far) = tokio::io::duplex(1);
        let (frames, _taken) = mpsc::channel::<FrameIn>(1);
        let served = serve(near, "test".into(), None, frames, Arc::default(), CancellationToken::new());
        // A frame that comes in, and what is read at once. Of this there are thousands.
        let bytes = std::mem::size_of_val(&served);
        assert!(bytes < 2048, "{bytes} bytes");
    }

    fn frame(first: u8) -> Vec<u8> {
        to_stream(&FrameBuf::from_slice(&[first; 400]).unwrap()).to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_authentic_in_time_is_cut_off() {
        for sent in [vec![], frame(7), vec![b'x'; 1000]] {
            let (mut far, served) = connection(Some(Arc::default()));
            far.write_all(&sent).await.unwrap();
            let began = tokio::time::Instant::now();
            assert!(matches!(served.await.unwrap(), End::CutOff(Unwanted::NoProof)));
            assert_eq!(began.elapsed(), PROOF_WITHIN);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_proven_itself_may_be_silent() {
        let (mut far, served) = connection(Some(Arc::default()));
        far.write_all(&frame(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
        assert!(!served.is_finished());
        drop(far);
        assert!(matches!(served.await.unwrap(), End::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn noise_without_end_is_cut_off_also_after_a_good_start() {
        let (mut far, served) = connection(Some(Arc::default()));
        far.write_all(&frame(1)).await.unwrap();
        let mut sent = 0;
        while far.write_all(&frame(7)).await.is_ok() {
            sent += 400;
            assert!(sent < 2 * NOISE_BYTES_MAX, "it goes on for ever");
        }
        assert!(matches!(served.await.unwrap(), End::CutOff(Unwanted::Noise)));
        assert!(sent > NOISE_BYTES_MAX / 2, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_without_end_is_held_back_and_stands_in_nobody_elses_way() {
        const NORMAL: usize = 40;
        const BABBLED: usize = 500;
        let (frames, mut taken) = mpsc::channel::<FrameIn>(FRAMES_QUEUED_MAX);
        let mut served = Vec::new();
        let mut connect = || {
            let (near, far) = tokio::io::duplex(4096);
            let (counters, shutdown) = (Arc::new(Counters::default()), CancellationToken::new());
            served.push(tokio::spawn(serve(near, "test".into(), None, frames.clone(), counters, shutdown)));
            far
        };
        let mut babbler = connect();
        let babbling = tokio::spawn(async move {
            for n in 0..BABBLED {
                babbler.write_all(&frame((n % 200) as u8)).await.unwrap();
            }
            babbler
        });
        // Until it can put in no more.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut normal: Vec<_> = (0..NORMAL).map(|_| connect()).collect();
        for far in &mut normal {
            far.write_all(&frame(255)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        // What the pipeline takes at once: everybody's frames are in it.
        let mut group = Vec::new();
        taken.recv_many(&mut group, FRAMES_AT_ONCE).await;
        let babbled = |group: &[FrameIn]| group.iter().filter(|frame| frame.frame[0] != 255).count();
        assert_eq!(
            (group.len(), babbled(&group)),
            (NORMAL + FRAMES_PER_CONNECTION_MAX, FRAMES_PER_CONNECTION_MAX)
        );
        // Its next ones come when these are committed; none is lost.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(taken.try_recv().is_err());
        let mut firsts: Vec<u8> = Vec::new();
        while firsts.len() < BABBLED {
            firsts.extend(group.iter().map(|frame| frame.frame[0]).filter(|first| *first != 255));
            group.clear();
            if firsts.len() < BABBLED {
                taken.recv_many(&mut group, FRAMES_AT_ONCE).await;
            }
        }
        assert!(firsts.iter().enumerate().all(|(n, first)| usize::from(*first) == n % 200), "in order");
        drop(babbling.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_device_and_one_that_needs_no_proof_stay() {
        let (mut busy, busy_served) = connection(Some(Arc::default()));
        let (mut trusted, trusted_served) = connection(None);
        for _ in 0..2 * NOISE_BYTES_MAX / 400 {
            busy.write_all(&frame(7)).await.unwrap();
            busy.write_all(&frame(1)).await.unwrap();
            trusted.write_all(&frame(7)).await.unwrap();
        }
        tokio::time::sleep(2 * PROOF_WITHIN).await;
        assert!(!busy_served.is_finished() && !trusted_served.is_finished());
    }
}
