//! The gateway's configuration: one TOML file, `gridpost.toml`. Paths in it are relative to its folder. A key that is not known
//! is an error. Secrets are in files of their own or in the environment, never here.

pub mod links;

use std::io;
use std::path::{Path, PathBuf};

use gridpost_protocol::pack::ids::TopicSegment;
use serde::Deserialize;

use crate::uplink::config::UplinkConfig;
pub use links::{LinksConfig, SerialLink, TcpLink, UnixLink};

/// A configuration file is never longer than this, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be; the message shows line, column and key.
    #[error("{path}: {message}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        message: String,
    },
}

/// The whole configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this gateway is, and where its things are.
    pub gateway: GatewayConfig,
    /// The ways in.
    #[serde(default)]
    pub link: LinksConfig,
    /// The way out.
    pub uplink: UplinkConfig,
}

/// Who this gateway is, and where its things are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's name in topics: letters, digits, `-` and `_`.
    pub id: String,
    /// The folder of the pack.
    pub pack: PathBuf,
    /// The file of the devices' keys.
    pub keys: PathBuf,
    /// The spool's database file.
    pub spool: PathBuf,
}
