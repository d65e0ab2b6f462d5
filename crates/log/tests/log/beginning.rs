//! Logs that begin in the middle of the streams.

use super::support::{SMALL, Streams, filled, open, randomness, read_all, refusal, segment_names};
use meridian_log::{Disk as _, Log, LogError, MemoryDisk};
use meridian_model::{Marks, OriginId, Position, Sequence};

fn begin(disk: &MemoryDisk, position: u64, marks: &Marks) -> Result<Log<MemoryDisk>, LogError> {
    Log::begin_anew(disk.clone(), SMALL, Position(position), marks)
}

/// Streams that have come some way elsewhere.
fn elsewhere() -> Streams {
    let mut streams = Streams::default();
    streams.group(30, 10);
    streams
}

#[test]
fn it_begins_at_the_marks_and_goes_on_from_them() {
    let disk = MemoryDisk::new();
    let mut streams = elsewhere();
    let marks = streams.marks.clone();
    let mut log = begin(&disk, 30, &marks).unwrap();
    assert_eq!((log.start(), log.end()), (Position(30), Position(30)));
    let entries = streams.group(40, 300);
    log.commit(&entries[..20]).unwrap();
    log.commit(&entries[20..]).unwrap();
    drop(log);
    let log = open(&disk, 70).unwrap();
    assert_eq!((log.start(), log.end()), (Position(30), Position(70)));
    assert_eq!(read_all(&log), entries);
    assert_eq!(*log.marks(), streams.marks);
    let reader = log.reader();
    assert_eq!(reader.position_for(&marks).unwrap(), Position(30));
    let (origin, last) = (OriginId(1), marks.get(OriginId(1)));
    assert_eq!(
        reader.history_at(origin, last.sequence).unwrap(),
        Some(last.history),
        "the history before the beginning is known by its hash"
    );
    assert!(matches!(
        reader.position_for(&Marks::default()),
        Err(LogError::NoLongerHeld { .. })
    ));
}

#[test]
fn an_entry_that_does_not_follow_the_marks_is_refused() {
    let disk = MemoryDisk::new();
    let mut log = begin(&disk, 30, &elsewhere().marks).unwrap();
    let refused = log.commit(&Streams::default().group(1, 10));
    assert!(
        matches!(
            refused,
            Err(LogError::OutOfOrder {
                last: Sequence(10),
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn what_was_there_is_gone() {
    let disk = MemoryDisk::new();
    filled(&disk, 40, 300);
    assert!(segment_names(&disk).len() > 2);
    let marks = elsewhere().marks;
    begin(&disk, 30, &marks).unwrap();
    assert_eq!(segment_names(&disk), ["00000000000000000030.log"]);
    assert_eq!(*open(&disk, 30).unwrap().marks(), marks);
}

#[test]
fn a_log_that_began_later_and_is_lost_is_noticed() {
    let error = refusal(&MemoryDisk::new(), 30);
    assert!(matches!(error, LogError::LostTail { .. }), "{error}");
}

#[test]
fn a_crash_while_it_is_made_leaves_it_or_nothing() {
    let marks = elsewhere().marks;
    let (mut made, mut absent) = (0, 0);
    for seed in 0..200 {
        let disk = MemoryDisk::new();
        if seed % 2 == 0 {
            filled(&disk, 20, 300);
        }
        let mut random = randomness(seed);
        disk.cut_power_after(random() % 24);
        let begun = begin(&disk, 30, &marks).is_ok();
        disk.crash(&mut random);
        let left = disk.list().unwrap();
        let begins_at_marks = left.iter().any(|name| name == "00000000000000000030.log");
        if begins_at_marks {
            let log = open(&disk, 30).unwrap();
            assert_eq!((log.start(), log.marks()), (Position(30), &marks));
            made += 1;
        } else {
            assert!(!begun, "seed {seed}: what was made is gone");
            absent += 1;
        }
        // Either way it can be begun again.
        begin(&disk, 30, &marks).unwrap();
        assert_eq!(*open(&disk, 30).unwrap().marks(), marks);
    }
    assert!(made > 20 && absent > 20, "{made} made, {absent} absent");
}
