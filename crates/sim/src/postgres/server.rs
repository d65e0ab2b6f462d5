//! A model of a PostgreSQL server: rows with the transaction that wrote them, row locks, savepoints,
//! transactions that commit out of the order of their ids, a WAL in the order of commits, and ways to
//! lose the end of it.
//!
//! A position of the WAL is the number of transactions before it.

use super::constraints::Plan;
use super::schema::{PURSES, PURSES_COUNT, Schema, name, tuple};
use meridian_check::RowKey;
use meridian_engine_postgres::capture::{RowChange, ServerPlace};
use meridian_engine_postgres::document::Values;
use meridian_engine_postgres::meeting::history::{Slot, Standing};
use meridian_engine_postgres::meeting::mark::{Mark, Reading};
use meridian_engine_postgres::projection::{Outcome, Parked, Projected};
use meridian_engine_postgres::tag::Tag;
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_model::RowName;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Ids wrap around in the middle of a run.
const FIRST_XID: u32 = u32::MAX - 400;

/// Who wrote a row, in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writer {
    /// The application's transaction of this number.
    Application(u64),
    /// The projection.
    Projection,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) values: Values,
    pub(super) xmin: u32,
    pub(super) by: Writer,
    /// Where the WAL goes on after the transaction that wrote it.
    written_at: u64,
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
    /// The tables that it has emptied, before it wrote.
    emptied: Vec<String>,
    /// No writer of what they have from then on is before this one.
    oldest: Xid,
    writes: Vec<(Write, u32)>,
}

/// A transaction in the WAL.
pub(super) struct Record {
    pub(super) xid: Xid,
    pub(super) changes: Vec<RowChange>,
    pub(super) tag: Option<Tag>,
    /// Which of the applications' transactions it is.
    pub(super) number: Option<u64>,
    /// The next id after it.
    next_xid: u32,
    before: Before,
}

/// What a transaction wrote over.
#[derive(Default)]
struct Before {
    rows: Vec<(RowName, Option<Row>, Option<Writer>)>,
    own: Option<Own>,
    oldest: Option<BTreeMap<String, Xid>>,
}

/// Meridian's own rows.
#[derive(Clone, Debug, Default)]
struct Own {
    position: Option<(Tag, Xid)>,
    mark: Option<(Mark, Xid)>,
    /// Its transactions since the mark that let rows in which had been kept out.
    let_in: Vec<Xid>,
    /// The rows that are kept out.
    parked: BTreeMap<RowName, Parked>,
}

/// The server.
pub(super) struct Server {
    pub(super) schema: Schema,
    pub(super) rows: BTreeMap<RowName, Row>,
    /// Who deleted a row that isn't there.
    pub(super) gone: BTreeMap<RowName, Writer>,
    open: Vec<Open>,
    wal: Vec<Record>,
    own: Own,
    next_xid: u32,
    /// By table that was rewritten or frozen: no row's writer is before this one.
    oldest: BTreeMap<String, Xid>,
    /// Rows that the projection has locked for its next batch.
    held: BTreeSet<RowName>,
    identity: ServerIdentity,
    /// Up to where it has the WAL of its timelines before this one.
    earlier: Vec<(u32, Lsn)>,
    /// How many timelines there were.
    timelines: u32,
    /// Up to where the slot may have forgotten the WAL; `None` where there is no slot.
    slot: Option<Lsn>,
    /// What was committed from here on comes through the slot.
    pub(super) told_from: Lsn,
    /// How many of the applications' transactions were committed.
    numbers: u64,
    /// Whether it has a CHECK of its own.
    pub(super) is_strict: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            schema: Schema::default(),
            rows: BTreeMap::new(),
            gone: BTreeMap::new(),
            open: Vec::new(),
            wal: Vec::new(),
            own: Own::default(),
            next_xid: FIRST_XID,
            oldest: BTreeMap::new(),
            held: BTreeSet::new(),
            identity: ServerIdentity {
                system: 1,
                timeline: 1,
            },
            earlier: Vec::new(),
            timelines: 1,
            slot: None,
            told_from: Lsn(0),
            numbers: 0,
            is_strict: false,
        }
    }
}

impl Record {
    /// Whether it empties tables.
    pub(super) fn empties(&self) -> bool {
        let empties = |change: &RowChange| matches!(change, RowChange::Truncate { .. });
        self.changes.iter().any(empties)
    }
}

impl Server {
    pub(super) fn wal_end(&self) -> Lsn {
        Lsn(self.wal.len() as u64)
    }

    /// The transactions from a position on.
    pub(super) fn read(&self, from: Lsn) -> Option<&Record> {
        self.wal.get(index(from))
    }

    /// Which of the applications' transactions are in the WAL from a position on.
    pub(super) fn numbers(&self, from: Lsn) -> impl Iterator<Item = u64> {
        self.wal.iter().skip(index(from)).filter_map(|it| it.number)
    }

    /// What a row was at a position of the WAL, before all that is not known was written to it there.
    pub(super) fn before(
        &self,
        row: &RowName,
        at: Lsn,
        is_known: impl Fn(Writer) -> bool,
    ) -> Option<Values> {
        let mut found: Option<Option<Values>> = None;
        for record in self.wal.iter().take(index(at)).rev() {
            let mut touched = record.before.rows.iter().filter(|(name, ..)| name == row);
            let Some((_, before, _)) = touched.next() else {
                continue;
            };
            let by = match (record.number, &record.tag) {
                (Some(number), _) => Writer::Application(number),
                (None, Some(_)) => Writer::Projection,
                (None, None) => continue,
            };
            if is_known(by) {
                break;
            }
            found = Some(before.as_ref().map(|row| row.values.clone()));
        }
        found.flatten()
    }

    pub(super) fn identity(&self) -> ServerIdentity {
        self.identity
    }

    pub(super) fn place(&self) -> ServerPlace {
        ServerPlace {
            identity: self.identity,
            end: self.wal_end(),
        }
    }

    pub(super) fn earlier_timelines(&self) -> Vec<(u32, Lsn)> {
        self.earlier.clone()
    }

    /// What Meridian's own rows say.
    pub(super) fn standing(&self) -> Standing {
        let Own {
            position,
            mark,
            let_in,
            ..
        } = &self.own;
        let position_by = position.as_ref().map(|(_, xid)| *xid);
        let mark_by = mark.map(|(_, xid)| xid);
        Standing {
            given: position.as_ref().map(|(tag, _)| tag.clone()),
            mark: mark.map(|(mark, _)| mark),
            writers: position_by.into_iter().chain(mark_by).collect(),
            let_in: let_in.clone(),
        }
    }

    /// Tables whose rows were all written by this transaction or later ones.
    pub(super) fn rewritten_since(&self, horizon: Xid) -> BTreeSet<String> {
        let names = self.schema.tables().map(|table| table.name.to_string());
        let oldest = |name: &String| *self.oldest.get(name).unwrap_or(&Xid(FIRST_XID));
        names
            .filter(|name| !oldest(name).precedes(horizon))
            .collect()
    }

    pub(super) fn slot(&self) -> Slot {
        match self.slot {
            Some(_) => Slot::There,
            None => Slot::Missing,
        }
    }

    /// Makes a slot; its stream begins here.
    pub(super) fn create_slot(&mut self) -> Lsn {
        self.slot = Some(self.wal_end());
        self.told_from = self.wal_end();
        self.wal_end()
    }

    pub(super) fn drop_slot(&mut self) {
        self.slot = None;
    }

    /// The slot may forget what is before.
    pub(super) fn confirm(&mut self, reached: Lsn) {
        self.slot = self.slot.map(|confirmed| confirmed.max(reached));
    }

    /// How far the slot has been confirmed, if there is one.
    pub(super) fn confirmed(&self) -> Option<Lsn> {
        self.slot
    }

    pub(super) fn values(&self, row: &RowName) -> Option<&Values> {
        Some(&self.rows.get(row)?.values)
    }

    /// The rows that are kept out of it.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.own.parked.values()
    }

    /// Whether the projection holds the row's lock.
    pub(super) fn is_held(&self, row: &RowName) -> bool {
        self.held.contains(row)
    }

    /// What open transactions have written.
    pub(super) fn open_writes(&self) -> impl Iterator<Item = &Write> {
        let writes = self.open.iter().flat_map(|open| &open.writes);
        writes.map(|(write, _)| write)
    }

    /// Whether somebody holds the row's lock.
    pub(super) fn is_locked(&self, row: &RowName) -> bool {
        self.held.contains(row) || self.is_locked_by_application(row)
    }

    fn is_locked_by_application(&self, row: &RowName) -> bool {
        self.is_emptied(&row.table) || self.open_writes().any(|write| write.row == *row)
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
        self.begin_emptying(Vec::new(), writes);
    }

    /// The same for one that has emptied tables first, which are locked too.
    pub(super) fn begin_emptying(&mut self, emptied: Vec<String>, writes: Vec<Write>) {
        let oldest = self.reading().oldest;
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
        self.open.push(Open {
            xid,
            emptied,
            oldest,
            writes,
        });
    }

    /// One of the open transactions ends.
    pub(super) fn end(&mut self, which: usize, commits: bool) {
        let Open {
            xid,
            emptied,
            oldest,
            writes,
        } = self.open.remove(which);
        if !commits {
            return;
        }
        let number = self.numbers;
        let writer = Writer::Application(number);
        let (mut changes, mut before) = (Vec::new(), Before::default());
        if !emptied.is_empty() {
            changes.push(self.empty(&emptied, oldest, writer, &mut before));
        }
        for (write, xmin) in writes {
            let by = (xmin, writer);
            changes.extend(self.write(&write.row, write.after, by, &mut before));
        }
        let is_empty = changes.is_empty();
        self.numbers += u64::from(!is_empty);
        self.record(xid, changes, before);
        if let Some(record) = self.wal.last_mut().filter(|_| !is_empty) {
            record.number = Some(number);
        }
    }

    /// `TRUNCATE`; what the WAL says of it.
    fn empty(
        &mut self,
        tables: &[String],
        oldest: Xid,
        by: Writer,
        before: &mut Before,
    ) -> RowChange {
        before.oldest = Some(self.oldest.clone());
        for table in tables {
            self.oldest.insert(table.clone(), oldest);
        }
        let rows = self.rows.keys().filter(|row| tables.contains(&row.table));
        for name in rows.cloned().collect::<Vec<_>>() {
            let row = self.rows.remove(&name);
            let gone = self.gone.insert(name.clone(), by);
            before.rows.push((name, row, gone));
        }
        let relations = tables.iter().map(|table| self.schema.relation(table));
        RowChange::Truncate {
            relations: relations.collect(),
        }
    }

    /// Whether nobody has written to a table, locked rows of it or emptied it.
    pub(super) fn is_unused(&self, table: &str) -> bool {
        let mut written = self.open_writes().map(|write| &write.row);
        let is_its = |row: &RowName| row.table == table;
        !self.held.iter().any(is_its) && !written.any(is_its) && !self.is_emptied(table)
    }

    /// Whether an open transaction has emptied a table.
    fn is_emptied(&self, table: &str) -> bool {
        let mut emptied = self.open.iter().flat_map(|open| &open.emptied);
        emptied.any(|it| it == table)
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
    /// Before all are there, nothing is to be found: rows that were there before a server and its region
    /// met are taken over some at a time.
    pub(super) fn in_purses(&self) -> i64 {
        let balances = (0..PURSES_COUNT).map(|id| self.balance(&name(PURSES, id)));
        balances.sum::<Option<i64>>().unwrap_or_default()
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

    fn record(&mut self, xid: u32, changes: Vec<RowChange>, before: Before) {
        self.wal.push(Record {
            xid: Xid(xid),
            changes,
            tag: None,
            number: None,
            next_xid: self.next_xid,
            before,
        });
    }

    /// Makes a row this; what the WAL says of it.
    fn write(
        &mut self,
        name: &RowName,
        after: Option<Values>,
        (xmin, by): (u32, Writer),
        before: &mut Before,
    ) -> Option<RowChange> {
        let relation = self.schema.relation(&name.table);
        let new = after.as_ref().map(tuple);
        let gone = self.gone.get(name).copied();
        let old = match after {
            Some(values) => {
                let row = Row {
                    values,
                    xmin,
                    by,
                    written_at: self.wal.len() as u64 + 1,
                };
                self.gone.remove(name);
                self.rows.insert(name.clone(), row)
            }
            None => {
                let old = self.rows.remove(name);
                if old.is_some() {
                    self.gone.insert(name.clone(), by);
                }
                old
            }
        };
        before.rows.push((name.clone(), old.clone(), gone));
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

    /// A standby that has the WAL up to a position takes over, or a backup is restored to there: a new
    /// timeline begins.
    pub(super) fn fail_over(&mut self, to: Lsn) {
        self.go_back(to);
        self.timelines += 1;
        self.earlier.push((self.identity.timeline, to));
        self.identity.timeline = self.timelines;
        self.slot = None;
    }

    /// A copy of the files takes the place of what was there, on the same timeline and with the slot as
    /// it was, or without.
    pub(super) fn put_back(&mut self, to: Lsn, has_slot: bool) {
        self.go_back(to);
        let slot = self.slot.filter(|_| has_slot);
        self.slot = slot.map(|confirmed| confirmed.min(to));
    }

    /// Another server stands in its place, which has the tables and nothing in them.
    pub(super) fn replace(&mut self) {
        self.go_back(Lsn(0));
        self.identity.system += 1;
        (self.gone, self.oldest) = (BTreeMap::new(), BTreeMap::new());
        self.slot = None;
    }

    /// Whether its mark was written after a position.
    pub(super) fn was_marked_since(&self, position: Lsn) -> bool {
        let mut later = self.wal.iter().skip(index(position));
        let number = |own: &Own| own.mark.map(|(mark, _)| mark.number);
        later.any(|record| {
            let before = record.before.own.as_ref();
            before.is_some_and(|own| number(own) != number(&self.own))
        })
    }

    fn go_back(&mut self, to: Lsn) {
        self.crash();
        for record in self.wal.drain(index(to)..).rev() {
            let Before { rows, own, oldest } = record.before;
            for (name, row, gone) in rows.into_iter().rev() {
                match row {
                    Some(row) => self.rows.insert(name.clone(), row),
                    None => self.rows.remove(&name),
                };
                match gone {
                    Some(writer) => self.gone.insert(name, writer),
                    None => self.gone.remove(&name),
                };
            }
            self.own = own.unwrap_or_else(|| std::mem::take(&mut self.own));
            self.oldest = oldest.unwrap_or_else(|| std::mem::take(&mut self.oldest));
        }
        // What was under way there has gone with its ids; those of later ones are given again.
        self.next_xid = self.wal.last().map_or(FIRST_XID, |last| last.next_xid);
        if let Some(at) = self.earlier.iter().position(|(_, end)| *end >= to) {
            self.identity.timeline = self.earlier[at].0;
            self.earlier.truncate(at);
        }
        self.told_from = self.told_from.min(to);
    }

    /// `ALTER TABLE` writes all rows of a table anew, or `VACUUM` freezes them.
    pub(super) fn rewrite(&mut self, random: &mut fastrand::Rng) {
        let tables: Vec<String> = self
            .schema
            .tables()
            .map(|table| table.name.to_string())
            .collect();
        let table = &tables[random.usize(0..tables.len())];
        let names: Vec<RowName> = self.rows.keys().cloned().collect();
        let names = names.into_iter().filter(|name| name.table == *table);
        let names: Vec<RowName> = names.collect();
        if !self.is_unused(table) {
            return;
        }
        let mut before = Before {
            oldest: Some(self.oldest.clone()),
            ..Before::default()
        };
        self.oldest.insert(table.clone(), self.reading().oldest);
        if random.bool() {
            self.wal_of_a_rewrite(before);
            return;
        }
        let xid = self.take_xid();
        for name in names {
            let Some(row) = self.rows.get_mut(&name) else {
                continue;
            };
            let gone = None;
            before.rows.push((name, Some(row.clone()), gone));
            row.xmin = xid;
        }
        self.record(xid, Vec::new(), before);
    }

    fn wal_of_a_rewrite(&mut self, before: Before) {
        let xid = self.take_xid();
        self.record(xid, Vec::new(), before);
    }

    /// The transactions under way, and a position read after that.
    pub(super) fn reading(&self) -> Reading {
        let older = |one: Xid, other: Xid| if one.precedes(other) { one } else { other };
        let open = self.open.iter().map(|open| Xid(open.xid));
        let next = Xid(self.next_xid);
        Reading {
            oldest: open.reduce(older).unwrap_or(next),
            next,
            lsn: self.wal_end(),
        }
    }

    /// Writes Meridian's mark.
    pub(super) fn write_mark(&mut self, mark: Mark) {
        let written = (!mark.is_renewed).then(|| self.wal_end());
        let mark = Mark { written, ..mark };
        self.write_own(|own, xid| own.mark = Some((mark, xid)));
    }

    /// Forgets what Meridian said of itself.
    pub(super) fn forget_own(&mut self) {
        self.write_own(|own, _| {
            *own = Own {
                parked: std::mem::take(&mut own.parked),
                ..Own::default()
            };
        });
    }

    fn write_own(&mut self, change: impl FnOnce(&mut Own, Xid)) {
        let before = Before {
            own: Some(self.own.clone()),
            ..Before::default()
        };
        let xid = self.take_xid();
        change(&mut self.own, Xid(xid));
        self.record(xid, Vec::new(), before);
    }

    /// Takes locks for the projection's next batch and says who wrote these rows.
    pub(super) fn hold(&mut self, rows: &[RowName]) -> Outcome {
        let is_busy = |row| self.is_locked_by_application(row) || self.is_contended(row, None);
        if rows.iter().any(is_busy) {
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
        let plan = match self.plan(batch) {
            Ok(plan) => plan,
            Err(rows) => return Ok(Outcome::Involved { rows }),
        };
        let (mut unsure, mut writes) = (Vec::new(), Vec::new());
        for (number, (dirty, wanted)) in batch.rows.iter().enumerate() {
            if plan.is_refused(number) {
                continue;
            }
            let table = self.schema.of(&dirty.row);
            let wanted = wanted.as_deref().filter(|_| !plan.is_out(number));
            let wanted = wanted.map(|text| self.schema.values(&dirty.row, text));
            let found = self.rows.get(&dirty.row);
            let is_same = found.map(|row| &row.values) == wanted.as_ref();
            let is_displaced = plan.is_displaced(number) && found.is_some();
            if is_same && !is_displaced && (found.is_none() || table.is_told_by_values()) {
                continue;
            }
            if let Some(row) = found {
                let xmin = Xid(row.xmin);
                let is_applications = row.by != Writer::Projection;
                if dirty.known != Some(xmin) && !xmin.precedes(batch.horizon) {
                    unsure.push(dirty.row.clone());
                } else if is_applications && row.written_at > captured.0 {
                    return Err(format!(
                        "row {} was overwritten before capture had seen it",
                        dirty.row
                    ));
                }
            }
            if is_displaced {
                writes.push((dirty.row.clone(), None));
            }
            writes.push((dirty.row.clone(), wanted));
        }
        if !unsure.is_empty() {
            return Ok(self.probe(&unsure));
        }
        let mut written = writes.iter();
        if written.any(|(row, values)| self.is_contended(row, values.as_ref())) {
            return Ok(Outcome::Locked);
        }
        let xid = self.take_xid();
        let mut before = Before {
            own: Some(self.own.clone()),
            ..Before::default()
        };
        let mut changes = Vec::new();
        for (name, values) in writes {
            let by = (xid, Writer::Projection);
            changes.extend(self.write(&name, values, by, &mut before));
        }
        let tag = Tag {
            position: batch.position,
            seen: batch.seen.clone(),
        };
        self.own.position = Some((tag.clone(), Xid(xid)));
        let parked = plan.parked(batch);
        self.note_parked(batch, &plan, &parked, Xid(xid));
        self.record(xid, changes, before);
        if let Some(record) = self.wal.last_mut() {
            record.tag = Some(tag);
        }
        if let Some(what) = self.broken_constraint() {
            return Err(format!("the server would have refused this: {what}"));
        }
        Ok(Outcome::Committed {
            xid: Xid(xid),
            end: self.wal_end(),
            parked,
        })
    }

    /// Notes which rows of a batch are kept out, and that it let others in or wrote them again.
    fn note_parked(&mut self, batch: &Projected, plan: &Plan, parked: &[Parked], xid: Xid) {
        let is_out = |row: &RowName| parked.iter().any(|it| it.row == *row);
        let mut rows = batch.rows.iter().enumerate();
        let mut lets_in = rows.any(|(number, (_, document))| {
            plan.is_displaced(number) && document.is_some() && !plan.is_out(number)
        });
        for (dirty, document) in batch.rows.iter().filter(|(dirty, _)| dirty.is_parked) {
            self.own.parked.remove(&dirty.row);
            lets_in |= document.is_some() && !is_out(&dirty.row);
        }
        if lets_in {
            let horizon = self.own.mark.map(|(mark, _)| mark.horizon);
            let is_since = |it: &Xid| horizon.is_some_and(|horizon| !it.precedes(horizon));
            self.own.let_in.retain(is_since);
            self.own.let_in.push(xid);
        }
        let parked = parked.iter().map(|it| (it.row.clone(), it.clone()));
        self.own.parked.extend(parked);
    }

    /// Whether nothing between two positions concerns the log; `has_tags` says whether what the
    /// projection wrote may be there.
    pub(super) fn is_idle(&self, from: Lsn, to: Lsn, has_tags: bool) -> bool {
        let records = self.wal.iter().take(index(to)).skip(index(from));
        let is_nothing = |record: &Record| match &record.tag {
            Some(_) => has_tags,
            None => record.changes.is_empty(),
        };
        records.into_iter().all(is_nothing)
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
        self.schema.values(&row, &document.to_string())
    }
}

fn index(position: Lsn) -> usize {
    usize::try_from(position.0).expect("a position of this WAL")
}
