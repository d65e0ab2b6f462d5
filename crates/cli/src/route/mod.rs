//! `meridian route`: where clients go.

mod explain;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian route`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian route explain --client 203.0.113.7")]
pub enum Verb {
    /// Where a client goes, and why
    Explain(explain::Options),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Explain(options) => explain::run(options, format),
    }
}
