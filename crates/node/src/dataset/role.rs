//! Whether a dataset's directory is a witness's: decided when it begins, and for good.
//!
//! A witness's directory has a log, and a store without rows that stands at the log's end. Opened
//! as tables it would show a dataset in which every row is missing, and have its peers wonder which
//! of them is right; the other way round, tables would silently fall behind. So a mark in the
//! directory, durable before anything else is there, says which it is, and a directory that is not
//! what the topology says isn't opened.

use super::open::{DatasetConfig, OpenDatasetError, create};
use std::fs::{self, File};
use std::io;
use std::path::Path;

const MARK: &str = "witness";
/// What is there once a dataset has begun.
const BEGUN: [&str; 2] = ["tables", "log"];

/// Marks a directory that has not begun; of one that has, checks that it is what it is to be.
pub(super) fn settle(config: &DatasetConfig) -> Result<(), OpenDatasetError> {
    let directory = &config.directory;
    let is_witness = config.replica.witnesses.contains(&config.replica.region);
    let mark = directory.join(MARK);
    let was_witness = mark.exists();
    if was_witness == is_witness {
        return Ok(());
    }
    let path = directory.clone();
    if BEGUN.iter().any(|part| directory.join(part).exists()) {
        return Err(OpenDatasetError::Role { path, was_witness });
    }
    create(directory)?;
    let changed = if is_witness {
        File::create(&mark).and_then(|mark| mark.sync_all())
    } else {
        fs::remove_file(&mark)
    };
    changed
        .and_then(|()| sync(directory))
        .map_err(|source| OpenDatasetError::Directory { path, source })
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()?;
    // The directory itself may be new.
    directory
        .parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
