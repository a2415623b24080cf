//! Real faults on the real programs, as often as one likes.
//!
//! `cargo run --release -p gridpost-tests --bin faults -- --rounds 100`

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use gridpost_protocol::id::DeviceId;
use gridpost_tests::faults::street::{self, StreetPlan};
use gridpost_tests::faults::{Campaign, Kind};

/// Kills, freezes, cuts off and fills up the real parts under load, and counts what is lost.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How often something goes wrong, of each kind.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Only this kind.
    #[arg(long, value_name = "KIND")]
    only: Option<Kind>,
    /// The moments within a round follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long, in seconds, what is frozen stays so at the least.
    #[arg(long, default_value_t = 0)]
    freeze: u64,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// A process of nodes, as the campaign starts them.
    #[command(hide = true)]
    Street {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        gateway: SocketAddr,
        #[arg(long, value_delimiter = ',')]
        devices: Vec<DeviceId>,
        #[arg(long)]
        rate: u32,
        #[arg(long)]
        synced: bool,
    },
}

fn main() -> Result<ExitCode> {
    let Arguments { rounds, only, seed, freeze, part } = Arguments::parse();
    if let Some(Part::Street { folder, gateway, devices, rate, synced }) = part {
        street::live(&StreetPlan { folder, gateway, devices, rate, synced })?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = env::current_exe()?;
    let mut well = true;
    for (name, kind) in Kind::ALL {
        if only.is_some_and(|only| only != kind) {
            continue;
        }
        let begun = Instant::now();
        let campaign = Campaign { program: program.clone(), kind, rounds, seed, freeze_s: freeze };
        match campaign.run() {
            Ok(Some(tally)) => {
                well &= tally.lost == 0;
                println!("{name:<12} {tally}  in {:.0?}", begun.elapsed());
            }
            Ok(None) => println!("{name:<12} left out"),
            Err(error) => {
                well = false;
                println!("{name:<12} FAILED: {error:#}");
            }
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
