//! Runs the simulation of the whole chain over many seeds.
//!
//! `cargo run --release -p gridpost-tests --bin sim -- --seeds 0..100000`

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gridpost_tests::sim::{Plan, Sabotage, Summary, run};

/// The whole chain in one process, killed in every way; a failing seed replays exactly.
#[derive(Parser)]
struct Arguments {
    /// Seeds, as FROM..TO.
    #[arg(long, default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// One seed, with its last steps printed in any case.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// For how many steps things go wrong.
    #[arg(long, default_value_t = 2_000)]
    steps: u32,
    /// Break something on purpose.
    #[arg(long, value_parser = sabotage)]
    sabotage: Option<Sabotage>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as FROM..TO")?;
    let number = |text: &str| text.parse().map_err(|_| format!("'{text}' is not a number"));
    Ok(number(from)?..number(to)?)
}

fn sabotage(text: &str) -> Result<Sabotage, String> {
    let names: Vec<_> = Sabotage::ALL.iter().map(|(name, _)| *name).collect();
    let found = Sabotage::ALL.iter().find(|(name, _)| *name == text).map(|(_, sabotage)| *sabotage);
    found.ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn main() -> ExitCode {
    let Arguments { seeds, seed, steps, sabotage } = Arguments::parse();
    let seeds = seed.map_or(seeds, |seed| seed..seed + 1);
    let (begun, mut sum, mut runs, mut failures) = (Instant::now(), Summary::default(), 0u64, 0u64);
    for seed in seeds {
        match run(Plan { seed, steps, sabotage }) {
            Ok(summary) => sum += summary,
            Err(failure) => {
                failures += 1;
                println!("{failure}\n  again: sim --seed {seed} --steps {steps}\n");
            }
        }
        runs += 1;
    }
    println!("runs             {runs} in {:.0?}", begun.elapsed());
    println!("failed           {failures}");
    println!("records          {}, {} minutes in spools", sum.records, sum.minutes);
    println!("given up         {} (by full flashes, all reported)", sum.given_up);
    println!("events           {}, {} messages repeated with the same id", sum.events, sum.repeated);
    println!("silences         {} told, {} hours of devices", sum.silences, sum.hours);
    println!("forgotten        {} (by brokers that came back without sessions)", sum.forgotten);
    println!("torn commits     {}", sum.torn);
    println!("packs changed    {}", sum.packs);
    println!("forged frames    {}", sum.forged);
    println!("power cuts       {}", sum.power_cuts);
    println!("gateway killed   {}", sum.kills);
    println!("broker cut off   {}", sum.broker_cuts);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
