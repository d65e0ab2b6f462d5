//! Transactions that an engine committed first.

use crate::members::{add, deliver, founded, propose, region, together};
use crate::support::{Region, request, seconds, stream};
use meridian_engine_kv::{Action, MemoryStore, Tables};
use meridian_model::{
    ABSORBED_SINCE, COLLISIONS_SINCE, CapturedAt, Change, Chosen, Collisions, Conflict,
    ConflictKind, Operation, RowName, Vector, WIRE_VERSION_MAX,
};
use meridian_replicate::{OwnStanding, WriteError};

fn place(end: u64) -> CapturedAt {
    CapturedAt {
        system: 1,
        timeline: 1,
        end,
        part: 0,
        is_last: true,
    }
}

fn change(operation: Operation) -> Vec<Change> {
    vec![Change {
        table: "t".into(),
        key: "k".into(),
        operation,
    }]
}

fn put(document: &str) -> Vec<Change> {
    change(Operation::Put {
        document: document.into(),
    })
}

fn increment(by: i64) -> Vec<Change> {
    change(Operation::Increment {
        by: vec![("n".into(), by)],
    })
}

fn capturing(name: &str, origin: u64) -> Region {
    let mut region = Region::new(name);
    region.start(origin);
    region.machine = region.machine.map(|machine| machine.capturing());
    region
}

impl Region {
    fn capture(&mut self, at: u64, end: u64, seen: &Vector, changes: Vec<Change>) {
        let now = self.now(seconds(at));
        let machine = self.machine();
        machine
            .capture(now, place(end), seen.clone(), changes)
            .expect("it is taken");
        machine.flush(now).expect("a commit");
    }

    fn document(&mut self) -> Option<String> {
        let reader = Tables::reader(self.machine().engine());
        let row = reader.get("t", "k").expect("a row");
        row.map(|row| row.document)
    }

    fn applied(&mut self) -> Vector {
        self.machine().applied()
    }
}

/// Each takes what the other has, then does what is due.
fn meet(a: &mut Region, b: &mut Region, second: u64) {
    stream(a, b, seconds(second));
    stream(b, a, seconds(second));
    look_after([a, b], second);
}

fn look_after(regions: [&mut Region; 2], second: u64) {
    for region in regions {
        let now = region.now(seconds(second));
        region.machine().tick(now).expect("upkeep");
        region.machine().flush(now).expect("a commit");
    }
}

/// Two regions that know each other, each capturing.
fn pair() -> (Region, Region) {
    let (mut a, mut b) = (capturing("a", 1), capturing("b", 2));
    for second in 1..4 {
        meet(&mut a, &mut b, second);
    }
    (a, b)
}

#[test]
fn a_write_is_concurrent_with_what_its_engine_had_not_been_given() {
    let (mut a, mut b) = pair();
    a.capture(4, 10, &Vector::default(), put(r#"{"n":1}"#));
    stream(&mut a, &mut b, seconds(4));
    let seen = b.applied();
    b.capture(5, 10, &seen, increment(10));
    stream(&mut b, &mut a, seconds(5));
    assert_eq!(a.document().as_deref(), Some(r#"{"n":11}"#));
    // The tables of a show the increment, its engine does not yet: what it puts doesn't absorb it.
    let own = a.machine().origin();
    let seen: Vector = a.applied().iter().filter(|(of, _)| *of == own).collect();
    a.capture(6, 20, &seen, put(r#"{"n":5}"#));
    stream(&mut a, &mut b, seconds(6));
    assert_eq!(a.document().as_deref(), Some(r#"{"n":15}"#));
    assert_eq!(b.document().as_deref(), Some(r#"{"n":15}"#));
}

#[test]
fn what_an_engine_has_not_been_given_is_not_collected() {
    let (mut a, mut b) = pair();
    a.capture(4, 10, &Vector::default(), put(r#"{"n":1}"#));
    stream(&mut a, &mut b, seconds(4));
    let seen = b.applied();
    b.capture(5, 10, &seen, increment(10));
    // Reports go to and fro, collection runs; a's engine has still not been given the increment.
    for second in 6..20 {
        meet(&mut a, &mut b, second);
    }
    a.capture(20, 20, &Vector::default(), put(r#"{"n":5}"#));
    stream(&mut a, &mut b, seconds(20));
    assert_eq!(a.document().as_deref(), Some(r#"{"n":15}"#));
    assert_eq!(b.document().as_deref(), Some(r#"{"n":15}"#));
}

#[test]
fn the_place_reached_survives_a_crash_with_what_it_captured() {
    let (mut a, mut b) = pair();
    assert_eq!(a.machine().captured(), None);
    let seen: Vector = [(b.machine().origin(), meridian_model::Hlc::from_raw(1))]
        .into_iter()
        .collect();
    a.capture(4, 10, &Vector::default(), put("1"));
    a.capture(5, 20, &seen, Vec::new());
    stream(&mut a, &mut b, seconds(5));
    let captured = Some((place(20), seen));
    assert_eq!(a.machine().captured().cloned(), captured);
    assert_eq!(b.machine().captured(), None, "it is a's place");
    // A round that the disk did not take never was.
    let now = a.now(seconds(6));
    let machine = a.machine();
    machine
        .capture(now, place(30), Vector::default(), put("2"))
        .expect("it is taken");
    a.disk.crash(&mut || 0);
    a.machine = None;
    a.start(9);
    assert_eq!(a.machine().captured().cloned(), captured);
    assert_eq!(a.document().as_deref(), Some("1"));
}

/// Both sides of the conflicts that a region lists, oldest first: what gave way, and what stands.
fn listed(region: &mut Region) -> Vec<(ConflictKind, Option<String>, Option<String>)> {
    let page = region.machine().engine().reader().conflicts(None, 100);
    let conflicts = page.expect("conflicts").conflicts;
    let conflicts = conflicts.into_iter().rev();
    let sides = conflicts.map(
        |(
            _,
            Conflict {
                kind,
                loser,
                winner,
                ..
            },
        )| { (kind, loser.document, winner.document) },
    );
    sides.collect()
}

#[test]
fn what_an_engine_wrote_over_blindly_is_listed_by_all_regions_and_after_a_crash() {
    let (mut a, mut b) = pair();
    a.capture(4, 10, &Vector::default(), put("1"));
    let blind = Collisions {
        blind: vec![0],
        ..Collisions::default()
    };
    let collide = |a: &mut Region, end, changes, collisions: &Collisions| {
        let (now, what) = (a.now(seconds(end)), (changes, collisions.clone()));
        let machine = a.machine();
        let taken = machine.capture_colliding(now, place(end), Vector::default(), what);
        machine.flush(now).expect("a commit");
        taken
    };
    collide(&mut a, 20, put("2"), &blind).expect("it is taken");
    // What it has seen is written over, and what is equal gave way to nothing.
    a.capture(21, 21, &Vector::default(), put("3"));
    collide(&mut a, 22, put("3"), &blind).expect("it is taken");
    collide(&mut a, 23, change(Operation::Delete), &blind).expect("it is taken");
    stream(&mut a, &mut b, seconds(23));
    let text = |text: &str| Some(text.to_owned());
    let mut expected = vec![
        (ConflictKind::UpdateUpdate, text("1"), text("2")),
        (ConflictKind::UpdateDelete, text("3"), None),
    ];
    assert_eq!(listed(&mut a), expected);
    assert_eq!(listed(&mut b), expected);

    // Of a row that both have otherwise, somebody chooses a side.
    a.capture(24, 24, &Vector::default(), put("4"));
    let chosen = |stands| Collisions {
        chosen: vec![Chosen {
            row: RowName {
                table: "t".into(),
                key: "k".into(),
            },
            document: text("server"),
            stands,
        }],
        ..Collisions::default()
    };
    collide(&mut a, 25, Vec::new(), &chosen(false)).expect("it is taken");
    collide(&mut a, 26, Vec::new(), &chosen(true)).expect("it is taken");
    stream(&mut a, &mut b, seconds(26));
    assert_eq!(a.document(), text("4"), "it changes no row");
    expected.push((ConflictKind::Chosen, text("server"), text("4")));
    expected.push((ConflictKind::Chosen, text("4"), text("server")));
    assert_eq!(listed(&mut a), expected);
    assert_eq!(listed(&mut b), expected);

    // The log alone tells it.
    a.machine = None;
    a.store = MemoryStore::default();
    a.start(9);
    assert_eq!(listed(&mut a), expected);
}

#[test]
fn a_choice_waits_until_all_regions_can_read_it_and_blind_writes_do_not() {
    let (mut a, mut b) = (capturing("a", 1), capturing("b", 2));
    for second in 1..4 {
        deliver(&mut a, &mut b, seconds(second), COLLISIONS_SINCE - 1);
        deliver(&mut b, &mut a, seconds(second), COLLISIONS_SINCE - 1);
        look_after([&mut a, &mut b], second);
    }
    a.capture(4, 10, &Vector::default(), put("1"));
    let now = a.now(seconds(5));
    let blind = Collisions {
        blind: vec![0],
        ..Collisions::default()
    };
    let what = (put("2"), blind);
    let taken = a
        .machine()
        .capture_colliding(now, place(20), Vector::default(), what);
    taken.expect("it is taken");
    let chosen = Chosen {
        row: RowName {
            table: "t".into(),
            key: "k".into(),
        },
        document: None,
        stands: false,
    };
    let chosen = Collisions {
        chosen: vec![chosen],
        ..Collisions::default()
    };
    let what = (Vec::new(), chosen);
    let refused = a
        .machine()
        .capture_colliding(now, place(21), Vector::default(), what);
    assert!(matches!(
        refused,
        Err(WriteError::NotSpoken {
            version: COLLISIONS_SINCE,
            ..
        })
    ));
    a.machine().flush(now).expect("a commit");
    assert_eq!(a.document().as_deref(), Some("2"));
    assert_eq!(listed(&mut a), []);
}

#[test]
fn the_log_is_kept_for_what_follows_it_outside() {
    let (mut a, mut b) = pair();
    let kept = a.machine().reader().end();
    a.machine().keep_from(kept);
    let document = format!("\"{}\"", "x".repeat(1000));
    for second in 4..40 {
        a.capture(second, second, &Vector::default(), put(&document));
        meet(&mut a, &mut b, second);
    }
    assert!(a.machine().reader().start() <= kept);
    let end = a.machine().reader().end();
    a.machine().keep_from(end);
    let now = a.now(seconds(60));
    a.machine().tick(now).expect("upkeep");
    assert!(a.machine().reader().start() > kept);
}

/// From 3 to 8 s on `a` and `b` let `c` join, which waits for its vote until its engine has been given what
/// they have.
fn is_joined_by_c(regions: &mut Vec<Region>) {
    let mut c = region("c", &["a", "b"]);
    c.start(9);
    c.machine = c.machine.map(|machine| machine.capturing());
    regions.push(c);
    propose(&mut regions[0], 3, add("c")).expect("a proposal");
    together(regions, 3, 8);
}

/// What the others had collected when they began to count it they keep apart no longer, and its engine has
/// not been given it: were that concurrent, a region that still keeps it apart would show another value.
#[test]
fn what_a_joining_region_had_counts_no_more_beside_what_its_engine_puts() {
    let mut regions = founded(&["a", "b"]);
    together(&mut regions, 1, 3);
    let increment = |region: &mut Region, at| {
        let (field, by) = ("n".to_owned(), 5);
        let request = request("k", Action::Increment { field, by });
        region.run(seconds(at), &request).expect("a write");
    };
    increment(&mut regions[0], 3);
    is_joined_by_c(&mut regions);
    let shown = |regions: &mut [Region]| {
        let documents: Vec<_> = regions.iter_mut().map(|it| it.document()).collect();
        documents
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut regions), [r#"{"n":5}"#; 3]);
    regions[2].capture(8, 10, &Vector::default(), put(r#"{"n":1}"#));
    together(&mut regions, 8, 10);
    assert_eq!(shown(&mut regions), [r#"{"n":1}"#; 3]);
    // What they did since is kept apart until its engine has been given it.
    increment(&mut regions[1], 10);
    together(&mut regions, 10, 12);
    regions[2].capture(12, 20, &Vector::default(), put(r#"{"n":2}"#));
    together(&mut regions, 12, 14);
    assert_eq!(shown(&mut regions), [r#"{"n":7}"#; 3]);
    // It votes once its engine has been given what they had, and absorbs by what that had seen alone.
    let given = regions[2].applied();
    regions[2].capture(14, 30, &given, Vec::new());
    together(&mut regions, 14, 18);
    assert_eq!(regions[2].machine().standing(), OwnStanding::Voting);
    increment(&mut regions[1], 18);
    together(&mut regions, 18, 20);
    regions[2].capture(20, 40, &given, put(r#"{"n":3}"#));
    together(&mut regions, 20, 22);
    assert_eq!(shown(&mut regions), [r#"{"n":8}"#; 3]);
}

/// Until all are known to read what a joining region's transactions absorb it captures nothing, and says
/// who isn't: itself too.
#[test]
fn what_a_joining_region_absorbs_is_said_to_those_who_read_it() {
    for own in [ABSORBED_SINCE, ABSORBED_SINCE - 1] {
        let mut regions = founded(&["a", "b"]);
        together(&mut regions, 1, 3);
        regions[0].put(seconds(3), "k").expect("a write");
        let mut c = region("c", &["a", "b"]);
        c.wire_version = own;
        c.start(9);
        c.machine = c.machine.map(|machine| machine.capturing());
        regions.push(c);
        propose(&mut regions[0], 3, add("c")).expect("a proposal");
        together(&mut regions, 3, 8);
        let now = regions[2].now(seconds(8));
        let taken = regions[2]
            .machine()
            .capture(now, place(10), Vector::default(), put("1"));
        let unread = regions[2].machine().unread_absorption();
        let is_of_c = |error: &WriteError<_>| matches!(error, WriteError::NotSpoken { region, .. } if *region == regions[2].name);
        if own < ABSORBED_SINCE {
            assert!(taken.as_ref().is_err_and(is_of_c), "{taken:?}");
            assert!(unread.as_ref().is_some_and(is_of_c), "{unread:?}");
        } else {
            assert!(taken.is_ok() && unread.is_none(), "{taken:?} {unread:?}");
        }
    }
}

/// A large transaction shows with its last part: one of which a joining region had only the first then
/// comes behind what its engine puts there, and in front of it elsewhere.
#[test]
fn what_a_joining_region_had_in_part_is_not_absorbed() {
    let mut regions = founded(&["a", "b"]);
    regions[0].machine = regions[0].machine.take().map(|it| it.capturing());
    together(&mut regions, 1, 3);
    is_joined_by_c(&mut regions);
    let part = |region: &mut Region, part, changes| {
        let (now, is_last) = (region.now(seconds(8)), part > 0);
        let at = CapturedAt {
            part,
            is_last,
            ..place(50)
        };
        let machine = region.machine();
        let taken = machine.capture(now, at, Vector::default(), changes);
        taken.expect("it is taken");
        machine.flush(now).expect("a commit");
    };
    part(&mut regions[0], 0, increment(5));
    let [a, c] = regions.get_disjoint_mut([0, 2]).expect("two of them");
    deliver(a, c, seconds(8), WIRE_VERSION_MAX);
    part(a, 1, Vec::new());
    c.capture(8, 10, &Vector::default(), put(r#"{"n":1}"#));
    together(&mut regions, 9, 12);
    for region in &mut regions {
        let now = region.now(seconds(12));
        while region.machine().is_catching_up() {
            region.machine().catch_up(now);
            region.machine().flush(now).expect("a commit");
        }
        assert_eq!(region.document().as_deref(), Some(r#"{"n":6}"#));
    }
}
