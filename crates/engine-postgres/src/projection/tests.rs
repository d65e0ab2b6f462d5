use super::known::{Known, NO_HORIZON};
use super::model::{Step, World, name};
use super::*;
use meridian_model::{Hlc, OriginId};
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4u8;
    let value = proptest::option::weighted(0.7, 1..50u32);
    let local = proptest::collection::vec(
        (key.clone(), value.clone(), prop::bool::weighted(0.2)),
        1..3,
    );
    let remote = proptest::collection::vec((key.clone(), value), 1..3);
    prop_oneof![
        4 => local.prop_map(Step::Begin),
        4 => (prop::bool::weighted(0.85), 0..3usize)
            .prop_map(|(commits, which)| Step::End { commits, which }),
        3 => (remote, prop::bool::weighted(0.7)).prop_map(|(writes, newer)| Step::Remote(writes, newer)),
        5 => Just(Step::Capture),
        1 => Just(Step::Follow),
        5 => Just(Step::Issue),
        5 => prop::bool::weighted(0.1).prop_map(|loses_connection| Step::Write { loses_connection }),
        5 => Just(Step::Hear),
        1 => Just(Step::Horizon),
        1 => Just(Step::Release),
        1 => Just(Step::Crash),
        1 => key.prop_map(Step::Rewrite),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Whatever happens, in the end the server shows what the tables show, and no row was ever
    /// overwritten whose state capture had not seen.
    #[test]
    fn the_server_becomes_what_the_tables_are(steps in proptest::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        world.check();
        prop_assert_eq!(world.batch(), None);
    }
}

/// A local delete stands before a batch that brings the row back, and is captured by a later life,
/// after that life's first batch has moved the position on; then that life ends too.
#[test]
fn what_was_lost_to_a_batch_of_an_earlier_life_is_found() {
    let delete = Step::Begin(vec![(2, None, false)]);
    let commit = Step::End {
        commits: true,
        which: 0,
    };
    let write = Step::Write {
        loses_connection: false,
    };
    let mut world = World::new();
    for step in [
        Step::Begin(vec![(2, Some(1), false)]),
        commit.clone(),
        Step::Capture,
        delete,
        Step::Crash,
        Step::Issue,
        commit,
        write.clone(),
        Step::Remote(vec![(0, None)], false),
        Step::Crash,
        Step::Capture,
        Step::Issue,
        write,
        Step::Capture,
        Step::Crash,
    ] {
        world.step(&step);
    }
    world.settle();
    world.check();
}

fn rows(keys: &[u8]) -> Vec<RowName> {
    keys.iter().map(|key| name(*key)).collect()
}

fn shown(version: u64) -> Option<Shown> {
    Some(Shown {
        document: r#"{"v":"1"}"#.to_owned(),
        version: Version {
            hlc: Hlc::from_raw(version),
            origin: OriginId(1),
        },
    })
}

fn committed(xid: u32, end: u64, parked: Vec<Parked>) -> Outcome {
    Outcome::Committed {
        xid: Xid(xid),
        end: Lsn(end),
        parked,
    }
}

/// Issues what is dirty with a document for each row; the batch's id and rows.
fn project(machine: &mut Projection) -> (u64, Vec<DirtyRow>) {
    let batch = machine.next_batch().unwrap();
    let (id, rows) = (batch.id, batch.rows.clone());
    let documents: Vec<_> = rows.iter().map(|_| shown(1)).collect();
    machine.projected(batch, Position(1), Vector::default(), documents);
    (id, rows)
}

fn names(rows: &[DirtyRow]) -> Vec<RowName> {
    rows.iter().map(|row| row.row.clone()).collect()
}

fn tag() -> Tag {
    Tag {
        position: Position(1),
        seen: Vector::default(),
    }
}

use crate::tag::Tag;

fn parked_by_rival(row: u8, rival: u8) -> Parked {
    Parked {
        row: name(row),
        hindrance: Hindrance::Rival {
            constraint: "t_email_key".to_owned(),
            rival: name(rival),
        },
    }
}

#[test]
fn what_a_tagged_transaction_did_beyond_is_local() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1, 2]));
    let (id, _) = project(&mut machine);
    machine.outcome(id, committed(7, 70, vec![]));
    let asked = |key| (name(key), Some(r#"{"v":"1"}"#.to_owned()));
    // Row 1 goes and comes back within, as asked; a trigger changes row 2 and a cascade takes row 3.
    let other = (name(2), Some(r#"{"v":"9"}"#.to_owned()));
    let rows = [
        (name(1), None),
        asked(1),
        asked(2),
        other.clone(),
        (name(3), None),
    ];
    for row in rows.chunks(2) {
        machine.rows_captured(Xid(7), Some(&tag()), row);
    }
    let beyond = machine.transaction_captured(Xid(7), Some(&tag()), Lsn(70));
    assert_eq!(beyond, [other, (name(3), None)]);
    assert_eq!(machine.shown(), Some(&tag()));
    assert_eq!(machine.next_batch(), None, "what is captured is settled");
}

#[test]
fn a_tagged_transaction_that_nobody_remembers_makes_its_rows_dirty() {
    let mut machine = Projection::default();
    machine.rows_captured(Xid(7), Some(&tag()), &[(name(1), None)]);
    assert!(
        machine
            .transaction_captured(Xid(7), Some(&tag()), Lsn(70))
            .is_empty()
    );
    assert_eq!(names(&project(&mut machine).1), rows(&[1]));
}

#[test]
fn a_row_changed_while_it_is_written_is_written_again() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1]));
    let (id, _) = project(&mut machine);
    machine.rows_captured(Xid(5), None, &[(name(1), None), (name(2), None)]);
    machine.outcome(id, committed(7, 70, vec![]));
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[1]));
    assert_eq!(dirty[0].known, Some(Xid(7)));
    machine.outcome(id, committed(8, 80, vec![]));
    machine.passed(Lsn(80));
    assert_eq!(machine.uncaptured_batches(), 0);
    machine.rows_captured(Xid(9), None, &[(name(1), None)]);
    assert_eq!(machine.next_batch(), None, "the batch was captured before");
}

#[test]
fn what_an_earlier_life_may_have_overwritten_is_written_again() {
    let mut machine = Projection::new(Lsn(50), []);
    machine.rows_captured(Xid(5), None, &[(name(1), None)]);
    machine.transaction_captured(Xid(5), None, Lsn(50));
    machine.rows_captured(Xid(6), None, &[(name(2), None)]);
    assert_eq!(names(&project(&mut machine).1), rows(&[1]));
}

#[test]
fn a_probed_writer_is_known_once_capture_has_passed() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1]));
    let (id, dirty) = project(&mut machine);
    assert_eq!(dirty[0].known, None);
    let unsure = Outcome::Unsure {
        found: vec![(name(1), Some(Xid(5)))],
        read_at: Lsn(50),
    };
    machine.outcome(id, unsure.clone());
    machine.passed(Lsn(49));
    assert_eq!(machine.next_batch(), None);
    machine.passed(Lsn(50));
    assert_eq!(project(&mut machine).1[0].known, Some(Xid(5)));
}

#[test]
fn a_row_that_is_never_known_in_time_is_locked_first() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1, 2]));
    let mut holds = Vec::new();
    for xid in 10..15 {
        let batch = machine.next_batch().unwrap();
        holds.push(batch.hold.clone());
        let found = vec![(name(1), Some(Xid(xid)))];
        machine.outcome(
            batch.id,
            Outcome::Unsure {
                found,
                read_at: Lsn(1),
            },
        );
        machine.passed(Lsn(1));
    }
    let none: Vec<RowName> = vec![];
    assert_eq!(
        holds,
        [none.clone(), none.clone(), none.clone(), rows(&[1]), none]
    );
}

#[test]
fn after_much_in_vain_all_rows_are_locked_first_and_those_that_come_meanwhile() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1, 2]));
    for _ in 0..3 {
        let batch = machine.next_batch().unwrap();
        assert!(batch.hold.is_empty());
        machine.outcome(batch.id, Outcome::Locked);
    }
    let hold = |machine: &mut Projection, keys: &[u8]| {
        let batch = machine.next_batch().unwrap();
        assert_eq!(batch.hold, rows(keys));
        let found = keys.iter().map(|key| (name(*key), None)).collect();
        let read_at = Lsn(0);
        machine.outcome(batch.id, Outcome::Unsure { found, read_at });
    };
    hold(&mut machine, &[1, 2]);
    machine.touched(rows(&[2, 3]));
    hold(&mut machine, &[3]);
    machine.touched(rows(&[4]));
    hold(&mut machine, &[4]);
    // At some time what there is has to be written.
    machine.touched(rows(&[5]));
    let batch = machine.next_batch().unwrap();
    assert_eq!((batch.hold.len(), batch.rows.len()), (0, 5));
    // With that the locks are gone.
    let (found, read_at) = (vec![(name(5), Some(Xid(9)))], Lsn(0));
    machine.outcome(batch.id, Outcome::Unsure { found, read_at });
    hold(&mut machine, &[1, 2, 3, 4, 5]);
    // Or are given up, when capture is long in coming.
    machine.let_go();
    hold(&mut machine, &[1, 2, 3, 4, 5]);
    let (id, _) = project(&mut machine);
    let (xid, end, parked) = (Xid(10), Lsn(0), vec![]);
    machine.outcome(id, Outcome::Committed { xid, end, parked });
    // It went well: the next is tried without, and one failure is enough.
    machine.touched(rows(&[1]));
    let batch = machine.next_batch().unwrap();
    assert!(batch.hold.is_empty());
    machine.outcome(batch.id, Outcome::Locked);
    hold(&mut machine, &[1]);
}

#[test]
fn known_writers_are_bounded() {
    let mut known = Known::with_capacity(3);
    assert_eq!(known.horizon(), NO_HORIZON);
    for (key, xid) in [(1, 10), (2, 11), (3, 12), (4, 13)] {
        known.remember(&name(key), Xid(xid));
    }
    assert_eq!(
        (known.get(&name(1)), known.get(&name(2))),
        (None, Some(Xid(11)))
    );
    known.candidate(Xid(13), Lsn(5));
    known.candidate(Xid(99), Lsn(6));
    known.passed(Lsn(4));
    assert_eq!(known.len(), 3);
    known.passed(Lsn(5));
    assert_eq!((known.horizon(), known.len()), (Xid(13), 1));
    assert_eq!(known.get(&name(4)), Some(Xid(13)));
}

#[test]
fn a_parked_row_returns_with_its_rival_when_that_is_touched() {
    let mut machine = Projection::default();
    machine.touched(rows(&[1, 2]));
    let (id, _) = project(&mut machine);
    machine.outcome(id, committed(7, 70, vec![parked_by_rival(2, 1)]));
    machine.passed(Lsn(70));
    assert_eq!(
        machine.parked().collect::<Vec<_>>(),
        [parked_by_rival(2, 1)]
    );
    machine.touched(rows(&[3]));
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[3]), "nothing of theirs has changed");
    machine.outcome(id, committed(8, 80, vec![]));
    machine.passed(Lsn(80));
    machine.rows_captured(Xid(9), None, &[(name(1), None)]);
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[1, 2]));
    assert!(dirty[1].is_parked && !dirty[0].is_parked);
    // The rival is out itself now, and what waits for the row that returns is tried again.
    machine.outcome(id, committed(10, 100, vec![]));
    assert_eq!(machine.parked().count(), 0);
    let mut machine = Projection::new(Lsn(0), [parked_by_rival(2, 1)]);
    machine.retry_parked();
    assert_eq!(names(&project(&mut machine).1), rows(&[1, 2]));
}

#[test]
fn who_waits_for_a_row_that_comes_or_goes_is_tried_again() {
    let mut machine = Projection::new(Lsn(0), [parked_by_rival(3, 2)]);
    machine.touched(rows(&[1]));
    let (id, _) = project(&mut machine);
    machine.outcome(id, Outcome::Involved { rows: rows(&[2]) });
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[1, 2]));
    machine.outcome(id, committed(7, 70, vec![parked_by_rival(2, 1)]));
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[1, 2, 3]), "2 is out, so 3 may be in");
    machine.outcome(id, committed(8, 80, vec![parked_by_rival(2, 1)]));
    assert_eq!(machine.next_batch(), None, "and that ends");
}

/// Row 2 is found to be an orphan, and before that is heard its parent comes, row 1: from elsewhere,
/// or by a transaction of the server.
#[test]
fn a_parent_that_comes_while_its_child_is_being_parked_brings_it_back() {
    let orphan = || Parked {
        row: name(2),
        hindrance: Hindrance::Orphan {
            constraint: "t_parent_fkey".to_owned(),
            table: "public.t".to_owned(),
            parent: Some(name(1)),
            holds_values: false,
        },
    };
    let mut machine = Projection::default();
    machine.touched(rows(&[2]));
    let (id, _) = project(&mut machine);
    machine.touched(rows(&[1]));
    machine.outcome(id, committed(7, 70, vec![orphan()]));
    assert_eq!(names(&project(&mut machine).1), rows(&[1, 2]));

    let mut machine = Projection::default();
    machine.touched(rows(&[2]));
    let (id, _) = project(&mut machine);
    let parent = (name(1), Some("{}".to_owned()));
    machine.rows_captured(Xid(6), None, &[parent]);
    machine.outcome(id, committed(7, 70, vec![orphan()]));
    assert_eq!(names(&project(&mut machine).1), rows(&[2]));
}

#[test]
fn an_orphan_keeps_its_values_from_others() {
    let orphan = Parked {
        row: name(1),
        hindrance: Hindrance::Orphan {
            constraint: "t_parent".to_owned(),
            table: "public.p".to_owned(),
            parent: None,
            holds_values: true,
        },
    };
    let mut machine = Projection::new(Lsn(0), [orphan]);
    machine.touched(rows(&[2]));
    let (id, dirty) = project(&mut machine);
    assert_eq!(names(&dirty), rows(&[1, 2]));
    machine.outcome(id, committed(7, 70, vec![]));
    machine.touched(rows(&[2]));
    assert_eq!(names(&project(&mut machine).1), rows(&[2]));
}
