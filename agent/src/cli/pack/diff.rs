//! `gridpost pack diff`: what changes for whom.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::exit::Failure;
use super::super::print;
use crate::pack::diff;
use crate::pack::source;

/// Arguments of `gridpost pack diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The pack that runs: a folder, or a file
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The pack that is to run
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// As what to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let load = |path| source::load(path).map_err(|error| Failure::configuration(&error));
    let difference = diff::diff(&load(&args.old)?.pack, &load(&args.new)?.pack);
    match args.format {
        Format::Text => print::all(&difference.text()),
        Format::Json => {
            let text = serde_json::to_string_pretty(&difference)
                .map_err(|error| Failure::running(error.to_string()))?;
            print::all(&(text + "\n"))
        }
    }
}
