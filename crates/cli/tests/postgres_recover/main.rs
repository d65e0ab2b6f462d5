//! A dataset survives what happens to its PostgreSQL servers: the binary, stock servers, ordinary SQL.

mod attaching;
mod earlier;
mod failover;
mod owners;
mod restored;
mod slot;
#[path = "../support/mod.rs"]
mod support;
mod system;
