//! The machine itself.

use super::asked::{Asked, Written};
use super::known::Known;
use super::parked::ParkedRows;
use super::{Batch, DirtyRow, Outcome, Parked, Projected, Shown};
use crate::tag::Tag;
use crate::{Lsn, Xid};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{Position, RowName, Vector};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// After so many times in a row that a row's writer wasn't known, its lock is asked for first.
const HOLD_AFTER: u32 = 3;
/// Batches that came to nothing weigh, one that found unknown writers 1 and one that met locks 2; from
/// this weight on all rows of a batch are locked first. A batch that is written takes 1 off again.
const HOLD_ALL_FROM: u32 = 6;
/// So often at most locks are taken before what is held is written: first of all rows, then of those
/// that became dirty meanwhile.
const HOLDS_MAX: u32 = 3;

/// What has to be written into a server, and what is known of its rows.
#[derive(Debug, Default)]
pub struct Projection {
    pub(super) dirty: BTreeSet<RowName>,
    pub(super) issued: Option<Issued>,
    /// Written and not yet captured, in the order of their commits.
    pub(super) written: VecDeque<Written>,
    pub(super) known: Known,
    pub(super) probe: Option<Probe>,
    pub(super) parked: ParkedRows,
    /// How often in a row a row's writer was unknown.
    unsure: BTreeMap<RowName, u32>,
    /// The rows whose locks are held, and how often in a row some were taken.
    held: BTreeSet<RowName>,
    holds: u32,
    /// How much came to nothing lately.
    in_vain: u32,
    passed: Lsn,
    /// Before this an earlier life of this process may have written batches.
    started_at: Lsn,
    /// Nothing says what the server had been given before the first batch, whose capture is awaited.
    is_given_nothing: bool,
    shown: Option<Tag>,
    last_id: u64,
    /// Very many rows are being written, or are written and wait for the batch that commits them.
    pub(super) large: bool,
    /// A local transaction of very many rows is being told.
    pub(super) telling_large: Option<Xid>,
}

/// A batch whose outcome is awaited.
#[derive(Debug)]
pub(super) struct Issued {
    id: u64,
    pub(super) rows: BTreeSet<RowName>,
    /// Whether it only takes locks.
    is_hold: bool,
    asked: Option<Asked>,
    /// What has come or gone since: a row that the batch parks may have waited for it in vain.
    stirred: Vec<RowName>,
}

/// Writers that are as good as captured once capture has passed a position.
#[derive(Debug)]
pub(super) struct Probe {
    found: Vec<(RowName, Xid)>,
    read_at: Lsn,
}

impl Projection {
    /// A machine for a server that may have been written to before. `started_at` is a WAL position
    /// read when no session of an earlier life was open any more (after `Applier::position`):
    /// what is captured up to there may stand before a batch that nobody remembers, and is written
    /// again. `parked` are the rows that are out (`Applier::parked`).
    #[must_use]
    pub fn new(started_at: Lsn, parked: impl IntoIterator<Item = Parked>) -> Self {
        let mut machine = Self {
            started_at,
            ..Self::default()
        };
        for parked in parked {
            machine.parked.park(&parked);
        }
        machine
    }

    /// Nothing says what the server had been given: all rows that it or the tables show were touched
    /// instead of those that entries did. A row that neither shows isn't nothing: increments of a
    /// counter outlive a deletion that had not seen them, and come to light with a local insert that
    /// hadn't either. So what local transactions write is dirty until a batch is captured, which says
    /// what those after it had seen.
    pub fn given_nothing(&mut self) {
        self.is_given_nothing = !active(Mutation::NothingGivenForgotten);
    }

    /// Entries of the log touched these rows: of other regions, or any after a start or rewind.
    pub fn touched(&mut self, rows: impl IntoIterator<Item = RowName>) {
        for row in rows {
            self.stir(&row);
            self.dirty.insert(row);
        }
    }

    /// A transaction of the server changed these rows to these documents (`None`: gone). May be told
    /// in parts, with [`Projection::transaction_captured`] at the end and no batch asked for before
    /// the whole transaction is in the tables.
    ///
    /// A batch that is issued must have had its outcome before a tagged transaction is told: else
    /// the transaction counts as one that nobody remembers.
    pub fn rows_captured(
        &mut self,
        xid: Xid,
        tag: Option<&Tag>,
        rows: &[(RowName, Option<String>)],
    ) {
        if tag.is_none() {
            for (row, document) in rows {
                self.changed_locally(row, document.is_some().then_some(xid));
            }
            return;
        }
        match self.written.iter_mut().find(|written| written.xid == xid) {
            Some(written) => {
                for (row, document) in rows {
                    written.asked.left(row, document.as_deref());
                }
            }
            None => {
                for (row, document) in rows {
                    self.stir(row);
                    self.dirty.insert(row.clone());
                    if document.is_some() {
                        self.known.remember(row, xid);
                    }
                }
            }
        }
    }

    /// The transaction has been told as a whole; `end` is where the WAL goes on. What a tagged one
    /// did beyond what was asked comes back, to be captured like local changes.
    pub fn transaction_captured(
        &mut self,
        xid: Xid,
        tag: Option<&Tag>,
        end: Lsn,
    ) -> Vec<(RowName, Option<String>)> {
        let mut deviations = Vec::new();
        if self
            .telling_large
            .take_if(|telling| *telling == xid)
            .is_some()
        {
            self.known.remember_large(xid);
        }
        if let Some(tag) = tag {
            self.shown = Some(tag.clone());
            if let Some(at) = self.written.iter().position(|written| written.xid == xid)
                && let Some(written) = self.written.remove(at)
            {
                self.is_given_nothing = false;
                deviations = written.asked.deviations();
                for (row, document) in &deviations {
                    self.changed_locally(row, document.is_some().then_some(xid));
                }
            }
        }
        self.passed(end);
        deviations
    }

    /// Capture has told all that was committed before this position.
    pub fn passed(&mut self, lsn: Lsn) {
        self.passed = self.passed.max(lsn);
        self.known.passed(self.passed);
        self.written.retain(|written| written.end > self.passed);
        let is_passed = |probe: &mut Probe| {
            probe.read_at <= self.passed || active(Mutation::ProbeTrustedAtOnce)
        };
        if let Some(probe) = self.probe.take_if(is_passed) {
            for (row, xid) in probe.found {
                self.known.remember(&row, xid);
            }
        }
    }

    /// The `xmin` of a snapshot, and a WAL position read after that snapshot was taken.
    pub fn horizon_candidate(&mut self, xid: Xid, read_at: Lsn) {
        self.known.candidate(xid, read_at);
        self.known.passed(self.passed);
    }

    /// All dirty rows. `None` where there are none, while a batch's outcome is awaited, and while
    /// capture has yet to pass what a probe found.
    pub fn next_batch(&mut self) -> Option<Batch> {
        // What is written already is committed by a batch, if only by one without rows.
        let is_nothing_due = self.dirty.is_empty() && !self.large;
        if self.issued.is_some() || self.probe.is_some() || is_nothing_due {
            return None;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let rows = self.with_neighbours(dirty);
        let hold = self.rows_to_hold(&rows);
        let is_hold = !hold.is_empty();
        if is_hold {
            self.held.extend(hold.iter().cloned());
            self.holds += 1;
        }
        self.last_id += 1;
        let batch = Batch {
            id: self.last_id,
            horizon: self.known.horizon(),
            hold,
            rows: rows
                .iter()
                .map(|row| DirtyRow {
                    row: row.clone(),
                    known: self.known.get(row),
                    is_parked: self.parked.has(row),
                })
                .collect(),
        };
        self.issued = Some(Issued {
            id: batch.id,
            rows,
            is_hold,
            asked: None,
            stirred: Vec::new(),
        });
        Some(batch)
    }

    /// The batch with what a snapshot of the tables, taken after it was issued, shows of its rows,
    /// in their order. This is what is asked of the server.
    pub fn projected(
        &mut self,
        batch: Batch,
        position: Position,
        seen: Vector,
        shown: impl IntoIterator<Item = Option<Shown>>,
    ) -> Projected {
        let (documents, versions): (Vec<_>, Vec<_>) = shown
            .into_iter()
            .map(|shown| match shown {
                Some(shown) => (Some(shown.document), Some(shown.version)),
                None => (None, None),
            })
            .unzip();
        let projected = Projected {
            id: batch.id,
            position,
            seen,
            horizon: batch.horizon,
            rows: batch.rows.into_iter().zip(documents).collect(),
            versions,
        };
        if let Some(issued) = self
            .issued
            .as_mut()
            .filter(|issued| issued.id == projected.id)
        {
            issued.asked = Some(Asked::of(&projected));
        }
        projected
    }

    /// What became of a batch.
    pub fn outcome(&mut self, id: u64, outcome: Outcome) {
        let Some(issued) = self.issued.take_if(|issued| issued.id == id) else {
            return;
        };
        match outcome {
            Outcome::Committed { xid, end, parked } => {
                self.let_go();
                self.in_vain = self.in_vain.saturating_sub(1);
                self.committed(issued, xid, end, &parked);
                return;
            }
            Outcome::Unsure { found, read_at } => {
                if !issued.is_hold {
                    self.failed(1);
                    for (row, _) in &found {
                        *self.unsure.entry(row.clone()).or_default() += 1;
                    }
                }
                self.probed(found, read_at);
            }
            Outcome::Locked => {
                self.failed(2);
                self.large = false;
            }
            Outcome::Involved { rows } => {
                self.let_go();
                self.large = false;
                self.dirty.extend(rows);
            }
            Outcome::Violation { .. } | Outcome::Unknown => {
                self.let_go();
                self.large = false;
            }
        }
        self.dirty.extend(issued.rows);
    }

    /// Everything that a constraint keeps out is tried again.
    pub fn retry_parked(&mut self) {
        self.dirty
            .extend(self.parked.all().map(|parked| parked.row));
    }

    /// The rows that constraints keep out of the server.
    pub fn parked(&self) -> impl Iterator<Item = Parked> + '_ {
        self.parked.all()
    }

    /// What the server had been given where capture stands: by the last tag that it passed.
    #[must_use]
    pub fn shown(&self) -> Option<&Tag> {
        self.shown.as_ref()
    }

    /// The rows that wait to be written, without those of a batch that is issued.
    pub fn dirty(&self) -> impl Iterator<Item = &RowName> {
        self.dirty.iter()
    }

    /// How many rows are dirty, those of an issued batch included.
    #[must_use]
    pub fn dirty_rows(&self) -> usize {
        self.dirty.len() + self.issued.as_ref().map_or(0, |issued| issued.rows.len())
    }

    /// Whether a batch's outcome is awaited.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.issued.is_some()
    }

    /// How many batches are written and not yet captured.
    #[must_use]
    pub fn uncaptured_batches(&self) -> usize {
        self.written.len()
    }

    /// How many writers are remembered beside the horizon.
    #[must_use]
    pub fn known_writers(&self) -> usize {
        self.known.len()
    }

    fn changed_locally(&mut self, row: &RowName, writer: Option<Xid>) {
        self.stir(row);
        let mut written = self.written.iter();
        let is_written = written.any(|written| written.is_large || written.asked.has(row));
        let is_issued = self
            .issued
            .as_ref()
            .is_some_and(|issued| issued.rows.contains(row));
        let is_early = self.passed < self.started_at || self.is_given_nothing;
        if is_written || is_issued || is_early || self.large || self.parked.has(row) {
            self.dirty.insert(row.clone());
        }
        match writer {
            // What is in the server now is of the batch, which comes after in the WAL.
            _ if is_written => {}
            Some(xid) if self.telling_large == Some(xid) => self.known.forget(row),
            Some(xid) => self.known.remember(row, xid),
            None => self.known.forget(row),
        }
    }

    fn committed(&mut self, issued: Issued, xid: Xid, end: Lsn, parked: &[Parked]) {
        let Some(mut asked) = issued.asked else {
            return;
        };
        asked.without(parked);
        let now: BTreeMap<&RowName, &Parked> = parked.iter().map(|it| (&it.row, it)).collect();
        for row in &issued.rows {
            self.unsure.remove(row);
            let is_news = match now.get(row) {
                Some(parked) => self.parked.park(parked),
                None => self.parked.remove(row).is_some(),
            };
            if is_news {
                let others = self.parked.waiting_for(row);
                self.dirty
                    .extend(others.filter(|other| !issued.rows.contains(other)).cloned());
            }
            if asked.is_present(row) {
                self.known.remember(row, xid);
            } else {
                self.known.forget(row);
            }
        }
        let is_large = std::mem::take(&mut self.large);
        if is_large {
            self.known.remember_large(xid);
        }
        for row in &issued.stirred {
            self.stir(row);
        }
        if end > self.passed {
            self.written.push_back(Written {
                xid,
                end,
                asked,
                is_large,
            });
        }
    }

    pub(super) fn probed(&mut self, found: Vec<(RowName, Option<Xid>)>, read_at: Lsn) {
        let found = found
            .into_iter()
            .filter_map(|(row, writer)| Some((row, writer?)))
            .collect();
        self.probe = Some(Probe { found, read_at });
        self.passed(self.passed);
    }

    /// What waits for this row is tried again.
    pub(super) fn stir(&mut self, row: &RowName) {
        if !active(Mutation::ParkedForgotten) {
            self.dirty.extend(self.parked.waiting_for(row).cloned());
        }
        if let Some(issued) = &mut self.issued {
            issued.stirred.push(row.clone());
        }
    }

    /// The rows with all that must be in a batch with them.
    fn with_neighbours(&self, rows: BTreeSet<RowName>) -> BTreeSet<RowName> {
        if self.parked.is_empty() {
            return rows;
        }
        let mut todo: Vec<RowName> = rows.iter().cloned().collect();
        let mut all = rows;
        while let Some(row) = todo.pop() {
            for needed in self.parked.needed_by(&row) {
                if all.insert(needed.clone()) {
                    todo.push(needed.clone());
                }
            }
        }
        all
    }

    fn rows_to_hold(&self, rows: &BTreeSet<RowName>) -> Vec<RowName> {
        // Asking for locks anew would give up what is written.
        if self.large || self.holds == HOLDS_MAX {
            return Vec::new();
        }
        if self.in_vain >= HOLD_ALL_FROM {
            return rows.difference(&self.held).cloned().collect();
        }
        if self.holds > 0 {
            return Vec::new();
        }
        self.unsure
            .iter()
            .filter(|(row, times)| **times >= HOLD_AFTER && rows.contains(*row))
            .map(|(row, _)| row.clone())
            .collect()
    }

    /// A batch came to nothing, and with it the locks.
    fn failed(&mut self, weight: u32) {
        self.let_go();
        self.in_vain = (self.in_vain + weight).min(HOLD_ALL_FROM);
    }

    /// The locks that batches asked for are held no more: the next batch asks for them anew, where
    /// rows are still hard to come by.
    pub fn let_go(&mut self) {
        self.held.clear();
        self.holds = 0;
    }
}
