//! `meridian up`: every region of a topology on this machine, each its own process.
//!
//! ```text
//! prepare: lock ─ ports ─ certificates ─ topology file        all or a clear error
//! supervise: one task a region   start ─▶ ready ─▶ died ─▶ wait ─▶ start …
//!                  │ events
//!                  ▼
//!            state ─▶ live view, or lines
//! ```
//!
//! Invariants:
//! - One `up` a data directory: it holds a lock that the system gives back however it ends.
//! - No region outlives its `up`: the child reads a pipe whose other end only `up` holds, and ends
//!   when that closes, SIGKILL of the parent included.
//! - A region is started like in production (`meridian serve --region …`), so what `up` shows is what
//!   is deployed.

mod certificates;
mod columns;
mod effective;
mod effective_steering;
mod event;
mod grow;
mod keep;
mod lines;
mod poll;
mod prepare;
mod region;
mod roster;
mod servers;
mod state;
mod supervise;
mod tail;
#[cfg(test)]
mod test_ports;
mod view;

use crate::error::{CliError, CliResult, Exit};
use crate::output::Format;
use crate::serve::{PresetChoice, WanChoice};
use crate::system::DATA_DIR;
use clap::Args;
use std::path::{Path, PathBuf};

/// `meridian up`
#[derive(Debug, Args)]
#[command(
    after_help = "Region i (from 0) has its API at 127.0.0.1, port N + 10 i, its link on the port after, and on the next its name server for the topology's zone. The sample application runs in each, on the port after that and, on Linux, at the region's own address 127.0.1.(i+1), port N + 3: app.global.ZONE leads to it. With --postgres there is none: it keeps its rows in embedded tables. A data directory stays on the engine on which it began. Without --config: us-east-1, eu-west-1, ap-northeast-1, zone meridian.test and one dataset that takes every table.\n\nOn a terminal it shows how the regions stand until q or Ctrl-C. Elsewhere it prints a line for each event and a summary every 10 s; with --output json each is a JSON object.\n\nExample:\n  meridian up --base-port 8000 --wan real"
)]
pub struct Options {
    /// The topology file; its addresses and certificates are replaced by ones on this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the regions keep their data
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// The port of the first region's API
    #[arg(long, value_name = "N", default_value_t = 7000)]
    pub base_port: u16,
    /// How soon a region is known to be down: every 30 s, 5 s, 1 s or 500 ms [default: what the
    /// topology says]
    #[arg(long, value_enum, value_name = "PRESET")]
    pub health: Option<PresetChoice>,
    /// Delay the links like the distances between the regions would
    #[arg(long, value_enum, default_value_t, value_name = "DELAYS")]
    pub wan: WanChoice,
    /// Leave a region that dies dead, and its PostgreSQL server too; `up` ends once none of those that it
    /// started runs any more, whoever else started one again
    #[arg(long)]
    pub no_restart: bool,
    /// Let regions take faults over the API, for drills
    #[arg(long)]
    pub allow_faults: bool,
    /// A database that says where clients are, in MaxMind's format; a small built-in table unless
    /// given
    #[arg(long, value_name = "FILE")]
    pub geo: Option<PathBuf>,
    /// Start a PostgreSQL server for each region from installed binaries, at port N + 10 i + 6,
    /// database and user `meridian`, and put the tables of its schema `public` into the dataset
    #[arg(long)]
    pub postgres: bool,
}

pub fn run(options: Options, format: Format) -> CliResult {
    if let Some(geo) = &options.geo {
        check_geo(geo)?;
    }
    let prepared = prepare::prepare(&options)?;
    supervise::run(prepared, &options, format)
}

/// Looks whether the database can be used, before anything is started.
fn check_geo(path: &Path) -> CliResult {
    match meridian_node::steering::open_geo(Some(path)) {
        Ok(_) => Ok(()),
        Err(error) => Err(CliError::new(Exit::Usage, "use --geo")
            .because(&error)
            .hint(error.hint())),
    }
}
