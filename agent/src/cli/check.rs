//! `gridpost check`: whether the gateway would start, without starting it. It writes nothing and connects to nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Failure;
use super::print;
use crate::config::{Config, folder_of};
use crate::event::make::District;
use crate::keys::Keys;
use crate::pack::source;
use crate::spool;
use crate::uplink::config::Connection;

/// Arguments of `gridpost check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gridpost/gridpost.toml")]
    pub config: PathBuf,
}

/// Everything that a gateway is started from, read and checked.
pub(super) struct Checked {
    pub(super) config: Config,
    pub(super) district: District,
    pub(super) keys: Keys,
    pub(super) connection: Connection,
}

impl Checked {
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let config = Config::load(path).map_err(|error| Failure::configuration(&error))?;
        let connection = config
            .uplink
            .resolve(&folder_of(path), &config.gateway.id)
            .map_err(|error| Failure::in_configuration(path, &error))?;
        let keys = Keys::load(&config.gateway.keys).map_err(|error| Failure::configuration(&error))?;
        spool::look(&config.gateway.spool).map_err(|error| Failure::in_configuration(path, &error))?;
        let pack = source::load(&config.gateway.pack).map_err(|error| Failure::configuration(&error))?.pack;
        let district = District { pack, gateway: config.gateway.id.clone() };
        Ok(Self { config, district, keys, connection })
    }
}

/// Checks, and says what there is.
///
/// # Errors
/// What is wrong, where, and the way out.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let checked = Checked::load(&args.config)?;
    print::all(&report(&args.config, &checked))
}

fn report(config: &Path, checked: &Checked) -> String {
    let pack = &checked.district.pack;
    let brokers: Vec<String> = checked.connection.brokers.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("configuration  {}", config.display()),
        format!("gateway        {} in division {}", checked.district.gateway, pack.division),
        format!(
            "pack           {} version {} ({}){}",
            pack.name,
            pack.version,
            pack.digest().short(),
            if pack.is_sample { ", A SAMPLE: not for use in a district" } else { "" }
        ),
        format!(
            "               {} matters, {} departments, {} rules, {} sites, {} devices",
            pack.matters().len(),
            pack.departments().len(),
            pack.rules().len(),
            pack.sites().len(),
            pack.devices().len()
        ),
        format!("links          {}", checked.config.link.names().collect::<Vec<_>>().join(", ")),
        format!("brokers        {}", brokers.join(", ")),
    ];
    let without_notes = lines.len();
    lines.extend(pack.notes().iter().map(|note| format!("note: {note}")));
    for device in pack.devices().iter().filter(|device| checked.keys.get(device.id).is_none()) {
        lines.push(format!(
            "note: device {} is in the pack and has no key here; its frames will be dropped",
            device.id
        ));
    }
    for device in checked.keys.devices().filter(|device| pack.device(*device).is_none()) {
        lines.push(format!(
            "note: device {device} has a key and is not in the pack's devices.csv; its frames will be dropped"
        ));
    }
    let end = if lines.len() == without_notes { "all is well" } else { "usable, with the notes above" };
    lines.join("\n") + "\n" + end + "\n"
}
