//! What can go wrong with a log: which file, where in it, what was expected, and what to do.

use meridian_model::{OriginId, Position, Sequence};
use std::io;

/// A failed operation on a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory can't be listed.
    #[error("cannot list the log's files")]
    List {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A segment can't be prepared; the log goes on as it was.
    #[error("cannot create the log file {file} of {bytes} bytes")]
    Create {
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("cannot read {file} at byte {offset}")]
    Read {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A write failed; nothing of it counts and the log goes on as it was.
    #[error("cannot write {bytes} bytes to {file} at byte {offset}")]
    Write {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// How much.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk could not make something durable: the log must be opened anew.
    #[error("the disk could not make {file} durable; what was last written is in an unknown state")]
    Sync {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be removed.
    #[error("cannot remove {file}")]
    Remove {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An earlier failure left the file in an unknown state.
    #[error("the log takes no more entries since a failure left its last file in an unknown state")]
    Poisoned,
    /// Bytes that were durable are not what they were.
    #[error("{file} is damaged at byte {offset}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The segment that should follow is not there.
    #[error(
        "entries {expected} to {} are missing: they should follow byte {offset} of {file}, but the \
         next file is {next}", .found.0 - 1
    )]
    MissingSegment {
        /// The last file before the gap.
        file: String,
        /// Where in it the entries end.
        offset: u64,
        /// The first missing position.
        expected: Position,
        /// The position the next file begins with.
        found: Position,
        /// The next file.
        next: String,
    },
    /// The log ends before entries that were acknowledged.
    #[error(
        "the log ends at position {end}, in {file} at byte {offset}, but entries up to position \
         {acknowledged} were acknowledged"
    )]
    LostTail {
        /// The last file.
        file: String,
        /// Where in it the entries end.
        offset: u64,
        /// Where the log ends.
        end: Position,
        /// Where it must at least reach.
        acknowledged: Position,
    },
    /// The file was written by another version of this program.
    #[error("{file} has format version {found} at byte 8; this build reads version {supported}")]
    UnsupportedVersion {
        /// The file.
        file: String,
        /// Its version.
        found: u16,
        /// The version this build reads.
        supported: u16,
    },
    /// An entry that doesn't come next in its origin's stream was handed to the log.
    #[error("entry {sequence} of origin {origin} does not follow entry {last}, the last one here")]
    OutOfOrder {
        /// The origin.
        origin: OriginId,
        /// The offered sequence.
        sequence: Sequence,
        /// The last sequence here.
        last: Sequence,
    },
    /// More in one commit than a frame can hold.
    #[error("a commit of {bytes} bytes is larger than the {bytes_max} that one frame may have")]
    TooLarge {
        /// The commit's size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The position has left the log.
    #[error("position {position} has left the log, which begins at {start}")]
    Trimmed {
        /// The position asked for.
        position: Position,
        /// Where the log begins.
        start: Position,
    },
    /// The entries that follow what a peer holds have left the log.
    #[error("the log no longer holds what follows entry {sequence} of origin {origin}")]
    NoLongerHeld {
        /// The origin.
        origin: OriginId,
        /// The last sequence the peer holds of it.
        sequence: Sequence,
    },
    /// A position after the log's end was asked for.
    #[error("position {position} is after the log's end at {end}")]
    BeyondEnd {
        /// The position asked for.
        position: Position,
        /// Where the log ends.
        end: Position,
    },
}

impl LogError {
    /// Whether the disk (or a quota) is full: the same commit may succeed when there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Create { source, .. } | Self::Write { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    /// Whether the log takes no more commits until it is opened anew.
    #[must_use]
    pub fn must_reopen(&self) -> bool {
        matches!(self, Self::Sync { .. } | Self::Poisoned)
    }

    /// Whether durable bytes are damaged or gone: a person has to look.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::MissingSegment { .. } | Self::LostTail { .. }
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            error if error.is_full() => {
                "make room on the disk; writes are taken again by themselves then"
            }
            Self::List { .. }
            | Self::Create { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Remove { .. } => {
                "check the directory's permissions and the kernel's messages about the disk"
            }
            Self::Sync { .. } | Self::Poisoned => {
                "check the kernel's messages about the disk, then restart the region: opening the \
                 log finds out what is durable"
            }
            Self::Corrupt { .. } | Self::MissingSegment { .. } | Self::LostTail { .. } => {
                "keep a copy of the directory and check the disk; the other regions go on, and hold \
                 what had reached them"
            }
            Self::UnsupportedVersion { .. } => {
                "start the version of meridian that wrote this directory"
            }
            Self::OutOfOrder { .. } | Self::BeyondEnd { .. } => {
                "this is a defect in meridian; please report it with the log of this process"
            }
            Self::TooLarge { .. } => "split the transaction into smaller ones",
            Self::Trimmed { .. } | Self::NoLongerHeld { .. } => {
                "the peer was away for longer than entries are kept, or its data went back in time"
            }
        }
    }

    pub(crate) fn corrupt(
        file: &str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn read(file: &str, offset: u64, source: io::Error) -> Self {
        Self::Read {
            file: file.to_owned(),
            offset,
            source,
        }
    }

    pub(crate) fn write(file: &str, offset: u64, bytes: usize, source: io::Error) -> Self {
        Self::Write {
            file: file.to_owned(),
            offset,
            bytes: bytes as u64,
            source,
        }
    }

    pub(crate) fn sync(file: &str, source: io::Error) -> Self {
        Self::Sync {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn remove(file: &str, source: io::Error) -> Self {
        Self::Remove {
            file: file.to_owned(),
            source,
        }
    }
}
