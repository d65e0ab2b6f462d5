//! `dns`: queries a second, static and steered by the client's network, against gdnsd and Knot.
//!
//! All serve the same records and the same map from blocks of addresses to regions; dnsperf asks all
//! the same questions, by datagram, from as many threads as the server has. Rounds alternate between
//! the systems and each begins with the next one. Before its load each server is asked a sample, and
//! every address that it gives must be the right one; a round in which an answer had an error, or one
//! in a thousand never came, is an error and no figure.
//!
//! On a machine with few cores dnsperf and whatever else runs take their part of them. What a query
//! costs the server's processor is therefore reported beside the rate: it is the steadier figure.

pub mod answer;
mod load;
mod report;
pub mod served;
mod systems;
mod world;

use crate::Common;
use crate::commands::durable_writes::install;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use meridian_bench::ports::free_block;
use meridian_bench::process::Server;
use meridian_bench::procfs;
use report::{Cell, Report, Round};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use systems::{Place, System};
use tokio::net::UdpSocket;
use world::Asked;

const READY_DEADLINE: Duration = Duration::from_secs(60);
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
const QUESTIONS: usize = 200_000;
const SAMPLE: usize = 500;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Plain records, all names in turn
    Static,
    /// One name whose answer depends on the client's network (ECS)
    Geo,
}

/// Options of `dns`.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds of load in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Plain names in the zone
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    names: u32,
    /// Threads for datagrams, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// What to ask
    #[arg(long, value_enum, value_delimiter = ',', default_value = "static,geo")]
    kinds: Vec<Kind>,
    /// The systems to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "meridian,gdnsd,knot"
    )]
    systems: Vec<System>,
    /// End with exit code 2 where Meridian's rate is less than this many times gdnsd's
    #[arg(long)]
    ratio_min: Option<f64>,
}

/// Questions of one kind: those to check, and the file of all.
struct Questions {
    kind: Kind,
    sample: Vec<Asked>,
    file: PathBuf,
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    // gdnsd wants absolute paths.
    let directory = directory
        .path()
        .canonicalize()
        .context("find the data directory")?;
    install::ensure("dnsperf", "dnsperf").await?;
    let mut versions = Vec::new();
    for system in &options.systems {
        system.ensure().await?;
        versions.push((*system, system.version()?));
    }
    let questions: Vec<_> = options
        .kinds
        .iter()
        .map(|kind| write_questions(*kind, &directory, options.names))
        .collect::<Result<_>>()?;
    let mut cells = Vec::new();
    for threads in &options.threads {
        for questions in &questions {
            for system in &options.systems {
                cells.push(Cell::new(*system, questions.kind, *threads));
            }
        }
    }
    for round in 0..usize::from(options.rounds) {
        for threads in &options.threads {
            for turn in 0..options.systems.len() {
                let system = options.systems[(round + turn) % options.systems.len()];
                talk(&format!(
                    "round {} of {}: {}, {threads} threads",
                    round + 1,
                    options.rounds,
                    system.name()
                ));
                let measured = measure(system, *threads, &directory, &questions, options).await;
                for (kind, round) in
                    measured.with_context(|| format!("measure {}", system.name()))?
                {
                    talk(&format!("  {kind:?}: {}", round.in_words()));
                    let cell = cells
                        .iter_mut()
                        .find(|cell| cell.is(system, kind, *threads))
                        .context("every kind has its place")?;
                    cell.rounds.push(round);
                }
            }
        }
    }
    let report = Report::new(options.names, options.seconds, machine, versions, cells);
    let met = options.ratio_min.is_none_or(|limit| report.is_met(limit));
    common.output.print(&report)?;
    Ok(met)
}

fn write_questions(kind: Kind, directory: &Path, names: u32) -> Result<Questions> {
    let asked = match kind {
        Kind::Static => world::static_questions(QUESTIONS, names),
        Kind::Geo => world::steered_questions(QUESTIONS),
    };
    let file = directory.join(format!("{kind:?}.questions"));
    std::fs::write(&file, world::stream(&asked)).context("write the questions")?;
    Ok(Questions {
        kind,
        sample: asked[..SAMPLE].to_vec(),
        file,
    })
}

async fn measure(
    system: System,
    threads: usize,
    parent: &Path,
    all: &[Questions],
    options: &Options,
) -> Result<Vec<(Kind, Round)>> {
    let directory = tempfile::tempdir_in(parent).context("create a data directory")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_block(1)?));
    let place = Place { address, threads };
    let mut server = system.start(directory.path(), place, options.names)?;
    server
        .ready(READY_DEADLINE, || async {
            ask(address, Asked::Static(0), Duration::from_millis(100))
                .await
                .is_ok_and(|answer| answer.is_some())
        })
        .await?;
    let loaded = resident(&server)?;
    let mut rounds = Vec::new();
    for questions in all {
        check(address, &questions.sample).await?;
        let before = server.processor_time();
        let run = load::dnsperf(address, threads, &questions.file, options.seconds).await?;
        let spent = server.processor_time().saturating_sub(before);
        ensure!(
            run.noerror == run.completed,
            "{} of {} answers were errors",
            run.completed - run.noerror,
            run.completed
        );
        ensure!(
            run.lost * 1000 <= run.completed,
            "{} questions of {} were never answered",
            run.lost,
            run.completed + run.lost
        );
        let round = Round::new(run, spent, loaded, resident(&server)?);
        rounds.push((questions.kind, round));
    }
    server.stop().await.context("stop the server")?;
    Ok(rounds)
}

fn resident(server: &Server) -> Result<u64> {
    let memory = procfs::memory(server.id()).context("the server ended")?;
    Ok(memory.resident_bytes)
}

/// Every address of the sample has to be the right one.
async fn check(server: SocketAddr, sample: &[Asked]) -> Result<()> {
    let networks = world::networks()?;
    for asked in sample {
        let expected = asked.expected(&networks)?;
        let answered = ask(server, *asked, ANSWER_DEADLINE).await?;
        if answered != Some(expected) {
            bail!("{asked:?} was answered with {answered:?}, and {expected} is right");
        }
    }
    Ok(())
}

async fn ask(server: SocketAddr, asked: Asked, deadline: Duration) -> Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    let message = asked.message();
    socket.send(&message).await?;
    let mut answer = [0; 4096];
    let length = tokio::time::timeout(deadline, socket.recv(&mut answer))
        .await
        .with_context(|| format!("{asked:?} was not answered"))??;
    Ok(world::address_in(&message, &answer[..length]))
}
