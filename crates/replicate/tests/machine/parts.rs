//! Large transactions, which come in parts and show as a whole.

use crate::support::{Region, put as put_action, request, seconds, stream};
use meridian_engine_kv::Tables;
use meridian_model::{CapturedAt, Change, Operation, SnapshotId, Vector};
use meridian_replicate::SnapshotRefusal;

/// Three parts of this size are more than one step takes in.
const PADDING: usize = 600 << 10;

fn capturing(name: &str, origin: u64) -> Region {
    let mut region = Region::new(name);
    region.start(origin);
    region.machine = region.machine.map(|machine| machine.capturing());
    region
}

fn pair() -> (Region, Region) {
    let (mut a, mut b) = (capturing("a", 1), capturing("b", 2));
    for second in 1..4 {
        meet(&mut a, &mut b, second);
    }
    (a, b)
}

/// Each takes what the other has, then does what is due.
fn meet(a: &mut Region, b: &mut Region, second: u64) {
    stream(a, b, seconds(second));
    stream(b, a, seconds(second));
    for region in [a, b] {
        let now = region.now(seconds(second));
        region.machine().tick(now).expect("upkeep");
        region.machine().flush(now).expect("a commit");
    }
}

fn place(end: u64, part: u32, is_last: bool) -> CapturedAt {
    CapturedAt {
        system: 1,
        timeline: 1,
        end,
        part,
        is_last,
    }
}

impl Region {
    /// A part that adds 1 to row `n`, and writes a row of its own.
    fn part(&mut self, second: u64, at: CapturedAt) {
        let change = |key: String, operation| Change {
            table: "t".into(),
            key,
            operation,
        };
        let by = vec![("n".to_owned(), 1)];
        let document = format!("\"{}\"", "x".repeat(PADDING));
        let changes = vec![
            change("n".to_owned(), Operation::Increment { by }),
            change(format!("part-{}", at.part), Operation::Put { document }),
        ];
        let now = self.now(seconds(second));
        let machine = self.machine();
        machine
            .capture(now, at, Vector::default(), changes)
            .expect("it is taken");
        machine.flush(now).expect("a commit");
    }

    fn count(&mut self) -> Option<String> {
        let reader = Tables::reader(self.machine().engine());
        let row = reader.get("t", "n").expect("readable tables");
        row.map(|row| row.document)
    }

    fn step(&mut self, second: u64) {
        let now = self.now(seconds(second));
        self.machine().catch_up(now);
    }

    fn settle(&mut self, second: u64) -> usize {
        let mut steps = 0;
        while self.machine().is_catching_up() {
            self.step(second);
            steps += 1;
        }
        steps
    }

    fn restart(&mut self) {
        self.disk.crash(&mut || 0);
        self.machine = None;
        self.start(99);
        self.machine = self.machine.take().map(|machine| machine.capturing());
    }
}

#[test]
fn a_transaction_in_parts_shows_as_a_whole_and_others_go_on_meanwhile() {
    let (mut a, mut b) = pair();
    let own = a.machine().origin();
    a.part(4, place(10, 0, false));
    let first = a.machine().marks().get(own).hlc;
    a.part(4, place(10, 1, false));
    stream(&mut a, &mut b, seconds(5));
    assert_eq!((a.count(), b.count()), (None, None));
    let applied = b.machine().applied();
    assert!(applied.get(own) < first, "what is held is not applied");
    b.run(seconds(5), &request("other", put_action("7")))
        .expect("a write");
    assert_eq!(b.row("other").document, "7");
    a.part(6, place(10, 2, true));
    assert_eq!(a.machine().stopped(), None, "it goes on taking writes");
    stream(&mut a, &mut b, seconds(6));
    assert!(b.settle(7) > 2, "in steps");
    a.settle(7);
    for region in [&mut a, &mut b] {
        assert_eq!(region.count().as_deref(), Some(r#"{"n":3}"#));
        assert!(region.machine().follows());
    }
    assert!(b.machine().applied().covers(&a.machine().applied()));
}

#[test]
fn a_crash_at_any_step_neither_loses_a_part_nor_takes_one_in_twice() {
    for crash_after in 0..8 {
        let (mut a, mut b) = pair();
        let mut done = 0;
        let mut maybe_crash = |b: &mut Region| {
            if done == crash_after {
                b.restart();
            }
            done += 1;
        };
        for part in 0..3 {
            a.part(4, place(10, part, false));
            stream(&mut a, &mut b, seconds(5));
            maybe_crash(&mut b);
        }
        // What stands behind the last part depends on it.
        a.part(6, place(10, 3, true));
        let after = vec![Change {
            table: "t".into(),
            key: "n".into(),
            operation: Operation::Increment {
                by: vec![("n".into(), 10)],
            },
        }];
        let now = a.now(seconds(6));
        let machine = a.machine();
        machine
            .capture(now, place(20, 0, true), Vector::default(), after)
            .expect("it is taken");
        machine.flush(now).expect("a commit");
        stream(&mut a, &mut b, seconds(6));
        maybe_crash(&mut b);
        while b.machine().is_catching_up() {
            b.step(7);
            maybe_crash(&mut b);
        }
        assert_eq!(b.count().as_deref(), Some(r#"{"n":14}"#), "{crash_after}");
    }
}

#[test]
fn each_parts_conflicts_are_listed_once_wherever_the_region_crashed() {
    for crash_after in 0..8 {
        let (mut a, mut b) = pair();
        for part in 0..3 {
            let request = request(&format!("part-{part}"), put_action("7"));
            b.run(seconds(4), &request).expect("a write");
        }
        for part in 0..3 {
            a.part(5, place(10, part, part == 2));
        }
        stream(&mut a, &mut b, seconds(6));
        let mut done = 0;
        while b.machine().is_catching_up() {
            if done == crash_after {
                b.restart();
            }
            done += 1;
            b.step(7);
        }
        let reader = Tables::reader(b.machine().engine());
        let listed = reader
            .conflicts(None, 10)
            .expect("readable tables")
            .conflicts;
        let keys: Vec<_> = listed.iter().map(|(_, it)| it.key.as_str()).collect();
        assert_eq!(keys, ["part-2", "part-1", "part-0"], "{crash_after}");
        let counts = reader.conflict_counts().expect("readable tables");
        assert_eq!((counts.total, counts.kept), (3, 3), "{crash_after}");
    }
}

#[test]
fn a_transaction_that_is_given_up_leaves_nothing() {
    let (mut a, mut b) = pair();
    a.part(4, place(10, 0, false));
    a.part(5, place(20, 7, true));
    stream(&mut a, &mut b, seconds(5));
    for region in [&mut a, &mut b] {
        region.settle(6);
        assert_eq!(region.count().as_deref(), Some(r#"{"n":1}"#));
        let reader = Tables::reader(region.machine().engine());
        assert_eq!(reader.get("t", "part-0").expect("readable tables"), None);
    }
    assert!(b.machine().applied().covers(&a.machine().applied()));
}

#[test]
fn one_too_large_to_be_held_shows_part_by_part() {
    let (mut a, _) = pair();
    a.part(4, place(10, 0, false).not_held());
    assert_eq!(a.count().as_deref(), Some(r#"{"n":1}"#));
}

#[test]
fn the_log_is_kept_and_no_snapshot_given_while_parts_are_held() {
    let (mut a, mut b) = pair();
    let first = a.machine().reader().end();
    a.part(4, place(10, 0, false));
    for second in 5..20 {
        meet(&mut a, &mut b, second);
    }
    assert!(a.machine().reader().start() <= first);
    let now = a.now(seconds(20));
    let refused = a.machine().snapshot(now, SnapshotId(1), true);
    assert_eq!(refused.err(), Some(SnapshotRefusal::Unfinished));
    a.part(21, place(10, 1, true));
    let now = a.now(seconds(21));
    let refused = a.machine().snapshot(now, SnapshotId(1), true);
    assert_eq!(refused.err(), Some(SnapshotRefusal::Unfinished));
    a.settle(22);
    assert!(a.machine().snapshot(now, SnapshotId(1), true).is_ok());
}
