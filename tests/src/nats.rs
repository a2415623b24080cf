//! A cluster of three NATS servers with JetStream, whose MQTT listeners are one broker: what a city runs that outgrows a single one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::mosquitto::{find, free_port};
use crate::program::Program;
use crate::qemu::PARTS_REQUIRED;

/// Some seconds are enough for a cluster that gets a leader; now and then one gets none.
const PATIENCE: Duration = Duration::from_secs(45);
const NODES: usize = 3;
/// How often a cluster is tried to be had.
const STARTS_MAX: usize = 6;

/// The cluster. Dropping it kills it.
pub struct NatsCluster {
    nodes: Vec<Option<Program>>,
    mqtt: Vec<u16>,
    _folder: TempDir,
}

impl NatsCluster {
    /// Starts three nodes and waits until they have a leader.
    ///
    /// `None` if NATS is not installed and nobody insists (`CI`, or what `tests/run` sets).
    ///
    /// # Errors
    /// They do not start, or NATS is lacking and insisted on.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = find("nats-server") else {
            let lacking = "NATS is not installed: apt-get install nats-server";
            if std::env::var_os(PARTS_REQUIRED).is_some() || std::env::var_os("CI").is_some() {
                bail!("{lacking}");
            }
            eprintln!("\n*** LEFT OUT: this test needs a clustered broker. {lacking} ***\n");
            return Ok(None);
        };
        // Now and then three that start at once find no leader, or a port that was free is taken meanwhile.
        let mut tried = Self::try_start(&program);
        for _ in 1..STARTS_MAX {
            if tried.is_ok() {
                break;
            }
            tried = Self::try_start(&program);
        }
        tried.map(Some)
    }

    fn try_start(program: &Path) -> Result<Self> {
        let folder = TempDir::with_prefix("gridpost-nats-")?;
        let ports = |_| free_port();
        let clients = (0..NODES).map(ports).collect::<Result<Vec<_>>>()?;
        let routes = (0..NODES).map(ports).collect::<Result<Vec<_>>>()?;
        let mqtt = (0..NODES).map(ports).collect::<Result<Vec<_>>>()?;
        let all: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let file = folder.path().join(format!("{n}.conf"));
            // Acknowledgements wait until two of three nodes have it on disk: `stream_replicas`.
            fs::write(
                &file,
                format!(
                    "server_name: n{n}\nlisten: \"127.0.0.1:{client}\"\n\
                     jetstream {{ store_dir: \"{store}\" }}\n\
                     cluster {{ name: gridpost, listen: \"127.0.0.1:{route}\", routes: [{routes}] }}\n\
                     mqtt {{ listen: \"127.0.0.1:{mqtt}\", stream_replicas: 3, consumer_replicas: 3, ack_wait: \"5s\", max_ack_pending: 1024 }}\n",
                    client = clients[n],
                    store = folder.path().join(format!("store-{n}")).display(),
                    route = routes[n],
                    routes = all.join(", "),
                    mqtt = mqtt[n],
                ),
            )?;
            nodes.push(Some(Program::start(Command::new(program).arg("-c").arg(&file))?));
        }
        for node in nodes.iter_mut().flatten() {
            // Each node says which one leads, or that it does itself; a later version may word it otherwise.
            let leads =
                |line: &str| (line.contains("JetStream cluster") && line.contains("leader")).then_some(());
            node.wait_for(PATIENCE, leads).context("waiting for a leader")?;
        }
        Ok(Self { nodes, mqtt, _folder: folder })
    }

    /// A node's address for MQTT.
    #[must_use]
    pub fn url(&self, node: usize) -> String {
        format!("mqtt://127.0.0.1:{}", self.mqtt[node])
    }

    /// `kill -9` of a node.
    ///
    /// # Errors
    /// It was killed before, or the system refuses.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node].take().context("it was killed before")?.kill9()
    }
}
