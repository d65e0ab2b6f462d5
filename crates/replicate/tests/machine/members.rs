//! Regions that join, leave and are evicted.

use crate::support::{Region, put, request, seconds};
use crate::witness::has;
use meridian_engine_kv::Import;
use meridian_log::{Log, LogConfig};
use meridian_model::{
    Acknowledgement, DecidedBy, Message, RegionName, SnapshotId, Standing, WIRE_VERSION_MAX,
};
use meridian_replicate::{
    Acknowledgements, Arrival, CommitError, OpenError, OwnStanding, Progress, Proposal,
    ProposeError, Sender, StrongRead, WriteError,
};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

pub fn name(region: &str) -> RegionName {
    RegionName::new(region)
}

pub fn region(own: &str, founders: &[&str]) -> Region {
    let mut region = Region::new(own);
    region.founders = founders.iter().map(|it| name(it)).collect();
    // A newcomer reads the log from its beginning.
    region.segment_bytes = 1 << 20;
    if !founders.contains(&own) {
        region.arrival = Arrival::Joining;
    }
    region
}

/// Founders, running; the first has origin 1, and so on.
pub fn founded(names: &[&str]) -> Vec<Region> {
    let mut regions: Vec<Region> = names.iter().map(|own| region(own, names)).collect();
    for (region, origin) in regions.iter_mut().zip(1..) {
        region.start(origin);
    }
    regions
}

/// `receiver` subscribes at `sender` and takes what it is given.
pub fn deliver(sender: &mut Region, receiver: &mut Region, elapsed: Duration, wire_version: u16) {
    let (sent_at, received_at) = (sender.now(elapsed), receiver.now(elapsed));
    let (from, to) = (sender.name.clone(), receiver.name.clone());
    let mut stream = sender.sender();
    let machine = receiver.machine();
    machine.set_peers(received_at, std::slice::from_ref(&from));
    machine.connected(received_at, &from, wire_version);
    serve(sender, receiver, &mut stream, elapsed);
    while let Some(message) = stream.poll(sent_at).expect("a readable log") {
        let taken = receiver.machine().message(received_at, &from, message);
        taken.expect("a readable log");
        serve(sender, receiver, &mut stream, elapsed);
    }
    // What it has to say to others is said when they meet.
    let _ = receiver.machine().take_outgoing();
    assert_eq!(to, receiver.name);
}

/// The sender hears what the receiver has to say, after a commit.
fn serve(
    sender: &mut Region,
    receiver: &mut Region,
    stream: &mut Sender<meridian_log::MemoryDisk>,
    elapsed: Duration,
) {
    let (sent_at, received_at) = (sender.now(elapsed), receiver.now(elapsed));
    let (from, to) = (sender.name.clone(), receiver.name.clone());
    receiver.machine().flush(received_at).expect("a commit");
    for (peer, message) in receiver.machine().take_outgoing() {
        if peer != from {
            continue;
        }
        let reply = match message {
            Message::Ack { held, .. } => {
                if let Some(member) = sender.machine().road().member(&to) {
                    sender.machine().holds(member, &held);
                }
                None
            }
            Message::Subscribe {
                session, origin, ..
            } if sender.machine().refusal(&to, origin).is_some() => sender
                .machine()
                .refusal(&to, origin)
                .map(|reason| Message::Refuse { session, reason }),
            message => {
                let known = sender.machine().road().member(&to);
                let answer = stream.subscribe(sent_at, known, message);
                answer.expect("a readable log").map(|answer| answer.message)
            }
        };
        if let Some(reply) = reply {
            let taken = receiver.machine().message(received_at, &from, reply);
            taken.expect("a readable log");
        }
    }
}

/// All of them are connected for so many seconds.
pub fn together(regions: &mut [Region], from: u64, to: u64) {
    for step in from * 2..to * 2 {
        let elapsed = Duration::from_millis(step * 500);
        tick(regions, elapsed);
        for receiver in 0..regions.len() {
            for sender in (0..regions.len()).filter(|sender| *sender != receiver) {
                let [one, other] = regions
                    .get_disjoint_mut([sender, receiver])
                    .expect("two of them");
                let wire_version = one.wire_version.min(other.wire_version);
                deliver(one, other, elapsed, wire_version);
            }
        }
        tick(regions, elapsed);
    }
}

pub fn tick(regions: &mut [Region], elapsed: Duration) {
    for region in regions {
        let now = region.now(elapsed);
        region.machine().tick(now).expect("a tick");
        region.machine().flush(now).expect("a commit");
    }
}

/// Nobody hears anybody for so many seconds.
fn apart(regions: &mut [Region], from: u64, to: u64) {
    for region in &mut *regions {
        let now = region.now(seconds(from));
        for peer in region.machine().peers(now) {
            let reason = "cut off".to_owned();
            region.machine().disconnected(now, &peer.region, reason);
        }
    }
    for second in from..to {
        tick(regions, seconds(second));
    }
}

pub fn propose(region: &mut Region, at: u64, proposal: Proposal) -> Result<(), ProposeError> {
    let now = region.now(seconds(at));
    let outcome = region.machine().propose(now, proposal);
    region.machine().flush(now).expect("a commit");
    outcome
}

pub fn add(region: &str) -> Proposal {
    Proposal::Add {
        region: name(region),
        address: None,
    }
}

pub fn remove(region: &str) -> Proposal {
    Proposal::Remove {
        region: name(region),
    }
}

pub fn evict(region: &str, decided_by: DecidedBy) -> Proposal {
    Proposal::Evict {
        region: name(region),
        decided_by,
    }
}

pub fn write(region: &mut Region, at: u64, key: &str) -> Result<(), String> {
    region.run(seconds(at), &request(key, put("1"))).map(|_| ())
}

pub fn members(region: &mut Region) -> Vec<(String, Standing)> {
    let members = &region.machine().epoch().members;
    let named = members
        .iter()
        .map(|(region, member)| (region.to_string(), member.standing));
    named.collect()
}

#[test]
fn a_region_alone_grows_to_two() {
    let mut regions = founded(&["a"]);
    write(&mut regions[0], 1, "early").expect("it is alone and writes");
    propose(&mut regions[0], 1, add("b")).expect("a proposal");
    let mut b = region("b", &["a"]);
    b.start(9);
    let refused = b.put(seconds(1), "too-early");
    assert!(
        matches!(refused, Err(WriteError::NotServing { .. })),
        "{refused:?}"
    );
    regions.push(b);
    together(&mut regions, 1, 6);
    let both = [
        ("a".into(), Standing::Voting),
        ("b".into(), Standing::Voting),
    ];
    for region in &mut regions {
        assert_eq!(members(region), both);
        assert_eq!(region.machine().standing(), OwnStanding::Voting);
    }
    regions[1].row("early");
    write(&mut regions[1], 6, "from-b").expect("it takes writes");
    together(&mut regions, 7, 8);
    regions[0].row("from-b");
}

#[test]
fn a_newcomer_begins_only_once_it_has_caught_up_with_all_that_it_hears_of() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 1, 3);
    propose(&mut regions[0], 3, add("c")).expect("a proposal");
    together(&mut regions, 3, 8);
    let mut newcomer = region("c", &["a", "b"]);
    newcomer.start(3);
    regions.push(newcomer);
    let [a, b, c] = &mut regions[..] else {
        panic!("three of them");
    };
    write(b, 8, "of-b").expect("a write");
    let has_begun = |c: &mut Region| {
        tick(std::slice::from_mut(c), seconds(8));
        c.machine().road().member(&name("c")).is_some()
    };
    // b says what it has, and sends none of it yet.
    let now = c.now(seconds(8));
    c.machine().connected(now, &b.name, WIRE_VERSION_MAX);
    let mut stream = b.sender();
    serve(b, c, &mut stream, seconds(8));
    deliver(a, c, seconds(8), WIRE_VERSION_MAX);
    let epoch = c.machine().epoch();
    assert!(epoch.members.contains_key(&name("c")), "it is expected");
    assert!(!has_begun(c), "it lacks what b has");
    let sent = stream.poll(b.now(seconds(8))).expect("a readable log");
    let taken = c.machine().message(now, &b.name, sent.expect("entries"));
    taken.expect("a readable log");
    c.machine().flush(now).expect("a commit");
    assert!(has_begun(c));
}

#[test]
fn a_newcomer_that_never_shows_up_blocks_nobody() {
    let mut regions = founded(&["a"]);
    propose(&mut regions[0], 1, add("b")).expect("a proposal");
    apart(&mut regions, 1, 3);
    assert_eq!(members(&mut regions[0]).len(), 2);
    write(&mut regions[0], 3, "k").expect("it goes on");
    propose(&mut regions[0], 3, evict("b", DecidedBy::Majority)).expect("the one voter decides");
    apart(&mut regions, 4, 6);
    assert_eq!(members(&mut regions[0]), [("a".into(), Standing::Voting)]);
}

#[test]
fn a_newcomer_that_never_shows_up_keeps_no_other_from_its_vote() {
    let mut regions = founded(&["a"]);
    for newcomer in ["b", "c"] {
        propose(&mut regions[0], 1, add(newcomer)).expect("a proposal");
        apart(&mut regions, 1, 3);
    }
    let mut b = region("b", &["a"]);
    b.start(9);
    regions.push(b);
    together(&mut regions, 3, 8);
    let expected = [
        ("a".into(), Standing::Voting),
        ("b".into(), Standing::Voting),
        ("c".into(), Standing::Joining),
    ];
    assert_eq!(members(&mut regions[1]), expected);
    write(&mut regions[1], 8, "from-b").expect("it takes writes");
}

#[test]
fn a_newcomer_that_has_begun_is_not_removed_before_it_votes() {
    let mut regions = founded(&["a"]);
    propose(&mut regions[0], 1, add("b")).expect("a proposal");
    let mut b = region("b", &["a"]);
    b.start(9);
    regions.push(b);
    let is_joining =
        |region: &mut Region| members(region).contains(&("b".into(), Standing::Joining));
    let has_begun = |region: &mut Region| {
        let member = region.machine().epoch().members.get(&name("b"));
        member.is_some_and(|member| member.origin.is_some())
    };
    let mut step = 0;
    while !has_begun(&mut regions[0]) {
        let elapsed = seconds(1) + Duration::from_millis(10 * step);
        tick(&mut regions, elapsed);
        let [a, b] = &mut regions[..] else {
            unreachable!("there are two")
        };
        deliver(b, a, elapsed, WIRE_VERSION_MAX);
        deliver(a, b, elapsed, WIRE_VERSION_MAX);
        step += 1;
        assert!(step < 300, "it never began");
    }
    assert!(is_joining(&mut regions[0]));
    let at = 4;
    // What it may have taken would be nobody's.
    assert_eq!(
        propose(&mut regions[0], at, remove("b")),
        Err(ProposeError::StillJoining { region: name("b") })
    );
    together(&mut regions, at, at + 5);
    write(&mut regions[1], at + 5, "from-b").expect("it takes writes");
    propose(&mut regions[0], at + 5, remove("b")).expect("it votes and can leave");
    together(&mut regions, at + 6, at + 12);
    assert_eq!(members(&mut regions[0]), [("a".into(), Standing::Voting)]);
    regions[0].row("from-b");
}

#[test]
fn a_region_that_founds_itself_is_told_to_join() {
    let mut regions = founded(&["a"]);
    propose(&mut regions[0], 1, add("b")).expect("a proposal");
    apart(&mut regions, 1, 3);
    let mut b = region("b", &["a", "b"]);
    b.start(9);
    deliver(&mut b, &mut regions[0], seconds(3), WIRE_VERSION_MAX);
    let reason = crate::support::quarantine_reason(&mut regions[0]);
    assert!(
        reason.contains("founded itself instead of joining"),
        "{reason}"
    );
}

#[test]
fn who_leaves_as_planned_takes_nothing_with_it() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    write(&mut regions[2], 3, "last-of-c").expect("a write");
    propose(&mut regions[0], 3, remove("c")).expect("a proposal");
    together(&mut regions, 3, 10);
    let refused = write(&mut regions[2], 10, "too-late").expect_err("it has left");
    assert!(refused.contains("has left"), "{refused}");
    for region in &mut regions[..2] {
        region.row("last-of-c");
        let both = [
            ("a".into(), Standing::Voting),
            ("b".into(), Standing::Voting),
        ];
        assert_eq!(members(region), both);
    }
    assert!(matches!(
        regions[2].machine().standing(),
        OwnStanding::Evicted { .. }
    ));
}

#[test]
fn who_leaves_says_whom_it_waits_for_and_who_is_away_is_known() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    let c = BTreeSet::from([name("c")]);
    let away = |region: &mut Region, at| {
        let now = region.now(seconds(at));
        region.machine().out_of_touch(now)
    };
    assert_eq!(away(&mut regions[0], 3), BTreeSet::new());
    assert_eq!(regions[0].machine().waits_for(&name("b")), None, "it stays");
    let gone = regions.pop().expect("three");
    together(&mut regions, 3, 20);
    assert_eq!(away(&mut regions[0], 20), c);
    propose(&mut regions[0], 20, remove("b")).expect("a proposal");
    together(&mut regions, 20, 24);
    let leaving = ("b".into(), Standing::Leaving);
    assert!(members(&mut regions[0]).contains(&leaving));
    for region in &mut regions {
        let waits_for = region.machine().waits_for(&name("b")).expect("it leaves");
        assert_eq!(waits_for, c);
    }
    regions.push(gone);
    together(&mut regions, 24, 40);
    assert_eq!(members(&mut regions[0]).len(), 2, "it has left");
}

/// `a` is heard by `b`, at one moment.
fn hand_on(regions: &mut [Region], a: usize, b: usize, elapsed: Duration) {
    let [one, other] = regions.get_disjoint_mut([a, b]).expect("two of them");
    deliver(one, other, elapsed, WIRE_VERSION_MAX);
    tick(std::slice::from_mut(other), elapsed);
}

#[test]
fn who_has_left_can_tell_the_others_so_when_the_one_that_told_it_is_lost() {
    let mut regions = founded(&["a", "b", "c", "d"]);
    together(&mut regions, 0, 8);
    let remove = Proposal::Remove { region: name("d") };
    assert_eq!(propose(&mut regions[0], 8, remove), Ok(()));
    let all_is_held = |region: &mut Region| {
        let waits = region.machine().waits_for(&name("d"));
        waits.is_some_and(|names| names.is_empty())
    };
    let mut at = seconds(8);
    while !all_is_held(&mut regions[0]) {
        assert!(at < seconds(30), "d can't leave");
        at += Duration::from_millis(100);
        for (one, other) in (0..4).flat_map(|one| (0..4).map(move |it| (one, it))) {
            if one != other && !all_is_held(&mut regions[0]) {
                hand_on(&mut regions, one, other, at);
            }
        }
    }
    // All but d, which hears nothing, decide; b alone learns that they have, and tells d.
    let ways = [
        (0, 1),
        (0, 2),
        (1, 0),
        (2, 0),
        (0, 2),
        (2, 1),
        (0, 1),
        (1, 3),
    ];
    for (one, other) in ways {
        hand_on(&mut regions, one, other, at);
    }
    let number = |region: &mut Region| region.machine().epoch().number;
    assert_eq!(number(&mut regions[1]), 2, "b goes by the epoch without d");
    let standing = regions[3].machine().standing();
    assert!(
        matches!(standing, OwnStanding::Evicted { .. }),
        "{standing:?}"
    );
    regions.remove(1);
    assert_eq!(number(&mut regions[0]), 1, "a doesn't know");
    assert_eq!(number(&mut regions[1]), 1, "nor does c");
    together(&mut regions, 31, 34);
    for region in &mut regions[..2] {
        assert_eq!(number(region), 2, "{} has it from d", region.name);
    }
}

/// Whether all that a region holds would be confirmed there with `one-remote` now.
fn is_confirmed(region: &mut Region, at: u64) -> bool {
    let now = region.now(seconds(at));
    let machine = region.machine();
    let mut waiting = Acknowledgements::new(Acknowledgement::OneRemote, Duration::from_secs(1));
    waiting.wait_for_all(now, machine.marks().clone(), ());
    let due = waiting.due(now, machine.holdings());
    due.iter().any(|(_, outcome)| outcome.is_ok())
}

/// A region that joins, running.
fn newcomer(own: &str, founders: &[&str], origin: u64) -> Region {
    let mut newcomer = region(own, founders);
    newcomer.start(origin);
    newcomer
}

#[test]
fn who_goes_by_a_later_epoch_says_nothing_to_who_reads_by_an_earlier_one() {
    let founders = ["a", "v", "e"];
    let mut regions = founded(&founders);
    together(&mut regions, 0, 3);
    for (name, at) in [("j", 3), ("k", 6)] {
        propose(&mut regions[0], at, add(name)).expect("a proposal");
        together(&mut regions, at, at + 3);
    }
    // e doesn't hear that j and k get their votes, nor v that e is evicted by the three others.
    let mut e = regions.pop().expect("three");
    regions.push(newcomer("j", &founders, 9));
    regions.push(newcomer("k", &founders, 10));
    together(&mut regions, 9, 20);
    let voting = |(_, standing): (String, Standing)| standing == Standing::Voting;
    assert!(members(&mut regions[1]).into_iter().all(voting));
    let mut v = regions.remove(1);
    assert!(v.machine().vouches_for(&name("a")), "they go by one epoch");
    together(&mut regions, 20, 23);
    propose(&mut regions[0], 23, evict("e", DecidedBy::Majority)).expect("a proposal");
    together(&mut regions, 23, 27);
    assert_eq!(members(&mut regions[0]).len(), 4);
    write(&mut regions[0], 27, "news").expect("a write");
    hand_on(&mut regions, 0, 1, seconds(27));
    assert!(is_confirmed(&mut regions[0], 27), "j holds it");
    // Of the three that e knows, one answer would be enough.
    assert!(e.machine().may_read_strongly());
    let held = e.machine().marks().vector();
    let others = [name("a"), name("v")];
    let mut read = StrongRead::of_members(Acknowledgement::OneRemote, held, &others, true);
    read.answered(&others[1], &v.machine().marks().vector());
    assert_eq!(read.progress(), Progress::Heard);
    assert!(!v.machine().vouches_for(&name("e")), "v knows of the votes");
    regions.push(v);
    together(&mut regions, 28, 32);
    for region in &mut regions {
        assert!(region.machine().vouches_for(&name("v")), "all agree again");
        assert!(region.machine().may_read_strongly());
    }
}

#[test]
fn who_has_accepted_an_epoch_does_not_read_by_the_one_before_it() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 0, 3);
    propose(&mut regions[0], 3, add("j")).expect("a proposal");
    together(&mut regions, 3, 6);
    regions.push(newcomer("j", &["a", "b"], 9));
    // b hears first that j can vote, and proposes it.
    let (a, b, j) = (0, 1, 2);
    let mut at = seconds(6);
    let mut steps = |regions: &mut Vec<Region>, ways: &[(usize, usize)]| {
        for (one, other) in ways {
            at += Duration::from_millis(100);
            hand_on(regions, *one, *other, at);
        }
        at
    };
    let awaits_outcome = |region: &mut Region| region.machine().awaits_outcome();
    let mut rounds = 0;
    while regions[b].machine().proposal().is_none() {
        steps(&mut regions, &[(a, j), (b, j), (j, b), (j, b)]);
        rounds += 1;
        assert!(rounds < 100, "b never proposed anything");
    }
    assert!(!awaits_outcome(&mut regions[b]) && regions[b].machine().may_read_strongly());
    steps(&mut regions, &[(b, a), (a, b)]);
    assert!(
        awaits_outcome(&mut regions[b]),
        "it has stated and accepted"
    );
    steps(&mut regions, &[(b, a)]);
    let b = regions.remove(b);
    let mut lone = [b];
    // It is decided where a is, and b doesn't hear of it.
    together(&mut regions, 20, 40);
    propose(&mut regions[0], 40, evict("b", DecidedBy::Majority)).expect("a proposal");
    together(&mut regions, 40, 44);
    assert_eq!(members(&mut regions[1]).len(), 2);
    write(&mut regions[0], 44, "news").expect("a write");
    hand_on(&mut regions, 0, 1, seconds(44));
    assert!(is_confirmed(&mut regions[0], 44));
    apart(&mut lone, 20, 44);
    let [b] = &mut lone;
    assert_eq!(b.machine().standing(), OwnStanding::Voting);
    let held = b.machine().marks().vector();
    let read = StrongRead::of_members(Acknowledgement::OneRemote, held, &[name("a")], true);
    assert_eq!(read.progress(), Progress::Heard, "it would ask nobody");
    assert!(!b.machine().may_read_strongly());
    assert!(!b.machine().vouches_for(&name("a")));
}

#[test]
fn what_was_accepted_is_pursued_until_its_outcome_is_known() {
    let mut regions = founded(&["a", "b", "c", "d", "e"]);
    together(&mut regions, 0, 3);
    let (a, b, c, d, e) = (0, 1, 2, 3, 4);
    propose(&mut regions[a], 3, add("x")).expect("a proposal");
    propose(&mut regions[e], 3, add("y")).expect("a proposal");
    tick(&mut regions, seconds(4));
    // a states x, which a and b accept, and d perhaps; c follows e, which is lost before it states
    // anything.
    for (one, other) in [(a, b), (a, d), (b, a), (d, a), (a, b), (e, c)] {
        hand_on(&mut regions, one, other, seconds(4));
    }
    regions.truncate(d);
    for (one, other) in [(c, a), (c, b), (a, c), (b, c), (b, a), (a, b)] {
        hand_on(&mut regions, one, other, seconds(4));
    }
    // Nobody asks for x any more.
    regions[a].machine = None;
    regions[a].start(1);
    for accepted in [a, b] {
        let machine = regions[accepted].machine();
        assert!(machine.awaits_outcome() && !machine.may_read_strongly());
    }
    together(&mut regions, 5, 16);
    for region in &mut regions {
        assert!(!region.machine().awaits_outcome(), "{}", region.name);
        assert_eq!(members(region).len(), 6, "d may know it to be decided");
    }
}

#[test]
fn who_came_back_is_not_evicted_by_what_some_promises_leave_open_and_others_do_not() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 0, 3);
    let away = regions.pop().expect("three");
    let (a, b, c) = (0, 1, 2);
    together(&mut regions, 3, 20);
    propose(&mut regions[a], 20, evict("c", DecidedBy::Majority)).expect("a proposal");
    hand_on(&mut regions, a, b, seconds(20));
    hand_on(&mut regions, b, a, seconds(20));
    assert!(regions[a].machine().awaits_outcome(), "it has stated it");
    propose(&mut regions[b], 25, add("x")).expect("a proposal");
    for restarted in [a, b] {
        regions[restarted].machine = None;
        regions[restarted].start(1);
    }
    regions.push(away);
    hand_on(&mut regions, b, a, seconds(25));
    // With a's promise alone, c may have accepted its own eviction.
    hand_on(&mut regions, a, b, seconds(25));
    for (one, other) in [(b, c), (c, b), (b, c), (b, a), (a, c)] {
        hand_on(&mut regions, one, other, seconds(26));
    }
    together(&mut regions, 26, 40);
    for region in &mut regions {
        assert_eq!(members(region).len(), 3, "{}", region.name);
        assert!(!region.machine().awaits_outcome(), "{}", region.name);
    }
}

#[test]
fn ballots_are_not_repeated_while_no_majority_is_there() {
    let mut regions = founded(&["a", "b", "c", "d", "e"]);
    together(&mut regions, 0, 3);
    let (a, b, c) = (0, 1, 2);
    propose(&mut regions[a], 3, add("x")).expect("a proposal");
    for (one, other) in [(a, b), (a, c), (b, a), (c, a), (a, b)] {
        hand_on(&mut regions, one, other, seconds(3));
    }
    regions.truncate(c);
    let entries = |regions: &mut [Region]| -> u64 {
        let marks = regions.iter_mut().map(|it| it.machine().marks().clone());
        let of_all = marks.map(|marks| marks.iter().map(|(_, mark)| mark.sequence.0).sum::<u64>());
        of_all.max().unwrap_or_default()
    };
    together(&mut regions, 4, 600);
    let before = entries(&mut regions);
    together(&mut regions, 600, 1_200);
    let more = entries(&mut regions) - before;
    assert!(more < 15, "{more} entries in ten minutes about nothing new");
    for accepted in &mut regions {
        assert!(accepted.machine().awaits_outcome());
    }
}

#[test]
fn what_came_about_and_was_undone_is_not_asked_for_again() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 0, 3);
    propose(&mut regions[0], 3, add("x")).expect("a proposal");
    let late = regions.remove(0);
    propose(&mut regions[0], 3, add("x")).expect("a proposal");
    together(&mut regions, 3, 6);
    let undone = Proposal::Remove { region: name("x") };
    propose(&mut regions[0], 6, undone).expect("it has not begun");
    together(&mut regions, 6, 9);
    assert_eq!(regions[0].machine().epoch().number, 2);
    regions.push(late);
    let [b, _, a] = &mut regions[..] else {
        panic!("three of them")
    };
    deliver(b, a, seconds(9), WIRE_VERSION_MAX);
    together(&mut regions, 9, 30);
    for region in &mut regions {
        assert_eq!(members(region).len(), 3, "{}", region.name);
    }
}

#[test]
fn what_the_log_did_not_take_was_never_asked_for() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 0, 3);
    let a = &mut regions[0];
    let now = a.now(seconds(3));
    a.disk.fail_next_write(ErrorKind::StorageFull, 0);
    let proposed = a.machine().propose(now, add("c"));
    proposed.expect("nothing is against it");
    let error = a.machine().flush(now).expect_err("there is no room");
    assert!(matches!(error, CommitError::Log(_)), "{error}");
    together(&mut regions, 4, 8);
    assert_eq!(members(&mut regions[0]).len(), 2);
    propose(&mut regions[0], 8, add("c")).expect("nothing else is asked for");
    together(&mut regions, 8, 12);
    assert_eq!(members(&mut regions[1]).len(), 3);
}

#[test]
fn a_majority_evicts_who_is_away_and_nobody_who_is_there() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    let healthy = propose(&mut regions[0], 3, evict("c", DecidedBy::Majority));
    assert_eq!(healthy, Err(ProposeError::InTouch { region: name("c") }));
    let mut c = regions.pop().expect("three");
    write(&mut c, 4, "only-at-c").expect("a write");
    together(&mut regions, 4, 20);
    propose(&mut regions[0], 20, evict("c", DecidedBy::Majority)).expect("a proposal");
    together(&mut regions, 20, 24);
    assert_eq!(members(&mut regions[1]).len(), 2);
    // It comes back and hears of it from the first that it asks.
    deliver(&mut regions[1], &mut c, seconds(24), WIRE_VERSION_MAX);
    let OwnStanding::Evicted { reason, held } = c.machine().standing() else {
        panic!("not evicted but {:?}", c.machine().standing());
    };
    assert!(reason.contains("doesn't count since epoch 1"), "{reason}");
    assert!(held > meridian_model::Sequence(0), "they hold some of it");
    let refused = write(&mut c, 24, "late").expect_err("for good");
    assert!(refused.contains("evicted"), "{refused}");
    tick(std::slice::from_mut(&mut c), seconds(24));
    c.start(77);
    let refused = write(&mut c, 25, "late").expect_err("after a restart too");
    assert!(refused.contains("evicted"), "{refused}");
}

#[test]
fn an_eviction_that_came_to_nothing_is_not_asked_for_for_ever() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    let c = regions.pop().expect("three");
    together(&mut regions, 3, 20);
    propose(&mut regions[0], 20, evict("c", DecidedBy::Majority)).expect("a proposal");
    // It is back, and takes what b has to give, before anybody has heard of the proposal.
    let a = regions.remove(0);
    regions.push(c);
    write(&mut regions[0], 20, "news").expect("a write");
    together(&mut regions, 20, 22);
    regions.insert(0, a);
    together(&mut regions, 22, 26);
    assert_eq!(members(&mut regions[0]).len(), 3, "nobody evicts it now");
    propose(&mut regions[0], 26, add("d")).expect("nothing else is being decided");
    together(&mut regions, 26, 40);
    let names: Vec<_> = members(&mut regions[1])
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn an_eviction_to_which_others_object_is_forgotten() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    // Nothing passes between a and c; b hears both.
    let chain = |regions: &mut [Region], from: u64, to: u64| {
        for second in from..to {
            // A stream is known to flow by what comes in it.
            write(&mut regions[2], second, "news").expect("a write");
            together(&mut regions[..2], second, second + 1);
            together(&mut regions[1..], second, second + 1);
        }
    };
    chain(&mut regions, 3, 20);
    propose(&mut regions[0], 20, evict("c", DecidedBy::Majority)).expect("a proposal");
    chain(&mut regions, 20, 50);
    let deciding = regions[0].machine().proposal().expect("it is asked for");
    assert_eq!((deciding.promised, deciding.needed), (1, 2), "b objects");
    let busy = propose(&mut regions[0], 50, add("d"));
    assert_eq!(busy, Err(ProposeError::InProgress));
    chain(&mut regions, 50, 200);
    for region in &mut regions {
        assert_eq!(region.machine().proposal(), None, "{}", region.name);
    }
    assert_eq!(members(&mut regions[0]).len(), 3);
    propose(&mut regions[0], 200, add("d")).expect("nothing else is being decided");
    chain(&mut regions, 200, 210);
    assert_eq!(members(&mut regions[2]).len(), 4);
}

#[test]
fn who_was_cut_off_from_all_evicts_nobody_that_returns_a_little_later() {
    let mut regions = founded(&["a", "b", "c"]);
    regions[0].log_bytes_max = 64 << 10;
    regions[0].log_bytes_limit = 1 << 20;
    regions[0].start(1);
    together(&mut regions, 1, 3);
    while write(&mut regions[0], 3, "k").is_ok() {}
    assert!(regions[0].machine().log_bytes() > 64 << 10);
    apart(&mut regions, 3, 40);
    // They come back one after the other.
    let c = regions.pop().expect("three");
    together(&mut regions, 40, 46);
    regions.push(c);
    together(&mut regions, 46, 50);
    assert_eq!(members(&mut regions[0]).len(), 3);
    // Away while a majority is there, it costs them log.
    regions.pop();
    while write(&mut regions[0], 50, "k").is_ok() {}
    together(&mut regions, 50, 80);
    assert_eq!(members(&mut regions[0]).len(), 2);
}

#[test]
fn an_evicted_region_comes_back_as_another_incarnation() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 1, 3);
    let mut old = regions.pop().expect("two");
    apart(&mut regions, 3, 20);
    let alone = propose(&mut regions[0], 20, evict("b", DecidedBy::Majority));
    let (in_touch, needed) = (1, 2);
    assert_eq!(alone, Err(ProposeError::NoMajority { in_touch, needed }));
    propose(&mut regions[0], 20, add("c")).expect("begun, in vain");
    propose(&mut regions[0], 20, evict("b", DecidedBy::Operator)).expect("a person may");
    apart(&mut regions, 20, 22);
    propose(&mut regions[0], 22, evict("c", DecidedBy::Majority)).expect("it was added by then");
    apart(&mut regions, 22, 23);
    propose(&mut regions[0], 22, add("b")).expect("a proposal");
    apart(&mut regions, 22, 24);
    let mut b = region("b", &["a", "b"]);
    b.arrival = Arrival::Joining;
    b.start(9);
    regions.push(b);
    together(&mut regions, 24, 30);
    // Its log holds the opening of the incarnation before; it knows itself all the same.
    regions[1].machine = None;
    regions[1].start(10);
    assert_eq!(regions[1].machine().origin().0, 9);
    together(&mut regions, 30, 34);
    write(&mut regions[1], 34, "again").expect("it counts");
    // The old one is refused by its number, whatever name it has.
    deliver(&mut regions[0], &mut old, seconds(34), WIRE_VERSION_MAX);
    assert!(matches!(
        old.machine().standing(),
        OwnStanding::Evicted { .. }
    ));
}

#[test]
fn a_person_decides_only_where_a_majority_cannot() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    let by_hand = propose(&mut regions[0], 3, evict("c", DecidedBy::Operator));
    assert_eq!(by_hand, Err(ProposeError::MajorityInTouch));
}

#[test]
fn a_person_decides_nothing_where_another_that_is_there_may_have_decided() {
    let mut regions = founded(&["a", "b", "c", "d"]);
    together(&mut regions, 1, 3);
    apart(&mut regions, 3, 20);
    propose(&mut regions[0], 20, evict("d", DecidedBy::Operator)).expect("a person may");
    let [a, b, ..] = &mut regions[..] else {
        panic!("four of them")
    };
    let elapsed = seconds(21);
    let (now, from) = (b.now(elapsed), a.name.clone());
    b.machine().connected(now, &from, WIRE_VERSION_MAX);
    let asked = b.machine().take_outgoing();
    let asked = asked.into_iter().rfind(|(peer, _)| *peer == from);
    let (_, asked) = asked.expect("a question");
    // a has yet to answer on the new connection.
    let refused = propose(&mut regions[1], 21, evict("c", DecidedBy::Operator));
    assert_eq!(refused, Err(ProposeError::Behind { region: name("a") }));
    let [a, b, ..] = &mut regions[..] else {
        panic!("four of them")
    };
    let (at, known) = (a.now(elapsed), a.machine().road().member(&b.name));
    let answer = a.sender().subscribe(at, known, asked);
    let answer = answer.expect("a readable log").expect("an answer").message;
    b.machine()
        .message(now, &from, answer)
        .expect("a readable log");
    // b has heard that a has more, and nothing of what that is.
    let refused = propose(&mut regions[1], 21, evict("c", DecidedBy::Operator));
    assert_eq!(refused, Err(ProposeError::Behind { region: name("a") }));
    // It isn't waited for when it has fallen silent.
    propose(&mut regions[1], 40, evict("c", DecidedBy::Operator)).expect("a person may");
}

#[test]
fn two_sides_that_were_set_apart_by_hand_notice() {
    let mut regions = founded(&["a", "b", "c", "d"]);
    together(&mut regions, 1, 3);
    apart(&mut regions, 3, 20);
    propose(&mut regions[0], 20, evict("d", DecidedBy::Operator)).expect("a person may");
    propose(&mut regions[1], 20, evict("c", DecidedBy::Operator)).expect("a person may");
    let [a, b, ..] = &mut regions[..] else {
        panic!("four of them")
    };
    deliver(a, b, seconds(21), WIRE_VERSION_MAX);
    let now = b.now(seconds(21));
    let status = b.machine().peers(now);
    let reason = format!("{:?}", status.iter().find(|peer| peer.region == name("a")));
    assert!(reason.contains("decided differently"), "{reason}");
}

#[test]
fn nothing_is_proposed_that_a_member_does_not_understand() {
    let mut both = founded(&["a", "b"]);
    let (mut b, mut a) = (both.remove(1), both.remove(0));
    deliver(&mut b, &mut a, seconds(1), 1);
    let now = a.now(seconds(2));
    a.machine().tick(now).expect("a tick");
    let refused = propose(&mut a, 2, add("c"));
    assert_eq!(refused, Err(ProposeError::NotSpoken { region: name("b") }));
    assert_eq!(a.machine().all_speak(2), Err(name("b")));
    deliver(&mut b, &mut a, seconds(3), 2);
    let now = a.now(seconds(4));
    a.machine().tick(now).expect("a tick");
    a.machine().flush(now).expect("a commit");
    // It is remembered: the peer needn't be there when it matters.
    a.machine = None;
    a.start(1);
    assert_eq!(a.machine().all_speak(2), Ok(()));
    propose(&mut a, 5, add("c")).expect("now it does");
}

/// Asks for a decision about a dead letter that nobody has heard of: what is refused before the
/// letter is looked for tells whether this region may decide at all.
fn decide(region: &mut Region, at: u64) -> Result<(), WriteError<()>> {
    use meridian_model::{Hlc, OriginId, Version};
    let letter = Version {
        hlc: Hlc::from_raw(1),
        origin: OriginId(1),
    };
    let now = region.now(seconds(at));
    let decided = region.machine().decide(now, letter, |_, _| {
        Ok(meridian_replicate::Decided {
            executed: meridian_replicate::Executed {
                changes: Vec::new(),
                idempotency: None,
                reply: (),
            },
            settles: true,
        })
    });
    region.machine().flush(now).expect("a commit");
    decided
}

#[test]
fn who_takes_no_writes_decides_about_no_letters() {
    let mut regions = founded(&["a", "b", "c"]);
    together(&mut regions, 1, 3);
    decide(&mut regions[2], 3).expect("it counts");
    propose(&mut regions[0], 3, remove("c")).expect("a proposal");
    // It has said its last word, and nobody waits for more.
    for second in 3..10 {
        together(&mut regions, second, second + 1);
        if regions[2].machine().standing() == OwnStanding::Leaving {
            break;
        }
    }
    assert_eq!(regions[2].machine().standing(), OwnStanding::Leaving);
    let refused = decide(&mut regions[2], 10);
    assert!(
        matches!(refused, Err(WriteError::NotServing { .. })),
        "{refused:?}"
    );
}

#[test]
fn who_has_not_begun_decides_about_no_letters() {
    let mut b = region("b", &["a"]);
    b.start(9);
    let refused = decide(&mut b, 1);
    assert!(
        matches!(refused, Err(WriteError::NotServing { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_region_that_the_topology_names_later_has_to_join() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 1, 3);
    let all = ["a", "b", "c"].map(name).to_vec();
    for (region, origin) in regions.iter_mut().zip(1..) {
        region.founders.clone_from(&all);
        region.machine = None;
        region.start(origin);
        assert_eq!(members(region).len(), 2, "no vote has let it in");
    }
    let mut c = region("c", &["a", "b", "c"]);
    c.start(9);
    deliver(&mut regions[0], &mut c, seconds(4), WIRE_VERSION_MAX);
    let refused = write(&mut c, 4, "k").expect_err("it has none of the others' rows");
    assert!(refused.contains("has to join"), "{refused}");
    // By itself it is let in, and the others' votes count as before.
    propose(&mut regions[0], 4, add("c")).expect("a proposal");
    together(&mut regions, 4, 7);
    assert_eq!(members(&mut regions[1]).len(), 3);
}

/// An empty region gets a copy of another's tables, and a log that goes on from there.
fn copy(sponsor: &mut Region, joiner: &Region, at: u64) {
    let now = sponsor.now(seconds(at));
    let opened = sponsor.machine().snapshot(now, SnapshotId(at), true);
    let part = opened.expect("a snapshot").part(None, usize::MAX);
    let part = part.expect("all of it");
    let head = part.head.expect("the last part");
    let (position, marks) = (head.position, &head.marks);
    let config = LogConfig::default();
    Log::begin_anew(joiner.disk.clone(), config, position, marks).expect("a log");
    let mut import = Import::begin(joiner.store.clone()).expect("empty tables");
    import.take(&part.records).expect("whole records");
    import.finish(position, &head.road).expect("tables");
}

#[test]
fn a_founder_that_comes_late_with_a_copy_begins_as_the_founder_that_it_is() {
    let names = ["a", "b", "c"];
    let mut regions = founded(&names);
    let mut c = regions.pop().expect("three");
    c = region(c.name.as_str(), &names);
    c.arrival = Arrival::Joining;
    together(&mut regions, 1, 3);
    write(&mut regions[0], 3, "early").expect("a write");
    copy(&mut regions[0], &c, 3);
    // Its own file knows less than the others: who founded the dataset, the copy says.
    c.founders.retain(|it| *it != name("b"));
    c.start(9);
    assert_eq!(c.machine().standing(), OwnStanding::Voting);
    assert_eq!(members(&mut c), members(&mut regions[0]));
    // Of whom it has heard nothing yet.
    assert_eq!(c.machine().all_speak(WIRE_VERSION_MAX), Ok(()));
    c.machine = None;
    c.founders = names.map(name).into();
    c.start(10);
    assert_eq!(
        c.machine().origin().0,
        9,
        "it is the same one after a restart"
    );
    regions.push(c);
    together(&mut regions, 3, 8);
    write(&mut regions[2], 8, "late").expect("it counts");
    together(&mut regions, 8, 12);
    let epoch = regions[2].machine().epoch().clone();
    for region in &mut regions {
        assert!(has(region, "early") && has(region, "late"));
        assert_eq!(*region.machine().epoch(), epoch);
        let c = region.machine().road().member(&name("c"));
        assert_eq!(c.map(|it| it.0), Some(9));
    }
}

#[test]
fn a_copy_from_those_who_do_not_count_a_region_makes_no_founder_of_it() {
    let mut regions = founded(&["a"]);
    let mut b = region("b", &["a", "b"]);
    b.arrival = Arrival::Joining;
    copy(&mut regions[0], &b, 1);
    b.start(9);
    assert!(matches!(
        b.machine().standing(),
        OwnStanding::Joining { .. }
    ));
    assert_eq!(members(&mut b), [("a".to_owned(), Standing::Voting)]);
}

#[test]
fn tables_that_fell_back_to_the_copy_do_not_begin_as_another_incarnation() {
    let names = ["a", "b", "c"];
    let mut regions = founded(&names);
    let mut c = regions.pop().expect("three");
    let copied = region(c.name.as_str(), &names);
    c = region(c.name.as_str(), &names);
    for joiner in [&c, &copied] {
        copy(&mut regions[0], joiner, 3);
    }
    c.arrival = Arrival::Joining;
    c.start(9);
    write(&mut c, 4, "own").expect("a write");
    c.machine = None;
    // What it committed since is lost, and it is started like any region that has joined.
    c.store = copied.store;
    c.arrival = Arrival::Founding;
    let error = c.open(10).err();
    assert!(matches!(error, Some(OpenError::Identity)), "{error:?}");
}

#[test]
fn a_joiner_whose_copy_is_too_old_for_every_log_learns_that_it_has_to_copy_anew() {
    let mut regions = vec![region("a", &["a"])];
    regions[0].segment_bytes = 4096;
    regions[0].start(1);
    propose(&mut regions[0], 1, add("c")).expect("a proposal");
    apart(&mut regions, 1, 3);
    let c = region("c", &["a"]);
    copy(&mut regions[0], &c, 3);
    propose(&mut regions[0], 4, evict("c", DecidedBy::Majority)).expect("it decides alone");
    apart(&mut regions, 4, 6);
    for row in 0..200 {
        write(&mut regions[0], 6, &format!("k{row}")).expect("a write");
    }
    // The copy's log was kept for a while.
    apart(&mut regions, 700, 702);
    propose(&mut regions[0], 702, add("c")).expect("a proposal");
    apart(&mut regions, 702, 704);
    regions.push(c);
    regions[1].start(9);
    let needs_new_copy = |regions: &mut [Region], at| {
        tick(&mut regions[1..], seconds(at));
        regions[1].machine().needs_new_copy()
    };
    together(&mut regions, 704, 705);
    assert!(!needs_new_copy(&mut regions, 705), "another may have it");
    together(&mut regions, 705, 720);
    assert!(
        needs_new_copy(&mut regions, 720),
        "nobody has what it lacks"
    );
    let mut anew = region("c", &["a"]);
    copy(&mut regions[0], &anew, 721);
    anew.start(10);
    regions[1] = anew;
    together(&mut regions, 722, 730);
    assert_eq!(regions[1].machine().standing(), OwnStanding::Voting);
    assert!(!needs_new_copy(&mut regions, 760), "it has begun");
    assert!(has(&mut regions[1], "k199"));
}

#[test]
fn who_is_copying_is_not_evicted_and_who_never_comes_is() {
    for is_there in [true, false] {
        let names = ["a", "b"];
        let mut regions = names.map(|own| region(own, &names));
        for (region, origin) in regions.iter_mut().zip(1..) {
            region.evict_after = Some(seconds(10));
            region.start(origin);
        }
        together(&mut regions, 1, 3);
        propose(&mut regions[0], 3, add("c")).expect("a proposal");
        together(&mut regions, 3, 6);
        for region in regions.iter_mut().filter(|_| is_there) {
            let now = region.now(seconds(6));
            let machine = region.machine();
            machine.connected(now, &name("c"), WIRE_VERSION_MAX);
        }
        together(&mut regions, 6, 60);
        let is_member = members(&mut regions[0]).contains(&("c".into(), Standing::Joining));
        assert_eq!(is_member, is_there, "{:?}", members(&mut regions[0]));
    }
}

#[test]
fn who_has_yet_to_begin_keeps_the_log_for_as_long_as_no_client_is_refused_for_it() {
    let mut regions = vec![region("a", &["a"])];
    regions[0].segment_bytes = 4096;
    regions[0].log_bytes_max = 128 << 10;
    regions[0].start(1);
    propose(&mut regions[0], 1, add("c")).expect("a proposal");
    apart(&mut regions, 1, 3);
    let mut log_bytes_max = 0;
    for row in 0..5_000 {
        let elapsed = seconds(3) + Duration::from_millis(10 * row);
        let a = &mut regions[0];
        let written = a.put(elapsed, &format!("k{}", row % 10));
        written.expect("nobody who joins makes clients be refused");
        let now = a.now(elapsed);
        a.machine().tick(now).expect("upkeep");
        log_bytes_max = log_bytes_max.max(a.machine().log_bytes());
    }
    assert!(
        log_bytes_max > 80 << 10,
        "it was kept up to {log_bytes_max} bytes"
    );
    // What keeps no log is not evicted for it.
    let joining = ("c".into(), Standing::Joining);
    assert!(members(&mut regions[0]).contains(&joining));
}
