//! `gridpost pack build`: a folder becomes one file.

use std::path::PathBuf;

use clap::Args;
use gridpost_protocol::pack::FILES;

use super::super::exit::Failure;
use super::super::print;
use super::super::save::{not_over, save, wrote};
use crate::pack::source;

/// Arguments of `gridpost pack build`.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The pack's folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Where to write the pack
    #[arg(short, long, value_name = "FILE", default_value = "district.pack")]
    output: PathBuf,
    /// A folder with an upper level's catalogue.csv, whose codes and matters are added to those that pack.toml names in `overlays`; may be
    /// repeated
    #[arg(long, value_name = "FOLDER")]
    overlay: Vec<PathBuf>,
}

pub(super) fn build(args: &BuildArgs) -> Result<(), Failure> {
    if args.output.is_dir() {
        let message = format!("{} is a folder; name a file, such as district.pack", args.output.display());
        return Err(Failure::usage(message));
    }
    for folder in args.overlay.iter().chain([&args.folder]) {
        let own = FILES.map(|name| folder.join(name));
        not_over(&args.output, &own.each_ref().map(PathBuf::as_path))?;
    }
    let mut loaded = source::load(&args.folder).map_err(|error| Failure::configuration(&error))?;
    for folder in &args.overlay {
        loaded.overlay(&args.folder, folder).map_err(|error| Failure::configuration(&error))?;
    }
    for (folder, added) in &loaded.overlaid {
        print::aside(&format!(
            "{}: {} rows and {} fields added to the district's list",
            folder.display(),
            added.rows,
            added.fields
        ));
    }
    let bytes = loaded.files.to_bytes().map_err(|error| Failure::configuration(&error))?;
    save(&args.output, &bytes)?;
    for note in loaded.pack.notes() {
        print::aside(&format!("note: {note}"));
    }
    let pack = &loaded.pack;
    wrote(
        &args.output,
        &format!(
            ": {} version {}, content {}, {} bytes",
            pack.name,
            pack.version,
            pack.digest().short(),
            bytes.len()
        ),
    )
}
