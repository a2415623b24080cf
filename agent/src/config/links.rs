//! `[[link.tcp]]`, `[[link.serial]]`, `[[link.unix]]`: the ways in.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The slowest serial line.
const BAUD_MIN: u32 = 50;
/// The longest path of a Unix socket, in bytes: what `sun_path` holds beside its final zero, on Linux.
const SOCKET_PATH_BYTES_MAX: usize = 107;

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

    /// What is wrong with a link, or with two of them together.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut names = Seen::default();
        for name in self.names() {
            if name.is_empty() {
                return Err("[[link]] name: is empty; give each link a name of its own".to_owned());
            }
            if name.chars().any(char::is_control) {
                return Err(format!("[[link]] name: {name:?} has control characters; remove them"));
            }
            if names.twice(name, name).is_some() {
                return Err(format!(
                    "[[link]] name: {name:?} is used twice; give each link a name of its own"
                ));
            }
        }
        if self.names().next().is_none() {
            return Err("there is no link: add [[link.tcp]], [[link.serial]] or [[link.unix]]".to_owned());
        }
        self.check_tcp()?;
        self.check_serial()?;
        self.check_unix()
    }

    fn check_tcp(&self) -> Result<(), String> {
        let mut earlier: Vec<(&str, Address)> = Vec::new();
        for TcpLink { name, listen } in &self.tcp {
            let field = Field { kind: "tcp", name, key: "listen" };
            let address = Address::parse(listen).map_err(|what| format!("{field}: {what}"))?;
            if let Some((other, _)) = earlier.iter().find(|(_, other)| other.overlaps(&address)) {
                return Err(format!(
                    "{field}: {listen} is where link {other:?} listens already; give one of them another port"
                ));
            }
            earlier.push((name, address));
        }
        Ok(())
    }

    fn check_serial(&self) -> Result<(), String> {
        let mut ports = Seen::default();
        for SerialLink { name, port, baud } in &self.serial {
            let field = |key| Field { kind: "serial", name, key };
            if port.is_empty() {
                return Err(format!("{}: is empty; name a device file", field("port")));
            }
            if *baud < BAUD_MIN {
                return Err(format!(
                    "{}: {baud} is no speed of a serial line; it is at least {BAUD_MIN}, and usually 115200",
                    field("baud")
                ));
            }
            // The same port by another name (`/dev/serial/by-id/...`) is the same port.
            let known_as = Path::new(port).canonicalize().unwrap_or_else(|_| port.into());
            if let Some(other) = ports.twice(known_as, name) {
                return Err(format!(
                    "{}: {port} is the port of link {other:?} already; a port has one link",
                    field("port")
                ));
            }
        }
        Ok(())
    }

    fn check_unix(&self) -> Result<(), String> {
        let mut paths = Seen::default();
        for UnixLink { name, listen } in &self.unix {
            let field = Field { kind: "unix", name, key: "listen" };
            let length = listen.as_os_str().len();
            if length == 0 {
                return Err(format!("{field}: is empty; name a path"));
            }
            if length > SOCKET_PATH_BYTES_MAX {
                return Err(format!(
                    "{field}: the path has {length} bytes, and a socket's has at most {SOCKET_PATH_BYTES_MAX}"
                ));
            }
            if let Some(other) = paths.twice(listen, name) {
                return Err(format!(
                    "{field}: {} is where link {other:?} listens already; give each a path of its own",
                    listen.display()
                ));
            }
        }
        Ok(())
    }
}

/// Where in the configuration something is wrong.
struct Field<'a> {
    kind: &'a str,
    name: &'a str,
    key: &'a str,
}

impl Display for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[[link.{}]] {:?}, {}", self.kind, self.name, self.key)
    }
}

/// What was there before, and whose it was.
struct Seen<'a, T>(std::collections::HashMap<T, &'a str>);

impl<T> Default for Seen<'_, T> {
    fn default() -> Self {
        Self(std::collections::HashMap::new())
    }
}

impl<'a, T: std::hash::Hash + Eq> Seen<'a, T> {
    /// Whose it is already, if it is somebody's.
    fn twice(&mut self, what: T, whose: &'a str) -> Option<&'a str> {
        self.0.insert(what, whose)
    }
}

/// Where a TCP link listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: url::Host,
    port: u16,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const WANTED: &str =
            "write HOST:PORT, such as 0.0.0.0:7001 (all addresses), 127.0.0.1:7001 or [::1]:7001";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(match address {
                SocketAddr::V4(v4) => Self { host: url::Host::Ipv4(*v4.ip()), port: v4.port() },
                SocketAddr::V6(v6) => Self { host: url::Host::Ipv6(*v6.ip()), port: v6.port() },
            });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no port; {WANTED}"))?;
        if host.is_empty() {
            return Err(format!("{text:?} has no host; {WANTED}"));
        }
        let port = Some(port)
            // A sign would pass for a number.
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| format!("{port:?} is no port, which is a number from 0 to 65535; {WANTED}"))?;
        match url::Host::parse(host) {
            Ok(host) if !text.contains(['[', ']']) => Ok(Self { host, port }),
            Ok(_) => Err(format!("{text:?} is no address with a port; {WANTED}")),
            Err(error) => Err(format!("{host:?} is no host: {error}; {WANTED}")),
        }
    }

    /// Whether not both can be listened on. What two different names stand for is not looked up.
    fn overlaps(&self, other: &Self) -> bool {
        // 0 is any port that is free.
        if self.port != other.port || self.port == 0 {
            return false;
        }
        match (self.ip(), other.ip()) {
            (Some(a), Some(b)) => {
                a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
            }
            _ => self.host == other.host,
        }
    }

    /// Whether only this machine can reach it. Of names only `localhost` is one.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            url::Host::Ipv4(ip) => ip.is_loopback(),
            url::Host::Ipv6(ip) => ip.is_loopback(),
            url::Host::Domain(name) => name == "localhost",
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match self.host {
            url::Host::Ipv4(ip) => Some(ip.into()),
            url::Host::Ipv6(ip) => Some(ip.into()),
            url::Host::Domain(_) => None,
        }
    }
}
