//! A gateway without devices: a real spool, the real uplink, and a writer that commits what the test hands it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use gridpost_agent::event::Event;
use gridpost_agent::spool::Spool;
use gridpost_agent::uplink::config::UplinkConfig;
use gridpost_agent::uplink::{self, Ends, Gateway, Outbox as _, Refused, UplinkStatus};
use gridpost_protocol::time::UnixMillis;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a machine that is busy with everything else; reached only when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often a number that nobody announces is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The division and the gateway of all tests here.
pub(crate) const DIVISION: &str = "440310";
/// The gateway's id.
pub(crate) const GATEWAY: &str = "gw-1";

/// A gateway that runs.
pub(crate) struct Bench {
    add: mpsc::Sender<Vec<Event>>,
    shutdown: CancellationToken,
    uplink: JoinHandle<()>,
    writer: JoinHandle<Result<Spool>>,
    pub(crate) status: Arc<UplinkStatus>,
    released: watch::Receiver<i64>,
    pub(crate) session: u32,
}

/// An event on a topic that the uplink may use, of about 700 bytes as real ones are.
pub(crate) fn event(n: usize) -> Event {
    let id = format!("event-{n:07}");
    let payload = format!("{{\"id\":\"{id}\",\"data\":\"{}\"}}", "x".repeat(660)).into_bytes();
    Event { id, topic: topic("0102003"), severity: 0, payload }
}

pub(crate) fn topic(matter: &str) -> String {
    uplink::topics::event(DIVISION, "housing", ("01", "0102"), matter, GATEWAY)
}

/// The id of the event that a payload is.
pub(crate) fn id_of(payload: &[u8]) -> Result<String> {
    let json: serde_json::Value = serde_json::from_slice(payload)?;
    Ok(json["id"].as_str().context("an id")?.to_owned())
}

/// Starts a gateway on the spool in `folder`, with this `[uplink]`.
pub(crate) fn start(folder: &Path, config: &str) -> Result<Bench> {
    // Shown for tests that fail.
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    let config: UplinkConfig = toml::from_str(config)?;
    let connection = config.resolve(folder, GATEWAY)?;
    let mut spool = Spool::open(&folder.join("spool.db"))?;
    let session = spool.next_start(UnixMillis(1_790_000_000_000))?;
    let gateway = Gateway { division: DIVISION.to_owned(), id: GATEWAY.to_owned(), session };
    let status = Arc::new(UplinkStatus::default());
    let shutdown = CancellationToken::new();
    let (committed, committed_end) = watch::channel(spool.newest_event()?);
    let (released_end, released) = mpsc::channel(64);
    let (refused_end, refused) = mpsc::channel(64);
    let ends = Ends {
        outbox: Box::new(spool.outbox()?),
        committed: committed_end,
        released: released_end,
        refused: refused_end,
        pack: None,
    };
    let uplink = tokio::spawn(uplink::run(connection, gateway, ends, Arc::clone(&status), shutdown.clone()));
    let (add, added) = mpsc::channel(64);
    let (told, released_seen) = watch::channel(0);
    let writer = tokio::spawn(write(spool, added, committed, released, refused, told));
    Ok(Bench { add, shutdown, uplink, writer, status, released: released_seen, session })
}

/// Does to the spool what the pipeline does: one writer, refusals before releases, all in one transaction.
async fn write(
    mut spool: Spool,
    mut added: mpsc::Receiver<Vec<Event>>,
    committed: watch::Sender<i64>,
    mut released: mpsc::Receiver<std::ops::RangeInclusive<i64>>,
    mut refused: mpsc::Receiver<Refused>,
    told: watch::Sender<i64>,
) -> Result<Spool> {
    let mut committed = Some(committed);
    let mut outbox = spool.outbox()?;
    let (mut released_open, mut refused_open) = (true, true);
    while committed.is_some() || released_open || refused_open {
        let (mut events, mut release, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        tokio::select! {
            some = added.recv(), if committed.is_some() => match some {
                Some(some) => events = some,
                None => committed = None,
            },
            rows = released.recv(), if released_open => match rows {
                Some(rows) => release.push(rows),
                None => released_open = false,
            },
            one = refused.recv(), if refused_open => match one {
                Some(one) => refusals.push(one),
                None => refused_open = false,
            },
        }
        while let Ok(rows) = released.try_recv() {
            release.push(rows);
        }
        while let Ok(one) = refused.try_recv() {
            refusals.push(one);
        }
        let newest = spool.commit(|transaction| {
            let mut newest = None;
            for event in &events {
                newest = Some(transaction.add_event(event)?);
            }
            for one in &refusals {
                transaction.refuse_event(one.id, &one.reason)?;
            }
            for rows in &release {
                transaction.release_events(rows)?;
            }
            Ok(newest)
        })?;
        if let (Some(newest), Some(committed)) = (newest, &committed) {
            committed.send_replace(newest);
        }
        // Everything before the oldest event that still waits is let go.
        let oldest = outbox.read_after(0, 1).map_err(anyhow::Error::msg)?;
        told.send_replace(oldest.first().map_or(spool.newest_event()?, |row| row.id - 1));
    }
    Ok(spool)
}

impl Bench {
    /// Commits events, all in one transaction.
    pub(crate) async fn add(&self, events: Vec<Event>) -> Result<()> {
        self.add.send(events).await.context("the writer ended")
    }

    /// Waits until the spool has let go of everything up to `row`.
    pub(crate) async fn wait_released(&mut self, row: i64) -> Result<()> {
        let waited = tokio::time::timeout(PATIENCE, self.released.wait_for(|up_to| *up_to >= row)).await;
        waited.context("events were not let go").and_then(|r| Ok(r.map(|_| ())?))
    }

    /// Waits until the uplink's state satisfies `fits`.
    pub(crate) async fn wait_status(&self, what: &str, fits: impl Fn(&UplinkStatus) -> bool) -> Result<()> {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !fits(&self.status) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        waited.await.with_context(|| format!("{what} never came; last error: {}", self.status.last_error()))
    }

    pub(crate) async fn wait_connected(&self, connected: bool) -> Result<()> {
        let what = if connected { "a connection" } else { "the end of the connection" };
        self.wait_status(what, |status| status.connected.load(Ordering::Relaxed) == connected).await
    }

    /// What SIGKILL does to the uplink: it is gone between two instructions, and the system closes its connection.
    pub(crate) fn die(self) {
        self.uplink.abort();
    }

    /// What SIGTERM does: no further events, drain, say goodbye. Returns the spool as it was left.
    pub(crate) async fn stop(self) -> Result<Spool> {
        drop(self.add);
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.uplink).await.context("the uplink does not end")??;
        tokio::time::timeout(PATIENCE, self.writer).await.context("the writer does not end")??
    }
}
