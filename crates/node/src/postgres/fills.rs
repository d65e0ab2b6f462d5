//! Where tables were filled ([`fills`](meridian_engine_postgres::meeting::fills)), kept in a file.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::meeting::fills::Fills;
use meridian_model::{OriginId, Position};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "fills.json";

/// What is kept.
///
/// # Errors
/// [`Trouble`] when it can't be read.
pub(super) fn read(directory: &Path) -> Result<Fills, Trouble> {
    let path = directory.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("{} can't be read: {error}", path.display());
            Trouble::lasting(reason, "is the disk sound?")
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Fills::default()),
        Err(error) => Err(unwritable(&error)),
    }
}

/// These tables are filled with what is given from behind `at`. To be kept before they are.
///
/// # Errors
/// [`Trouble`] when that can't be kept.
pub(super) fn note(
    directory: &Path,
    tables: BTreeSet<String>,
    at: (OriginId, Position),
) -> Result<(), Trouble> {
    if tables.is_empty() {
        return Ok(());
    }
    let mut fills = read(directory)?;
    fills.note(tables, at);
    let bytes = serde_json::to_vec(&fills).expect("names and numbers are JSON");
    durable::replace(&directory.join(FILE), &bytes).map_err(|error| unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fill_of_each_table_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let note = |tables: &[&str], from| {
            let tables = tables.iter().map(|table| (*table).to_owned()).collect();
            note(directory, tables, (OriginId(1), Position(from))).unwrap();
        };
        assert_eq!(read(directory).unwrap(), Fills::default());
        note(&["a", "b"], 3);
        note(&["b"], 7);
        note(&[], 9);
        let kept = serde_json::json!({ "a": [1, 3], "b": [1, 7] });
        let kept: Fills = serde_json::from_value(kept).unwrap();
        assert_eq!(read(directory).unwrap(), kept);
    }
}
