//! The tables of one dataset: staging the effects of transactions, committing them with the log
//! position.

use crate::collect::Collector;
use crate::keys::{self, Collectable};
use crate::letters::{self, Letters};
use crate::mend::Taken;
use crate::overlay::Overlay;
use crate::snapshot::{self, TablesView};
use crate::{ConflictCounts, Limits, Store, Strategies, TableReader, TablesError, Writes, value};
use meridian_merge::{
    Base, KeptIncrement, Merged, PutKind, Row, Seen, merge_edit, merge_increment, merge_put,
    replaces_plain,
};
use meridian_model::{
    Change, Edit, IdempotencyKey, Micros, Operation, Position, Transaction, Vector, Version,
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
    pub(crate) strategies: Strategies,
    pub(crate) staged: Overlay,
    pub(crate) collector: Collector,
    pub(crate) taken: Taken,
    /// With what is staged.
    pub(crate) conflicts: ConflictCounts,
    committed_conflicts: ConflictCounts,
    /// Per origin its last transaction, with what is staged.
    seen: Vector,
    committed_seen: Vector,
    pub(crate) letters: Letters,
    pub(crate) position: Position,
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
        let seen: Vector = meta(&store, keys::SEEN)?.unwrap_or_default();
        let letters = Letters::with(meta(&store, keys::LETTER_COUNTS)?.unwrap_or_default());
        Ok(Self {
            position: meta(&store, keys::APPLIED)?.unwrap_or_default(),
            road: meta(&store, keys::ROAD)?,
            taken: Taken::open(&store)?,
            store,
            limits,
            strategies: Strategies::default(),
            staged: Overlay::default(),
            collector: Collector::default(),
            conflicts,
            committed_conflicts: conflicts,
            committed_seen: seen.clone(),
            seen,
            letters,
            torn: false,
        })
    }

    /// Sets the strategies that this region's clients' writes follow from here on. Nothing else
    /// changes: what is there, and what comes from elsewhere, has its kind already.
    pub fn set_strategies(&mut self, strategies: Strategies) {
        self.strategies = strategies;
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

    /// The same for a row that is written next.
    fn row_to_replace(&self, table: &str, key: &str) -> Result<Option<Row>, TablesError> {
        let at = keys::row(table, key);
        self.staged
            .get_to_replace(&self.store, &at, |bytes| value::decode(bytes, "row", &at))
    }

    pub(crate) fn idempotent(&self, key: &str) -> Result<Option<Idempotent>, TablesError> {
        let at = keys::idempotency(key);
        self.staged.get(&self.store, &at, |bytes| {
            value::decode(bytes, "idempotency key", &at)
        })
    }

    fn stage(&mut self, applying: &Applying<'_>) -> Result<(), TablesError> {
        let mut conflicts = 0;
        for (place, change) in applying.transaction.changes.iter().enumerate() {
            check_storable(change)?;
            if self.taken.includes(change, applying.version) {
                continue;
            }
            let unseen = self.overtaken_blindly(applying, place, change)?;
            let (last, sibling) = (PutKind::LastWriterWins, PutKind::Sibling);
            let merged = match &change.operation {
                Operation::Put { document } => {
                    self.stage_put(applying, change, Some(document.clone()), last)?
                }
                Operation::Delete => self.stage_put(applying, change, None, last)?,
                Operation::Sibling { document } => {
                    self.stage_put(applying, change, document.clone(), sibling)?
                }
                Operation::Edit(edit) => self.stage_edit(applying, change, edit)?,
                Operation::Increment { by } => {
                    self.stage_increment(applying, change, by)?;
                    continue;
                }
            };
            self.stage_row(&change.table, &change.key, &merged.row);
            match unseen {
                Some(loser) if merged.conflicts.is_empty() => {
                    self.stage_blind(applying, change, loser, &mut conflicts)?;
                }
                _ => self.stage_conflicts(applying, change, merged.conflicts, &mut conflicts),
            }
        }
        self.stage_chosen(applying, &mut conflicts)?;
        self.seen
            .raise(applying.version.origin, applying.version.hlc);
        match &applying.transaction.idempotency {
            Some(key) => self.stage_idempotency(applying.version, key),
            None => Ok(()),
        }
    }

    fn stage_put(
        &mut self,
        applying: &Applying<'_>,
        Change { table, key, .. }: &Change,
        document: Option<String>,
        kind: PutKind,
    ) -> Result<Merged, TablesError> {
        let version = applying.version;
        let write = Base { version, document };
        let standing = self.staged.plain(&keys::row(table, key));
        let replaces = |standing| replaces_plain(standing, version, seen(applying));
        let (merged, was_tombstone) =
            if kind == PutKind::LastWriterWins && standing.is_some_and(replaces) {
                (Merged::of(write), false)
            } else {
                let row = self.row_to_replace(table, key)?;
                let was_tombstone = row.as_ref().is_some_and(Row::is_tombstone);
                let mut none_kept = false;
                let mut merged = merge_put(row, write, kind, seen(applying), || {
                    let kept = self.kept(table, key)?;
                    none_kept = kept.is_empty();
                    Ok::<_, TablesError>(kept)
                })?;
                if none_kept {
                    // The sums were reckoned from none: later writes needn't look for any.
                    merged.row.none_kept();
                }
                (merged, was_tombstone)
            };
        // Also a write that lost may have taken the last away that stood beside a delete.
        if merged.row.is_tombstone() && (merged.won || !was_tombstone) {
            let due = keys::due(version, Collectable::Tombstone, table, key);
            self.staged.put(due, Vec::new());
        }
        Ok(merged)
    }

    fn stage_edit(
        &mut self,
        applying: &Applying<'_>,
        Change { table, key, .. }: &Change,
        edit: &Edit,
    ) -> Result<Merged, TablesError> {
        let version = applying.version;
        let row = self.row_to_replace(table, key)?;
        let was_tombstone = row.as_ref().is_some_and(Row::is_tombstone);
        let merged = merge_edit(row, edit, seen(applying), || self.kept(table, key))?;
        if merged.row.is_tombstone() && !was_tombstone {
            let due = keys::due(version, Collectable::Tombstone, table, key);
            self.staged.put(due, Vec::new());
        }
        if edit.set.iter().any(|(_, value)| value.is_none()) {
            let due = keys::due(version, Collectable::Field, table, key);
            self.staged.put(due, Vec::new());
        }
        if !edit.by.is_empty() {
            let by = edit.by.clone();
            self.stage_kept(table, key, &KeptIncrement { version, by });
        }
        Ok(merged)
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
        let row = merge_increment(self.row_to_replace(table, key)?, &increment);
        self.stage_row(table, key, &row);
        self.stage_kept(table, key, &increment);
        Ok(())
    }

    fn stage_kept(&mut self, table: &str, key: &str, increment: &KeptIncrement) {
        let at = keys::kept(table, key, increment.version);
        let record = value::encode(&at, increment);
        self.staged.put(at, record);
        let due = keys::due(increment.version, Collectable::Increment, table, key);
        self.staged.put(due, Vec::new());
    }

    pub(crate) fn stage_row(&mut self, table: &str, key: &str, row: &Row) {
        let at = keys::row(table, key);
        let record = value::encode(&at, row);
        self.staged.put_row(at, record, row.plain());
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
        if let Some(letters) = self.letters.changed() {
            put(keys::LETTER_COUNTS, letters);
        }
        let has_seen_more = self.seen != self.committed_seen;
        if has_seen_more {
            put(keys::SEEN, value::encode(keys::SEEN, &self.seen));
        }
        debug_assert!(
            writes.keys().all(|key| snapshot::is_sorted_out(key)),
            "a kind of record that no snapshot knows"
        );
        self.store.commit(writes)?;
        self.letters.committed();
        if has_seen_more {
            self.committed_seen.clone_from(&self.seen);
        }
        self.position = position;
        self.road = road.or_else(|| self.road.take());
        self.committed_conflicts = self.conflicts;
        self.taken.committed();
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

    fn objection(&self, transaction: &Transaction) -> Option<String> {
        letters::objection(transaction)
    }

    fn set_aside(&mut self, applying: &Applying<'_>, reason: &str) -> Result<(), EngineError> {
        self.stage_letter(applying, reason)
            .map_err(|error| error.during("set a dead letter aside"))
    }

    fn settle(&mut self, letter: Version) -> Result<(), EngineError> {
        self.stage_settled(letter)
            .map_err(|error| error.during("remove a dead letter"))
    }

    fn stops_at_dead_letters(&self) -> bool {
        self.letters.stops()
    }

    fn commit(&mut self, position: Position, road: Option<Vec<u8>>) -> Result<(), EngineError> {
        self.commit_staged(position, road)
            .map_err(|error| error.during("commit to the tables"))
    }

    fn discard(&mut self) {
        self.staged.clear();
        self.collector.restart();
        self.taken.discard();
        self.conflicts = self.committed_conflicts;
        self.seen.clone_from(&self.committed_seen);
        self.letters.discard();
        self.torn = false;
    }

    fn collect(&mut self, stable: &Vector, now: Micros) -> Result<(), EngineError> {
        self.stage_collection(stable, now)
            .map_err(|error| error.during("collect the tables"))
    }

    fn reaches(&mut self, seen: &Vector) {
        self.seen.raise_all(seen);
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

fn seen<'a>(applying: &Applying<'a>) -> Seen<'a> {
    Seen {
        version: applying.version,
        dependencies: Some(&applying.transaction.dependencies),
        absorbed: applying.captured.map(|it| &it.absorbed),
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
    let record = value::encode_for_all_releases(&FORMAT);
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
