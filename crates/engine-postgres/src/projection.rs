//! Projection: which rows of the server have to be written, and when that is safe. Pure.
//!
//! [`Projection`] is the machine. A row is *dirty* when the tables may show something else than the
//! server; [`Projection::next_batch`] takes all dirty rows at once, [`Projection::projected`] adds
//! what one snapshot of the tables shows of them, the applier writes that in one transaction, and
//! [`Projection::outcome`] hears what became of it.
//!
//! ```text
//!            touched                 next_batch            Committed            captured
//!  settled ───────────▶ dirty ───────────────────▶ issued ────────────▶ written ─────────▶ settled
//!                         ▲  Unsure, Locked, Violation, Unknown │            │
//!                         └─────────────────────────────────────┘            │
//!                         ▲       a local transaction touched the row        │
//!                         └──────────────────────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - a row is written only over a state that capture has told (`known`, or below the horizon) or
//!   that an earlier batch wrote;
//! - a batch has *all* dirty rows, so that the position committed with it is true; while a probe is
//!   under way there is no batch;
//! - a row that a captured local transaction touched while a batch with it was issued or not yet
//!   captured is dirty: in the WAL it stands before that batch, which may have lost it;
//! - a tagged transaction of a batch that is not remembered (the process began anew) makes all of its
//!   rows dirty: nobody knows any more what was asked.
//!
//! Nothing of this is on disk. After a restart everything from the position in the server's
//! `meridian.position` on is touched again, this region's own entries included; and what is captured
//! of the WAL up to the start is dirty too, since it may stand before a batch of the life before,
//! which may have lost it. The rows parked come back from `meridian.parked` ([`Projection::new`]).

mod asked;
mod known;
mod large;
mod machine;
#[cfg(test)]
mod model;
mod parked;
mod settled;
#[cfg(test)]
mod tests;

pub use large::Left;
pub use machine::Projection;
pub use settled::RowStanding;

use crate::{Lsn, Xid};
use meridian_model::{Position, RowName, Vector, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Rows to be brought to one snapshot of the tables, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Names the batch in what is told of it later.
    pub id: u64,
    /// The rows.
    pub rows: Vec<DirtyRow>,
    /// Writers before this one were captured when the batch was made.
    pub horizon: Xid,
    /// Rows that others write faster than capture can follow. Where there are any, the applier is to
    /// lock these (`Applier::hold`) instead of writing the batch, and what it finds is the outcome;
    /// it keeps the locks, with those it has, for the batch that follows.
    pub hold: Vec<RowName>,
}

/// A row, and what it must be now in the server to be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyRow {
    /// Which.
    pub row: RowName,
    /// Its writers that are as good as captured beside those below the horizon.
    pub known: Option<Xid>,
    /// Whether it is kept out of the server by a constraint so far.
    pub is_parked: bool,
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
    /// The rows' versions, in the same order: which of two that exclude each other is the newer.
    pub versions: Vec<Option<Version>>,
}

/// What a snapshot of the tables shows of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its document.
    pub document: String,
    /// Its version.
    pub version: Version,
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
        /// Rows of the batch that a constraint keeps out of the server.
        parked: Vec<Parked>,
    },
    /// Nothing was written: rows were not in a state that is known to be captured. Once capture
    /// has passed `read_at`, the writers found are.
    Unsure {
        /// The rows and their writers; `None` where there is no row.
        found: Vec<(RowName, Option<Xid>)>,
        /// A WAL position read after them.
        read_at: Lsn,
    },
    /// Nothing was written: a constraint makes the batch depend on these rows too, which must be in
    /// it with their versions.
    Involved {
        /// The rows.
        rows: Vec<RowName>,
    },
    /// Nothing was written: the server refuses, and not because of single rows.
    Violation {
        /// The constraint and the server's words.
        reason: String,
    },
    /// Nothing was written: somebody holds a lock, or was chosen before us in a deadlock.
    Locked,
    /// The connection was lost: nobody knows whether it was written.
    Unknown,
}

/// A row of the tables that the server doesn't show because of a constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The row.
    pub row: RowName,
    /// What is in its way.
    pub hindrance: Hindrance,
}

impl Parked {
    /// The names of rows that aren't in the server, and of those that it refuses and may show as they were
    /// before.
    #[must_use]
    pub fn names(all: impl IntoIterator<Item = Self>) -> (BTreeSet<RowName>, BTreeSet<RowName>) {
        let (mut out, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for parked in all {
            match parked.hindrance {
                Hindrance::Refused { .. } => refused.insert(parked.row),
                _ => out.insert(parked.row),
            };
        }
        (out, refused)
    }
}

/// What keeps a row out of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hindrance {
    /// A newer row has its unique values.
    Rival {
        /// The index.
        constraint: String,
        /// That row.
        rival: RowName,
    },
    /// The row that it refers to isn't there.
    Orphan {
        /// The foreign key.
        constraint: String,
        /// The table referred to.
        table: String,
        /// The row there, where the foreign key names it.
        parent: Option<RowName>,
        /// Whether its table has unique indexes: it keeps its values from older rows.
        holds_values: bool,
    },
    /// It was deleted while a region that hadn't seen that counted on: of the row there is nothing
    /// but the counters, which is no row that the table takes.
    Incomplete {
        /// The first column that is missing.
        column: String,
    },
    /// The server refuses its values, and keeps the row that it had.
    Refused {
        /// The server's words.
        reason: String,
    },
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rival { constraint, rival } => {
                write!(f, "{rival} is newer and has its values in {constraint}")
            }
            Self::Orphan {
                constraint,
                parent: Some(parent),
                ..
            } => write!(f, "{constraint} needs {parent}, which isn't there"),
            Self::Orphan {
                constraint, table, ..
            } => write!(f, "{constraint} needs a row of {table:?} that isn't there"),
            Self::Incomplete { column } => write!(
                f,
                "it was deleted while it changed elsewhere, so it has no {column}"
            ),
            Self::Refused { reason } => write!(f, "the server refuses it: {reason}"),
        }
    }
}
