//! Transactions and their changes: the unit that replicates.

use crate::Vector;
use serde::{Deserialize, Serialize};

/// What one transaction did to one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// What was done.
    pub operation: Operation,
}

/// The kinds of change. New kinds are appended: the position in this list is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// The row's document is now this JSON text, as the client wrote it.
    Put {
        /// JSON text.
        document: String,
    },
    /// The row is gone.
    Delete,
    /// Fields grew by these amounts.
    Increment {
        /// Field name and amount, each field once, by name.
        by: Vec<(String, i64)>,
    },
    /// The row's document is now this, beside those of other such writes where neither had seen
    /// the other: it replaces only what its origin had seen.
    Sibling {
        /// JSON text; `None` removes what its origin had seen.
        document: Option<String>,
    },
    /// Some fields of the row changed, each by itself.
    Edit(Edit),
}

/// A change of some fields of a row; each field stands in one of the three lists only, except that
/// one which is set may get members on top.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Fields set to a JSON text, or removed (`None`), each once, by name.
    pub set: Vec<(String, Option<String>)>,
    /// Fields that grew by these amounts, each once, by name.
    pub by: Vec<(String, i64)>,
    /// Fields that are sets and gained or lost members, each once, by name.
    pub members: Vec<(String, Members)>,
}

/// What a set gained and lost. Members are canonical JSON texts, sorted, each in one list only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// What is a member now, even where a removal that hasn't seen this meets it.
    pub add: Vec<String>,
    /// What is none any more, as far as the origin had seen it added.
    pub remove: Vec<String>,
}

impl Operation {
    /// The least version of the wire in which a member can read this.
    #[must_use]
    pub fn wire_version_min(&self) -> u16 {
        match self {
            Self::Put { .. } | Self::Delete | Self::Increment { .. } => 1,
            Self::Sibling { .. } | Self::Edit(_) => 2,
        }
    }
}

/// A client's `Idempotency-Key` and a fingerprint of the request that carried it. It travels with
/// the transaction, so that a retry is recognised in every region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The header's value.
    pub key: String,
    /// xxh3 over the request, so that a key used for something else is told apart.
    pub fingerprint: u64,
}

/// A committed transaction; it applies atomically and exactly once in every region.
///
/// Each row is changed at most once: what one transaction does to a row in several steps is folded
/// into one change when it commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// What its origin had applied of the other origins when it committed.
    pub dependencies: Vector,
    /// The changes, in the order the client gave them.
    pub changes: Vec<Change>,
    /// The client's key, where it gave one.
    pub idempotency: Option<IdempotencyKey>,
}
