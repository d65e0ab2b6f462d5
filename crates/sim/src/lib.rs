//! A world in one thread, from a seed: regions that run the production state machines over a
//! network, disks and clocks that misbehave.
//!
//! A run has two phases. In the *safety* phase clients write and faults strike; what readers see is
//! checked all the time. In the *liveness* phase faults are lifted and clients stop; the regions
//! must come to agree in bounded time, and then every row must be exactly what the surviving
//! transactions make of it, all acknowledged ones among them. The same seed gives the same run, to
//! the last byte.
//!
//! What is modelled: message latency, reordering, duplication and loss, one-way and two-way cuts;
//! processes killed; power cut in the middle of a write, with sectors torn and commits of the tables
//! lost; disks that are full for a while or lie about syncs; clocks that are skewed and jump either
//! way; a region that is gone for good; regions that join, leave, are evicted and come back; records
//! of one region's tables that change, vanish or come back behind its back, and are mended from the
//! others; PostgreSQL servers beside the regions, with applications that write to them.
//!
//! The scenario `health` has a world of its own ([`health`]), of observers and steering.

mod calm;
mod changing;
mod chaos;
mod damage;
mod gate;
mod health;
mod joining;
mod leaving;
mod ledger;
mod letters;
mod lost;
mod members;
mod network;
mod node;
mod postgres;
mod promises;
mod repair;
mod scenario;
mod witness;
mod world;

pub use postgres::Met;
pub use scenario::{Failure, Report, Scenario, run};
