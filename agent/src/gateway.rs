//! A running gateway: all stages connected, and how they are brought to an end in order.
//!
//! Shutdown goes the way of the data: links stop taking bytes, the pipeline commits and answers what has come, the uplink
//! publishes what is committed for at most [`uplink::DRAIN_MAX`] and says goodbye; what is left waits in the spool.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle as Task;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{LinksConfig, SerialLink};
use crate::counters::Counters;
use crate::event::make::District;
use crate::inbound::{self, Inbound, listen};
use crate::intake::{Intake, RateLimit};
use crate::keys::Keys;
use crate::links::{self, FRAMES_QUEUED_MAX, Frames};
use crate::observe::{Heartbeat, Observed};
use crate::pack::rollout::{Policy, Rollout};
use crate::pipeline;
use crate::requests::{self, Desk, REPLIES_QUEUED_MAX, REQUESTS_QUEUED_MAX};
use crate::spool::{CLOCK_S_MIN, Damage, Health, Spool, SpoolError};
use crate::uplink::{self, Gateway as Identity, UplinkStatus, config::Connection};
use crate::withdrawn;

/// Reports of released events that wait for the pipeline.
const RELEASES_QUEUED_MAX: usize = 1024;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A link cannot listen.
    #[error("link {link}: cannot listen on {address}: {source}{hint}")]
    Listen {
        /// The link's name.
        link: String,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
        /// The way out.
        hint: &'static str,
    },
    /// The system does not give a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// Pack and name.
    pub district: District,
    /// Where other packs come from, and where they are kept; without it the pack stays.
    pub packs: Option<Rollout>,
    /// The devices' keys.
    pub keys: Keys,
    /// The ways in.
    pub links: LinksConfig,
    /// How much of one device is taken.
    pub rate: RateLimit,
    /// Whether hours of devices are published.
    pub hourly: bool,
    /// The way out.
    pub uplink: Connection,
    /// Open, and ours.
    pub spool: Spool,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// What happened so far.
    pub counters: Arc<Counters>,
    /// How the way out is doing.
    pub uplink: Arc<UplinkStatus>,
    /// What can be seen of it from outside.
    pub observed: Arc<Observed>,
    /// Where the TCP links listen, in the order of the configuration.
    pub tcp: Vec<std::net::SocketAddr>,
    links: TaskTracker,
    shutdown_links: CancellationToken,
    shutdown_uplink: CancellationToken,
    pipeline: JoinHandle<()>,
    publishing: Task<()>,
    inbound: mpsc::Sender<Inbound>,
    look_again: Arc<Notify>,
    health: Health,
    stop_verifier: Arc<AtomicBool>,
    verifier: Option<JoinHandle<()>>,
    /// The number of this start.
    start: u32,
}

/// How often it is looked whether a clock has been set.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

impl Gateway {
    /// Starts all stages.
    ///
    /// # Errors
    /// When the spool cannot be written or a link cannot listen; then nothing runs.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { district, packs, keys, links, rate, hourly, uplink: connection, mut spool } = parts;
        let listening = Listening::open(&links).await?;
        let counters = packs.as_ref().map(Rollout::counters).unwrap_or_default();
        for name in links.names() {
            // Known from here on, so that one that never opens is seen.
            drop(counters.link(&name.into()));
        }
        let pack = packs.as_ref().map(Rollout::status);
        let start = spool.next_start(pipeline::system_clock())?;
        withdrawn::clear(&mut spool, &district, &counters, pipeline::system_clock())?;
        let identity = Identity {
            division: district.pack.division.as_str().to_owned(),
            id: district.gateway.clone(),
            session: start,
        };

        let (frames, frames_in) = mpsc::channel(FRAMES_QUEUED_MAX);
        let (committed, committed_in) = watch::channel(spool.newest_event()?);
        let (released, released_in) = mpsc::channel(RELEASES_QUEUED_MAX);
        let (refused, refused_in) = mpsc::channel(RELEASES_QUEUED_MAX);
        let ends = uplink::Ends {
            outbox: Box::new(spool.outbox()?),
            committed: committed_in,
            released,
            refused,
            pack: pack.clone(),
        };
        let status = Arc::new(UplinkStatus::default());
        let observed = Arc::new(Observed {
            counters: counters.clone(),
            uplink: status.clone(),
            tally: spool.tally(),
            spool: Mutex::new(spool.watch()?),
            spool_path: spool.path().to_owned(),
            pipeline: Arc::new(Heartbeat::default()),
            started: Timestamp::now(),
        });
        let (inbound, inbound_in) = mpsc::channel(inbound::QUEUED_MAX);
        let (to_pipeline, look_again) = (inbound.clone(), Arc::new(Notify::new()));
        let address = listen::Address { division: identity.division.clone(), gateway: identity.id.clone() };
        let reader = spool.reader()?;
        let (health, stop_verifier) = (spool.health(), Arc::new(AtomicBool::new(false)));
        let verifier = match spool.verifier()? {
            Some(verifier) => Some(verifier.start(stop_verifier.clone()).map_err(StartError::Thread)?),
            None => None,
        };
        let intake = Intake::new(Arc::new(district), keys, start, counters.clone())
            .with_rate(rate)
            .with_hourly(hourly);
        let ends_of_pipeline = pipeline::Ends {
            frames: frames_in,
            committed,
            released: released_in,
            refused: refused_in,
            heartbeat: observed.pipeline.clone(),
            inbound: inbound_in,
            packs,
        };
        let pipeline =
            pipeline::start(spool, intake, ends_of_pipeline, counters.clone(), pipeline::system_clock)
                .map_err(StartError::Thread)?;

        let (shutdown_links, shutdown_uplink) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        if connection.listen {
            let (desk, requests) = mpsc::channel(REQUESTS_QUEUED_MAX);
            let (replies_out, replies) = mpsc::channel(REPLIES_QUEUED_MAX);
            let look_again = look_again.clone();
            let ends = listen::Ends { pipeline: inbound.clone(), desk, replies, look_again };
            let listening = listen::run(
                connection.clone(),
                address.clone(),
                ends,
                counters.clone(),
                shutdown_links.clone(),
            );
            tasks.spawn(listening);
            let desk = Desk {
                address,
                session: start,
                spool: Arc::new(Mutex::new(reader)),
                pipeline: inbound,
                counters: counters.clone(),
                uplink: status.clone(),
                pack,
            };
            tasks.spawn(requests::run(desk, requests, replies_out, shutdown_links.clone()));
        }
        let publishing =
            tokio::spawn(uplink::run(connection, identity, ends, status.clone(), shutdown_uplink.clone()));
        let tcp = listening.tcp.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect();
        listening.run(&tasks, &frames, &counters, &shutdown_links);
        tasks.close();
        Ok(Self {
            counters,
            uplink: status,
            observed,
            tcp,
            links: tasks,
            shutdown_links,
            shutdown_uplink,
            pipeline,
            publishing,
            inbound: to_pipeline,
            look_again,
            health,
            stop_verifier,
            verifier,
            start,
        })
    }

    /// Somebody says that the pack at the configured path is another one, or that others are to be taken than before: it is
    /// looked at, and so is what the platform keeps for this gateway; it runs if it may.
    pub fn reload_pack(&self, policy: Option<Policy>) {
        if self.inbound.try_send(Inbound::PackFile(policy)).is_err() {
            tracing::warn!("the pipeline is behind; say it again");
            return;
        }
        // What it brings is behind that in the same queue.
        self.look_again.notify_one();
    }

    /// Waits until the spool is found damaged, and says how. Then this gateway is to be stopped, and another one started over
    /// what can be read ([`Spool::open_or_salvage`]): nothing is committed or acknowledged any more.
    pub async fn damaged(&self) -> Damage {
        self.health.damaged().await
    }

    /// Waits until the clock is set, when this start's number could not follow from it: devices that heard a gateway before, whose
    /// spool this one does not have, drop its frames for replayed ones. Then it is to be stopped, and started anew. Never ends
    /// for other starts.
    pub async fn clock_set(&self) {
        if i64::from(self.start) >= CLOCK_S_MIN {
            std::future::pending::<()>().await;
        }
        while pipeline::system_clock().0 / 1000 < CLOCK_S_MIN {
            tokio::time::sleep(LOOK_AT_CLOCK_EVERY).await;
        }
    }

    /// Ends all stages in the order in which data flows. When this returns nobody has the spool open any more.
    pub async fn stop(self) {
        self.stop_verifier.store(true, Ordering::Relaxed);
        self.shutdown_links.cancel();
        // The pipeline ends when nobody can say anything to it any more.
        drop(self.inbound);
        self.links.wait().await;
        // All senders of frames are gone now: the pipeline commits what has come, and closes `committed`.
        self.shutdown_uplink.cancel();
        if let Err(error) = self.publishing.await {
            tracing::error!(%error, "the uplink ended in disorder");
        }
        let threads = [Some(self.pipeline), self.verifier];
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().flatten().filter_map(|thread| thread.join().err()).count()
        });
        if joined.await.is_ok_and(|in_disorder| in_disorder > 0) {
            tracing::error!("a thread ended in disorder");
        }
    }
}

/// The links' sockets, open and not yet served: all can be opened, or the gateway does not start.
struct Listening {
    tcp: Vec<(Arc<str>, TcpListener)>,
    unix: Vec<(Arc<str>, UnixListener)>,
    serial: Vec<SerialLink>,
}

impl Listening {
    async fn open(config: &LinksConfig) -> Result<Self, StartError> {
        let mut listening = Self { tcp: Vec::new(), unix: Vec::new(), serial: config.serial.clone() };
        for link in &config.tcp {
            let listener = links::tcp::listen(&link.listen)
                .await
                .map_err(|source| failed(&link.name, link.listen.clone(), source))?;
            listening.tcp.push((link.name.as_str().into(), listener));
        }
        for link in &config.unix {
            let listener = links::unix::listen(&link.listen)
                .await
                .map_err(|source| failed(&link.name, link.listen.display().to_string(), source))?;
            listening.unix.push((link.name.as_str().into(), listener));
        }
        Ok(listening)
    }

    fn run(
        self,
        tasks: &TaskTracker,
        frames: &Frames,
        counters: &Arc<Counters>,
        shutdown: &CancellationToken,
    ) {
        for (link, listener) in self.tcp {
            tasks.spawn(links::tcp::run(listener, link, frames.clone(), counters.clone(), shutdown.clone()));
        }
        for (link, listener) in self.unix {
            tasks.spawn(links::unix::run(listener, link, frames.clone(), counters.clone(), shutdown.clone()));
        }
        for SerialLink { name, port, baud } in self.serial {
            tasks.spawn(links::serial::run(
                port,
                baud,
                name.into(),
                frames.clone(),
                counters.clone(),
                shutdown.clone(),
            ));
        }
    }
}

fn failed(link: &str, address: String, source: io::Error) -> StartError {
    let hint = listening_hint(&source);
    StartError::Listen { link: link.to_owned(), address, source, hint }
}

/// What to do when a socket cannot listen.
pub(crate) fn listening_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 and foreign folders need more rights",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}
