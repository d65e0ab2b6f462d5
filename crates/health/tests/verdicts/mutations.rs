//! Each rule broken once: the worlds above notice.

use crate::patterns::strike;
use crate::truth::Truth;
use crate::world::{Faults, World};
use meridian_health::Status;
use meridian_model::mutation::{Mutation, activate};

/// Whether the run goes wrong with the bug; it must not without.
fn is_caught(mutation: Mutation, run: impl Fn() + std::panic::RefUnwindSafe) {
    run();
    activate(Some(mutation));
    let caught = std::panic::catch_unwind(&run);
    activate(None);
    assert!(caught.is_err(), "{mutation:?} went unnoticed");
}

fn held_against_the_truth(regions: usize, faults: &Faults) {
    let truth = Truth::of(faults, regions);
    truth.check(&strike(regions, 1, faults.clone()));
}

#[test]
fn one_observer_decides() {
    is_caught(Mutation::OneObserverDecides, || {
        let blind = vec![0];
        held_against_the_truth(
            3,
            &Faults {
                blind,
                ..Faults::default()
            },
        );
    });
}

/// Two observers that are only in touch with each other think that the third to fifth are dead. With
/// one of those really dead and one blind, their votes would make a majority.
#[test]
fn observers_cut_off_vote() {
    let cut = crate::patterns::links(5)
        .into_iter()
        .filter(|(from, to)| (*from < 2) && (*to >= 2))
        .collect();
    let faults = Faults {
        cut,
        blind: vec![2],
        ..Faults::default()
    };
    is_caught(Mutation::ObserversCutOffVote, || {
        held_against_the_truth(5, &faults)
    });
}

#[test]
fn verdict_without_majority() {
    is_caught(Mutation::VerdictWithoutMajority, || {
        let dead = vec![0, 2];
        let world = strike(
            3,
            1,
            Faults {
                dead,
                ..Faults::default()
            },
        );
        assert!(world.verdicts.is_empty());
    });
}

#[test]
fn reports_kept_for_ever() {
    is_caught(Mutation::ReportsKeptForEver, || {
        let dead = vec![0, 2];
        held_against_the_truth(
            3,
            &Faults {
                dead,
                ..Faults::default()
            },
        );
    });
}

#[test]
fn late_answers_dropped() {
    is_caught(Mutation::LateAnswersDropped, || {
        let slow = vec![(1, 600)];
        let world = strike(
            3,
            1,
            Faults {
                slow,
                ..Faults::default()
            },
        );
        assert_eq!(world.verdict(0, 1), Status::Degraded);
    });
}

#[test]
fn no_hold_down() {
    is_caught(Mutation::NoHoldDown, || {
        let mut world = World::settled(3, 1);
        for _ in 0..20 {
            world.faults.dead = vec![1];
            world.run_ms(3_000);
            world.faults.dead.clear();
            world.run_ms(4_000);
        }
        assert!(world.changes(0, 1).count() < 20);
    });
}

/// A hears of B's vote only by C.
#[test]
fn reports_not_relayed() {
    is_caught(Mutation::ReportsNotRelayed, || {
        let cut = vec![
            (0, 1),
            (1, 0),
            (0, 3),
            (3, 0),
            (1, 3),
            (3, 1),
            (0, 4),
            (4, 0),
        ];
        held_against_the_truth(
            5,
            &Faults {
                cut,
                ..Faults::default()
            },
        );
    });
}
