//! Opening: reads every frame of every segment and decides what to make of the end.
//!
//! What makes the decision possible: a frame is written only after the one before it is durable. So
//! only the very last frame can be torn by a crash, and it was acknowledged to nobody. Anything
//! invalid with a whole frame after it, in its file or a later one, was durable once and is damage.
//!
//! - The last segment ends in something invalid with no frame after it: a torn tail, overwritten
//!   with zeros, unless it is before `acknowledged`.
//! - The last frame may be whole in the kernel's cache and not on the disk (the process died between
//!   write and sync, or the sync failed and the cache forgot): it is written once more and synced.
//! - A segment's first position and marks continue the one before it exactly; bytes between a
//!   segment's last frame and its end don't matter then, since nothing can be missing there.
//! - A last file with nothing in it is removed.

use crate::Disk;
use crate::error::LogError;
use crate::format::SegmentHeader;
use crate::scan::{
    Frame, FrameScanner, HeaderState, Step, read_exactly, read_header, scan_tail, size_of,
};
use crate::segment::{Segment, file_name, parse_file_name};
use crate::spare::{SPARE_NAME, discard};
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Marks, Position};
use std::collections::VecDeque;
use std::sync::Arc;

const ZERO_STEP_BYTES: u64 = 256 << 10;

/// What the files hold.
pub(crate) struct Recovered {
    /// Empty where nothing was ever written.
    pub segments: VecDeque<Segment>,
    pub marks: Marks,
    pub end: Position,
}

/// Reads the whole log and puts its end in order.
pub(crate) fn recover<D: Disk>(disk: &D, acknowledged: Position) -> Result<Recovered, LogError> {
    let names = segment_names(disk)?;
    let (names, unwritten) = split_unwritten(disk, names)?;
    let mut recovery = Recovery {
        disk,
        acknowledged,
        segments: VecDeque::new(),
        marks: Marks::default(),
        end: Position::default(),
        stopped: None,
        last_frame: None,
    };
    for first in names {
        recovery.read_segment(first)?;
    }
    recovery.finish(unwritten)
}

/// The segments' first positions in order. Removes the spare that an earlier process was making.
fn segment_names<D: Disk>(disk: &D) -> Result<Vec<Position>, LogError> {
    let names = disk.list().map_err(|source| LogError::List { source })?;
    if names.iter().any(|name| name == SPARE_NAME) {
        discard(disk).map_err(|source| LogError::remove(SPARE_NAME, source))?;
    }
    let mut firsts: Vec<Position> = names
        .iter()
        .filter_map(|name| parse_file_name(name))
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Sets a last file aside that has nothing in it.
fn split_unwritten<D: Disk>(
    disk: &D,
    mut firsts: Vec<Position>,
) -> Result<(Vec<Position>, Option<Position>), LogError> {
    let Some(last) = firsts.last().copied() else {
        return Ok((firsts, None));
    };
    let is_unwritten = matches!(read_header(disk, &file_name(last))?, HeaderState::Unwritten);
    // Alone and not the log's first: what was before it is known only from the header it lacks.
    if is_unwritten && (firsts.len() > 1 || last == Position::default()) {
        firsts.pop();
        return Ok((firsts, Some(last)));
    }
    Ok((firsts, None))
}

struct Recovery<'a, D> {
    disk: &'a D,
    acknowledged: Position,
    segments: VecDeque<Segment>,
    marks: Marks,
    end: Position,
    /// What ended the last segment read, where it was not a blank.
    stopped: Option<&'static str>,
    /// Offset and length of the last frame of the last segment read.
    last_frame: Option<(u64, u64)>,
}

impl<D: Disk> Recovery<'_, D> {
    fn read_segment(&mut self, first: Position) -> Result<(), LogError> {
        let name = file_name(first);
        let HeaderState::Valid {
            header,
            seed,
            bytes,
        } = read_header(self.disk, &name)?
        else {
            return Err(LogError::corrupt(&name, 0, "a header", "an unwritten file"));
        };
        self.check_header(&name, first, &header)?;
        let size = size_of(self.disk, &name)?;
        self.marks = header.marks.clone();
        self.end = first;
        self.last_frame = None;
        let marks = Arc::new(header.marks);
        let mut segment = Segment::new(first, marks, seed, bytes, size);
        self.read_frames(&mut segment)?;
        self.segments.push_back(segment);
        Ok(())
    }

    fn check_header(
        &self,
        name: &str,
        first: Position,
        header: &SegmentHeader,
    ) -> Result<(), LogError> {
        if header.first != first {
            let expected = format!("first position {first}, as the name says");
            return Err(LogError::corrupt(
                name,
                16,
                expected,
                header.first.to_string(),
            ));
        }
        let Some(before) = self.segments.back() else {
            return Ok(());
        };
        if first != self.end {
            return Err(self.gap(before, name, first));
        }
        if header.marks != self.marks {
            return Err(LogError::corrupt(
                name,
                28,
                format!("the marks with which {} ends", before.name),
                "other marks",
            ));
        }
        Ok(())
    }

    /// The segment before doesn't end where this one begins.
    fn gap(&self, before: &Segment, name: &str, first: Position) -> LogError {
        if first < self.end {
            let expected = format!("entries up to position {first}, where {name} begins");
            let found = format!("entries up to position {}", self.end);
            return LogError::corrupt(&before.name, before.used, expected, found);
        }
        if let Some(reason) = self.stopped {
            let expected = format!(
                "entry {} (entries from {first} on follow in {name})",
                self.end
            );
            return LogError::corrupt(&before.name, before.used, expected, reason);
        }
        LogError::MissingSegment {
            file: before.name.to_string(),
            offset: before.used,
            expected: self.end,
            found: first,
            next: name.to_owned(),
        }
    }

    fn read_frames(&mut self, segment: &mut Segment) -> Result<(), LogError> {
        let name = segment.name.clone();
        let mut scanner =
            FrameScanner::new(self.disk, &name, segment.seed, segment.begin, segment.size);
        let mut frames_left = self.frames_believed(segment)?;
        self.stopped = loop {
            match scanner.step()? {
                Step::Frame(_) if frames_left == 0 => break Some("a frame that is not believed"),
                Step::Frame(frame) => {
                    frames_left -= 1;
                    let (first, offset) = (frame.first, frame.offset);
                    self.last_frame = Some((offset, scanner.offset() - offset));
                    self.read_frame(&name, frame)?;
                    segment.record(first, offset, scanner.offset());
                }
                Step::Blank => break None,
                Step::Invalid(reason) => break Some(reason),
            }
        };
        Ok(())
    }

    /// All of them, but with the deliberate bug that a torn tail takes the frame before it along.
    fn frames_believed(&self, segment: &Segment) -> Result<u64, LogError> {
        if !mutation::active(Mutation::TailLostOnTornWrite) {
            return Ok(u64::MAX);
        }
        let (name, begin, size) = (&segment.name, segment.begin, segment.size);
        let mut scanner = FrameScanner::new(self.disk, name, segment.seed, begin, size);
        let mut frames: u64 = 0;
        loop {
            match scanner.step()? {
                Step::Frame(_) => frames += 1,
                Step::Blank => return Ok(u64::MAX),
                Step::Invalid(_) => return Ok(frames.saturating_sub(1)),
            }
        }
    }

    fn read_frame(&mut self, name: &str, frame: Frame) -> Result<(), LogError> {
        let offset = frame.offset;
        if frame.first != self.end {
            let expected = format!("a frame for position {}", self.end);
            let found = format!("one for position {}", frame.first);
            return Err(LogError::corrupt(name, offset, expected, found));
        }
        for entry in frame.entries(name)? {
            let mark = self.marks.get(entry.origin);
            if !entry.follows(mark) {
                let (origin, last) = (entry.origin, mark.sequence);
                let expected = format!("an entry of origin {origin} that follows its entry {last}");
                let found = format!("entry {} of another history", entry.sequence);
                return Err(LogError::corrupt(name, offset, expected, found));
            }
            self.marks.set(entry.origin, entry.mark());
            self.end = self.end.next();
        }
        Ok(())
    }

    /// Decides about the log's end. Nothing is changed before everything has been checked.
    fn finish(self, unwritten: Option<Position>) -> Result<Recovered, LogError> {
        let written = match self.segments.back() {
            Some(last) => self.check_tail(last)?,
            None => None,
        };
        self.check_acknowledged(unwritten)?;
        if let Some(last) = self.segments.back() {
            self.make_durable(last, written)?;
        }
        if let Some(first) = unwritten {
            let name = file_name(first);
            self.disk
                .remove(&name)
                .map_err(|source| LogError::remove(&name, source))?;
        }
        Ok(Recovered {
            segments: self.segments,
            marks: self.marks,
            end: self.end,
        })
    }

    /// The torn bytes after the last frame; an error where they are damage.
    fn check_tail(&self, last: &Segment) -> Result<Option<(u64, u64)>, LogError> {
        let tail = scan_tail(self.disk, &last.name, last.seed, last.used, last.size)?;
        let found = self.stopped.unwrap_or("an unwritten place");
        let damage = |why: String| {
            let expected = format!("entry {} ({why})", self.end);
            Err(LogError::corrupt(&last.name, last.used, expected, found))
        };
        if let Some((offset, position)) = tail.frame
            && !mutation::active(Mutation::TailLostOnTornWrite)
        {
            return damage(format!("entry {position} follows at byte {offset}"));
        }
        if self.end < self.acknowledged && tail.written.is_some() {
            return damage(format!(
                "entries up to position {} were acknowledged",
                self.acknowledged
            ));
        }
        Ok(tail.written)
    }

    fn check_acknowledged(&self, unwritten: Option<Position>) -> Result<(), LogError> {
        if mutation::active(Mutation::SequenceUsedAgain) {
            return Ok(());
        }
        if self.end >= self.acknowledged {
            return Ok(());
        }
        let (file, offset) = match (self.segments.back(), unwritten) {
            (Some(last), _) => (last.name.to_string(), last.used),
            (None, first) => (file_name(first.unwrap_or_default()), 0),
        };
        Err(LogError::LostTail {
            file,
            offset,
            end: self.end,
            acknowledged: self.acknowledged,
        })
    }

    fn make_durable(&self, last: &Segment, torn: Option<(u64, u64)>) -> Result<(), LogError> {
        if torn.is_none() && self.end == self.acknowledged {
            return Ok(());
        }
        if let Some((offset, length)) = self.last_frame {
            let length = usize::try_from(length).expect("the frame was read into memory");
            let frame = read_exactly(self.disk, &last.name, offset, length)?;
            write(self.disk, &last.name, offset, &frame)?;
        }
        if let Some((start, end)) = torn {
            write_zeros(self.disk, &last.name, start, end)?;
        }
        self.disk
            .sync(&last.name)
            .map_err(|source| LogError::sync(&last.name, source))
    }
}

fn write<D: Disk>(disk: &D, name: &str, offset: u64, bytes: &[u8]) -> Result<(), LogError> {
    disk.write_at(name, offset, bytes)
        .map_err(|source| LogError::write(name, offset, bytes.len(), source))
}

/// Overwrites a range with zeros; durable only after a sync.
pub(crate) fn write_zeros<D: Disk>(
    disk: &D,
    name: &str,
    start: u64,
    end: u64,
) -> Result<(), LogError> {
    let mut offset = start;
    while offset < end {
        let step = (end - offset).min(ZERO_STEP_BYTES);
        let zeros = vec![0; usize::try_from(step).expect("a small step")];
        write(disk, name, offset, &zeros)?;
        offset += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;
    use crate::format::{encode_frame, frame_seed};
    use meridian_model::{Body, Entry, Hlc, Mark, OriginId, RegionName};

    /// A segment with these frames, checksums and all, whatever is in them.
    fn disk_with(frames: &[(u64, &[Entry])]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let name = file_name(Position(0));
        disk.create(&name, 4096).unwrap();
        let header = SegmentHeader {
            first: Position(0),
            marks: Marks::default(),
        };
        let (bytes, seed) = header.encode();
        disk.write_at(&name, 0, &bytes).unwrap();
        let mut offset = bytes.len() as u64;
        for (first, entries) in frames {
            let frame = encode_frame(frame_seed(seed, offset), Position(*first), entries);
            disk.write_at(&name, offset, &frame).unwrap();
            offset += frame.len() as u64;
        }
        disk
    }

    fn entry(mark: Mark, hlc: u64) -> Entry {
        let body = Body::Open {
            region: RegionName::new("a"),
        };
        Entry::following(mark, OriginId(7), Hlc::from_raw(hlc), &body)
    }

    fn refusal(disk: &MemoryDisk) -> String {
        match recover(disk, Position(0)) {
            Ok(recovered) => panic!("accepted up to position {}", recovered.end),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn frames_that_continue_each_other_are_taken() {
        let first = entry(Mark::default(), 5);
        let second = entry(first.mark(), 6);
        let disk = disk_with(&[(0, &[first]), (1, std::slice::from_ref(&second))]);
        let recovered = recover(&disk, Position(2)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recovered.marks.get(OriginId(7)), second.mark());
    }

    #[test]
    fn a_whole_frame_of_another_history_is_damage_even_as_the_last() {
        let first = entry(Mark::default(), 5);
        let fork = entry(entry(Mark::default(), 4).mark(), 6);
        let text = refusal(&disk_with(&[(0, &[first]), (1, &[fork])]));
        assert!(text.contains("entry 2 of another history"), "{text}");
    }

    #[test]
    fn a_whole_frame_for_another_position_is_damage_even_as_the_last() {
        let first = entry(Mark::default(), 5);
        let second = entry(first.mark(), 6);
        for position in [0, 2] {
            let text = refusal(&disk_with(&[
                (0, std::slice::from_ref(&first)),
                (position, std::slice::from_ref(&second)),
            ]));
            assert!(text.contains("expected a frame for position 1"), "{text}");
        }
    }
}
