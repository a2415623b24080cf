//! Measures the chain beside its bare parts: `cargo run --release -p gridpost-tests --bin bench`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use gridpost_tests::bench::{backlog, run};

/// How fast the chain is, beside SQLite alone and rumqttc alone, in one run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Records that are sent in.
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Events that are published.
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// A folder on the disk that is to be measured
    #[arg(long, default_value = ".", global = true)]
    folder: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// The `gridpost` program with a spool full of events and many devices: start, memory, drain, fresh events meanwhile.
    /// Build it first: cargo build --release -p gridpost-agent
    Backlog {
        /// Events in the spool: 2.1 GB a million.
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Devices that are connected and send a reading each second.
        #[arg(long, default_value_t = 2_000)]
        devices: u64,
        /// Events of the backlog that go in one publish at most.
        #[arg(long, default_value_t = 1)]
        batch: u16,
        /// The program; that beside this one, if not said.
        #[arg(long)]
        program: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    let Arguments { what, records, events, folder } = Arguments::parse();
    let folder = tempfile::tempdir_in(folder).context("no folder to measure in")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = match what {
        None => runtime.block_on(run(folder.path(), records, events))?.map(|report| report.to_string()),
        Some(What::Backlog { events, devices, batch, program }) => {
            let program = match program {
                Some(program) => program.canonicalize().context("the program")?,
                None => std::env::current_exe()?.with_file_name("gridpost"),
            };
            let size = backlog::Size { events, devices, batch, program };
            runtime.block_on(backlog::run(folder.path(), size))?.map(|report| report.to_string())
        }
    };
    println!("{}", report.as_deref().unwrap_or("Mosquitto is lacking: nothing was measured"));
    Ok(())
}
