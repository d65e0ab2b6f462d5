//! Peers whose clocks, histories and directories are not what they should be.

use crate::support::{Region, put, quarantine_reason, request, seconds, stream, two};
use meridian_engine_kv::MemoryStore;
use meridian_model::{
    Body, Captured, CapturedAt, Entry, Hlc, Mark, Marks, Message, OriginId, RegionName, Sequence,
    WIRE_VERSION_MAX,
};
use meridian_replicate::WriteError;
use std::time::Duration;

#[test]
fn a_peer_whose_clock_is_too_far_ahead_is_reported() {
    let (mut a, mut b) = two();
    a.clock_ahead = Duration::from_millis(400);
    a.put(seconds(1), "x").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    assert!(!b.peer(seconds(1)).drifts);
    a.clock_ahead = seconds(3);
    a.put(seconds(2), "x").expect("a write");
    stream(&mut a, &mut b, seconds(2));
    let peer = b.peer(seconds(2));
    assert!(peer.drifts, "{peer:?}");
    assert_eq!(peer.clock_ahead, seconds(3));
    stream(&mut b, &mut a, seconds(2));
    assert!(
        !a.peer(seconds(2)).drifts,
        "b's clock is behind, which moves nobody"
    );
}

#[test]
fn a_fork_is_quarantined_on_both_sides() {
    let (mut a, mut b) = two();
    a.put(seconds(1), "x").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    // The same incarnation writes another history: a copy of the directory that went its own way.
    let mut twin = Region::new("a");
    twin.start(1);
    twin.put(seconds(2), "other").expect("a write");
    twin.put(seconds(2), "longer").expect("a write");
    stream(&mut twin, &mut b, seconds(3));
    assert!(
        quarantine_reason(&mut b).contains("history of origin"),
        "{:?}",
        b.peer(seconds(3))
    );
    stream(&mut b, &mut twin, seconds(3));
    assert!(quarantine_reason(&mut twin).contains("history of origin"));
}

#[test]
fn a_replaced_directory_is_an_incarnation_that_the_peer_refuses() {
    let (mut a, mut b) = two();
    stream(&mut a, &mut b, seconds(1));
    let mut replaced = Region::new("a");
    replaced.start(77);
    stream(&mut replaced, &mut b, seconds(2));
    assert!(quarantine_reason(&mut b).contains("data directory was replaced"));
    stream(&mut b, &mut replaced, seconds(2));
    assert!(quarantine_reason(&mut replaced).contains("data directory was replaced"));
    let refused = replaced.put(seconds(3), "x");
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "it would reach nobody: {refused:?}"
    );
}

#[test]
fn a_region_that_lost_its_tail_stops_taking_writes_when_a_peer_knows_better() {
    let (mut a, mut b) = two();
    a.put(seconds(1), "x").expect("a write");
    let (disk, store) = (a.disk.copy(), MemoryStore::default());
    a.put(seconds(1), "y").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    a.machine = None;
    a.disk = disk;
    a.store = store;
    a.start(99);
    let now = a.now(seconds(0));
    assert!(
        !a.machine().is_settled(now),
        "it waits for the peer's word first"
    );
    stream(&mut b, &mut a, seconds(1));
    let refused = a.put(seconds(1), "z");
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_restarted_region_waits_for_its_peers_but_not_for_ever() {
    let (mut a, _) = two();
    a.put(seconds(0), "x").expect("a write");
    a.machine = None;
    a.start(99);
    let early = a.now(Duration::from_millis(1_900));
    assert!(!a.machine().is_settled(early));
    let late = a.now(seconds(2));
    assert!(a.machine().is_settled(late));
    a.machine = None;
    a.start(99);
    let (peer, now) = (RegionName::new("b"), a.now(seconds(0)));
    a.machine().disconnected(now, &peer, "refused".into());
    assert!(
        a.machine().is_settled(now),
        "a peer that is away has no word to give"
    );
}

#[test]
fn a_full_budget_refuses_writes_and_takes_peers_entries() {
    let mut a = Region::new("a");
    a.log_bytes_max = 20 << 10;
    a.start(1);
    let mut b = Region::new("b");
    b.start(2);
    stream(&mut b, &mut a, seconds(0));
    let refused = (0..2_000).find_map(|step| a.put(seconds(1), &format!("k{step}")).err());
    assert!(
        matches!(refused, Some(WriteError::LogBudget { .. })),
        "{refused:?}"
    );
    b.put(seconds(2), "from-b").expect("a write");
    stream(&mut b, &mut a, seconds(2));
    let row = a
        .machine()
        .engine()
        .reader()
        .get("t", "from-b")
        .expect("tables");
    assert!(row.is_some(), "the reserve has room for it");
    // The peer catches up and reports; then there is room again.
    stream(&mut a, &mut b, seconds(3));
    let now = b.now(seconds(4));
    b.machine().tick(now).expect("a tick");
    b.machine().flush(now).expect("a commit");
    stream(&mut b, &mut a, seconds(5));
    let now = a.now(seconds(6));
    a.machine().tick(now).expect("a tick");
    a.put(seconds(6), "again").expect("there is room again");
}

#[test]
fn a_region_whose_own_stream_forked_stops_whichever_side_asks_first() {
    for asks_first in [true, false] {
        let (mut a, mut b) = two();
        a.put(seconds(1), "x").expect("a write");
        stream(&mut a, &mut b, seconds(1));
        let mut twin = Region::new("a");
        twin.start(1);
        twin.put(seconds(2), "other").expect("a write");
        twin.put(seconds(2), "longer").expect("a write");
        if asks_first {
            stream(&mut b, &mut twin, seconds(3));
        } else {
            stream(&mut twin, &mut b, seconds(3));
        }
        let refused = twin.put(seconds(4), "lost");
        assert!(
            matches!(refused, Err(WriteError::Stopped { .. })),
            "no peer would ever take it: {refused:?}"
        );
    }
}

/// Lets `region` believe that it is connected to b, and says this to it on b's behalf.
fn say(region: &mut Region, marks: Marks, entries: Vec<Entry>) {
    let (now, peer) = (region.now(seconds(1)), RegionName::new("b"));
    region.machine().connected(now, &peer, WIRE_VERSION_MAX);
    let asked = region.machine().take_outgoing().remove(0).1;
    let Message::Subscribe { session, .. } = asked else {
        panic!("no subscription but {asked:?}");
    };
    let origin = OriginId(2);
    let accept = Message::Accept {
        session,
        origin,
        marks,
    };
    let entries = Message::Entries {
        session,
        index: 0,
        sent_at: now.wall,
        remaining: 0,
        entries,
    };
    for message in [accept, entries] {
        region
            .machine()
            .message(now, &peer, message)
            .expect("a readable log");
    }
    region.machine().flush(now).expect("a commit");
}

#[test]
fn a_peers_clock_at_the_end_of_time_moves_nobody() {
    let (mut a, _) = two();
    let body = Body::Open {
        region: RegionName::new("b"),
    };
    let entry = Entry::following(
        Mark::default(),
        OriginId(2),
        Hlc::from_raw(u64::MAX - 1),
        &body,
    );
    say(&mut a, Marks::default(), vec![entry]);
    assert!(quarantine_reason(&mut a).contains("no sane clock"));
    a.run(seconds(2), &request("x", put("1"))).expect("a write");
}

#[test]
fn a_peers_claim_to_hold_more_than_can_be_counted_is_no_overflow() {
    let (mut a, _) = two();
    let mark = Mark {
        sequence: Sequence(u64::MAX),
        ..Mark::default()
    };
    say(
        &mut a,
        [(OriginId(8), mark), (OriginId(9), mark)]
            .into_iter()
            .collect(),
        Vec::new(),
    );
}

/// An increment that it absorbs would count beside it if it came later.
#[test]
fn a_captured_transaction_waits_for_what_it_absorbs() {
    let unheard = (OriginId(3), Hlc::from_raw(5));
    for (absorbed, taken) in [(None, 2), (Some(unheard), 1)] {
        let (mut a, _) = two();
        let open = Body::Open {
            region: RegionName::new("b"),
        };
        let captured = Body::Captured(Captured {
            at: CapturedAt {
                is_last: true,
                ..CapturedAt::default()
            },
            absorbed: absorbed.into_iter().collect(),
            ..Captured::default()
        });
        let (b, hlc) = (OriginId(2), Hlc::from_raw);
        let first = Entry::following(Mark::default(), b, hlc(7), &open);
        let second = Entry::following(first.mark(), b, hlc(8), &captured);
        let marks = [(b, second.mark())].into_iter().collect();
        say(&mut a, marks, vec![first, second]);
        let held = a.machine().reader().marks().get(b).sequence;
        assert_eq!(held, Sequence(taken));
    }
}
