//! The `authorization` block of a NATS server. An MQTT topic is a subject there: `/` becomes `.`, `+` becomes `*`, and `a/#` is both `a` and
//! `a.>`.
//!
//! - A QoS 1 subscription is delivered over `$MQTT.sub.>`, which a subscriber has to be allowed. Only MQTT connections may use these users,
//!   because a client of NATS' own protocol could listen there to what is delivered to others.
//! - An empty list of what is allowed would allow everything: there is none, as every user may write something.
//! - NATS acknowledges a publish that it refuses, and logs it as a violation: MQTT 3.1.1 has no other answer.
//! - Passwords stay out of the file: they come from the server's environment.

use std::collections::BTreeMap;

use super::{Access, Unusable};

/// Subjects over which QoS 1 subscriptions are delivered.
const DELIVERIES: &str = "$MQTT.sub.>";

/// The file.
///
/// # Errors
/// When two users' passwords would be one variable.
pub fn write(access: &Access) -> Result<String, Unusable> {
    let mut variables: BTreeMap<String, &str> = BTreeMap::new();
    let mut lines: Vec<String> = access.head.iter().map(|line| format!("# {line}")).collect();
    lines.push("# Include it in the server's configuration. Passwords come from the server's".to_owned());
    lines.push("# environment, such as GRIDPOST_PASSWORD_HOUSING for the user housing.".to_owned());
    lines.push("authorization {".to_owned());
    lines.push("  users = [".to_owned());
    for user in &access.users {
        let variable = variable(&user.name);
        if let Some(other) = variables.insert(variable.clone(), &user.name) {
            return Err(Unusable(format!(
                "users `{other}` and `{}` would both have their password in {variable}; give one of them another name",
                user.name
            )));
        }
        let reads = subjects(&user.reads).chain([DELIVERIES.to_owned()]);
        lines.push(format!("    # {}", user.about));
        lines.push(format!(
            "    {{ user: \"{}\", password: ${variable}, allowed_connection_types: [\"MQTT\"]",
            user.name
        ));
        lines.push("      permissions: {".to_owned());
        lines.push(format!("        publish: {{ allow: [{}] }}", quoted(subjects(&user.writes))));
        lines.push(format!("        subscribe: {{ allow: [{}] }}", quoted(reads)));
        lines.push("      } }".to_owned());
    }
    lines.push("  ]".to_owned());
    lines.push("}".to_owned());
    Ok(lines.join("\n") + "\n")
}

/// The variable with a user's password.
#[must_use]
pub fn variable(user: &str) -> String {
    let name: String =
        user.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("GRIDPOST_PASSWORD_{name}")
}

fn subjects(filters: &[String]) -> impl Iterator<Item = String> {
    filters.iter().flat_map(|filter| {
        let subject = filter.replace('/', ".").replace('+', "*");
        match subject.strip_suffix(".#") {
            Some(above) => vec![above.to_owned(), format!("{above}.>")],
            None => vec![subject],
        }
    })
}

fn quoted(subjects: impl Iterator<Item = String>) -> String {
    subjects.map(|subject| format!("\"{subject}\"")).collect::<Vec<_>>().join(", ")
}
