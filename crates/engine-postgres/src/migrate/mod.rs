//! Migrations over the servers of all regions: read, rehearsed, judged, run and recorded.
//!
//! ```text
//! file ─▶ Script (steps) ─▶ rehearse in one server, rolled back ─▶ Judgement
//!                              │ refused: nothing was done
//!                              ▼
//!         step 1 in region after region, then step 2 …  each with its row in meridian.migrations
//!                              ▼
//!         prepare, and wait until every region captures with the tables as they are now
//! ```
//!
//! Invariants:
//! - a step and its record are one transaction, so that running the file again goes on where it
//!   stopped (a statement that can't run in one is recorded after it);
//! - tables change in every region, rows in one, from which they replicate;
//! - a file that was begun is not another one later: its checksum stands in each record.

mod judge;
mod lexer;
mod run;
mod script;
mod wait;

pub use judge::{Judgement, Nature, Refusal, Rehearsed, TableChange, judge};
pub use run::{
    Applied, MigrateError, Record, Withheld, applied, begin_session, is_empty, only_one, rehearse,
    run, withheld,
};
pub use script::{Script, ScriptError, Statement, Step};
pub use wait::{Standing, mark, rows_parked, standing};
