//! `gridpost schema`: what is said to the platform, and by it, for programs: JSON Schema (2020-12) of every message, and an AsyncAPI 3
//! document of every topic.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::print;

/// Name, what it is, and the text.
const SCHEMAS: [(&str, &str, &str); 18] = [
    ("event", "an event", include_str!("../../schema/event.json")),
    ("status", "a gateway's birth and last will", include_str!("../../schema/status.json")),
    ("summary", "what a device measured in an hour", include_str!("../../schema/summary.json")),
    ("disposition", "what became of a case, to the gateway", include_str!("../../schema/disposition.json")),
    (
        "disposition-reply",
        "what the gateway did with that",
        include_str!("../../schema/disposition-reply.json"),
    ),
    ("request-status", "asks how a gateway is", include_str!("../../schema/request-status.json")),
    (
        "request-readings",
        "asks for readings that were kept",
        include_str!("../../schema/request-readings.json"),
    ),
    (
        "request-summaries",
        "asks for minutes that were kept",
        include_str!("../../schema/request-summaries.json"),
    ),
    ("request-seconds", "asks for a device's own seconds", include_str!("../../schema/request-seconds.json")),
    ("request-calibrate", "has a meter calibrated", include_str!("../../schema/request-calibrate.json")),
    ("reply-status", "how a gateway is", include_str!("../../schema/reply-status.json")),
    ("reply-readings", "readings that were kept", include_str!("../../schema/reply-readings.json")),
    ("reply-summaries", "minutes that were kept", include_str!("../../schema/reply-summaries.json")),
    ("reply-seconds", "a device's own seconds", include_str!("../../schema/reply-seconds.json")),
    (
        "reply-calibrate",
        "whether the meter's device was told",
        include_str!("../../schema/reply-calibrate.json"),
    ),
    ("reply-unknown", "the answer to any other request", include_str!("../../schema/reply-unknown.json")),
    ("pack", "the pack that a gateway is to run", include_str!("../../schema/pack.json")),
    (
        "asyncapi",
        "every topic (AsyncAPI 3); refers to the others",
        include_str!("../../schema/asyncapi.json"),
    ),
];

/// Arguments of `gridpost schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which; without it, they are listed
    #[arg(value_name = "NAME", conflicts_with = "all")]
    name: Option<String>,
    /// Write all of them into this folder, as NAME.json
    #[arg(long, value_name = "FOLDER")]
    all: Option<PathBuf>,
}

/// Prints or writes schemas.
///
/// # Errors
/// When there is none of that name, or they cannot be written.
pub fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.all {
        let failed = |error: std::io::Error| Failure::running(format!("{}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, _, text) in SCHEMAS {
            fs::write(folder.join(format!("{name}.json")), text).map_err(failed)?;
        }
        return Ok(());
    }
    let Some(wanted) = &args.name else {
        let mut list = String::new();
        for (name, what, _) in SCHEMAS {
            let _ = writeln!(list, "{name:<18} {what}");
        }
        return print::all(&list);
    };
    match SCHEMAS.iter().find(|(name, ..)| name == wanted) {
        Some((_, _, text)) => print::all(text),
        None => {
            let names: Vec<_> = SCHEMAS.iter().map(|(name, ..)| *name).collect();
            Err(Failure::usage(format!("there is no schema {wanted:?}; there are {}", names.join(", "))))
        }
    }
}
