//! `postgres-cost`: what replication costs the application that writes.
//!
//! `pgbench -N` writes into the first of two servers as fast as it gets through, with Meridian
//! attached to both, with native subscriptions between them in both directions, and with a server
//! that nothing reads. Everything shares the machine, so what the other side does to take the
//! writes over costs too. After each run it is waited until both servers have the same rows: a side
//! that lags behind gets its work done after the run, and how long that takes is reported beside the
//! rate.

mod report;

use crate::Common;
use crate::output::{talk, workplace_of_servers};
use anyhow::{Context, Result};
use meridian_bench::postgres::pgbench::{Pgbench, TABLES};
use meridian_bench::postgres::{Joined, Servers, System, Wanted};
use report::{Report, Round};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `postgres-cost`.
#[derive(Clone, clap::Args)]
pub struct Options {
    /// Seconds of each run
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each system, in turns; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// pgbench's clients
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=40))]
    clients: u16,
    /// pgbench's scale: so many times 100,000 accounts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    scale: u32,
    /// The pgbench to use [default: the one beside the servers' binaries]
    #[arg(long, value_name = "PATH")]
    pgbench: Option<PathBuf>,
    /// The systems to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "meridian,native,bare"
    )]
    systems: Vec<System>,
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace_of_servers(&common.data_parent)?;
    let mut pairs = Vec::new();
    for system in &options.systems {
        talk(&format!("starting servers for {}", system.name()));
        let directory = directory.path().join(system.name());
        pairs.push(start(&common.meridian, options, *system, &directory).await?);
    }
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        for turn in 0..pairs.len() {
            let (pair, pgbench) = &pairs[(turn + usize::from(number)) % pairs.len()];
            let round = measure(pair, pgbench, options).await?;
            talk(&format!("round {}, {}", number + 1, round.in_words()));
            rounds.push(round);
        }
    }
    let version = match pairs.first() {
        Some((pair, _)) => pair.servers.version_name().await?,
        None => String::new(),
    };
    for (pair, _) in pairs {
        pair.stop().await?;
    }
    common
        .output
        .print(&Report::new(options, machine, version, rounds))?;
    Ok(true)
}

async fn start(
    meridian: &Path,
    options: &Options,
    system: System,
    directory: &Path,
) -> Result<(Joined, Pgbench)> {
    std::fs::create_dir(directory).context("create a data directory")?;
    let count = if system == System::Bare { 1 } else { 2 };
    let servers = Servers::start(directory, count, "").await?;
    let pgbench = Pgbench::find(options.pgbench.as_deref(), &servers)?;
    for index in 0..count {
        pgbench.initialise(&servers, index, options.scale).await?;
    }
    let wanted = Wanted {
        meridian,
        directory,
        tables: &TABLES,
        is_both_ways: true,
    };
    Ok((Joined::join(system, servers, wanted).await?, pgbench))
}

async fn measure(pair: &Joined, pgbench: &Pgbench, options: &Options) -> Result<Round> {
    let before = pair.processor_times();
    let run = pgbench
        .write(&pair.servers, 0, options.clients, options.seconds)
        .await?;
    let ended = Instant::now();
    pair.servers.equal(&TABLES).await?;
    let behind_seconds = ended.elapsed().as_secs_f64();
    let [by_servers, by_regions] = pair.processor_seconds(before);
    Ok(Round {
        system: pair.system,
        run,
        behind_seconds,
        processor_seconds: by_servers + by_regions,
        servers_seconds: by_servers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use meridian_bench::postgres::PostgresError;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_pgbench_writes_is_in_both_servers() {
        let place = crate::output::tests::directory_for_servers();
        let options =
            Command::parse_from(["test", "--seconds", "1", "--clients", "2", "--scale", "1"]);
        let options = options.options;
        let place = place.path().join("native");
        let none = Path::new("/nonexistent");
        let started = start(none, &options, System::Native, &place).await;
        let (pair, pgbench) = match started {
            Ok(pair) => pair,
            // Some builds of the server come without it.
            Err(error) if error.to_string().contains("hint: Debian") => return,
            Err(error) => panic!("{error:#}"),
        };
        let round = measure(&pair, &pgbench, &options).await.unwrap();
        let history = "SELECT count(*) FROM pgbench_history";
        let found = pair.servers.ask(1, history).await.unwrap();
        assert_eq!(found, round.run.transactions.to_string());
        assert!(round.servers_seconds > 0.0, "{round:?}");
        // Nothing runs beside the servers.
        assert!(
            round.processor_seconds <= round.servers_seconds,
            "{round:?}"
        );
        let missing = Pgbench::find(Some(none), &pair.servers);
        assert!(matches!(missing, Err(PostgresError::NoPgbench { .. })));
    }
}
