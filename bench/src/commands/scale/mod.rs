//! `scale`: what a durable write costs, and how soon it is seen elsewhere, as the work grows along
//! one axis at a time: rows that are there already, regions, the length of a value.
//!
//! A cell: regions of its own with the rows loaded into the first; then a closed loop that writes
//! these rows anew, so that their number stays what it is; then an open loop at a low rate whose
//! writes are watched in another region; at the end equal checksums everywhere. The processor time
//! of a write is that of all regions together, replication and compaction included.

mod report;

use crate::Common;
use crate::commands::visible_latency;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use meridian_bench::bulk::{self, BulkPlan};
use meridian_bench::http_writer::{HttpWriteError, HttpWriter};
use meridian_bench::load::{self, KeyWriter, LoadPlan};
use meridian_bench::meridian::MeridianClient;
use meridian_bench::regions::{REGIONS_MAX, Regions};
use report::{CellReport, Report};
use std::path::Path;
use std::time::{Duration, Instant};

const TABLE: &str = "grown";
const LOADED_BYTES_PER_TRANSACTION: u64 = 256 << 10;
const CONVERGENCE_DEADLINE: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    /// Rows that are there
    Rows,
    /// Regions that replicate to each other
    Regions,
    /// The length of a value
    Values,
}

/// Options of `scale`.
#[derive(clap::Args)]
pub struct Options {
    /// What grows, one after the other
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "rows,regions,values"
    )]
    axes: Vec<Axis>,
    /// Numbers of rows; the first is also what the other axes have
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000",
          value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    rows: Vec<u64>,
    /// Numbers of regions
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,5",
          value_parser = clap::value_parser!(u64).range(1..=REGIONS_MAX as u64))]
    regions: Vec<u64>,
    /// Lengths of values
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000",
          value_parser = clap::value_parser!(u32).range(14..=1_000_000))]
    value_bytes: Vec<u32>,
    /// Clients of the closed loop, each with its own request outstanding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Measured seconds of the closed loop
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Writes a second of the open loop
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    visible_rate: u32,
    /// Seconds of the open loop
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    visible_seconds: u64,
}

/// What one cell is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    axis: Axis,
    rows: u64,
    regions: usize,
    value_bytes: usize,
}

/// Of the axes that don't grow: two regions, so that there is somebody to see a write.
const REGIONS: usize = 2;
const VALUE_BYTES: usize = 256;

impl Options {
    fn cells(&self) -> Vec<Cell> {
        let rows = self.rows.first().copied().unwrap_or(1);
        let cell = |axis| Cell {
            axis,
            rows,
            regions: REGIONS,
            value_bytes: VALUE_BYTES,
        };
        let along = |axis: &Axis| -> Vec<Cell> {
            let cell = cell(*axis);
            match axis {
                Axis::Rows => (self.rows.iter())
                    .map(|rows| Cell {
                        rows: *rows,
                        ..cell
                    })
                    .collect(),
                Axis::Regions => (self.regions.iter())
                    .filter_map(|count| usize::try_from(*count).ok())
                    .map(|regions| Cell { regions, ..cell })
                    .collect(),
                Axis::Values => (self.value_bytes.iter())
                    .filter_map(|length| usize::try_from(*length).ok())
                    .map(|value_bytes| Cell {
                        value_bytes,
                        ..cell
                    })
                    .collect(),
            }
        };
        self.axes.iter().flat_map(along).collect()
    }
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    let mut cells = Vec::new();
    for cell in options.cells() {
        talk(&format!("{cell:?}"));
        let directory =
            tempfile::tempdir_in(directory.path()).context("create a data directory")?;
        let measured = measure(common, options, directory.path(), cell)
            .await
            .with_context(|| format!("measure {cell:?}"))?;
        talk(&format!("  {}", measured.in_words()));
        cells.push(measured);
    }
    common.output.print(&Report::new(options, machine, cells))?;
    Ok(true)
}

async fn measure(
    common: &Common,
    options: &Options,
    directory: &Path,
    cell: Cell,
) -> Result<CellReport> {
    let regions = Regions::start(&common.meridian, directory, cell.regions).await?;
    let api = regions.addresses()[0].api;
    let document = cell.value_bytes as u64;
    let plan = BulkPlan {
        rows: cell.rows,
        rows_per_transaction: (LOADED_BYTES_PER_TRANSACTION / document).clamp(1, 500),
        value_bytes: cell.value_bytes,
        connections: 4,
    };
    bulk::write(api, TABLE, plan)
        .await
        .context("load the rows")?;
    converge(&regions, cell.rows).await?;

    let mut writers = Vec::new();
    for client in 0..options.clients {
        writers.push(Rewriting {
            inner: HttpWriter::connect(api, TABLE).await?,
            rows: cell.rows,
            state: u64::from(client) << 32,
        });
    }
    let plan = LoadPlan {
        warmup: Duration::from_secs(1),
        measured: Duration::from_secs(options.seconds),
        value_bytes: cell.value_bytes,
    };
    let before = regions.processor_time();
    let outcome = load::run(writers, plan).await.context("write")?;
    // What the others do for these writes counts, so they are waited for.
    converge(&regions, cell.rows).await?;
    let used = regions.processor_time().saturating_sub(before);

    let visible = match cell.regions {
        1 => None,
        _ => {
            let (rate, seconds) = (options.visible_rate, options.visible_seconds);
            let loop_options = visible_latency::Options::brief(rate, seconds, cell.value_bytes)?;
            Some(visible_latency::measure(regions.addresses(), rate, &loop_options).await?)
        }
    };
    regions.stop().await?;
    Ok(CellReport::new(cell, &outcome, used, visible.as_ref()))
}

/// Waits until all regions hold so many rows and have the same checksum.
async fn converge(regions: &Regions, rows: u64) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut checksums = Vec::new();
        for region in regions.addresses() {
            let mut client = MeridianClient::connect(region.api, TABLE).await?;
            checksums.push(client.checksum().await?);
        }
        let equal = checksums.windows(2).all(|pair| pair[0] == pair[1]);
        if equal && checksums.iter().all(|checksum| checksum.rows == rows) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < CONVERGENCE_DEADLINE,
            "there should be {rows} rows, but the regions hold {checksums:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Writes rows that are there already, whatever key it is given.
struct Rewriting {
    inner: HttpWriter,
    rows: u64,
    state: u64,
}

impl KeyWriter for Rewriting {
    type Error = HttpWriteError;

    async fn write(&mut self, _: &str, value: Bytes) -> Result<(), HttpWriteError> {
        let number = load::split_mix(&mut self.state) % self.rows;
        self.inner.write(&bulk::key(number), value).await
    }
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

    #[test]
    fn one_thing_grows_at_a_time() {
        let options = Command::parse_from(["test", "--rows", "10,1000"]).options;
        let cells = options.cells();
        assert_eq!(cells.len(), 2 + 4 + 4);
        assert!(cells.iter().all(|cell| {
            let grown = [
                cell.rows != 10,
                cell.regions != REGIONS,
                cell.value_bytes != VALUE_BYTES,
            ];
            grown.iter().filter(|grown| **grown).count() <= 1
        }));
        assert_eq!(cells[1].rows, 1000);
        assert_eq!(cells[5].regions, 5);
        assert_eq!(cells[9].value_bytes, 100_000);
    }
}
