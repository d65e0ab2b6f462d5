//! Three stock PostgreSQL servers that take writes, and the regions beside them: each case in which
//! such systems are known to diverge has a test of its own here.
//!
//! Orders that matter are made, not hoped for: links between regions are cut (`proxy`), what a
//! server says to its region is held back (`gate`), processes are killed in between. Each test says
//! which rows must be there in the end, and [`system::System::expect`] also compares whatever
//! else there is: all tables of all servers, the rows kept out of them, and the regions' own copies.

mod clocks;
mod constraints;
mod deaths;
mod directories;
mod encodings;
mod evicted;
mod gate;
mod joining;
mod keys;
#[path = "../road/proxy.rs"]
mod proxy;
mod random;
mod rows;
mod storage;
mod system;
mod template;
mod transactions;
mod truncate;
mod types;
