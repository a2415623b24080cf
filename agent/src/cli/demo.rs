//! `gridpost demo`: the whole chain on this machine, and what the platform receives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use embassy_time::Instant;
use gridpost_firmware::provision::Identity;
use gridpost_protocol::id::Seq;
use gridpost_protocol::seal::Key;
use gridpost_protocol::time::UnixMillis;
use jiff::{SignedDuration, ZonedDateTime, tz::TimeZone};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::exit::{FAILED, Failure};
use super::{logging, print, watch};
use crate::config::{LinksConfig, TcpLink};
use crate::counters::Counters;
use crate::demo::broker::EmbeddedBroker;
use crate::demo::node::{NodePlan, RunningNode};
use crate::demo::sample;
use crate::demo::street::{self, BEGINS, COMPRESSION, StreetClock, StreetSensor};
use crate::event::cloudevent::CloudEvent;
use crate::event::make::District;
use crate::gateway::{Gateway, Parts};
use crate::intake::RateLimit;
use crate::keys::Keys;
use crate::spool::Spool;
use crate::uplink::config::{Broker, Connection};
use crate::uplink::subscriber::{self, MESSAGES_QUEUED_MAX, Received};

/// Arguments of `gridpost demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End by itself after this time, such as 20s or 2min
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub time: Option<Duration>,
    /// Print the CloudEvents as they are, a line each
    #[arg(long)]
    pub json: bool,
    /// Use this broker (mqtt://HOST:PORT, MQTT 5, no password) instead of the one inside
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wanted = "a time such as 20s or 2min";
    let span: SignedDuration = text.parse().map_err(|_| format!("not {wanted}"))?;
    Duration::try_from(span).map_err(|_| format!("not {wanted}"))
}

/// How long the nodes, at the end, may take to get rid of what they have.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long the last events may take to reach the platform's side.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(5);

/// Runs the demo until it is interrupted, or its time is over.
///
/// # Errors
/// When a broker, the spool or a socket cannot be had, or anything was lost.
pub fn demo(args: DemoArgs) -> Result<(), Failure> {
    // The embedded broker logs what is none of the reader's business, as an error.
    logging::start("warn,rumqttd=off");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::running(format!("cannot start: {error}")))?;
    let done = runtime.block_on(run(args));
    runtime.shutdown_background();
    done
}

async fn run(args: DemoArgs) -> Result<(), Failure> {
    let failed = |what: &str, error: &dyn std::error::Error| Failure::running(format!("{what}: {error}"));
    let broker = match args.broker {
        Some(broker) => watch::plain_broker(&broker)?,
        None => {
            let embedded = EmbeddedBroker::start()
                .map_err(|error| failed("cannot start the embedded broker", &error))?;
            Broker { host: embedded.address.ip().to_string(), port: embedded.address.port(), tls: false }
        }
    };
    let pack = sample::pack().map_err(|error| failed("the sample district", &error))?;
    let folder = tempfile::Builder::new()
        .prefix("gridpost-demo-")
        .tempdir()
        .map_err(|error| failed("cannot make a folder for the spool", &error))?;
    let spool =
        Spool::open(&folder.path().join("spool.db")).map_err(|error| Failure::because(FAILED, &error))?;
    let gateway_id = format!("demo-{:06x}", fastrand::u32(..0x0100_0000));

    // The platform's side first, so that it misses nothing.
    let (to, mut received) = mpsc::channel(MESSAGES_QUEUED_MAX);
    let stop_watching = CancellationToken::new();
    let filter = format!("gridpost/1/+/event/+/+/+/+/{gateway_id}");
    let platform = Connection::plain(broker.clone(), format!("gridpost-demo-platform-{gateway_id}"));
    tokio::spawn(subscriber::run(platform, filter, to, stop_watching.clone()));
    match timeout(Duration::from_secs(10), received.recv()).await {
        Ok(Some(Received::Subscribed)) => {}
        Ok(Some(Received::Lost(reason))) => {
            return Err(Failure::running(format!("no connection to the broker: {reason}")));
        }
        _ => return Err(Failure::running(format!("the broker {broker} does not answer"))),
    }

    let plans = plans(&pack);
    let keys = Keys::from_pairs(plans.iter().map(|plan| (plan.0.device, plan.0.key.clone())));
    let (sites, rules, matters) = (pack.sites().len(), pack.rules().len(), pack.matters().len());
    let gateway = Gateway::start(Parts {
        district: District { pack, gateway: gateway_id.clone() },
        packs: None,
        keys,
        links: LinksConfig {
            tcp: vec![TcpLink { name: "demo".to_owned(), listen: "127.0.0.1:0".to_owned() }],
            ..LinksConfig::default()
        },
        rate: RateLimit::default(),
        hourly: false,
        uplink: Connection::plain(broker.clone(), format!("gridpost-{gateway_id}")),
        spool,
    })
    .await
    .map_err(|error| Failure::because(FAILED, &error))?;
    let address = *gateway.tcp.first().ok_or_else(|| Failure::running("the gateway does not listen"))?;

    let (stop_measuring, stop_nodes) = (CancellationToken::new(), CancellationToken::new());
    let nodes = plans
        .into_iter()
        .map(|(identity, sensor, clock)| {
            let plan = NodePlan { identity, sensor, clock, gateway: address };
            RunningNode::start(plan, stop_measuring.clone(), stop_nodes.clone())
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed("cannot start a node", &error))?;
    print::aside(&format!(
        "{} nodes at {sites} sites, {rules} rules, {matters} matters; broker {broker}, nodes to {address}.\n\
         A simulated evening from {:02}:{:02}, {COMPRESSION} times as fast as a real one. Ctrl-C ends it.\n",
        nodes.len(),
        BEGINS.0,
        BEGINS.1
    ));

    let mut platform =
        Platform { received: 0, seen: std::collections::HashSet::new(), json: args.json, unwritten: None };
    let over = async {
        match args.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => break,
            _ = tokio::signal::ctrl_c() => break,
            message = received.recv() => match message {
                Some(message) => if !platform.take(message) { break },
                None => break,
            },
        }
    }

    // The end, in the order in which data flows.
    stop_measuring.cancel();
    let counts: Vec<_> = nodes.iter().map(|node| node.counts.clone()).collect();
    let all_ended = tokio::task::spawn_blocking(move || nodes.into_iter().for_each(RunningNode::join));
    if timeout(DRAIN_MAX, all_ended).await.is_err() {
        stop_nodes.cancel();
    }
    let (counters, uplink) = (gateway.counters.clone(), gateway.uplink.clone());
    gateway.stop().await;
    let made = Counters::get(&counters.events_made);
    let last = async {
        while (platform.seen.len() as u64) < made {
            match received.recv().await {
                Some(message) => {
                    platform.take(message);
                }
                None => break,
            }
        }
    };
    // When it takes longer, the summary says what is missing.
    let _ = timeout(LAST_EVENTS_MAX, last).await;
    stop_watching.cancel();

    let sum = |of: fn(&crate::demo::node::NodeCounts) -> &std::sync::atomic::AtomicU64| -> u64 {
        counts.iter().map(|count| of(count).load(Ordering::Relaxed)).sum()
    };
    let (appended, waiting) = (sum(|c| &c.appended), sum(|c| &c.waiting));
    let records = counters.records_received();
    let unique = platform.seen.len() as u64;
    let lost_records = appended.saturating_sub(records + waiting);
    // What is committed and not acknowledged waits in the spool: not lost, only not delivered.
    let acknowledged = uplink.acknowledged.load(Ordering::Relaxed).min(made);
    let lost_events = acknowledged.saturating_sub(unique);
    print::aside(&format!("records measured       {appended}"));
    print::aside(&format!("records in             {records}"));
    print::aside(&format!("events out             {made}"));
    print::aside(&format!("events at the platform {unique} ({} with repetitions)", platform.received));
    print::aside(&format!("unacknowledged         {}", waiting + (made - acknowledged)));
    print::aside(&format!("lost                   {}", lost_records + lost_events));
    if lost_records + lost_events > 0 {
        return Err(Failure::running("something was lost; this is a bug"));
    }
    platform.unwritten.and_then(|error| Failure::of_output(&error)).map_or(Ok(()), Err)
}

type Plan = (Identity, StreetSensor, StreetClock);

/// A node for each device of the pack.
fn plans(pack: &gridpost_protocol::pack::Pack) -> Vec<Plan> {
    let began = Instant::now();
    pack.devices()
        .iter()
        .enumerate()
        .map(|(n, device)| {
            let site = pack.site_of(device);
            let mut key = [0; 32];
            key.fill_with(|| fastrand::u8(..));
            let identity = Identity { device: device.id, key: Key(key), first_seq: Seq(1) };
            let clock = StreetClock { begins: begins(&site.time_zone), began };
            let script = street::script(site.kind, &device.model);
            (identity, StreetSensor::new(script, began, n as u64 + 1), clock)
        })
        .collect()
}

/// Yesterday evening at the site.
fn begins(zone: &str) -> UnixMillis {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let now = ZonedDateTime::now().with_time_zone(zone);
    let evening = now.date().yesterday().ok().and_then(|yesterday| {
        yesterday.at(BEGINS.0, BEGINS.1, 0, 0).to_zoned_datetime(now.time_zone().clone()).ok()
    });
    UnixMillis(evening.unwrap_or(now).timestamp().as_millisecond())
}

/// What the platform's side has seen.
struct Platform {
    received: u64,
    seen: std::collections::HashSet<String>,
    json: bool,
    /// Why what it received could not be shown.
    unwritten: Option<std::io::Error>,
}

impl Platform {
    /// Takes a message; false when nobody reads on.
    fn take(&mut self, message: Received) -> bool {
        let Received::Message { topic, payload } = message else { return true };
        self.received += 1;
        if let Ok(event) = serde_json::from_slice::<CloudEvent>(&payload)
            && !self.seen.insert(event.id)
        {
            return true;
        }
        match watch::show(&topic, &payload, self.json) {
            Ok(_) => true,
            Err(error) => {
                self.unwritten.get_or_insert(error);
                false
            }
        }
    }
}
