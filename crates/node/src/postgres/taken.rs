//! Which tables' rows the dataset has taken over: whatever else is in them came through the stream.

use super::schema::Schema;
use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The tables whose rows were taken over, kept in a file.
pub(super) struct Taken {
    path: PathBuf,
    tables: BTreeSet<String>,
    /// Those that were taken over once, and left.
    left: BTreeSet<String>,
}

/// Where those are noted that left.
const LEFT: &str = "tables-left.json";

impl Taken {
    pub(super) fn read(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join("tables.json");
        Ok(Self {
            tables: read(&path)?,
            left: read(&directory.join(LEFT))?,
            path,
        })
    }

    /// Whether the table was taken over before, and is not now.
    pub(super) fn had(&self, table: &str) -> bool {
        self.left.contains(table) && !self.has(table)
    }

    pub(super) fn has(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// All tables of the schema are taken over.
    pub(super) fn note(&mut self, schema: &Schema) -> Result<(), Trouble> {
        let now = schema.parents_first().map(|table| table.name.to_string());
        self.set(now.collect())
    }

    /// None is any more: what is written to them from here on isn't told. They come back later.
    pub(super) fn leave(&mut self) -> Result<(), Trouble> {
        self.set(BTreeSet::new())
    }

    fn set(&mut self, now: BTreeSet<String>) -> Result<(), Trouble> {
        if now == self.tables {
            return Ok(());
        }
        let left: BTreeSet<String> = self.left.union(&self.tables).cloned().collect();
        let left = left.difference(&now).cloned().collect();
        // First: a crash in between leaves a table in both, which counts as taken over.
        write(&self.path.with_file_name(LEFT), &left)?;
        write(&self.path, &now)?;
        (self.tables, self.left) = (now, left);
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeSet<String>, Trouble> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("{} can't be read: {error}", path.display());
            Trouble::lasting(reason, "is the disk sound?")
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(unwritable(&error)),
    }
}

fn write(path: &Path, tables: &BTreeSet<String>) -> Result<(), Trouble> {
    let bytes = serde_json::to_vec(tables).expect("texts are JSON");
    durable::replace(path, &bytes).map_err(|error| unwritable(&error))
}
