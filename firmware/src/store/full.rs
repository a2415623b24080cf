//! A store that is full: what goes, what stays, and the power going meanwhile.

use std::collections::BTreeMap;
use std::vec::Vec;

use embassy_futures::block_on;
use gridpost_protocol::engine::RuleState;
use gridpost_protocol::event::Phase;
use gridpost_protocol::id::Seq;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::{Milli, Quality, Reading};
use gridpost_protocol::record::{Record, Report};
use gridpost_protocol::rule::{Direction, Statistic};
use gridpost_protocol::told::ToldEpisode;

use super::tests::{TestStore, flash, open, stored};
use super::{Store, StoreError, Worth, parts};
use crate::testing::flash::RamFlash;

/// The first number that a node gives.
const FIRST: u64 = 100;

fn episode(phase: Phase, number: u64) -> Vec<u8> {
    stored(&Record::Episode(ToldEpisode {
        rule: "night-works",
        share: 1,
        quantity: Quantity::LAeq,
        statistic: Statistic::EnergyMean,
        window_ms: 300_000,
        direction: Direction::Above,
        phase,
        cause: None,
        onset: Seq(number),
        revision: 0,
        severity: 0,
        value: Milli(71_400),
        limit: Milli(55_000),
        peak: Milli(75_000),
        began_before_ms: 0,
        window_before_ms: 0,
        capture_percent: 100,
        features: heapless::Vec::new(),
        profile: None,
    }))
}

/// The record of this number, and what it is worth: of twenty one is an episode's, one an early warning, one a report.
fn record(seq: Seq) -> (Worth, Vec<u8>) {
    match seq.0 % 20 {
        3 => (Worth::Warning, episode(Phase::EarlyWarning, seq.0)),
        4 => (Worth::Lasting, episode(Phase::Exceeded, seq.0)),
        17 => {
            let note = std::format!("{:60}", seq.0);
            let report =
                Report { matter: "0401001", position: None, note: &note, attachments: heapless::Vec::new() };
            (Worth::Lasting, stored(&Record::Report(report)))
        }
        _ => {
            let value = Milli(seq.0 as i32);
            let reading = Reading { quantity: Quantity::LAeq, value, quality: Quality::GOOD };
            (Worth::Passing, stored(&Record::Reading(reading)))
        }
    }
}

/// What is there, by worth, each record whole and its own, in the order of their numbers and each once.
fn contents(store: &mut TestStore) -> BTreeMap<Worth, Vec<u64>> {
    let mut all: BTreeMap<Worth, Vec<u64>> = BTreeMap::new();
    let mut last = Seq::NONE;
    block_on(store.read_from(Seq(0), |seq, bytes| {
        let (worth, expected) = record(seq);
        assert!(seq > last, "{seq} after {last}");
        assert_eq!((worth, bytes), (Worth::of(bytes), &expected[..]));
        all.entry(worth).or_default().push(seq.0);
        last = seq;
        true
    }))
    .unwrap();
    all
}

/// Appends; the newest record that is certainly there.
fn append(store: &mut TestStore, count: u64) -> (Seq, bool) {
    let mut newest = Seq(store.next_seq().0 - 1);
    for _ in 0..count {
        match block_on(store.append(&record(store.next_seq()).1)) {
            Ok(seq) => newest = seq,
            Err(_) => return (newest, false),
        }
    }
    (newest, true)
}

/// Of each worth there is what was appended last, and nothing that is worth less is there from before what is gone.
fn assert_by_severity_and_age(all: &BTreeMap<Worth, Vec<u64>>, newest: u64, left_out: Option<u64>) {
    let mut gone_before = FIRST;
    for worth in [Worth::Lasting, Worth::Warning, Worth::Passing] {
        let there: Vec<u64> =
            all.get(&worth).into_iter().flatten().copied().filter(|seq| *seq <= newest).collect();
        let oldest = there.first().copied().unwrap_or(newest + 1);
        let of_this = |seq: &u64| record(Seq(*seq)).0 == worth && left_out != Some(*seq);
        let expected: Vec<u64> = (oldest..=newest).filter(of_this).collect();
        assert_eq!(there, expected, "{worth:?}: from the oldest that is there on all are");
        assert!(oldest >= gone_before, "{worth:?} of before {gone_before}: {there:?}");
        gone_before = (FIRST..oldest).rev().find(of_this).map_or(gone_before, |gone| gone.max(gone_before));
    }
}

#[test]
fn what_is_least_severe_goes_first_and_of_that_the_oldest() {
    let mut store = open(flash());
    let first = store.next_seq().0;
    let mut lost_before = 0;
    for step in 0..45 {
        append(&mut store, 45);
        let newest = store.next_seq().0 - 1;
        let all = contents(&mut store);
        assert_by_severity_and_age(&all, newest, None);
        let there: usize = all.values().map(Vec::len).sum();
        // Counted exactly.
        assert_eq!(store.evicted(), newest + 1 - first - there as u64, "step {step}");
        assert!(store.evicted() >= lost_before);
        lost_before = store.evicted();
        assert_eq!(store.oldest_seq().0, *all.values().filter_map(|seqs| seqs.first()).min().unwrap());
    }
    let all = contents(&mut store);
    let oldest = |worth| all[&worth][0];
    // All three were full, and each has a past of its own.
    assert!(oldest(Worth::Lasting) > first, "{all:?}");
    assert!(oldest(Worth::Lasting) + 100 < oldest(Worth::Warning), "{all:?}");
    assert!(oldest(Worth::Warning) + 100 < oldest(Worth::Passing), "{all:?}");
    let evicted = store.evicted();
    let mut store = open(store.close());
    assert_eq!((contents(&mut store), store.evicted()), (all, evicted), "over a restart too");
}

#[test]
fn while_what_passes_can_go_nothing_else_does() {
    let mut store = open(flash());
    let first = store.next_seq();
    block_on(store.append(&episode(Phase::EarlyWarning, 1))).unwrap();
    block_on(store.append(&episode(Phase::Exceeded, 2))).unwrap();
    let passing = |n: i32| {
        let reading = Reading { quantity: Quantity::LAeq, value: Milli(n), quality: Quality::GOOD };
        stored(&Record::Reading(reading))
    };
    for n in 0..2_000 {
        block_on(store.append(&passing(n))).unwrap();
    }
    let mut oldest = Vec::new();
    block_on(store.read_from(Seq(0), |seq, _| {
        oldest.push(seq.0 - first.0);
        oldest.len() < 3
    }))
    .unwrap();
    assert_eq!(oldest[..2], [0, 1], "after days of readings");
    assert!(oldest[2] > 1_500);
    // What is acknowledged of them goes, and no number is given twice.
    block_on(store.release(first.next())).unwrap();
    assert_eq!(store.oldest_seq().0 - first.0, oldest[2]);
    assert_eq!(store.unacknowledged_seq().0 - first.0, 2, "what lies between nobody was told of");
    let store = open(store.close());
    assert_eq!((store.oldest_seq().0 - first.0, store.unacknowledged_seq().0 - first.0), (oldest[2], 2));
}

/// Opens on a borrowed flash, so that what was done before the power went stays; whether it opened.
fn opens(flash: &mut RamFlash) -> bool {
    let opened: Result<Store<&mut RamFlash>, StoreError<_>> = block_on(Store::open(flash));
    opened.is_ok()
}

#[test]
fn the_power_may_go_at_every_write_of_an_eviction() {
    // So full that all three queues give way within the next records.
    const STORY: u64 = 24;
    let mut full = open(flash());
    append(&mut full, 1_500);
    let mut full_flash = full.close();
    let story = loop {
        let mut store = open(full_flash.clone());
        let oldest = |store: &mut TestStore| {
            let all = contents(store);
            [Worth::Passing, Worth::Warning, Worth::Lasting].map(|worth| all[&worth][0])
        };
        let (was, before) = (oldest(&mut store), store.flash_mut().operations);
        assert!(append(&mut store, STORY).1);
        if oldest(&mut store).iter().zip(was).all(|(is, was)| *is > was) {
            break store.flash_mut().operations - before;
        }
        full_flash = store.close();
    };
    let mut left_out_numbers = 0;
    for cut in 0..story {
        let mut store = open(full_flash.clone());
        store.flash_mut().cut_after(cut);
        let (newest, _) = append(&mut store, STORY);
        let mut flash = store.close();
        flash.power_on();
        if cut % 8 == 0 {
            // It goes again in the middle of the start after that.
            flash.cut_after(cut / 8 % 40);
            let _ = opens(&mut flash);
            flash.power_on();
        }
        let mut store = open(flash);
        assert!(!store.lost_queue() && store.next_seq() > newest, "cut {cut}");
        // The power went in the last word of a record: its number is not given again.
        let before = contents(&mut store);
        let cut_off = newest.0 + 1;
        let is_there = before.values().flatten().any(|seq| *seq == cut_off);
        let left_out = (!is_there && store.next_seq().0 > cut_off).then_some(cut_off);
        left_out_numbers += u32::from(left_out.is_some());
        assert_by_severity_and_age(&before, newest.0, left_out);
        // It lives on, is emptied by its gateway, and has nothing twice.
        let (newest, whole) = append(&mut store, 10);
        assert!(whole);
        if cut % 16 == 0 {
            let all = contents(&mut store);
            assert_by_severity_and_age(&all, newest.0, left_out);
            let half = all[&Worth::Lasting][5];
            block_on(store.release(Seq(half))).unwrap();
            assert!(contents(&mut store).values().flatten().all(|seq| *seq > half), "cut {cut}");
        }
        if cut % 8 == 0 {
            block_on(store.release(newest)).unwrap();
            assert_eq!(store.oldest_seq(), store.next_seq(), "cut {cut}");
        }
    }
    assert!(u64::from(left_out_numbers) <= STORY, "once a record at most: {left_out_numbers}");
}

#[test]
fn a_rules_message_that_makes_room_is_remembered_with_its_number() {
    let mut store = open(flash());
    append(&mut store, 1_500);
    let mut told = 0;
    for n in 0..60_u64 {
        let before = store.next_seq();
        let record = episode(Phase::Exceeded, n);
        let seq = block_on(store.append_remembering(0, &RuleState::default(), &record)).unwrap();
        assert_eq!(seq, before);
        told += 1;
    }
    let mut there = 0;
    block_on(store.read_from(Seq(0), |_, bytes| {
        there += i32::from(Worth::of(bytes) == Worth::Lasting);
        true
    }))
    .unwrap();
    assert!(there >= told);
}

#[test]
fn a_kept_queue_that_is_damaged_is_begun_anew_and_the_rest_is_there() {
    let mut store = open(flash());
    append(&mut store, 1_200);
    let passing = contents(&mut store)[&Worth::Passing].clone();
    let next = store.next_seq();
    let mut flash = store.close();
    // The third queue are the last two sectors.
    let sector = crate::testing::flash::SECTOR_BYTES;
    let end = embedded_storage_async::nor_flash::ReadNorFlash::capacity(&flash);
    let noise: Vec<u8> = (0..2 * sector).map(|n| (n * 31 % 251) as u8 & 0x5a).collect();
    flash.program(end - 2 * sector, &noise);
    let mut store = open(flash);
    assert_eq!(store.next_seq(), next);
    let all = contents(&mut store);
    assert_eq!(all[&Worth::Passing], passing);
    assert!(append(&mut store, 1_200).1, "it goes on");
    assert_by_severity_and_age(&contents(&mut store), store.next_seq().0 - 1, None);
}

#[test]
fn the_parts_are_all_of_the_region() {
    for sectors in [6, 7, 32, 128, 507, 900] {
        let all = parts(sectors);
        assert_eq!(all.iter().sum::<usize>(), sectors);
        assert!(all.iter().all(|part| *part >= 2), "{sectors}: {all:?}");
    }
}
