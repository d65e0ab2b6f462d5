//! The road with real processes: regions that are killed, cut off, damaged and replaced.
//!
//! Each region is a `meridian serve` of its own, with its own topology file, so that every
//! directed link can be led through a proxy and cut alone.

mod acknowledgement;
mod backup;
mod bad_input;
mod consistency;
mod cuts;
mod damage;
mod dying;
mod faults;
mod health;
mod joining;
mod kills;
mod letters;
mod limits;
mod links;
mod members;
mod moved;
mod proxy;
mod repair;
mod restore;
mod steering;
mod strategies;
#[path = "../support/mod.rs"]
mod support;
mod system;
mod topology;
mod upgrade;
mod witness;
