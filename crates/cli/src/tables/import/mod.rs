//! `meridian tables import`: a file of rows into a table, streaming and resumable.
//!
//! ```text
//! file ─▶ source ─▶ batches ─▶ channel ═▶ connections ─▶ POST /v1/transactions
//!                                              │
//!              state file ◀─ acknowledged ◀────┘   contiguous prefix, fsynced
//! ```
//!
//! Invariants:
//! - The state file never claims a row that a region has not acknowledged.
//! - A batch is cut the same way whether the run began at its start or resumed before it, and its
//!   `Idempotency-Key` follows from the run, the file and the batch's place. So a batch sent twice,
//!   after a lost reply or a crash, is applied once.
//! - A run has a random id, kept in the state file: importing the same file again on purpose is a new
//!   run and writes the rows again.
//! - Memory is bounded: a batch for each connection, as many waiting, one being made.

mod batch;
mod checkpoint;
mod document;
mod options;
mod prefix;
mod progress;
mod run;
mod sender;
mod source;

pub use options::Options;
pub use run::run;
