//! What a person is shown of datasets on PostgreSQL, and does about it: parked rows, rows that servers
//! refuse, and all that can be wrong with a server.

mod compared;
mod disks;
mod mistaken;
mod parked;
#[path = "../support/mod.rs"]
mod support;
mod system;
mod troubles;
