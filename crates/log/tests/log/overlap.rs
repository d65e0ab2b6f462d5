//! Groups that are written before somebody else syncs them.

use crate::support::*;
use meridian_log::{LogError, MemoryDisk};
use meridian_model::Position;
use std::sync::mpsc;

#[test]
fn a_group_counts_once_it_is_finished_and_not_before() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let group = streams.group(3, 100);
    let unsynced = log.write(&group).unwrap().unwrap();
    assert_eq!((log.end(), log.reader().end()), (Position(0), Position(0)));
    assert_eq!(read_all(&log), []);
    let refused = log.write(&streams.clone().group(1, 1)).unwrap_err();
    assert!(matches!(refused, LogError::Unfinished), "{refused}");

    // Any thread may wait for the disk.
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let synced = unsynced.sync();
        send.send((unsynced, synced)).unwrap();
    });
    let (unsynced, synced) = receive.recv().unwrap();
    assert_eq!(read_all(&log), []);
    assert_eq!(log.finish(unsynced, synced).unwrap(), Position(3));
    assert_eq!(read_all(&log), group);
    let next = streams.group(2, 100);
    assert_eq!(log.commit(&next).unwrap(), Position(5));
    disk.crash(&mut || 0);
    let all = [group, next].concat();
    assert_eq!(read_all(&open(&disk, 5).unwrap()), all);
}

#[test]
fn a_crash_before_the_sync_takes_the_group_or_leaves_it_whole() {
    for survives in [false, true] {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, 0).unwrap();
        let mut streams = Streams::default();
        let first = streams.group(3, 100);
        log.commit(&first).unwrap();
        let second = streams.group(3, 700);
        let unsynced = log.write(&second).unwrap().unwrap();
        drop((log, unsynced));
        disk.crash(&mut || u64::from(survives));
        let mut expected = first;
        if survives {
            expected.extend(second);
        }
        assert_eq!(read_all(&open(&disk, 3).unwrap()), expected);
    }
}

#[test]
fn after_a_sync_that_failed_the_log_takes_no_more() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    let unsynced = log.write(&streams.group(3, 100)).unwrap().unwrap();
    disk.fail_next_sync();
    let synced = unsynced.sync();
    let error = log.finish(unsynced, synced).unwrap_err();
    assert!(error.must_reopen(), "{error}");
    assert_eq!(log.end(), Position(0));
    let refused = log.write(&streams.group(1, 1)).unwrap_err();
    assert!(matches!(refused, LogError::Poisoned), "{refused}");
}

#[test]
fn nothing_is_written_for_no_entries() {
    let mut log = open(&MemoryDisk::new(), 0).unwrap();
    assert!(log.write(&[]).unwrap().is_none());
    assert!(log.write(&[]).unwrap().is_none());
}
