//! The benchmarks, one module each.

pub mod catch_up;
pub mod durable_writes;
pub mod idle_memory;
pub mod restart;
pub mod scale;
pub mod steer_decision;
pub mod visible_latency;
