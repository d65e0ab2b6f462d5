//! `meridian tables`: rows read and written, whole tables in and out.

mod checksum;
pub mod compare;
mod export;
mod import;
mod increment;
pub mod known;
mod members;
mod promises;
mod rows;
mod sheet;

use crate::error::CliResult;
use crate::output::Format;
use clap::Subcommand;

/// `meridian tables`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  meridian tables put orders 1 '{\"item\": \"tea\"}'\n  meridian tables get orders 1 --region eu-west-1"
)]
pub enum Verb {
    /// Read a row
    Get(rows::Get),
    /// Write a row
    Put(rows::Put),
    /// Delete a row, there or not
    Delete(rows::Delete),
    /// Add to a field that is a number
    Increment(increment::Increment),
    /// List a table's rows in the order of their keys
    List(rows::List),
    /// Compare a table between regions
    Checksum(checksum::Options),
    /// Write a file's rows to a table
    Import(Box<import::Options>),
    /// Write a table's rows to stdout
    Export(export::Options),
    /// Add members to a field that is a set, and remove others
    Members(members::Members),
    /// Compare rows between all regions, one by one, and mend those that differ
    Compare(compare::Options),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Get(options) => rows::get(options, format),
        Verb::Put(options) => rows::put(options, format),
        Verb::Delete(options) => rows::delete(options, format),
        Verb::Increment(options) => increment::run(options, format),
        Verb::List(options) => rows::list(options, format),
        Verb::Checksum(options) => checksum::run(options, format),
        Verb::Import(options) => import::run(options, format),
        Verb::Export(options) => export::run(options, format),
        Verb::Members(options) => members::run(options, format),
        Verb::Compare(options) => compare::run(options, format),
    }
}
