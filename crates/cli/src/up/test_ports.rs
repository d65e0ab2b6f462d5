//! Ports for tests.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those of PostgreSQL servers for tests, and of what the system gives to outgoing connections.
const FIRST: u16 = 10_000;
const BLOCK: u16 = 40;
const BLOCKS: u16 = 120;

/// A base port whose block was free a moment ago. Tests that run at once, in one process or in several,
/// begin at different places: to look whether a port is free is to take it for a moment.
pub fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() * 7 % u32::from(BLOCKS)).unwrap_or_default();
    let first = of_process + NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bases = (0..BLOCKS).map(|block| FIRST + (first + block) % BLOCKS * BLOCK);
    let is_free =
        |base: &u16| (0..BLOCK).all(|port| TcpListener::bind(("127.0.0.1", base + port)).is_ok());
    bases.find(is_free).expect("some ports are free")
}
