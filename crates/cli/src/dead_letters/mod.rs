//! `meridian dead-letters`: transactions that no region can apply, and what becomes of them.
//!
//! Thin: any region that takes writes can be asked, and what it decides reaches the others as a transaction does.

mod decide;
mod list;
mod show;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian dead-letters`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A dead letter is a transaction that no region's tables can take. Every region sets the same ones aside, under the same ids; each waits for somebody to retry, edit or drop it, in any region that takes writes.\n\nExample:\n  meridian dead-letters list"
)]
pub enum Verb {
    /// List the dead letters of a region
    List(list::Options),
    /// Show a dead letter, whole
    Show(show::Options),
    /// Make its transaction anew, as if a client sent it now
    Retry(decide::Letter),
    /// Make another transaction in its place
    Edit(decide::Edit),
    /// Remove it, in every region
    Drop(decide::Letter),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::List(options) => list::run(options, format),
        Verb::Show(options) => show::run(options, format),
        Verb::Retry(letter) => decide::retry(letter, format),
        Verb::Edit(edit) => decide::edit(edit, format),
        Verb::Drop(letter) => decide::remove(letter, format),
    }
}
