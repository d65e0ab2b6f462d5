//! Where words go: the report to stdout, talk to stderr.

use anyhow::{Context, Result};
use clap::ValueEnum;
use meridian_bench::machine::Machine;
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Output {
    /// Prints a report.
    pub fn print<R: Serialize + Display>(self, report: &R) -> Result<()> {
        let text = match self {
            Self::Table => report.to_string(),
            Self::Json => {
                serde_json::to_string_pretty(report).context("write the report as JSON")?
            }
        };
        writeln!(std::io::stdout(), "{}", text.trim_end()).context("print the report")
    }
}

/// Says what is going on.
pub fn talk(text: &str) {
    // Nobody listens any more if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A directory for a benchmark's data, removed when dropped, and the machine as measured there.
pub fn workplace(parent: &Path) -> Result<(TempDir, Machine)> {
    std::fs::create_dir_all(parent)
        .with_context(|| format!("create the data's parent directory {}", parent.display()))?;
    let directory = tempfile::Builder::new()
        .prefix("meridian-bench-")
        .tempdir_in(parent)
        .with_context(|| format!("create a directory under {}", parent.display()))?;
    let machine = Machine::describe(directory.path()).context("describe the machine")?;
    if machine.data_is_in_memory() {
        talk(&format!(
            "warning: {} is in memory, so no write is durable and the figures mean little\n\nhint: name a directory on a disk with --data-parent",
            parent.display()
        ));
    }
    Ok((directory, machine))
}

/// The same, where PostgreSQL servers have their data: they may run as another user, who must get in.
pub fn workplace_of_servers(parent: &Path) -> Result<(TempDir, Machine)> {
    let (directory, machine) = workplace(parent)?;
    open_to_servers(directory.path())?;
    Ok((directory, machine))
}

fn open_to_servers(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(directory, permissions)
        .with_context(|| format!("let servers into {}", directory.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A directory that servers get into.
    pub fn directory_for_servers() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        open_to_servers(directory.path()).unwrap();
        directory
    }
}
