//! Damage is told, with file and offset, and never passed over.

use crate::support::*;
use meridian_log::{Disk, LogError, MemoryDisk};
use meridian_model::Position;

fn truncated_text(error: &LogError) -> String {
    assert!(error.is_damage(), "{error}");
    error.to_string()
}

#[test]
fn a_bad_frame_before_a_good_one_is_damage_even_when_nothing_was_acknowledged() {
    let disk = MemoryDisk::new();
    filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let offsets = frame_offsets(&disk, &name);
    // The magic, the length, the position, the checksum, the payload.
    for byte in [0, 4, 5, 8, 16, 20, 30, 60] {
        let copy = disk.copy();
        copy.flip_bit(&name, (offsets[1] + byte) as u64, 3);
        let error = refusal(&copy, 0);
        let text = truncated_text(&error);
        assert!(
            text.contains(&format!("{name} is damaged at byte {}", offsets[1])),
            "{text}"
        );
        assert!(
            text.contains("expected entry 3 (entry 6 follows at byte"),
            "{text}"
        );
    }
}

#[test]
fn a_zeroed_frame_before_a_good_one_is_damage() {
    let disk = MemoryDisk::new();
    filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let offsets = frame_offsets(&disk, &name);
    let zeros = vec![0; offsets[2] - offsets[1]];
    disk.write_at(&name, offsets[1] as u64, &zeros).unwrap();
    truncated_text(&refusal(&disk, 0));
}

#[test]
fn a_bad_last_frame_of_an_earlier_segment_is_damage() {
    let disk = MemoryDisk::new();
    filled(&disk, 30, 100);
    let name = segment_names(&disk).remove(0);
    let last = *frame_offsets(&disk, &name).last().unwrap();
    disk.flip_bit(&name, last as u64 + 40, 1);
    let text = truncated_text(&refusal(&disk, 0));
    assert!(
        text.contains(&format!("{name} is damaged at byte {last}")),
        "{text}"
    );
    assert!(
        text.contains("found a frame with a wrong checksum"),
        "{text}"
    );
}

#[test]
fn a_bad_last_frame_is_a_torn_tail_only_where_it_was_not_acknowledged() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let last = frame_offsets(&disk, &name)[2] as u64;
    disk.flip_bit(&name, last + 50, 1);
    for acknowledged in [7, 9, 100] {
        let text = truncated_text(&refusal(&disk, acknowledged));
        assert!(text.contains(&format!("damaged at byte {last}")), "{text}");
        assert!(
            text.contains(&format!("position {acknowledged} were acknowledged")),
            "{text}"
        );
    }
    assert_eq!(read_all(&open(&disk, 6).unwrap()), entries[..6]);
}

#[test]
fn a_refused_log_is_left_as_it_was() {
    let disk = MemoryDisk::new();
    filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let last = frame_offsets(&disk, &name)[2] as u64;
    disk.flip_bit(&name, last + 50, 1);
    let before = disk.contents(&name);
    refusal(&disk, 9);
    assert_eq!(disk.contents(&name), before);
}

#[test]
fn a_log_that_ends_too_early_has_lost_its_tail() {
    let disk = MemoryDisk::new();
    assert!(matches!(
        refusal(&disk, 1),
        LogError::LostTail {
            end: Position(0),
            acknowledged: Position(1),
            ..
        }
    ));
    let entries = filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let last = frame_offsets(&disk, &name)[2] as u64;
    disk.truncate(&name, last);
    let error = refusal(&disk, 7);
    assert!(
        matches!(
            error,
            LogError::LostTail {
                end: Position(6),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("in {name} at byte {last}")),
        "{error}"
    );
    assert_eq!(read_all(&open(&disk, 6).unwrap()), entries[..6]);
}

#[test]
fn a_file_cut_anywhere_gives_a_prefix_or_an_error() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 3, 40);
    let name = segment_names(&disk).remove(0);
    let frames = frame_offsets(&disk, &name);
    for length in 0..disk.size(&name).unwrap() {
        let copy = disk.copy();
        copy.truncate(&name, length);
        let whole = frames
            .iter()
            .skip(1)
            .filter(|start| **start as u64 <= length)
            .count();
        match open(&copy, 0) {
            Ok(mut log) => {
                let end = usize::try_from(log.end().0).unwrap();
                assert!(end == whole * 3 || end == 9, "{length}: {end}");
                assert_eq!(read_all(&log), entries[..end]);
                let mut streams = Streams::continuing(log.marks().clone());
                log.commit(&streams.group(2, 900)).unwrap();
                let end = log.end().0;
                assert_eq!(open(&copy, end).unwrap().end(), log.end());
            }
            Err(error) => {
                truncated_text(&error);
                assert!(length < frames[0] as u64, "{length}: {error}");
            }
        }
        assert!(open(&copy.copy(), 100).is_err());
    }
}

#[test]
fn a_missing_segment_is_told_with_its_neighbours() {
    let disk = MemoryDisk::new();
    filled(&disk, 30, 100);
    let names = segment_names(&disk);
    disk.remove(&names[1]).unwrap();
    let error = refusal(&disk, 0);
    assert!(matches!(error, LogError::MissingSegment { .. }), "{error}");
    let text = truncated_text(&error);
    assert!(
        text.contains(&names[0]) && text.contains(&names[2]),
        "{text}"
    );
}

#[test]
fn a_wrong_header_is_damage_and_another_version_is_told() {
    let disk = MemoryDisk::new();
    filled(&disk, 30, 100);
    let names = segment_names(&disk);
    for name in &names {
        for byte in [0, 7, 12, 13, 15, 16, 24, 27, 30, 40] {
            let copy = disk.copy();
            copy.flip_bit(name, byte, 2);
            let text = truncated_text(&refusal(&copy, 0));
            assert!(
                text.starts_with(&format!("{name} is damaged at byte ")),
                "{text}"
            );
        }
    }
    disk.flip_bit(&names[1], 8, 1);
    let error = refusal(&disk, 0);
    assert!(matches!(
        error,
        LogError::UnsupportedVersion {
            found: 3,
            supported: 1,
            ..
        }
    ));
}

#[test]
fn a_segment_under_another_name_is_damage() {
    let disk = MemoryDisk::new();
    filled(&disk, 3, 10);
    disk.rename("00000000000000000000.log", "00000000000000000007.log")
        .unwrap();
    let text = truncated_text(&refusal(&disk, 0));
    assert!(
        text.contains("expected first position 7, as the name says, found 0"),
        "{text}"
    );
}

#[test]
fn segments_of_two_logs_do_not_mix() {
    let one = MemoryDisk::new();
    filled(&one, 30, 100);
    let other = MemoryDisk::new();
    let mut log = open(&other, 0).unwrap();
    let mut streams = Streams::default();
    streams.next(9, 1);
    streams.marks = Default::default();
    for _ in 0..30 {
        log.commit(&streams.group(3, 100)).unwrap();
    }
    let names = segment_names(&one);
    let last = names.last().unwrap();
    assert!(
        segment_names(&other).contains(last),
        "both roll at the same places"
    );
    let bytes = other.contents(last).unwrap();
    one.write_at(last, 0, &bytes).unwrap();
    let text = truncated_text(&refusal(&one, 0));
    assert!(text.contains("expected the marks with which"), "{text}");
}

#[test]
fn a_frame_inside_a_torn_document_is_no_frame() {
    let disk = MemoryDisk::new();
    let entries = filled(&disk, 1, 10);
    let name = segment_names(&disk).remove(0);
    // A whole frame of another log, as a client could have put it into a value.
    let source = MemoryDisk::new();
    filled(&source, 1, 11);
    let start = frame_offsets(&source, &name)[0];
    let mut frame = source.contents(&name).unwrap().split_off(start);
    frame.truncate(300);
    let torn_at = 1000;
    let mut log = open(&disk, 3).unwrap();
    assert_eq!(log.end(), Position(3));
    disk.write_at(&name, torn_at, &[1; 40]).unwrap();
    disk.write_at(&name, torn_at + 40, &frame).unwrap();
    log = open(&disk, 3).unwrap();
    assert_eq!(read_all(&log), entries);
}

#[test]
fn damage_that_comes_while_the_log_is_open_is_told_by_the_reader() {
    let disk = MemoryDisk::new();
    filled(&disk, 3, 400);
    let log = open(&disk, 9).unwrap();
    let name = segment_names(&disk).remove(0);
    let second = frame_offsets(&disk, &name)[1] as u64;
    disk.flip_bit(&name, second + 100, 1);
    let reader = log.reader();
    assert_eq!(
        reader
            .read(Position(0), 10_000_000)
            .unwrap_err()
            .to_string(),
        format!(
            "{name} is damaged at byte {second}: expected a frame that was durable, found a frame with \
         a wrong checksum"
        )
    );
}
