//! `meridian postgres`: the servers of datasets on PostgreSQL.

pub mod access;
mod attach;
mod compare;
mod detach;
mod parked;
pub mod prepare;
mod side;
mod standing;
pub mod status;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian postgres`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian postgres prepare --config meridian.toml")]
pub enum Verb {
    /// Say what the servers need so that their tables replicate, and do it
    Prepare(prepare::Options),
    /// Show how each region stands with its server: capture, WAL held, rows to be written
    Status(status::Options),
    /// Join a region and its server, and say which side is right about rows that differ
    Attach(attach::Options),
    /// Let a region's server go, and leave nothing behind in it
    Detach(detach::Options),
    /// Whether the servers show the same rows, and mending those that don't
    Compare(compare::Options),
    /// Rows that servers can't show, and what becomes of them
    #[command(subcommand)]
    Parked(parked::Verb),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Prepare(options) => prepare::run(options, format),
        Verb::Status(options) => status::run(options, format),
        Verb::Attach(options) => attach::run(options, format),
        Verb::Detach(options) => detach::run(options, format),
        Verb::Compare(options) => compare::run(options, format),
        Verb::Parked(verb) => parked::run(verb, format),
    }
}
