//! A full disk, failing writes, failing syncs, entries that don't belong.

use crate::support::*;
use meridian_log::{Disk, LogError, MemoryDisk};
use meridian_model::Position;
use std::io::ErrorKind;

#[test]
fn a_full_disk_refuses_commits_and_takes_them_when_there_is_room() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(3 * 4096));
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let mut all = Vec::new();
    let error = loop {
        let mut attempt = streams.clone();
        let group = attempt.group(3, 150);
        match log.commit(&group) {
            Ok(_) => {
                streams = attempt;
                all.extend(group);
            }
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && !error.must_reopen(), "{error}");
    assert!(error.hint().contains("room"));
    assert_eq!(disk.bytes(), 3 * 4096, "no file is left of the attempt");
    assert_eq!(read_all(&log), all);
    // A smaller one may still fit, and the larger one is refused as often as it comes.
    let small = streams.group(1, 1);
    log.commit(&small).unwrap();
    all.extend(small);
    assert!(
        log.commit(&streams.clone().group(3, 900))
            .unwrap_err()
            .is_full()
    );

    disk.set_capacity(Some(4 * 4096));
    let group = streams.group(3, 150);
    log.commit(&group).unwrap();
    all.extend(group);
    assert_eq!(read_all(&log), all);
    disk.crash(&mut || 0);
    assert_eq!(read_all(&open(&disk, log.end().0).unwrap()), all);
}

#[test]
fn trimming_makes_room_on_a_full_disk() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(2 * 4096));
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    for _ in 0..40 {
        let mut attempt = streams.clone();
        let group = attempt.group(3, 200);
        match log.commit(&group) {
            Ok(_) => streams = attempt,
            Err(error) => {
                assert!(error.is_full());
                assert_eq!(log.trim(&streams.marks, log.end()).unwrap(), 4096);
                log.commit(&group).unwrap();
                streams = attempt;
            }
        }
    }
    assert_eq!(log.end(), Position(120));
}

/// The disk reports a failure after `written` bytes of a frame, and where it `is_stuck` takes them
/// back only at the next commit. The next commit is a frame of its own.
fn fail_a_write(is_stuck: bool, written: usize, failed_bytes: usize, next_bytes: usize) {
    let disk = MemoryDisk::new();
    let mut all = filled(&disk, 2, 300);
    let mut log = open(&disk, 6).unwrap();
    let mut streams = Streams::continuing(log.marks().clone());
    disk.fail_next_write(ErrorKind::StorageFull, written);
    if is_stuck {
        disk.fail_next_write(ErrorKind::StorageFull, 0);
    }
    let refused = streams.clone().group(2, failed_bytes);
    let error = log.commit(&refused).unwrap_err();
    assert!(error.is_full() && !error.must_reopen(), "{error}");
    assert_eq!((log.end(), read_all(&log)), (Position(6), all.clone()));
    if !is_stuck {
        assert_eq!(open(&disk, 6).unwrap().end(), Position(6));
    }
    let group = streams.group(3, next_bytes);
    log.commit(&group).unwrap();
    all.extend(group);
    // All that was written and not synced arrives: nothing stale may be among it.
    disk.crash(&mut || 1);
    assert_eq!(read_all(&open(&disk, 9).unwrap()), all);
}

#[test]
fn a_failed_write_counts_for_nothing_and_leaves_nothing() {
    // The next commit is smaller, of the same size, or needs another segment.
    for (failed, next) in [(700, 5), (300, 300), (5, 900)] {
        for written in [0, 100, 1000, usize::MAX] {
            fail_a_write(false, written, failed, next);
            fail_a_write(true, written, failed, next);
        }
    }
}

#[test]
fn a_removal_that_fails_keeps_the_segment_and_is_tried_again() {
    let disk = MemoryDisk::new();
    filled(&disk, 30, 100);
    let mut log = open(&disk, 90).unwrap();
    let marks = log.marks().clone();
    disk.cut_power_after(0);
    let error = log.trim(&marks, Position(90)).unwrap_err();
    assert!(matches!(error, LogError::Remove { .. }), "{error}");
    assert_eq!((log.start(), log.bytes()), (Position(0), disk.bytes()));
    disk.restore_power();
    // It may have gone all the same.
    disk.remove(&segment_names(&disk)[0]).unwrap();
    assert!(log.trim(&marks, Position(90)).unwrap() > 4096);
    assert_eq!(open(&disk, 90).unwrap().start(), log.start());
}

#[test]
fn a_new_segment_that_may_or_may_not_be_there_stops_the_log() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 2, 300);
    let mut log = open(&disk, 6).unwrap();
    let group = Streams::continuing(log.marks().clone()).group(2, 1500);
    // Creating, writing the header and syncing it succeed; renaming does not.
    disk.cut_power_after(3);
    let error = log.commit(&group).unwrap_err();
    assert!(error.must_reopen(), "{error}");
    disk.restore_power();
    assert!(matches!(log.commit(&group), Err(LogError::Poisoned)));
    let mut log = open(&disk, 6).unwrap();
    assert_eq!(read_all(&log), entries);
    log.commit(&group).unwrap();
}

#[test]
fn a_failed_sync_stops_the_log_until_it_is_opened_anew() {
    for keeps in [0, 1] {
        let disk = MemoryDisk::new();
        let entries = filled(&disk, 1, 10);
        let mut log = open(&disk, 3).unwrap();
        let mut streams = Streams::continuing(log.marks().clone());
        disk.fail_next_sync();
        let group = streams.group(2, 10);
        let error = log.commit(&group).unwrap_err();
        assert!(matches!(error, LogError::Sync { .. }) && error.must_reopen());
        assert!(!error.is_full());
        let syncs = disk.syncs();
        assert!(matches!(log.commit(&group), Err(LogError::Poisoned)));
        assert_eq!(disk.syncs(), syncs, "a sync is not tried again");
        assert_eq!(log.end(), Position(3));
        assert_eq!(
            read_all(&log),
            entries,
            "what was durable can still be read"
        );
        disk.crash(&mut || keeps);
        assert_eq!(read_all(&open(&disk, 3).unwrap()), entries);
    }
}

#[test]
fn entries_that_do_not_follow_are_refused_and_nothing_is_written() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let [first, second] = [streams.next(1, 5), streams.next(1, 5)];
    let syncs = disk.syncs();
    for wrong in [
        vec![second.clone()],
        vec![first.clone(), first.clone()],
        vec![second.clone(), first.clone()],
    ] {
        let error = log.commit(&wrong).unwrap_err();
        assert!(matches!(error, LogError::OutOfOrder { .. }), "{error}");
    }
    assert_eq!((log.end(), disk.syncs()), (Position(0), syncs));
    assert_eq!(log.commit(&[]).unwrap(), Position(0));
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(log.commit(&[first, second]).unwrap(), Position(2));
}
