//! A PostgreSQL of one's own, from installed binaries: for `meridian up --postgres` and for tests.
//!
//! A [`Cluster`] is a directory with a server's data and log. The server is a child of this process
//! and listens on 127.0.0.1 alone, without sockets in the file system and without passwords. It runs
//! in a process group of its own, so that Ctrl-C in a terminal leaves the order of stopping to its
//! owner.
//!
//! Invariants:
//! - *A server dies with its owner.* Dropping a cluster stops its server; where the owner is killed,
//!   a guard (a shell that reads from a pipe that only the owner holds) stops it; and where the guard
//!   was killed too, the next start in that directory finds the orphan by `postmaster.pid` and stops
//!   it first.
//! - Only a process that is surely this directory's server is ever signalled, by its id.
//! - PostgreSQL refuses to run as root. Started by root, it runs as the user `postgres`, or `nobody`
//!   where there is none, and the cluster's directory belongs to that user.

mod binaries;
mod cluster;
mod database;
mod error;
mod process;
mod temporary;
mod user;

pub use binaries::{BINARIES_VARIABLE, Binaries};
pub use cluster::{Cluster, Settings};
pub use error::LocalError;
pub use process::Stop;
pub use temporary::{MIXED_VARIABLE, binaries_in_turn};
pub use user::check_directory;
