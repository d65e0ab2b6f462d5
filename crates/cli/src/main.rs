//! The `meridian` binary: a thin shell over the other crates.
//!
//! ```text
//! arguments ─▶ verb ─▶ client ══ HTTP ══▶ a region's API      most verbs
//!                  ├─▶ node::serve                            serve
//!                  └─▶ a process for each region, watched     up
//! ```
//!
//! A verb is a module with its `Options` and a `run`. It returns a [`error::CliError`] that says
//! what happened, why and what to do; `main` prints it and chooses the exit code.

mod arguments;
mod backup;
mod certs;
mod client;
mod config;
mod conflicts;
mod dead_letters;
mod detect;
mod dns;
mod error;
mod everywhere;
mod failure;
mod faults;
mod init;
mod interrupt;
mod output;
mod pages;
mod postgres;
mod reading;
#[cfg(test)]
mod reference;
mod regions;
mod replication;
mod restore;
mod retry;
mod route;
mod schema;
mod serve;
mod shift;
mod status;
mod system;
mod tables;
mod target;
#[cfg(test)]
mod test_region;
mod up;
mod verdicts;

use arguments::{Arguments, Verb};
use clap::Parser;
use error::{CliError, CliResult, Exit};
use output::Format;
use std::process::ExitCode;

/// A write's parts are allocated by one thread and freed by another; the system's allocator takes
/// locks for that and this one doesn't. Huge pages are off (feature `no_thp`): with them an idle region
/// holds twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return mistyped(&error),
    };
    let format = arguments.output;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, format),
    }
}

/// Says why the command line can't be read, or what somebody wants to know of it.
fn mistyped(error: &clap::Error) -> ExitCode {
    let as_json = failure::wants_json(std::env::args());
    match failure::of_arguments(error).filter(|_| as_json) {
        Some(error) => failed(&error, Format::Json),
        None => error.exit(),
    }
}

fn failed(error: &CliError, format: Format) -> ExitCode {
    if error.exit() != Exit::Quiet {
        output::talk(&match format {
            Format::Text => error.to_string(),
            Format::Json => failure::as_json(error).to_string(),
        });
    }
    ExitCode::from(error.exit() as u8)
}

fn run(arguments: Arguments) -> CliResult {
    let output = arguments.output;
    match arguments.verb {
        Verb::Up(options) => up::run(options, output),
        Verb::Serve(options) => serve::run(options),
        Verb::Init(options) => init::run(&options, output),
        Verb::Config(verb) => config::run(&verb, output),
        Verb::Certs(verb) => certs::run(&verb, output),
        Verb::Status(options) => status::run(&options, output),
        Verb::Regions(options) => regions::run(&options, output),
        Verb::Replication(options) => replication::run(&options, output),
        Verb::Conflicts(options) => conflicts::run(&options, output),
        Verb::Tables(verb) => tables::run(&verb, output),
        Verb::Faults(verb) => faults::run(&verb, output),
        Verb::DeadLetters(verb) => dead_letters::run(&verb, output),
        Verb::Backup(options) => backup::run(&options, output),
        Verb::Restore(options) => restore::run(&options, output),
        Verb::Postgres(verb) => postgres::run(&verb, output),
        Verb::Schema(verb) => schema::run(&verb, output),
        Verb::Dns(verb) => dns::run(&verb, output),
        Verb::Route(verb) => route::run(&verb, output),
        Verb::Shift(verb) => shift::run(&verb, output),
        Verb::Drain(options) => shift::drain::run(&options, output),
    }
}
