//! `gridpost watch`: what the platform receives, on this terminal.

use std::io::{IsTerminal, Write as _, stdout};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::{logging, print};
use crate::config::{Config, folder_of};
use crate::uplink::config::{Broker, Connection};
use crate::uplink::subscriber::{self, MESSAGES_QUEUED_MAX, Received};
use crate::uplink::topics;

/// Arguments of `gridpost watch`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from").required(true).args(["config", "broker"]))]
pub struct WatchArgs {
    /// Use the broker, credentials and certificates of this configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Or this broker, such as mqtt://localhost:1883
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Print the CloudEvents as they are, a line each
    #[arg(long)]
    pub json: bool,
    /// Only what this department is competent for
    #[arg(long, value_name = "ID", default_value = "+")]
    pub department: String,
    /// Only this matter
    #[arg(long, value_name = "CODE", default_value = "+")]
    pub matter: String,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Subscribes and prints until it is interrupted.
///
/// # Errors
/// When the configuration cannot be used.
pub fn watch(args: &WatchArgs) -> Result<(), Failure> {
    logging::start("warn");
    let connection = connection(args)?;
    for name in [&args.department, &args.matter] {
        if name != "+" && !topics::is_segment(name) {
            return Err(Failure::usage(format!(
                "{name:?} is neither a department's id nor a matter's code: letters, digits, - and _"
            )));
        }
    }
    let filter = format!("gridpost/1/+/event/{}/+/+/{}/+", args.department, args.matter);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::running(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let (to, mut received) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let shutdown = CancellationToken::new();
        // The whole of it is also how gateways are; a department's user may not read that.
        let (of_gateways, mut statuses) = mpsc::channel(MESSAGES_QUEUED_MAX);
        if !args.json && args.department == "+" && args.matter == "+" {
            let mut second = connection.clone();
            second.client_id.push_str("-status");
            let filter = topics::ALL_STATUSES.to_owned();
            tokio::spawn(subscriber::run(second, filter, of_gateways, shutdown.clone()));
        }
        tokio::spawn(subscriber::run(connection, filter, to, shutdown.clone()));
        let mut left = args.count;
        while left != Some(0) {
            let Some(received) = (tokio::select! {
                received = received.recv() => received,
                Some(status) = statuses.recv() => {
                    // What is wrong with the connection the other one says.
                    if let Received::Message { payload, .. } = status
                        && let Some(said) = print::status(&payload)
                    {
                        print::aside(&said);
                    }
                    continue;
                }
                _ = tokio::signal::ctrl_c() => None,
            }) else {
                break;
            };
            match received {
                Received::Subscribed => print::aside("watching; Ctrl-C ends"),
                Received::Lost(reason) => {
                    print::aside(&format!("no connection to the broker, trying again: {reason}"));
                }
                Received::Message { topic, payload } => {
                    match show(&topic, &payload, args.json) {
                        Ok(shown) => left = left.map(|left| left.saturating_sub(shown)),
                        Err(error) => {
                            shutdown.cancel();
                            // That nobody reads on (`gridpost watch | head`) is no failure.
                            return Failure::of_output(&error).map_or(Ok(()), Err);
                        }
                    }
                }
            }
        }
        shutdown.cancel();
        Ok(())
    })
}

/// Prints one message: an event, or a batch of them. Returns how many they were.
///
/// # Errors
/// When it cannot be written.
pub(super) fn show(topic: &str, payload: &[u8], json: bool) -> std::io::Result<u64> {
    let mut out = stdout().lock();
    let shown = match (json, print::harmless(payload)) {
        (true, _) => {
            // An event a line, also of a batch.
            let batch: Vec<serde_json::Value> = serde_json::from_slice(payload).unwrap_or_default();
            for event in &batch {
                writeln!(out, "{event}")?;
            }
            if batch.is_empty() {
                out.write_all(payload)?;
                out.write_all(b"\n")?;
            }
            batch.len().max(1)
        }
        (false, Ok(events)) => {
            for event in &events {
                writeln!(out, "{}", print::event(event, stdout().is_terminal()))?;
            }
            events.len()
        }
        (false, Err(error)) => {
            writeln!(out, "{}: not an event of Gridpost: {error}", print::without_controls(topic))?;
            1
        }
    };
    out.flush()?;
    Ok(shown as u64)
}

fn connection(args: &WatchArgs) -> Result<Connection, Failure> {
    // A client id of its own: with the gateway's, the broker would throw the gateway out.
    let id = format!("gridpost-watch-{:08x}", fastrand::u32(..));
    if let Some(broker) = &args.broker {
        let broker = plain_broker(broker)?;
        return Ok(Connection::plain(broker, id));
    }
    let path = args.config.as_deref().unwrap_or_else(|| std::path::Path::new("gridpost.toml"));
    let config = Config::load(path).map_err(|error| Failure::configuration(&error))?;
    let mut connection = config
        .uplink
        .resolve(&folder_of(path), &config.gateway.id)
        .map_err(|error| Failure::in_configuration(path, &error))?;
    connection.client_id = id;
    Ok(connection)
}

/// The broker of `--broker`. It is read here and not by clap, which would repeat it in its error, with a password in it.
pub(super) fn plain_broker(text: &str) -> Result<Broker, Failure> {
    let broker: Broker = text.parse().map_err(|error| Failure::usage(format!("--broker: {error}")))?;
    if broker.tls {
        return Err(Failure::usage(
            "--broker: an mqtts broker needs certificates; name them in a configuration, for `gridpost watch --config`",
        ));
    }
    Ok(broker)
}
