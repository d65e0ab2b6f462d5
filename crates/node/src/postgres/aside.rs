//! Dirty rows that are too many for memory: their keys, in a file for each table.
//!
//! A row may be in it more than once. The files have no names, and go with the process: after a start
//! the rows are found again in the log.

use super::beside::in_place;
use super::trouble::Trouble;
use super::unwritable;
use crate::dataset::{TablesSnapshot, describe};
use meridian_engine_postgres::apply::{Chunk, Source};
use meridian_model::RowName;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that go to the server at once.
const CHUNK_ROWS: usize = 5_000;
/// … or fewer, where their documents take more than this.
const CHUNK_BYTES: usize = 4 << 20;

/// The keys, by table.
pub(super) struct RowsAside {
    directory: PathBuf,
    tables: BTreeMap<String, Keys>,
    rows: u64,
}

struct Keys {
    file: Arc<File>,
    writer: BufWriter<File>,
    bytes: u64,
    /// Up to here they are written into the server's open transaction.
    written: u64,
}

impl RowsAside {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            tables: BTreeMap::new(),
            rows: 0,
        }
    }

    /// How many rows are named.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether some are not written into the open transaction yet.
    pub(super) fn has_more(&self) -> bool {
        self.tables.values().any(|keys| keys.written < keys.bytes)
    }

    pub(super) fn put(&mut self, row: RowName) -> Result<(), Trouble> {
        let keys = match self.tables.entry(row.table) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let keys = Keys::new(&self.directory).map_err(|error| unwritable(&error))?;
                entry.insert(keys)
            }
        };
        keys.put(&row.key).map_err(|error| unwritable(&error))?;
        self.rows += 1;
        Ok(())
    }

    /// What is not written yet, as `shown` has it.
    pub(super) fn rest(&mut self, shown: TablesSnapshot) -> Result<Rest, Trouble> {
        let mut tables = BTreeMap::new();
        for (name, keys) in &mut self.tables {
            keys.writer.flush().map_err(|error| unwritable(&error))?;
            let range = (keys.written, keys.bytes);
            tables.insert(name.clone(), Reading::new(&keys.file, range));
        }
        Ok(Rest { tables, shown })
    }

    /// That is written into the open transaction.
    pub(super) fn written(&mut self, rest: &Rest) {
        for (name, reading) in &rest.tables {
            if let Some(keys) = self.tables.get_mut(name) {
                keys.written = reading.range.1;
            }
        }
    }

    /// The transaction is gone: all is to be written again.
    pub(super) fn nothing_written(&mut self) {
        for keys in self.tables.values_mut() {
            keys.written = 0;
        }
    }

    /// The transaction is committed.
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.rows = 0;
    }

    /// All rows, into memory.
    pub(super) fn take(&mut self) -> Result<Vec<RowName>, Trouble> {
        let mut rows = Vec::new();
        for (name, keys) in &mut self.tables {
            keys.writer.flush().map_err(|error| unwritable(&error))?;
            let mut reading = Reading::new(&keys.file, (0, keys.bytes));
            while let Some(key) = reading.key().map_err(|error| unwritable(&error))? {
                let table = name.clone();
                rows.push(RowName { table, key });
            }
        }
        self.clear();
        Ok(rows)
    }
}

impl Keys {
    fn new(directory: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 16, file.try_clone()?),
            file: Arc::new(file),
            bytes: 0,
            written: 0,
        })
    }

    fn put(&mut self, key: &str) -> io::Result<()> {
        let length = u32::try_from(key.len()).map_err(io::Error::other)?;
        self.writer.write_all(&length.to_le_bytes())?;
        self.writer.write_all(key.as_bytes())?;
        self.bytes += 4 + u64::from(length);
        Ok(())
    }
}

/// Rows to be written into the server.
pub(super) struct Rest {
    tables: BTreeMap<String, Reading>,
    shown: TablesSnapshot,
}

/// A range of a file of keys.
struct Reading {
    file: Arc<File>,
    range: (u64, u64),
    reader: BufReader<At>,
    left: u64,
}

struct At {
    file: Arc<File>,
    position: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Reading {
    fn new(file: &Arc<File>, range: (u64, u64)) -> Self {
        let at = At {
            file: file.clone(),
            position: range.0,
        };
        Self {
            file: file.clone(),
            range,
            reader: BufReader::with_capacity(1 << 16, at),
            left: range.1 - range.0,
        }
    }

    fn begin_anew(&mut self) {
        *self = Self::new(&self.file.clone(), self.range);
    }

    fn key(&mut self) -> io::Result<Option<String>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        let mut key = vec![0; length as usize];
        self.reader.read_exact(&mut key)?;
        self.left = self.left.saturating_sub(4 + u64::from(length));
        let key = String::from_utf8(key).map_err(io::Error::other)?;
        Ok(Some(key))
    }
}

impl Source for Rest {
    /// Where few of very many rows come, all the others are looked at for them.
    fn next(&mut self, table: &str, comes: bool) -> Result<Chunk, String> {
        in_place(true, || self.chunk(table, comes))
    }
}

impl Rest {
    fn chunk(&mut self, table: &str, comes: bool) -> Result<Chunk, String> {
        let Some(reading) = self.tables.get_mut(table) else {
            return Ok(Chunk::new());
        };
        // In the order of the keys, and each once.
        let mut chunk = BTreeMap::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(key) = reading.key().map_err(|error| describe(&error))? else {
                break;
            };
            let shown = self.shown.get(table, &key);
            let shown = shown.map_err(|error| describe(&error))?;
            let document = shown.map(|row| row.document);
            if document.is_some() == comes {
                bytes += document.as_ref().map_or(0, String::len);
                chunk.insert(key, document);
            }
        }
        if chunk.is_empty() {
            reading.begin_anew();
        }
        let rows = chunk.into_iter().map(|(key, document)| {
            let table = table.to_owned();
            (RowName { table, key }, document)
        });
        Ok(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(reading: &mut Reading) -> Vec<String> {
        std::iter::from_fn(|| reading.key().unwrap()).collect()
    }

    #[test]
    fn what_was_put_is_read_again_from_where_it_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut aside = RowsAside::new(directory.path());
        let row = |table: &str, key: &str| RowName {
            table: table.into(),
            key: key.into(),
        };
        for key in ["b", "", "a"] {
            aside.put(row("t", key)).unwrap();
        }
        aside.put(row("u", "z")).unwrap();
        assert!(aside.has_more());
        let kept = aside.tables.get_mut("t").unwrap();
        kept.writer.flush().unwrap();
        let mut reading = Reading::new(&kept.file, (0, kept.bytes));
        assert_eq!(keys(&mut reading), ["b", "", "a"]);
        reading.begin_anew();
        assert_eq!(keys(&mut reading).len(), 3);
        kept.written = kept.bytes;
        aside.put(row("t", "c")).unwrap();
        let kept = aside.tables.get_mut("t").unwrap();
        kept.writer.flush().unwrap();
        let mut rest = Reading::new(&kept.file, (kept.written, kept.bytes));
        assert_eq!(keys(&mut rest), ["c"]);
        aside.nothing_written();
        assert_eq!(aside.rows(), 5);
        let all = aside.take().unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.contains(&row("u", "z")) && !aside.has_more() && aside.rows() == 0);
    }
}
