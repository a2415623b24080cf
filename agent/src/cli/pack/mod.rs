//! `gridpost pack`: a district's pack as one file.

mod build;
mod show;

use clap::{Args, Subcommand};

use super::exit::Failure;

/// Arguments of `gridpost pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    #[command(subcommand)]
    command: PackCommand,
}

#[derive(Debug, Subcommand)]
enum PackCommand {
    /// Make one file of a pack's folder; the same folder gives the same bytes
    Build(build::BuildArgs),
    /// Say what is in a pack
    Show(show::ShowArgs),
}

/// Runs a subcommand of `gridpost pack`.
///
/// # Errors
/// What is wrong with the pack, or cannot be read or written.
pub fn pack(args: PackArgs) -> Result<(), Failure> {
    match args.command {
        PackCommand::Build(args) => build::build(&args),
        PackCommand::Show(args) => show::show(&args),
    }
}
