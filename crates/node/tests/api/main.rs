//! The API of one region over a real dataset: what it answers, and what it lets nobody do to it.

mod contract;
mod documents;
mod keys;
mod sessions;
mod sockets;
mod transactions;
mod world;
