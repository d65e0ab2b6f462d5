//! `meridian postgres parked`: rows that servers can't show, and what becomes of them.

mod decide;
mod list;

use crate::error::CliResult;
use crate::output::Format;
use crate::target::Target;
use clap::{Args, Subcommand};

/// `meridian postgres parked`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Of rows that exclude each other (equal values in a unique index, a child whose parent was deleted) the same ones are parked in every region. A row that a server refuses by itself is parked there; one that every server refuses is a dead letter. Parked rows are kept whole, and return by themselves when what is in their way goes.\n\nExample:\n  meridian postgres parked list"
)]
pub enum Verb {
    /// List them, with what is in the way and in which regions
    List(list::Options),
    /// Show one, with the row that is in its way
    #[command(after_help = "Example:\n  meridian postgres parked show public.users 7")]
    Show(Row),
    /// Have one decided about again, now, wherever it is parked
    #[command(after_help = "Example:\n  meridian postgres parked retry public.users 7")]
    Retry(Row),
    /// Write one anew with other values
    Edit(decide::Edit),
    /// Delete one, in every region
    Drop(decide::Drop),
}

/// A parked row.
#[derive(Debug, Args)]
pub struct Row {
    /// The table, with its schema
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The row's key, as `list` shows it: the column's text, or a JSON array of the columns' texts
    #[arg(value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub target: Target,
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::List(options) => list::run(options, format),
        Verb::Show(row) => decide::show(row),
        Verb::Retry(row) => decide::retry(row, format),
        Verb::Edit(edit) => decide::edit(edit, format),
        Verb::Drop(drop) => decide::drop_it(drop, format),
    }
}
