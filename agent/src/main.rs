//! The `gridpost` command.

use std::process::ExitCode;

use clap::Parser as _;
use gridpost_agent::cli::{Cli, print};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::aside(&format!("gridpost: {failure}"));
            ExitCode::from(failure.code)
        }
    }
}
