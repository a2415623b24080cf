//! `gridpost check`: whether the gateway would start with what is configured, without starting it. It writes nothing and connects to
//! nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Failure;
use super::print;
use crate::config::{Config, folder_of};
use crate::keys::Keys;
use crate::pack::kept::Kept;
use crate::pack::rollout::{self, Found, Policy};
use crate::spool::{self, SpoolError};
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
    pub(super) found: Found,
    pub(super) policy: Policy,
    pub(super) kept: Kept,
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
        spool::look(&config.gateway.spool).map_err(|error| match error {
            SpoolError::Unusable { .. } => {
                Failure::unusable(format!("{}: [gateway] spool: {error}", path.display()))
            }
            _ => Failure::in_configuration(path, &error),
        })?;
        let policy =
            config.pack.policy(&folder_of(path)).map_err(|error| Failure::in_configuration(path, &error))?;
        let kept = Kept::beside(&config.gateway.spool);
        let found = rollout::find(&config.gateway.pack, &kept, &policy).map_err(Failure::unusable)?;
        Ok(Self { config, found, policy, kept, keys, connection })
    }
}

/// Checks, and says what there is. A configured pack that a gateway would refuse is a failure, though the gateway goes on with the
/// one that ran last: who asks is about to start what is configured.
///
/// # Errors
/// What is wrong, where, and the way out.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let checked = Checked::load(&args.config)?;
    print::all(&report(&args.config, &checked))?;
    match &checked.found.refused {
        None => Ok(()),
        Some(why) => Err(Failure::unusable(refused(why, &checked))),
    }
}

fn refused(why: &str, checked: &Checked) -> String {
    let pack = &checked.found.loaded.pack;
    format!(
        "the configured pack, {}, is refused: {why}\nThe gateway goes on with the pack that ran last: {} version {}, kept at {}. \
         Correct the configured one, or have `pack =` name what is to run.",
        checked.config.gateway.pack.display(),
        pack.name,
        pack.version,
        checked.kept.path().display()
    )
}

fn report(config: &Path, checked: &Checked) -> String {
    let pack = &checked.found.loaded.pack;
    let brokers: Vec<String> = checked.connection.brokers.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("configuration  {}", config.display()),
        format!("gateway        {} in division {}", checked.config.gateway.id, pack.division),
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
        format!("packs          {}", accepted(&checked.policy)),
        format!("links          {}", checked.config.link.names().collect::<Vec<_>>().join(", ")),
        format!("brokers        {}", brokers.join(", ")),
    ];
    let without_notes = lines.len();
    let is_refused = checked.found.refused.is_some();
    if is_refused {
        lines.push("note: this is the pack that ran last; the configured one is refused".to_owned());
    }
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
    let end = match (is_refused, lines.len() == without_notes) {
        (true, _) => "the gateway starts, and not with the configured pack",
        (false, true) => "all is well",
        (false, false) => "usable, with the notes above",
    };
    lines.join("\n") + "\n" + end + "\n"
}

/// Whose packs are taken.
fn accepted(policy: &Policy) -> String {
    let anchors = &policy.trust.anchors;
    let mut text = match anchors.len() {
        0 => {
            "any at the configured path; none from the platform, because there is no [pack] trust".to_owned()
        }
        _ => {
            let names: Vec<_> = anchors.iter().map(|anchor| anchor.name.as_str()).collect();
            format!("signed by {}", names.join(" or "))
        }
    };
    if !anchors.is_empty() && policy.trust.allow_unsigned {
        text.push_str("; unsigned ones at the configured path too");
    }
    if let Some(version) = policy.allow_version {
        text.push_str(&format!("; version {version} even after a later one"));
    }
    text
}
