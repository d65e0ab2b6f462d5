//! The state file: how far an import came, for the next run of the same command.

use super::options::Options;
use super::source::Place;
use crate::error::{CliError, CliResult};
use crate::system::replace;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use xxhash_rust::xxh3::xxh3_128;

/// What the state file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Which file with which options into which region.
    fingerprint: String,
    /// A random id, new whenever an import begins at the file's first row.
    run: String,
    /// How far everything is acknowledged; none is the first row.
    acknowledged: Option<Place>,
}

/// An import's state on disk.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: State,
}

impl Checkpoint {
    /// Takes up what an earlier run left, or begins a new one.
    pub fn open(options: &Options, url: &str) -> CliResult<Self> {
        let path = options.state_path();
        let fingerprint = fingerprint(options, url)?;
        let found = if options.restart { None } else { read(&path)? };
        match found {
            Some(state) if state.fingerprint == fingerprint => Ok(Self { path, state }),
            Some(_) => Err(CliError::usage(format!(
                "{} is of another import: the file has changed since, or the options or the region are others",
                path.display()
            ))
            .hint("run that import's command to continue it, or begin anew with --restart")),
            None => {
                let run = format!("{:016x}", fastrand::u64(..));
                let state = State {
                    fingerprint,
                    run,
                    acknowledged: None,
                };
                let checkpoint = Self { path, state };
                // Before the first batch, so that a crash at once doesn't lose the run's id.
                checkpoint.write()?;
                Ok(checkpoint)
            }
        }
    }

    /// What tells this run's batches from all others'.
    pub fn identity(&self) -> String {
        format!("{}\n{}", self.state.fingerprint, self.state.run)
    }

    /// Where to go on; none is the first row.
    pub fn acknowledged(&self) -> Option<Place> {
        self.state.acknowledged
    }

    /// Everything up to `end` is acknowledged: durable when this returns.
    pub fn advance(&mut self, end: Place) -> CliResult {
        if self.state.acknowledged == Some(end) {
            return Ok(());
        }
        self.state.acknowledged = Some(end);
        self.write()
    }

    /// The import is done, or cannot go on with this file.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    fn write(&self) -> CliResult {
        let text = serde_json::to_vec(&self.state).map_err(io::Error::from);
        text.and_then(|text| replace(&self.path, &text))
            .map_err(|error| {
                CliError::failure(format!(
                    "write the import's state to {}",
                    self.path.display()
                ))
                .because(&error)
                .hint("name another place with --state FILE")
            })
    }
}

fn read(path: &Path) -> CliResult<Option<State>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(CliError::failure(format!(
                "read the import's state in {}",
                path.display()
            ))
            .because(&error));
        }
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        CliError::usage(format!("{} is no state of an import", path.display()))
            .because(&error)
            .hint("name another file with --state FILE, or begin anew with --restart")
    })
}

/// What the import is: the file by its path, size and time of change, the options, the region.
fn fingerprint(options: &Options, url: &str) -> CliResult<String> {
    let file = &options.file;
    let failed =
        |error: io::Error| CliError::usage(format!("look at {}", file.display())).because(&error);
    let path = fs::canonicalize(file).map_err(failed)?;
    let metadata = fs::metadata(&path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(CliError::usage(format!("{} is not a file", file.display()))
            .hint("an import that can be resumed needs a file that can be read again"));
    }
    let changed = metadata.modified().map_err(failed)?;
    let changed = changed
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let meaning = format!(
        "{}\n{}\n{changed}\n{}",
        path.display(),
        metadata.len(),
        options.meaning(url)
    );
    Ok(format!("{:032x}", xxh3_128(meaning.as_bytes())))
}
