//! What a server needs so that its tables replicate: checked, stated, and done by SQL.
//!
//! [`survey`](survey()) reads everything that decides; [`findings`](findings()) judges it, and
//! [`compare`](compare()) judges several regions beside each other: both are pure. What is missing and
//! SQL can mend is [`Status::Sql`], and [`apply`](apply()) runs it. What is [`Status::Refused`] needs a
//! person: a refused table stays out of the publication and doesn't replicate. [`Status::Advice`] is
//! about what replicates, but not as well as it could.
//!
//! Running it again is harmless: it states what is done as done.

mod apply;
mod compare;
mod counter;
mod finding;
mod foreign_key;
mod history;
mod identity;
mod judge;
mod objects;
mod remove;
mod role;
mod sequence;
mod server;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod trigger;

pub use apply::{ApplyError, apply};
pub use compare::{compare, shared};
pub use finding::{Finding, Status};
pub use history::note_columns;
pub use judge::{Plan, findings, refusals, replicable};
pub use objects::alters_publication;
pub use remove::{Left, remove};
pub use sequence::{Floors, SLOTS, places};
pub use survey::{Publication, Survey, publication, survey};
pub use trigger::check as triggers;
