//! The `meridian-bench` binary: figures that anybody can reproduce with one command.
//!
//! Stdout is the report, stderr is talk. Everything runs on loopback, for a bounded time, on data in
//! a directory that is removed; servers are ended by their ids, on Ctrl-C too.

mod commands;
mod output;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use commands::{
    catch_up, dns, durable_writes, idle_memory, restart, scale, steer_decision, visible_latency,
};
use commands::{postgres_catch_up, postgres_cost, postgres_latency};
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(version, about = "Benchmarks of Meridian, side by side with others")]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What all benchmarks take.
#[derive(clap::Args)]
struct Common {
    /// The `meridian` binary
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "target/release/meridian"
    )]
    meridian: PathBuf,
    /// The directory under which all data is kept while a benchmark runs; its disk is what is measured
    #[arg(long, global = true, value_name = "DIR", default_value = "target")]
    data_parent: PathBuf,
    /// Threads of the load generator, the same for all that is compared [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    client_threads: Option<usize>,
    /// How to print the report
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Durable writes a second of one region, etcd and Redis
    DurableWrites(durable_writes::Options),
    /// From commit in one region to visible in another
    VisibleLatency(visible_latency::Options),
    /// Memory of idle regions, and the most during an import
    IdleMemory(idle_memory::Options),
    /// How fast a region that was away takes over what it missed
    CatchUp(catch_up::Options),
    /// Answers a constant, for `durable-writes`
    #[command(hide = true)]
    ConstantServer(durable_writes::floor::ServerOptions),
    /// How long a killed region takes to serve again
    Restart(restart::Options),
    /// What a write costs as rows, regions and values grow
    Scale(scale::Options),
    /// From commit in one PostgreSQL server to visible in another, Meridian and native replication
    PostgresLatency(postgres_latency::Options),
    /// How fast PostgreSQL servers take over what they missed, Meridian and native replication
    PostgresCatchUp(postgres_catch_up::Options),
    /// What replication costs an application that writes to PostgreSQL
    PostgresCost(postgres_cost::Options),
    /// Nanoseconds to decide where a client goes
    SteerDecision(steer_decision::Options),
    /// DNS queries a second, Meridian, gdnsd and Knot
    Dns(dns::Options),
    /// Nanoseconds to answer a DNS question, without sockets
    DnsAnswer(dns::answer::Options),
    /// Serves names, for `dns`
    #[command(hide = true)]
    DnsServer(dns::served::ServerOptions),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(met) if met => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            output::talk(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all that the command demands was met.
fn run(arguments: &Arguments) -> Result<bool> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all();
    if let Some(threads) = arguments.common.client_threads {
        runtime.worker_threads(threads.max(1));
    }
    let runtime = runtime
        .build()
        .context("start the load generator's threads")?;
    runtime.block_on(async {
        tokio::select! {
            met = dispatch(arguments) => met,
            interrupted = interruption() => {
                interrupted?;
                bail!("interrupted; the servers are ended and their data removed")
            }
        }
    })
}

async fn dispatch(arguments: &Arguments) -> Result<bool> {
    let common = &arguments.common;
    match &arguments.command {
        Command::DurableWrites(options) => durable_writes::run(common, options).await,
        Command::VisibleLatency(options) => visible_latency::run(common, options).await,
        Command::IdleMemory(options) => idle_memory::run(common, options).await,
        Command::CatchUp(options) => catch_up::run(common, options).await,
        Command::ConstantServer(options) => durable_writes::floor::serve(options).await,
        Command::Restart(options) => restart::run(common, options).await,
        Command::Scale(options) => scale::run(common, options).await,
        Command::PostgresLatency(options) => postgres_latency::run(common, options).await,
        Command::PostgresCatchUp(options) => postgres_catch_up::run(common, options).await,
        Command::PostgresCost(options) => postgres_cost::run(common, options).await,
        Command::SteerDecision(options) => steer_decision::run(common, options),
        Command::Dns(options) => dns::run(common, options).await,
        Command::DnsAnswer(options) => dns::answer::run(common, options),
        Command::DnsServer(options) => dns::served::serve(options).await,
    }
}

async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
