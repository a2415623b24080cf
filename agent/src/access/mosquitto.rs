//! Mosquitto's `acl_file` (mosquitto.conf(5)). What no line allows is refused.
//!
//! Mosquitto takes any subscription and filters what it delivers. On MQTT 5 a publish that is refused is answered so; on 3.1.1 it is acknowledged
//! and gone.

use super::Access;

/// The file.
#[must_use]
pub fn write(access: &Access) -> String {
    let mut lines: Vec<String> = access.head.iter().map(|line| format!("# {line}")).collect();
    lines.push(
        "# In mosquitto.conf: acl_file, allow_anonymous false, and a password_file with these users"
            .to_owned(),
    );
    lines.push("# (or require_certificate true and use_identity_as_username true).".to_owned());
    for user in &access.users {
        lines.push(String::new());
        lines.push(format!("# {}", user.about));
        lines.push(format!("user {}", user.name));
        lines.extend(user.reads.iter().map(|filter| format!("topic read {filter}")));
        lines.extend(user.writes.iter().map(|filter| format!("topic write {filter}")));
    }
    lines.join("\n") + "\n"
}
