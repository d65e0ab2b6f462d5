//! Projection: which rows of the server have to be written, and when that is safe. Pure.

use crate::{Lsn, Xid};
use meridian_model::{Position, RowName, Vector};

/// Rows to be brought to one snapshot of the tables, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Names the batch in what is told of it later.
    pub id: u64,
    /// The rows.
    pub rows: Vec<DirtyRow>,
}

/// A row, and what it must be now in the server to be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyRow {
    /// Which.
    pub row: RowName,
    /// Its writers that are as good as captured beside those below the horizon.
    pub known: Option<Xid>,
}

/// A batch with what the tables show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// The batch's id.
    pub id: u64,
    /// The snapshot's position in the log.
    pub position: Position,
    /// Per origin its last transaction in the snapshot.
    pub seen: Vector,
    /// Writers before this one are captured.
    pub horizon: Xid,
    /// The rows and their documents; `None` where the tables show none.
    pub rows: Vec<(DirtyRow, Option<String>)>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed, by this transaction.
    Committed {
        /// Its id.
        xid: Xid,
        /// A WAL position after its commit.
        end: Lsn,
    },
    /// Nothing was written: rows were not in a state that is known to be captured. Once capture
    /// has passed `read_at`, the writers found are.
    Unsure {
        /// The rows and their writers; `None` where there is no row.
        found: Vec<(RowName, Option<Xid>)>,
        /// A WAL position read after them.
        read_at: Lsn,
    },
    /// Nothing was written: a constraint of the server is in the way.
    Violation {
        /// The constraint and the server's words.
        reason: String,
    },
    /// Nothing was written: somebody holds a lock, or was chosen before us in a deadlock.
    Locked,
}
