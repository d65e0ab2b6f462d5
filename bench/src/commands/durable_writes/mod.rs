//! `durable-writes`: acknowledged durable writes a second, each client with one request outstanding.
//!
//! Rounds alternate between the systems and each round begins with the next one, so that what else
//! the machine does falls on all alike. A round: an empty data directory, the server, the warm-up,
//! the measured time; then the server is killed (`SIGKILL`) and started again over the same data,
//! every key is counted and a sample of the acknowledged values is read back. A system that
//! acknowledges what it has not handed to the kernel fails here.

mod candidates;
pub mod floor;
pub mod install;
mod report;

use crate::Common;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use candidates::{Candidate, Etcd, Meridian, Redis};
use clap::ValueEnum;
use meridian_bench::cluster::check_binary;
use meridian_bench::load::{self, LoadOutcome, LoadPlan};
use meridian_bench::ports::free_port;
use meridian_bench::process::Server;
use meridian_bench::procfs::{self, ProcessId};
use report::{CrossCheck, Report, Round, SystemFigures};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How many acknowledged values are read back after a round.
const SAMPLE_COUNT: u64 = 640;
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// One Meridian region alone
    Meridian,
    /// etcd, one member, its default durable settings
    Etcd,
    /// Redis with `appendonly yes` and `appendfsync always`
    Redis,
    /// No store: the product's HTTP library answering a constant, the bound of this protocol
    HttpFloor,
}

/// Options of `durable-writes`.
#[derive(clap::Args)]
pub struct Options {
    /// Clients, each with its own request outstanding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Measured seconds of each round
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds of load before them
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=60))]
    warmup_seconds: u64,
    /// Rounds of each system; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Length of a value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(14..=65536))]
    value_bytes: u32,
    /// The systems to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "meridian,etcd,redis,http-floor"
    )]
    systems: Vec<System>,
}

impl Options {
    fn plan(&self) -> LoadPlan {
        LoadPlan {
            warmup: Duration::from_secs(self.warmup_seconds),
            measured: Duration::from_secs(self.seconds),
            value_bytes: self.value_bytes as usize,
        }
    }
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    let meridian = Meridian {
        program: common.meridian.clone(),
    };
    for system in &options.systems {
        match system {
            System::Meridian => check_binary(&meridian.program)?,
            System::Etcd => install::ensure("etcd", "etcd-server").await?,
            System::Redis => install::ensure("redis-server", "redis-server").await?,
            System::HttpFloor => {}
        }
    }
    let mut figures = Vec::new();
    for system in &options.systems {
        let version = match system {
            System::Meridian => meridian.version()?,
            System::Etcd => Etcd.version()?,
            System::Redis => Redis.version()?,
            System::HttpFloor => "a constant reply, nothing stored".to_owned(),
        };
        figures.push(SystemFigures::new(*system, version));
    }
    let total = usize::from(options.rounds) * figures.len();
    for step in 0..total {
        let round = step / figures.len();
        let index = (round + step) % figures.len();
        let system = figures[index].system;
        talk(&format!(
            "{} of {total}: {system:?}, round {}",
            step + 1,
            round + 1
        ));
        let measured = match system {
            System::Meridian => measure(&meridian, directory.path(), options).await,
            System::Etcd => measure(&Etcd, directory.path(), options).await,
            System::Redis => measure(&Redis, directory.path(), options).await,
            System::HttpFloor => floor::measure(directory.path(), options).await,
        };
        let measured = measured.with_context(|| format!("measure {system:?}"))?;
        talk(&format!("  {}", measured.in_words()));
        figures[index].rounds.push(measured);
    }
    let cross_check = cross_check(directory.path(), options, &figures).await?;
    let report = Report::new(options, machine, figures, cross_check);
    common.output.print(&report)?;
    Ok(true)
}

async fn measure<C: Candidate>(candidate: &C, parent: &Path, options: &Options) -> Result<Round> {
    let directory = tempfile::tempdir_in(parent).context("create a data directory")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut server = start(candidate, directory.path(), address).await?;
    let writers = candidate.writers(address, options.clients.into()).await?;
    let client = ProcessId(std::process::id());
    let before = (server.processor_time(), procfs::processor_time(client));
    let outcome = load::run(writers, options.plan()).await.context("write")?;
    let after = (server.processor_time(), procfs::processor_time(client));

    server.kill().context("kill the server")?;
    let server = start(candidate, directory.path(), address)
        .await
        .context("start the server again after killing it")?;
    verify(candidate, address, &outcome, options).await?;
    server.stop().await.context("stop the server")?;
    Ok(Round::new(
        &outcome,
        after.0.saturating_sub(before.0),
        after
            .1
            .unwrap_or_default()
            .saturating_sub(before.1.unwrap_or_default()),
    ))
}

async fn start<C: Candidate>(
    candidate: &C,
    directory: &Path,
    address: SocketAddr,
) -> Result<Server> {
    let mut server = candidate.start(directory, address)?;
    server
        .ready(READY_DEADLINE, || async {
            candidate.count(address).await.is_ok()
        })
        .await?;
    Ok(server)
}

/// Counts the keys and reads a sample back.
async fn verify<C: Candidate>(
    candidate: &C,
    address: SocketAddr,
    outcome: &LoadOutcome,
    options: &Options,
) -> Result<()> {
    let (expected, found) = (
        outcome.acknowledged_total(),
        candidate.count(address).await?,
    );
    // A write that was on its way when the time was up was waited for, so the figures are equal.
    ensure!(
        found == expected,
        "{expected} writes were acknowledged, but after a kill and a restart there are {found} keys"
    );
    let mut reader = candidate.reader(address).await?;
    for (client, number) in outcome.sample(SAMPLE_COUNT) {
        let key = load::key(client, number);
        let found: Option<Bytes> = C::read(&mut reader, &key).await?;
        let expected = load::value(client, number, options.value_bytes as usize);
        ensure!(
            found.as_ref() == Some(&expected),
            "the acknowledged write of {key} reads back as {found:?}"
        );
    }
    Ok(())
}

/// What Redis's own benchmark says about the same thing.
async fn cross_check(
    parent: &Path,
    options: &Options,
    figures: &[SystemFigures],
) -> Result<Option<CrossCheck>> {
    let Some(redis) = figures
        .iter()
        .find(|figures| figures.system == System::Redis)
    else {
        return Ok(None);
    };
    if install::find("redis-benchmark").is_none() {
        talk("redis-benchmark is not installed; the figure for Redis is not cross-checked");
        return Ok(None);
    }
    let directory = tempfile::tempdir_in(parent).context("create a data directory")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let server = start(&Redis, directory.path(), address).await?;
    let requests = redis.expected_writes(options.seconds);
    let found = candidates::redis_benchmark(address, options, requests).await;
    server.stop().await.context("stop Redis")?;
    found.map(Some)
}
