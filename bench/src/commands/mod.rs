//! The benchmarks, one module each.

pub mod catch_up;
pub mod dns;
pub mod durable_writes;
pub mod idle_memory;
pub mod postgres;
pub mod postgres_catch_up;
pub mod postgres_cost;
pub mod postgres_latency;
pub mod restart;
pub mod scale;
pub mod steer_decision;
pub mod visible_latency;
