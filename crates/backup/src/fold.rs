//! The tables as they were at a moment, made anew from a backup: the same import and the same laws
//! that a region runs.

use crate::block::Content;
use crate::manifest::{Coverage, FileRecord};
use crate::set::{BackupError, BackupSet};
use meridian_engine_kv::{Import, Limits, Store, TableReader, Tables, TablesError};
use meridian_model::{Body, Decision, DecodeError, Entry, Marks, Micros, Position};
use meridian_replicate::{Applying, Engine as _, EngineError};

/// Entries that are committed to the tables in one step.
const COMMIT_ENTRIES: usize = 1000;

/// The tables can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The moment isn't covered.
    #[error("the backup doesn't cover that time; it covers {}", spans(coverage))]
    NotCovered {
        /// What is covered.
        coverage: Vec<Coverage>,
    },
    /// The backup can't be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The tables can't be written, or the snapshot doesn't fit.
    #[error("the tables of the backup can't be made")]
    Tables(#[from] TablesError),
    /// An entry can't be applied.
    #[error("an entry of the backup can't be applied")]
    Apply(#[from] EngineError),
    /// An entry can't be read.
    #[error("an entry of the backup can't be read")]
    Entry(#[from] DecodeError),
    /// The chain doesn't begin with a whole snapshot.
    #[error("the backup file {name} has no end")]
    NoEnd {
        /// The file.
        name: String,
    },
}

fn spans(coverage: &[Coverage]) -> String {
    if coverage.is_empty() {
        return "nothing yet".to_owned();
    }
    let spans: Vec<String> = coverage.iter().map(ToString::to_string).collect();
    spans.join(", and ")
}

/// The tables of a moment.
#[derive(Debug)]
pub struct Folded<S> {
    /// Their rows.
    pub tables: TableReader<S>,
    /// Records of the snapshot.
    pub records: u64,
    /// Entries that were applied on top.
    pub entries: u64,
}

/// Makes the tables as of `at` in an empty store. Every file of the chain is verified, also what
/// is after the moment.
///
/// # Errors
/// [`FoldError`].
pub fn fold<S: Store>(set: &BackupSet, at: Micros, store: S) -> Result<Folded<S>, FoldError> {
    let Some([snapshot, files @ ..]) = set.manifest().chain_at(at) else {
        let coverage = set.manifest().coverage();
        return Err(FoldError::NotCovered { coverage });
    };
    let mut folding = Folding {
        marks: Marks::default(),
        entries: 0,
        at,
    };
    let (mut tables, records) = folding.import(set, snapshot, store)?;
    for file in files {
        folding.apply_file(set, file, &mut tables)?;
    }
    let position = tables.position();
    tables.commit(position, None)?;
    Ok(Folded {
        tables: tables.reader(),
        records,
        entries: folding.entries,
    })
}

struct Folding {
    marks: Marks,
    entries: u64,
    at: Micros,
}

impl Folding {
    fn import<S: Store>(
        &mut self,
        set: &BackupSet,
        file: &FileRecord,
        store: S,
    ) -> Result<(Tables<S>, u64), FoldError> {
        let mut import = Import::begin(store.clone())?;
        let mut head = None;
        let mut failed = None;
        set.read(file, |block| {
            if let Content::Snapshot(part) = block.content {
                if let Err(error) = import.take(&part.records) {
                    failed.get_or_insert(error);
                }
                head = part.head;
            }
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let head = head.ok_or_else(|| FoldError::NoEnd {
            name: file.name.clone(),
        })?;
        self.marks = head.marks;
        let records = import.records();
        import.finish(head.position, &head.road)?;
        Ok((Tables::open(store, Limits::default())?, records))
    }

    fn apply_file<S: Store>(
        &mut self,
        set: &BackupSet,
        file: &FileRecord,
        tables: &mut Tables<S>,
    ) -> Result<(), FoldError> {
        let mut failed = None;
        set.read(file, |block| {
            let Content::Entries { first, entries, .. } = &block.content else {
                return Ok(());
            };
            if failed.is_none() {
                failed = self.apply(*first, entries, tables).err();
            }
            set.follow(file, &mut self.marks, block)
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn apply<S: Store>(
        &mut self,
        first: Position,
        entries: &[Entry],
        tables: &mut Tables<S>,
    ) -> Result<(), FoldError> {
        let mut position = first;
        for entry in entries {
            if entry.hlc.time() <= self.at {
                self.follow(position, entry, tables)?;
            }
            position = position.next();
            if position.0.is_multiple_of(COMMIT_ENTRIES as u64) {
                tables.commit(position, None)?;
            }
        }
        tables.commit(position, None)?;
        Ok(())
    }

    /// Does what a replica does with an entry, as far as tables are concerned.
    fn follow<S: Store>(
        &mut self,
        position: Position,
        entry: &Entry,
        tables: &mut Tables<S>,
    ) -> Result<(), FoldError> {
        let body = Body::decode(&entry.body)?;
        if let Body::Decision(Decision { letter, .. }) = &body {
            tables.settle(*letter)?;
        }
        let Some(transaction) = body.transaction() else {
            return Ok(());
        };
        let applying = Applying {
            position,
            version: entry.version(),
            transaction,
            captured: body.captured(),
            now: entry.hlc.time(),
        };
        match tables.objection(transaction) {
            Some(reason) => tables.set_aside(&applying, &reason)?,
            None => tables.apply(&applying)?,
        }
        self.entries += 1;
        Ok(())
    }
}
