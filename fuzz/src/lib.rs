//! What several fuzz targets, and the program that makes their first inputs, have in common.

use meridian_log::{Disk, Log, LogConfig, MemoryDisk};
use meridian_model::{Body, Change, Entry, Hlc, Mark, Operation, OriginId, Position, Transaction};

/// Small segments, so that a small log has several; no threads.
pub const CONFIG: LogConfig = LogConfig {
    segment_bytes: 1024,
    tail_cache_bytes: 512,
    prepare_ahead: false,
};

/// A transaction's body.
#[must_use]
pub fn body(number: u64) -> Body {
    Body::Transaction(Transaction {
        dependencies: [(OriginId(9), Hlc::from_raw(number))].into_iter().collect(),
        changes: vec![Change {
            table: "flights".into(),
            key: format!("key-{number}"),
            operation: Operation::Put {
                document: format!("{{\"number\":{number}}}"),
            },
        }],
        idempotency: None,
    })
}

/// A sound log of so many commits, and its files' names.
///
/// # Panics
/// Never; the disk is in memory.
#[must_use]
pub fn log_of(commits: u64) -> (MemoryDisk, Vec<String>) {
    let disk = MemoryDisk::new();
    let mut log = Log::open(disk.clone(), CONFIG, Position::default()).expect("an empty disk");
    let mut mark = Mark::default();
    for number in 1..=commits {
        let entry = Entry::following(mark, OriginId(7), Hlc::from_raw(number), &body(number));
        mark = entry.mark();
        log.commit(&[entry]).expect("a disk without faults");
    }
    let names = disk.list().expect("a disk without faults");
    (disk, names)
}

/// Opens what is on a disk. Where that succeeds, all of it can be read, it can be written on, and it
/// opens again with what was written.
///
/// # Panics
/// When a log that was opened can't be used.
pub fn open_and_use(disk: &MemoryDisk) {
    let bytes = disk.bytes();
    let Ok(mut log) = Log::open(disk.clone(), CONFIG, Position::default()) else {
        return;
    };
    // Recovery makes at most the next segment.
    assert!(disk.bytes() <= bytes + 4 * CONFIG.segment_bytes);
    let held = read_all(&log);
    let origin = OriginId(0x00c0_ffee);
    let mark = log.marks().get(origin);
    let Some(hlc) = mark.hlc.raw().checked_add(1).map(Hlc::from_raw) else {
        return;
    };
    if mark.sequence.0 == u64::MAX {
        return;
    }
    let entry = Entry::following(mark, origin, hlc, &body(1));
    log.commit(std::slice::from_ref(&entry))
        .expect("what was opened takes entries");
    let end = log.end();
    drop(log);
    let again = Log::open(disk.clone(), CONFIG, end).expect("what was committed opens again");
    assert_eq!(again.end(), end);
    let all = read_all(&again);
    assert_eq!(all.last(), Some(&entry));
    assert!(all.len() > held.len());
}

fn read_all(log: &Log<MemoryDisk>) -> Vec<Entry> {
    let reader = log.reader();
    let mut entries = Vec::new();
    let mut position = log.start();
    while position < log.end() {
        let batch = reader
            .read(position, 4096)
            .expect("what was opened can be read");
        assert!(!batch.entries.is_empty(), "a reader that gets nowhere");
        position = Position(position.0 + batch.entries.len() as u64);
        entries.extend(batch.entries);
    }
    entries
}
