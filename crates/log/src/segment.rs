//! What is kept in memory of a segment file: where it begins, what was before it, and a sparse index.

use meridian_model::{Marks, Position};
use std::sync::Arc;

/// One index point for this many bytes of frames: a reader skips at most so much, and an index of
/// a full segment of 16 MiB takes 4 KiB of memory.
const INDEX_STEP_BYTES: u64 = 64 << 10;
/// How many digits a segment's name has: as many as the largest position.
const NAME_DIGITS: usize = 20;

/// A segment file and where things are in it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub name: Arc<str>,
    /// The position of its first entry.
    pub first: Position,
    /// Where every origin's stream stood before its first entry.
    pub marks: Arc<Marks>,
    /// Where its frames' checksums start from.
    pub seed: u32,
    /// The file's size in bytes.
    pub size: u64,
    /// The offset of its first frame.
    pub begin: u64,
    /// The offset after its last durable frame.
    pub used: u64,
    index: Vec<(Position, u64)>,
}

impl Segment {
    /// A segment without frames.
    pub fn new(first: Position, marks: Arc<Marks>, seed: u32, begin: u64, size: u64) -> Self {
        Self {
            name: file_name(first).into(),
            first,
            marks,
            seed,
            size,
            begin,
            used: begin,
            index: Vec::new(),
        }
    }

    /// Notes a durable frame.
    pub fn record(&mut self, first: Position, offset: u64, end: u64) {
        let indexed = self.index.last().map_or(self.begin, |(_, offset)| *offset);
        if offset >= indexed + INDEX_STEP_BYTES {
            self.index.push((first, offset));
        }
        self.used = end;
    }

    /// The offset of a frame at or before `position`.
    pub fn offset_before(&self, position: Position) -> u64 {
        let after = self.index.partition_point(|(first, _)| *first <= position);
        let Some(before) = after.checked_sub(1) else {
            return self.begin;
        };
        self.index[before].1
    }
}

/// The name of the segment that begins at this position.
pub(crate) fn file_name(first: Position) -> String {
    format!("{:0width$}.log", first.0, width = NAME_DIGITS)
}

/// The position that a segment's name tells; `None` for other files.
pub(crate) fn parse_file_name(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    let whole = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok().map(Position)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_positions_and_read_back() {
        assert_eq!(file_name(Position(77)), "00000000000000000077.log");
        for position in [0, 77, u64::MAX] {
            let name = file_name(Position(position));
            assert_eq!(parse_file_name(&name), Some(Position(position)));
        }
        for other in [
            "next",
            "77.log",
            "0000000000000000007x.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_index_leads_to_a_frame_before_the_position() {
        let mut segment = Segment::new(Position(10), Arc::default(), 0, 100, 1 << 20);
        for frame in 0..20 {
            let offset = 100 + frame * 20_000;
            segment.record(Position(10 + frame), offset, offset + 20_000);
        }
        assert_eq!(
            segment.index.len(),
            4,
            "a point every 64 KiB, here every fourth frame"
        );
        for frame in 0..20 {
            let offset = segment.offset_before(Position(10 + frame));
            assert!(offset <= 100 + frame * 20_000);
            assert!(offset + 4 * 20_000 > 100 + frame * 20_000);
        }
    }
}
