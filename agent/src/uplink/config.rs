//! `[uplink]`: where the platform's brokers are, and how to prove who this gateway is.
//!
//! The password comes from a file or from the environment (`GRIDPOST_MQTT_PASSWORD`), never from the command line or from this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use super::batch::EVENTS_MAX;
use crate::files;

/// The environment variable that holds the password.
pub const PASSWORD_VARIABLE: &str = "GRIDPOST_MQTT_PASSWORD";
/// The shortest keep-alive, in seconds: the client library does not work below.
const KEEP_ALIVE_S_MIN: u16 = 5;
/// The most publishes under way.
const INFLIGHT_MAX: u16 = 1000;

/// The longest time a broker may leave publishes unacknowledged, in seconds.
const ACK_TIMEOUT_S_MAX: u16 = 600;

/// Why the uplink's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UplinkConfigError {
    /// A value is not what it should be.
    #[error("[uplink] {field}: {what}")]
    Value {
        /// The key.
        field: &'static str,
        /// What is wrong, and the way out.
        what: String,
    },
    /// A file cannot be read.
    #[error("[uplink] {field}: cannot read {path}: {source}; the agent's user must be able to read it", path = path.display())]
    Unreadable {
        /// The key.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("[uplink] {field}: {path} {what}", path = path.display())]
    Content {
        /// The key.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        what: String,
    },
}

/// Which MQTT is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Version {
    /// MQTT 5: a broker says so when it refuses an event.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1: a broker that refuses an event acknowledges it all the same.
    #[serde(rename = "3.1.1")]
    V311,
}

/// The way out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkConfig {
    /// The brokers, such as `mqtt://10.0.0.5` or `mqtts://broker.example:8883`; when one does not answer, the next is tried.
    pub brokers: Vec<String>,
    /// `5` or `3.1.1`.
    #[serde(default)]
    pub protocol: Version,
    /// The client id; without it `gridpost-<gateway>`.
    pub client_id: Option<String>,
    /// Seconds between two signs of life.
    #[serde(default = "default_keep_alive")]
    pub keep_alive_s: u16,
    /// How many events are under way without an acknowledgement.
    #[serde(default = "default_inflight")]
    pub inflight: u16,
    /// Seconds after which a broker that acknowledges nothing is left for the next one. A cluster that elects a new leader
    /// takes up to 10.
    #[serde(default = "default_ack_timeout")]
    pub ack_timeout_s: u16,
    /// How many events of a backlog may go in one publish, as a JSON array; 1 for each alone. Only if whoever receives them knows it.
    #[serde(default = "default_batch_events")]
    pub batch_events_max: u16,
    /// Whether to listen to the platform too: requests, dispositions, packs.
    #[serde(default = "default_listen")]
    pub listen: bool,
    /// The user name.
    pub username: Option<String>,
    /// A file with the password in its first line.
    pub password_file: Option<PathBuf>,
    /// The certificate authorities (PEM) that vouch for `mqtts` brokers.
    pub ca_file: Option<PathBuf>,
    /// This gateway's certificate chain (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate (PEM).
    pub client_key_file: Option<PathBuf>,
}

const fn default_keep_alive() -> u16 {
    30
}

const fn default_inflight() -> u16 {
    100
}

const fn default_ack_timeout() -> u16 {
    20
}

const fn default_batch_events() -> u16 {
    1
}

const fn default_listen() -> bool {
    true
}

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl std::str::FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "a broker is mqtt://HOST, mqtt://HOST:PORT or mqtts://HOST:PORT";
        let shown = without_password(text);
        let url = url::Url::parse(text).map_err(|error| format!("{shown:?}: {error}; {wanted}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "{shown:?} holds a user or password; give them as username and password_file in a configuration"
            ));
        }
        let tls = match url.scheme() {
            "mqtt" => false,
            "mqtts" => true,
            other => return Err(format!("{shown:?} has the scheme {other}; {wanted}")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{shown:?} goes on after the port; {wanted}"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(wanted)?;
        // Of an IPv6 address the library wants no brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls })
    }
}

/// An address as it may be shown: what stands before an `@` may be a password, however broken the rest is.
fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let scheme =
                if matches!(scheme, "mqtt" | "mqtts") { format!("{scheme}://") } else { String::new() };
            format!("{scheme}...@{host}")
        }
        None => text.to_owned(),
    }
}

/// All that is needed to connect, read and checked.
#[derive(Clone)]
pub struct Connection {
    /// The brokers, at least one.
    pub brokers: Vec<Broker>,
    /// Which MQTT is spoken.
    pub version: Version,
    /// The client id.
    pub client_id: String,
    /// Seconds between two signs of life.
    pub keep_alive_s: u16,
    /// How many publishes are under way at most.
    pub inflight: u16,
    /// Seconds after which a broker that acknowledges nothing is left.
    pub ack_timeout_s: u16,
    /// How many events of a backlog go in one publish at most.
    pub batch_events_max: u16,
    /// Whether to listen to the platform too.
    pub listen: bool,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// For brokers that speak TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("brokers", &self.brokers)
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A plain connection to one broker, for the demo and for watching.
    #[must_use]
    pub fn plain(broker: Broker, client_id: String) -> Self {
        Self {
            brokers: vec![broker],
            version: Version::V5,
            client_id,
            keep_alive_s: default_keep_alive(),
            inflight: default_inflight(),
            ack_timeout_s: default_ack_timeout(),
            batch_events_max: default_batch_events(),
            listen: default_listen(),
            credentials: None,
            tls: None,
        }
    }
}

impl UplinkConfig {
    /// Reads the files and checks the values. Relative paths are relative to `folder`.
    ///
    /// # Errors
    /// When a value or a file is not what it should be.
    pub fn resolve(&self, folder: &Path, gateway: &str) -> Result<Connection, UplinkConfigError> {
        let value = |field, what: String| UplinkConfigError::Value { field, what };
        let brokers = self
            .brokers
            .iter()
            .map(|text| text.parse::<Broker>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|what| value("brokers", what))?;
        if brokers.is_empty() {
            return Err(value("brokers", "name at least one broker".to_owned()));
        }
        if self.keep_alive_s < KEEP_ALIVE_S_MIN {
            return Err(value("keep_alive_s", format!("must be at least {KEEP_ALIVE_S_MIN} seconds")));
        }
        if !(1..=INFLIGHT_MAX).contains(&self.inflight) {
            return Err(value("inflight", format!("must be 1 to {INFLIGHT_MAX}")));
        }
        if !(1..=ACK_TIMEOUT_S_MAX).contains(&self.ack_timeout_s) {
            return Err(value("ack_timeout_s", format!("must be 1 to {ACK_TIMEOUT_S_MAX} seconds")));
        }
        if !(1..=EVENTS_MAX).contains(&self.batch_events_max) {
            return Err(value("batch_events_max", format!("must be 1 (each event alone) to {EVENTS_MAX}")));
        }
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("gridpost-{gateway}"));
        if client_id.is_empty() || client_id.starts_with(' ') {
            return Err(value("client_id", "must not be empty or begin with a blank".to_owned()));
        }
        Ok(Connection {
            version: self.protocol,
            client_id,
            keep_alive_s: self.keep_alive_s,
            inflight: self.inflight,
            ack_timeout_s: self.ack_timeout_s,
            batch_events_max: self.batch_events_max,
            listen: self.listen,
            credentials: self.credentials(folder)?,
            tls: self.tls(folder, brokers.iter().any(|broker| broker.tls))?,
            brokers,
        })
    }

    fn credentials(&self, folder: &Path) -> Result<Option<(String, String)>, UplinkConfigError> {
        let value = |field, what: String| UplinkConfigError::Value { field, what };
        let password = match (env::var(PASSWORD_VARIABLE), &self.password_file) {
            (Ok(password), _) => Some(password),
            (Err(env::VarError::NotUnicode(_)), _) => {
                return Err(value("username", format!("{PASSWORD_VARIABLE} is not text in UTF-8")));
            }
            (Err(env::VarError::NotPresent), Some(file)) => Some(read_password(folder, file)?),
            (Err(env::VarError::NotPresent), None) => None,
        };
        match (&self.username, password) {
            (Some(user), Some(password)) => Ok(Some((user.clone(), password))),
            // The certificate says who it is; the name is for the broker's logs and access list.
            (Some(user), None) if self.client_cert_file.is_some() => Ok(Some((user.clone(), String::new()))),
            (Some(_), None) => Err(value(
                "username",
                format!(
                    "there is a user name and no password: add password_file, or set {PASSWORD_VARIABLE} (empty, if the user has none)"
                ),
            )),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(value("username", "there is a password and no user name: add username".to_owned()))
            }
        }
    }

    fn tls(
        &self,
        folder: &Path,
        needed: bool,
    ) -> Result<Option<Arc<rustls::ClientConfig>>, UplinkConfigError> {
        let value = |field, what: &str| UplinkConfigError::Value { field, what: what.to_owned() };
        if !needed {
            return Ok(None);
        }
        let ca_file = self.ca_file.as_deref().ok_or_else(|| {
            value("ca_file", "an mqtts broker needs the certificate authority that vouches for it (PEM)")
        })?;
        let content = |field, file: &Path, what: String| UplinkConfigError::Content {
            field,
            path: folder.join(file),
            what,
        };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates("ca_file", folder, ca_file)? {
            roots.add(certificate).map_err(|error| {
                content("ca_file", ca_file, format!("has a certificate that cannot be used: {error}"))
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| value("ca_file", &error.to_string()))?
            .with_root_certificates(roots);
        let config = match (&self.client_cert_file, &self.client_key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key_file)) => {
                let bytes = read("client_key_file", folder, key_file)?;
                let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
                    content("client_key_file", key_file, format!("holds no private key in PEM ({error})"))
                })?;
                let chain = certificates("client_cert_file", folder, chain)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    content(
                        "client_key_file",
                        key_file,
                        format!("does not go with client_cert_file: {error}"),
                    )
                })?
            }
            (Some(_), None) => {
                return Err(value("client_key_file", "is missing: client_cert_file needs its key"));
            }
            (None, Some(_)) => {
                return Err(value("client_cert_file", "is missing: client_key_file needs its certificate"));
            }
        };
        Ok(Some(Arc::new(config)))
    }
}

/// The first line of a file that only the agent's user can read.
fn read_password(folder: &Path, file: &Path) -> Result<String, UplinkConfigError> {
    let field = "password_file";
    let path = folder.join(file);
    let content = |what: String| UplinkConfigError::Content { field, path: path.clone(), what };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = fs::metadata(&path).map_err(|source| UplinkConfigError::Unreadable {
            field,
            path: path.clone(),
            source,
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(content(format!(
                "can be read by others (mode {mode:o}); run: chmod 600 {}",
                path.display()
            )));
        }
    }
    let text = String::from_utf8(read(field, folder, file)?)
        .map_err(|_| content("is not text in UTF-8".to_owned()))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(content("has no password in its first line".to_owned())),
    }
}

fn read(field: &'static str, folder: &Path, file: &Path) -> Result<Vec<u8>, UplinkConfigError> {
    let path = folder.join(file);
    files::read(&path, files::TEXT_BYTES_MAX).map_err(|source| UplinkConfigError::Unreadable {
        field,
        path,
        source,
    })
}

fn certificates(
    field: &'static str,
    folder: &Path,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, UplinkConfigError> {
    let bytes = read(field, folder, file)?;
    let wrong = |what: String| UplinkConfigError::Content { field, path: folder.join(file), what };
    let found = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("is not PEM ({error})")))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> UplinkConfig {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("empty.pem"), "hello").unwrap();
        config(text).resolve(dir.path(), "gw").unwrap_err().to_string()
    }

    #[test]
    fn brokers_have_sensible_ports() {
        let parse = |text: &str| text.parse::<Broker>();
        assert_eq!(parse("mqtt://b").unwrap().port, 1883);
        assert_eq!(parse("mqtts://b").unwrap().port, 8883);
        assert_eq!(parse("mqtt://[::1]:99").unwrap(), Broker { host: "::1".into(), port: 99, tls: false });
        assert!(parse("http://b").unwrap_err().contains("mqtt://HOST"));
        assert!(parse("broker:1883").is_err());
    }

    #[test]
    fn a_password_in_a_brokers_address_is_refused_and_not_shown() {
        for text in [
            "mqtt://user:secret@b",
            "mqtt://user:secret@b:99999",
            "mqtt://user:sec/secret@b",
            "mqtt://user:p@secret@b",
            "http://user:secret@b",
            "user:secret@b",
            "mqtt://user:secret@",
            "mqtt://secret@b/and/more",
        ] {
            let said = text.parse::<Broker>().unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
        let said = "mqtt://user:secret@b".parse::<Broker>().unwrap_err();
        assert!(said.contains("@b") && said.contains("password_file"), "{said}");
    }

    #[test]
    fn errors_name_the_key_the_file_and_the_way_out() {
        assert!(error("brokers = []").contains("[uplink] brokers: name at least one"));
        assert!(error("brokers = ['mqtts://b']").contains("ca_file: an mqtts broker needs"));
        let missing = error("brokers = ['mqtts://b']\nca_file = 'none.pem'");
        assert!(missing.contains("none.pem") && missing.contains("agent's user"), "{missing}");
        let empty = error("brokers = ['mqtts://b']\nca_file = 'empty.pem'");
        assert!(empty.contains("empty.pem") && empty.contains("BEGIN CERTIFICATE"), "{empty}");
        assert!(error("brokers = ['mqtt://b']\npassword_file = 'none'").contains("password_file"));
        assert!(error("brokers = ['mqtt://b']\nkeep_alive_s = 1").contains("at least 5"));
        let lone = error("brokers = ['mqtt://b']\nusername = 'gw'");
        assert!(lone.contains("[uplink] username: ") && lone.contains("password_file"), "{lone}");
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_is_private_and_holds_a_password() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let resolve = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let config = config("brokers = ['mqtt://b']\nusername = 'gw'\npassword_file = 'password'");
            config.resolve(dir.path(), "gw").map_err(|error| error.to_string())
        };
        let open = resolve("hunter2\n", 0o644).unwrap_err();
        assert!(open.contains("password_file: ") && open.contains("chmod 600"), "{open}");
        assert!(!open.contains("hunter2"), "{open}");
        assert!(resolve("\nhunter2\n", 0o600).unwrap_err().contains("no password in its first line"));
        let good = resolve("hunter2\r\nmore\n", 0o600).unwrap();
        assert_eq!(good.credentials, Some(("gw".to_owned(), "hunter2".to_owned())));
    }
}
