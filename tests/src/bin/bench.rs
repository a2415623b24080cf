//! Measures the chain beside its bare parts: `cargo run --release -p gridpost-tests --bin bench`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use gridpost_tests::bench::run;

/// How fast the chain is, beside SQLite alone and rumqttc alone, in one run.
#[derive(Parser)]
struct Arguments {
    /// Records that are sent in.
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Events that are published.
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// A folder on the disk that is to be measured
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { records, events, folder } = Arguments::parse();
    let folder = tempfile::tempdir_in(folder).context("no folder to measure in")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(run(folder.path(), records, events))? {
        Some(report) => println!("{report}"),
        None => println!("Mosquitto is lacking: nothing was measured"),
    }
    Ok(())
}
