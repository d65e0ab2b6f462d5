//! Taking a row over from another region, to mend this region's copy.
//!
//! The whole stored state is taken: the record and the increments kept apart, as one region holds
//! them together as of one moment. Three things keep this from undoing anything:
//!
//! - it is staged and committed like any other effect, and only where the copy here is still in the
//!   state in which it was found bad: whatever was written to it in between stands;
//! - nothing may have been collected here that the taken state has not seen. Else a delete could
//!   have come and gone without leaving a tombstone, and the row would rise from the dead;
//! - where the taken state is *ahead* of what is applied here (applying stopped at the damage), the
//!   row remembers as of what it was taken, and of what is applied later skips what it has already.
//!   Increments aren't idempotent.

use crate::compare::StateHasher;
use crate::keys::{self, Collectable};
use crate::{Order, Store, Tables, TablesError, View, value};
use meridian_merge::{KeptIncrement, Row};
use meridian_model::{Change, RowName, RowState, Vector, Version};
use meridian_replicate::EngineError;
use meridian_replicate::compare::{Mended, Mending};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The rows that are ahead of what is applied, and as of what.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// With what is staged.
    rows: BTreeMap<RowName, Vector>,
    committed: BTreeMap<RowName, Vector>,
}

impl Taken {
    pub(crate) fn open<S: Store>(store: &S) -> Result<Self, TablesError> {
        let range = keys::all_ahead();
        let mut rows = BTreeMap::new();
        let mut damaged = None;
        store.view().visit(
            &range.start,
            &range.end,
            Order::Ascending,
            &mut |at, bytes| {
                match (
                    keys::decode_ahead(at),
                    value::decode(bytes, "taken row", at),
                ) {
                    (Some(name), Ok(as_of)) => drop(rows.insert(name, as_of)),
                    _ => damaged = Some(TablesError::damaged("taken row", at)),
                }
                ControlFlow::Continue(())
            },
        )?;
        match damaged {
            Some(error) => Err(error),
            None => Ok(Self {
                committed: rows.clone(),
                rows,
            }),
        }
    }

    /// Whether the row, as it was taken over, has this write already.
    pub(crate) fn includes(&self, change: &Change, version: Version) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let name = RowName {
            table: change.table.clone(),
            key: change.key.clone(),
        };
        self.rows
            .get(&name)
            .is_some_and(|as_of| as_of.has_seen(version))
    }

    pub(crate) fn committed(&mut self) {
        if self.rows != self.committed {
            self.committed.clone_from(&self.rows);
        }
    }

    pub(crate) fn discard(&mut self) {
        if self.rows != self.committed {
            self.rows.clone_from(&self.committed);
        }
    }
}

impl<S: Store> Tables<S> {
    /// Stages a row as another region holds it.
    ///
    /// # Errors
    /// [`EngineError`] when the store could not be read.
    pub fn mend(&mut self, mending: &Mending) -> Result<Mended, EngineError> {
        self.stage_mending(mending)
            .map_err(|error| error.during("mend a row"))
    }

    fn stage_mending(&mut self, mending: &Mending) -> Result<Mended, TablesError> {
        let Mending { name, as_of, .. } = mending;
        let (state, kept_here) = self.state_of(name)?;
        if state != mending.expected || !as_of.covers(&self.collector.collected) {
            return Ok(Mended::MovedOn);
        }
        let Some((row, kept)) = readable(mending) else {
            return Ok(Mended::Unreadable);
        };
        for at in kept_here {
            self.staged.remove(at);
        }
        for increment in kept {
            let at = keys::kept(&name.table, &name.key, increment.version);
            let record = value::encode(&at, &increment);
            self.staged.put(at, record);
            self.stage_due(name, increment.version, Collectable::Increment);
        }
        let at = keys::row(&name.table, &name.key);
        match &row {
            Some(row) => {
                let record = value::encode(&at, row);
                self.staged.put(at, record);
            }
            None => self.staged.remove(at),
        }
        if let Some(delete) = row.as_ref().and_then(deleted_at) {
            self.stage_due(name, delete, Collectable::Tombstone);
        }
        for removal in row.iter().flat_map(removed_fields) {
            self.stage_due(name, removal, Collectable::Field);
        }
        if mending.ahead {
            let at = keys::ahead(name);
            let record = value::encode(&at, as_of);
            self.staged.put(at, record);
            self.taken.rows.insert(name.clone(), as_of.clone());
        }
        // What is due now may lie before where collection has come to.
        self.collector.restart();
        Ok(Mended::Staged)
    }

    fn stage_due(&mut self, name: &RowName, version: Version, kind: Collectable) {
        let due = keys::due(version, kind, &name.table, &name.key);
        self.staged.put(due, Vec::new());
    }

    /// The state of a row as staged, and the places of its increments kept apart.
    fn state_of(&self, name: &RowName) -> Result<(u64, Vec<Vec<u8>>), TablesError> {
        let at = keys::row(&name.table, &name.key);
        let hashed = self
            .staged
            .get(&self.store, &at, |bytes| Ok(StateHasher::new(Some(bytes))))?;
        let mut state = hashed.unwrap_or_else(|| StateHasher::new(None));
        let mut kept = Vec::new();
        let range = keys::kept_of(&name.table, &name.key);
        self.staged.scan(&self.store, &range, |at, bytes| {
            state.kept(at, bytes);
            kept.push(at.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok((state.finish(), kept))
    }

    /// Stages that rows are no longer ahead, once everything up to where they were is applied.
    pub(crate) fn forget_taken(&mut self, stable: &Vector) {
        let passed: Vec<RowName> = self
            .taken
            .rows
            .iter()
            .filter(|(_, as_of)| stable.covers(as_of))
            .map(|(name, _)| name.clone())
            .collect();
        for name in passed {
            self.taken.rows.remove(&name);
            self.staged.remove(keys::ahead(&name));
        }
    }
}

fn readable(mending: &Mending) -> Option<(Option<Row>, Vec<KeptIncrement>)> {
    let RowState { record, kept, .. } = &mending.row;
    let row = record
        .as_ref()
        .map(|body| value::decode_body(body, "row", b""))
        .transpose();
    let kept = kept.iter().map(|(version, body)| {
        let increment: KeptIncrement = value::decode_body(body, "increment", b"").ok()?;
        (increment.version == *version).then_some(increment)
    });
    Some((row.ok()?, kept.collect::<Option<_>>()?))
}

/// The versions of the removals of fields that a row remembers.
fn removed_fields(row: &Row) -> impl Iterator<Item = Version> {
    let registers = row.mixed().into_iter().flat_map(|mixed| &mixed.registers);
    let removed = registers.filter(|register| register.value.is_none());
    removed.map(|register| register.version)
}

/// The version of the delete that a tombstone remembers.
fn deleted_at(row: &Row) -> Option<Version> {
    let base = row.base.as_ref().filter(|_| row.is_tombstone())?;
    Some(base.version)
}
