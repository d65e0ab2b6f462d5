//! Reading a segment file frame by frame, with a bounded window of it in memory.

use crate::Disk;
use crate::error::LogError;
use crate::format::{
    FIXED_HEADER_BYTES, FORMAT_VERSION, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, HeaderError,
    SegmentHeader, decode_payload, frame_seed,
};
use bytes::{Bytes, BytesMut};
use meridian_model::{Entry, Position};

/// What is read from the disk at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A whole frame whose checksum is right.
pub(crate) struct Frame {
    pub offset: u64,
    pub first: Position,
    pub count: u32,
    payload: Bytes,
}

impl Frame {
    /// Its entries.
    pub fn entries(self, file: &str) -> Result<Vec<Entry>, LogError> {
        let offset = self.offset;
        decode_payload(self.payload, self.count).ok_or_else(|| {
            LogError::corrupt(file, offset, "a frame of whole entries", "a malformed one")
        })
    }
}

/// What is at the scanner's place.
pub(crate) enum Step {
    Frame(Frame),
    /// Nothing was written here, or the file ends.
    Blank,
    /// Something that is not a whole frame.
    Invalid(&'static str),
}

/// Reads frames one after the other.
pub(crate) struct FrameScanner<'a, D> {
    disk: &'a D,
    file: &'a str,
    seed: u32,
    /// The offset of the next frame, and of the window's first byte.
    offset: u64,
    /// Nothing is read from here on.
    limit: u64,
    window: BytesMut,
}

impl<'a, D: Disk> FrameScanner<'a, D> {
    pub fn new(disk: &'a D, file: &'a str, seed: u32, offset: u64, limit: u64) -> Self {
        Self {
            disk,
            file,
            seed,
            offset,
            limit,
            window: BytesMut::new(),
        }
    }

    /// Where the next frame is expected.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The frame here; moves past it. At anything else it stays.
    pub fn step(&mut self) -> Result<Step, LogError> {
        if !self.fill(FRAME_HEADER_BYTES)? {
            return Ok(Step::Blank);
        }
        let head = &self.window[..FRAME_HEADER_BYTES];
        let Some(header) = FrameHeader::decode(frame_seed(self.seed, self.offset), head) else {
            let blank = head.iter().all(|byte| *byte == 0);
            return Ok(if blank {
                Step::Blank
            } else {
                Step::Invalid("bytes that begin no frame")
            });
        };
        let length = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        if !self.fill(length)? {
            return Ok(Step::Invalid("a frame that is longer than the file"));
        }
        if !header.matches(&self.window[FRAME_HEADER_BYTES..length]) {
            return Ok(Step::Invalid("a frame with a wrong checksum"));
        }
        let frame = self.window.split_to(length).freeze();
        let offset = self.offset;
        self.offset += length as u64;
        Ok(Step::Frame(Frame {
            offset,
            first: header.first,
            count: header.count,
            payload: frame.slice(FRAME_HEADER_BYTES..),
        }))
    }

    /// Makes the window at least `length` long; false where the file ends before.
    fn fill(&mut self, length: usize) -> Result<bool, LogError> {
        if self.window.len() >= length {
            return Ok(true);
        }
        if self.offset + length as u64 > self.limit {
            return Ok(false);
        }
        let held = self.window.len();
        let at = self.offset + held as u64;
        let wanted = length
            .max(WINDOW_BYTES)
            .min(as_usize(self.limit - self.offset));
        self.window.resize(wanted, 0);
        let read = self
            .disk
            .read_at(self.file, at, &mut self.window[held..])
            .map_err(|source| LogError::read(self.file, at, source))?;
        self.window.truncate(held + read);
        Ok(self.window.len() >= length)
    }
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a segment's header says, or that there is none yet.
pub(crate) enum HeaderState {
    Valid {
        header: SegmentHeader,
        /// The frames' checksums start from it.
        seed: u32,
        /// The header's length, where the first frame is.
        bytes: u64,
    },
    /// The file is too short for a header or has nothing but zeros: it was never begun.
    Unwritten,
}

/// Reads a segment's header.
pub(crate) fn read_header<D: Disk>(disk: &D, file: &str) -> Result<HeaderState, LogError> {
    let fixed = read_exactly(disk, file, 0, FIXED_HEADER_BYTES)?;
    let Ok(fixed) = <&[u8; FIXED_HEADER_BYTES]>::try_from(&fixed[..]) else {
        return Ok(HeaderState::Unwritten);
    };
    let length = match SegmentHeader::length(fixed) {
        Ok(length) => length,
        Err(_) if fixed.iter().all(|byte| *byte == 0) && is_blank(disk, file)? => {
            return Ok(HeaderState::Unwritten);
        }
        Err(error) => return Err(header_error(file, error)),
    };
    let size = size_of(disk, file)?;
    if length as u64 > size {
        let found = format!("a file of {size} bytes");
        let expected = format!("a header of {length} bytes");
        return Err(LogError::corrupt(file, size, expected, found));
    }
    let bytes = read_exactly(disk, file, 0, length)?;
    let (header, seed) =
        SegmentHeader::decode(&bytes).map_err(|error| header_error(file, error))?;
    Ok(HeaderState::Valid {
        header,
        seed,
        bytes: length as u64,
    })
}

fn header_error(file: &str, error: HeaderError) -> LogError {
    match error {
        HeaderError::Version(found) => LogError::UnsupportedVersion {
            file: file.to_owned(),
            found,
            supported: FORMAT_VERSION,
        },
        HeaderError::Malformed {
            offset,
            expected,
            found,
        } => LogError::corrupt(file, offset, expected, found),
    }
}

/// Reads `length` bytes, or what there is of them.
pub(crate) fn read_exactly<D: Disk>(
    disk: &D,
    file: &str,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; length];
    let read = disk
        .read_at(file, offset, &mut bytes)
        .map_err(|source| LogError::read(file, offset, source))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A file's size.
pub(crate) fn size_of<D: Disk>(disk: &D, file: &str) -> Result<u64, LogError> {
    disk.size(file)
        .map_err(|source| LogError::read(file, 0, source))
}

fn is_blank<D: Disk>(disk: &D, file: &str) -> Result<bool, LogError> {
    let tail = scan_tail(disk, file, 0, 0, size_of(disk, file)?)?;
    Ok(tail.written.is_none())
}

/// What is after a segment's last good frame.
pub(crate) struct Tail {
    /// The offsets of the first byte that isn't zero and after the last such byte.
    pub written: Option<(u64, u64)>,
    /// A whole frame among the bytes: what is before it was durable once.
    pub frame: Option<(u64, Position)>,
}

/// Searches `offset..limit` for bytes that aren't zero and for whole frames.
pub(crate) fn scan_tail<D: Disk>(
    disk: &D,
    file: &str,
    seed: u32,
    offset: u64,
    limit: u64,
) -> Result<Tail, LogError> {
    let mut tail = Tail {
        written: None,
        frame: None,
    };
    let zeros = vec![0; WINDOW_BYTES];
    let mut at = offset;
    while at < limit {
        let wanted = as_usize(limit - at).min(WINDOW_BYTES);
        let window = read_exactly(disk, file, at, wanted)?;
        // Compared as a whole: most of what is searched is zeros.
        if window != zeros[..window.len()] {
            note_written(&mut tail.written, at, &window);
            tail.frame = first_frame(disk, file, seed, (at, &window), limit)?;
        }
        if tail.frame.is_some() || window.len() < wanted || at + wanted as u64 >= limit {
            break;
        }
        // A magic may lie across two windows.
        at += (wanted - (FRAME_MAGIC.len() - 1)) as u64;
    }
    Ok(tail)
}

fn first_frame<D: Disk>(
    disk: &D,
    file: &str,
    seed: u32,
    (at, window): (u64, &[u8]),
    limit: u64,
) -> Result<Option<(u64, Position)>, LogError> {
    for hit in magic_hits(window) {
        let place = at + hit as u64;
        let mut scanner = FrameScanner::new(disk, file, seed, place, limit);
        if let Step::Frame(frame) = scanner.step()? {
            return Ok(Some((place, frame.first)));
        }
    }
    Ok(None)
}

fn note_written(written: &mut Option<(u64, u64)>, at: u64, window: &[u8]) {
    let Some(first) = window.iter().position(|byte| *byte != 0) else {
        return;
    };
    let last = window.iter().rposition(|byte| *byte != 0).unwrap_or(first);
    let start = written.map_or(at + first as u64, |(start, _)| start);
    *written = Some((start, at + last as u64 + 1));
}

fn magic_hits(window: &[u8]) -> impl Iterator<Item = usize> + '_ {
    window
        .windows(FRAME_MAGIC.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == FRAME_MAGIC)
        .map(|(index, _)| index)
}
