//! The conflict record (requirement D2): field names as the owner's documents give them.

use crate::{RowName, Strategy, Version};
use serde::{Deserialize, Serialize};

/// Two writes to a row of which neither had seen the other, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The dataset's table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// What met what.
    pub kind: ConflictKind,
    /// The write whose value stands; of siblings, which all stand, the newer. Where the conflict is
    /// between two rows, the last write of the other row.
    pub winner: ConflictingWrite,
    /// The write that gave way; of siblings the older.
    pub loser: ConflictingWrite,
    /// When this region resolved it, in microseconds since 1970.
    pub resolved_at: crate::Micros,
    /// By which strategy.
    pub strategy: Strategy,
    /// The field that the writes met in, where a field is decided by itself; the documents are
    /// then the field's values.
    pub field: Option<String>,
}

/// Which kinds of write met. New ones are appended: the position is the format of conflict records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConflictKind {
    /// Two puts.
    UpdateUpdate,
    /// A put and a delete.
    UpdateDelete,
    /// Two deletes.
    DeleteDelete,
    /// Two rows with equal values in a unique index: this one is parked.
    Unique {
        /// The index.
        constraint: String,
        /// The row that has the values.
        rival: RowName,
    },
    /// A row and the absence of the row that it refers to: it is parked.
    ForeignKey {
        /// The foreign key.
        constraint: String,
        /// The row that isn't there.
        parent: RowName,
    },
    /// What an engine had of a row and what the other regions had, of which somebody chose one. The
    /// engine's side has the version under which that was noted; so has the other one where no region
    /// remembers a write.
    Chosen,
}

impl ConflictKind {
    /// The kind of a conflict between two writes' documents (`None` is a delete).
    #[must_use]
    pub fn of(one: Option<&str>, other: Option<&str>) -> Self {
        match (one, other) {
            (Some(_), Some(_)) => Self::UpdateUpdate,
            (None, None) => Self::DeleteDelete,
            _ => Self::UpdateDelete,
        }
    }
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictingWrite {
    /// Its version.
    pub version: Version,
    /// Its document as JSON text; `None` for a delete.
    pub document: Option<String>,
}
