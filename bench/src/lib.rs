//! What the benchmark commands and the examples share: small clients for the systems compared, a
//! closed-loop load, latency records, processes that are started and ended by id, and a description
//! of the machine.
//!
//! Rules that every figure keeps: the same load generator and the same threads for all that are
//! compared; each client has one request outstanding; the work is verified afterwards (keys are
//! counted and a sample is read back); everything listens on loopback alone, is ended by its
//! process id, and keeps its data in a directory that is removed.

pub mod bulk;
pub mod cluster;
pub mod etcd;
pub mod http;
pub mod http_writer;
pub mod latency;
pub mod load;
pub mod machine;
pub mod meridian;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod procfs;
pub mod redis;
pub mod regions;
pub mod stand_in;
pub mod table;
