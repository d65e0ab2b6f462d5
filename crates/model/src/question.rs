//! Questions between regions beside the streams, since wire version 2.
//!
//! A stream carries what happened, in order; a question asks how things stand. It goes over the
//! connection that the asker dialled, and its answer comes back there, out of any order. A question
//! that isn't answered in time may be asked again, since none changes anything, but for a write that
//! is handed on: it leaves once, and only its answer tells what became of it.

use crate::{Epoch, Fetched, Looked, RowName, SnapshotId, SnapshotPart, Span, SpanDigest, Vector};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The lowest wire version in which questions may be asked.
pub const QUESTIONS_SINCE: u16 = 2;
/// The lowest wire version in which [`Question::Steering`] may be asked.
const STEERING_SINCE: u16 = 3;

/// Stands for the dataset in questions that are about none: no dataset has this name.
pub const BESIDE_DATASETS: &str = "";

/// What is asked about a dataset. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// "What have you applied?"
    Applied,
    /// "What do you hold?"
    Held,
    /// "Give me your tables as of one commit, from here on."
    Snapshot {
        /// Which snapshot: one that isn't known yet is opened by the question for its beginning.
        id: SnapshotId,
        /// The key of the last record received; `None` at the beginning.
        after: Option<Bytes>,
    },
    /// "Carry out this client's write for me", in the encoding of the engine's requests. Unlike the
    /// other questions it isn't asked again.
    Write(Bytes),
    /// "Who counts, as far as you know?"
    Epoch,
    /// "What do these spans of rows hold, in short?"
    Digests(Vec<Span>),
    /// "Which rows do these spans show, with their digests?"
    Rows {
        /// Spans in ascending order, none overlapping another.
        spans: Vec<Span>,
        /// At most so many rows.
        rows_max: u32,
    },
    /// "What do your copies of these rows hold, once you have applied all this?"
    Look {
        /// The rows.
        names: Vec<RowName>,
        /// What has to be applied first.
        covering: Vector,
    },
    /// "Give me these rows, once you have applied all this."
    Fetch {
        /// The rows.
        names: Vec<RowName>,
        /// What has to be applied first.
        covering: Vector,
    },
    /// "This is wanted of the regions, as far as I know; what do you know?" Asked of the region and of
    /// no dataset ([`BESIDE_DATASETS`]), in the encoding of the ledger of wishes.
    Steering(Bytes),
}

/// What is answered. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The question can't be answered now.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// Per origin the highest clock reading that is durable and visible there.
    Applied(Vector),
    /// Per origin the highest clock reading that is durable there, applied or not.
    Held(Vector),
    /// The next records.
    Snapshot(SnapshotPart),
    /// The snapshot asked for is not known any more: begin with another.
    SnapshotGone,
    /// What came of the write.
    Write(Bytes),
    /// Who counts there.
    Epoch(Epoch),
    /// One digest for each span.
    Digests(Vec<SpanDigest>),
    /// Rows in order, with their digests.
    Rows {
        /// Names and digests; damaged records too, without one.
        rows: Vec<(RowName, Option<u64>)>,
        /// Whether these are all; else the last one says where to go on.
        complete: bool,
    },
    /// The copies.
    Looked(Looked),
    /// The rows.
    Fetched(Fetched),
    /// What is wanted of the regions, in the encoding of the ledger of wishes.
    Steering(Bytes),
}

impl Question {
    /// The lowest wire version that has it: a peer of an earlier one can't read it.
    #[must_use]
    pub fn since(&self) -> u16 {
        match self {
            Self::Steering(_) => STEERING_SINCE,
            _ => QUESTIONS_SINCE,
        }
    }

    /// Whether it is one of those that regions compare their rows with.
    #[must_use]
    pub fn is_about_rows(&self) -> bool {
        matches!(
            self,
            Self::Digests(_) | Self::Rows { .. } | Self::Look { .. } | Self::Fetch { .. }
        )
    }

    /// What the region that is asked must have applied before it answers.
    #[must_use]
    pub fn covering(&self) -> Option<&Vector> {
        match self {
            Self::Look { covering, .. } | Self::Fetch { covering, .. } => Some(covering),
            _ => None,
        }
    }
}
