//! `gridpost pack show`: what is in a pack.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use sha2::{Digest, Sha256};

use super::super::exit::Failure;
use super::super::print;
use crate::pack::source::{self, Loaded};

/// Arguments of `gridpost pack show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The pack: a file, or a folder
    #[arg(value_name = "FILE")]
    pack: PathBuf,
    /// Print one of its files instead, such as rules.toml
    #[arg(long, value_name = "NAME")]
    print: Option<String>,
}

pub(super) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let loaded = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?;
    if let Some(name) = &args.print {
        let text = loaded.files.get(name).ok_or_else(|| {
            let names: Vec<_> = loaded.files.iter().map(|(name, _)| name).collect();
            Failure::usage(format!("there is no file {name:?} in a pack; use one of {}", names.join(", ")))
        })?;
        return print::all(text);
    }
    print::all(&described(&loaded))
}

fn described(loaded: &Loaded) -> String {
    let pack = &loaded.pack;
    let mut text = String::new();
    let _ = writeln!(text, "name         {}", print::without_controls(&pack.name));
    let _ = writeln!(text, "version      {}", pack.version);
    let _ = writeln!(text, "division     {}", pack.division);
    let _ = writeln!(text, "content      {}", pack.digest());
    if pack.is_sample {
        let _ = writeln!(text, "             A SAMPLE: not for use in a district");
    }
    if let Some(bytes) = &loaded.bytes {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "file         format 1, {} bytes, SHA-256 {digest}", bytes.len());
    }
    let _ = writeln!(text, "departments  {}", pack.departments().len());
    let _ = writeln!(text, "matters      {} in {} groups", pack.matters().len(), pack.groups().len());
    let _ = writeln!(text, "rules        {}", pack.rules().len());
    let _ = writeln!(text, "sites        {}", pack.sites().len());
    let _ = writeln!(text, "devices      {}", pack.devices().len());
    for (name, content) in loaded.files.iter() {
        let _ = writeln!(text, "{name:<16} {:>9} bytes", content.len());
    }
    for note in pack.notes() {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
