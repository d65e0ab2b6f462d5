//! `meridian faults`: makes regions misbehave on purpose, for drills.
//!
//! Thin: a region checks what it is asked for and lifts every fault at its time by itself, whether
//! or not this program is still there.

mod add;
mod lift;
mod list;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian faults`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Only regions that were started with --allow-faults take faults. Each fault has an end at which the region lifts it by itself, and a region that is started again has none.\n\nExample:\n  meridian faults add partition --region eu-west-1 --peer us-east-1 --for 10s"
)]
pub enum Verb {
    /// List the faults at work
    List(list::Options),
    /// Begin a fault in a region
    Add(add::Options),
    /// End faults before their time
    Lift(lift::Options),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::List(options) => list::run(options, format),
        Verb::Add(options) => add::run(options, format),
        Verb::Lift(options) => lift::run(options, format),
    }
}
