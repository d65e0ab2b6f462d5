//! `meridian schema`: migrations over the servers of all regions.
//!
//! The engine reads, rehearses and runs (`meridian_engine_postgres::migrate`); here is the order over
//! the regions, what is waited for, and what a person sees.

mod apply;
mod plan;
mod report;
mod servers;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian schema`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian schema apply 0001_orders.sql")]
pub enum Verb {
    /// Run a migration in every region, and wait until each captures with the tables as they are then
    Apply(apply::Options),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Apply(options) => apply::run(options, format),
    }
}
