//! What a transaction did, in memory or, where it did much, in a file.
//!
//! A transaction of two million rows must not be two million rows of memory. pgoutput's messages are
//! kept as they came until the commit; beyond a bound they go into a file and are decoded when they
//! are read, a chunk at a time. The file has no name: it is gone as soon as nobody holds it, however
//! the process ends. It is not synced; after a crash the server sends the transaction again.

use super::RowChange;
use super::pgoutput::DecodeError;
use super::relations::{Relations, RowError};
use bytes::Bytes;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a transaction did, in its order.
#[derive(Clone, Debug)]
pub enum Changes {
    /// In memory.
    Held(Vec<RowChange>),
    /// In a file.
    Spooled(Arc<Spool>),
}

/// The changes of a large transaction, in a file without a name.
#[derive(Debug)]
pub struct Spool {
    file: File,
    directory: PathBuf,
    bytes: u64,
    changes: usize,
    emptying: usize,
    /// As they were when the transaction began; the file has what came during it.
    relations: Relations,
}

/// The changes of a large transaction can't be put aside or read again.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// Its file fails.
    #[error("can't put a large transaction aside in {directory}: {source}")]
    File {
        /// Where the file is.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A message in it is none.
    #[error(
        "a large transaction put aside in {directory} doesn't read as it was written: {reason}"
    )]
    Damaged {
        /// Where the file is.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A change isn't one of the relation that it names.
    #[error("can't read the replication stream: {0}")]
    Unreadable(#[from] RowError),
}

impl ChangesError {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "is the disk full? The dataset's directory takes transactions of more than 8 MiB until \
                 they are in the log; it is tried again"
            }
            Self::Damaged { .. } => "is the disk sound? The transaction is captured again",
            Self::Unreadable(_) => "capture needs a UTF-8 database of PostgreSQL 14 to 18",
        }
    }
}

/// How much memory the changes of one chunk take, about.
const CHUNK_BYTES: usize = 1 << 20;

impl Changes {
    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Held(changes) => changes.len(),
            Self::Spooled(spool) => spool.changes,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many statements emptied tables.
    #[must_use]
    pub fn emptying(&self) -> usize {
        let empties = |change: &&RowChange| matches!(change, RowChange::Truncate { .. });
        match self {
            Self::Held(changes) => changes.iter().filter(empties).count(),
            Self::Spooled(spool) => spool.emptying,
        }
    }

    /// The chunks of a transaction in a file; `None` where it is in memory. The file goes with them.
    #[must_use]
    pub fn spooled(&self) -> Option<SpooledChunks> {
        match self {
            Self::Held(_) => None,
            Self::Spooled(spool) => Some(SpooledChunks(Box::new(SpoolReader::new(spool)))),
        }
    }

    /// How many bytes the server sent for them, where they are in a file.
    #[must_use]
    pub fn spooled_bytes(&self) -> Option<u64> {
        match self {
            Self::Held(_) => None,
            Self::Spooled(spool) => Some(spool.bytes),
        }
    }

    /// All changes, in chunks that take about a mebibyte of memory each. It can be gone through any
    /// number of times.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        match self {
            Self::Held(changes) => Chunks(Source::Held(Some(changes))),
            Self::Spooled(_) => Chunks(Source::Spooled(self.spooled())),
        }
    }
}

impl From<Vec<RowChange>> for Changes {
    fn from(changes: Vec<RowChange>) -> Self {
        Self::Held(changes)
    }
}

/// Files are equal to themselves alone.
impl PartialEq for Changes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Held(one), Self::Held(other)) => one == other,
            (Self::Spooled(one), Self::Spooled(other)) => Arc::ptr_eq(one, other),
            (Self::Held(_), Self::Spooled(_)) | (Self::Spooled(_), Self::Held(_)) => false,
        }
    }
}

impl Eq for Changes {}

/// The changes of a transaction, chunk by chunk. After an error it ends.
#[derive(Debug)]
pub struct Chunks<'changes>(Source<'changes>);

#[derive(Debug)]
enum Source<'changes> {
    Held(Option<&'changes Vec<RowChange>>),
    Spooled(Option<SpooledChunks>),
}

/// The changes of a large transaction, chunk by chunk, from its file. After an error it ends.
#[derive(Debug)]
pub struct SpooledChunks(Box<SpoolReader>);

impl Iterator for SpooledChunks {
    type Item = Result<Vec<RowChange>, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.chunk() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => Some(Ok(chunk)),
            Err(error) => {
                self.0.left = 0;
                Some(Err(error))
            }
        }
    }
}

impl<'changes> Iterator for Chunks<'changes> {
    type Item = Result<Cow<'changes, [RowChange]>, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Held(changes) => changes
                .take()
                .filter(|changes| !changes.is_empty())
                .map(|changes| Ok(Cow::Borrowed(changes.as_slice()))),
            Source::Spooled(chunks) => {
                let chunk = chunks.as_mut()?.next()?;
                Some(chunk.map(Cow::Owned))
            }
        }
    }
}

/// How much memory a message's change will take, about. Small values take more of it as values
/// than as bytes: each is a `Datum` and an allocation of its own.
pub(super) fn weight(message: &[u8]) -> usize {
    const CHANGE: usize = 96;
    const VALUE: usize = 48;
    // Kind, relation, tuple's kind, number of columns.
    let columns = match message {
        [b'I' | b'U' | b'D', _, _, _, _, _, high, low, ..] => {
            usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => 0,
    };
    let tuples = match message {
        [b'U', _, _, _, _, b'O' | b'K', ..] => 2,
        _ => 1,
    };
    message.len() + CHANGE + columns * tuples * VALUE
}

/// Writes messages into a file.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: BufWriter<File>,
    directory: PathBuf,
    bytes: u64,
    changes: usize,
    emptying: usize,
    relations: Relations,
}

impl SpoolWriter {
    pub(super) fn new(directory: &Path, relations: Relations) -> Result<Self, ChangesError> {
        let file = tempfile::tempfile_in(directory).map_err(|source| ChangesError::File {
            directory: directory.to_owned(),
            source,
        })?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, file),
            directory: directory.to_owned(),
            bytes: 0,
            changes: 0,
            emptying: 0,
            relations,
        })
    }

    pub(super) fn write(&mut self, message: &[u8]) -> Result<(), ChangesError> {
        let length = u32::try_from(message.len()).expect("a message of PostgreSQL is below 1 GiB");
        self.file
            .write_all(&length.to_le_bytes())
            .and_then(|()| self.file.write_all(message))
            .map_err(|source| ChangesError::File {
                directory: self.directory.clone(),
                source,
            })?;
        self.bytes += 4 + u64::from(length);
        if matches!(message.first(), Some(b'I' | b'U' | b'D' | b'T')) {
            self.changes += 1;
        }
        self.emptying += usize::from(message.first() == Some(&b'T'));
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Spool, ChangesError> {
        let directory = self.directory;
        let file = self.file.into_inner().map_err(|error| ChangesError::File {
            directory: directory.clone(),
            source: error.into_error(),
        })?;
        Ok(Spool {
            file,
            directory,
            bytes: self.bytes,
            changes: self.changes,
            emptying: self.emptying,
            relations: self.relations,
        })
    }
}

/// A file read from a place of its own: several readers don't disturb each other.
#[derive(Debug)]
struct At {
    spool: Arc<Spool>,
    position: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.spool.file.read_at(buffer, self.position)?;
        self.position += u64::try_from(read).expect("a buffer's length fits");
        Ok(read)
    }
}

#[derive(Debug)]
struct SpoolReader {
    spool: Arc<Spool>,
    file: BufReader<At>,
    left: u64,
    relations: Relations,
}

impl SpoolReader {
    fn new(spool: &Arc<Spool>) -> Self {
        let file = At {
            spool: Arc::clone(spool),
            position: 0,
        };
        Self {
            spool: Arc::clone(spool),
            file: BufReader::with_capacity(1 << 16, file),
            left: spool.bytes,
            relations: spool.relations.clone(),
        }
    }

    /// The next changes; none at the end.
    fn chunk(&mut self) -> Result<Vec<RowChange>, ChangesError> {
        let mut changes = Vec::new();
        let mut taken = 0;
        // Descriptions of relations are no changes: an empty chunk is the end.
        while self.left > 0 && (taken < CHUNK_BYTES || changes.is_empty()) {
            let message = self.message()?;
            taken += weight(&message);
            changes.extend(self.relations.replay(&message)?);
        }
        Ok(changes)
    }

    fn message(&mut self) -> Result<Bytes, ChangesError> {
        let mut length = [0; 4];
        self.exactly(&mut length)?;
        let length = u32::from_le_bytes(length);
        if u64::from(length) > self.left {
            return Err(self.damaged("a message is longer than the file"));
        }
        let mut message = vec![0; usize::try_from(length).expect("a length fits")];
        self.exactly(&mut message)?;
        Ok(message.into())
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), ChangesError> {
        let length = u64::try_from(buffer.len()).expect("a buffer's length fits");
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| self.damaged("it ends within a message"))?;
        self.file
            .read_exact(buffer)
            .map_err(|source| ChangesError::File {
                directory: self.spool.directory.clone(),
                source,
            })
    }

    fn damaged(&self, reason: &str) -> ChangesError {
        ChangesError::Damaged {
            directory: self.spool.directory.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl From<DecodeError> for ChangesError {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error.into())
    }
}
