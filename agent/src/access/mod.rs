//! Who may read and write what at the broker: access follows responsibility.
//!
//! | user | reads | writes |
//! | --- | --- | --- |
//! | department | events of its own matters; replies to its dispositions; gateways' status | dispositions of its own cases |
//! | gateway | requests, packs and dispositions that are for it | its own events, summaries, status and replies |
//! | platform | everything of the division | requests, packs and dispositions, to every gateway |
//!
//! Everything else is refused. Who is competent stands in the topic, so a department gets what is its own by one filter, which
//! holds for matters that a later pack gives to it too. A user's name is the department's or the gateway's id, unless it is
//! given ones of its own ([`Names`]).
//!
//! What a broker's file looks like is said by [`mosquitto`], [`emqx`] and [`nats`]. Names that come from a pack's tables reach
//! only comments; a pack with control characters in them does not load, and they are written out here all the same.

pub mod emqx;
pub mod mosquitto;
pub mod nats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use gridpost_protocol::pack::Pack;

use crate::cli::print::without_controls;
use crate::uplink::topics;

/// The longest name of a broker's user, in bytes.
pub const USER_BYTES_MAX: usize = 64;

/// A broker's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Mosquitto's `acl_file`
    Mosquitto,
    /// EMQX's `acl.conf`
    Emqx,
    /// The `authorization` block of a NATS server
    Nats,
}

/// Users' names where they are not the ids, and which gateways there are: a pack does not say.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The gateways' ids.
    pub gateways: Vec<String>,
    /// The platform's users.
    pub platform: Vec<String>,
    /// (user, department id): such a department's users are these.
    pub department_users: Vec<(String, String)>,
    /// (user, gateway id): such a gateway's users are these.
    pub gateway_users: Vec<(String, String)>,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name at the broker.
    pub name: String,
    /// Who it is, for a person: one line, without control characters.
    pub about: String,
    /// Topic filters (MQTT 5, 4.7) of what may be received.
    pub reads: Vec<String>,
    /// Topic filters of what may be published.
    pub writes: Vec<String>,
}

/// Who may do what with one pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Lines that say what it was made of.
    pub head: Vec<String>,
    /// Departments in the pack's order, then gateways, then the platform.
    pub users: Vec<User>,
    /// Departments that have no matter, and so no access.
    pub without_matters: Vec<String>,
}

/// Names that cannot be used, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Access {
    /// What follows from a pack.
    ///
    /// # Errors
    /// When a name cannot be a user's, is of somebody whom there is not, or would be two users'.
    pub fn of(pack: &Pack, names: &Names) -> Result<Self, Unusable> {
        check_names(pack, names)?;
        let division = pack.division.as_str();
        let mut matters: BTreeMap<&str, usize> = BTreeMap::new();
        for matter in pack.matters() {
            *matters.entry(pack.department_of(matter).id.as_str()).or_default() += 1;
        }
        let mut users = Vec::new();
        let mut without_matters = Vec::new();
        for department in pack.departments() {
            let id = department.id.as_str();
            let Some(count) = matters.get(id) else {
                without_matters.push(id.to_owned());
                continue;
            };
            let about =
                format!("department {id}: {} {}, matters: {count}", department.name_zh, department.name_en);
            for name in users_of(id, &names.department_users) {
                users.push(User {
                    name,
                    about: without_controls(&about),
                    reads: vec![
                        format!("gridpost/1/{division}/event/{id}/#"),
                        format!("gridpost/1/{division}/gateway/+/reply/disposition/{id}"),
                        topics::status(division, "+"),
                    ],
                    writes: vec![format!("gridpost/1/{division}/disposition/+/{id}")],
                });
            }
        }
        for id in &names.gateways {
            for name in users_of(id, &names.gateway_users) {
                users.push(User {
                    name,
                    about: format!("gateway {id}"),
                    reads: vec![
                        format!("gridpost/1/{division}/gateway/{id}/request/#"),
                        format!("gridpost/1/{division}/gateway/{id}/pack/#"),
                        format!("gridpost/1/{division}/disposition/{id}/#"),
                    ],
                    writes: vec![
                        topics::event(division, "+", ("+", "+"), "+", id),
                        format!("gridpost/1/{division}/summary/{id}/+"),
                        topics::status(division, id),
                        format!("gridpost/1/{division}/gateway/{id}/reply/#"),
                    ],
                });
            }
        }
        for name in &names.platform {
            users.push(User {
                name: name.clone(),
                about: "the platform".to_owned(),
                reads: vec![format!("gridpost/1/{division}/#")],
                writes: vec![
                    format!("gridpost/1/{division}/gateway/+/request/#"),
                    format!("gridpost/1/{division}/gateway/+/pack/#"),
                    format!("gridpost/1/{division}/disposition/+"),
                ],
            });
        }
        check_unique(&users)?;
        let mut head = vec![format!(
            "Made by gridpost {} from pack {} version {} ({}), division {division}. Make it anew with each new pack.",
            env!("CARGO_PKG_VERSION"),
            without_controls(&pack.name),
            pack.version,
            pack.digest().short(),
        )];
        if pack.is_sample {
            head.push("A SAMPLE: not for use in a district.".to_owned());
        }
        head.push(
            "A user's name is the department's or the gateway's id, unless given otherwise.".to_owned(),
        );
        if !without_matters.is_empty() {
            head.push(format!(
                "Departments without matters, and so without access: {}",
                without_matters.join(", ")
            ));
        }
        Ok(Self { head, users, without_matters })
    }

    /// The file for a broker.
    ///
    /// # Errors
    /// When two users' names cannot be told apart in that format.
    pub fn write(&self, format: Format) -> Result<String, Unusable> {
        match format {
            Format::Mosquitto => Ok(mosquitto::write(self)),
            Format::Emqx => Ok(emqx::write(self)),
            Format::Nats => nats::write(self),
        }
    }
}

/// Its own users where it has been given any, else its id.
fn users_of(id: &str, given: &[(String, String)]) -> Vec<String> {
    let own: Vec<_> = given.iter().filter(|(_, of)| of == id).map(|(user, _)| user.clone()).collect();
    if own.is_empty() { vec![id.to_owned()] } else { own }
}

/// Whether it may be a user's name: what no broker's file takes for something else.
fn is_user(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    (1..=USER_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

fn check_names(pack: &Pack, names: &Names) -> Result<(), Unusable> {
    if let Some(id) = names.gateways.iter().find(|id| !topics::is_segment(id)) {
        return Err(Unusable(format!(
            "`{}` is no gateway's id: use 1 to 64 letters, digits, `-` and `_`",
            without_controls(id)
        )));
    }
    let given = names.department_users.iter().chain(&names.gateway_users).map(|(user, _)| user);
    if let Some(name) = given.chain(&names.platform).find(|name| !is_user(name)) {
        return Err(Unusable(format!(
            "`{}` cannot be a user's name: use 1 to {USER_BYTES_MAX} letters, digits, `-`, `_`, `.` and `@`",
            without_controls(name)
        )));
    }
    for (user, id) in &names.department_users {
        if pack.department(id).is_none() {
            return Err(Unusable(format!(
                "user `{user}`: the pack has no department `{}`; its departments.csv names them",
                without_controls(id)
            )));
        }
    }
    for (user, id) in &names.gateway_users {
        if !names.gateways.contains(id) {
            return Err(Unusable(format!(
                "user `{user}`: `{}` is none of the gateways; name it with --gateway too",
                without_controls(id)
            )));
        }
    }
    Ok(())
}

/// Two with one name would share their rights.
fn check_unique(users: &[User]) -> Result<(), Unusable> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for user in users {
        if let Some(other) = seen.insert(&user.name, &user.about) {
            return Err(Unusable(format!(
                "user `{}` would be two: {other}, and {}; give one of them a name of its own with \
                 --department-user, --gateway-user or --platform",
                user.name, user.about
            )));
        }
    }
    Ok(())
}
