//! Stock PostgreSQL at both ends of the road: capture and projection.
//!
//! Beside the server stand a log and tables like those of an embedded dataset
//! (`docs/adr/0015-postgresql-as-a-projection.md`). [`capture`] turns what the server committed into
//! transactions of this region; [`projection`] decides what has to be written into the server so
//! that it shows what the tables show, and [`apply`] writes it, each time in one transaction.
//!
//! Invariants:
//! - a transaction of the server is captured once, in WAL order, and before its WAL is let go;
//! - a row of the server is overwritten only where capture has seen its present state;
//! - one projection brings every dirty row to one snapshot of the tables, with the position;
//! - what the projection wrote is never captured as local, and all else always is.

pub mod apply;
pub mod capture;
pub mod catalog;
pub mod changes;
pub mod dataset;
pub mod document;
pub mod local;
pub mod meeting;
pub mod migrate;
pub mod names;
pub mod position;
pub mod prepare;
pub mod projection;
pub mod reading;
pub mod server;
pub mod tag;

#[cfg(feature = "fuzzing")]
pub use capture::fuzz;
pub use position::{Lsn, ServerIdentity, Xid};
