//! The benchmarks, one module each.

pub mod durable_writes;
pub mod idle_memory;
pub mod visible_latency;
