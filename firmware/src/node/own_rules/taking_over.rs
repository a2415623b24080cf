//! Who decides: from gateway to node, from share to share, over restarts, and back.

use std::vec::Vec;

use gridpost_protocol::event::Cause;
use gridpost_protocol::share::ShareError;

use super::*;
use crate::node::HELD_MAX;

fn stop(node: BenchNode) -> RamFlash {
    node.store.into_inner().close()
}

fn hot_until(node: &BenchNode, seconds: core::ops::RangeInclusive<u64>) {
    for second in seconds {
        assert!(observe(node, second, &degrees(38_000)));
    }
}

#[test]
fn until_it_is_told_a_share_a_node_sends_every_reading() {
    let mut bench = Bench::new(&[("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    hot_until(&node, 1..=10);
    bench.talk(&node, 11_000);
    assert_eq!((bench.readings(), bench.phases().len()), (10, 0));
    hot_until(&node, 12..=20);
    bench.talk(&node, 21_000);
    assert_eq!((bench.readings(), bench.phases().len()), (10, 1));
    assert_eq!(bench.statuses.last().unwrap().running, bench.share.id());
    // In the order in which it happened: readings, "from here on", the episode.
    let kinds: Vec<_> = bench.kept.iter().map(|kept| Stored::parse(&kept.record).unwrap().kind).collect();
    assert_eq!((&kinds[..10], &kinds[10..]), (&[1; 10][..], &[8, 2][..]));
}

#[test]
fn an_episode_goes_on_over_a_restart() {
    let mut bench = Bench::new(&[("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    hot_until(&node, 1..=10);
    // The message is not even sent yet.
    let node = node_on(stop(node), 0).unwrap();
    hot_until(&node, 1..=5);
    bench.talk(&node, 6_000);
    for second in 7..=20 {
        observe(&node, second, &degrees(20_000));
    }
    bench.talk(&node, 21_000);
    let onset = bench.phases()[0].0;
    assert_eq!(bench.phases(), [(onset, 0, Phase::Exceeded), (onset, 1, Phase::Cleared)]);
    assert_eq!(bench.readings(), 0, "held until the time was known");
}

#[test]
fn without_a_gateway_after_a_restart_readings_are_sent_after_all() {
    let mut bench = Bench::new(&[("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    hot_until(&node, 1..=10);
    bench.talk(&node, 11_000);
    let node = node_on(stop(node), 0).unwrap();
    hot_until(&node, 1..=HELD_MAX as u64 + 36);
    bench.talk(&node, 200_000);
    let readings = bench.readings();
    assert_eq!(readings, HELD_MAX + 36, "each of them");
    let values: Vec<_> = bench
        .kept
        .iter()
        .filter_map(|kept| match (kept.record(), kept.stamp) {
            (Record::Reading(_), Stamp::Uptime { at, .. }) => Some(at.0 / 1000),
            _ => None,
        })
        .collect();
    assert_eq!(values, (1..=HELD_MAX as u64 + 36).collect::<Vec<_>>(), "in order, with their own times");
    // And then the node decides again, and the episode of before is still its own.
    for second in 201..=220 {
        observe(&node, second, &degrees(20_000));
    }
    bench.talk(&node, 221_000);
    let phases: Vec<_> = bench.phases().iter().map(|(_, revision, phase)| (*revision, *phase)).collect();
    assert_eq!(phases, [(0, Phase::Exceeded), (1, Phase::Cleared)]);
}

#[test]
fn a_new_share_keeps_what_stays_and_ends_what_goes() {
    let mut bench = Bench::new(&[("noise", noise()), ("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    for second in 1..=60 {
        observe(&node, second, &level(85_000));
        observe(&node, second, &degrees(38_000));
    }
    // Another limit for the heat, and no rule for noise.
    bench.share = share(&[("heat", Rule { limit_day: Milli(36_000), limit_night: Milli(36_000), ..heat() })]);
    for mut frame in bench.share_frames() {
        block_on(node.receive(UptimeMillis(61_000), &mut frame));
    }
    for second in 62..=80 {
        observe(&node, second, &degrees(20_000));
    }
    bench.talk(&node, 81_000);
    let last = |rule: &str| bench.episodes().filter(|(_, told)| told.rule == rule).last().unwrap().1;
    let (noise, heat) = (last("noise"), last("heat"));
    assert_eq!((noise.phase, noise.cause), (Phase::Cleared, Some(Cause::RuleWithdrawn)));
    assert_eq!((heat.phase, heat.cause, heat.revision), (Phase::Cleared, Some(Cause::BelowLimit), 1));
    assert_eq!((heat.limit, heat.share), (Milli(36_000), bench.share.id()));
}

#[test]
fn a_gateway_that_wants_to_decide_itself_gets_readings_and_the_episodes_end() {
    let mut bench = Bench::new(&[("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    hot_until(&node, 1..=10);
    bench.share = Share::new();
    for mut frame in bench.share_frames() {
        block_on(node.receive(UptimeMillis(11_000), &mut frame));
    }
    hot_until(&node, 12..=20);
    bench.talk(&node, 21_000);
    let told = bench.episodes().last().unwrap().1;
    assert_eq!((told.phase, told.cause, told.revision), (Phase::Cleared, Some(Cause::HandedOver), 1));
    assert_eq!(bench.readings(), 9);
    assert_eq!(bench.statuses.last().unwrap().running, NO_SHARE);
    // For good: the next start does not wait for a share.
    let node = node_on(stop(node), 0).unwrap();
    hot_until(&node, 1..=3);
    bench.talk(&node, 4_000);
    assert_eq!(bench.readings(), 12);
}

#[test]
fn what_cannot_be_run_is_refused_and_what_ran_goes_on() {
    let mut bench = Bench::new(&[("heat", heat())]);
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    let runs = bench.share.id();
    let wide: Vec<_> = (0..8).map(|n| ("r", Rule { window_ms: 60_000 + n * 1000, ..noise() })).collect();
    let broken = [("b", Rule { interval_ms: 0, ..heat() })];
    for (rules, why) in [(&wide[..], ShareError::TooManyWindows), (&broken[..], ShareError::Rule(0))] {
        bench.share = share(rules);
        for mut frame in bench.share_frames() {
            block_on(node.receive(UptimeMillis(1_000), &mut frame));
        }
        bench.talk(&node, 1_000);
        let refused = Some((bench.share.id(), why));
        assert_eq!(bench.statuses.last(), Some(&ShareStatus { running: runs, refused }));
    }
    // A rule that is not what the head announced.
    let other = Share::default();
    let head =
        ShareHead { share: other.id().wrapping_add(5), rules: 1, periods: PrecomputedPeriods::default() };
    let mut frame = bench.session.share(&head).unwrap();
    block_on(node.receive(UptimeMillis(2_000), &mut frame));
    let rule = ShareRule { share: head.share, index: 0, name: "heat", rule: heat() };
    let mut frame = bench.session.share_rule(&rule).unwrap();
    block_on(node.receive(UptimeMillis(2_000), &mut frame));
    bench.talk(&node, 2_000);
    assert_eq!(bench.statuses.last().unwrap().refused, Some((head.share, ShareError::Id)));
    hot_until(&node, 3..=5);
    bench.talk(&node, 6_000);
    assert_eq!(bench.phases().len(), 1, "it still decides");
}

#[test]
fn a_share_whose_frames_are_lost_or_doubled_begins_when_all_of_it_is_there() {
    let mut bench = Bench::new(&[("noise", noise()), ("heat", heat())]);
    bench.tells = false;
    let node = node_on(blank_flash(32, 0), 0).unwrap();
    bench.talk(&node, 0);
    let frames = bench.share_frames();
    for (index, mut frame) in frames.into_iter().enumerate() {
        if index != 1 {
            block_on(node.receive(UptimeMillis(1_000), &mut frame));
        }
    }
    bench.talk(&node, 1_000);
    assert_eq!(bench.statuses.len(), 0);
    for _ in 0..2 {
        for mut frame in bench.share_frames() {
            block_on(node.receive(UptimeMillis(2_000), &mut frame));
        }
        bench.talk(&node, 2_000);
        assert_eq!(bench.statuses.last().unwrap().running, bench.share.id());
    }
    assert_eq!(bench.kept.len(), 1, "it began once");
}
