//! `gridpost pack check`: the responsibility review.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gridpost_protocol::pack::{FILES, PackError, PackErrors};
use serde_json::json;

use super::super::exit::Failure;
use super::super::print;
use super::super::save::{not_over, save, wrote};
use crate::pack::review::{self, html, text};
use crate::pack::source::{self, SourceError};

/// Arguments of `gridpost pack check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The pack: a folder, or a file
    #[arg(value_name = "PACK", default_value = "pack")]
    pack: PathBuf,
    /// As what to write the review; html is one file to be read, printed and signed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name every matter in the text, not only those that rules raise
    #[arg(long)]
    all: bool,
    /// End with exit code 3 when there are gaps, too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Html,
}

pub(super) fn check(args: &CheckArgs) -> Result<(), Failure> {
    if let Some(output) = &args.output {
        let own = FILES.map(|name| args.pack.join(name));
        not_over(output, &own.each_ref().map(PathBuf::as_path))?;
        not_over(output, &[&args.pack])?;
    }
    let loaded = match source::load(&args.pack) {
        Ok(loaded) => loaded,
        Err(error) => {
            if let Some(errors) = errors_of(&error) {
                match args.format {
                    Format::Text => {}
                    Format::Json => put(args, &json_of(&errors_as_json(errors))?)?,
                    Format::Html => put(args, &html::errors(errors.shown(), errors.count()))?,
                }
            }
            return Err(Failure::configuration(&error));
        }
    };
    let review = review::review(&loaded.pack);
    let written = match args.format {
        Format::Text => text::text(&review, args.all),
        Format::Json => json_of(&review)?,
        Format::Html => html::html(&review),
    };
    put(args, &written)?;
    if args.strict && review.gaps > 0 {
        let message =
            format!("{}: gaps are open ({}), and --strict allows none", args.pack.display(), review.gaps);
        return Err(Failure::unusable(message));
    }
    Ok(())
}

fn put(args: &CheckArgs, written: &str) -> Result<(), Failure> {
    match &args.output {
        None => print::all(written),
        Some(file) => {
            save(file, written.as_bytes())?;
            wrote(file, "")
        }
    }
}

fn errors_of(error: &SourceError) -> Option<&PackErrors> {
    match error {
        SourceError::Folder(errors) | SourceError::Overlaid { errors, .. } => Some(errors),
        SourceError::File { error, .. } => error.pack_errors(),
        SourceError::Unreadable { .. } | SourceError::Overlay { .. } => None,
    }
}

fn errors_as_json(errors: &PackErrors) -> serde_json::Value {
    let each = |error: &PackError| {
        json!({
            "file": error.file, "line": error.line, "column": error.column, "field": error.field,
            "what": error.what, "way_out": error.way_out,
        })
    };
    json!({ "errors": errors.shown().iter().map(each).collect::<Vec<_>>(), "count": errors.count() })
}

fn json_of(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::running(error.to_string()))?;
    Ok(text + "\n")
}
