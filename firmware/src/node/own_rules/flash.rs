//! Episodes and the power: nothing that was decided is lost or said twice with another meaning, wherever it went.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;

/// A day in the life of a node: heat that comes and goes. False when the power went.
fn live(node: &BenchNode, from: u64, seconds: u64) -> bool {
    (from..from + seconds).all(|second| {
        let hot = second / 8 % 2 == 1;
        observe(node, second, &degrees(if hot { 38_000 } else { 20_000 }))
    })
}

/// The same node on another flash that has the same content: the store of a node is moved, and what failed with it is lost.
fn restart(node: BenchNode, ring: u32) -> BenchNode {
    let mut flash = node.store.into_inner().close();
    flash.power_on();
    node_on(flash, ring).unwrap()
}

#[test]
fn the_power_may_go_at_every_write_of_an_episode() {
    const RING: u32 = 2;
    const SECONDS: u64 = 60;
    let start = |cut: Option<u64>| {
        let mut bench = Bench::new(&[("heat", Rule { clear_ms: 2_000, ..heat() })]);
        let node = node_on(blank_flash(6, RING), RING).unwrap();
        bench.talk(&node, 0);
        let before = node.store.try_lock().unwrap().flash_mut().operations;
        if let Some(cut) = cut {
            node.store.try_lock().unwrap().flash_mut().cut_after(cut);
        }
        let whole = live(&node, 1, SECONDS);
        let spent = node.store.try_lock().unwrap().flash_mut().operations - before;
        (bench, node, whole, spent)
    };
    let (mut bench, node, whole, story) = start(None);
    assert!(whole);
    bench.talk(&node, SECONDS * 1000 + 1000);
    assert!(bench.phases().len() >= 7, "{:?}", bench.phases());

    for cut in 0..story {
        let (mut bench, node, whole, _) = start(Some(cut));
        // The very last write may have got as far as it mattered.
        assert!(!whole || cut + 1 == story, "cut {cut} of {story}");
        let node = restart(node, RING);
        bench.talk(&node, 500);
        // Long enough for whatever was open to be cleared.
        assert!(live(&node, 1, 40));
        bench.talk(&node, 41_000);
        let mut episodes: BTreeMap<Seq, Vec<(u16, Phase)>> = BTreeMap::new();
        for (onset, revision, phase) in bench.phases() {
            episodes.entry(onset).or_default().push((revision, phase));
        }
        assert!(episodes.len() >= 2, "cut {cut}: {episodes:?}");
        let newest = *episodes.last_key_value().unwrap().0;
        for (onset, told) in &episodes {
            // Each message once, in order, none missing; every episode but the newest has its end.
            assert_eq!(told[0], (0, Phase::Exceeded), "cut {cut}: {episodes:?}");
            assert!(
                told.iter().enumerate().all(|(n, (revision, _))| n == usize::from(*revision)),
                "cut {cut}: {episodes:?}"
            );
            assert!(*onset == newest || told.last().unwrap().1 == Phase::Cleared, "cut {cut}: {episodes:?}");
        }
        let seqs: Vec<_> = bench.kept.iter().map(|kept| kept.seq).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b), "cut {cut}");
    }
}

#[test]
fn a_write_that_fails_costs_no_reading_that_came_with_it() {
    const SECONDS: u64 = 200;
    // Minutes as they are told, and the seconds in which something was written. One of these seconds may fail.
    let run = |fails: Option<u64>| {
        let mut bench = Bench::new(&[("heat", heat())]);
        let node = node_on(blank_flash(6, 2), 2).unwrap();
        bench.talk(&node, 0);
        let operations = || node.store.try_lock().unwrap().flash_mut().operations;
        let mut wrote = Vec::new();
        for second in 1..=SECONDS {
            let before = operations();
            if fails == Some(second) {
                node.store.try_lock().unwrap().flash_mut().cut_after(0);
            }
            assert_eq!(observe(&node, second, &degrees(20_000)), fails != Some(second));
            node.store.try_lock().unwrap().flash_mut().power_on();
            if operations() > before {
                wrote.push(second);
            }
        }
        bench.talk(&node, SECONDS * 1000 + 1000);
        let mut minutes = Vec::new();
        for kept in &bench.kept {
            if let Record::Summary(summary) = kept.record() {
                minutes.push(summary.values[0].count);
            }
        }
        (minutes, wrote)
    };
    let (minutes, wrote) = run(None);
    assert!(minutes.len() >= 3 && wrote.len() >= 3, "{minutes:?} {wrote:?}");
    let (left, _) = run(Some(wrote[1]));
    assert_eq!(left, [&minutes[..1], &minutes[2..]].concat());
}

/// What a day of a noise node takes without anything having to move or go, in sectors of 4 KiB: 88 for the queue of everything, and what is
/// kept beside it for what is severe. The boards have no less.
const DAY_SECTORS: usize = 128;

#[test]
fn a_day_without_a_link_fits_into_the_queue() {
    // Three quantities each second, eleven each minute, and an episode with all its messages in each quarter of an hour.
    const QUEUE: usize = DAY_SECTORS;
    let mut bench = Bench::new(&[("noise", noise())]);
    let node = node_on(blank_flash(QUEUE, 2), 2).unwrap();
    bench.talk(&node, 0);
    for second in 1..=24 * 3600_u64 {
        let loud = second % 900 < 120;
        let value =
            if loud { 70_000 + (second % 900) as i32 * 150 } else { 48_000 + (second % 7) as i32 * 300 };
        for (quantity, more) in [(Quantity::LAeq, 0), (Quantity::LAFmax, 3_210), (Quantity::LCpeak, 21_430)] {
            assert!(observe(&node, second, &Reading { quantity, ..level(value + more) }));
        }
        if second % 60 == 0 {
            for quantity in [
                Quantity::L5,
                Quantity::L10,
                Quantity::L50,
                Quantity::L90,
                Quantity::L95,
                Quantity::LevelDeviation,
                Quantity::LCeq,
                Quantity::ImpulseProminence,
                Quantity::Tonality,
                Quantity::Temperature,
                Quantity::Humidity,
            ] {
                assert!(observe(&node, second, &Reading { quantity, ..level(value) }));
            }
        }
    }
    {
        let store = node.store.try_lock().unwrap();
        assert_eq!(store.evicted(), 0, "nothing had to go of {}", store.next_seq());
    }
    bench.talk(&node, 24 * 3_600_000 + 1_000);
    let exceeded = bench.phases().iter().filter(|(.., phase)| *phase == Phase::Exceeded).count();
    assert!(exceeded >= 96, "{exceeded}");
    let bytes: usize = bench.kept.iter().map(|kept| kept.record.len()).sum();
    std::println!("a day: {} records, {} bytes of {}", bench.kept.len(), bytes, QUEUE * 4096);
}
