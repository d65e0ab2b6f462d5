//! What a region hands to one that begins empty: its tables as of one commit, and where every
//! stream stood at that commit. The entries after it follow by the streams as usual.

use crate::{Marks, Position};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A snapshot's number, drawn at random by whoever asks for it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SnapshotId(pub u64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One record of the tables, as the engine keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its key.
    pub key: Bytes,
    /// Its value, with the engine's own format and checksum.
    pub value: Bytes,
}

impl Record {
    /// Roughly what the record takes in memory and on the wire, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len() + 8
    }
}

/// Where a snapshot stands: all that belongs to it beside the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The position that the tables had reached in the log of the region that took it. Its log and
    /// the log of whoever begins from it are the same up to there.
    pub position: Position,
    /// Where every origin's stream stood at that position.
    pub marks: Marks,
    /// The members and their reports as of that position, as the road keeps them.
    pub road: Bytes,
}

/// A piece of a snapshot: records in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The records; at least one but in the part that is the last.
    pub records: Vec<Record>,
    /// Set in the last part.
    pub head: Option<SnapshotHead>,
}
