//! `meridian regions`: which regions there are, and how they join and leave.
//!
//! ```text
//! add ──▶ POST /v1/regions ──▶ the members vote ──▶ joining ─▶ copies, catches up ─▶ voting
//! remove ▶ DELETE …          ─▶ leaving ─▶ everybody has what it holds ─▶ gone
//! evict ─▶ POST …/evict      ─▶ gone at once; what it alone held is set aside when it returns
//! rejoin ▶ POST /v1/regions  ─▶ the evicted one starts over as a new incarnation
//! ```
//!
//! Each of them asks one region, which answers at once; the verb then follows what the regions say
//! until it is done, unless it is told not to wait. One change can be under way at a time: the next
//! one waits for it.

mod add;
mod aside;
mod follow;
mod leave;
mod list;
pub mod reading;
mod wish;

use crate::error::CliResult;
use crate::output::Format;
use clap::{Args, Subcommand};

/// `meridian regions`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Without a verb: the same as `meridian regions list`.\n\nExample:\n  meridian regions\n  meridian regions add eu-central-1"
)]
pub struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: list::List,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Which regions there are, how they stand and whether they answer
    List(list::List),
    /// Let a region join
    Add(add::Options),
    /// Let a region leave, once everybody has what it holds
    Remove(leave::Remove),
    /// Count a region no more that is gone
    Evict(leave::Evict),
    /// Let an evicted region join anew
    Rejoin(add::Rejoin),
    /// What an evicted region alone held
    #[command(subcommand)]
    Aside(aside::Verb),
}

pub fn run(options: &Options, format: Format) -> CliResult {
    match &options.verb {
        None => list::run(&options.list, format),
        Some(Verb::List(options)) => list::run(options, format),
        Some(Verb::Add(options)) => add::run(options, format),
        Some(Verb::Remove(options)) => leave::remove(options, format),
        Some(Verb::Evict(options)) => leave::evict(options, format),
        Some(Verb::Rejoin(options)) => add::rejoin(options, format),
        Some(Verb::Aside(verb)) => aside::run(verb, format),
    }
}
