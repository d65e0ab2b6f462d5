//! Questions between regions beside the streams, since wire version 2.
//!
//! A stream carries what happened, in order; a question asks how things stand. It goes over the
//! connection that the asker dialled, and its answer comes back there, out of any order. A question
//! that isn't answered in time may be asked again: none of them changes anything twice.

use crate::{Fetched, Looked, RowName, Span, SpanDigest, Vector};
use serde::{Deserialize, Serialize};

/// The lowest wire version in which questions may be asked.
pub const QUESTIONS_SINCE: u16 = 2;

/// What is asked about a dataset. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// "What have you applied?"
    Applied,
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
}

impl Question {
    /// What the region that is asked must have applied before it answers.
    #[must_use]
    pub fn covering(&self) -> Option<&Vector> {
        match self {
            Self::Look { covering, .. } | Self::Fetch { covering, .. } => Some(covering),
            _ => None,
        }
    }
}
