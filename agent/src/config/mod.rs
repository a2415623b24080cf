//! The gateway's configuration: one TOML file, `gridpost.toml`. Paths in it are relative to its folder. A key that is not known
//! is an error. Secrets are in files of their own or in the environment, never here.

pub mod devices;
pub mod links;
pub mod metrics;
pub mod spool;
pub mod summaries;
pub(crate) mod toml_error;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files;
use crate::pack::rollout::Policy;
use crate::pack::trust::{Trust, TrustError};
use crate::uplink::config::UplinkConfig;
use crate::uplink::topics;
pub use devices::DevicesConfig;
pub use links::{LinksConfig, SerialLink, TcpLink, UnixLink};
pub use metrics::MetricsConfig;
pub use spool::SpoolConfig;
pub use summaries::SummariesConfig;

/// A configuration file is never longer than this, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}{}", elsewhere(source), path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be; the message names line, column and key.
    #[error("{path}: {message}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        message: String,
    },
}

/// Where else it may be, when it is not there.
fn elsewhere(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; name yours with -c FILE, or write it as README.md shows",
        io::ErrorKind::PermissionDenied => "; run this as the agent's user, or name another one with -c FILE",
        _ => "",
    }
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
    /// Where metrics and health can be read; nowhere unless it is said.
    pub metrics: Option<MetricsConfig>,
    /// Whose packs are taken.
    #[serde(default)]
    pub pack: PackConfig,
    /// How much the spool may take.
    #[serde(default)]
    pub spool: SpoolConfig,
    /// How much of one device is taken.
    #[serde(default)]
    pub devices: DevicesConfig,
    /// Which statistics are published.
    #[serde(default)]
    pub summaries: SummariesConfig,
}

/// Whose packs are taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackConfig {
    /// Minisign public keys: files, or the keys themselves (`RW…`). With several, a pack signed by any of them is taken.
    #[serde(default)]
    pub trust: Vec<String>,
    /// Whether the pack at `[gateway] pack` may be unsigned although there are trusted keys.
    #[serde(default)]
    pub allow_unsigned: bool,
    /// The version of a pack that is taken even though a later one ran.
    #[serde(default)]
    pub allow_version: Option<u32>,
}

impl PackConfig {
    /// The policy, with keys' files relative to this folder.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub fn policy(&self, folder: &Path) -> Result<Policy, TrustError> {
        let trust = Trust::read(&self.trust, folder, self.allow_unsigned)?;
        Ok(Policy { trust, allow_version: self.allow_version })
    }
}

/// Who this gateway is, and where its things are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's name in topics: letters, digits, `-` and `_`.
    pub id: String,
    /// The pack: its folder, or the one file that was built of it.
    pub pack: PathBuf,
    /// The file of the devices' keys.
    pub keys: PathBuf,
    /// The spool's database file.
    pub spool: PathBuf,
}

impl Config {
    /// Reads a configuration and makes its paths absolute, or relative to where the agent runs.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it is not what it should be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = files::text(path, CONFIG_BYTES_MAX).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// As [`Self::load`], of a text that was read from `path`.
    ///
    /// # Errors
    /// When something in it is not what it should be.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        let mut config: Self =
            toml::from_str(text).map_err(|error| invalid(toml_error::describe(text, &error)))?;
        config.check().map_err(invalid)?;
        let folder = folder_of(path);
        for path in [&mut config.gateway.pack, &mut config.gateway.keys, &mut config.gateway.spool] {
            *path = folder.join(&*path);
        }
        for link in &mut config.link.unix {
            link.listen = folder.join(&link.listen);
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if !topics::is_segment(&self.gateway.id) {
            return Err(format!(
                "[gateway] id: {:?} cannot stand in a topic; use up to 64 letters, digits, - and _",
                self.gateway.id
            ));
        }
        let paths =
            [("pack", &self.gateway.pack), ("keys", &self.gateway.keys), ("spool", &self.gateway.spool)];
        if let Some((key, _)) = paths.iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return Err(format!("[gateway] {key}: is empty; name a path"));
        }
        if let Some(metrics) = &self.metrics {
            metrics.check()?;
        }
        self.spool.check()?;
        self.devices.check()?;
        self.link.check()
    }
}

/// The folder that paths in a configuration file are relative to.
#[must_use]
pub fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
[gateway]
id = 'gw-1'
pack = 'pack'
keys = 'keys.toml'
spool = 'spool.db'
[[link.tcp]]
name = 'lan'
listen = '127.0.0.1:7001'
[uplink]
brokers = ['mqtt://localhost']
";

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gridpost.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load(GOOD).unwrap();
        assert!(config.gateway.pack.is_absolute() && config.gateway.pack.ends_with("pack"));
    }

    #[test]
    fn errors_show_file_line_key_and_what_would_be_right() {
        let unknown = load(&GOOD.replace("listen", "lissen")).unwrap_err();
        assert!(unknown.contains("gridpost.toml") && unknown.contains("line 9"), "{unknown}");
        assert!(unknown.contains("lissen") && unknown.contains("`listen`"), "{unknown}");
        let wrong = load(&GOOD.replace("'gw-1'", "7")).unwrap_err();
        assert!(wrong.contains("line 3") && wrong.contains("string"), "{wrong}");
        let id = load(&GOOD.replace("gw-1", "gw/1")).unwrap_err();
        assert!(id.contains("cannot stand in a topic"), "{id}");
        let empty = load(&GOOD.replace("'spool.db'", "''")).unwrap_err();
        assert!(empty.contains("spool: is empty"), "{empty}");
        let twice = load(&format!("{GOOD}[[link.tcp]]\nname = 'lan'\nlisten = 'x'\n")).unwrap_err();
        assert!(twice.contains("used twice"), "{twice}");
        let none =
            load(&GOOD.replace("[[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:7001'", "")).unwrap_err();
        assert!(none.contains("there is no link"), "{none}");
    }

    /// What is said about the good configuration with this in place of its link.
    fn said_of_links(links: &str) -> String {
        let link = "[[link.tcp]]\nname = 'lan'\nlisten = '127.0.0.1:7001'";
        load(&GOOD.replace(link, links)).map(|_| "nothing".to_owned()).unwrap_or_else(|error| error)
    }

    #[test]
    fn an_address_to_listen_on_is_host_and_port() {
        let said =
            |listen: &str| said_of_links(&format!("[[link.tcp]]\nname = 'lan'\nlisten = '{listen}'\n"));
        for good in
            ["0.0.0.0:7001", "127.0.0.1:0", "[::1]:7001", "[::]:65535", "localhost:7001", "gw-1.local:1"]
        {
            assert_eq!(said(good), "nothing", "{good}");
        }
        let bad = [
            "7001",
            "localhost",
            "",
            ":7001",
            "0.0.0.0:",
            "0.0.0.0:70001",
            "0.0.0.0:-1",
            "0.0.0.0:+1",
            "0.0.0.0:http",
            "::1:7001",
            "[::1]",
            "[::1:7001",
            "300.0.0.1:7001",
            "a b:7001",
            "tcp://0.0.0.0:7001",
            "0.0.0.0:7001/",
        ];
        for bad in bad {
            let said = said(bad);
            assert!(
                said.contains("[[link.tcp]] \"lan\", listen: ") && said.contains("HOST:PORT"),
                "{bad}: {said}"
            );
        }
    }

    #[test]
    fn metrics_are_for_this_machine_unless_the_configuration_says_otherwise() {
        let said = |metrics: &str| {
            load(&format!("{GOOD}[metrics]\n{metrics}\n")).map_or_else(|said| said, |_| "nothing".to_owned())
        };
        assert!(load(GOOD).unwrap().metrics.is_none(), "off by default");
        for good in ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", "localhost:9464"] {
            assert_eq!(said(&format!("listen = '{good}'")), "nothing", "{good}");
        }
        for open in
            ["0.0.0.0:9464", "[::]:9464", "192.168.1.2:9464", "gw-1.local:9464", "[::ffff:10.0.0.1]:1"]
        {
            let refused = said(&format!("listen = '{open}'"));
            assert!(refused.contains("[metrics] listen: ") && refused.contains("allow_remote"), "{refused}");
            assert_eq!(said(&format!("listen = '{open}'\nallow_remote = true")), "nothing", "{open}");
        }
        assert!(said("listen = '9464'").contains("[metrics] listen: \"9464\" has no port"));
    }

    #[test]
    fn two_links_do_not_share_an_address_a_port_or_a_path() {
        let tcp = |a: &str, b: &str| {
            said_of_links(&format!(
                "[[link.tcp]]\nname = 'a'\nlisten = '{a}'\n[[link.tcp]]\nname = 'b'\nlisten = '{b}'\n"
            ))
        };
        for (a, b) in [
            ("127.0.0.1:7001", "127.0.0.1:7001"),
            ("0.0.0.0:7001", "127.0.0.1:7001"),
            ("10.0.0.1:7001", "0.0.0.0:7001"),
            ("[::1]:7001", "[0:0::1]:7001"),
            ("GATEWAY:7001", "gateway:7001"),
        ] {
            let said = tcp(a, b);
            assert!(said.contains("\"b\", listen: ") && said.contains("link \"a\""), "{a} {b}: {said}");
        }
        for (a, b) in [
            ("127.0.0.1:7001", "127.0.0.1:7002"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("10.0.0.1:7001", "10.0.0.2:7001"),
            ("0.0.0.0:7001", "[::1]:7001"),
        ] {
            assert_eq!(tcp(a, b), "nothing", "{a} {b}");
        }
        let serial = said_of_links(
            "[[link.serial]]\nname = 'a'\nport = '/dev/null'\n[[link.serial]]\nname = 'b'\nport = '/dev/../dev/null'\n",
        );
        assert!(serial.contains("\"b\", port: ") && serial.contains("link \"a\""), "{serial}");
        let unix = said_of_links(
            "[[link.unix]]\nname = 'a'\nlisten = 'x'\n[[link.unix]]\nname = 'b'\nlisten = 'x'\n",
        );
        assert!(unix.contains("\"b\", listen: ") && unix.contains("link \"a\""), "{unix}");
    }

    #[test]
    fn links_that_could_never_work_are_refused() {
        let baud = said_of_links("[[link.serial]]\nname = 'a'\nport = '/dev/ttyS0'\nbaud = 0\n");
        assert!(baud.contains("\"a\", baud: 0") && baud.contains("115200"), "{baud}");
        let port = said_of_links("[[link.serial]]\nname = 'a'\nport = ''\n");
        assert!(port.contains("\"a\", port: is empty"), "{port}");
        let long = said_of_links(&format!("[[link.unix]]\nname = 'a'\nlisten = '/{}'\n", "x".repeat(107)));
        assert!(long.contains("108 bytes") && long.contains("at most 107"), "{long}");
    }

    #[test]
    fn an_error_never_shows_what_may_be_a_secret() {
        let cases = [
            ("[uplink]", "[uplink]\npassword = 'hunter2'", "[uplink] password: "),
            ("[uplink]", "[uplink]\npassword_file = 4242", "[uplink] password_file: "),
            ("[uplink]", "[uplink]\nkey = 'hunter2", "[uplink] key: "),
            ("[uplink]", "[uplink]\ntoken = hunter2", "[uplink] token: "),
            ("['mqtt://localhost']", "'mqtt://u:hunter2@localhost'", "[uplink] brokers: "),
            ("[uplink]", "[uplink]\nprotocol = 'hunter2'", "[uplink] protocol: "),
        ];
        for (from, to, field) in cases {
            let said = load(&GOOD.replace(from, to)).unwrap_err();
            assert!(said.contains("gridpost.toml: line 1") && said.contains("column"), "{said}");
            assert!(said.contains(field), "no {field} in {said}");
            assert!(!said.contains("hunter2") && !said.contains("4242"), "{said}");
        }
        let password = load(&GOOD.replace("[uplink]", "[uplink]\npassword = 'x'")).unwrap_err();
        assert!(password.contains("password_file"), "{password}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Path::new("/none/gridpost.toml")).unwrap_err().to_string();
        assert!(error.contains("/none/gridpost.toml"), "{error}");
    }
}
