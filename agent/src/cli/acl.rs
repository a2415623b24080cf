//! `gridpost acl`: the broker's access rules, from the pack.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::print;
use crate::access::{Access, Format, Names};
use crate::pack::source;

/// Arguments of `gridpost acl`.
#[derive(Debug, Args)]
#[command(
    after_help = "A department reads the events of its own matters and writes dispositions of its own cases; a gateway \
                        writes its own topics only; the platform reads everything. A user's name is the department's id \
                        (departments.csv) or the gateway's, unless --department-user or --gateway-user says otherwise."
)]
pub struct AclArgs {
    /// The broker's format
    #[arg(long, value_enum)]
    format: Format,
    /// The pack
    #[arg(long, value_name = "PACK", default_value = "pack")]
    pack: PathBuf,
    /// The gateways' ids; without any, nobody may publish events
    #[arg(long = "gateway", value_name = "ID", num_args = 1..)]
    gateways: Vec<String>,
    /// The platform's user; may be repeated
    #[arg(long, value_name = "USER", default_value = "platform")]
    platform: Vec<String>,
    /// A user of a department, instead of its id; may be repeated
    #[arg(long = "department-user", value_name = "USER=ID", value_parser = user)]
    department_users: Vec<(String, String)>,
    /// A user of a gateway, instead of its id; may be repeated
    #[arg(long = "gateway-user", value_name = "USER=ID", value_parser = user)]
    gateway_users: Vec<(String, String)>,
}

fn user(text: &str) -> Result<(String, String), String> {
    let (user, id) = text.split_once('=').ok_or("write USER=ID, such as hcb-reader=housing")?;
    Ok((user.to_owned(), id.to_owned()))
}

/// Prints the rules.
///
/// # Errors
/// When the pack is not usable, or a name.
pub fn acl(args: AclArgs) -> Result<(), Failure> {
    let pack = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?.pack;
    let names = Names {
        gateways: args.gateways,
        platform: args.platform,
        department_users: args.department_users,
        gateway_users: args.gateway_users,
    };
    let unusable = |error: crate::access::Unusable| Failure::usage(error.to_string());
    let access = Access::of(&pack, &names).map_err(unusable)?;
    if names.gateways.is_empty() {
        print::aside("note: no gateway is named, so nobody may publish events; add --gateway ID");
    }
    print::all(&access.write(args.format).map_err(unusable)?)
}
