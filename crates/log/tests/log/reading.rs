//! Readers: from memory and from files, while the log grows and is trimmed.

use crate::support::*;
use meridian_log::{Log, LogConfig, LogError, MemoryDisk};
use meridian_model::{HistoryHash, Marks, OriginId, Position, Sequence};

#[test]
fn every_position_reads_alike_from_memory_and_from_files() {
    let disk = MemoryDisk::new();
    let mut log = Log::open(
        disk.clone(),
        LogConfig {
            tail_cache_bytes: 1 << 20,
            ..SMALL
        },
        Position(0),
    )
    .unwrap();
    let mut streams = Streams::default();
    let mut all = Vec::new();
    for size in 0..40 {
        let group = streams.group(size % 4 + 1, 50);
        log.commit(&group).unwrap();
        all.extend(group);
    }
    let cold = open(&disk, log.end().0).unwrap();
    for from in 0..=all.len() {
        for reader in [log.reader(), cold.reader()] {
            let position = Position(from as u64);
            assert_eq!(read_from(&reader, position, 1), all[from..]);
            assert_eq!(read_from(&reader, position, 500), all[from..]);
            assert_eq!(read_from(&reader, position, usize::MAX), all[from..]);
        }
    }
    let batch = log.reader().read(Position(0), 300).unwrap();
    let size: usize = batch.entries.iter().map(|entry| entry.size()).sum();
    assert!(batch.entries.len() > 1 && size <= 300);
}

#[test]
fn a_link_that_keeps_up_does_not_touch_the_disk() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let reader = log.reader();
    let mut streams = Streams::default();
    for _ in 0..50 {
        let from = log.end();
        let group = streams.group(2, 50);
        log.commit(&group).unwrap();
        let emptied = disk.copy();
        for name in segment_names(&disk) {
            disk.truncate(&name, 0);
        }
        assert_eq!(reader.read(from, 1 << 20).unwrap().entries, group);
        // Put the files back for the next commit.
        for name in segment_names(&emptied) {
            let bytes = emptied.contents(&name).unwrap();
            meridian_log::Disk::write_at(&disk, &name, 0, &bytes).unwrap();
        }
    }
}

#[test]
fn positions_outside_the_log_are_errors() {
    let disk = MemoryDisk::new();
    filled(&disk, 30, 100);
    let mut log = open(&disk, 90).unwrap();
    let reader = log.reader();
    assert!(matches!(
        reader.read(Position(91), 1),
        Err(LogError::BeyondEnd {
            end: Position(90),
            ..
        })
    ));
    let marks = log.marks().clone();
    assert!(log.trim(&marks, Position(90)).unwrap() > 0);
    let start = log.start();
    assert!(start > Position(0));
    assert!(matches!(
        reader.read(Position(start.0 - 1), 1),
        Err(LogError::Trimmed { .. })
    ));
    assert_eq!(reader.read(start, 1).unwrap().entries.len(), 1);
}

#[test]
fn trimming_takes_whole_segments_that_all_hold_and_that_are_applied() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 30, 100);
    let mut log = open(&disk, 90).unwrap();
    let names = segment_names(&disk);
    let second: u64 = names[1][..20].parse().unwrap();
    let third: u64 = names[2][..20].parse().unwrap();
    let marks_at = |position: u64| {
        let mut marks = Marks::default();
        for entry in &entries[..usize::try_from(position).unwrap()] {
            marks.set(entry.origin, entry.mark());
        }
        marks
    };
    let all = log.marks().clone();
    assert_eq!(log.trim(&marks_at(second - 1), Position(90)).unwrap(), 0);
    assert_eq!(log.trim(&all, Position(second - 1)).unwrap(), 0);
    assert_eq!(log.trim(&all, Position(second)).unwrap(), 4096);
    assert_eq!(log.start(), Position(second));
    assert_eq!(log.trim(&marks_at(third), Position(90)).unwrap(), 4096);
    assert_eq!(log.bytes(), disk.bytes());
    let third_on = usize::try_from(third).unwrap();
    assert_eq!(read_all(&open(&disk, 90).unwrap()), entries[third_on..]);
    log.trim(&all, Position(90)).unwrap();
    assert_eq!(
        segment_names(&disk),
        names[names.len() - 1..],
        "the last one stays"
    );
    let mut log = open(&disk, 90).unwrap();
    assert_eq!(log.marks(), &all);
    let next = Streams::continuing(all).group(1, 1);
    log.commit(&next).unwrap();
}

#[test]
fn an_origin_that_left_before_a_segment_does_not_keep_it() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 0).unwrap();
    let mut streams = Streams::default();
    log.commit(&[streams.next(9, 5)]).unwrap();
    while segment_names(&disk).len() < 4 {
        log.commit(&streams.group(3, 200)).unwrap();
    }
    let without: Marks = log
        .marks()
        .iter()
        .filter(|(origin, _)| *origin != OriginId(9))
        .collect();
    let everything = log.marks().clone();
    assert_eq!(
        log.trim(&without, log.end()).unwrap(),
        0,
        "the first segment has its entry"
    );
    let second: u64 = segment_names(&disk)[1][..20].parse().unwrap();
    assert_eq!(log.trim(&everything, Position(second)).unwrap(), 4096);
    assert_eq!(log.trim(&without, log.end()).unwrap(), 2 * 4096);
}

#[test]
fn the_position_for_a_peer_is_that_of_its_first_missing_entry() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 30, 100);
    let mut log = open(&disk, 90).unwrap();
    let reader = log.reader();
    let mut held = Marks::default();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(reader.position_for(&held).unwrap(), Position(index as u64));
        held.set(entry.origin, entry.mark());
    }
    assert_eq!(reader.position_for(&held).unwrap(), Position(90));
    // A peer that lacks one origin only gets its first entry.
    held.set(OriginId(2), Default::default());
    assert_eq!(reader.position_for(&held).unwrap(), Position(1));

    let marks = log.marks().clone();
    log.trim(&marks, Position(90)).unwrap();
    let error = reader.position_for(&held).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::NoLongerHeld {
                origin: OriginId(2),
                sequence: Sequence(0)
            }
        ),
        "{error}"
    );
    assert_eq!(reader.position_for(&marks).unwrap(), Position(90));
}

#[test]
fn the_history_is_told_at_every_sequence_that_is_held() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 30, 100);
    let mut log = open(&disk, 90).unwrap();
    let reader = log.reader();
    let history = |origin, sequence| reader.history_at(origin, sequence).unwrap();
    for entry in &entries {
        assert_eq!(history(entry.origin, entry.sequence), Some(entry.history));
    }
    assert_eq!(history(OriginId(1), Sequence(31)), None);
    assert_eq!(history(OriginId(8), Sequence(1)), None);
    assert_eq!(
        history(OriginId(1), Sequence(0)),
        Some(HistoryHash::default())
    );

    let marks = log.marks().clone();
    log.trim(&marks, Position(90)).unwrap();
    let start = usize::try_from(log.start().0).unwrap();
    for (index, entry) in entries.iter().enumerate() {
        // The last entry of each origin before the start is known from the segment's header.
        let expected = (index + 3 >= start).then_some(entry.history);
        assert_eq!(history(entry.origin, entry.sequence), expected, "{index}");
    }
}

#[test]
fn a_reader_on_another_thread_sees_durable_entries_in_order() {
    let disk = MemoryDisk::new();
    let config = LogConfig {
        prepare_ahead: true,
        ..SMALL
    };
    let mut log = Log::open(disk, config, Position(0)).unwrap();
    let reader = log.reader();
    let total = 3_000;
    let reading = std::thread::spawn(move || {
        let mut next = Position(0);
        let mut entries = Vec::new();
        while next < Position(total) {
            let marks_before = reader.marks();
            let batch = reader.read(next, 2_000).unwrap();
            assert!(batch.next <= reader.end());
            assert!(reader.marks().covers(&marks_before));
            next = batch.next;
            entries.extend(batch.entries);
            std::thread::yield_now();
        }
        entries
    });
    let mut streams = Streams::default();
    let mut all = Vec::new();
    while log.end() < Position(total) {
        let group = streams.group(log.end().0 % 7 + 1, 60);
        let missing = usize::try_from(total - log.end().0).unwrap();
        let group = &group[..group.len().min(missing)];
        log.commit(group).unwrap();
        all.extend_from_slice(group);
        streams = Streams::continuing(log.marks().clone());
    }
    assert!(reading.join().unwrap() == all);
}
