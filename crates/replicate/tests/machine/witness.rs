//! A witness: it holds the log and votes, and has no tables.

use crate::members::{
    deliver, evict, founded, members, name, propose, region, remove, together, write,
};
use crate::support::{Region, seconds};
use meridian_model::{Acknowledgement, DecidedBy, SnapshotId, Standing, WIRE_VERSION_MAX};
use meridian_replicate::{Acknowledgements, Arrival, ProposeError, SnapshotRefusal};
use std::collections::BTreeSet;
use std::time::Duration;

/// Two regions and a witness, `w`.
fn two_and_a_witness() -> Vec<Region> {
    let names = ["a", "b", "w"];
    let mut regions = founded(&names);
    for (region, origin) in regions.iter_mut().zip(1..) {
        region.witnesses = BTreeSet::from([name("w")]);
        region.start(origin);
    }
    regions
}

pub fn has(region: &mut Region, key: &str) -> bool {
    let row = region.machine().engine().reader().get("t", key);
    row.expect("readable tables").is_some()
}

fn names(region: &mut Region) -> Vec<String> {
    let members = members(region).into_iter();
    members.map(|(name, _)| name).collect()
}

#[test]
fn it_holds_what_the_others_hold_and_shows_nothing_of_it() {
    let mut regions = two_and_a_witness();
    together(&mut regions, 1, 3);
    write(&mut regions[0], 3, "k").expect("a write");
    together(&mut regions, 3, 5);
    assert!(has(&mut regions[1], "k"));
    let held = regions[0].machine().marks().vector();
    for start in 0..2 {
        let w = &mut regions[2];
        assert!(w.machine().marks().vector().covers(&held), "start {start}");
        let tables = w.machine().engine().reader().tables();
        assert!(tables.expect("readable tables").is_empty());
        let refused = write(w, 5, "mine").expect_err("it takes none");
        assert!(refused.contains("witness"), "{refused}");
        let now = w.now(seconds(5));
        let snapshot = w.machine().snapshot(now, SnapshotId(1), true);
        assert_eq!(snapshot.err(), Some(SnapshotRefusal::Witness));
        w.machine = None;
        w.start(77);
    }
}

#[test]
fn what_it_holds_is_acknowledged_and_reaches_the_other_when_its_origin_is_lost() {
    let mut regions = two_and_a_witness();
    together(&mut regions, 1, 3);
    write(&mut regions[0], 3, "last").expect("a write");
    let mut waiting = Acknowledgements::new(Acknowledgement::OneRemote, Duration::from_secs(9));
    let (own, now) = (regions[0].machine().origin(), regions[0].now(seconds(3)));
    let sequence = regions[0].machine().marks().get(own).sequence;
    waiting.wait_for_write(now, sequence, "confirmed");
    let due = waiting.due(now, regions[0].machine().holdings());
    assert!(due.is_empty(), "nobody else has it");
    let [a, w] = regions.get_disjoint_mut([0, 2]).expect("two of them");
    deliver(a, w, seconds(3), WIRE_VERSION_MAX);
    let due = waiting.due(now, regions[0].machine().holdings());
    assert_eq!(due, [("confirmed", Ok(()))], "the witness holds it");

    // The only region that had applied it is destroyed.
    regions.remove(0);
    assert!(!has(&mut regions[0], "last"));
    together(&mut regions, 4, 6);
    assert!(has(&mut regions[0], "last"));
}

#[test]
fn with_it_the_survivor_of_two_evicts_the_other_and_goes_on() {
    let mut regions = two_and_a_witness();
    together(&mut regions, 1, 3);
    regions.remove(0);
    write(&mut regions[0], 3, "meanwhile").expect("the survivor takes writes");
    together(&mut regions, 3, 20);
    let lost = evict("a", DecidedBy::Majority);
    propose(&mut regions[0], 20, lost).expect("two of three");
    together(&mut regions, 20, 24);
    for region in &mut regions {
        assert_eq!(names(region), ["b", "w"]);
    }
    write(&mut regions[0], 24, "on").expect("the survivor takes writes");
    let last = Err(ProposeError::LastVoter { region: name("b") });
    assert_eq!(propose(&mut regions[1], 24, remove("b")), last);
    let by_hand = evict("b", DecidedBy::Operator);
    assert_eq!(propose(&mut regions[1], 24, by_hand), last);
}

#[test]
fn who_was_leaving_stays_when_nobody_else_has_tables() {
    let mut regions = two_and_a_witness();
    together(&mut regions, 1, 3);
    regions.remove(0);
    propose(&mut regions[0], 3, remove("b")).expect("a takes writes");
    together(&mut regions, 3, 20);
    assert_eq!(members(&mut regions[0])[1].1, Standing::Leaving);
    let lost = evict("a", DecidedBy::Majority);
    propose(&mut regions[1], 20, lost).expect("two of three");
    together(&mut regions, 20, 24);
    let stayed = ["b", "w"].map(|name| (name.to_owned(), Standing::Voting));
    assert_eq!(members(&mut regions[0]), stayed);
    write(&mut regions[0], 24, "on").expect("it takes writes again");
}

#[test]
fn it_is_evicted_and_comes_back_like_any_other() {
    let mut regions = two_and_a_witness();
    together(&mut regions, 1, 3);
    write(&mut regions[0], 3, "k").expect("a write");
    let mut old = regions.pop().expect("three");
    together(&mut regions, 3, 20);
    let lost = evict("w", DecidedBy::Majority);
    propose(&mut regions[0], 20, lost).expect("two of three");
    together(&mut regions, 20, 24);
    old.machine = None;
    let mut w = region("w", &["a", "b", "w"]);
    w.arrival = Arrival::Joining;
    w.witnesses = BTreeSet::from([name("w")]);
    w.start(9);
    let add = meridian_replicate::Proposal::Add {
        region: name("w"),
        address: None,
    };
    propose(&mut regions[0], 24, add).expect("a proposal");
    regions.push(w);
    together(&mut regions, 24, 32);
    assert_eq!(members(&mut regions[1])[2].1, Standing::Voting);
    let held = regions[0].machine().marks().vector();
    assert!(regions[2].machine().marks().vector().covers(&held));
    assert!(!has(&mut regions[2], "k"));
}

#[test]
fn it_keeps_what_any_member_lacks_and_no_more() {
    let names = ["a", "b", "w"];
    let mut regions: Vec<Region> = names.iter().map(|own| region(own, &names)).collect();
    for (region, origin) in regions.iter_mut().zip(1..) {
        region.witnesses = BTreeSet::from([name("w")]);
        region.segment_bytes = 4096;
        region.start(origin);
    }
    together(&mut regions, 1, 3);
    let b = regions.remove(1);
    for row in 0..200 {
        write(&mut regions[0], 3, &format!("k{row}")).expect("a write");
    }
    together(&mut regions, 3, 8);
    assert_eq!(regions[1].machine().reader().start().0, 0, "b lacks all");
    regions.insert(1, b);
    together(&mut regions, 8, 14);
    assert!(has(&mut regions[1], "k199"));
    let start = regions[2].machine().reader().start().0;
    assert!(start > 100, "{start}");
}
