//! A round that is staged while the one before it is synced.

use crate::support::*;
use meridian_engine_kv::{Action, RowView};
use meridian_log::{MemoryDisk, Unsynced};
use meridian_model::{Body, WIRE_VERSION_MAX};
use meridian_replicate::{CommitError, Engine as _, WriteError};

/// Stages a client's write; the document that its client would be shown.
fn stage(region: &mut Region, key: &str, action: Action) -> String {
    let now = region.now(seconds(1));
    let request = request(key, action);
    let outcome = region
        .machine()
        .write(now, |tables, version| tables.execute(version, &request))
        .expect("a write");
    outcome.rows[0].document.clone().unwrap_or_default()
}

fn begin(region: &mut Region) -> Unsynced<MemoryDisk> {
    let now = region.now(seconds(1));
    let begun = region.machine().begin_flush(now).expect("a written round");
    begun.expect("a round of clients' transactions alone")
}

fn finish(region: &mut Region, unsynced: Unsynced<MemoryDisk>) -> Result<(), CommitError> {
    let now = region.now(seconds(1));
    let synced = unsynced.sync();
    region.machine().finish_flush(now, unsynced, synced)
}

fn shown(region: &mut Region, key: &str) -> Option<String> {
    let row = region.machine().engine().reader().get("t", key);
    row.expect("readable tables")
        .map(|row: RowView| row.document)
}

fn alone() -> Region {
    let mut region = Region::new("a");
    region.founders.truncate(1);
    region.start(1);
    region
}

fn increment(by: i64) -> Action {
    Action::Increment {
        field: "n".into(),
        by,
    }
}

#[test]
fn the_next_round_sees_the_one_under_way_and_readers_see_neither() {
    let mut a = alone();
    stage(&mut a, "k", put(r#"{"n":1}"#));
    stage(&mut a, "first", put("1"));
    let end = a.machine().reader().end();
    let first = begin(&mut a);
    let seen = stage(&mut a, "k", increment(2));
    assert_eq!(seen, r#"{"n":3}"#, "on top of what is under way");
    stage(&mut a, "second", put("2"));
    assert_eq!(a.machine().reader().end(), end);
    for key in ["k", "first", "second"] {
        assert_eq!(
            shown(&mut a, key),
            None,
            "{key} is visible before it is durable"
        );
    }

    finish(&mut a, first).expect("a commit");
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":1}"#));
    assert_eq!(shown(&mut a, "first").as_deref(), Some("1"));
    assert_eq!(shown(&mut a, "second"), None);
    assert_eq!(a.machine().reader().end().0, end.0 + 2);
    assert_eq!(a.machine().engine().position(), a.machine().reader().end());

    let second = begin(&mut a);
    stage(&mut a, "k", increment(10));
    finish(&mut a, second).expect("a commit");
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":3}"#));
    assert_eq!(shown(&mut a, "second").as_deref(), Some("2"));
    let now = a.now(seconds(1));
    a.machine().flush(now).expect("a commit");
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":13}"#));
}

#[test]
fn after_a_crash_what_was_staged_on_top_is_gone_and_nothing_else() {
    let mut a = alone();
    stage(&mut a, "first", put("1"));
    let first = begin(&mut a);
    stage(&mut a, "second", put("2"));
    finish(&mut a, first).expect("a commit");
    a.machine = None;
    a.disk.crash(&mut || 0);
    a.start(1);
    assert_eq!(shown(&mut a, "first").as_deref(), Some("1"));
    assert_eq!(shown(&mut a, "second"), None);
    stage(&mut a, "third", put("3"));
    let now = a.now(seconds(1));
    a.machine().flush(now).expect("a commit");
    assert_eq!(shown(&mut a, "third").as_deref(), Some("3"));
}

#[test]
fn a_sync_that_fails_takes_both_rounds_with_it() {
    let mut a = alone();
    stage(&mut a, "k", put(r#"{"n":1}"#));
    let now = a.now(seconds(1));
    a.machine().flush(now).expect("a commit");
    stage(&mut a, "k", increment(1));
    let first = begin(&mut a);
    stage(&mut a, "k", increment(1));
    a.disk.fail_next_sync();
    let error = finish(&mut a, first).expect_err("the disk failed");
    assert!(
        matches!(error, CommitError::Log(ref log) if log.must_reopen()),
        "{error}"
    );
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":1}"#));
    assert!(a.machine().staged().is_empty());
    // Nothing of it comes to light with a later commit of the tables either.
    let _ = a.machine().tick(now);
    let _ = a.machine().flush(now);
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":1}"#));
    let request = request("k", put("2"));
    let refused = a
        .machine()
        .write(now, |tables, version| tables.execute(version, &request));
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_round_on_top_that_the_disk_has_no_room_for_is_undone_alone() {
    let mut a = alone();
    stage(&mut a, "k", put(r#"{"n":1}"#));
    let first = begin(&mut a);
    stage(&mut a, "k", increment(1));
    stage(&mut a, "large", put(&format!("\"{}\"", "x".repeat(8192))));
    finish(&mut a, first).expect("a commit");
    a.disk.set_capacity(Some(a.disk.bytes()));
    let now = a.now(seconds(1));
    let error = a.machine().begin_flush(now).expect_err("no room");
    assert!(
        matches!(error, CommitError::Log(ref log) if log.is_full()),
        "{error}"
    );
    assert_eq!(stage(&mut a, "k", increment(5)), r#"{"n":6}"#);
    let second = begin(&mut a);
    finish(&mut a, second).expect("a commit");
    assert_eq!(shown(&mut a, "k").as_deref(), Some(r#"{"n":6}"#));
    assert_eq!(shown(&mut a, "large"), None);
}

#[test]
fn streams_and_sequences_go_on_across_rounds_under_way() {
    let (mut a, mut b) = two();
    stream(&mut b, &mut a, seconds(1));
    stream(&mut a, &mut b, seconds(1));
    stage(&mut a, "first", put("1"));
    let first = begin(&mut a);
    stage(&mut a, "second", put("2"));
    stream(&mut a, &mut b, seconds(1));
    assert_eq!(
        shown(&mut b, "first"),
        None,
        "streamed before it is durable"
    );
    finish(&mut a, first).expect("a commit");
    stream(&mut a, &mut b, seconds(2));
    assert_eq!(shown(&mut b, "first").as_deref(), Some("1"));
    assert_eq!(shown(&mut b, "second"), None);
    let second = begin(&mut a);
    finish(&mut a, second).expect("a commit");
    stream(&mut a, &mut b, seconds(3));
    assert_eq!(shown(&mut b, "second").as_deref(), Some("2"));
}

#[test]
fn a_round_of_anything_else_is_not_begun() {
    let (mut a, mut b) = two();
    stream(&mut a, &mut b, seconds(1));
    b.put(seconds(1), "theirs").expect("a write");
    let now = a.now(seconds(1));
    assert!(
        a.machine()
            .begin_flush(now)
            .expect("nothing staged")
            .is_none()
    );
    // A peer's entries, staged and not flushed.
    let mut outbound = b.sender();
    let name = b.name.clone();
    a.machine().connected(now, &name, WIRE_VERSION_MAX);
    for (_, asked) in a.machine().take_outgoing() {
        let answer = outbound.subscribe(now, None, asked).expect("a log");
        let message = answer.expect("an answer").message;
        a.machine().message(now, &name, message).expect("a log");
    }
    while let Some(message) = outbound.poll(now).expect("a log") {
        a.machine().message(now, &name, message).expect("a log");
    }
    let bodies = a
        .machine()
        .staged()
        .iter()
        .map(|entry| Body::decode(&entry.body));
    assert!(
        bodies
            .into_iter()
            .any(|body| matches!(body, Ok(Body::Transaction(_))))
    );
    stage(&mut a, "ours", put("1"));
    assert!(a.machine().begin_flush(now).expect("not begun").is_none());
    a.machine().flush(now).expect("a commit");
    assert_eq!(shown(&mut a, "ours").as_deref(), Some("1"));
    assert_eq!(shown(&mut a, "theirs").as_deref(), Some("1"));
}
