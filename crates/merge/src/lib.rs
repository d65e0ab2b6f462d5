//! The laws by which writes to one row merge, as pure functions.
//!
//! A row is a function of the *set* of writes made to it, whatever the order in which they arrive,
//! as long as each arrives after those its origin had seen (causal delivery):
//!
//! ```text
//! base      = the put or delete with the greatest version
//! siblings  = the other puts of the siblings' kind that no put or delete had seen
//! register  = of the writes of a field, the one with the greatest version, if greater than base's
//! field     = its register, else what the base has there
//!             + the sum of all increments that this write had not seen
//! members   = all additions that no removal, no write of the field and no put or delete had seen,
//!             and what the field holds, without what a removal that had seen it took away
//! document  = base with its fields and members; a second one for each sibling
//! version   = the greatest version of any write
//! ```
//!
//! There are no strategies here: a write's *kind* says what it does to those that it had not seen,
//! and the kind is chosen by its origin. So regions may differ in their strategies for a table, as
//! they do while one is changed, and still make the same rows.
//!
//! "Seen" is exact, from the write's dependencies, never guessed from clocks. (Of increments a write may
//! say that it absorbs more: [`Seen::absorbed`]. It arrives after those too.) Consequences:
//!
//! - an increment that arrives after the base always counts on top of it (had the base seen it, it
//!   would have arrived first); and when a new base or register arrives, the increments it had seen
//!   must be told from those it had not, so each increment is kept apart until no write can arrive
//!   any more that has not seen it;
//! - an addition or a sibling that was seen by a write is gone for good, whatever becomes of that
//!   write: nothing that arrives later can have been seen by it. So they need no tombstones, and
//!   nothing about them is kept apart.
//!
//! Alternatives refused: a PN-counter per field needs the application to declare counters and can
//! not be overwritten by a put; merging the increments into the document at once gives sums that
//! depend on the order of arrival; strategies that are looked up when merging diverge as soon as
//! two regions have two topologies.

mod document;
mod edit;
mod increment;
mod mixed;
mod put;
mod row;
mod row_version;
mod shown;
mod value;

pub use document::{FieldError, integer_field, render, with_increments};
pub use edit::merge_edit;
pub use increment::merge_increment;
pub use mixed::{Member, Mixed, Register, Set, Sibling};
pub use put::{PutKind, merge_put, replaces_plain};
pub use row::{Base, KeptIncrement, Merged, More, Overtaken, Row, Seen};
pub use row_version::RowVersion;
pub use shown::{Shown, shown};
pub use value::canonical;
