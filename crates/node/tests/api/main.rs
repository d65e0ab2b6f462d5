//! The HTTP API of one region alone, on a real dataset in a directory of its own.

mod auth;
mod backup;
mod bad_input;
mod conditions;
mod connections;
mod consistency;
mod dead_letters;
mod descriptions;
mod door;
mod faults;
mod idempotency;
mod increments;
mod keys;
mod listing;
mod problems;
mod regions;
mod rows;
mod sessions;
mod sockets;
mod steering;
mod strategies;
mod support;
mod transactions;
