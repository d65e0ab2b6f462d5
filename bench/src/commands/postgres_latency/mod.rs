//! `postgres-latency`: from a commit in one server to its visibility in another, by Meridian and by
//! native logical replication.
//!
//! Single-row inserts go to the first server in an open loop: each is due at a fixed time whatever
//! the others take. Of some, the row is looked for in the second server by its key, over and over,
//! from just before the insert is sent. The moment recorded is when the answer arrived that first
//! showed it: late by at most the time since the look before, which is the resolution.
//!
//! Both pairs of servers are up all the time, and measured in turns, so that what else the machine
//! does meets both. Native replication goes one way only, so its second server has nothing to
//! decode; Meridian's pair is joined both ways, as always.

mod observer;
mod open_loop;
mod report;

use crate::Common;
use crate::output::{talk, workplace_of_servers};
use anyhow::{Context, Result};
use meridian_bench::postgres::{Joined, Servers, System, Wanted};
use open_loop::LoopPlan;
use report::{Report, Round};
use std::time::Duration;

const SCHEMA: &str = "CREATE TABLE public.pings (id bigint PRIMARY KEY, payload text NOT NULL)";
const TABLES: [&str; 1] = ["public.pings"];

/// Options of `postgres-latency`.
#[derive(Clone, clap::Args)]
pub struct Options {
    /// Transactions a second, one run for each
    #[arg(long, value_delimiter = ',', default_value = "200,1000,3000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rates: Vec<u32>,
    /// Seconds of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each rate and system, in turns; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Connections that transactions are sent on; the most that can be outstanding
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=40))]
    clients: u16,
    /// Transactions a second that are watched in the other server
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples_per_second: u32,
    /// Rows that can be watched at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    observers: u16,
    /// Shortest pause between two looks for a row; it grows to a 16th of the wait
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    poll_interval_microseconds: u64,
    /// Length of the row's text
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65536))]
    value_bytes: u32,
    /// The systems to compare
    #[arg(long, value_enum, value_delimiter = ',', default_value = "meridian,native",
          value_parser = super::postgres::joining())]
    systems: Vec<System>,
    /// End with exit code 2 when Meridian's median P99 is more than this many times native's
    #[arg(long)]
    p99_ratio_max: Option<f64>,
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace_of_servers(&common.data_parent)?;
    let mut pairs = Vec::new();
    for system in &options.systems {
        talk(&format!("starting two servers for {}", system.name()));
        let directory = directory.path().join(system.name());
        std::fs::create_dir(&directory).context("create a data directory")?;
        let servers = Servers::start(&directory, 2, SCHEMA).await?;
        let wanted = Wanted {
            meridian: &common.meridian,
            directory: &directory,
            tables: &TABLES,
            is_both_ways: false,
        };
        pairs.push(Joined::join(*system, servers, wanted).await?);
    }
    let mut rounds = Vec::new();
    let mut next_id = 0;
    for rate in &options.rates {
        for number in 0..options.rounds {
            for turn in 0..pairs.len() {
                let pair = &pairs[(turn + usize::from(number)) % pairs.len()];
                let round = measure(pair, options, *rate, &mut next_id).await?;
                talk(&format!(
                    "{rate}/s, round {}, {}: {}",
                    number + 1,
                    pair.system.name(),
                    round.in_words()
                ));
                rounds.push(round);
            }
        }
    }
    let version = match pairs.first() {
        Some(pair) => pair.servers.version_name().await?,
        None => String::new(),
    };
    for pair in pairs {
        pair.stop().await?;
    }
    let report = Report::new(options, machine, version, rounds);
    let met = options
        .p99_ratio_max
        .is_none_or(|limit| report.p99_ratios().all(|ratio| ratio <= limit));
    common.output.print(&report)?;
    Ok(met)
}

async fn measure(pair: &Joined, options: &Options, rate: u32, next_id: &mut u64) -> Result<Round> {
    let plan = LoopPlan {
        rate,
        duration: Duration::from_secs(options.seconds),
        sample_every: (rate / options.samples_per_second).max(1),
        first_id: *next_id,
        value_bytes: options.value_bytes as usize,
    };
    *next_id += plan.writes();
    let observers = observer::Observers::start(
        &pair.servers,
        1,
        options.observers.into(),
        Duration::from_micros(options.poll_interval_microseconds),
    );
    let written = open_loop::run(&pair.servers, 0, options.clients.into(), plan, observers)
        .await
        .context("write at a fixed rate")?;
    pair.servers.equal(&TABLES).await?;
    Ok(Round::new(pair.system, rate, &written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn native_replication_is_measured() {
        let directory = crate::output::tests::directory_for_servers();
        let servers = Servers::start(directory.path(), 2, SCHEMA).await.unwrap();
        let wanted = Wanted {
            meridian: directory.path(),
            directory: directory.path(),
            tables: &TABLES,
            is_both_ways: false,
        };
        let pair = Joined::join(System::Native, servers, wanted).await.unwrap();
        let options = Command::parse_from(["test", "--seconds", "1", "--clients", "2"]).options;
        let mut next_id = 0;
        let round = measure(&pair, &options, 50, &mut next_id).await.unwrap();
        assert_eq!((round.written, next_id), (50, 50));
        assert_eq!(round.from_acknowledged.count + round.not_watched, 50);
        assert!(round.from_sent.p50_ms > 0.0, "{round:?}");
        assert!(round.from_acknowledged.p50_ms <= round.from_sent.p50_ms);
        let found = pair
            .servers
            .ask(1, "SELECT count(*) FROM pings")
            .await
            .unwrap();
        assert_eq!(found, "50");
    }

    #[test]
    fn bare_servers_have_no_latency() {
        let parsed = Command::try_parse_from(["test", "--systems", "bare"]);
        assert!(parsed.is_err());
    }
}
