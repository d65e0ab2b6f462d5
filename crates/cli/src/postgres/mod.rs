//! `meridian postgres`: the servers of datasets on PostgreSQL.

pub mod access;
pub mod prepare;
mod status;

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
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Prepare(options) => prepare::run(options, format),
        Verb::Status(options) => status::run(options, format),
    }
}
