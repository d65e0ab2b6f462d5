//! Rows as of the log's end, where the tables stand still before it: the rows asked for are put into
//! tables of their own, in memory, and the log is followed there as far as it changes them.

use crate::compare::FETCHED_BYTES_MAX;
use crate::letters::objection;
use crate::{Limits, MemoryStore, Order, Snapshot, Store, Tables, TablesError, View, Writes, keys};
use meridian_model::{Micros, Position, RowName, RowState, Transaction, Version};
use meridian_replicate::{Applying, Engine as _, EngineError};
use std::ops::ControlFlow;

/// Takes the next transaction of a log.
type Follow<'a> = dyn FnMut(Position, Version, &Transaction) -> Result<(), EngineError> + 'a;

/// Some rows, ahead of the tables that they are from.
struct Ahead {
    names: Vec<RowName>,
    tables: Tables<MemoryStore>,
}

impl<V: View> Snapshot<V> {
    /// These rows after the transactions that `log` shows, whole, to be taken over elsewhere: the first
    /// ones, as far as a message takes them. What no tables take does nothing.
    ///
    /// # Errors
    /// [`EngineError`] when the store could not be read, or a row is damaged, and what `log` says.
    pub fn ahead(
        &self,
        names: &[RowName],
        log: impl FnOnce(&mut Follow<'_>) -> Result<(), EngineError>,
    ) -> Result<Vec<RowState>, EngineError> {
        let tables = self
            .fetch(names, usize::MAX)
            .and_then(|_| self.tables_of(names))
            .map_err(during)?;
        let mut ahead = Ahead {
            names: names.to_vec(),
            tables,
        };
        log(&mut |position, version, transaction| ahead.follow(position, version, transaction))?;
        let snapshot = ahead.tables.reader().snapshot();
        snapshot.fetch(names, FETCHED_BYTES_MAX).map_err(during)
    }

    /// Tables that hold all records of these rows, and no others.
    fn tables_of(&self, names: &[RowName]) -> Result<Tables<MemoryStore>, TablesError> {
        let mut records: Writes = [crate::tables::format_record()].into_iter().collect();
        for name in names {
            for at in [keys::row(&name.table, &name.key), keys::ahead(name)] {
                if let Some(record) = self.view.get(&at)? {
                    records.insert(at, Some(record.as_ref().to_vec()));
                }
            }
            let kept = keys::kept_of(&name.table, &name.key);
            let mut take = |at: &[u8], record: &[u8]| {
                records.insert(at.to_vec(), Some(record.to_vec()));
                ControlFlow::Continue(())
            };
            self.view
                .visit(&kept.start, &kept.end, Order::Ascending, &mut take)?;
        }
        let store = MemoryStore::default();
        store.commit(records)?;
        Tables::open(store, Limits::default())
    }
}

impl Ahead {
    /// Applies what the next transaction of the log does to the rows.
    fn follow(
        &mut self,
        position: Position,
        version: Version,
        transaction: &Transaction,
    ) -> Result<(), EngineError> {
        let mut changes = transaction.changes.clone();
        changes.retain(|change| {
            let mut names = self.names.iter();
            names.any(|name| name.table == change.table && name.key == change.key)
        });
        if changes.is_empty() || objection(transaction).is_some() {
            return Ok(());
        }
        let transaction = Transaction {
            dependencies: transaction.dependencies.clone(),
            changes,
            idempotency: None,
        };
        self.tables.apply(&Applying {
            position,
            version,
            transaction: &transaction,
            captured: None,
            // Shows in records of conflicts alone.
            now: Micros::default(),
        })?;
        self.tables.commit(position.next(), None)
    }
}

fn during(error: TablesError) -> EngineError {
    error.during("read rows ahead of the tables")
}
