//! What a client asks of the tables, and what it is told.
//!
//! A region that takes no writes hands requests on, and outcomes come back: the order of variants and
//! fields is part of the format on the wire, and new ones are appended.

use crate::TablesError;
use meridian_merge::RowVersion;
use meridian_model::{IdempotencyKey, Version};
use serde::{Deserialize, Serialize};

/// A client's transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do, one after another.
    pub operations: Vec<RowOperation>,
    /// What must hold before, or nothing is done.
    pub preconditions: Vec<Precondition>,
    /// The client's key, where it gave one.
    pub idempotency: Option<IdempotencyKey>,
}

/// One operation on one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOperation {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// What to do.
    pub action: Action,
}

/// What to do to a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Write the document.
    Put {
        /// JSON text, checked by the caller.
        document: String,
    },
    /// Remove the row.
    Delete,
    /// Add to a field.
    Increment {
        /// The field's name.
        field: String,
        /// The amount.
        by: i64,
    },
    /// Add members to a field that is a set, and remove others.
    Members {
        /// The field's name.
        field: String,
        /// Canonical JSON texts ([`meridian_merge::canonical`]).
        add: Vec<String>,
        /// Likewise.
        remove: Vec<String>,
    },
}

/// What must hold of a row before the transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// What must hold.
    pub kind: PreconditionKind,
}

/// The preconditions of RFC 9110, section 13.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreconditionKind {
    /// The row is there, in one of the versions; or it has siblings and all of their versions are
    /// named.
    IfMatch(Tags),
    /// The row is not there in any of the versions.
    IfNoneMatch(Tags),
}

/// The entity tags of a precondition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tags {
    /// `*`: any version.
    Any,
    /// These, as [`RowVersion`] displays itself.
    Versions(Vec<String>),
}

/// How much the tables take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one document.
    pub document_bytes_max: usize,
    /// Of a transaction's tables, keys, fields and documents together.
    pub transaction_bytes_max: usize,
    /// Of a row's key.
    pub key_bytes_max: usize,
    /// Of a table's name.
    pub table_bytes_max: usize,
    /// Of a client's idempotency key.
    pub idempotency_bytes_max: usize,
    /// In one transaction.
    pub operations_max: usize,
    /// How many conflicts are kept; older ones are dropped as tables are collected.
    pub conflicts_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes_max: 1024 * 1024,
            transaction_bytes_max: 8 * 1024 * 1024,
            key_bytes_max: 1024,
            table_bytes_max: 128,
            idempotency_bytes_max: 255,
            operations_max: 10_000,
            conflicts_max: 10_000,
        }
    }
}

/// What became of a client's transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The version it committed with; `None` where nothing was written. Of a replayed request,
    /// the version of the transaction that it repeats.
    pub version: Option<Version>,
    /// Whether the request repeats one that was carried out before. The rows are then shown as
    /// they are now.
    pub replayed: bool,
    /// The rows that the request names, each once, in the order in which it names them.
    pub rows: Vec<RowOutcome>,
}

/// A row after a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOutcome {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// Whether the row was not there before and is now.
    pub created: bool,
    /// What names its content; `None` where it isn't there.
    pub version: Option<RowVersion>,
    /// Its document as JSON text; `None` where it isn't there.
    pub document: Option<String>,
}

/// Why a client's transaction was not carried out. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// No operations.
    #[error("the transaction has no operations\n\nhint: give at least one")]
    Empty,
    /// Too many operations.
    #[error("the transaction has {operations} operations, of at most {max}\n\nhint: split it")]
    TooManyOperations {
        /// How many it has.
        operations: usize,
        /// How many it may have.
        max: usize,
    },
    /// Too large in all.
    #[error("the transaction has more than {max} bytes\n\nhint: split it")]
    TransactionTooLarge {
        /// How many bytes it may have.
        max: usize,
    },
    /// A document is too large, or becomes so by an increment.
    #[error("the document of row {key:?} in table {table:?} has {bytes} bytes, of at most {max}")]
    DocumentTooLarge {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// A table's name that can't be.
    #[error("{table:?} can't name a table: a name has 1 to {max} bytes and no NUL")]
    BadTable {
        /// The name.
        table: String,
        /// How many bytes it may have.
        max: usize,
    },
    /// A key that can't be.
    #[error("a row's key has 1 to {max} bytes, this one in table {table:?} has {bytes}")]
    BadKey {
        /// The table.
        table: String,
        /// How many bytes the key has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// An idempotency key that can't be.
    #[error("an idempotency key has 1 to {max} bytes, this one has {bytes}")]
    BadIdempotencyKey {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// The idempotency key came with another request before.
    #[error(
        "the idempotency key {key:?} was used for another request\n\nhint: a retry repeats the \
         request as it was; a new request takes a new key"
    )]
    IdempotencyKeyReused {
        /// The key.
        key: String,
    },
    /// A precondition doesn't hold.
    #[error("row {key:?} in table {table:?} is not in the state that the request demands")]
    PreconditionFailed {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The row's version; `None` where it isn't there.
        version: Option<RowVersion>,
    },
    /// A change of a field in a document without fields.
    #[error(
        "field {field:?} of row {key:?} in table {table:?} can't be changed: the document is no \
         JSON object"
    )]
    NotAnObject {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
    },
    /// An increment of something that is no integer.
    #[error(
        "field {field:?} of row {key:?} in table {table:?} can't be incremented: it holds no \
         integer"
    )]
    NotAnInteger {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
    },
    /// An increment beyond the range.
    #[error(
        "field {field:?} of row {key:?} in table {table:?} can't be incremented by that much: it \
         would leave the range of 64-bit integers"
    )]
    OutOfRange {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
    },
    /// Members for something that is no array.
    #[error(
        "field {field:?} of row {key:?} in table {table:?} can't take members: it holds no array\n\n\
         hint: put a document in which the field is an array, or is missing"
    )]
    NotASet {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
    },
    /// A change of a field of a row with siblings: there is no one document to change.
    #[error(
        "row {key:?} in table {table:?} has siblings, so its field {field:?} can't be changed by \
         itself\n\nhint: read the row and resolve it: put one document, with the siblings' versions \
         in If-Match"
    )]
    HasSiblings {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
    },
    /// A decision about a dead letter that isn't there.
    #[error(
        "there is no dead letter {letter}\n\nhint: it may have been decided about already, here or \
         in another region; list those that wait"
    )]
    LetterNotFound {
        /// The letter's name.
        letter: Version,
    },
    /// What would be made in a dead letter's place would be one again.
    #[error(
        "dead letter {letter} can't be applied: {reason}\n\nhint: edit it, which gives it other \
         operations, or drop it"
    )]
    LetterAgain {
        /// The letter's name.
        letter: Version,
        /// Why it can't.
        reason: String,
    },
    /// The tables themselves failed: no fault of the request.
    #[error(transparent)]
    Tables(#[from] TablesError),
}
