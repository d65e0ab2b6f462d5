//! The topology: `meridian.toml`, parsed and validated.
//!
//! The file says which regions there are, where they are reached, which datasets they carry and
//! under which limits. Reading it is pure: [`Topology::parse`] takes text and returns either a
//! topology in which every rule holds, or **every** error found, each with file, line, column,
//! reason and hint. Only [`load`] and [`Topology::check_files`] touch the file system.
//!
//! The document is walked by hand over `toml`'s spanned tree rather than derived with serde:
//! a derived reader stops at the first unknown key, and a person who has made three mistakes
//! wants to hear of three.
//!
//! Invariants of a [`Topology`] that came out of [`Topology::parse`]:
//! - between 1 and [`REGIONS_MAX`] regions, names and addresses distinct;
//! - an address that is not loopback only together with `[tls]`, and for the API with a token file;
//! - every table belongs to at most one dataset;
//! - a dataset on PostgreSQL has a server in every region, and no two of them share a database;
//! - `transaction-bytes-max` fits both into the log's reserve and into the rest of the log;
//! - routes, residency rules and windows of maintenance name regions that are there, a policy none
//!   twice, and no two regions have a client's address in common.

mod address;
mod area;
mod dataset;
mod dns;
mod fault;
mod files;
mod health;
mod location;
mod name;
mod pattern;
mod policy;
mod postgres;
mod promises;
mod quantity;
mod read;
mod round_trip;
mod round_trip_published;
mod route;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
mod topology;

pub use address::{Address, AddressError, Endpoint, NameServer};
pub use area::{Area, Country};
pub use dataset::{Dataset, DeadLetters, Engine, Limits, Strategy, TableRules};
pub use dns::{Dns, StaticRecord};
pub use fault::{Fault, LoadError, Position, TopologyError};
pub use files::load;
pub use health::{Health, HttpProbe, Probe, ProbeKind, ProbedBy};
pub use location::{Location, Place, well_known};
pub use meridian_model::RegionName;
pub use name::{DatasetName, NameError, TableName, check_region_name, check_zone};
pub use pattern::TablePattern;
pub use policy::{By, Choice, Clients, Policy, To};
pub use postgres::{Password, Postgres, PostgresServer};
pub use promises::{Promises, Writes};
pub use quantity::{QuantityError, format_moment, format_size, parse_duration, parse_size};
pub use read::TRANSACTION_BYTES_AT_MOST;
pub use round_trip::{RoundTrip, round_trip};
pub use route::{GLOBAL, NAME_SERVER, Ramp, Residency, Route, Steering};
pub use suggest::{did_you_mean, nearest};
pub use template::init_template;
pub use topology::{
    Api, BasePortError, Clock, PORTS_PER_REGION, Peer, REGIONS_MAX, Region, Serving, Tls, Topology,
};
