//! Workloads, and the checkers that tell whether what came of them is right.
//!
//! Pure and engine-neutral: the simulator, tests against real processes and, later, drills use the
//! same. A checker knows nothing of how the system works; it states the promise a second time, as
//! plainly as it can.

mod durable;
mod law;
mod law_of_row;
mod register;
mod sessions;
mod snapshot;
mod workload;

pub use durable::{Acknowledged, Written};
pub use law::{Committed, ExpectedRow, Law, RowKey};
pub use register::{Reading, Register};
pub use sessions::Session;
pub use snapshot::{Reader, SnapshotChecker};
pub use workload::{
    Action, CHAIN, COUNTERS, FIELDS, GROUPS, PLAIN, SETS, SIBLINGS, SWITCHED, Step, Workload,
    group_members,
};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A row isn't what the writes that were made to it add up to.
    #[error("{region}: row {table}/{key} is {found}, but the writes to it make {expected}")]
    WrongRow {
        /// Where.
        region: String,
        /// Table.
        table: String,
        /// Key.
        key: String,
        /// What was found.
        found: String,
        /// What the law says.
        expected: String,
    },
    /// An acknowledged write is nowhere.
    #[error("{region}: acknowledged write {version} is lost")]
    Lost {
        /// Where it was acknowledged.
        region: String,
        /// The write.
        version: String,
    },
    /// A reader saw a part of a transaction.
    #[error("{region}: the rows of group {group} were seen as {seen}: not from one transaction")]
    NotAtomic {
        /// Where.
        region: String,
        /// The group of rows.
        group: String,
        /// What was seen.
        seen: String,
    },
    /// A reader saw an effect without its cause.
    #[error("{region}: a row derived from {derived} was seen beside {source_seen}, its source")]
    NotCausal {
        /// Where.
        region: String,
        /// The number that the derived row carries.
        derived: i64,
        /// The number that its source showed.
        source_seen: i64,
    },
    /// A reader saw time run backwards.
    #[error("{region}: {now} was seen after {before}")]
    NotMonotonic {
        /// Where.
        region: String,
        /// Seen first.
        before: i64,
        /// Seen after it.
        now: i64,
    },
    /// A client that brought its token saw less than it had seen.
    #[error("{region}: row {key} shows {now} to a session that has seen {seen}")]
    SessionBroken {
        /// Where.
        region: String,
        /// The row.
        key: String,
        /// What the session has seen.
        seen: u64,
        /// What it was shown.
        now: u64,
    },
    /// A strong read showed less than was acknowledged, or shown by another, before it began.
    #[error("{region}: a strong read shows {found}, though {known} was known before it began")]
    Stale {
        /// Where.
        region: String,
        /// What it showed.
        found: u64,
        /// What it had to show.
        known: u64,
    },
    /// The regions did not come to agree in time.
    #[error("not converged: {0}")]
    NotConverged(String),
    /// A verdict, or an answer to a client, that the rules of health and steering don't allow.
    #[error("{region}: {what}")]
    Misjudged {
        /// Where.
        region: String,
        /// What was said, and of whom.
        what: String,
    },
    /// A region could not go on.
    #[error("{region}: {what}")]
    Broken {
        /// Where.
        region: String,
        /// What happened.
        what: String,
    },
}
