//! The bytes of a segment file. Integers are little-endian; checksums are CRC-32 (IEEE, as in
//! zlib), which `crc32fast` computes with the processor's carry-less multiplication.
//!
//! ```text
//! segment  header, frame, frame, …, zeros to the end of the file
//! header   magic [8] │ version u16 │ reserved u16 │ header bytes u32 │ first position u64 │
//!          marks u32 │ marks × (origin u64 │ sequence u64 │ hlc u64 │ history u64) │ crc u32
//! frame    magic [4] │ payload bytes u32 │ first position u64 │ entries u32 │ crc u32 │ payload
//! payload  entries × (origin u64 │ sequence u64 │ hlc u64 │ history u64 │ body bytes u32 │ body)
//! ```
//!
//! A frame is one group commit. Its checksum starts from the header's and the frame's offset, so a
//! frame belongs to its place: one that was copied from elsewhere, or that a client smuggled into a
//! document, is no frame here. The frame's magic has no byte that can occur in UTF-8.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use meridian_model::{Entry, HistoryHash, Hlc, Mark, Marks, OriginId, Position, Sequence};

const SEGMENT_MAGIC: [u8; 8] = *b"\xffmrd-log";
/// The version of this format.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// The part of a segment's header that every header has, up to the marks.
pub(crate) const FIXED_HEADER_BYTES: usize = 28;
const MARK_BYTES: usize = 32;
const CRC_BYTES: usize = 4;

/// How a frame begins.
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xf5, 0xc1, 0xfe, 0xf9];
/// A frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Where in the frame's header its checksum is.
const FRAME_CRC_AT: usize = 20;
const ENTRY_HEADER_BYTES: usize = 36;
/// A frame is read and checked in one piece, so it must fit into memory comfortably.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// A segment's header: where it begins and what was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub first: Position,
    pub marks: Marks,
}

/// Why bytes are no header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Version(u16),
    Malformed {
        offset: u64,
        expected: &'static str,
        found: &'static str,
    },
}

impl HeaderError {
    fn malformed(offset: u64, expected: &'static str, found: &'static str) -> Self {
        Self::Malformed {
            offset,
            expected,
            found,
        }
    }
}

impl SegmentHeader {
    /// The header's bytes and its checksum, from which the frames' checksums start.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let count = self.marks.iter().count();
        let length = FIXED_HEADER_BYTES + count * MARK_BYTES + CRC_BYTES;
        let mut bytes = Vec::with_capacity(length);
        bytes.put_slice(&SEGMENT_MAGIC);
        bytes.put_u16_le(FORMAT_VERSION);
        bytes.put_u16_le(0);
        bytes.put_u32_le(to_u32(length));
        bytes.put_u64_le(self.first.0);
        bytes.put_u32_le(to_u32(count));
        for (origin, mark) in self.marks.iter() {
            put_mark(&mut bytes, origin, mark);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32_le(crc);
        (bytes, crc)
    }

    /// How long the whole header is, told by its fixed part.
    pub fn length(fixed: &[u8; FIXED_HEADER_BYTES]) -> Result<usize, HeaderError> {
        let (magic, mut rest) = fixed.split_at(SEGMENT_MAGIC.len());
        if magic != SEGMENT_MAGIC {
            return Err(HeaderError::malformed(
                0,
                "the mark of a log file",
                "other bytes",
            ));
        }
        let version = rest.get_u16_le();
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let _reserved = rest.get_u16_le();
        let length = rest.get_u32_le() as usize;
        let _first = rest.get_u64_le();
        let count = rest.get_u32_le() as usize;
        if count.checked_mul(MARK_BYTES) != length.checked_sub(FIXED_HEADER_BYTES + CRC_BYTES) {
            return Err(HeaderError::malformed(
                12,
                "a header as long as its marks",
                "another length",
            ));
        }
        Ok(length)
    }

    /// Reads a whole header of the length that [`SegmentHeader::length`] told.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        let (content, mut stored) = bytes.split_at(bytes.len() - CRC_BYTES);
        let crc = crc32fast::hash(content);
        if stored.get_u32_le() != crc {
            return Err(HeaderError::malformed(
                content.len() as u64,
                "the header's checksum",
                "another one",
            ));
        }
        let mut first = &content[16..24];
        let header = Self {
            first: Position(first.get_u64_le()),
            marks: content[FIXED_HEADER_BYTES..]
                .chunks_exact(MARK_BYTES)
                .map(|mut chunk| take_mark(&mut chunk))
                .collect(),
        };
        Ok((header, crc))
    }
}

fn put_mark(bytes: &mut impl BufMut, origin: OriginId, mark: Mark) {
    bytes.put_u64_le(origin.0);
    bytes.put_u64_le(mark.sequence.0);
    bytes.put_u64_le(mark.hlc.raw());
    bytes.put_u64_le(mark.history.0);
}

fn take_mark(bytes: &mut impl Buf) -> (OriginId, Mark) {
    let origin = OriginId(bytes.get_u64_le());
    let mark = Mark {
        sequence: Sequence(bytes.get_u64_le()),
        hlc: Hlc::from_raw(bytes.get_u64_le()),
        history: HistoryHash(bytes.get_u64_le()),
    };
    (origin, mark)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("sizes are checked against the frame's limit before")
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub payload_bytes: u32,
    pub first: Position,
    pub count: u32,
    crc: u32,
    partial_crc: u32,
}

impl FrameHeader {
    /// Reads a header; `None` where the bytes don't begin as one.
    pub fn decode(seed: u32, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes
            .get(..FRAME_HEADER_BYTES)?
            .strip_prefix(&FRAME_MAGIC)?;
        Some(Self {
            payload_bytes: rest.get_u32_le(),
            first: Position(rest.get_u64_le()),
            count: rest.get_u32_le(),
            crc: rest.get_u32_le(),
            partial_crc: crc_from(seed, &bytes[..FRAME_CRC_AT]),
        })
    }

    /// Whether the checksum is that of this header with this payload.
    pub fn matches(&self, payload: &[u8]) -> bool {
        crc_from(self.partial_crc, payload) == self.crc
    }
}

/// Where the checksum of the frame at `offset` starts from, in a file with this header checksum.
pub(crate) fn frame_seed(header_crc: u32, offset: u64) -> u32 {
    crc_from(header_crc, &offset.to_le_bytes())
}

fn crc_from(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// How large a frame of these entries is.
pub(crate) fn frame_bytes(entries: &[Entry]) -> u64 {
    let payload: usize = entries
        .iter()
        .map(|entry| ENTRY_HEADER_BYTES + entry.body.len())
        .sum();
    (FRAME_HEADER_BYTES + payload) as u64
}

/// The frame of one commit.
pub(crate) fn encode_frame(seed: u32, first: Position, entries: &[Entry]) -> Bytes {
    let length = usize::try_from(frame_bytes(entries)).expect("the entries are in memory");
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_slice(&FRAME_MAGIC);
    bytes.put_u32_le(to_u32(length - FRAME_HEADER_BYTES));
    bytes.put_u64_le(first.0);
    bytes.put_u32_le(to_u32(entries.len()));
    bytes.put_u32_le(0);
    for entry in entries {
        put_mark(&mut bytes, entry.origin, entry.mark());
        bytes.put_u32_le(to_u32(entry.body.len()));
        bytes.put_slice(&entry.body);
    }
    let head = crc_from(seed, &bytes[..FRAME_CRC_AT]);
    let crc = crc_from(head, &bytes[FRAME_HEADER_BYTES..]);
    bytes[FRAME_CRC_AT..FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes.freeze()
}

/// The header of a frame around any payload.
#[cfg(feature = "fuzzing")]
pub(crate) fn frame_header(seed: u32, first: Position, count: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = FRAME_MAGIC.to_vec();
    bytes.put_u32_le(to_u32(payload.len()));
    bytes.put_u64_le(first.0);
    bytes.put_u32_le(count);
    let crc = crc_from(crc_from(seed, &bytes), payload);
    bytes.put_u32_le(crc);
    bytes
}

/// The entries of a payload, whose bodies share its memory; `None` where it is malformed.
pub(crate) fn decode_payload(mut payload: Bytes, count: u32) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for _ in 0..count {
        if payload.len() < ENTRY_HEADER_BYTES {
            return None;
        }
        let (origin, mark) = take_mark(&mut payload);
        let length = payload.get_u32_le() as usize;
        if payload.len() < length {
            return None;
        }
        entries.push(Entry {
            origin,
            sequence: mark.sequence,
            hlc: mark.hlc,
            history: mark.history,
            body: payload.split_to(length),
        });
    }
    payload.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Body, RegionName};

    fn entry() -> Entry {
        let body = Body::Open {
            region: RegionName::new("a"),
        };
        Entry::following(Mark::default(), OriginId(7), Hlc::from_raw(5), &body)
    }

    #[test]
    fn the_encoding_of_a_header_is_fixed() {
        let header = SegmentHeader {
            first: Position(3),
            marks: [(OriginId(7), entry().mark())].into_iter().collect(),
        };
        let (bytes, crc) = header.encode();
        assert_eq!(
            bytes[..28],
            *b"\xffmrd-log\x01\0\0\0\x40\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0"
        );
        assert_eq!(bytes.len(), 0x40);
        let fixed = bytes[..28].try_into().unwrap();
        assert_eq!(SegmentHeader::length(fixed), Ok(0x40));
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, crc)));
    }

    #[test]
    fn a_frame_reads_back_and_only_in_its_own_file() {
        let frame = encode_frame(99, Position(3), &[entry()]);
        let payload = frame.slice(FRAME_HEADER_BYTES..);
        let header = FrameHeader::decode(99, &frame).unwrap();
        assert_eq!((header.first, header.count), (Position(3), 1));
        assert!(header.matches(&payload));
        assert!(!FrameHeader::decode(98, &frame).unwrap().matches(&payload));
        assert_eq!(decode_payload(payload.clone(), 1), Some(vec![entry()]));
        assert_eq!(decode_payload(payload.clone(), 2), None);
        assert_eq!(decode_payload(payload.slice(..20), 1), None);
        assert_eq!(decode_payload(payload, 0), None, "bytes left over");
    }

    #[test]
    fn the_encoding_of_a_frame_is_fixed() {
        let frame = encode_frame(0, Position(3), &[entry()]);
        assert_eq!(
            frame[..20],
            *b"\xf5\xc1\xfe\xf9\x27\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0"
        );
        assert_eq!(frame[frame.len() - 3..], [0, 1, b'a']);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..20]);
        hasher.update(&frame[24..]);
        assert_eq!(frame[20..24], hasher.finalize().to_le_bytes());
    }
}
