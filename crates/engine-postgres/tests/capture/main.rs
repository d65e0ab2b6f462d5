//! Capture from real servers: PostgreSQL as installed on this machine (`Cluster` says what is missing
//! where there is none).

mod bench;
mod flow;
mod large;
mod refusals;
mod resume;
mod rows;
mod secure;
mod tags;
mod types;
