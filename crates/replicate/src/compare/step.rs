//! What a comparison asks of its surroundings, and what it is told.

use meridian_model::{Answer, Question, RegionName, RowName, RowState, Span, SpanDigest, Vector};

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read the first rows of a span here.
    Section {
        /// The span.
        span: Span,
        /// At most so many rows …
        rows_max: usize,
        /// … in leaves of so many.
        leaf_rows: usize,
    },
    /// Ask regions, this one among them, each its question.
    Ask(Vec<(RegionName, Question)>),
    /// Once this region has applied all that they are as of, take these rows over.
    Mend(Vec<Mending>),
    /// Nothing: the comparison is over.
    Done,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The rows that were read.
    Section(Section),
    /// For each question its answer, or why there is none.
    Answers(Vec<(RegionName, Result<Answer, String>)>),
    /// For each row what became of it.
    Mended(Vec<Mended>),
    /// It could not be done here; the comparison ends.
    Failed(String),
}

/// A run of rows, as the leaves of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The name of each leaf's last row, and what it holds.
    pub leaves: Vec<(RowName, SpanDigest)>,
    /// Whether the span ends with the last leaf.
    pub complete: bool,
}

/// A row to take over from another region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mending {
    /// The row.
    pub name: RowName,
    /// The state of this region's copy when it was found bad.
    pub expected: u64,
    /// As of what the row is taken.
    pub as_of: Vector,
    /// Whether that may be ahead of what is applied here.
    pub ahead: bool,
    /// The row.
    pub row: RowState,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is staged.
    Staged,
    /// The copy here, or what was collected, has moved on: it has to be looked at anew.
    MovedOn,
    /// What was sent is no row.
    Unreadable,
}
