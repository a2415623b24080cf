//! EMQX's `acl.conf`: Erlang terms, the first that fits decides, and the last refuses what is left.

use super::Access;

/// The file.
#[must_use]
pub fn write(access: &Access) -> String {
    let mut lines: Vec<String> = access.head.iter().map(|line| format!("%% {line}")).collect();
    lines.push("%% Set authorization.no_match = deny, and let no other source allow more.".to_owned());
    for user in &access.users {
        lines.push(String::new());
        lines.push(format!("%% {}", user.about));
        for (action, filters) in [("subscribe", &user.reads), ("publish", &user.writes)] {
            let quoted: Vec<_> = filters.iter().map(|filter| format!("\"{filter}\"")).collect();
            lines.push(format!("{{allow, {{user, \"{}\"}}, {action}, [{}]}}.", user.name, quoted.join(", ")));
        }
    }
    lines.push(String::new());
    lines.push("{deny, all}.".to_owned());
    lines.join("\n") + "\n"
}
