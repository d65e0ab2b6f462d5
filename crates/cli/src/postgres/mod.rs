//! `meridian postgres`: the servers of datasets on PostgreSQL.

pub mod prepare;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian postgres`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian postgres prepare --config meridian.toml")]
pub enum Verb {
    /// Say what the servers need so that their tables replicate, and do it
    Prepare(prepare::Options),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Prepare(options) => prepare::run(options, format),
    }
}
