//! A model of a PostgreSQL server: rows with the transaction that wrote them, row locks, savepoints,
//! transactions that commit out of the order of their ids, a WAL in the order of commits.
//!
//! A position of the WAL is the number of transactions before it.

use meridian_check::RowKey;
use meridian_engine_postgres::capture::{Datum, Relation, RelationColumn, RowChange, Tuple};
use meridian_engine_postgres::catalog::{Column, Table, TableName};
use meridian_engine_postgres::changes::Tables;
use meridian_engine_postgres::document::{self, Values};
use meridian_engine_postgres::projection::{Outcome, Projected};
use meridian_engine_postgres::tag::Tag;
use meridian_engine_postgres::{Lsn, Xid};
use meridian_model::{RowName, Strategy};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Ids wrap around in the middle of a run.
const FIRST_XID: u32 = u32::MAX - 400;

/// The tables: one of plain rows, two with a counter.
pub(super) struct Schema {
    tables: [Arc<Table>; 3],
}

pub(super) const NOTES: &str = "notes";
pub(super) const ACCOUNTS: &str = "accounts";
/// Between these rows something is moved and never made: their balances are nothing together.
pub(super) const PURSES: &str = "purses";
/// So many of them, made once.
pub(super) const PURSES_COUNT: u32 = 5;

impl Default for Schema {
    fn default() -> Self {
        let table = |name: &str, value: &str, is_counter| {
            let column = |name: &str, is_counter| Column {
                name: name.to_owned(),
                type_name: if is_counter { "bigint" } else { "text" }.to_owned(),
                is_nullable: false,
                is_counter,
                is_identity_always: false,
                missing: None,
            };
            Arc::new(Table {
                name: TableName {
                    schema: "public".to_owned(),
                    name: name.to_owned(),
                },
                columns: vec![column("id", false), column(value, is_counter)],
                key: vec![0],
                unique: Vec::new(),
                references: Vec::new(),
                former: std::collections::BTreeMap::new(),
            })
        };
        Self {
            tables: [
                table(NOTES, "note", false),
                table(ACCOUNTS, "balance", true),
                table(PURSES, "balance", true),
            ],
        }
    }
}

impl Tables for Schema {
    fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        self.tables.iter().find(|it| it.name == *name).cloned()
    }

    fn strategy(&self, _: &TableName) -> Strategy {
        Strategy::LastWriterWins
    }
}

impl Schema {
    /// The table that a row of the dataset's tables is in.
    pub(super) fn of(&self, row: &RowName) -> &Arc<Table> {
        let mut tables = self.tables.iter();
        let table = tables.find(|table| table.name.to_string() == row.table);
        table.expect("applications write to these tables alone")
    }

    fn relation(&self, row: &RowName) -> Arc<Relation> {
        let table = self.of(row);
        let column = |(place, column): (usize, &Column)| RelationColumn {
            name: column.name.clone(),
            is_identity: table.is_key(place),
            type_oid: 25,
            type_modifier: -1,
        };
        Arc::new(Relation {
            oid: 1,
            name: table.name.clone(),
            replica_identity: 'f',
            columns: table.columns.iter().enumerate().map(column).collect(),
        })
    }
}

/// The row with this id in one of the tables.
pub(super) fn name(table: &str, id: u32) -> RowName {
    RowName {
        table: format!("public.{table}"),
        key: id.to_string(),
    }
}

#[derive(Clone, Debug)]
struct Row {
    values: Values,
    xmin: u32,
    /// Where the WAL goes on after the application's transaction that wrote it; `None` where it is
    /// of the projection.
    written_at: Option<u64>,
}

/// What a transaction does to a row.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) row: RowName,
    pub(super) after: Option<Values>,
    /// Inside a savepoint, which has an id of its own that the WAL doesn't tell.
    pub(super) in_savepoint: bool,
}

#[derive(Debug)]
struct Open {
    xid: u32,
    writes: Vec<(Write, u32)>,
}

/// A transaction in the WAL.
pub(super) struct Record {
    pub(super) xid: Xid,
    pub(super) changes: Vec<RowChange>,
    pub(super) tag: Option<Tag>,
}

/// The server.
pub(super) struct Server {
    pub(super) schema: Schema,
    rows: BTreeMap<RowName, Row>,
    open: Vec<Open>,
    wal: Vec<Record>,
    position: Option<Tag>,
    next_xid: u32,
    /// Rows that the projection has locked for its next batch.
    held: BTreeSet<RowName>,
    /// Up to here the slot may have forgotten the WAL.
    confirmed: Lsn,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            schema: Schema::default(),
            rows: BTreeMap::new(),
            open: Vec::new(),
            wal: Vec::new(),
            position: None,
            next_xid: FIRST_XID,
            held: BTreeSet::new(),
            confirmed: Lsn(0),
        }
    }
}

impl Server {
    pub(super) fn wal_end(&self) -> Lsn {
        Lsn(self.wal.len() as u64)
    }

    /// The transactions from a position on.
    pub(super) fn read(&self, from: Lsn) -> Option<&Record> {
        self.wal.get(usize::try_from(from.0).ok()?)
    }

    /// What `meridian.position` says.
    pub(super) fn position(&self) -> Option<&Tag> {
        self.position.as_ref()
    }

    /// The slot may forget what is before.
    pub(super) fn confirm(&mut self, reached: Lsn) {
        self.confirmed = self.confirmed.max(reached);
    }

    pub(super) fn confirmed(&self) -> Lsn {
        self.confirmed
    }

    pub(super) fn values(&self, row: &RowName) -> Option<&Values> {
        Some(&self.rows.get(row)?.values)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &RowName> {
        self.rows.keys()
    }

    /// Whether somebody holds the row's lock.
    pub(super) fn is_locked(&self, row: &RowName) -> bool {
        self.held.contains(row) || self.is_locked_by_application(row)
    }

    fn is_locked_by_application(&self, row: &RowName) -> bool {
        let writes = self.open.iter().flat_map(|open| &open.writes);
        writes.into_iter().any(|(write, _)| write.row == *row)
    }

    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    fn take_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.wrapping_add(1).max(3);
        xid
    }

    /// A transaction has begun and written; its rows are locked until it ends.
    pub(super) fn begin(&mut self, writes: Vec<Write>) {
        let xid = self.take_xid();
        let writes = writes.into_iter().map(|write| {
            let writer = if write.in_savepoint {
                self.take_xid()
            } else {
                xid
            };
            (write, writer)
        });
        let writes = writes.collect();
        self.open.push(Open { xid, writes });
    }

    /// One of the open transactions ends.
    pub(super) fn end(&mut self, which: usize, commits: bool) {
        let Open { xid, writes } = self.open.remove(which);
        if !commits {
            return;
        }
        let written_at = Some(self.wal.len() as u64 + 1);
        let mut changes = Vec::new();
        for (write, xmin) in writes {
            let values = write.after;
            let row = values.map(|values| Row {
                values,
                xmin,
                written_at,
            });
            changes.extend(self.write(&write.row, row));
        }
        self.record(xid, changes, None);
    }

    /// A transaction makes the purses, empty.
    pub(super) fn make_purses(&mut self) {
        let write = |id: u32| Write {
            row: name(PURSES, id),
            after: Some(vec![Some(id.to_string()), Some("0".to_owned())]),
            in_savepoint: false,
        };
        self.begin((0..PURSES_COUNT).map(write).collect());
        self.end_all();
    }

    /// What a reader finds in all purses together, which is nothing unless it sees half of a transfer.
    pub(super) fn in_purses(&self) -> i64 {
        let balances = (0..PURSES_COUNT).filter_map(|id| self.balance(&name(PURSES, id)));
        balances.sum()
    }

    /// The second column of a row with a counter.
    pub(super) fn balance(&self, row: &RowName) -> Option<i64> {
        self.values(row)?[1].as_ref()?.parse().ok()
    }

    /// All open transactions commit.
    pub(super) fn end_all(&mut self) {
        while !self.open.is_empty() {
            self.end(0, true);
        }
    }

    fn record(&mut self, xid: u32, changes: Vec<RowChange>, tag: Option<Tag>) {
        self.wal.push(Record {
            xid: Xid(xid),
            changes,
            tag,
        });
    }

    /// Makes a row this; what the WAL says of it.
    fn write(&mut self, name: &RowName, after: Option<Row>) -> Option<RowChange> {
        let relation = self.schema.relation(name);
        let new = after.as_ref().map(|row| tuple(&row.values));
        let old = match after {
            Some(row) => self.rows.insert(name.clone(), row),
            None => self.rows.remove(name),
        };
        let old = old.map(|row| tuple(&row.values));
        match (old, new) {
            (None, None) => None,
            (None, Some(new)) => Some(RowChange::Insert { relation, new }),
            (Some(old), None) => Some(RowChange::Delete { relation, old }),
            (Some(old), Some(new)) => Some(RowChange::Update {
                relation,
                old: Some(old),
                new,
            }),
        }
    }

    /// It loses nothing that was committed, and all that was open.
    pub(super) fn crash(&mut self) {
        self.open.clear();
        self.held.clear();
    }

    pub(super) fn forget_holds(&mut self) {
        self.held.clear();
    }

    /// Some rows get other ids: `VACUUM FREEZE`, `ALTER TABLE`.
    pub(super) fn rewrite(&mut self, random: &mut fastrand::Rng) {
        let names: Vec<RowName> = self.rows.keys().cloned().collect();
        let xid = self.take_xid();
        for name in names {
            if random.bool() && !self.is_locked(&name) {
                self.rows.entry(name).and_modify(|row| row.xmin = xid);
            }
        }
    }

    /// The `xmin` of a snapshot, and a position read after it.
    pub(super) fn horizon(&self) -> (Xid, Lsn) {
        let older = |one: Xid, other: Xid| if one.precedes(other) { one } else { other };
        let open = self.open.iter().map(|open| Xid(open.xid));
        let oldest = open.reduce(older).unwrap_or(Xid(self.next_xid));
        (oldest, self.wal_end())
    }

    /// Takes locks for the projection's next batch and says who wrote these rows.
    pub(super) fn hold(&mut self, rows: &[RowName]) -> Outcome {
        if rows.iter().any(|row| self.is_locked_by_application(row)) {
            return Outcome::Locked;
        }
        self.held = rows.iter().cloned().collect();
        self.probe(rows)
    }

    fn probe(&self, rows: &[RowName]) -> Outcome {
        let found = rows.iter().map(|row| {
            let writer = self.rows.get(row).map(|found| Xid(found.xmin));
            (row.clone(), writer)
        });
        Outcome::Unsure {
            found: found.collect(),
            read_at: self.wal_end(),
        }
    }

    /// Writes a batch, as the applier does: over known states alone, in one transaction. Capture
    /// has told all before `captured`.
    ///
    /// # Errors
    /// A row is overwritten whose state capture hasn't told.
    pub(super) fn apply(&mut self, batch: &Projected, captured: Lsn) -> Result<Outcome, String> {
        self.held.clear();
        let mut rows = batch.rows.iter();
        if rows.any(|(dirty, _)| self.is_locked_by_application(&dirty.row)) {
            return Ok(Outcome::Locked);
        }
        let (mut unsure, mut writes) = (Vec::new(), Vec::new());
        for (dirty, wanted) in &batch.rows {
            let table = self.schema.of(&dirty.row);
            let wanted = wanted
                .as_deref()
                .map(|text| values(table, &dirty.row, text));
            let found = self.rows.get(&dirty.row);
            let is_same = found.map(|row| &row.values) == wanted.as_ref();
            if is_same && (found.is_none() || table.is_told_by_values()) {
                continue;
            }
            if let Some(row) = found {
                let xmin = Xid(row.xmin);
                if dirty.known != Some(xmin) && !xmin.precedes(batch.horizon) {
                    unsure.push(dirty.row.clone());
                } else if row.written_at.is_some_and(|at| at > captured.0) {
                    return Err(format!(
                        "row {} was overwritten before capture had seen it",
                        dirty.row
                    ));
                }
            }
            writes.push((dirty.row.clone(), wanted));
        }
        if !unsure.is_empty() {
            return Ok(self.probe(&unsure));
        }
        let xid = self.take_xid();
        let mut changes = Vec::new();
        for (name, values) in writes {
            let row = values.map(|values| Row {
                values,
                xmin: xid,
                written_at: None,
            });
            changes.extend(self.write(&name, row));
        }
        let tag = Tag {
            position: batch.position,
            seen: batch.seen.clone(),
        };
        self.position = Some(tag.clone());
        self.record(xid, changes, Some(tag));
        Ok(Outcome::Committed {
            xid: Xid(xid),
            end: self.wal_end(),
            parked: Vec::new(),
        })
    }

    /// Whether nothing between two positions concerns the log.
    pub(super) fn is_idle(&self, from: Lsn, to: Lsn) -> bool {
        let records = self.wal.iter().take(usize::try_from(to.0).unwrap_or(0));
        records
            .skip(usize::try_from(from.0).unwrap_or(0))
            .all(|record| record.tag.is_some() || record.changes.is_empty())
    }

    /// The rows.
    pub(super) fn shown(&self) -> BTreeMap<RowKey, Values> {
        let rows = self.rows.iter();
        rows.map(|(name, row)| ((name.table.clone(), name.key.clone()), row.values.clone()))
            .collect()
    }

    /// What a document of the dataset's tables is as a row.
    pub(super) fn as_row(&self, (table, key): &RowKey, document: &Value) -> Values {
        let row = RowName {
            table: table.clone(),
            key: key.clone(),
        };
        values(self.schema.of(&row), &row, &document.to_string())
    }

    /// How many transactions of applications changed something.
    pub(super) fn local(&self) -> usize {
        let local = self.wal.iter();
        local
            .filter(|record| record.tag.is_none() && !record.changes.is_empty())
            .count()
    }
}

/// The values that a document gives a row. What is left of an account that one region deleted and
/// another added to lacks its id.
fn values(table: &Table, row: &RowName, text: &str) -> Values {
    let key = std::slice::from_ref(&row.key);
    document::values_at(table, key, text).expect("the tables hold rows of these tables")
}

fn tuple(values: &Values) -> Tuple {
    let datum = |value: &Option<String>| match value {
        Some(text) => Datum::Text(text.clone()),
        None => Datum::Null,
    };
    values.iter().map(datum).collect()
}
