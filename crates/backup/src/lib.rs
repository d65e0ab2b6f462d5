//! Backups of a dataset: files that hold a snapshot of its tables and the log's entries after it,
//! and what the tables were at a moment that they cover.
//!
//! ```text
//! region ─block, block, …─▶ file ─▶ manifest          (Writer, BackupSet)
//!                                       │
//!           tables as of a time ◀─ fold ┘             (snapshot, then entries up to the time)
//! ```
//!
//! **Why a time is a consistent cut.** The tables as of a time are made of exactly the entries whose
//! clock reading is not later. An entry comes into a log after all that it depends on, and its
//! reading is later than theirs, because a region's clock moves past whatever it applies. So whoever
//! takes a log's entries up to some reading takes with each of them all that it had seen: no
//! transaction in part, no effect without its cause, whatever the machines' clocks showed.
//!
//! What a backup covers ends at the wall clock of its region when it was taken, or at the latest
//! entry's time where that is ahead of it: all that this region had acknowledged by then is in it. What
//! another region had acknowledged and this one had not received is not. A run that was cut short has
//! not all, and covers what is before the region's own last entry that it got.

mod block;
mod fold;
mod instant;
mod manifest;
mod set;
mod writer;

pub use block::{Block, BlockError, BlockReader, Content, Source};
pub use fold::{FoldError, Folded, fold};
pub use instant::{format_time, parse_time};
pub use manifest::{Coverage, FileKind, FileRecord, Manifest, StreamMark};
pub use set::{BackupError, BackupSet, Verified};
pub use writer::Writer;
