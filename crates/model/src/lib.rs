//! The words of the house: clock, versions, transactions, log entries and the messages between
//! regions, with their formats on disk and on the wire.
//!
//! Nothing here does I/O or reads a clock; every other crate depends on this one and it depends on
//! none of them.

mod captured;
mod clock;
mod compare;
mod conflict;
mod decision;
mod entry;
mod epoch;
mod level;
mod message;
pub mod mutation;
mod origin;
mod question;
mod snapshot;
mod strategy;
mod time;
mod transaction;
mod vector;
mod vote;

pub use captured::{
    ABSORBED_SINCE, CAPTURES_SINCE, COLLISIONS_SINCE, Captured, CapturedAt, Chosen, Collisions,
};
pub use clock::{Clock, ClockError, Hlc, Micros};
pub use compare::{
    Fetched, Holds, Looked, RowCopy, RowDigest, RowName, RowState, Span, SpanDigest, SpanEnd,
};
pub use conflict::{Conflict, ConflictKind, ConflictingWrite};
pub use decision::{DECISIONS_SINCE, Decision};
pub use entry::{Body, DecodeError, Entry, HistoryHash, Report, ReportedMark};
pub use epoch::{Epoch, Member, RegionAddress, Standing};
pub use level::{Acknowledgement, Consistency};
pub use message::{
    Envelope, HEALTH_SINCE, Message, Refusal, SessionId, WIRE_VERSION_MAX, WIRE_VERSION_MIN,
};
pub use origin::{OriginId, ParseVersionError, RegionName, Sequence, Version};
pub use question::{Answer, BESIDE_DATASETS, QUESTIONS_SINCE, Question};
pub use snapshot::{Record, SnapshotHead, SnapshotId, SnapshotPart};
pub use strategy::Strategy;
pub use time::Now;
pub use transaction::{Change, Edit, IdempotencyKey, Members, Operation, Transaction};
pub use vector::{Mark, Marks, Vector};
pub use vote::{Adopt, Ballot, DecidedBy, VOTES_SINCE, Vote};

/// Where an entry stands in one region's log: the number of entries before it.
///
/// Positions are local: two regions hold the same entries at different positions.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
