//! A node on a thread of this machine: the firmware library, a flash in memory, and a TCP link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use embassy_time::Duration;
use embedded_io_adapters::tokio_1::FromTokio;
use gridpost_firmware::node::{About, Journal, Node, TalkError};
use gridpost_firmware::provision::Identity;
use gridpost_firmware::store::{STATE_SECTORS, Store};
use gridpost_firmware::testing::flash::RamFlash;
use gridpost_protocol::id::Seq;
use gridpost_protocol::message::ResetCause;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::street::{StreetClock, StreetSensor};

/// Sectors of a node's queue: 512 KiB, some 15,000 readings.
const RECORD_SECTORS: usize = 128;
/// How long to wait before the link is opened again.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// What a node did, seen from outside.
#[derive(Debug, Default)]
pub struct NodeCounts {
    /// Records put into its store.
    pub appended: AtomicU64,
    /// Records given up because the store was full.
    pub evicted: AtomicU64,
    /// Records in its store that no acknowledgement has come for.
    pub waiting: AtomicU64,
}

struct Counting(Arc<NodeCounts>);

impl Journal for Counting {
    fn appended(&self, _seq: Seq) {
        self.0.appended.fetch_add(1, Ordering::Relaxed);
    }

    fn trouble(&self, what: std::fmt::Arguments<'_>) {
        tracing::debug!("node: {what}");
    }
}

/// A node that is to run.
#[derive(Debug)]
pub struct NodePlan {
    /// Who it is.
    pub identity: Identity,
    /// What it measures.
    pub sensor: StreetSensor,
    /// What time it is there.
    pub clock: StreetClock,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
}

/// A node that runs on its thread.
#[derive(Debug)]
pub struct RunningNode {
    /// What it did so far.
    pub counts: Arc<NodeCounts>,
    thread: JoinHandle<()>,
}

impl RunningNode {
    /// Starts a node. With `stop_measuring` it measures no more, and ends when all it has is acknowledged; with `stop` it ends at
    /// once.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        plan: NodePlan,
        stop_measuring: CancellationToken,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let counts = Arc::new(NodeCounts::default());
        let of_thread = counts.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name(format!("node-{}", plan.identity.device))
            .spawn(move || runtime.block_on(live(plan, of_thread, stop_measuring, stop)))?;
        Ok(Self { counts, thread })
    }

    /// Waits for its end.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a node's thread panicked");
        }
    }
}

async fn live(
    plan: NodePlan,
    counts: Arc<NodeCounts>,
    stop_measuring: CancellationToken,
    stop: CancellationToken,
) {
    let NodePlan { identity, mut sensor, clock, gateway } = plan;
    let mut flash = RamFlash::new(RECORD_SECTORS + 1 + STATE_SECTORS as usize);
    flash.program(0, &identity.encode());
    let store = match Store::open(flash).await {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%error, "a node did not start");
            return;
        }
    };
    let about =
        About { firmware: env!("CARGO_PKG_VERSION"), board: "demo", reset_cause: ResetCause::PowerOn };
    let node = Node::new(store, about, clock, Counting(counts.clone()));
    let measure = async {
        tokio::select! {
            _ = node.measure(&mut sensor) => {}
            () = stop_measuring.cancelled() => {}
        }
        // What is left: acknowledged, or given up on being told to stop.
        loop {
            {
                let store = node.store().lock().await;
                let waiting = store.next_seq().0 - store.oldest_seq().0 + node.readings_waiting() as u64;
                counts.waiting.store(waiting, Ordering::Relaxed);
                counts.evicted.store(store.evicted(), Ordering::Relaxed);
                if waiting == 0 {
                    return;
                }
            }
            embassy_time::Timer::after(Duration::from_millis(20)).await;
        }
    };
    let talk = async {
        loop {
            if let Ok(stream) = TcpStream::connect(gateway).await {
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                if let TalkError::Restart = node.talk(FromTokio::new(reader), FromTokio::new(writer)).await {
                    return;
                }
            }
            embassy_time::Timer::after(RECONNECT_AFTER).await;
        }
    };
    tokio::select! {
        _ = node.serve() => {}
        () = measure => {}
        () = talk => {}
        () = stop.cancelled() => {}
    }
}
