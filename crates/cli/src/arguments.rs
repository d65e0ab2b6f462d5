//! The command line. What `--help` says is here and nowhere else: `docs/reference/cli.md` is
//! generated from it.

use crate::output::Format;
use crate::{backup, postgres, restore, schema};
use crate::{certs, config, conflicts, init, regions, replication, serve, status, tables, up};
use crate::{dead_letters, dns, faults, route, shift};
use clap::{Parser, Subcommand};

/// One application in several regions at once, every region live.
#[derive(Debug, Parser)]
#[command(
    name = "meridian",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Example:\n  meridian up\n  meridian tables put orders 1 '{\"item\": \"tea\"}'"
)]
pub struct Arguments {
    /// How data is printed on stdout
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run every region of a topology on this machine
    Up(up::Options),
    /// Run one region (production)
    Serve(serve::Options),
    /// Write a commented topology file
    Init(init::Options),
    /// Look over a topology file
    #[command(subcommand)]
    Config(config::Verb),
    /// Make the certificates with which regions know each other
    #[command(subcommand)]
    Certs(certs::Verb),
    /// How each region stands
    Status(status::Options),
    /// Which regions there are and whether they answer
    Regions(Box<regions::Options>),
    /// How far each region is behind each other
    Replication(replication::Options),
    /// Conflicting writes and how they were decided
    Conflicts(conflicts::Options),
    /// Read and write tables
    #[command(subcommand)]
    Tables(tables::Verb),
    /// Make regions misbehave on purpose, for drills
    #[command(subcommand)]
    Faults(faults::Verb),
    /// Transactions that no region can apply, and what becomes of them
    #[command(subcommand)]
    DeadLetters(dead_letters::Verb),
    /// Take a backup of a dataset
    Backup(backup::Options),
    /// Make a dataset's rows what they were at a time
    Restore(restore::Options),
    /// Servers of datasets on PostgreSQL
    #[command(subcommand)]
    Postgres(postgres::Verb),
    /// Migrations of tables on PostgreSQL
    #[command(subcommand)]
    Schema(schema::Verb),
    /// The key that the zone is signed with
    #[command(subcommand)]
    Dns(dns::Verb),
    /// Where clients go
    #[command(subcommand)]
    Route(route::Verb),
    /// Send fewer clients to a region, or none
    #[command(subcommand)]
    Shift(shift::Verb),
    /// Send nobody to a region, or clients again
    Drain(shift::drain::Options),
}
