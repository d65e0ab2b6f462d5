//! What a dataset's directory is: a witness's or not, of embedded tables or of a PostgreSQL server's.
//! Decided when it begins, and for good.
//!
//! A witness's directory has a log, and a store without rows that stands at the log's end. Opened
//! as tables it would show a dataset in which every row is missing, and have its peers wonder which
//! of them is right; the other way round, tables would silently fall behind. Embedded tables whose
//! dataset is put on PostgreSQL could be reached by nobody, and would be projected into a server that
//! knows nothing of them. So a mark in the directory, durable before anything else is there, says
//! which it is, and a directory that is not what the topology says isn't opened.

use super::open::{DatasetConfig, OpenDatasetError, create};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const WITNESS: &str = "witness";
const POSTGRES: &str = "postgres";
/// What is there once a dataset has begun.
const BEGUN: [&str; 2] = ["tables", "log"];

/// Marks a directory that has not begun; of one that has, checks that it is what it is to be.
pub(super) fn settle(config: &DatasetConfig) -> Result<(), OpenDatasetError> {
    let directory = &config.directory;
    let is_witness = config.replica.witnesses.contains(&config.replica.region);
    mark(directory, WITNESS, is_witness, |path, was_witness| {
        OpenDatasetError::Role { path, was_witness }
    })?;
    // A witness has no rows, and it is the same to it where others keep theirs.
    if is_witness || was_on_postgres_unmarked(config) {
        return Ok(());
    }
    let is_on_postgres = config.postgres.is_some();
    mark(
        directory,
        POSTGRES,
        is_on_postgres,
        |path, was_on_postgres| OpenDatasetError::Engine {
            path,
            was_on_postgres,
        },
    )
}

/// Whether a region's data directory holds a dataset's rows for a PostgreSQL server (`true`) or as
/// embedded tables (`false`); `None` where the dataset has not begun in it, or only as a witness's.
#[must_use]
pub fn is_on_postgres(data_dir: &Path, dataset: &str) -> Option<bool> {
    let directory = data_dir.join("datasets").join(dataset);
    if !has_begun(&directory) || directory.join(WITNESS).exists() {
        return None;
    }
    Some(directory.join(POSTGRES).exists() || data_dir.join("postgres").join(dataset).exists())
}

/// Before there was the mark, what belongs to the server was beside the dataset all the same.
fn was_on_postgres_unmarked(config: &DatasetConfig) -> bool {
    let beside = config.postgres.as_ref().map(|it| &it.directory);
    has_begun(&config.directory) && beside.is_some_and(|beside| beside.exists())
}

fn has_begun(directory: &Path) -> bool {
    BEGUN.iter().any(|part| directory.join(part).exists())
}

fn mark(
    directory: &Path,
    name: &str,
    is_so: bool,
    refuse: impl Fn(PathBuf, bool) -> OpenDatasetError,
) -> Result<(), OpenDatasetError> {
    let mark = directory.join(name);
    let was_so = mark.exists();
    if was_so == is_so {
        return Ok(());
    }
    let path = directory.to_owned();
    if has_begun(directory) {
        return Err(refuse(path, was_so));
    }
    create(directory)?;
    let changed = if is_so {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(path: PathBuf, was_on_postgres: bool) -> OpenDatasetError {
        OpenDatasetError::Engine {
            path,
            was_on_postgres,
        }
    }

    #[test]
    fn a_directory_that_has_begun_keeps_its_engine() {
        for was in [false, true] {
            let data_dir = tempfile::tempdir().unwrap();
            let directory = data_dir.path().join("datasets/main");
            // Until it has begun it may still be either.
            mark(&directory, POSTGRES, !was, engine).unwrap();
            mark(&directory, POSTGRES, was, engine).unwrap();
            assert_eq!(is_on_postgres(data_dir.path(), "main"), None);
            fs::create_dir_all(directory.join("tables")).unwrap();
            assert_eq!(is_on_postgres(data_dir.path(), "main"), Some(was));
            mark(&directory, POSTGRES, was, engine).unwrap();
            let error = mark(&directory, POSTGRES, !was, engine).unwrap_err();
            let back = if was { "\"postgres\"" } else { "\"embedded\"" };
            let text = error.to_string();
            assert!(
                text.contains(&format!("put `engine = {back}` back")),
                "{text}"
            );
        }
    }
}
