//! How long entries stay that every member has.

use crate::support::{Region, seconds, stream};
use meridian_model::{OriginId, Sequence, SnapshotId};
use meridian_replicate::SnapshotRefusal;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// Two regions that have heard of each other.
fn acquainted(log_retention: Duration, log_bytes_max: u64) -> (Region, Region) {
    let (mut a, mut b) = (Region::new("a"), Region::new("b"));
    (a.log_retention, a.log_bytes_max) = (log_retention, log_bytes_max);
    a.start(1);
    b.start(2);
    stream(&mut b, &mut a, seconds(1));
    (a, b)
}

/// Rows at `a` that `b` takes, and says so.
fn write_and_hold(a: &mut Region, b: &mut Region, elapsed: Duration) {
    for row in 0..100 {
        a.put(elapsed, &format!("k{row}")).expect("a write");
    }
    stream(a, b, elapsed);
    let marks = b.machine().marks().clone();
    let held: Vec<(OriginId, Sequence)> = marks
        .iter()
        .map(|(origin, mark)| (origin, mark.sequence))
        .collect();
    a.machine().holds(OriginId(2), &held);
}

/// The log's first position after upkeep.
fn start(a: &mut Region, elapsed: Duration) -> u64 {
    let now = a.now(elapsed);
    a.machine().tick(now).expect("upkeep");
    a.machine().flush(now).expect("a commit");
    a.machine().reader().start().0
}

#[test]
fn what_everybody_has_goes_at_once_unless_told_otherwise() {
    let (mut a, mut b) = acquainted(Duration::ZERO, 1 << 30);
    write_and_hold(&mut a, &mut b, seconds(2));
    assert!(start(&mut a, seconds(3)) > 50);
}

#[test]
fn entries_stay_for_as_long_as_they_are_to_be_retained() {
    let (mut a, mut b) = acquainted(HOUR, 1 << 30);
    write_and_hold(&mut a, &mut b, seconds(2));
    write_and_hold(&mut a, &mut b, HOUR / 2);
    assert_eq!(start(&mut a, HOUR), 0);
    let first = start(&mut a, HOUR + seconds(10));
    assert!(50 < first && first < 110, "the older half goes: {first}");
    assert!(start(&mut a, HOUR * 2) > 150);
}

/// Writes until the log takes more than `bytes`, without upkeep.
fn fill(a: &mut Region, b: &mut Region, elapsed: Duration, bytes: u64) {
    while a.machine().log_bytes() <= bytes {
        for row in 0..10 {
            a.put(elapsed, &format!("k{row}")).expect("a write");
        }
    }
    write_and_hold(a, b, elapsed);
}

#[test]
fn the_budget_goes_before_the_time() {
    let (mut a, mut b) = acquainted(HOUR, 128 << 10);
    fill(&mut a, &mut b, seconds(2), 96 << 10);
    assert!(start(&mut a, seconds(3)) > 0);
    let bytes = a.machine().log_bytes();
    assert!(
        (88 << 10..=96 << 10).contains(&bytes),
        "no more than needed: {bytes}"
    );
}

#[test]
fn what_follows_a_snapshot_stays_while_it_is_promised() {
    let (mut a, mut b) = acquainted(Duration::ZERO, 1 << 30);
    write_and_hold(&mut a, &mut b, seconds(2));
    let (id, now) = (SnapshotId(7), a.now(seconds(3)));
    let opened = a.machine().snapshot(now, id, true).expect("a snapshot");
    let marks = opened.head().marks.clone();
    assert_eq!(marks, *a.machine().marks());
    write_and_hold(&mut a, &mut b, seconds(4));
    start(&mut a, seconds(5));
    let reader = a.machine().reader();
    let tail = reader.position_for(&marks).expect("the tail is held");
    assert_eq!(tail, opened.head().position);
    let now = a.now(seconds(30));
    a.machine().snapshot(now, id, false).expect("still open");
    // Nobody asks any more: first the view goes, then the tail.
    let now = a.now(seconds(30 + 60));
    let refused = a.machine().snapshot(now, id, false).map(|_| ());
    assert_eq!(refused, Err(SnapshotRefusal::Gone));
    start(&mut a, seconds(30 + 599));
    assert!(reader.position_for(&marks).is_ok());
    start(&mut a, seconds(30 + 600));
    assert!(reader.position_for(&marks).is_err());
}

#[test]
fn a_snapshot_gives_way_before_clients_are_refused() {
    let (mut a, mut b) = acquainted(Duration::ZERO, 128 << 10);
    let now = a.now(seconds(2));
    let opened = a.machine().snapshot(now, SnapshotId(7), true);
    let marks = opened.expect("a snapshot").head().marks.clone();
    fill(&mut a, &mut b, seconds(3), 64 << 10);
    start(&mut a, seconds(4));
    assert!(a.machine().reader().position_for(&marks).is_ok());
    fill(&mut a, &mut b, seconds(5), 112 << 10);
    start(&mut a, seconds(6));
    assert!(a.machine().reader().position_for(&marks).is_err());
    a.put(seconds(7), "k").expect("clients are not refused");
}

#[test]
fn a_snapshot_shows_nothing_of_the_round_under_way() {
    let (mut a, _b) = acquainted(Duration::ZERO, 1 << 30);
    a.put(seconds(2), "k").expect("a write");
    let committed = a.machine().marks().clone();
    let request = crate::support::request("staged", crate::support::put("1"));
    let now = a.now(seconds(3));
    let written = a.machine().write(now, |tables, version| {
        tables.execute(version, &request).map_err(|_| ())
    });
    written.expect("staged");
    let opened = a.machine().snapshot(now, SnapshotId(7), true).expect("one");
    a.machine().flush(now).expect("a commit");
    assert_eq!(opened.head().marks, committed);
    let part = opened.part(None, usize::MAX).expect("a part");
    let shows = |key: &str| {
        part.records
            .iter()
            .any(|record| record.key.ends_with(key.as_bytes()))
    };
    assert!(shows("k") && !shows("staged"));
    assert!(part.head.is_some());
}
