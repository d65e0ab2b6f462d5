//! Which tables' rows the dataset has taken over: whatever else is in them came through the stream.

use super::schema::Schema;
use super::trouble::Trouble;
use super::unwritable;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The tables whose rows were taken over, kept in a file.
pub(super) struct Taken {
    path: PathBuf,
    tables: BTreeSet<String>,
}

impl Taken {
    pub(super) fn read(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join("tables.json");
        let tables = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let reason = format!("{} can't be read: {error}", path.display());
                Trouble::lasting(reason, "is the disk sound?")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(Self { path, tables })
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
        let now: BTreeSet<String> = now.collect();
        if now == self.tables {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&now).expect("texts are JSON");
        let beside = self.path.with_extension("new");
        let written = fs::write(&beside, bytes)
            .and_then(|()| fs::File::open(&beside)?.sync_all())
            .and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| unwritable(&error))?;
        self.tables = now;
        Ok(())
    }
}
