//! The rows that the server doesn't show though the tables do: kept for whoever asks, and tried again
//! when somebody wishes.
//!
//! The projection decides ([`Projection`](meridian_engine_postgres::projection::Projection)); here is
//! a copy of what it decided last, which stays readable while there is no connection.

use super::schema::Schema;
use crate::dataset::TablesSnapshot;
use meridian_engine_kv::TablesError;
use meridian_engine_postgres::catalog::Table;
use meridian_engine_postgres::document;
use meridian_engine_postgres::projection::{Hindrance, Parked, Projected};
use meridian_model::{Conflict, ConflictKind, ConflictingWrite, Micros, RowName, Strategy};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The parked rows of a dataset, as its server was told last.
#[derive(Clone, Debug, Default)]
pub struct SharedParked(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether the server was ever asked since the process started.
    is_known: bool,
    rows: BTreeMap<RowName, Hindrance>,
    /// The tables, for their keys.
    tables: BTreeMap<String, Arc<Table>>,
    retries: Vec<(RowName, oneshot::Sender<()>)>,
}

/// How many rows are parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParkedCounts {
    pub(crate) total: u64,
    /// Of these, those that the server refuses by themselves.
    pub(crate) refused: u64,
}

impl SharedParked {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is known which rows are parked.
    pub(crate) fn is_known(&self) -> bool {
        self.lock().is_known
    }

    /// What keeps a row out.
    pub(crate) fn get(&self, row: &RowName) -> Option<Hindrance> {
        self.lock().rows.get(row).cloned()
    }

    /// At most so many rows after this one, in order.
    pub(crate) fn page(&self, after: Option<&RowName>, limit: usize) -> Vec<(RowName, Hindrance)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.lock();
        let rows = inner.rows.range((from, Bound::Unbounded)).take(limit);
        rows.map(|(row, hindrance)| (row.clone(), hindrance.clone()))
            .collect()
    }

    pub(crate) fn counts(&self) -> ParkedCounts {
        let inner = self.lock();
        let refused = inner.rows.values().filter(|it| is_refused(it)).count();
        ParkedCounts {
            total: inner.rows.len() as u64,
            refused: refused as u64,
        }
    }

    /// The first row that the server refuses by itself, and its words.
    pub(super) fn first_refused(&self) -> Option<String> {
        let inner = self.lock();
        let mut refused = inner.rows.iter().filter(|(_, it)| is_refused(it));
        refused.next().map(|(row, why)| format!("{row}: {why}"))
    }

    /// A row's key by the names of its columns, as far as the server was asked for them.
    pub(crate) fn key_of(&self, row: &RowName) -> Option<BTreeMap<String, String>> {
        let inner = self.lock();
        let table = inner.tables.get(&row.table)?;
        let texts = document::key_values(table, &row.key).ok()?;
        let columns = table.key.iter();
        let columns = columns.map(|column| table.columns[*column].name.clone());
        Some(columns.zip(texts).collect())
    }

    /// The counters of a table, as far as the server was asked for its columns.
    pub(crate) fn counters_of(&self, table: &str) -> BTreeSet<String> {
        let inner = self.lock();
        let columns = inner.tables.get(table).map(|table| table.columns.iter());
        let counters = columns.into_iter().flatten().filter(|it| it.is_counter);
        counters.map(|column| column.name.clone()).collect()
    }

    /// Has a row decided about again; answered when it is.
    pub(crate) fn retry(&self, row: RowName) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        let mut inner = self.lock();
        // While nobody is there to do it, those who gave up are not waited for.
        inner.retries.retain(|(_, waiting)| !waiting.is_closed());
        inner.retries.push((row, done));
        drop(inner);
        answer
    }
}

fn is_refused(hindrance: &Hindrance) -> bool {
    matches!(hindrance, Hindrance::Refused { .. })
}

/// The conductor's part.
#[derive(Debug)]
pub(super) struct Parking {
    shared: SharedParked,
    /// Who waits for the batch that comes next to be written.
    waiting: Vec<oneshot::Sender<()>>,
    /// The rows of the batch under way that were parked before.
    were_parked: Vec<RowName>,
}

impl Parking {
    /// Begins with what the server says.
    pub(super) fn new(shared: &SharedParked, schema: &Schema, parked: &[Parked]) -> Self {
        let rows = parked
            .iter()
            .map(|it| (it.row.clone(), it.hindrance.clone()));
        let mut inner = shared.lock();
        inner.is_known = true;
        inner.rows = rows.collect();
        inner.tables = schema.by_name();
        drop(inner);
        Self {
            shared: shared.clone(),
            waiting: Vec::new(),
            were_parked: Vec::new(),
        }
    }

    /// The rows that somebody wants tried again. They are to be in the next batch.
    pub(super) fn asked(&mut self) -> Vec<RowName> {
        let retries = std::mem::take(&mut self.shared.lock().retries);
        let (rows, waiting): (Vec<_>, Vec<_>) = retries.into_iter().unzip();
        self.waiting.extend(waiting);
        rows
    }

    /// A batch is on its way.
    pub(super) fn begins(&mut self, projected: &Projected) {
        let parked = projected.rows.iter().filter(|(row, _)| row.is_parked);
        self.were_parked = parked.map(|(row, _)| row.row.clone()).collect();
    }

    /// The batch is committed, without these rows. Gives those that are out since now, or for
    /// another reason than before.
    pub(super) fn ended<'p>(&mut self, parked: &'p [Parked]) -> Vec<&'p Parked> {
        let mut inner = self.shared.lock();
        let mut before = BTreeMap::new();
        for row in std::mem::take(&mut self.were_parked) {
            if let Some((row, hindrance)) = inner.rows.remove_entry(&row) {
                before.insert(row, hindrance);
            }
        }
        let mut news = Vec::new();
        for parked in parked {
            inner
                .rows
                .insert(parked.row.clone(), parked.hindrance.clone());
            if before.get(&parked.row) != Some(&parked.hindrance) {
                news.push(parked);
            }
        }
        drop(inner);
        for waiting in self.waiting.drain(..) {
            // Whoever asked may have given up.
            let _ = waiting.send(());
        }
        news
    }
}

/// What is listed of a parked row: it and the row that is in its way, or isn't there. `None` where
/// there is no other row to name.
pub(super) fn conflict(
    tables: &TablesSnapshot,
    shared: &SharedParked,
    parked: &Parked,
) -> Result<Option<Conflict>, TablesError> {
    let RowName { table, key } = &parked.row;
    let (kind, other) = match &parked.hindrance {
        Hindrance::Rival { constraint, rival } => {
            let kind = ConflictKind::Unique {
                constraint: constraint.clone(),
                rival: rival.clone(),
            };
            (kind, rival)
        }
        Hindrance::Orphan {
            constraint,
            parent: Some(parent),
            ..
        } => {
            let kind = ConflictKind::ForeignKey {
                constraint: constraint.clone(),
                parent: parent.clone(),
            };
            (kind, parent)
        }
        Hindrance::Orphan { .. } | Hindrance::Incomplete { .. } | Hindrance::Refused { .. } => {
            return Ok(None);
        }
    };
    let Some(row) = tables.get(table, key)? else {
        return Ok(None);
    };
    let Some(version) = tables.latest(&other.table, &other.key)? else {
        return Ok(None);
    };
    // A parent that isn't parked itself was deleted, though it may have come back since.
    let has_values = matches!(kind, ConflictKind::Unique { .. }) || shared.get(other).is_some();
    let document = match has_values {
        true => tables.get(&other.table, &other.key)?,
        false => None,
    };
    Ok(Some(Conflict {
        table: table.clone(),
        key: key.clone(),
        kind,
        winner: ConflictingWrite {
            version,
            document: document.map(|row| row.document),
        },
        loser: ConflictingWrite {
            version: row.version.latest,
            document: Some(row.document),
        },
        // Whoever lists it looks at the clock.
        resolved_at: Micros(0),
        strategy: Strategy::LastWriterWins,
        field: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_engine_postgres::catalog::{Column, TableName};

    fn row(key: &str) -> RowName {
        RowName {
            table: "public.t".to_owned(),
            key: key.to_owned(),
        }
    }

    fn refused(key: &str, reason: &str) -> Parked {
        let reason = reason.to_owned();
        Parked {
            row: row(key),
            hindrance: Hindrance::Refused { reason },
        }
    }

    fn parking(parked: &[Parked]) -> (SharedParked, Parking) {
        let shared = SharedParked::default();
        let parking = Parking::new(&shared, &Schema::default(), parked);
        (shared, parking)
    }

    #[test]
    fn a_batch_takes_rows_out_and_brings_rows_in_and_tells_what_is_news() {
        let (shared, mut parking) = parking(&[refused("1", "a"), refused("2", "a")]);
        parking.were_parked = vec![row("1"), row("2")];
        let now = [refused("2", "a"), refused("3", "b")];
        let news = parking.ended(&now);
        assert_eq!(news, [&now[1]]);
        let left: Vec<_> = shared
            .page(None, 9)
            .into_iter()
            .map(|it| it.0.key)
            .collect();
        assert_eq!(left, ["2", "3"]);
        assert_eq!(shared.page(Some(&row("2")), 9).len(), 1);
        assert_eq!(
            shared.counts(),
            ParkedCounts {
                total: 2,
                refused: 2
            }
        );
        assert!(shared.first_refused().unwrap().contains("public.t"));
    }

    #[test]
    fn those_who_gave_up_are_forgotten_while_nobody_retries() {
        let shared = SharedParked::default();
        for _ in 0..3 {
            drop(shared.retry(row("1")));
        }
        let waiting = shared.retry(row("1"));
        assert_eq!(shared.lock().retries.len(), 1);
        drop(waiting);
    }

    #[test]
    fn keys_that_look_like_something_else_are_told_apart() {
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            is_nullable: false,
            is_counter: false,
            is_identity_always: false,
            missing: None,
        };
        let table = Table {
            name: TableName {
                schema: "public".to_owned(),
                name: "t".to_owned(),
            },
            columns: vec![column("id")],
            key: vec![0],
            unique: Vec::new(),
            references: Vec::new(),
            former: BTreeMap::new(),
        };
        let shared = SharedParked::default();
        let tables = BTreeMap::from([("public.t".to_owned(), Arc::new(table.clone()))]);
        shared.lock().tables = tables;
        for key in ["7", "", r#"["a"]"#, r#"["a","b"]"#] {
            let name = document::key(&table, &vec![Some(key.to_owned())]);
            let expected = BTreeMap::from([("id".to_owned(), key.to_owned())]);
            assert_eq!(shared.key_of(&row(&name)), Some(expected), "{name}");
        }
    }

    #[test]
    fn who_asks_for_a_retry_is_answered_when_its_batch_is_written() {
        let (shared, mut parking) = parking(&[refused("1", "a")]);
        let mut answer = shared.retry(row("1"));
        parking.ended(&[]);
        assert!(answer.try_recv().is_err(), "nobody has taken it yet");
        assert_eq!(parking.asked(), [row("1")]);
        parking.ended(&[]);
        assert_eq!(answer.try_recv(), Ok(()));
    }
}
