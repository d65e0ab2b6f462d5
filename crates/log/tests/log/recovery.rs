//! Reopening after crashes that lose nothing acknowledged.

use crate::support::*;
use meridian_log::{Disk, MemoryDisk};
use meridian_model::Position;

#[test]
fn a_new_log_is_empty_and_an_opened_one_has_what_was_committed() {
    let disk = MemoryDisk::new();
    let log = open(&disk, 0).unwrap();
    assert_eq!((log.start(), log.end()), (Position(0), Position(0)));
    assert!(read_all(&log).is_empty());
    drop(log);
    let entries = filled(&disk, 30, 100);
    assert!(segment_names(&disk).len() > 2, "several segments");
    let log = open(&disk, 90).unwrap();
    assert_eq!(read_all(&log), entries);
    assert_eq!(log.marks(), &log.reader().marks());
    assert_eq!(log.bytes(), disk.bytes());
}

#[test]
fn a_commit_is_one_sync_and_survives_a_crash_that_keeps_nothing_unsynced() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let before = disk.syncs();
    let entries = streams.group(5, 10);
    log.commit(&entries).unwrap();
    assert_eq!(disk.syncs() - before, 1);
    disk.crash(&mut || 0);
    assert_eq!(read_all(&open(&disk, 5).unwrap()), entries);
}

#[test]
fn a_disk_that_lies_about_syncs_is_noticed() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    disk.ignore_syncs(true);
    log.commit(&Streams::default().group(3, 10)).unwrap();
    disk.crash(&mut || 0);
    let error = refusal(&disk, 3).to_string();
    assert!(error.contains("ends at position 0"), "{error}");
}

#[test]
fn a_torn_tail_is_dropped_whichever_sectors_arrived() {
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let entries = filled(&disk, 1, 20);
        let mut log = open(&disk, 3).unwrap();
        let mut streams = Streams::continuing(log.marks().clone());
        disk.cut_power_after(0);
        let group = streams.group(4, 500);
        assert!(log.commit(&group).is_err());
        disk.crash(&mut randomness(seed));
        let mut log = open(&disk, 3).unwrap();
        let held = read_all(&log);
        assert!(held == entries || held == [&entries[..], &group].concat());
        // What is committed next is found again, with nothing stale behind it.
        let mut streams = Streams::continuing(log.marks().clone());
        let next = streams.group(1, 5);
        log.commit(&next).unwrap();
        let again = read_all(&open(&disk, log.end().0).unwrap());
        assert_eq!(again, [held, next].concat());
    }
}

#[test]
fn the_bytes_of_a_torn_tail_are_gone_for_good() {
    let disk = MemoryDisk::new();
    filled(&disk, 2, 300);
    let name = &segment_names(&disk)[0];
    let torn = frame_offsets(&disk, name)[1];
    disk.flip_bit(name, torn as u64, 0);
    let log = open(&disk, 3).unwrap();
    assert_eq!(log.end(), Position(3));
    disk.crash(&mut || 0);
    let bytes = disk.contents(name).unwrap();
    assert!(bytes[torn..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_frame_that_was_only_in_the_cache_is_made_durable_by_opening() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let entries = Streams::default().group(3, 10);
    disk.fail_next_sync();
    assert!(log.commit(&entries).unwrap_err().must_reopen());
    // The cache still shows the frame, and a sync alone would not bring it to the disk.
    assert_eq!(read_all(&open(&disk, 0).unwrap()), entries);
    disk.crash(&mut || 0);
    assert_eq!(read_all(&open(&disk, 3).unwrap()), entries);
}

/// Cuts the power at every operation of a script in turn; `script` says what it committed for sure.
fn at_every_operation(script: impl Fn(&MemoryDisk) -> u64, check: impl Fn(&MemoryDisk, u64)) {
    for operations in 0.. {
        let mut reached_end = true;
        for seed in 0..8 {
            let disk = MemoryDisk::new();
            disk.cut_power_after(operations);
            let committed = script(&disk);
            reached_end &= disk.create("probe", 0).is_ok();
            let _ = disk.remove("probe");
            disk.crash(&mut randomness(operations * 100 + seed));
            check(&disk, committed);
        }
        if reached_end {
            assert!(operations > 5, "the script did something");
            return;
        }
    }
}

#[test]
fn a_crash_at_any_step_of_creating_rolling_and_trimming_loses_nothing() {
    let script = |disk: &MemoryDisk| {
        let Ok(mut log) = open(disk, 0) else {
            return 0;
        };
        let mut streams = Streams::default();
        for _ in 0..9 {
            if log.commit(&streams.group(3, 300)).is_err() {
                return log.end().0;
            }
        }
        let half = Position(18);
        let _ = log.trim(&streams.marks, half);
        log.end().0
    };
    at_every_operation(script, |disk, committed| {
        let log = open(disk, committed).unwrap();
        assert!(log.start() <= Position(18));
        let first = usize::try_from(log.start().0).unwrap();
        let mut streams = Streams::default();
        let all: Vec<_> = (0..9).flat_map(|_| streams.group(3, 300)).collect();
        let end = usize::try_from(log.end().0).unwrap();
        assert_eq!(read_all(&log), all[first..end]);
        assert!(!segment_names(disk).contains(&"next".to_owned()));
    });
}

#[test]
fn a_last_file_that_was_never_begun_is_dropped() {
    for size in [0, 20, 4096] {
        let disk = MemoryDisk::new();
        disk.create("00000000000000000000.log", size).unwrap();
        let mut log = open(&disk, 0).unwrap();
        log.commit(&Streams::default().group(2, 9)).unwrap();
        assert_eq!(open(&disk, 2).unwrap().end(), Position(2));

        let disk = MemoryDisk::new();
        let entries = filled(&disk, 4, 10);
        disk.create("00000000000000000012.log", size).unwrap();
        let log = open(&disk, 12).unwrap();
        assert_eq!(read_all(&log), entries);
        assert_eq!(segment_names(&disk).len(), 1);
    }
}

#[test]
fn a_commit_larger_than_a_segment_gets_its_own() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let mut all = streams.group(1, 50_000);
    log.commit(&all).unwrap();
    assert_eq!(
        segment_names(&disk).len(),
        1,
        "the empty first one gave way"
    );
    for bytes in [10, 20_000, 10] {
        let group = streams.group(2, bytes);
        log.commit(&group).unwrap();
        all.extend(group);
    }
    assert_eq!(read_all(&log), all);
    assert_eq!(read_all(&open(&disk, log.end().0).unwrap()), all);
}
