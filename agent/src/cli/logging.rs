//! Logs go to standard error: for people on a terminal, as JSON lines otherwise.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Starts logging. `default` holds unless `GRIDPOST_LOG` says otherwise.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("GRIDPOST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would panic where standard error cannot be written to.
        .log_internal_errors(false);
    if stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}
