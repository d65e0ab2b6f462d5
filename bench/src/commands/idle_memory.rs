//! `idle-memory`: what regions hold in memory when nothing happens, and the most they ever held
//! while one of them imported rows that all three then hold.
//!
//! Figures are the kernel's `VmRSS` and `VmHWM`. They count pages that processes share (the binary's
//! code) once for each, so they are upper bounds.

use crate::Common;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use meridian_bench::cluster::{Cluster, Member};
use meridian_bench::machine::Machine;
use meridian_bench::meridian::MeridianClient;
use meridian_bench::procfs::{self, Memory};
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONVERGENCE_DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const TABLE: &str = "imported";

/// Options of `idle-memory`.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds from ready to the idle figure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    settle_seconds: u64,
    /// Rows to import
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rows: u64,
    /// First of the regions' ports; without it a free block is found
    #[arg(long)]
    base_port: Option<u16>,
    /// End with exit code 2 when a region idles above this many megabytes (of 10^6 bytes)
    #[arg(long)]
    idle_megabytes_max: Option<f64>,
    /// End with exit code 2 when a region was above this many megabytes during the import
    #[arg(long)]
    import_megabytes_max: Option<f64>,
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    let cluster = Cluster::start(&common.meridian, directory.path(), options.base_port).await?;
    let members = cluster.members();
    talk(&format!("idle for {} s", options.settle_seconds));
    tokio::time::sleep(Duration::from_secs(options.settle_seconds)).await;
    let idle = memories(&members)?;

    let file = directory.path().join("rows.csv");
    write_rows(&file, options.rows).context("write the file to import")?;
    talk(&format!("importing {} rows", thousands(options.rows)));
    let started = Instant::now();
    import(&common.meridian, &file, &cluster).await?;
    let import_seconds = started.elapsed().as_secs_f64();
    converge(&cluster, options.rows).await?;
    let imported = memories(&members)?;
    cluster.stop().await.context("stop the regions")?;

    let report = Report::new(options, machine, &members, &idle, &imported, import_seconds);
    let met = report.meets(options);
    common.output.print(&report)?;
    Ok(met)
}

fn memories(members: &[Member]) -> Result<Vec<Memory>> {
    let memory = |member: &Member| {
        procfs::memory(member.process)
            .with_context(|| format!("the process of {} ended", member.name))
    };
    members.iter().map(memory).collect()
}

/// Rows of the shape of the flights example: a dozen short columns.
fn write_rows(file: &Path, rows: u64) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(file)?);
    writeln!(
        file,
        "id,year,month,day,departure,delay,arrival,carrier,flight,tail,origin,destination,distance,time"
    )?;
    for id in 0..rows {
        let (month, day, hour) = (1 + id / 28_000 % 12, 1 + id / 1_000 % 28, id % 24);
        writeln!(
            file,
            "{id},2013,{month},{day},{hour}15,{},{hour}58,UA,{},N{:05},EWR,IAH,{},2013-{month:02}-{day:02}T{hour:02}:00:00Z",
            id % 90,
            id % 6_000,
            id * 7 % 99_999,
            200 + id % 2_500,
        )?;
    }
    file.flush()
}

async fn import(meridian: &Path, file: &PathBuf, cluster: &Cluster) -> Result<()> {
    let output = tokio::process::Command::new(meridian)
        .args(["tables", "import", TABLE])
        .arg(file)
        .args(["--key", "id", "--api", &cluster.regions[0].url()])
        .kill_on_drop(true)
        .output()
        .await
        .context("run `meridian tables import`")?;
    ensure!(
        output.status.success(),
        "`meridian tables import` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Waits until every region holds all rows.
async fn converge(cluster: &Cluster, rows: u64) -> Result<()> {
    let started = Instant::now();
    for region in &cluster.regions {
        let mut client = MeridianClient::connect(region.api, TABLE).await?;
        while client.checksum().await?.rows != rows {
            ensure!(
                started.elapsed() < CONVERGENCE_DEADLINE,
                "{} does not hold {rows} rows {} s after the import",
                region.name,
                CONVERGENCE_DEADLINE.as_secs()
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct MemberReport {
    process: String,
    idle_resident_bytes: u64,
    import_resident_bytes_max: u64,
    import_resident_bytes_after: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    settle_seconds: u64,
    rows: u64,
    import_seconds: f64,
    machine: Machine,
    processes: Vec<MemberReport>,
}

impl Report {
    fn new(
        options: &Options,
        machine: Machine,
        members: &[Member],
        idle: &[Memory],
        imported: &[Memory],
        import_seconds: f64,
    ) -> Self {
        let processes = members.iter().zip(idle).zip(imported);
        Self {
            benchmark: "idle-memory",
            settle_seconds: options.settle_seconds,
            rows: options.rows,
            import_seconds,
            machine,
            processes: processes
                .map(|((member, idle), imported)| MemberReport {
                    process: member.name.clone(),
                    idle_resident_bytes: idle.resident_bytes,
                    import_resident_bytes_max: imported.resident_bytes_max,
                    import_resident_bytes_after: imported.resident_bytes,
                })
                .collect(),
        }
    }

    fn meets(&self, options: &Options) -> bool {
        let below =
            |bytes: u64, limit: Option<f64>| limit.is_none_or(|limit| megabytes(bytes) <= limit);
        self.processes.iter().all(|process| {
            below(process.idle_resident_bytes, options.idle_megabytes_max)
                && below(
                    process.import_resident_bytes_max,
                    options.import_megabytes_max,
                )
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "at most ten million rows")]
        let rate = self.rows as f64 / self.import_seconds;
        writeln!(
            f,
            "Resident memory in MB (10^6 bytes): idle {} s after start; during and after an import of\n\
             {} rows into the first region ({:.1} s, {} rows/s).\n",
            self.settle_seconds,
            thousands(self.rows),
            self.import_seconds,
            rounded(rate)
        )?;
        let mut table = Table::new(["process", "idle", "import max", "after"]);
        for process in &self.processes {
            let figures = [
                process.idle_resident_bytes,
                process.import_resident_bytes_max,
                process.import_resident_bytes_after,
            ];
            table.row(
                std::iter::once(process.process.clone())
                    .chain(figures.map(|bytes| format!("{:.1}", megabytes(bytes)))),
            );
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
