//! `meridian restore`: makes rows what they were at a time that a backup covers, by ordinary writes.
//!
//! Nothing is rewound: sequences and versions go on, and every other region gets the writes by its
//! streams. Each write demands that the row is still as it was when it was compared, so that a
//! write of somebody else in between stays and is reported.

mod compare;
mod write;

use crate::backup::failed;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format, thousands};
use crate::target::Target;
use clap::Args;
use compare::{Comparison, Difference};
use meridian_backup::{BackupSet, FoldError, fold, format_time, parse_time};
use meridian_engine_kv::FjallStore;
use meridian_topology::TablePattern;
use serde_json::json;
use std::path::{Path, PathBuf};
use write::{Outcome, write_all};

/// `meridian restore`
#[derive(Debug, Args)]
#[command(
    after_help = "Compares the rows of the backup's dataset with those of one region, and writes what differs: rows that are gone or changed are put back, rows that came later are deleted. A row that changes while this runs is left as it is and listed; exit code 1 says that there were some. Writes made since TIME to other tables than those of --table stay. TIME can't be later than the last run of `meridian backup`: for what was there after that, run it once more.\n\nExamples:\n  meridian restore --from /backups/main --at 2026-03-01T12:00:00Z --dry-run\n  meridian restore --from /backups/main --at 2026-03-01T12:00:00Z --table 'orders*'"
)]
pub struct Options {
    /// The backup's directory
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    at: String,
    /// The dataset that the backup must be of
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Only the tables that match this name or prefix with *
    #[arg(long, value_name = "PATTERN")]
    table: Option<String>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let at = parse_time(&options.at).ok_or_else(|| {
        CliError::usage(format!("{:?} is not a time", options.at))
            .hint("write it as in RFC 3339, for example 2026-03-01T12:00:00Z")
    })?;
    let pattern = options.table.as_deref().map(TablePattern::new).transpose();
    let pattern = pattern.map_err(|error| CliError::usage("--table").because(&error))?;
    let set = BackupSet::open(&options.from).map_err(|error| failed(&error))?;
    let dataset = set.manifest().dataset.clone();
    if let Some(wanted) = options
        .dataset
        .as_ref()
        .filter(|wanted| **wanted != dataset)
    {
        return Err(CliError::usage(format!(
            "the backup is of dataset {dataset}, not of {wanted}"
        )));
    }
    let api = options.target.one()?;
    let scratch = Scratch::beside(&options.from)?;
    output::talk(&format!("making the tables as of {}", format_time(at)));
    let store = FjallStore::open(&scratch.0)
        .map_err(|error| CliError::failure("open temporary tables").because(&error))?;
    let folded = fold(&set, at, store).map_err(|error| fold_failed(&error))?;
    output::talk(&format!(
        "{} records of the snapshot, {} transactions on top",
        thousands(folded.records),
        thousands(folded.entries)
    ));
    let comparison = Comparison {
        api: &api,
        then: &folded.tables,
        dataset: &dataset,
        pattern: pattern.as_ref(),
    };
    let outcome = if options.dry_run {
        let mut outcome = Outcome::default();
        comparison.each(|difference| {
            outcome.count(&difference);
            Ok(())
        })?;
        outcome
    } else {
        write_all(&api, &comparison)?
    };
    report(&outcome, options.dry_run, format)
}

fn report(outcome: &Outcome, dry_run: bool, format: Format) -> CliResult {
    match format {
        Format::Json => output::json(&json!({
            "dry_run": dry_run,
            "put": outcome.put,
            "deleted": outcome.deleted,
            "changed_meanwhile": outcome.changed.iter().map(|(table, key)| {
                json!({ "table": table, "key": key })
            }).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            let words = if dry_run { "would be" } else { "were" };
            output::line(&format!(
                "{} rows {words} put back, {} {words} deleted",
                thousands(outcome.put),
                thousands(outcome.deleted)
            ))?;
            for (table, key) in &outcome.changed {
                output::line(&format!("left: {table} {key:?} changed meanwhile"))?;
            }
        }
    }
    if outcome.changed.is_empty() {
        return Ok(());
    }
    let count = outcome.changed.len() as u64;
    let message = format!(
        "{} rows changed while this ran and were left",
        thousands(count)
    );
    Err(CliError::new(Exit::Failure, message)
        .hint("look at them, and run it again to restore them too"))
}

fn fold_failed(error: &FoldError) -> CliError {
    match error {
        FoldError::Backup(error) => failed(error),
        FoldError::NotCovered { .. } => CliError::usage(error.to_string())
            .hint("`meridian backup list DIR` shows what each file covers"),
        error => CliError::failure("the backup")
            .because(error)
            .hint("`meridian backup verify DIR` reads every file of it"),
    }
}

/// Differences are of rows: a table's name and a key.
impl Outcome {
    fn count(&mut self, difference: &Difference) {
        match difference.document {
            Some(_) => self.put += 1,
            None => self.deleted += 1,
        }
    }
}

/// A directory for temporary tables, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(backup: &Path) -> CliResult<Self> {
        let name = format!("restoring-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(format!("meridian-{name}"));
        std::fs::create_dir_all(&path).map_err(|error| {
            CliError::failure(format!(
                "make a directory for temporary tables in {}",
                path.display()
            ))
            .because(&error)
            .hint(format!(
                "TMPDIR says where; it needs about the room of {}",
                backup.display()
            ))
        })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in a directory of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
