//! The embedded tables: a materialised view of the region's log.
//!
//! The log is the write-ahead log: an entry is synced there before its effects are committed here.
//! So the tables never sync on a commit; they only hold, in the same atomic batch as the effects,
//! the log position that was reached. After a crash the log is replayed from that position. Since
//! increments are not idempotent, it is this batch that makes applying exactly-once.
//!
//! ```text
//! client ─▶ execute ─▶ changes ─▶ log ─▶ apply ─▶ staged ─▶ commit ─▶ store ─▶ TableReader
//!              ▲                                    │
//!              └────── reads staged, then store ────┘
//! ```
//!
//! [`Tables`] is the one writer; a [`TableReader`] sees committed states only, each as one
//! snapshot. The [`Store`] beneath is [`FjallStore`] on disk and [`MemoryStore`] in the simulator.

mod ahead;
mod changes;
mod collect;
mod compare;
mod conflicts;
#[cfg(feature = "damage")]
pub mod damage;
mod differences;
mod error;
mod execute;
mod fjall_store;
mod fold;
mod forwarded;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod journal;
mod keys;
mod letters;
mod memory_store;
mod mend;
mod overlay;
mod plain;
mod read;
mod request;
mod snapshot;
mod store;
mod strategies;
mod tables;
mod value;

pub use collect::IDEMPOTENCY_KEPT;
pub use compare::{ListedRow, Snapshot};
pub use error::TablesError;
pub use fjall_store::FjallStore;
pub use forwarded::ForwardedWrite;
pub use journal::JournalDamage;
pub use letters::operations_of;
pub use letters::{
    IDEMPOTENCY_KEY_BYTES_MAX, Letter, LetterCounts, LetterPage, ROW_KEY_BYTES_MAX,
    TABLE_NAME_BYTES_MAX, Verdict,
};
pub use memory_store::MemoryStore;
pub use meridian_merge::{RowVersion, canonical};
pub use read::{
    Checksum, ConflictCounts, ConflictId, ConflictPage, Page, ParseConflictIdError, RowView,
    SiblingView, TableReader,
};
pub use request::{
    Action, Limits, Outcome, Precondition, PreconditionKind, Rejection, Request, RowOperation,
    RowOutcome, Tags,
};
pub use snapshot::{Import, TablesView};
pub use store::{Order, Store, StoreError, View, Visitor, Writes};
pub use strategies::Strategies;
pub use tables::Tables;
