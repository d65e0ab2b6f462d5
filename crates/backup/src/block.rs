//! Blocks: what a region's API hands out and what a file is made of.
//!
//! ```text
//! file   magic [8] │ block, block, …
//! block  payload bytes u32 │ xxh3 of the payload u64 │ payload (postcard)
//! ```
//!
//! Integers are little-endian. Each block says whose it is and when it was taken, so that a reply
//! that was resumed elsewhere is noticed.

use meridian_model::{Entry, Micros, OriginId, Position, RegionName, SnapshotPart};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use xxhash_rust::xxh3::xxh3_64;

/// How a file begins; the last byte is the format's version.
pub(crate) const MAGIC: [u8; 8] = *b"\xffmrdbak\x01";
const HEADER_BYTES: usize = 12;
/// No block is larger: a message of a link isn't either.
const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

/// Whose data it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The dataset.
    pub dataset: String,
    /// The region.
    pub region: RegionName,
    /// The region's incarnation: positions count in its log.
    pub origin: OriginId,
}

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Whose it is.
    pub source: Source,
    /// The region's wall clock just before it was read.
    pub taken_at: Micros,
    /// What it holds.
    pub content: Content,
}

/// What a block holds. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A part of a snapshot.
    Snapshot(SnapshotPart),
    /// Entries of the log.
    Entries {
        /// The position of the first.
        first: Position,
        /// The entries, in the log's order; none where the log ends here.
        entries: Vec<Entry>,
        /// Whether the log ended after them.
        is_last: bool,
    },
}

/// Bytes that are not a backup's.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// They can't be read.
    #[error("it can't be read")]
    Read(#[source] io::Error),
    /// They end in the middle.
    #[error("it ends at byte {offset}, in the middle of a block")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// They are not what was written.
    #[error("it is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Block {
    /// The block's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = postcard::to_extend(self, vec![0; HEADER_BYTES])
            .expect("blocks have no unencodable parts");
        let payload = &bytes[HEADER_BYTES..];
        let length = u32::try_from(payload.len()).expect("a part is far smaller");
        let checksum = xxh3_64(payload);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// Reads blocks one after the other.
#[derive(Debug)]
pub struct BlockReader<R> {
    from: R,
    offset: u64,
}

impl<R: Read> BlockReader<R> {
    /// Reads bare blocks, as the API gives them.
    pub fn bare(from: R) -> Self {
        Self { from, offset: 0 }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BlockError`] when it doesn't begin as a backup's file.
    pub fn file(from: R) -> Result<Self, BlockError> {
        let mut reader = Self::bare(from);
        let mut magic = [0; MAGIC.len()];
        if reader.fill(&mut magic)? < magic.len() || magic != MAGIC {
            let reason = "it doesn't begin as a backup of this version";
            return Err(BlockError::Damaged { offset: 0, reason });
        }
        Ok(reader)
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn next_block(&mut self) -> Result<Option<Block>, BlockError> {
        let offset = self.offset;
        let damaged = |reason| BlockError::Damaged { offset, reason };
        let mut header = [0; HEADER_BYTES];
        match self.fill(&mut header)? {
            0 => return Ok(None),
            HEADER_BYTES => {}
            _ => return Err(self.truncated()),
        }
        let (length, checksum) = header.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("split at four"));
        let checksum = u64::from_le_bytes(checksum.try_into().expect("eight are left"));
        if length > PAYLOAD_BYTES_MAX {
            return Err(damaged("a block can't be that long"));
        }
        let mut payload = Vec::new();
        let read = self.from.by_ref().take(u64::from(length));
        let read = { read }
            .read_to_end(&mut payload)
            .map_err(BlockError::Read)?;
        self.offset += read as u64;
        if read < length as usize {
            return Err(self.truncated());
        }
        if xxh3_64(&payload) != checksum {
            return Err(damaged("the checksum is another one"));
        }
        match postcard::take_from_bytes(&payload) {
            Ok((block, [])) => Ok(Some(block)),
            _ => Err(damaged("what it holds is not known")),
        }
    }

    fn truncated(&self) -> BlockError {
        let offset = self.offset;
        BlockError::Truncated { offset }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, BlockError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BlockError::Read(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}
