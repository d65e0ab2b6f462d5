//! `restart`: a region with so many rows is killed and started again: how long until it serves, and
//! what it then has in memory.
//!
//! The clock starts with the process. `ready` is the first 200 from `/readyz`, asked every few
//! milliseconds; `first read` the first row read after that. The kill comes right after the last
//! write, so what the tables' journal and the log hold beyond the last flush is recovered too.

use crate::Common;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use meridian_bench::bulk::{self, BulkPlan};
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::meridian::MeridianClient;
use meridian_bench::regions::Regions;
use meridian_bench::table::{Table, thousands};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Instant;

const TABLE: &str = "kept";
const CONNECTIONS: usize = 8;
const ROWS_PER_TRANSACTION: u64 = 100;

/// Options of `restart`.
#[derive(clap::Args)]
pub struct Options {
    /// Rows that the region holds, one run for each
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000",
          value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    rows: Vec<u64>,
    /// Length of a document
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(14..=65536))]
    value_bytes: u32,
    /// Kills and starts for each number of rows; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// End with exit code 2 when a median until ready is above this many seconds
    #[arg(long)]
    ready_seconds_max: Option<f64>,
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    let mut sizes = Vec::new();
    for rows in &options.rows {
        talk(&format!("{} rows", thousands(*rows)));
        let directory =
            tempfile::tempdir_in(directory.path()).context("create a data directory")?;
        let size = measure(common, options, directory.path(), *rows)
            .await
            .with_context(|| format!("measure with {rows} rows"))?;
        talk(&format!("  ready after {:.3} s", size.ready_seconds));
        sizes.push(size);
    }
    let met = options
        .ready_seconds_max
        .is_none_or(|limit| sizes.iter().all(|size| size.ready_seconds <= limit));
    common.output.print(&Report {
        benchmark: "restart",
        value_bytes: options.value_bytes,
        rounds: options.rounds,
        machine,
        sizes,
    })?;
    Ok(met)
}

async fn measure(
    common: &Common,
    options: &Options,
    directory: &Path,
    rows: u64,
) -> Result<SizeReport> {
    let mut regions = Regions::start(&common.meridian, directory, 1).await?;
    let api = regions.addresses()[0].api;
    let plan = BulkPlan {
        rows,
        rows_per_transaction: ROWS_PER_TRANSACTION,
        value_bytes: options.value_bytes as usize,
        connections: CONNECTIONS,
    };
    bulk::write(api, TABLE, plan)
        .await
        .context("write the rows")?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        regions.kill(0)?;
        rounds.push(restart(&mut regions, rows).await?);
    }
    let found = MeridianClient::connect(api, TABLE)
        .await?
        .checksum()
        .await?;
    ensure!(
        found.rows == rows,
        "{rows} rows were acknowledged, but after a kill and a restart there are {}",
        found.rows
    );
    regions.stop().await?;
    let middle = |figure: fn(&Restart) -> f64| {
        median(&rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    Ok(SizeReport {
        rows,
        ready_seconds: middle(|round| round.ready_seconds),
        first_read_seconds: middle(|round| round.first_read_seconds),
        resident_megabytes: middle(|round| round.resident_megabytes),
        rounds,
    })
}

async fn restart(regions: &mut Regions, rows: u64) -> Result<Restart> {
    let started = Instant::now();
    regions.launch(0)?;
    regions.ready(0).await?;
    let ready_seconds = started.elapsed().as_secs_f64();
    let mut client = MeridianClient::connect(regions.addresses()[0].api, TABLE).await?;
    let row = client.row(&bulk::key(rows - 1)).await?;
    let first_read_seconds = started.elapsed().as_secs_f64();
    ensure!(row.is_some(), "the last row written is not there");
    let memory = regions.memory(0).context("the region ended")?;
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let resident_megabytes = memory.resident_bytes as f64 / 1e6;
    Ok(Restart {
        ready_seconds,
        first_read_seconds,
        resident_megabytes,
    })
}

/// One kill and start.
#[derive(Clone, Copy, Debug, Serialize)]
struct Restart {
    ready_seconds: f64,
    first_read_seconds: f64,
    /// Right after the first read.
    resident_megabytes: f64,
}

#[derive(Debug, Serialize)]
struct SizeReport {
    rows: u64,
    ready_seconds: f64,
    first_read_seconds: f64,
    resident_megabytes: f64,
    rounds: Vec<Restart>,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    value_bytes: u32,
    rounds: u16,
    machine: Machine,
    sizes: Vec<SizeReport>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Restart of a region killed after its last write: documents of {} bytes, medians of {}\n\
             rounds; seconds from the start of the process, MB are 10^6 bytes.\n",
            self.value_bytes, self.rounds
        )?;
        let mut table = Table::new(["rows", "ready s", "first read s", "memory MB"]);
        for size in &self.sizes {
            table.row([
                thousands(size.rows),
                format!("{:.3}", size.ready_seconds),
                format!("{:.3}", size.first_read_seconds),
                format!("{:.1}", size.resident_megabytes),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}
