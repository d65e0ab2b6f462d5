//! The tables of one dataset: staging the effects of transactions, committing them with the log
//! position.

use crate::collect::Collector;
use crate::keys::{self, Collectable};
use crate::overlay::Overlay;
use crate::snapshot::{self, TablesView};
use crate::{ConflictCounts, Limits, Store, TableReader, TablesError, Writes, value};
use meridian_merge::{Base, KeptIncrement, Overtaken, Row, Seen, merge_increment, merge_write};
use meridian_model::{
    Change, Conflict, ConflictKind, ConflictingWrite, IdempotencyKey, Micros, Operation, Position,
    Vector, Version,
};
use meridian_replicate::{Applying, Engine, EngineError, ROAD_FORMAT_1};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// The format of the records in the store, as a whole.
const FORMAT: u32 = 2;
/// The oldest format that is taken over.
const FORMAT_MIN: u32 = 1;

/// What is remembered of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Idempotent {
    pub(crate) fingerprint: u64,
    pub(crate) version: Version,
}

/// The embedded tables; an [`Engine`].
///
/// After an error from [`Engine::commit`] the tables must be opened anew: the log has what they
/// miss.
#[derive(Debug)]
pub struct Tables<S: Store> {
    pub(crate) store: S,
    pub(crate) limits: Limits,
    pub(crate) staged: Overlay,
    pub(crate) collector: Collector,
    /// With what is staged.
    pub(crate) conflicts: ConflictCounts,
    committed_conflicts: ConflictCounts,
    position: Position,
    road: Option<Vec<u8>>,
    /// Set while a transaction is staged in part; a commit would tear it.
    torn: bool,
}

impl<S: Store> Tables<S> {
    /// Opens the tables in a store, which may be empty.
    ///
    /// # Errors
    /// [`TablesError`] when the store can't be read or holds a format that this build doesn't
    /// know.
    pub fn open(store: S, limits: Limits) -> Result<Self, TablesError> {
        if store.get(keys::UNFINISHED)?.is_some() {
            return Err(TablesError::Unfinished);
        }
        let found: Option<u32> = meta(&store, keys::FORMAT)?;
        match found {
            Some(FORMAT) => {}
            Some(FORMAT_MIN) => migrate(&store)?,
            Some(found) => {
                return Err(TablesError::UnknownFormat {
                    found,
                    known: FORMAT,
                });
            }
            None => store.commit([format_record()].into_iter().collect())?,
        }
        let conflicts = meta(&store, keys::CONFLICT_COUNTS)?.unwrap_or_default();
        Ok(Self {
            position: meta(&store, keys::APPLIED)?.unwrap_or_default(),
            road: meta(&store, keys::ROAD)?,
            store,
            limits,
            staged: Overlay::default(),
            collector: Collector::default(),
            conflicts,
            committed_conflicts: conflicts,
            torn: false,
        })
    }

    /// A reader of the committed state, for any thread.
    #[must_use]
    pub fn reader(&self) -> TableReader<S> {
        TableReader::new(self.store.clone())
    }

    pub(crate) fn row(&self, table: &str, key: &str) -> Result<Option<Row>, TablesError> {
        let at = keys::row(table, key);
        self.staged
            .get(&self.store, &at, |bytes| value::decode(bytes, "row", &at))
    }

    pub(crate) fn idempotent(&self, key: &str) -> Result<Option<Idempotent>, TablesError> {
        let at = keys::idempotency(key);
        self.staged.get(&self.store, &at, |bytes| {
            value::decode(bytes, "idempotency key", &at)
        })
    }

    fn stage(&mut self, applying: &Applying<'_>) -> Result<(), TablesError> {
        for (index, change) in applying.transaction.changes.iter().enumerate() {
            check_storable(change)?;
            match &change.operation {
                Operation::Put { document } => {
                    self.stage_write(applying, index, change, Some(document.clone()))?;
                }
                Operation::Delete => self.stage_write(applying, index, change, None)?,
                Operation::Increment { by } => self.stage_increment(applying, change, by)?,
            }
        }
        match &applying.transaction.idempotency {
            Some(key) => self.stage_idempotency(applying.version, key),
            None => Ok(()),
        }
    }

    fn stage_write(
        &mut self,
        applying: &Applying<'_>,
        index: usize,
        change: &Change,
        document: Option<String>,
    ) -> Result<(), TablesError> {
        let Change { table, key, .. } = change;
        let version = applying.version;
        let is_delete = document.is_none();
        let seen = Seen {
            version,
            dependencies: &applying.transaction.dependencies,
        };
        let row = self.row(table, key)?;
        let mut none_kept = false;
        let mut merged = merge_write(row, Base { version, document }, seen, || {
            let kept = self.kept(table, key)?;
            none_kept = kept.is_empty();
            Ok::<_, TablesError>(kept)
        })?;
        if none_kept {
            // The sums were reckoned from none: later writes needn't look for any.
            merged.row.counted = false;
        }
        if is_delete && merged.won && merged.row.is_tombstone() {
            let due = keys::due(version, Collectable::Tombstone, table, key);
            self.staged.put(due, Vec::new());
        }
        if let Some(overtaken) = merged.conflict {
            self.stage_conflict(applying, index, change, overtaken);
        }
        self.stage_row(table, key, &merged.row);
        Ok(())
    }

    fn stage_increment(
        &mut self,
        applying: &Applying<'_>,
        change: &Change,
        by: &[(String, i64)],
    ) -> Result<(), TablesError> {
        let Change { table, key, .. } = change;
        let version = applying.version;
        let increment = KeptIncrement {
            version,
            by: by.to_vec(),
        };
        let row = merge_increment(self.row(table, key)?, &increment);
        self.stage_row(table, key, &row);
        let at = keys::kept(table, key, version);
        let record = value::encode(&at, &increment);
        self.staged.put(at, record);
        let due = keys::due(version, Collectable::Increment, table, key);
        self.staged.put(due, Vec::new());
        Ok(())
    }

    fn stage_row(&mut self, table: &str, key: &str, row: &Row) {
        let at = keys::row(table, key);
        let record = value::encode(&at, row);
        self.staged.put(at, record);
    }

    fn stage_conflict(
        &mut self,
        applying: &Applying<'_>,
        index: usize,
        change: &Change,
        Overtaken { winner, loser }: Overtaken,
    ) {
        let side = |base: Base| ConflictingWrite {
            version: base.version,
            document: base.document,
        };
        let conflict = Conflict {
            table: change.table.clone(),
            key: change.key.clone(),
            kind: ConflictKind::of(winner.document.as_deref(), loser.document.as_deref()),
            winner: side(winner),
            loser: side(loser),
            resolved_at: applying.now,
        };
        let index = u32::try_from(index).expect("an entry has fewer changes than bytes");
        let at = keys::conflict(applying.position, index);
        let record = value::encode(&at, &conflict);
        self.staged.put(at, record);
        self.conflicts.total += 1;
        self.conflicts.kept += 1;
    }

    fn stage_idempotency(
        &mut self,
        version: Version,
        key: &IdempotencyKey,
    ) -> Result<(), TablesError> {
        let IdempotencyKey { key, fingerprint } = key;
        // Two regions may have taken the same key at once; all of them remember the later one.
        let known = self.idempotent(key)?;
        if known.is_some_and(|known| known.version > version) {
            return Ok(());
        }
        let fingerprint = *fingerprint;
        let record = Idempotent {
            fingerprint,
            version,
        };
        let at = keys::idempotency(key);
        let record = value::encode(&at, &record);
        self.staged.put(at, record);
        self.staged.put(keys::expiry(version.hlc, key), Vec::new());
        self.collector.note_expiry(version.hlc);
        Ok(())
    }

    fn kept(&self, table: &str, key: &str) -> Result<Vec<KeptIncrement>, TablesError> {
        let mut kept = Vec::new();
        let mut damaged = None;
        self.staged
            .scan(&self.store, &keys::kept_of(table, key), |at, bytes| {
                match value::decode(bytes, "increment", at) {
                    Ok(increment) => kept.push(increment),
                    Err(error) => damaged = Some(error),
                }
                ControlFlow::Continue(())
            })?;
        damaged.map_or(Ok(kept), Err)
    }

    fn commit_staged(
        &mut self,
        position: Position,
        road: Option<Vec<u8>>,
    ) -> Result<(), TablesError> {
        if self.torn {
            return Err(TablesError::Torn);
        }
        let mut writes = self.staged.take();
        let mut put = |key: &[u8], value| writes.insert(key.to_vec(), Some(value));
        put(keys::APPLIED, value::encode(keys::APPLIED, &position));
        if let Some(road) = &road {
            put(keys::ROAD, value::encode(keys::ROAD, road));
        }
        if self.conflicts != self.committed_conflicts {
            put(
                keys::CONFLICT_COUNTS,
                value::encode(keys::CONFLICT_COUNTS, &self.conflicts),
            );
        }
        debug_assert!(
            writes.keys().all(|key| snapshot::is_sorted_out(key)),
            "a kind of record that no snapshot knows"
        );
        self.store.commit(writes)?;
        self.position = position;
        self.road = road.or_else(|| self.road.take());
        self.committed_conflicts = self.conflicts;
        Ok(())
    }
}

impl<S: Store> Engine for Tables<S> {
    type View = TablesView<S::View>;

    fn view(&self) -> Self::View {
        self.committed_view()
    }

    fn apply(&mut self, applying: &Applying<'_>) -> Result<(), EngineError> {
        self.torn = true;
        self.stage(applying)
            .map_err(|error| error.during("apply a transaction to the tables"))?;
        self.torn = false;
        Ok(())
    }

    fn commit(&mut self, position: Position, road: Option<Vec<u8>>) -> Result<(), EngineError> {
        self.commit_staged(position, road)
            .map_err(|error| error.during("commit to the tables"))
    }

    fn discard(&mut self) {
        self.staged.clear();
        self.collector.restart();
        self.conflicts = self.committed_conflicts;
        self.torn = false;
    }

    fn collect(&mut self, stable: &Vector, now: Micros) -> Result<(), EngineError> {
        self.stage_collection(stable, now)
            .map_err(|error| error.during("collect the tables"))
    }

    fn persist(&mut self) -> Result<(), EngineError> {
        let persisted = self.store.persist().map_err(TablesError::from);
        persisted.map_err(|error| error.during("sync the tables"))
    }

    fn position(&self) -> Position {
        self.position
    }

    fn road(&self) -> Option<&[u8]> {
        self.road.as_deref()
    }
}

/// Refuses what has no place in the key space. What this region's clients send is within the
/// limits already; another region's limits may be wider.
fn check_storable(change: &Change) -> Result<(), TablesError> {
    let reason = if change.table.contains('\0') {
        "its name has a NUL"
    } else if change.table.len() + change.key.len() > keys::NAME_BYTES_MAX {
        "its name and the row's key are too long"
    } else {
        return Ok(());
    };
    Err(TablesError::Unstorable {
        table: change.table.clone(),
        reason,
    })
}

pub(crate) fn format_record() -> (Vec<u8>, Option<Vec<u8>>) {
    let record = value::encode(keys::FORMAT, &FORMAT);
    (keys::FORMAT.to_vec(), Some(record))
}

/// Takes over tables of format 1. Their records stay as they are, since each says its own format;
/// the road's state gets the version byte that it lacked. From here on earlier releases refuse
/// these tables.
fn migrate<S: Store>(store: &S) -> Result<(), TablesError> {
    let mut writes: Writes = [format_record()].into_iter().collect();
    let road: Option<Vec<u8>> = meta(store, keys::ROAD)?;
    if let Some(road) = road {
        let versioned = [&[ROAD_FORMAT_1][..], &road].concat();
        let record = value::encode(keys::ROAD, &versioned);
        writes.insert(keys::ROAD.to_vec(), Some(record));
    }
    store.commit(writes)?;
    Ok(store.persist()?)
}

fn meta<S: Store, T: for<'a> Deserialize<'a>>(
    store: &S,
    key: &[u8],
) -> Result<Option<T>, TablesError> {
    let bytes = store.get(key)?;
    let decode = |bytes| value::decode(bytes, "meta", key);
    bytes.as_ref().map(AsRef::as_ref).map(decode).transpose()
}
