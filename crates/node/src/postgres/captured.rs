//! From what the slot tells to what goes into the log.

use super::compare::unreadable;
use super::schema::Schema;
use super::trouble::Trouble;
use super::ungiven::{TakenAt, Ungiven};
use crate::dataset::{CapturedTransaction, TablesSnapshot};
use meridian_engine_postgres::capture::{CapturedTransaction as FromServer, RowChange};
use meridian_engine_postgres::catalog::TableName;
use meridian_engine_postgres::changes::{ChangesError, Fold, Tables};
use meridian_engine_postgres::document;
use meridian_engine_postgres::projection::Projection;
use meridian_engine_postgres::tag::Tag;
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_model::{CapturedAt, Change, Chosen, Collisions, Operation, RowName, Vector};
use std::collections::{BTreeMap, BTreeSet};

const PAGE_ROWS: usize = 10_000;
const PAGE_BYTES: usize = 4 << 20;

/// Where capture stands.
pub(super) struct Reading {
    identity: ServerIdentity,
    /// What the log had when this began.
    resumed: CapturedAt,
    /// All before here has been read.
    reached: Lsn,
    /// What the server had been given by then.
    seen: Vector,
    /// Whether the log has that, or will with what was read last.
    is_noted: bool,
    /// What it went back behind and has not been given again by then.
    ungiven: Ungiven,
}

impl Reading {
    /// Goes on behind what the log has.
    pub(super) fn resume(
        identity: ServerIdentity,
        (at, seen): (CapturedAt, Vector),
        ungiven: Ungiven,
    ) -> Self {
        Self {
            identity,
            resumed: at,
            // While parts of a transaction are missing nothing new may be confirmed.
            reached: if at.is_last { Lsn(at.end) } else { Lsn(0) },
            seen,
            is_noted: true,
            ungiven,
        }
    }

    /// The server has been given all rows.
    pub(super) fn refilled(&mut self) -> Result<(), Trouble> {
        self.ungiven.clear()
    }

    /// Keeps what only this knows. To be done before the log has what was read.
    pub(super) fn keep(&mut self) -> Result<(), Trouble> {
        self.ungiven.keep()
    }

    /// Which server it is.
    pub(super) fn system(&self) -> u64 {
        self.identity.system
    }

    pub(super) fn reached(&self) -> Lsn {
        self.reached
    }

    /// Whether the log has what the server had been given.
    pub(super) fn is_noted(&self) -> bool {
        self.is_noted
    }

    pub(super) fn passed(&mut self, lsn: Lsn) {
        self.reached = self.reached.max(lsn);
    }

    /// The server shows all of this from where capture stands on, though no batch of its own says so.
    pub(super) fn shows(&mut self, seen: Vector) {
        if self.reached != Lsn(0) && self.seen != seen {
            self.seen = seen;
            self.is_noted = false;
        }
    }

    /// What tells the log where capture stands, without a transaction of the server.
    pub(super) fn note(&mut self) -> CapturedTransaction {
        self.is_noted = true;
        self.at(self.reached, 0, true, Vec::new())
    }

    /// What tells all regions that somebody chose a side of these rows; `None` while parts of a
    /// transaction are missing, which it would end.
    pub(super) fn choice(&mut self, chosen: Vec<Chosen>) -> Option<CapturedTransaction> {
        if self.reached == Lsn(0) {
            return None;
        }
        let mut note = self.note();
        note.collisions.chosen = chosen;
        Some(note)
    }

    fn at(&self, end: Lsn, part: u32, is_last: bool, changes: Vec<Change>) -> CapturedTransaction {
        CapturedTransaction {
            at: CapturedAt {
                system: self.identity.system,
                timeline: self.identity.timeline,
                end: end.0,
                part,
                is_last,
            },
            seen: self.seen.clone(),
            changes,
            collisions: Collisions::default(),
        }
    }

    /// What a transaction in memory comes to.
    pub(super) fn read(
        &mut self,
        transaction: &FromServer,
        schema: &Schema,
        projection: &mut Projection,
        before: Before,
    ) -> Result<Vec<CapturedTransaction>, Trouble> {
        let mut telling = Telling::of(transaction, true, before);
        let mut parts = Vec::new();
        let mut chunks = transaction.changes.chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let chunk = chunk.map_err(spool)?.into_owned();
            let is_last = chunks.peek().is_none();
            parts.extend(self.part(&mut telling, (chunk, is_last), schema, projection)?);
        }
        parts.extend(self.end(telling, projection));
        Ok(parts)
    }

    /// What the next changes of a transaction come to, and whether they are its last.
    pub(super) fn part(
        &mut self,
        telling: &mut Telling,
        (chunk, is_last): (Vec<RowChange>, bool),
        schema: &Schema,
        projection: &mut Projection,
    ) -> Result<Option<CapturedTransaction>, Trouble> {
        let (end, xid, tag) = (telling.end, telling.xid, telling.tag.as_ref());
        let emptied = match &telling.before {
            Before::Emptied(tables) => {
                let emptied = emptied(&chunk, schema, &tables.tables, &telling.earlier)?;
                telling.earlier.passes(&chunk);
                emptied
            }
            _ => BTreeMap::new(),
        };
        let mut fold = Fold::default();
        for change in chunk {
            let keys = |name: &TableName| emptied.get(name).cloned().unwrap_or_default();
            fold.take(change, schema, keys)
                .map_err(|error| misfit(error, schema, end))?;
        }
        telling.earlier.note(&fold);
        let reads = tag.is_some() || matches!(telling.before, Before::Shown(_));
        let rows = touched(&fold, schema, reads);
        let at = telling.place(is_last);
        let taken_at = TakenAt {
            end: end.0,
            part: at,
            is_last,
        };
        let mut blind = Vec::new();
        for (place, (row, _)) in rows.iter().enumerate() {
            if self.ungiven.remove(row, taken_at) && !reads {
                blind.extend(u32::try_from(place));
            }
        }
        match &telling.before {
            Before::Shown(tables) => {
                let rows = rows.into_iter().map(|(row, document)| {
                    let shown = tables.get(&row.table, &row.key).map_err(unreadable)?;
                    Ok((row, document, shown.map(|row| row.document)))
                });
                let rows = rows.collect::<Result<Vec<_>, Trouble>>()?;
                projection.large_rows_captured(xid, &rows);
                return Ok(None);
            }
            _ => projection.rows_captured(xid, tag, &rows),
        }
        if tag.is_some() || (rows.is_empty() && telling.part == 0 && is_last) {
            return Ok(None);
        }
        let changes = fold.changes(schema)?;
        let mut part = self.at(end, at, is_last, changes);
        part.collisions.blind = blind;
        telling.part += 1;
        if self.is_known(part.at) {
            return Ok(None);
        }
        telling.has_parts = true;
        Ok(Some(part))
    }

    /// The transaction has been told as a whole.
    pub(super) fn end(
        &mut self,
        telling: Telling,
        projection: &mut Projection,
    ) -> Option<CapturedTransaction> {
        let Telling { end, xid, tag, .. } = telling;
        let deviations = projection.transaction_captured(xid, tag.as_ref(), end);
        let mut part = None;
        if let Some(tag) = tag {
            self.seen = tag.seen;
            self.is_noted = false;
            if !deviations.is_empty() {
                let changes = deviations.into_iter().map(|(row, document)| Change {
                    table: row.table,
                    key: row.key,
                    operation: match document {
                        Some(document) => Operation::Put { document },
                        None => Operation::Delete,
                    },
                });
                part = Some(self.at(end, 0, true, changes.collect()));
            }
        }
        self.is_noted |= telling.has_parts || part.is_some();
        self.reached = self.reached.max(end);
        part
    }

    /// Whether the log has this part from before a crash.
    fn is_known(&self, at: CapturedAt) -> bool {
        let resumed = self.resumed;
        at.end == resumed.end && !resumed.is_last && !at.is_last && at.part <= resumed.part
    }
}

/// A transaction of the server that is being told.
pub(super) struct Telling {
    end: Lsn,
    xid: Xid,
    pub(super) tag: Option<Tag>,
    /// The part that comes next.
    part: u32,
    /// Whether its parts show only together.
    is_held: bool,
    has_parts: bool,
    before: Before,
    earlier: Earlier,
}

/// What the tables show that a transaction is read with.
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// What came before one that empties some.
    Emptied(Emptied),
    /// What a batch showed that wrote very many rows.
    Shown(TablesSnapshot),
}

impl Telling {
    pub(super) fn of(transaction: &FromServer, is_held: bool, before: Before) -> Self {
        let emptied = match &before {
            Before::Emptied(emptied) => Some(emptied),
            _ => None,
        };
        Self {
            earlier: Earlier::before(emptied),
            before,
            end: transaction.end,
            xid: transaction.xid,
            tag: transaction.tag.clone(),
            part: 0,
            is_held,
            has_parts: false,
        }
    }

    /// The number of the part that comes next.
    fn place(&self, is_last: bool) -> u32 {
        let at = CapturedAt {
            part: self.part,
            ..CapturedAt::default()
        };
        match self.is_held || is_last {
            true => at.part,
            false => at.not_held().part,
        }
    }
}

/// The tables as they were before a transaction that empties some.
pub(super) struct Emptied {
    /// What they show.
    pub(super) tables: TablesSnapshot,
    /// How many statements empty some.
    pub(super) statements: usize,
}

/// What earlier parts of a transaction left in tables that a later one may empty: the tables don't
/// show it yet. Only until the last such statement is read, which mostly comes first of all.
struct Earlier {
    rows: BTreeMap<TableName, BTreeSet<String>>,
    to_come: usize,
}

impl Earlier {
    fn before(tables: Option<&Emptied>) -> Self {
        Self {
            rows: BTreeMap::new(),
            to_come: tables.map_or(0, |tables| tables.statements),
        }
    }

    fn passes(&mut self, changes: &[RowChange]) {
        self.to_come = self.to_come.saturating_sub(emptying(changes));
        if self.to_come == 0 {
            self.rows.clear();
        }
    }

    fn note(&mut self, fold: &Fold) {
        if self.to_come == 0 {
            return;
        }
        for (table, key, values) in fold.touched() {
            let rows = self.rows.entry(table.clone()).or_default();
            if values.is_some() {
                rows.insert(key.to_owned());
            } else {
                rows.remove(key);
            }
        }
    }

    fn of(&self, table: &TableName) -> impl Iterator<Item = &String> {
        self.rows.get(table).into_iter().flatten()
    }
}

fn emptying(changes: &[RowChange]) -> usize {
    let empties = |change: &&RowChange| matches!(change, RowChange::Truncate { .. });
    changes.iter().filter(empties).count()
}

/// The rows that were touched. Only what a batch left is compared by its text.
fn touched(fold: &Fold, schema: &Schema, is_tagged: bool) -> Vec<(RowName, Option<String>)> {
    let rows = fold.touched();
    let rows = rows.map(|(name, key, values)| {
        let row = RowName {
            table: name.to_string(),
            key: key.to_owned(),
        };
        let table = schema.table(name);
        let document = values.zip(table).map(|(values, table)| {
            if is_tagged {
                document::document(&table, values)
            } else {
                String::new()
            }
        });
        (row, document)
    });
    rows.collect()
}

/// The keys of the rows of each table that is emptied: those that the tables show, and those of
/// earlier parts.
fn emptied(
    changes: &[RowChange],
    schema: &Schema,
    tables: &TablesSnapshot,
    earlier: &Earlier,
) -> Result<BTreeMap<TableName, Vec<String>>, Trouble> {
    let mut keys = BTreeMap::new();
    for change in changes {
        let RowChange::Truncate { relations } = change else {
            continue;
        };
        for relation in relations {
            if schema.table(&relation.name).is_some() && !keys.contains_key(&relation.name) {
                let mut all = all_keys(&relation.name, tables)?;
                all.extend(earlier.of(&relation.name).cloned());
                keys.insert(relation.name.clone(), all);
            }
        }
    }
    Ok(keys)
}

fn all_keys(table: &TableName, tables: &TablesSnapshot) -> Result<Vec<String>, Trouble> {
    let (name, mut keys, mut after) = (table.to_string(), Vec::new(), None);
    loop {
        let page = tables
            .page(&name, after.as_deref(), PAGE_ROWS, PAGE_BYTES)
            .map_err(unreadable)?;
        keys.extend(page.rows.into_iter().map(|(key, _)| key));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(keys),
        }
    }
}

/// A change that doesn't fit the tables: they may just have been altered.
fn misfit(error: ChangesError, schema: &Schema, end: Lsn) -> Trouble {
    match &error {
        ChangesError::Schema { .. } if schema.may_be_older_than(end) => {
            Trouble::passing(crate::dataset::describe(&error))
        }
        _ => error.into(),
    }
}

pub(super) fn spool(error: meridian_engine_postgres::capture::ChangesError) -> Trouble {
    Trouble::passing(crate::dataset::describe(&error))
}
