//! The broker inside the demo: `rumqttd`, on free ports of this machine only.
//!
//! It keeps nothing on disk and drops messages for a consumer that is away: for showing and trying, never for a district.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// How long the broker may take to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// A broker that runs until the process ends: `rumqttd` cannot be stopped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    /// Where it speaks MQTT 5.
    pub address: SocketAddr,
}

impl EmbeddedBroker {
    /// Starts the broker on a free port.
    ///
    /// # Errors
    /// When no port is free or the broker does not come up.
    pub fn start() -> io::Result<Self> {
        // The broker does not say which port it got for port 0, so a free one is found first.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let connections = ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 256 * 1024,
            max_inflight_count: 200,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        };
        let server = ServerSettings {
            name: "demo".to_owned(),
            listen: address,
            tls: None,
            next_connection_delay_ms: 1,
            connections,
        };
        let config = Config {
            router: RouterConfig {
                max_connections: 64,
                max_outgoing_packet_count: 200,
                // Small buffers: the default takes some 80 MB.
                max_segment_size: 1 << 20,
                max_segment_count: 8,
                ..RouterConfig::default()
            },
            v5: Some(HashMap::from([("demo".to_owned(), server)])),
            ..Config::default()
        };
        thread::Builder::new().name("demo-broker".to_owned()).spawn(move || {
            if let Err(error) = Broker::new(config).start() {
                tracing::error!(%error, "the embedded broker stopped");
            }
        })?;
        let deadline = Instant::now() + START_MAX;
        loop {
            match TcpStream::connect(address) {
                Ok(_) => return Ok(Self { address }),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::yield_now(),
            }
        }
    }
}
