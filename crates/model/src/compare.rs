//! What regions tell each other when they compare what they hold.
//!
//! Rows are compared by what they *show*: a tombstone that is collected here and not yet there, or
//! an increment kept apart here and stable there, is no difference. Digests add up: that of a span
//! is the sum of its rows', so a tree of spans needs no more than the sums of its leaves.

use crate::{Vector, Version};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A row's place: table, then key, in the order in which the store keeps them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowName {
    /// The table.
    pub table: String,
    /// The key.
    pub key: String,
}

impl RowName {
    /// The name, short.
    #[must_use]
    pub fn digest(&self) -> RowDigest {
        let table = xxh3_64(self.table.as_bytes());
        RowDigest(xxh3_64_with_seed(self.key.as_bytes(), table))
    }
}

/// A row's name in eight bytes, to tell very many rows apart in memory. Two names may share one, so it is
/// never stored or sent, and whoever goes by it says why that does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowDigest(u64);

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {:?} of table {:?}", self.key, self.table)
    }
}

/// The rows after one name and up to another, in the store's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The last name before the span; from the first row where it is `None`.
    pub after: Option<RowName>,
    /// Where it ends.
    pub to: SpanEnd,
}

/// Where a span of rows ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpanEnd {
    /// With the last row of the last table.
    #[default]
    Last,
    /// With this row, whether it is there or not.
    Row(RowName),
    /// With the last row of this table.
    Table(String),
}

impl Span {
    /// All rows of a table.
    #[must_use]
    pub fn of_table(table: &str) -> Self {
        // No key is empty, so nothing of the table stands at or before this name.
        let after = RowName {
            table: table.to_owned(),
            key: String::new(),
        };
        Self {
            after: Some(after),
            to: SpanEnd::Table(table.to_owned()),
        }
    }

    /// Whether a row of this name stands in the span.
    #[must_use]
    pub fn contains(&self, name: &RowName) -> bool {
        self.after.as_ref().is_none_or(|after| name > after) && !self.ends_before(name)
    }

    /// Whether all of the span stands before this row.
    #[must_use]
    pub fn ends_before(&self, name: &RowName) -> bool {
        match &self.to {
            SpanEnd::Last => false,
            SpanEnd::Row(last) => name > last,
            SpanEnd::Table(table) => name.table > *table,
        }
    }

    /// What is left of the span behind this row.
    #[must_use]
    pub fn behind(&self, name: RowName) -> Self {
        Self {
            after: Some(name),
            to: self.to.clone(),
        }
    }
}

/// What a span holds, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanDigest {
    /// Rows that show.
    pub rows: u64,
    /// Records that can't be read.
    pub damaged: u64,
    /// The sum of the rows' digests, modulo 2^64.
    pub digest: u64,
}

impl SpanDigest {
    /// Both spans together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            damaged: self.damaged + other.damaged,
            digest: self.digest.wrapping_add(other.digest),
        }
    }

    /// Whether both hold the same, and all of it can be read.
    #[must_use]
    pub fn agrees(self, other: Self) -> bool {
        self == other && self.damaged == 0
    }
}

/// A region's copy of a row, as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCopy {
    /// What it holds.
    pub holds: Holds,
    /// Names the whole of the stored state, what doesn't show included: as long as it stays, no
    /// write has touched the row.
    pub state: u64,
}

/// What a copy of a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// Nothing, not even the memory of a delete.
    Nothing,
    /// The memory of a delete.
    Tombstone {
        /// The greatest version of any write to the row.
        latest: Version,
    },
    /// A row that shows.
    Row {
        /// The greatest version of any write to it.
        latest: Version,
        /// Its digest: of its name, its version's name and its document.
        digest: u64,
    },
    /// A record that fails its checksum or can't be read.
    Damage,
}

impl Holds {
    /// Whether readers see the same in both.
    #[must_use]
    pub fn shows_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Row { digest: one, .. }, Self::Row { digest: other, .. }) => one == other,
            (one, other) => one.is_gone() && other.is_gone(),
        }
    }

    /// Whether the row isn't there.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Nothing | Self::Tombstone { .. })
    }

    /// The greatest version of any write to the row, where that is known.
    #[must_use]
    pub fn latest(self) -> Option<Version> {
        match self {
            Self::Tombstone { latest } | Self::Row { latest, .. } => Some(latest),
            Self::Nothing | Self::Damage => None,
        }
    }
}

/// The whole stored state of a row, to be taken over as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowState {
    /// As in [`RowCopy::state`].
    pub state: u64,
    /// The row's record without format and checksum; `None` where there is none.
    pub record: Option<Bytes>,
    /// The increments kept apart: version, and record likewise.
    pub kept: Vec<(Version, Bytes)>,
}

/// Copies of rows as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// All that was applied at that moment, and no more.
    pub as_of: Vector,
    /// One for each row that was asked for.
    pub copies: Vec<RowCopy>,
}

/// Whole rows as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// All that was applied at that moment, and no more.
    pub as_of: Vector,
    /// One for each of the first rows that were asked for, as far as one message takes them.
    pub rows: Vec<RowState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_collected_here_and_not_yet_there_shows_alike() {
        let latest = Version {
            hlc: crate::Hlc::from_raw(5),
            origin: crate::OriginId(1),
        };
        let (tombstone, row) = (
            Holds::Tombstone { latest },
            Holds::Row { latest, digest: 1 },
        );
        assert!(tombstone.shows_as(Holds::Nothing) && Holds::Nothing.shows_as(tombstone));
        assert!(!row.shows_as(tombstone) && !row.shows_as(Holds::Nothing));
        assert!(!row.shows_as(Holds::Row { latest, digest: 2 }));
        assert!(!Holds::Damage.shows_as(Holds::Damage));
    }

    #[test]
    fn rows_sort_as_the_store_keeps_them() {
        let name = |table: &str, key: &str| RowName {
            table: table.to_owned(),
            key: key.to_owned(),
        };
        assert!(name("a", "z") < name("ab", "a"));
        assert!(name("a", "\0") < name("a", "\0\0"));
    }

    #[test]
    fn damage_agrees_with_nothing() {
        let whole = SpanDigest {
            rows: 3,
            damaged: 0,
            digest: u64::MAX,
        };
        assert!(whole.agrees(whole));
        let torn = SpanDigest {
            damaged: 1,
            ..whole
        };
        assert!(!torn.agrees(torn));
        assert_eq!(whole.plus(whole).digest, u64::MAX - 1);
    }
}
