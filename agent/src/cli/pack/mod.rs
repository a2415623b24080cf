//! `gridpost pack`: a district's pack as one file.

mod build;
mod check;
mod diff;
mod show;
mod sign;

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
    /// Review who answers for what: owners, gaps, doubles; for the person who signs for it
    Check(check::CheckArgs),
    /// Say what changes, and for whom, from one pack to another
    Diff(diff::DiffArgs),
    /// Sign a pack with a minisign key
    Sign(sign::SignArgs),
    /// Say whether a pack is signed by a trusted key
    Verify(sign::VerifyArgs),
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
        PackCommand::Check(args) => check::check(&args),
        PackCommand::Diff(args) => diff::diff(&args),
        PackCommand::Sign(args) => sign::sign(&args),
        PackCommand::Verify(args) => sign::verify(&args),
        PackCommand::Show(args) => show::show(&args),
    }
}
