//! Dead letters across regions: set aside alike, decided about once, waited for where that is asked.

use crate::support::{Region, put, request, seconds, stream, two};
use meridian_engine_kv::{Action, Outcome, Rejection, Request, RowOperation, Verdict};
use meridian_engine_kv::{MemoryStore, Order, Store, View};
use meridian_model::{Change, Operation, Version, WIRE_VERSION_MAX};
use meridian_replicate::{Executed, WriteError};

/// Commits, in its own stream, what no tables can take.
fn commit_bad(region: &mut Region, elapsed: u64) -> Version {
    let now = region.now(seconds(elapsed));
    let change = |document: &str| Change {
        table: "t".into(),
        key: "bad".into(),
        operation: Operation::Put {
            document: document.into(),
        },
    };
    let machine = region.machine();
    let version = machine
        .write(now, |_, version| {
            Ok::<_, ()>(Executed {
                changes: vec![change("1"), change("2")],
                idempotency: None,
                reply: version,
            })
        })
        .expect("a write");
    machine.flush(now).expect("a commit");
    version
}

fn letters(region: &mut Region) -> Vec<Version> {
    let page = region.machine().engine().reader().letters(None, 10);
    let letters = page.expect("readable tables").letters;
    letters.into_iter().map(|(version, _)| version).collect()
}

fn decide(
    region: &mut Region,
    elapsed: u64,
    letter: Version,
    verdict: &Verdict,
) -> Result<Outcome, WriteError<Rejection>> {
    let now = region.now(seconds(elapsed));
    let machine = region.machine();
    // It is noted by the time which wire versions the members speak.
    machine.tick(now).expect("a readable log");
    let outcome = machine.decide(now, letter, |tables, version| {
        tables.decide(version, letter, verdict)
    })?;
    machine.flush(now).expect("a commit");
    Ok(outcome)
}

fn edit(key: &str, action: Action) -> Verdict {
    Verdict::Edit(Request {
        operations: vec![RowOperation {
            table: "t".into(),
            key: key.into(),
            action,
        }],
        ..Request::default()
    })
}

fn document(region: &mut Region, key: &str) -> Option<String> {
    let row = region.machine().engine().reader().get("t", key);
    row.expect("readable tables").map(|row| row.document)
}

/// Every row with its history, and every dead letter: what regions must agree on.
fn state(region: &Region) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    let view = region.store.view();
    let mut look = |key: &[u8], value: &[u8]| {
        if matches!(key[0], b'r' | b'd' | b'e') {
            records.push((key.to_vec(), value.to_vec()));
        }
        std::ops::ControlFlow::Continue(())
    };
    view.visit(&[], &[0xff; 4], Order::Ascending, &mut look)
        .expect("a readable store");
    records
}

fn exchange(one: &mut Region, other: &mut Region, elapsed: u64) {
    stream(one, other, seconds(elapsed));
    stream(other, one, seconds(elapsed));
}

/// b stops at dead letters, a doesn't.
fn one_that_stops() -> (Region, Region) {
    let (mut a, mut b) = (Region::new("a"), Region::new("b"));
    b.stop_at_dead_letters = true;
    a.start(1);
    b.start(2);
    exchange(&mut a, &mut b, 1);
    (a, b)
}

#[test]
fn a_letter_is_set_aside_everywhere_and_the_stream_goes_on() {
    let (mut a, mut b) = two();
    let letter = commit_bad(&mut a, 1);
    a.put(seconds(1), "after").expect("a write");
    exchange(&mut a, &mut b, 2);
    assert_eq!(letters(&mut b), [letter]);
    assert_eq!(document(&mut b, "after").as_deref(), Some("1"));
    assert_eq!(document(&mut b, "bad"), None);
    assert_eq!(state(&a), state(&b));
    // b decides; it disappears in both.
    decide(&mut b, 3, letter, &edit("bad", put("3"))).expect("a decision");
    assert_eq!(letters(&mut b), []);
    exchange(&mut a, &mut b, 4);
    assert_eq!(letters(&mut a), []);
    assert_eq!(document(&mut a, "bad").as_deref(), Some("3"));
    assert_eq!(state(&a), state(&b));
    let again = decide(&mut a, 5, letter, &Verdict::Drop);
    assert!(
        matches!(
            again,
            Err(WriteError::Rejected(Rejection::LetterNotFound { .. }))
        ),
        "{again:?}"
    );
}

#[test]
fn two_regions_that_decide_at_once_agree_and_count_once() {
    let (mut a, mut b) = two();
    a.run(seconds(1), &request("n", put("{\"n\":10}")))
        .expect("a write");
    let letter = commit_bad(&mut a, 1);
    exchange(&mut a, &mut b, 2);
    let plus = |by| Action::Increment {
        field: "n".into(),
        by,
    };
    decide(&mut a, 3, letter, &edit("n", plus(5))).expect("a decision");
    decide(&mut b, 3, letter, &edit("n", plus(5))).expect("a decision");
    // A third party's increment is no part of it, and counts as ever.
    b.run(seconds(3), &request("n", plus(100)))
        .expect("a write");
    exchange(&mut a, &mut b, 4);
    exchange(&mut a, &mut b, 5);
    assert_eq!((letters(&mut a), letters(&mut b)), (vec![], vec![]));
    assert_eq!(state(&a), state(&b));
    assert_eq!(document(&mut a, "n").as_deref(), Some("{\"n\":115}"));
    // One drops what the other edits: the letter goes, and the edit stands.
    let letter = commit_bad(&mut b, 6);
    exchange(&mut a, &mut b, 7);
    decide(&mut a, 8, letter, &Verdict::Drop).expect("a decision");
    decide(&mut b, 8, letter, &edit("x", put("1"))).expect("a decision");
    exchange(&mut a, &mut b, 9);
    exchange(&mut a, &mut b, 10);
    assert_eq!((letters(&mut a), letters(&mut b)), (vec![], vec![]));
    assert_eq!(document(&mut a, "x").as_deref(), Some("1"));
    assert_eq!(state(&a), state(&b));
}

#[test]
fn a_dataset_that_is_to_stop_stands_at_the_letter_and_goes_on_logging() {
    let (mut a, mut b) = one_that_stops();
    a.put(seconds(1), "before").expect("a write");
    let letter = commit_bad(&mut a, 1);
    a.put(seconds(1), "after").expect("a write");
    stream(&mut a, &mut b, seconds(2));
    assert_eq!(letters(&mut b), [letter], "it is shown");
    assert_eq!(document(&mut b, "before").as_deref(), Some("1"));
    assert_eq!(document(&mut b, "after"), None, "nothing behind it shows");
    let stopped = b.machine().stopped().expect("a reason").to_owned();
    assert!(stopped.contains(&letter.to_string()), "{stopped}");
    let refused = b.put(seconds(3), "own");
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "{refused:?}"
    );
    let logged = b.machine().marks().clone();
    assert_eq!(&logged, a.machine().marks(), "it logs all the same");
    assert!(!b.machine().applied().covers(&a.machine().applied()));

    // A decision of its own sets it going.
    decide(&mut b, 4, letter, &Verdict::Drop).expect("a decision");
    assert_eq!(b.machine().stopped(), None);
    assert_eq!(document(&mut b, "after").as_deref(), Some("1"));
    assert!(b.machine().applied().covers(&a.machine().applied()));
    b.put(seconds(5), "own").expect("a write");
    exchange(&mut a, &mut b, 6);
    assert_eq!(letters(&mut a), []);
    assert_eq!(state(&a), state(&b));
}

#[test]
fn a_decision_from_elsewhere_sets_a_stopped_dataset_going_letter_by_letter() {
    let (mut a, mut b) = one_that_stops();
    let first = commit_bad(&mut a, 1);
    a.put(seconds(1), "between").expect("a write");
    let second = commit_bad(&mut a, 1);
    a.put(seconds(1), "after").expect("a write");
    stream(&mut a, &mut b, seconds(2));
    assert_eq!(letters(&mut b), [first]);
    decide(&mut a, 3, first, &Verdict::Drop).expect("a decision");
    stream(&mut a, &mut b, seconds(4));
    // It stands at the second one now: what it says of the first is noted, not done.
    assert_eq!(letters(&mut b), [second, first]);
    assert_eq!(document(&mut b, "between").as_deref(), Some("1"));
    assert_eq!(document(&mut b, "after"), None);
    decide(&mut a, 5, second, &edit("bad", put("9"))).expect("a decision");
    stream(&mut a, &mut b, seconds(6));
    assert_eq!(b.machine().stopped(), None);
    assert_eq!(document(&mut b, "after").as_deref(), Some("1"));
    assert_eq!(state(&a), state(&b));
}

#[test]
fn a_restart_stands_at_the_letter_again_and_passes_those_that_are_decided() {
    let (mut a, mut b) = one_that_stops();
    let letter = commit_bad(&mut a, 1);
    a.put(seconds(1), "after").expect("a write");
    stream(&mut a, &mut b, seconds(2));
    for lost in [false, true] {
        if lost {
            // The tables are rebuilt from the log, from its first entry on.
            b.store = MemoryStore::default();
        }
        b.machine = None;
        b.start(99);
        assert_eq!(letters(&mut b), [letter]);
        assert!(b.machine().stopped().is_some());
        assert_eq!(document(&mut b, "after"), None);
        let applied = b.machine().applied();
        assert!(!applied.has_seen(letter));
    }
    stream(&mut a, &mut b, seconds(3));
    decide(&mut b, 4, letter, &edit("bad", put("3"))).expect("a decision");
    b.store = MemoryStore::default();
    b.machine = None;
    b.start(99);
    assert_eq!(b.machine().stopped(), None, "its decision is in the log");
    exchange(&mut a, &mut b, 5);
    assert_eq!(document(&mut a, "bad").as_deref(), Some("3"));
    assert_eq!(state(&a), state(&b));
}

#[test]
fn a_stopped_dataset_does_not_claim_to_have_seen_what_it_has_not_applied() {
    let (mut a, mut b) = one_that_stops();
    let letter = commit_bad(&mut a, 1);
    a.run(seconds(1), &request("row", put("\"a\"")))
        .expect("a write");
    stream(&mut a, &mut b, seconds(2));
    decide(&mut b, 3, letter, &edit("row", put("\"b\""))).expect("a decision");
    exchange(&mut a, &mut b, 4);
    assert_eq!(state(&a), state(&b));
    for region in [&mut a, &mut b] {
        let counts = region.machine().engine().reader().conflict_counts();
        assert_eq!(counts.expect("readable tables").total, 1);
    }
}

#[test]
fn a_round_that_the_log_refuses_leaves_no_letter_and_no_stop() {
    let (mut a, mut b) = one_that_stops();
    let letter = commit_bad(&mut a, 1);
    let now = b.now(seconds(2));
    let mut sender = a.sender();
    b.machine().connected(now, &a.name, WIRE_VERSION_MAX);
    let (_, asked) = b.machine().take_outgoing().remove(0);
    let known = a.machine().road().member(&b.name);
    let answer = sender.subscribe(now, known, asked).expect("readable");
    let accept = answer.expect("an answer").message;
    let entries = sender.poll(now).expect("readable").expect("entries");
    for message in [accept, entries] {
        b.machine()
            .message(now, &a.name, message)
            .expect("readable");
    }
    b.disk.fail_next_write(std::io::ErrorKind::StorageFull, 0);
    b.machine().flush(now).expect_err("no room");
    assert_eq!(b.machine().stopped(), None);
    assert_eq!(letters(&mut b), []);
    stream(&mut a, &mut b, seconds(5));
    assert_eq!(letters(&mut b), [letter]);
    assert!(b.machine().stopped().is_some());
}
