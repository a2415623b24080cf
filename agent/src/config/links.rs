//! `[[link.tcp]]`, `[[link.serial]]`, `[[link.unix]]`: the ways in.

use std::path::PathBuf;

use serde::Deserialize;

/// The ways in, by kind; several of each.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksConfig {
    /// Listening TCP sockets.
    #[serde(default)]
    pub tcp: Vec<TcpLink>,
    /// Serial ports.
    #[serde(default)]
    pub serial: Vec<SerialLink>,
    /// Listening Unix sockets.
    #[serde(default)]
    pub unix: Vec<UnixLink>,
}

/// A listening TCP socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpLink {
    /// Its name in logs and counters.
    pub name: String,
    /// Address and port, such as `0.0.0.0:7001`.
    pub listen: String,
}

/// A serial port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialLink {
    /// Its name in logs and counters.
    pub name: String,
    /// The device file; prefer `/dev/serial/by-id/...`, which stays the same when ports are plugged anew.
    pub port: String,
    /// Bits per second.
    #[serde(default = "default_baud")]
    pub baud: u32,
}

const fn default_baud() -> u32 {
    115_200
}

/// A listening Unix socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnixLink {
    /// Its name in logs and counters.
    pub name: String,
    /// The socket's path.
    pub listen: PathBuf,
}

impl LinksConfig {
    /// The names of all links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tcp = self.tcp.iter().map(|link| link.name.as_str());
        let serial = self.serial.iter().map(|link| link.name.as_str());
        tcp.chain(serial).chain(self.unix.iter().map(|link| link.name.as_str()))
    }
}
