//! What must not be taken for a dead region, one by one, and how soon a dead one is known.

use super::faults::Faults;
use super::patterns::{links, strike};
use super::world::World;
use meridian_health::Status;

fn both_ways(a: usize, b: usize) -> Vec<(usize, usize)> {
    vec![(a, b), (b, a)]
}

/// No verdict of any kind has changed.
fn nothing_happened(world: &World) {
    assert_eq!(world.violation, None);
    assert!(
        world.verdicts.is_empty(),
        "{:?}: {:?}",
        world.faults,
        world.verdicts
    );
}

#[test]
fn a_cut_link_is_no_dead_region() {
    for regions in 3..=5 {
        for (seed, (a, b)) in links(regions).into_iter().enumerate() {
            let cut = both_ways(a, b);
            let world = strike(
                regions,
                seed as u64,
                Faults {
                    cut,
                    ..Faults::default()
                },
            );
            nothing_happened(&world);
            assert_eq!(world.seen(a, b), Status::Unhealthy, "the cut is seen");
        }
    }
}

#[test]
fn a_link_cut_one_way_is_no_dead_region() {
    for regions in 3..=5 {
        for (seed, link) in links(regions).into_iter().enumerate() {
            let cut = vec![link];
            nothing_happened(&strike(
                regions,
                seed as u64,
                Faults {
                    cut,
                    ..Faults::default()
                },
            ));
        }
    }
}

#[test]
fn a_blind_observer_alarms_nobody() {
    for regions in 3..=5 {
        for observer in 0..regions {
            let blind = vec![observer];
            let world = strike(
                regions,
                observer as u64,
                Faults {
                    blind,
                    ..Faults::default()
                },
            );
            nothing_happened(&world);
        }
    }
}

/// It sees everybody else dead, and says so to nobody's harm, its own verdicts included; the others,
/// who can't reach it, have it down.
#[test]
fn an_observer_cut_off_changes_no_verdict_of_its_own() {
    for regions in 3..=5 {
        let cut_off = regions - 1;
        let of_it = |(a, b): &(usize, usize)| *a == cut_off || *b == cut_off;
        let cut: Vec<_> = links(regions).into_iter().filter(of_it).collect();
        let world = strike(
            regions,
            5,
            Faults {
                cut,
                ..Faults::default()
            },
        );
        assert!(!world.has_quorum(cut_off));
        for other in 0..cut_off {
            assert_eq!(world.seen(cut_off, other), Status::Unhealthy);
            assert_eq!(world.changes(cut_off, other).count(), 0);
            assert_eq!(world.verdict(other, cut_off), Status::Unhealthy);
            assert_eq!(world.changes(other, (other + 1) % cut_off).count(), 0);
        }
        assert_eq!(world.verdict(cut_off, cut_off), Status::Healthy);
    }
}

#[test]
fn half_of_all_messages_lost_on_a_link_is_no_dead_region() {
    for seed in 0..150 {
        let lossy = vec![(0, 2, 0.5), (2, 0, 0.5)];
        let mut world = World::settled(3, seed);
        world.faults = Faults {
            lossy,
            ..Faults::default()
        };
        world.run_ms(60_000);
        nothing_happened(&world);
    }
}

#[test]
fn a_slow_region_is_degraded_and_not_down() {
    for slow_ms in [400, 800, 1_000] {
        let slow = vec![(1, slow_ms)];
        let mut world = World::settled(3, 3);
        world.faults = Faults {
            slow,
            ..Faults::default()
        };
        world.run_ms(30_000);
        for observer in 0..3 {
            let changes: Vec<_> = world.changes(observer, 1).map(|(_, to)| to).collect();
            assert_eq!(changes, [Status::Degraded], "{slow_ms} ms");
            assert_eq!(world.changes(observer, 2).count(), 0);
        }
    }
}

/// Whatever the moment, and up to 100 ms away: every survivor knows within two seconds.
#[test]
fn a_dead_region_is_out_within_two_seconds() {
    let mut longest_ms = 0;
    for regions in [3, 5] {
        for phase_ms in (0..500).step_by(13) {
            let mut world = World::new(regions, phase_ms, 10 + phase_ms * 7 % 91);
            world.run_ms(4_000 + phase_ms);
            world.verdicts.clear();
            let died_ms = world.now_ms;
            world.faults.dead = vec![1];
            world.run_ms(4_000);
            for survivor in (0..regions).filter(|region| *region != 1) {
                let out_ms = world.down_at_ms(survivor, 1).expect("it is dead") - died_ms;
                longest_ms = longest_ms.max(out_ms);
                assert_eq!(world.changes(survivor, survivor).count(), 0);
            }
        }
    }
    assert!((1_000..=2_000).contains(&longest_ms), "{longest_ms} ms");
}

#[test]
fn the_survivor_of_a_double_loss_decides_nothing_and_sees_all() {
    let world = strike(
        3,
        1,
        Faults {
            dead: vec![0, 2],
            ..Faults::default()
        },
    );
    nothing_happened(&world);
    assert!(!world.has_quorum(1));
    assert_eq!(
        [0, 1, 2].map(|region| world.seen(1, region)),
        [Status::Unhealthy, Status::Healthy, Status::Unhealthy]
    );
}

/// Alive for 4 s, dead for 3 s, for five minutes.
#[test]
fn a_region_that_flaps_is_held_down() {
    let mut world = World::settled(3, 9);
    let began_ms = world.now_ms;
    while world.now_ms < began_ms + 300_000 {
        world.faults.cut = vec![(0, 1), (1, 0), (1, 2), (2, 1)];
        world.run_ms(3_000);
        world.faults.cut.clear();
        world.run_ms(4_000);
    }
    let changes: Vec<_> = world.changes(0, 1).collect();
    let falls = changes.iter().filter(|(_, to)| *to == Status::Unhealthy);
    assert!((2..=9).contains(&falls.count()), "{changes:?}");
    // Well again, it comes back for good.
    world.run_ms(400_000);
    assert_eq!(world.verdict(0, 1), Status::Healthy);
}

#[test]
fn a_region_that_returns_is_healthy_again() {
    let mut world = World::settled(3, 2);
    world.faults.dead = vec![1];
    world.run_ms(10_000);
    let returned_ms = world.now_ms;
    world.faults.dead.clear();
    world.run_ms(10_000);
    for observer in [0, 2] {
        let changes: Vec<_> = world.changes(observer, 1).collect();
        let [(_, Status::Unhealthy), (up_ms, Status::Healthy)] = changes[..] else {
            panic!("{changes:?}");
        };
        assert!(up_ms - returned_ms < 3_000, "{changes:?}");
    }
}

#[test]
fn the_history_says_why_and_stays_bounded() {
    let world = strike(
        3,
        4,
        Faults {
            dead: vec![2],
            ..Faults::default()
        },
    );
    let history: Vec<_> = world.observer(0).history().iter().cloned().collect();
    let last = history
        .iter()
        .map(|change| format!("{:?}", change.by))
        .collect::<Vec<_>>();
    assert!(
        last[last.len() - 2].contains("no answer within 350 ms"),
        "{last:?}"
    );
    assert!(last[last.len() - 1].contains("unhealthy: 2"), "{last:?}");
    let record = world
        .observer(0)
        .records()
        .find(|record| record.region == "ap-northeast-1")
        .unwrap();
    assert_eq!(record.health_check_id, "us-east-1/ap-northeast-1/api");
    assert_eq!(record.status, Status::Unhealthy);
    assert!(record.consecutive_failures >= 3 && record.metrics.availability < 50.0);
}
