//! How fast it is: `cargo test --release -p gridpost-tests --test gateway -- --ignored --nocapture uplink::rates`.

use std::time::Instant;

use anyhow::Result;
use gridpost_agent::spool::Spool;
use gridpost_tests::mosquitto::{Mosquitto, MosquittoOptions};
use tempfile::TempDir;

use super::gateway::{event, start};

const EVENTS: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and proves nothing"]
async fn rate_of_publishing_a_backlog() -> Result<()> {
    for protocol in ["5", "3.1.1"] {
        for inflight in [20, 100, 1000] {
            // What the broker lets a client of MQTT 5 have under way.
            let extra = format!("max_inflight_messages {inflight}");
            let options = MosquittoOptions { extra, ..MosquittoOptions::default() };
            let Some(broker) = Mosquitto::start(&options)? else { return Ok(()) };
            let folder = TempDir::with_prefix("gridpost-uplink-")?;
            let mut spool = Spool::open(&folder.path().join("spool.db"))?;
            spool.commit(|t| (0..EVENTS).try_for_each(|n| t.add_event(&event(n)).map(drop)))?;
            let newest = spool.newest_event()?;
            drop(spool);
            let config =
                format!("brokers = ['{}']\nprotocol = '{protocol}'\ninflight = {inflight}\n", broker.url());
            let began = Instant::now();
            let mut gateway = start(folder.path(), &config)?;
            gateway.wait_released(newest).await?;
            let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
            println!("MQTT {protocol}, {inflight} under way: {rate:.0} events/s out of the spool");
            gateway.stop().await?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "measures, and proves nothing"]
fn rate_of_committing() -> Result<()> {
    for group in [1, 10, 100, 1000] {
        let folder = TempDir::with_prefix("gridpost-uplink-")?;
        let mut spool = Spool::open(&folder.path().join("spool.db"))?;
        let count = EVENTS.min(group * 3_000);
        let events: Vec<_> = (0..count).map(event).collect();
        let began = Instant::now();
        for some in events.chunks(group) {
            spool.commit(|t| some.iter().try_for_each(|event| t.add_event(event).map(drop)))?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let (commits, rate) = ((count / group) as f64 / seconds, count as f64 / seconds);
        println!("groups of {group}: {commits:.0} commits/s, {rate:.0} events/s");
    }
    Ok(())
}

#[test]
#[ignore = "measures, and proves nothing"]
fn rate_of_opening() -> Result<()> {
    let folder = TempDir::with_prefix("gridpost-uplink-")?;
    let file = folder.path().join("spool.db");
    let mut spool = Spool::open(&file)?;
    for some in 0..6 {
        spool.commit(|t| (0..EVENTS).try_for_each(|n| t.add_event(&event(some * EVENTS + n)).map(drop)))?;
    }
    drop(spool);
    let megabytes = std::fs::metadata(&file)?.len() / 1_000_000;
    let began = Instant::now();
    let spool = Spool::open(&file)?;
    println!("{megabytes} MB with {} events opened in {:?}", spool.totals().events, began.elapsed());
    Ok(())
}
