//! `meridian backup`: a dataset's snapshot and then its log's entries, in files; and a look at what
//! a directory of them holds.

mod fetch;
mod show;

use crate::error::{CliError, CliResult};
use crate::output::Format;
use crate::target::Target;
use clap::{Args, Subcommand};
use meridian_backup::BackupError;
use std::path::PathBuf;

/// `meridian backup`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "The first run takes a snapshot; each later one adds the log's entries since, or a new snapshot where the region's log no longer reaches back (see log-retention in the topology). A run that was interrupted leaves the backup as it was; run it again. What can be restored ends with the last run: let a scheduler run it as often as you can bear to lose what came since.\n\nExamples:\n  meridian backup --dataset main /backups/main      # covers times up to now\n  meridian backup list /backups/main                # which times are covered\n  meridian backup verify /backups/main"
)]
pub struct Options {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The dataset
    #[arg(long, value_name = "NAME", required = true)]
    dataset: Option<String>,
    /// Take a new snapshot even where entries would do
    #[arg(long)]
    full: bool,
    /// The backup's directory
    #[arg(value_name = "DIR", required = true)]
    directory: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What a backup holds and which times it covers
    #[command(after_help = "Example:\n  meridian backup list /backups/main")]
    List(Directory),
    /// Read every file of a backup and check all of it
    #[command(
        after_help = "Exit code 1 if a file is missing, damaged or another one.\n\nExample:\n  meridian backup verify /backups/main"
    )]
    Verify(Directory),
}

/// A backup's directory.
#[derive(Debug, Args)]
struct Directory {
    /// The backup's directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    match (&options.verb, &options.dataset, &options.directory) {
        (Some(Verb::List(at)), ..) => show::list(&at.directory, format),
        (Some(Verb::Verify(at)), ..) => show::verify(&at.directory, format),
        (None, Some(dataset), Some(directory)) => {
            let api = options.target.one()?;
            fetch::run(&api, dataset, directory, options.full, format)
        }
        _ => Err(CliError::usage("a dataset and a directory are needed")),
    }
}

/// What went wrong with a backup, for a person.
pub fn failed(error: &BackupError) -> CliError {
    let hint = match error {
        BackupError::NoBackup { .. } => "`meridian backup --dataset NAME DIR` makes one",
        BackupError::OtherDataset { .. } => "give each dataset a directory of its own",
        BackupError::Damaged { .. } | BackupError::Other { .. } => {
            "restore the file from another copy of the backup; to go on from here, take a new \
             snapshot with --full into another directory"
        }
        BackupError::Manifest { .. } | BackupError::Format { .. } => {
            "use the build that wrote it, or another copy of the backup"
        }
        BackupError::InUse { .. } => "wait until it has ended, and run it again",
        BackupError::File { .. } => "check the path, the permissions and the room on the disk",
        BackupError::Reply(_) | BackupError::AnotherLog => {
            "run it again; with --full it begins anew"
        }
    };
    CliError::failure("the backup").because(error).hint(hint)
}
