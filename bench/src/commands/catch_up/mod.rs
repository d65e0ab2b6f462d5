//! `catch-up`: a region is killed, changes are committed elsewhere, and it comes back: how fast does
//! it take over what it missed?
//!
//! The clock starts with the region's process and stops when it says that everything is applied.
//! Then all regions must have the same checksum; when that was known is reported too. The peer is a
//! Redis replica under the same writes, in the two ways in which it can come back:
//!
//! - *stream*: the replica was paused until its primary gave it up, and continues from the
//!   primary's backlog, made large enough: the same kind of work as Meridian's, though the
//!   process never ended and has nothing to recover;
//! - *snapshot*: the replica was killed and is started anew, which is what Meridian's region goes
//!   through. It then loads its own file, throws that away and takes a whole copy.
//!
//! Primary and replica sync every write, as the regions do.

mod redis_pair;
mod report;

use crate::Common;
use crate::commands::durable_writes::install;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use meridian_bench::bulk::{self, BulkPlan};
use meridian_bench::meridian::{Checksum, MeridianClient};
use meridian_bench::regions::{REGIONS_MAX, Regions};
use redis_pair::{RedisPair, Return};
use report::{CatchUp, Figures, Report};
use std::path::Path;
use std::time::{Duration, Instant};

const TABLE: &str = "missed";
const DEADLINE: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Changes made while all are up, so that streams and files exist before the outage.
const ROWS_BEFORE: u64 = 1_000;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// A region that was killed
    Meridian,
    /// A Redis replica that was paused and continues from the backlog
    RedisStream,
    /// A Redis replica that was killed and takes a snapshot
    RedisSnapshot,
}

/// Options of `catch-up`.
#[derive(clap::Args)]
pub struct Options {
    /// Rows written while the region is down
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    rows: u64,
    /// Rows in each transaction, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,10",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    rows_per_transaction: Vec<u64>,
    /// Length of a document
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(14..=65536))]
    value_bytes: u32,
    /// Regions, the one that is killed included
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=REGIONS_MAX as u64))]
    regions: u64,
    /// Rounds of each system; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The systems to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "meridian,redis-stream,redis-snapshot"
    )]
    systems: Vec<System>,
}

impl Options {
    fn plan(&self, rows_per_transaction: u64) -> BulkPlan {
        BulkPlan {
            rows: self.rows,
            rows_per_transaction,
            value_bytes: self.value_bytes as usize,
            // Many, so that a million transactions are written within a minute: that isn't measured.
            connections: 256,
        }
    }
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    if options
        .systems
        .iter()
        .any(|system| *system != System::Meridian)
    {
        install::ensure("redis-server", "redis-server").await?;
    }
    let mut figures = Vec::new();
    for rows in &options.rows_per_transaction {
        for system in &options.systems {
            figures.push(Figures::new(*system, *rows));
        }
    }
    for round in 0..options.rounds {
        for figures in &mut figures {
            let plan = options.plan(figures.rows_per_transaction);
            talk(&format!("round {}: {}", round + 1, figures.in_words()));
            let directory =
                tempfile::tempdir_in(directory.path()).context("create a data directory")?;
            let measured = match figures.system {
                System::Meridian => meridian(common, options, directory.path(), plan).await,
                System::RedisStream => redis(directory.path(), plan, Return::Paused).await,
                System::RedisSnapshot => redis(directory.path(), plan, Return::Killed).await,
            };
            let measured = measured.with_context(|| format!("measure {:?}", figures.system))?;
            talk(&format!("  {}", measured.in_words(plan)));
            figures.rounds.push(measured);
        }
    }
    let report = Report::new(options, machine, &figures);
    common.output.print(&report)?;
    Ok(true)
}

async fn meridian(
    common: &Common,
    options: &Options,
    directory: &Path,
    plan: BulkPlan,
) -> Result<CatchUp> {
    let count = usize::try_from(options.regions).context("count the regions")?;
    let mut regions = Regions::start(&common.meridian, directory, count).await?;
    let writer = regions.addresses()[0].api;
    let before = BulkPlan {
        rows: ROWS_BEFORE,
        ..plan
    };
    bulk::write(writer, "before", before).await?;
    converge(&regions, "before", ROWS_BEFORE).await?;
    let lost = count - 1;
    regions.kill(lost)?;
    let write_seconds = bulk::write(writer, TABLE, plan).await?.as_secs_f64();

    let started = Instant::now();
    regions.launch(lost)?;
    regions.ready(lost).await?;
    let ready_seconds = started.elapsed().as_secs_f64();
    let mut client = MeridianClient::connect(regions.addresses()[lost].api, TABLE).await?;
    while applied(&mut client).await? < plan.transactions() {
        ensure!(started.elapsed() < DEADLINE, "the region does not catch up");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let applied_seconds = started.elapsed().as_secs_f64();
    converge(&regions, TABLE, plan.rows).await?;
    let equal_seconds = started.elapsed().as_secs_f64();
    regions.stop().await?;
    Ok(CatchUp {
        write_seconds,
        ready_seconds,
        applied_seconds,
        equal_seconds,
    })
}

/// The peers' transactions that a region has applied since it started.
async fn applied(client: &mut MeridianClient) -> Result<u64> {
    let status = client.json("/v1/status").await?;
    status["datasets"][0]["transactions_remote"]
        .as_u64()
        .context("the status has no transactions_remote")
}

/// Waits until every region holds this many rows and all have the same checksum.
async fn converge(regions: &Regions, table: &str, rows: u64) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut checksums: Vec<Checksum> = Vec::new();
        for region in regions.addresses() {
            let mut client = MeridianClient::connect(region.api, table).await?;
            checksums.push(client.checksum().await?);
        }
        let equal = checksums.windows(2).all(|pair| pair[0] == pair[1]);
        if equal && checksums.iter().all(|checksum| checksum.rows == rows) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < DEADLINE,
            "{rows} rows were written, but the regions hold {checksums:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn redis(directory: &Path, plan: BulkPlan, how: Return) -> Result<CatchUp> {
    let mut pair = RedisPair::start(directory).await?;
    let before = BulkPlan {
        rows: ROWS_BEFORE,
        ..plan
    };
    pair.write("before", before).await?;
    pair.follow(DEADLINE).await?;
    pair.take_away(how).await?;
    let write_seconds = pair.write("missed", plan).await?.as_secs_f64();

    let started = Instant::now();
    pair.bring_back(how)?;
    let ready_seconds = pair.answers(DEADLINE).await?.as_secs_f64();
    pair.follow(DEADLINE).await?;
    let applied_seconds = started.elapsed().as_secs_f64();
    pair.verify(ROWS_BEFORE + plan.rows, how).await?;
    let equal_seconds = started.elapsed().as_secs_f64();
    pair.stop().await?;
    Ok(CatchUp {
        write_seconds,
        ready_seconds,
        applied_seconds,
        equal_seconds,
    })
}
