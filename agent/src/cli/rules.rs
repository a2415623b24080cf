//! `gridpost rules`: what rule authors need, one file a subcommand.

mod report;
mod test;

use clap::{Args, Subcommand};

use super::exit::Failure;

/// Arguments of `gridpost rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Run a file of cases: readings in, expected events out
    Test(test::TestArgs),
    /// What became of each rule's cases: closed, rejected, reclassified; read from the spool, also while the gateway runs
    Report(report::ReportArgs),
}

/// Runs a subcommand of `gridpost rules`.
///
/// # Errors
/// What cannot be read, or does not go as expected.
pub fn rules(args: &RulesArgs) -> Result<(), Failure> {
    match &args.command {
        RulesCommand::Test(args) => test::test(args),
        RulesCommand::Report(args) => report::report(args),
    }
}
