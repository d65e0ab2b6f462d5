//! Beginning with a copy of another region's tables.
//!
//! ```text
//! joiner                                        sponsor
//!    │ Snapshot{id, after: None} ────────────────▶ │ opens a view of its tables, as of one commit,
//!    │                                             │ and keeps its log from the commit's marks on
//!    │ ◀───────────── records, in order of their keys
//!    │ Snapshot{id, after: last key} ────────────▶ │
//!    │ ◀───────────── records …, and with the last the position, the marks and the road
//!    │
//!    │ begins a log at these marks, finishes the tables, opens its replica:
//!    │ it subscribes from the marks, and the streams bring what came after
//! ```
//!
//! Nobody pauses: a view is opened in no time, between two commits, and read beside the writer. The
//! joiner says all that a part needs, so a question that got lost or came twice does no harm.
//!
//! The view shows one commit, and position, marks and road are those of that commit. Were the marks
//! later ones, what lies between would be missing at the joiner for ever; were they earlier, it would
//! apply twice, and increments aren't idempotent.
//!
//! A sponsor forgets a view for which nobody has asked in a while, and later its promise to keep the
//! log. A joiner whose sponsor is gone begins again with another one: two views are of different
//! commits and can't be put together.

mod joiner;
mod sponsor;

pub use joiner::{JoinProgress, Joiner};
pub use sponsor::{Opened, SnapshotRefusal};

pub(crate) use sponsor::Sponsor;
