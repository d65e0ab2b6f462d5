//! The laws by which writes to one row merge, as pure functions.
//!
//! A row is a function of the *set* of writes made to it, whatever the order in which they arrive,
//! as long as each arrives after those its origin had seen (causal delivery):
//!
//! ```text
//! base      = the put or delete with the greatest version
//! document  = base + the sum of all increments that base had not seen
//! version   = the greatest version of any write
//! ```
//!
//! "Seen" is exact, from the write's dependencies, never guessed from clocks. Two consequences:
//! an increment that arrives after the base always counts on top of it (had the base seen it, it
//! would have arrived first); and when a new base arrives, the increments it had seen must be told
//! from those it had not, so each increment is kept apart until no write can arrive any more that
//! has not seen it.
//!
//! Alternatives refused: a PN-counter per field needs the application to declare counters and can
//! not be overwritten by a put; merging the increments into the document at once gives sums that
//! depend on the order of arrival.

mod document;
mod row;
mod row_version;

pub use document::{FieldError, integer_field, render, with_increments};
pub use row::{Base, KeptIncrement, Merged, Overtaken, Row, Seen, merge_increment, merge_write};
pub use row_version::RowVersion;
